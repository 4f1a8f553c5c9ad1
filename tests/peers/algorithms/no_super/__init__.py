"""Its constructor forgets its base."""

from __future__ import annotations

from procvision_sdk import BaseAlgorithm, Ok


class Forgetful(BaseAlgorithm):
    def __init__(self):
        self.ready = True

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
