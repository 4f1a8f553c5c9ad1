"""Its manifest has no steps."""

from __future__ import annotations

from procvision_sdk import BaseAlgorithm, Ok


class Misdeclared(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
