"""setup() never ends and holds the interpreter lock."""

from __future__ import annotations

import ctypes

from procvision_sdk import BaseAlgorithm, Ok


class Hanging(BaseAlgorithm):
    def setup(self):
        # The interpreter lock is held: no thread of Python's can run meanwhile.
        ctypes.PyDLL(None).sleep(3600)

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
