"""What a record of the cell says: an answer, the call that it was to, or events of sessions and of the host's life.

What is put down before an answer is written is the answer alone, since the caller waits for it; the call follows after
that. A cell that dies in between leaves an answer whose call is told as far as the answer says it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_sdk.wire.greeting import HEADER_BYTES

if TYPE_CHECKING:
    from procvision_sdk.wire.messages import Call

ANSWER, CALL, EVENTS = 1, 2, 3
_FAILED, _DIAGNOSTICS = 1, 2
_FACTS = struct.Struct("<dQB")
"""elapsed_ms, ended_at_ns and flags; after them comes the answer's frame."""
_pack_facts = _FACTS.pack
_encode_call = msgspec.json.Encoder().encode
"""JSON, since a context may hold integers of any size."""
_FIELDS = ("phase", "step_index", "pid", "request_id", "session_id", "context", "final")


def told_call(call: Call) -> bytes:
    """Return a call as observers know it, in the order of its fields."""
    session = call.session
    if session is None:
        return _encode_call((call.phase, call.step_index, call.pid, call.request_id, None, {}, False))
    final = bool(session.final)
    return _encode_call((call.phase, call.step_index, call.pid, call.request_id, session.id, session.context, final))


def named(told: bytes) -> dict[str, Any]:
    """Return the same with its fields' names. Raises ValueError for what isn't one."""
    return dict(zip(_FIELDS, msgspec.json.decode(told, type=list[Any]), strict=True))


def facts_of_answer(elapsed_ms: float, ended_at_ns: int, *, failed: bool, diagnostics: bool) -> bytes:
    """Return what stands before an answer's frame."""
    return _pack_facts(elapsed_ms, ended_at_ns, (_FAILED if failed else 0) | (_DIAGNOSTICS if diagnostics else 0))


def events_record(events: list[tuple[str, dict[str, Any]]]) -> bytes:
    """Return the record of events: names of hooks, each with its arguments."""
    return msgspec.msgpack.encode(events)


class AnswerRecord:
    """An answer that was taken, and its call; both are decoded as often as they are asked for."""

    __slots__ = ("_call", "_payload", "diagnostics", "elapsed_ms", "ended_at_ns", "failed")

    def __init__(self, data: bytes) -> None:
        """Raise ValueError for what is none."""
        if len(data) < _FACTS.size + HEADER_BYTES:
            raise ValueError(f"an answer's record has {_FACTS.size + HEADER_BYTES} bytes at least, not {len(data)}")
        self.elapsed_ms, self.ended_at_ns, flags = _FACTS.unpack_from(data)
        self.failed = bool(flags & _FAILED)
        self.diagnostics = bool(flags & _DIAGNOSTICS)
        self._payload = data[_FACTS.size + HEADER_BYTES :]
        self._call: bytes | None = None

    def with_call(self, told: bytes | None) -> AnswerRecord:
        """Return the same with its call; None if the cell died before that was recorded. Raises ValueError."""
        self._call = told
        self.call()
        return self

    def call(self) -> dict[str, Any]:
        """Return the call as observers know it."""
        if self._call is not None:
            return named(self._call)
        answer = self.answer()
        known = {name: answer.get(name) for name in ("phase", "step_index", "request_id")}
        return dict.fromkeys(_FIELDS) | {"context": {}, "final": False} | known

    def answer(self) -> dict[str, Any]:
        """Return the answer's message."""
        answer: dict[str, Any] = msgspec.json.decode(self._payload, type=dict[str, Any])
        return answer
