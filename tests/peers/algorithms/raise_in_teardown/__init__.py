"""teardown() raises."""

from __future__ import annotations

from procvision_sdk import BaseAlgorithm, Ok


class Raising(BaseAlgorithm):
    def teardown(self):
        raise SystemExit(0)

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
