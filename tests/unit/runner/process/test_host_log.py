"""A host's stderr as records, whatever comes over it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from procvision_runner.process.host_log import MAX_LINE_BYTES, HostLog


class Stderr:
    """A pipe and the log that reads it."""

    def __init__(self, kept: int = 100, on_record: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self.read_end, self.write_end = os.pipe()
        self.log = HostLog(self.read_end, kept, on_record)

    def says(self, data: bytes) -> list[str]:
        """Writes, and gives the messages that were read since."""
        before = len(self.log.records)
        os.write(self.write_end, data)
        self.log.read()
        return [record["message"] for record in list(self.log.records)[before:]]

    def end(self) -> None:
        """The host's end."""
        os.close(self.write_end)
        self.log.settle(10)


@pytest.fixture
def stderr() -> Iterator[Stderr]:
    made = Stderr()
    yield made
    os.close(made.read_end)


def test_line_is_a_record(stderr: Stderr) -> None:
    """With all its fields, however it was cut on the way."""
    assert stderr.says(b'{"message":"one","lamp":3}\n{"mess') == ["one"]
    assert stderr.says(b'age":"two"}\n') == ["two"]
    assert stderr.log.records[0]["lamp"] == 3


@pytest.mark.parametrize(
    "fields",
    [
        b'"level":[],"logger":{},"timestamp_ms":"x"',
        b'"level":5,"request_id":["a"],"timestamp_ms":-1',
        b'"level":null,"session_id":{},"timestamp_ms":99999999999999999',
        b'"trace_id":7,"algorithm":[],"timestamp_ms":1.5',
    ],
)
def test_what_an_algorithm_puts_into_a_record_is_of_the_types_that_are_read(stderr: Stderr, fields: bytes) -> None:
    """It may write the line itself. Who shows it, compares it or keeps it relies on texts and a time."""
    assert stderr.says(b'{"message":"m","lamp":[1],' + fields + b"}\n") == ["m"]
    record = stderr.log.records[0]
    assert (record["level"], record["lamp"]) == ("info", [1])
    assert all(isinstance(record[name], str) for name in record.keys() - {"lamp", "timestamp_ms"})
    assert 0 < record["timestamp_ms"] < 10**14
    msgspec.json.encode(record)


@pytest.mark.parametrize(
    "line",
    [
        b"Segmentation fault",
        b"[1]",
        b"null",
        b'{"level":"info"}',
        b'{"message":7}',
        b"\xff\xfe",
        b'{"message":"\\ud800"}',
        b"[" * 5000,
        b"{",
    ],
    ids=repr,
)
def test_what_is_no_record_becomes_one(stderr: Stderr, line: bytes) -> None:
    """A host of another make, or a crash's last words."""
    (message,) = stderr.says(line + b"\n")
    assert message == line.decode("utf-8", "replace")
    assert stderr.log.records[0]["logger"] == "stderr"


def test_last_line_needs_no_end(stderr: Stderr) -> None:
    """It is often the one that matters."""
    stderr.says(b"cannot load libcuda")
    stderr.end()
    assert stderr.log.ended
    assert [record["message"] for record in stderr.log.records] == ["cannot load libcuda"]


def test_flood_without_an_end_is_cut(stderr: Stderr) -> None:
    """No host fills its runner's memory."""
    os.set_blocking(stderr.write_end, False)
    for _ in range(4):
        stderr.says(b"x" * 65536)
    assert max(len(record["message"]) for record in stderr.log.records) <= 2 * MAX_LINE_BYTES
    assert len(stderr.log._tail) <= 2 * MAX_LINE_BYTES
    os.close(stderr.write_end)


def test_only_the_last_are_kept_and_each_is_told_once() -> None:
    """In their order, on a thread that may take its time."""
    told: list[str] = []
    all_told = threading.Event()

    def listen(record: Mapping[str, Any]) -> None:
        told.append(record["message"])
        if len(told) == 20:
            all_told.set()

    stderr = Stderr(5, listen)
    for number in range(20):
        stderr.says(b'{"message":"%d"}\n' % number)
    stderr.end()
    assert [record["message"] for record in stderr.log.records] == ["15", "16", "17", "18", "19"]
    assert all_told.wait(30)
    stderr.log.close()
    assert told == [str(number) for number in range(20)]
    os.close(stderr.read_end)
