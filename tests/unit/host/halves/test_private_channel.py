"""Questions and answers between cell and host half, by real pipes."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from procvision_host.halves.messages import CellChannel, Done, HostChannel, LostChannelError, Plan, Refused
from procvision_sdk.errors import CallRefusedError


class Pipes:
    """What a cell's ends do here, and the host half's."""

    def __init__(self) -> None:
        self.requests, self.write = os.pipe()
        self.read, self.replies = os.pipe()
        self.threads: list[threading.Thread] = []

    def end(self) -> None:
        """Nobody asks any more."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def write_request(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.write, rest) :]

    def read_reply(self, most: int) -> bytes:
        return os.read(self.read, most)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.end()
    for thread in made.threads:
        thread.join()
    for descriptor in (made.requests, made.read, made.replies):
        os.close(descriptor)


def answering(pipes: Pipes, answer: Any) -> list[Any]:
    """Answers each question in a thread, and keeps it."""
    asked: list[Any] = []

    def serve() -> None:
        channel = HostChannel(pipes.requests, pipes.replies)
        while (question := channel.question()) is not None:
            asked.append(question)
            channel.answer(answer(question))

    pipes.threads.append(threading.Thread(target=serve, daemon=True))
    pipes.threads[-1].start()
    return asked


@pytest.mark.parametrize("size", [0, 1, 65_530, 65_536, 70_000, 5_000_000])
def test_what_is_asked_comes_back_whole(pipes: Pipes, size: int) -> None:
    """Of every length, also of many times what a pipe holds."""
    asked = answering(pipes, lambda question: Done(question[1]))
    channel = CellChannel(pipes)  # type: ignore[arg-type]
    for number in range(3):
        data = bytes([number]) * size
        assert channel.ask("echo", data) == data
    assert len(asked) == 3


def test_a_refusal_is_raised_as_it_was(pipes: Pipes) -> None:
    """With code, kind, text and whether it may be tried again."""
    refusal = CallRefusedError("9999", "session_store", "the disk is full", retryable=True)
    answering(pipes, lambda _: Refused.of(refusal))
    with pytest.raises(CallRefusedError, match="the disk is full") as caught:
        CellChannel(pipes).ask("load", "one")  # type: ignore[arg-type]
    assert (caught.value.error_code, caught.value.kind, caught.value.retryable) == ("9999", "session_store", True)


def test_the_plan_crosses(pipes: Pipes) -> None:
    """Every part of it."""
    plan = Plan(failed=None, remote_sessions=True, memory={"ttl_s": 3.0}, schemes=["file"], calls=True, wrapped=True)
    answering(pipes, lambda _: Done(plan))
    assert CellChannel(pipes).plan() == plan  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "written", [struct.pack("<I", 2**31), struct.pack("<I", 3) + b"\xc1\xc1\xc1", struct.pack("<I", 1) + b"\x01\x02"]
)
def test_what_is_no_question_is_an_error(pipes: Pipes, written: bytes) -> None:
    """A vendor's code may write into the pipe: nothing is allocated for its word, and nothing is guessed."""
    os.write(pipes.write, written)
    with pytest.raises(LostChannelError):
        HostChannel(pipes.requests, pipes.replies).question()


def test_the_end_is_the_end(pipes: Pipes) -> None:
    """When nobody can ask any more, also in the middle of a question."""
    os.write(pipes.write, struct.pack("<I", 100) + b"half")
    pipes.end()
    assert HostChannel(pipes.requests, pipes.replies).question() is None
