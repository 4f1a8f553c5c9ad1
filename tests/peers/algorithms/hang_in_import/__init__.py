"""Its import never ends."""

from __future__ import annotations

import time

from procvision_sdk import BaseAlgorithm, Ok


class Hanging(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()


while True:
    time.sleep(3600)
