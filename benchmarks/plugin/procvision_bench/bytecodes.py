"""Counts the bytecodes that a thread executes, by the module they are of."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

PACKAGES = ("procvision_sdk", "procvision_host", "procvision_runner")


class Bytecodes:
    """Of one thread, from `start` to `stop`: its callers' frames included."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        """Count what this thread executes from here on."""
        self.counts.clear()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            frame.f_trace, frame.f_trace_opcodes, frame.f_trace_lines = self._opcode, True, False
            frame = frame.f_back
        sys.settrace(self._call)

    def stop(self) -> dict[str, int]:
        """What was counted, by module; the largest first."""
        sys.settrace(None)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            frame.f_trace = None
            frame = frame.f_back
        return dict(self.counts.most_common())

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._opcode

    def _opcode(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            module = frame.f_globals.get("__name__", "")
            self.counts[module if module.startswith(PACKAGES) else "others"] += 1
        return self._opcode
