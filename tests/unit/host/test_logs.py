"""Everything that is logged becomes a line of JSON, whatever is in it, and never more than a line."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from typing import Any

import pytest

from procvision_host.logs import (
    LINE_PATIENCE_S,
    MAX_LINE_BYTES,
    MAX_MESSAGE_CHARACTERS,
    WAITED_AT_MOST_S,
    JsonLinesHandler,
    LogContext,
    OwnPipe,
)
from procvision_sdk.wire.messages import Call, SessionRef


class Pipe:
    """Stands in for the guardian's pipe: takes so many bytes at a time, or nothing."""

    def __init__(self) -> None:
        self.written = b""
        self.room: int | None = None
        self.logs = 1  # writable, as far as `select` is concerned
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1

    def write_log(self, data: bytes) -> int:
        if self.room == 0:
            raise BlockingIOError
        taken = data if self.room is None else data[: self.room]
        self.written += taken
        return len(taken)

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.splitlines()]


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
def context() -> LogContext:
    return LogContext()


@pytest.fixture
def logger(pipe: Pipe, context: LogContext) -> logging.Logger:
    made = logging.Logger("vendor")
    made.addHandler(JsonLinesHandler(pipe, "weld-check", context, pipe.drop))  # type: ignore[arg-type]
    return made


def test_line_names_the_call_that_is_executed(logger: logging.Logger, pipe: Pipe, context: LogContext) -> None:
    """Session, step, trace id, as far as there are any."""
    session = SessionRef(id="s", context={"trace_id": "t"})
    context.call = Call(request_id="r", phase="execute", step_index=2, session=session)
    logger.warning("lamp %d", 3)
    context.call = None
    logger.info("after")
    during, after = pipe.records
    assert during["timestamp_ms"] > 0
    del during["timestamp_ms"], after["timestamp_ms"]
    known = {"algorithm": "weld-check", "logger": "vendor"}
    place = {"request_id": "r", "step_index": 2, "session_id": "s", "trace_id": "t"}
    assert during == {"level": "warning", "message": "lamp 3", **known, **place}
    assert after == {"level": "info", "message": "after", **known}


def test_named_values_stand_beside_the_hosts_own(logger: logging.Logger, pipe: Pipe) -> None:
    """And never in their place."""
    logger.info("x", extra={"fields": {"lamp": 3, "level": "mine", "message": "mine", 7: "seven", "odd": {1, 2}}})
    (record,) = pipe.records
    assert (record["lamp"], record["level"], record["message"], record["7"]) == (3, "info", "x", "seven")


def test_traceback_is_part_of_the_message(logger: logging.Logger, pipe: Pipe) -> None:
    """One record, one line."""
    try:
        raise ValueError("cause\nof two lines")
    except ValueError:
        logger.exception("failed")
    (record,) = pipe.records
    assert record["message"].startswith("failed\nTraceback")
    assert record["message"].endswith("ValueError: cause\nof two lines")


class UntellableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


class UnsayableError(Exception):
    def __str__(self) -> str:
        raise ValueError("\ud800")

    def __repr__(self) -> str:
        return "\ud800"


@pytest.mark.parametrize(
    ("message", "arguments", "more"),
    [
        ("too few %s %s", ("one",), {}),
        ("%d", ("text",), {}),
        ("\ud800", (), {}),
        ("\x00\x1b[31m", (), {}),
        ("%s", (UntellableError(),), {}),
        (UntellableError(), (), {}),
        (UnsayableError(), (), {}),
        ("x", (), {"exc_info": UntellableError()}),
        ("x", (), {"extra": {"fields": {"a": float("nan"), "b": b"x", "c": object(), "d": 10**400}}}),
        ("x", (), {"extra": {"fields": {"\ud800": "\ud800"}}}),
        ("x", (), {"extra": {"fields": [1]}}),
    ],
)
def test_record_that_cannot_be_written_is_told_all_the_same(
    logger: logging.Logger, pipe: Pipe, message: object, arguments: tuple[Any, ...], more: dict[str, Any]
) -> None:
    """A vendor's record never takes the host down and never breaks the log's form."""
    logger.error(message, *arguments, **more)
    (record,) = pipe.records
    assert {"timestamp_ms", "level", "message", "logger", "algorithm"} <= set(record)
    assert record["level"] == "error"


def test_logger_whose_name_is_no_text_is_told_all_the_same(pipe: Pipe, context: LogContext) -> None:
    """A vendor names its loggers."""
    made = logging.Logger("\ud800")
    made.addHandler(JsonLinesHandler(pipe, "weld-check", context))  # type: ignore[arg-type]
    made.error("x")
    (record,) = pipe.records
    assert record["logger"] == "?"


def test_long_message_is_cut_and_a_long_line_goes_without_its_fields(logger: logging.Logger, pipe: Pipe) -> None:
    """A log line is for reading."""
    logger.info("\x00" * 100_000)
    logger.info("x", extra={"fields": {"blob": "y" * 1_000_000}})
    cut, bare = pipe.records
    assert len(cut["message"]) == MAX_MESSAGE_CHARACTERS
    assert "blob" not in bare
    assert bare["left_out_bytes"] > MAX_LINE_BYTES
    assert max(map(len, pipe.written.splitlines())) <= MAX_LINE_BYTES


def test_line_that_finds_no_room_is_dropped_and_counted(logger: logging.Logger, pipe: Pipe) -> None:
    """Whole."""
    pipe.room = 0
    logger.info("lost")
    pipe.room = None
    logger.info("kept")
    assert [record["message"] for record in pipe.records] == ["kept"]
    assert pipe.dropped == 1


def test_lines_wait_for_the_guardian_but_not_for_ever(context: LogContext) -> None:
    """One that reads a little late loses nobody a line; one that has stopped costs a second, not a patience a line."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    made, dropped = logging.Logger("vendor"), list[int]()
    made.addHandler(JsonLinesHandler(OwnPipe(write_end), "weld-check", context, lambda: dropped.append(1)))
    reader = threading.Thread(target=lambda: [time.sleep(0.01) or os.read(read_end, 16384) for _ in range(14)])
    try:
        reader.start()
        for _ in range(200):  # three times what the pipe holds
            made.info("x" * 1000)
        reader.join()
        assert dropped == []
        for _ in range(2000):
            made.info("x" * 1000)
        assert len(dropped) > 1900
        handler = made.handlers[0]
        assert isinstance(handler, JsonLinesHandler)
        assert handler._waited_s < WAITED_AT_MOST_S + LINE_PATIENCE_S  # two thousand patiences are seven minutes
    finally:
        os.close(read_end)
        os.close(write_end)


def test_line_that_is_taken_in_pieces_is_whole(logger: logging.Logger, pipe: Pipe) -> None:
    """A pipe takes a long line as it finds room."""
    pipe.room = 10
    logger.info("a message of some length")
    assert pipe.records[0]["message"] == "a message of some length"


def test_torn_line_is_ended_before_the_next(logger: logging.Logger, pipe: Pipe) -> None:
    """Where the room ran out in the middle: two lines are never one."""

    class Narrow(Pipe):
        def write_log(self, data: bytes) -> int:
            taken = super().write_log(data)
            self.room = 0
            return taken

    narrow = Narrow()
    narrow.room = 10
    (handler,) = logger.handlers
    assert isinstance(handler, JsonLinesHandler)
    handler._ends = narrow  # type: ignore[assignment]
    logger.info("torn")
    handler._ends = pipe  # type: ignore[assignment]
    logger.info("next")
    assert pipe.written.startswith(b"\n{")
    assert json.loads(pipe.written)["message"] == "next"
