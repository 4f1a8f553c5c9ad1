"""setup() forks, and returns in both processes."""

from __future__ import annotations

import os

from procvision_sdk import BaseAlgorithm, Ok


class Forking(BaseAlgorithm):
    def setup(self):
        os.fork()

    def teardown(self):
        self.logger.info("torn down")

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
