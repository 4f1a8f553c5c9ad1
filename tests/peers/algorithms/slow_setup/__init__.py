"""setup() lasts until the file PEER_GATE exists."""

from __future__ import annotations

import os
import time
from pathlib import Path

from procvision_sdk import BaseAlgorithm, Ok


class Slow(BaseAlgorithm):
    def setup(self):
        print("in setup")
        while not Path(os.environ["PEER_GATE"]).exists():
            time.sleep(0.01)

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
