"""Answers with a function of its picture's bytes: Adler-32, computed by numpy.

The caller computes it by zlib, so a picture that was mixed up, torn or stale shows as a wrong answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from procvision_sdk import BaseAlgorithm, RecoverableError, Session, read_image_from_shared_memory

MODULUS = 65521
BOX = 4


def adler(picture: Any) -> int:
    flat = np.ascontiguousarray(picture).reshape(-1).astype(np.uint64)
    weights = np.arange(flat.size, 0, -1, dtype=np.uint64)
    low = (1 + int(flat.sum())) % MODULUS
    high = (flat.size + int((flat * weights).sum())) % MODULUS
    return high << 16 | low


class Chaos(BaseAlgorithm):
    """`pre_execute` keeps the picture's number in the session, `execute` tells both."""

    def pre_execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> dict[str, Any]:
        session.set("reference", adler(read_image_from_shared_memory(shared_mem_id, image_meta)))
        return {"status": "OK", "data": {}}

    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> dict[str, Any]:
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        first = adler(picture)
        deadline = time.monotonic() + user_params["takes_s"]
        while time.monotonic() < deadline:
            time.sleep(0.005)
            if self.cancellation.requested:
                raise RecoverableError("cancelled")
        # Once more: the picture may not change under an algorithm.
        number = adler(picture)
        debug = {"number": number, "unchanged": number == first, "reference": session.get("reference")}
        if number % 2 == 0:
            return {"status": "OK", "data": {"result_status": "OK", "debug": debug}}
        height, width = picture.shape[:2]
        box = {"x": number % (width - BOX), "y": number % (height - BOX), "width": BOX, "height": BOX}
        return {
            "status": "OK",
            "data": {
                "result_status": "NG",
                "ng_reason": str(number),
                "defect_rects": [{**box, "label": "odd", "score": 0.5}],
                "debug": debug,
            },
        }
