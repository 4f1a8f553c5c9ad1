"""setup() never ends and holds the interpreter lock."""

from __future__ import annotations

import ctypes

from procvision_sdk import BaseAlgorithm, Ok


class Hanging(BaseAlgorithm):
    def setup(self):
        print("in setup")
        # The interpreter lock is held: no thread of Python's can run meanwhile.
        mutex = ctypes.create_string_buffer(128)
        for _ in range(2):
            ctypes.PyDLL(None).pthread_mutex_lock(mutex)

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
