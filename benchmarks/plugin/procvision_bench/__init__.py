"""The algorithm of the benchmarks: what a call costs when the algorithm itself costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from time import thread_time
from typing import TYPE_CHECKING, Any

from procvision_sdk import BaseAlgorithm, Ok, Session, read_image_from_shared_memory

if TYPE_CHECKING:
    from procvision_bench.bytecodes import Bytecodes

PAGE_STRIDE = 64 * 1024
BUSY_S = 0.02


class Bench(BaseAlgorithm):
    """Answers OK. Step 1 asks for its picture, and with `touch` reads one byte of every 64 KiB of it."""

    _bytecodes: Bytecodes | None = None

    def execute(
        self,
        step_index: int,
        pid: str,
        session: Session,
        user_params: Mapping[str, Any],
        shared_mem_id: str,
        image_meta: Mapping[str, Any],
    ) -> dict[str, Any] | Ok:
        """Do what the reference's reader does with the picture, and no more."""
        if step_index == 2:
            session.set("calls", session.get("calls", 0) + 1)
        elif step_index == 3:
            sum(range(user_params["turns"]))
        elif step_index == 4:
            return self._counted(on=user_params["on"])
        elif step_index == 5:
            picture = read_image_from_shared_memory(shared_mem_id, image_meta)
            int(((picture // 2 + picture // 4) > 100).sum())
        elif step_index == 6:
            read_image_from_shared_memory(shared_mem_id, image_meta)
            until = thread_time() + BUSY_S
            while thread_time() < until:
                pass
        elif shared_mem_id:
            rows = read_image_from_shared_memory(shared_mem_id, image_meta)
            if user_params["touch"]:
                stride = max(1, PAGE_STRIDE // (rows.shape[1] * 3))
                int(rows[::stride, 0, 0].sum())
        return {"status": "OK", "data": {"result_status": "OK"}}

    def _counted(self, *, on: bool) -> Ok:
        if on:
            from procvision_bench.bytecodes import Bytecodes

            self._bytecodes = Bytecodes()
            self._bytecodes.start()
            return Ok()
        assert self._bytecodes is not None
        return Ok(debug=self._bytecodes.stop())
