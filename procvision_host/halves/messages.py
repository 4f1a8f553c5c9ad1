"""The private channel: the cell asks, the host half answers, one question at a time, by two pipes.

Pipes, since a descriptor of one that a vendor's code closed can be opened again; what crosses is msgpack
with its length before it. Questions are numbered: who asks in the cell's name is found out by the next one.
"""

from __future__ import annotations

import logging
import os
import select
import struct
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_host.exits import ALGORITHM_FAILED
from procvision_host.logs import HOST_LOGGER
from procvision_sdk.errors import CallRefusedError

if TYPE_CHECKING:
    from procvision_host.process.channels import HostEnds

REST_S = 3.0
"""How long the next piece of a question may take: the cell writes it as fast as it is read."""
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""More than any session, picture's description or answer has."""
_log = logging.getLogger(HOST_LOGGER)
_LENGTH = struct.Struct("<I")
_READ_BYTES = 4096
"""Room for what crosses as a rule; more would cost fresh memory at every read."""


class Plan(msgspec.Struct, omit_defaults=True):
    """What the host half has for the cell to know, once it has read its configuration."""

    failed: tuple[str, str, str, int, bool] | None = None
    """Code, kind and text of what is wrong with the configuration, and the exit status that follows from it."""
    remote_sessions: bool = False
    """Whether the host half keeps the sessions."""
    memory: dict[str, Any] = {}
    """Otherwise, what the store in memory is made with."""
    table: dict[str, Any] = {}
    """What the sessions in a table are made with, where the cell was handed one."""
    schemes: list[str] = []
    """The schemes of pictures that the host half opens."""
    calls: bool = False
    """Whether somebody is told of calls; likewise of sessions, of the host's life, and whether calls have wrappers."""
    sessions: bool = False
    life: bool = False
    wrapped: bool = False


class Refused(msgspec.Struct, tag=True):
    """The answer to a question that is a CallRefusedError."""

    code: str
    kind: str
    text: str
    retryable: bool

    @staticmethod
    def of(refusal: CallRefusedError) -> Refused:
        """As it crosses."""
        return Refused(str(refusal.error_code), refusal.kind, str(refusal), refusal.retryable)


class Done(msgspec.Struct, tag=True):
    """The answer to a question that could be answered."""

    value: Any = None


_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Refused | Done).decode
_decode_question = msgspec.msgpack.Decoder(list[Any]).decode


class LostChannelError(Exception):
    """What came is no message: the two sides don't understand each other any more."""


class CellChannel:
    """The cell's end. Any thread may ask."""

    def __init__(self, ends: HostEnds) -> None:
        self._ends = ends
        self._lock = Lock()
        self._asked: tuple[Any, ...] | None = None
        """A question whose answer is on its way, and is asked for later."""
        self._number = 0

    def begin(self, *question: Any) -> None:
        """Send a question without waiting. `ask` with the same question returns the answer."""
        with self._lock:
            if self._asked is not None:
                self._answer()
            self._asked = question
            self._write(question)

    def ask(self, *question: Any) -> Any:
        """Ask, and return the answer's value. Raises CallRefusedError for an answer that is a refusal."""
        with self._lock:
            asked, self._asked = self._asked, None
            if asked != question:
                if asked is not None:
                    self._answer()  # nobody wants it any more
                self._write(question)
            answer = self._answer()
        if isinstance(answer, Refused):
            raise CallRefusedError(answer.code, answer.kind, answer.text, retryable=answer.retryable)
        return answer.value

    def grants(self) -> list[str]:
        """Return the grants of the configuration, by name: under `strict` the first question, asked once."""
        return msgspec.convert(self.ask("grants"), list[str])

    def hidden(self) -> list[str]:
        """Return the host half's files that this process isn't to see: under `basic` the first question."""
        return msgspec.convert(self.ask("hidden"), list[str])

    def _write(self, question: tuple[Any, ...]) -> None:
        self._number += 1
        self._ends.write_request(_framed((self._number, *question)))

    def _answer(self) -> Refused | Done:
        try:
            return _decode_answer(_read_frame(self._ends.read_reply))
        except (LostChannelError, msgspec.DecodeError) as error:
            # From now on each answer could be another question's: no state of a session may come of that.
            _log.critical("what came from the host half is no answer, this process ends: %s", error)
            os._exit(ALGORITHM_FAILED)

    def plan(self) -> Plan:
        """Wait until the host half has read the configuration, and return what it says of it."""
        return msgspec.convert(self.ask("plan"), Plan)


class HostChannel:
    """The host half's end; one thread reads and answers."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests = requests
        self._replies = replies
        self._poller = select.poll()
        self._poller.register(requests, select.POLLIN)
        self._number = 0

    def question(self, idle: Callable[[], None] | None = None, idle_s: float = 0.0) -> list[Any] | None:
        """Return the next question; None when the cell can't ask any more. Raises LostChannelError.

        While none comes, `idle` is called every `idle_s` seconds.
        """
        self._begun = False
        if idle is not None:
            while not self._poller.poll(idle_s * 1000):
                idle()
        try:
            frame = _read_frame(self._read)
        except EOFError:
            return None
        try:
            number, *question = _decode_question(frame)
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise LostChannelError(f"no question: {error}") from None
        self._number += 1
        if number != self._number:
            raise LostChannelError(f"question {self._number} has the number {number!r:.40}: {question!r:.200}")
        return question

    def _read(self, most: int) -> bytes:
        # A question comes when it comes, its rest at once: half of one would hold up the cell's next for ever.
        if self._begun and not self._poller.poll(REST_S * 1000):
            raise LostChannelError(f"of a question a part came, and nothing more within {REST_S:g} s")
        self._begun = True
        return os.read(self._requests, most)

    def answer(self, answer: Refused | Done) -> None:
        """Send an answer. Raises BrokenPipeError if the cell doesn't wait for it any more."""
        data = memoryview(_framed(answer))
        while data:
            data = data[os.write(self._replies, data) :]


def _framed(message: Any) -> bytes:
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


def _read_frame(read: Callable[[int], bytes]) -> bytes:
    """Read one message's bytes. Raises EOFError at the end, LostChannelError for a length that can't be."""
    data = read(_READ_BYTES)
    while len(data) < _LENGTH.size:
        data += _more(read, _READ_BYTES)
    length = _LENGTH.unpack_from(data)[0]
    if length > MAX_MESSAGE_BYTES:
        raise LostChannelError(f"a message of {length} bytes, at most {MAX_MESSAGE_BYTES} cross")
    missing = _LENGTH.size + length - len(data)
    if missing > 0:
        parts = [data]
        while missing > 0:
            parts.append(_more(read, min(missing, 1 << 20)))
            missing -= len(parts[-1])
        data = b"".join(parts)
    if missing < 0:
        raise LostChannelError("more bytes than the message has")
    return data[_LENGTH.size :]


def _more(read: Callable[[int], bytes], most: int) -> bytes:
    data = read(most)
    if not data:
        raise EOFError
    return data
