"""setup() raises."""

from __future__ import annotations

from procvision_sdk import BaseAlgorithm, GPUOutOfMemoryError, Ok


class Raising(BaseAlgorithm):
    def setup(self):
        print("setting up")
        raise GPUOutOfMemoryError("the model takes 12 GiB")

    def teardown(self):
        self.logger.info("torn down")

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
