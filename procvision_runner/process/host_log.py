"""Reads the host's stderr as log records: JSON objects, one a line. Anything else becomes a record too."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from procvision_runner.delivery import Delivery

MAX_LINE_BYTES = 64 * 1024
"""A line without an end is cut here: a host that floods stderr must not fill the runner's memory."""
_CHUNK = 64 * 1024
_TEXTS = ("level", "logger", "request_id", "session_id", "trace_id", "algorithm")
_LATEST_MS = 10**14
"""Three thousand years from now: times up to this one can be shown as a date."""


class HostLog:
    """Collects records from a descriptor. Any thread may read; one reads at a time."""

    def __init__(self, descriptor: int, kept: int, on_record: Callable[[Mapping[str, Any]], None] | None) -> None:
        self.records: deque[Mapping[str, Any]] = deque(maxlen=kept)
        self.ended = False
        self._descriptor = descriptor
        self._delivery = Delivery((on_record,), "procvision-log") if on_record is not None else None
        self._told_dropped = 0
        self._tail = b""
        self._lock = threading.Lock()
        os.set_blocking(descriptor, False)

    def add(self, level: str, message: str) -> None:
        """Add a record of the runner's own."""
        record = {**_record(message), "level": level, "logger": "procvision.runner"}
        with self._lock:
            self.records.append(record)
            if self._delivery is not None:
                self._delivery.emit(record)

    def read(self) -> None:
        """Read what is there."""
        with self._lock:
            if self.ended:
                return
            try:
                data = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.ended = True
                lines = [self._tail] if self._tail else []
                self._tail = b""
            else:
                lines = (self._tail + data).split(b"\n")
                self._tail = lines.pop()
                if len(self._tail) > MAX_LINE_BYTES:
                    lines.append(self._tail)
                    self._tail = b""
            records = [_parsed(line) for line in lines if line.strip()]
            self.records.extend(records)
            # Under the lock, for their order. This thread also reads answers: foreign code runs on another one.
            if self._delivery is not None:
                for record in records:
                    self._delivery.emit(record)
                self._tell_dropped()

    def _tell_dropped(self) -> None:
        """Tell a slow listener how much it missed, once there is room again. Under the lock."""
        assert self._delivery is not None
        dropped = self._delivery.dropped
        if dropped != self._told_dropped:
            text = f"{dropped - self._told_dropped} log records were dropped: `on_log` is slower than the host's log"
            record = {**_record(text), "level": "warning", "logger": "procvision.runner"}
            if self._delivery.emit(record):
                self._told_dropped = dropped
            else:
                self._told_dropped += 1  # This one was dropped, too, and is no record of the host's.

    def close(self) -> None:
        """Tell what was read, then nothing more: the host is gone."""
        if self._delivery is not None:
            self._delivery.close()

    def settle(self, limit_s: float) -> None:
        """Read to the end, for `limit_s` at most: the last lines say why a host ended."""
        deadline = time.monotonic() + limit_s
        # Its own: two threads may settle at once, and a poll object takes one.
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000):
                self.read()


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        record = msgspec.json.decode(line)  # refuses what couldn't be written again: half a surrogate, NaN
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict) and isinstance(record.get("message"), str):
        return _in_form(record)
    return _record(line[:MAX_LINE_BYTES].decode("utf-8", "replace"))


def _in_form(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose fields are of the types that our hosts' have: a line may be an algorithm's own."""
    wrong = [name for name in _TEXTS if not isinstance(record.get(name), str | None)]
    for name in wrong:
        del record[name]
    at = record.get("timestamp_ms")
    if type(at) is not int or not 0 <= at < _LATEST_MS:
        record["timestamp_ms"] = time.time_ns() // 1_000_000
    if record.get("level") is None:
        record["level"] = "info"
    return record


def _record(text: str) -> dict[str, Any]:
    return {"timestamp_ms": time.time_ns() // 1_000_000, "level": "info", "message": text, "logger": "stderr"}
