"""What is said beside the frames, on its way to stderr: one JSON object a line, and no line is ever waited for.

What an adapter writes to its stderr passes through where it is a log line of the form that runners read; anything else
becomes one record a reading. A runner that doesn't read its host's stderr loses lines, counted, and stops nobody.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Mapping
from typing import Any

import msgspec

LOGGER = "procvision.gateway"
MAX_WAITING_BYTES = 1024 * 1024
"""How much waits for a runner that doesn't read; further lines are counted and dropped."""
MAX_LINE_BYTES = 64 * 1024
"""What runners take as one line: a longer one is text, not a record."""
MAX_TEXT_BYTES = 4096
"""How much of one reading's text a record shows; the rest is counted."""


class _Line(msgspec.Struct):
    """What makes a line a log record."""

    message: str


_is_record = msgspec.json.Decoder(_Line).decode


class Log(logging.Handler):
    """The lines that wait for stderr. Also a handler, for what the gateway's own modules log."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self._waiting = bytearray()
        self._dropped = 0
        self._broken = False
        self._tail = b""

    # --- what is said ---------------------------------------------------------------------------------------

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the logging module's."""
        self._say(record.levelname.lower(), self.format(record), {"logger": record.name})

    def take(self, data: bytes, request_id: str | None) -> None:
        """Take what the adapter wrote to its stderr; nothing at its end. `request_id` is the running call's."""
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop() if data else b""
        if len(self._tail) > MAX_LINE_BYTES:
            lines.append(self._tail)
            self._tail = b""
        text: list[bytes] = []
        for line in lines:
            if _is_log_line(line):
                self._told(text, request_id)
                self._add(line + b"\n")
            elif line.strip():
                text.append(line)
        self._told(text, request_id)

    def _told(self, text: list[bytes], request_id: str | None) -> None:
        """Put lines that are no records into one. The list is empty afterwards."""
        if text:
            whole = b"\n".join(text)
            shown = whole[:MAX_TEXT_BYTES].decode("utf-8", "replace")
            more = f" … ({len(whole)} bytes)" if len(whole) > MAX_TEXT_BYTES else ""
            self._say("info", shown + more, {"logger": "stderr", "request_id": request_id})
            text.clear()

    def _say(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        record = {"timestamp_ms": time.time_ns() // 1_000_000, "level": level, "message": message}
        record |= {key: value for key, value in fields.items() if value is not None}
        self._add(msgspec.json.encode(record) + b"\n")

    def _add(self, line: bytes) -> None:
        if self._broken:
            return
        if len(self._waiting) + len(line) > MAX_WAITING_BYTES:
            self._dropped += 1
            return
        self._waiting += line
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._say("warning", f"{dropped} log lines were dropped: stderr was not read", {"logger": LOGGER})

    # --- on its way -----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether something is to be written."""
        return bool(self._waiting)

    def write_some(self) -> None:
        """Write a piece; to be called when the descriptor was found writable, so that it can't block."""
        try:
            written = os.write(self.descriptor, self._waiting[: select.PIPE_BUF])
        except OSError:
            # Nobody will ever read it again.
            self._broken = True
            self._waiting.clear()
        else:
            del self._waiting[:written]

    def flush_for(self, limit_s: float) -> None:
        """Write what waits, for as long as a reader takes it."""
        poller = select.poll()
        poller.register(self.descriptor, select.POLLOUT)
        deadline = time.monotonic() + limit_s
        while self._waiting and (left := deadline - time.monotonic()) > 0 and poller.poll(left * 1000):
            self.write_some()


def _is_log_line(line: bytes) -> bool:
    try:
        _is_record(line)
    except (ValueError, RecursionError):
        return False
    return True
