"""The benchmarks' algorithm, written against the field's own SDK."""

from __future__ import annotations

from typing import Any

from procvision_algorithm_sdk.base import BaseAlgorithm
from procvision_algorithm_sdk.shared_memory import read_image_from_shared_memory

STRIDE = 64 * 1024


class Bench(BaseAlgorithm):  # type: ignore[misc] - the package has no types
    """Reads one byte of every 64 KiB of its picture and answers OK."""

    def get_info(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def pre_execute(self, *_: Any) -> dict[str, Any]:
        """Nothing."""
        return {"status": "OK"}

    def execute(self, *arguments: Any) -> dict[str, Any]:
        """The same as ours."""
        shared_mem_id, image_meta = arguments[-2:]
        if shared_mem_id:
            rows = read_image_from_shared_memory(shared_mem_id, image_meta)
            stride = max(1, STRIDE // (rows.shape[1] * 3))
            int(rows[::stride, 0, 0].sum())
        return {"status": "OK", "data": {"result_status": "OK"}}
