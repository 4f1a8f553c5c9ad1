"""A file that its manifest requires is not there."""

from __future__ import annotations

from procvision_sdk import BaseAlgorithm, Ok


class Incomplete(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
