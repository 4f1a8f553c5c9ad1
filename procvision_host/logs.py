"""Writes everything that a host logs, as one JSON object a line.

The standard library's logging, warnings and uncaught exceptions all end here; the lines go through a pipe to the
guardian, which also brings foreign text into the same form and always reads. So a line that finds the pipe full waits
for the guardian, but not for long, and never for more than a tenth of the time: what isn't taken then is dropped and
counted, and the guardian tells the count.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select
from time import monotonic, time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from procvision_sdk.wire.messages import Call

_OWN_FOLDER = os.path.join(os.path.dirname(__file__), "")  # noqa: PTH118, PTH120 - as frames have it
HOST_LOGGER = "procvision.host"
MAX_MESSAGE_CHARACTERS = 8192
"""A longer message is cut: a log line is for reading."""

MAX_LINE_BYTES = 64 * 1024
"""A longer line goes without the fields that a vendor put on it. A message alone can't be so long."""
LINE_PATIENCE_S = 0.2
"""How long a line, or the end of a long one, waits for room in the pipe."""
WAITED_AT_MOST_S = 1.0
"""How long lines may have waited in all; a tenth of the time that passes is forgiven."""
_FORGIVEN = 0.1

_encode = msgspec.json.Encoder(enc_hook=repr).encode


class LogContext:
    """The call being executed, which every line names that is written meanwhile."""

    __slots__ = ("call",)

    def __init__(self) -> None:
        self.call: Call | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """Return what a line says of the call."""
        call = self.call
        if call is None:
            return {}
        fields: dict[str, Any] = {"request_id": call.request_id, "step_index": call.step_index}
        if call.session is not None:
            fields["session_id"] = call.session.id
            trace_id = call.session.context.get("trace_id")
            if trace_id is not None:
                fields["trace_id"] = trace_id
        return fields


class LogPipe(Protocol):
    """Where a handler writes its lines to."""

    logs: int

    def write_log(self, data: bytes) -> int:
        """Write as much as there is room for. Raises OSError if there is none."""


class OwnPipe:
    """A pipe that nobody but this process has."""

    def __init__(self, descriptor: int) -> None:
        self.logs = descriptor

    def write_log(self, data: bytes) -> int:
        """As `LogPipe`."""
        return os.write(self.logs, data)


class JsonLinesHandler(logging.Handler):
    """Writes records as JSON lines to the guardian's pipe."""

    def __init__(
        self, ends: LogPipe, algorithm: str, context: LogContext, dropped: Callable[[], object] | None = None
    ) -> None:
        """`dropped` is called for each line that was dropped."""
        super().__init__()
        self._ends = ends
        self._algorithm = algorithm
        self._context = context
        self._torn = False
        self._dropped = dropped
        self._waited_s = 0.0
        self._waited_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. Never raises and never blocks, whatever is in the record."""
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001 - a vendor's record must not take the host down
            line = _encode(self._unwritable(record, error))
        try:
            self._write(line + b"\n")
        except OSError:
            if self._dropped is not None:
                self._dropped()

    def _line(self, record: logging.LogRecord) -> bytes:
        line = _encode(record_fields(record, self._algorithm, self._context))
        if len(line) > MAX_LINE_BYTES:
            fields = record_fields(record, self._algorithm, self._context, foreign=False)
            line = _encode({**fields, "left_out_bytes": len(line)})
        return line

    def _write(self, line: bytes) -> None:
        """Write a whole line, or nothing of it. One that was torn nevertheless is ended before the next."""
        data = b"\n" + line if self._torn else line
        try:
            written = self._ends.write_log(data)
        except BlockingIOError:
            self._wait_for_room(self._patience_s())
            written = self._ends.write_log(data)
        self._torn = False
        while written < len(data):
            self._torn = True
            self._wait_for_room(LINE_PATIENCE_S)
            written += self._ends.write_log(data[written:])
        self._torn = False

    def _patience_s(self) -> float:
        """Return how long a line may wait that has not begun: nothing once lines have waited too long."""
        now = monotonic()
        self._waited_s = max(0.0, self._waited_s - (now - self._waited_at) * _FORGIVEN)
        self._waited_at = now
        return min(LINE_PATIENCE_S, WAITED_AT_MOST_S - self._waited_s)

    def _wait_for_room(self, patience_s: float) -> None:
        began = monotonic()
        select((), (self._ends.logs,), (), max(0.0, patience_s))
        self._waited_s += monotonic() - began

    def _unwritable(self, record: logging.LogRecord, error: Exception) -> dict[str, Any]:
        text = shown(record.msg)
        return {
            "timestamp_ms": timestamp_ms(),
            "level": "error",
            "message": f"a log record can't be written: {type(error).__name__}; its text is {text!r:.500}",
            "algorithm": self._algorithm,
            "logger": shown(record.name),
        }


def record_fields(
    record: logging.LogRecord, algorithm: str, context: LogContext, *, foreign: bool = True
) -> dict[str, Any]:
    """Return a record as the object of its line; `foreign` says whether with the fields that a vendor named."""
    message = record.getMessage()
    if record.exc_info:
        message += "\n" + _traceback(record.exc_info)
    values: dict[str, Any] = {
        "timestamp_ms": int(record.created * 1000),
        "level": record.levelname.lower(),
        "message": message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode(),
        "algorithm": algorithm,
        "logger": record.name,
        **context.fields,
    }
    fields = getattr(record, "fields", None)
    if foreign and isinstance(fields, dict):
        for name, value in fields.items():
            values.setdefault(str(name), value)
    return values


def shown(value: object) -> str:
    """Return a vendor's object as text that JSON can carry. Never raises."""
    try:
        return str.encode(str(value), "utf-8", "replace").decode()
    except Exception as error:  # noqa: BLE001
        return f"({type(value).__name__}, which can't be shown: {type(error).__name__})"


def _traceback(exc_info: Any) -> str:
    """Return an exception as Python shows it, from the first frame that is not the host's own."""
    # Not by `print_exception`, as logging does it: a vendor may have replaced `print`, and an exception may not let
    # itself be shown.
    try:
        kind, value, trace = exc_info
        outside = trace
        while outside is not None and outside.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
            outside = outside.tb_next
        return "".join(traceback.format_exception(kind, value, outside or trace)).rstrip("\n")
    except Exception as error:  # noqa: BLE001
        return f"(the traceback can't be shown: {type(error).__name__})"


def install(
    ends: LogPipe,
    algorithm: str,
    context: LogContext,
    level: str,
    dropped: Callable[[], object] | None = None,
) -> logging.Logger:
    """Bring logging, warnings and uncaught exceptions to the JSON lines. Return the host's own logger.

    `dropped` is called for each line for which there was no room.
    """
    handler = JsonLinesHandler(ends, algorithm, context, dropped)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Its own handler and no parent: a vendor that clears the root logger doesn't silence the host.
    own = logging.getLogger(HOST_LOGGER)
    own.addHandler(handler)
    own.propagate = False
    logging.captureWarnings(True)
    logging.raiseExceptions = False

    def uncaught(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        own.critical("uncaught exception", exc_info=(kind, value, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit and args.exc_value is not None:
            name = args.thread.name if args.thread else "?"
            own.error(
                "uncaught exception in thread %s", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
            )

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    return own


@contextmanager
def warnings_heard(hear: Callable[[str], None]) -> Iterator[None]:
    """Give what is logged in the block, warnings and worse, to `hear` as well."""
    handler = _WarningHandler(logging.WARNING)
    handler.hear = hear
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _WarningHandler(logging.Handler):
    hear: Callable[[str], None]

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text: object = record.getMessage()
        except Exception:  # noqa: BLE001 - a malformed record must not cost the plugin that logged it
            text = record.msg
        self.hear(shown(text))


def timestamp_ms() -> int:
    """Return the time now, as the protocol writes it."""
    return time_ns() // 1_000_000
