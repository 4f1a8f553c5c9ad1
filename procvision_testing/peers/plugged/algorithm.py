"""What `HookHost` runs: an algorithm that does what it is told."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from typing import Any

from procvision_sdk import (
    BaseAlgorithm,
    Defect,
    Ng,
    Ok,
    RecoverableError,
    Session,
    read_image_from_shared_memory,
)


class Plugged(BaseAlgorithm):
    """`does`: `ok`, `ng`, `error` (returned), `raise`, `read` (the picture's checksum under `debug`); any may wait."""

    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> Any:
        """Count the call in its session, and do what `does` says."""
        number = session.get("calls", 0) + 1
        session.set("calls", number)
        time.sleep(user_params["wait_ms"] / 1000)
        does = user_params["does"]
        if does == "raise":
            raise RecoverableError("asked to raise")
        if does == "error":
            return {"status": "ERROR", "message": "asked to fail", "error_code": "1003", "data": {}}
        if user_params["publish"]:
            self.diagnostics.publish("number", number)
        if does == "ng":
            return Ng("asked to refuse", [Defect(1, 2, 3, 4, "spot", 0.5)])
        if does == "read":
            return self._read(shared_mem_id, image_meta)
        return Ok()

    def _read(self, shared_mem_id: str, image_meta: Mapping[str, Any]) -> Any:
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        seen = {"shape": list(picture.shape), "crc32": zlib.crc32(picture.tobytes())}
        return Ok(debug=seen)
