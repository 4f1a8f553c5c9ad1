"""What is made of a host's log and of stray output, without processes and with a clock of the test's own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from procvision_host.process.output_relay import (
    MAX_BACKLOG_BYTES,
    MAX_LINE_BYTES,
    STRAY_RECORD_BYTES,
    Backlog,
    Lines,
    Stray,
    record,
)
from procvision_host.process.shared_page import SharedPage

NO_CALL = (0, None)
CALL = (1, "c1")


class Sink:
    """A pipe and the backlog that writes into it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.backlog = Backlog(self.write_end)

    def records(self) -> list[dict[str, Any]]:
        """What came out, each line a JSON object."""
        text = b""
        while self.backlog.waiting:
            self.backlog.write_some()
            text += os.read(self.read_end, 1 << 20)
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A backlog whose output can be looked at."""
    made = Sink()
    yield made
    os.close(made.read_end)
    os.close(made.write_end)


def test_output_of_one_call_is_one_record(sink: Sink) -> None:
    """However many pieces it comes in; the count is of bytes, not of letters."""
    board = SharedPage()
    stray = Stray("stdout", "warning", board)
    board.call_begins(1, b"c1")
    for piece in ("grö".encode(), "ßer\n".encode()):
        stray.add(piece, CALL, 1.0, sink.backlog)
    assert not stray.ripe(1.1)
    board.call_ends()
    assert not stray.ripe(1.01)
    assert stray.ripe(1.1)
    stray.report(sink.backlog)
    (told,) = sink.records()
    assert (told["message"], told["bytes"]) == ("output on stdout (9 bytes): größer", 9)
    assert (told["request_id"], told["level"], told["stream"]) == ("c1", "warning", "stdout")


def test_long_pause_in_a_call_ends_a_record(sink: Sink) -> None:
    """A hung call's last words are told while it hangs."""
    board = SharedPage()
    stray = Stray("stderr", "info", board)
    board.call_begins(1, b"c1")
    stray.add(b"stacks", CALL, 1.0, sink.backlog)
    assert not stray.ripe(1.9)
    assert stray.ripe(2.1)


def test_next_calls_output_ends_the_record_before(sink: Sink) -> None:
    """Each record belongs to one call."""
    stray = Stray("stdout", "warning", SharedPage())
    stray.add(b"first", CALL, 1.0, sink.backlog)
    stray.add(b"second", (2, "c2"), 1.0, sink.backlog)
    stray.report(sink.backlog)
    assert [(r["request_id"], r["bytes"]) for r in sink.records()] == [("c1", 5), ("c2", 6)]


def test_flood_is_cut_and_counted(sink: Sink) -> None:
    """A bounded piece of it is shown."""
    stray = Stray("stdout", "warning", SharedPage())
    for _ in range(100):
        stray.add(b"x" * 1000, NO_CALL, 1.0, sink.backlog)
    stray.report(sink.backlog)
    (told,) = sink.records()
    assert told["bytes"] == 100_000
    assert told["message"].count("x") == STRAY_RECORD_BYTES


def test_stacks_are_told_whatever_was_printed_before_and_goes_on(sink: Sink) -> None:
    """A loop that prints while it waits hangs as well."""
    board = SharedPage()
    board.call_begins(1, b"c1")
    stray = Stray("stderr", "info", board)
    stray.add(b"waiting\n" * 1000, CALL, 1.0, sink.backlog)
    stray.add(b"waiting\nThread 0x00007f (most recent call first):\n  in wait\n", CALL, 1.02, sink.backlog)
    stray.add(b"waiting\n" * 1000, CALL, 1.04, sink.backlog)
    assert not stray.ripe(1.05)
    assert stray.ripe(1.13)
    stray.report(sink.backlog)
    before, stacks = (record["message"] for record in sink.records())
    assert before.startswith("output on stderr (8008 bytes): waiting")
    assert "): Thread 0x00007f (most recent call first):\n  in wait\nwaiting" in stacks
    assert stray.due is None


def test_bytes_that_are_no_text_are_told_all_the_same(sink: Sink) -> None:
    """A line of the log is JSON, whatever was written."""
    stray = Stray("stdout", "warning", SharedPage())
    stray.add(b"\xff\x00\x1b[31m\xc3", NO_CALL, 1.0, sink.backlog)
    stray.report(sink.backlog)
    assert sink.records()[0]["bytes"] == 8


def test_lines_that_find_no_room_are_counted(sink: Sink) -> None:
    """The bound holds, and once there is room again a line says how many are missing, also if no other follows."""
    line = b"{" + b" " * 9998 + b"}\n"
    for _ in range(MAX_BACKLOG_BYTES // len(line) + 3):
        sink.backlog.add(line)
    *kept, told = sink.records()
    assert len(kept) == MAX_BACKLOG_BYTES // len(line)
    assert told["message"] == "3 log lines were dropped: stderr was not read"
    sink.backlog.add(record("info", "after"))
    assert [r["message"] for r in sink.records()] == ["after"]


def test_stderr_that_is_a_file_is_not_opened_again(tmp_path: Path) -> None:
    """It would be written from its start."""
    with (tmp_path / "log").open("ab") as file:
        file.write(b"before\n")
        file.flush()
        backlog = Backlog(file.fileno())
        backlog.add(b"{}\n")
        backlog.flush(1.0, 1.0)
    assert (tmp_path / "log").read_bytes() == b"before\n{}\n"


def test_a_pipe_stays_as_it_was_for_others(sink: Sink) -> None:
    """The backlog writes without blocking by a description of its own."""
    sink.backlog.add(b"x" * 300_000 + b"\n")
    sink.backlog.write_some()
    assert sink.backlog.waiting
    assert os.get_blocking(sink.write_end)


def test_closed_stderr_is_given_up(sink: Sink) -> None:
    """Nothing waits for a reader that will never come."""
    os.close(sink.read_end)
    sink.backlog.add(b"{}\n")
    sink.backlog.write_some()
    sink.backlog.add(b"{}\n")
    assert not sink.backlog.waiting
    sink.read_end = os.open(os.devnull, os.O_RDONLY)


def test_reader_who_comes_too_late_finds_whole_lines(sink: Sink) -> None:
    """The backlog stops where the pipe was full, and that is the end of a line."""
    for number in range(2000):
        sink.backlog.add(record("info", f"line {number} " + "x" * (number % 700)))
    sink.backlog.flush(0.01, 0.01)
    text = os.read(sink.read_end, 1 << 20)
    assert text.endswith(b"\n")
    assert [json.loads(line)["message"].split()[1] for line in text.splitlines()] == [
        str(number) for number in range(text.count(b"\n"))
    ]


def test_a_reader_who_is_too_slow_at_the_end_is_told_how_much_it_missed(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last line, for which there is room as soon as it reads on."""
    monkeypatch.setattr("procvision_host.process.output_relay._LAST_WORD_S", 30.0)
    for number in range(2000):
        sink.backlog.add(record("info", f"line {number} " + "x" * 500))
    texts: list[bytes] = []
    reader = threading.Timer(0.2, lambda: texts.append(os.read(sink.read_end, 30_000)))
    reader.start()
    sink.backlog.flush(0.01, 0.01)
    reader.join()
    lines = (texts[0] + os.read(sink.read_end, 1 << 20)).splitlines()
    told = json.loads(lines.pop())["message"]
    assert told == f"{2000 - len(lines)} log lines were dropped: stderr was not read"


def test_flush_ends_with_its_limit(sink: Sink) -> None:
    """A reader that has stopped reading doesn't hold up the end."""
    for _ in range(100):
        sink.backlog.add(b" " * 9999 + b"\n")
    sink.backlog.flush(0.01, 0.01)
    assert len(os.read(sink.read_end, 1 << 20)) < 100 * 10_000


def test_log_lines_are_whole_however_they_are_cut() -> None:
    """A line is one whatever the reads make of it."""
    lines = Lines()
    assert list(lines.take(b'{"a"')) == []
    assert list(lines.take(b':1}\n{"b":2}\n{"c"')) == [b'{"a":1}\n', b'{"b":2}\n']
    assert list(lines.take(b":3}\n")) == [b'{"c":3}\n']
    assert list(lines.end()) == []


def test_torn_line_becomes_a_record() -> None:
    """Of a host that was killed while it wrote, or whose pipe was full."""
    lines = Lines()
    assert list(lines.take(b'{"message":"half')) == []
    (torn,) = lines.end()
    assert json.loads(torn)["message"] == 'a torn log line: {"message":"half'
    (first, second) = lines.take(b'{"mess\n{"message":"whole"}\n')
    assert "torn" in json.loads(first)["message"]
    assert json.loads(second) == {"message": "whole"}


def test_a_line_without_an_end_is_told_in_pieces() -> None:
    """Nothing longer than any line of ours waits for its end, and what follows it is a line again."""
    lines, told = Lines(), []
    for _ in range(100):
        told += lines.take(b"x" * 65536)
        assert len(lines._tail) <= MAX_LINE_BYTES
    assert all(json.loads(line)["message"].startswith("a torn log line: xxx") for line in told)
    assert 0 < sum(map(len, told)) < 100 * 65536 // 5
    lines.take(b"\n")
    assert list(lines.take(b'{"a":1}\n')) == [b'{"a":1}\n']
