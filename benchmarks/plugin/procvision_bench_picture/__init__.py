"""An algorithm for archives of tiny pictures: its verdict hangs on each picture, and costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, Session, read_image_from_shared_memory

BRIGHT = 128


class Picture(BaseAlgorithm):
    """NG where the first pixel is bright."""

    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Ok | Ng:
        """Publishes how bright it is."""
        brightness = int(read_image_from_shared_memory(shared_mem_id, image_meta)[0, 0, 0])
        self.diagnostics.publish("brightness", brightness)
        if brightness < BRIGHT:
            return Ok()
        return Ng("bright", [Defect(0, 0, 4, 4, "bright", brightness / 255)])
