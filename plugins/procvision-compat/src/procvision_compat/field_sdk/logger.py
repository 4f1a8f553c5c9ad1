"""`StructuredLogger`: into the host's log, or into the sink that an algorithm brings."""

from __future__ import annotations

import json
from time import time_ns
from typing import Any

from procvision_sdk.logging import StructuredLogger as HostLogger


class StructuredLogger:
    """`sink` is anything with `write` and `flush`; without one the records are the host's."""

    def __init__(self, sink: Any = None) -> None:
        self.sink = sink
        self._host = HostLogger("procvision.algorithm.legacy")

    def info(self, message: str, **fields: Any) -> None:
        """What happened as it should."""
        self._emit("info", message, fields)

    def debug(self, message: str, **fields: Any) -> None:
        """Log what helps to look into the algorithm."""
        self._emit("debug", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """What went wrong."""
        self._emit("error", message, fields)

    def _emit(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if self.sink is None:
            getattr(self._host, level)(message, **fields)
            return
        record = {"level": level, "timestamp_ms": time_ns() // 1_000_000, "message": message, **fields}
        self.sink.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        self.sink.flush()
