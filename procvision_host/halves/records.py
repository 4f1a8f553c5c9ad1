"""What a record of the cell says: a call with its answer, or events of sessions and of the host's life.

A call with its answer is one record, so that it is put down by one copy: `steady_core.c` does it without Python.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_sdk.wire.greeting import HEADER_BYTES

if TYPE_CHECKING:
    from procvision_sdk.wire.messages import Call

ANSWERED, EVENTS = 1, 2
_FAILED, _DIAGNOSTICS = 1, 2
_FACTS = struct.Struct("<dQIB")
"""elapsed_ms, ended_at_ns, how many bytes tell of the call, and flags; after them come those bytes and the answer's
frame."""
_pack_facts = _FACTS.pack
_encode_call = msgspec.json.Encoder().encode
"""JSON, since a context may hold integers of any size."""
_decode_call = msgspec.json.Decoder(list[Any]).decode
_decode_answer = msgspec.json.Decoder(dict[str, Any]).decode


def told_call(call: Call) -> bytes:
    """Return a call as observers know it, in the order of its fields."""
    session = call.session
    if session is None:
        return _encode_call((call.phase, call.step_index, call.pid, call.request_id, None, {}, False))
    final = bool(session.final)
    return _encode_call((call.phase, call.step_index, call.pid, call.request_id, session.id, session.context, final))


def told_before_id(call: Call) -> bytes:
    """Return what `told_call` has before a call's id, where that needs no escapes."""
    return _encode_call((call.phase, call.step_index, call.pid))[:-1] + b',"'


def told_behind_id(session_id: bytes, context: bytes, *, final: bool) -> bytes:
    """Return what it has behind the id: of a session whose id needs no escapes, and whose context is this JSON."""
    return b'","%b",%b,%b]' % (session_id, context, b"true" if final else b"false")


def named(told: bytes) -> dict[str, Any]:
    """Return the same with its fields' names. Raises ValueError for what isn't one."""
    phase, step_index, pid, request_id, session_id, context, final = _decode_call(told)
    return {
        "phase": phase,
        "step_index": step_index,
        "pid": pid,
        "request_id": request_id,
        "session_id": session_id,
        "context": context,
        "final": final,
    }


def flags_of(status: str, debug: Any) -> int:
    """Return what is known of an answer undecoded: whether it failed, and whether it has diagnostics."""
    return (0 if status == "OK" else _FAILED) | (_DIAGNOSTICS if debug and len(debug) > 1 else 0)


def before_answer(told: bytes, elapsed_ms: float, ended_at_ns: int, flags: int) -> bytes:
    """Return what stands before an answer's frame; `told` is what `told_call` says of the call."""
    return _pack_facts(elapsed_ms, ended_at_ns, len(told), flags) + told


def events_record(events: list[tuple[str, dict[str, Any]]]) -> bytes:
    """Return the record of events: names of hooks, each with its arguments."""
    return msgspec.msgpack.encode(events)


class AnswerRecord:
    """An answer that was taken, and its call; both are decoded as often as they are asked for."""

    __slots__ = ("_payload", "_told", "diagnostics", "elapsed_ms", "ended_at_ns", "failed")

    def __init__(self, data: bytes) -> None:
        """Raise ValueError for what is none."""
        if len(data) < _FACTS.size:
            raise ValueError(f"an answer's record has {_FACTS.size} bytes at least, not {len(data)}")
        self.elapsed_ms, self.ended_at_ns, call_bytes, flags = _FACTS.unpack_from(data)
        answer_at = _FACTS.size + call_bytes + HEADER_BYTES
        if len(data) < answer_at:
            raise ValueError(f"{call_bytes} bytes of a call and an answer don't fit into {len(data)}")
        self.failed = bool(flags & _FAILED)
        self.diagnostics = bool(flags & _DIAGNOSTICS)
        self._told = data[_FACTS.size : answer_at - HEADER_BYTES]
        self._payload = data[answer_at:]
        self.call()

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self._payload) + len(self._told)

    def call(self) -> dict[str, Any]:
        """Return the call as observers know it."""
        return named(self._told)

    def answer(self) -> dict[str, Any]:
        """Return the answer's message."""
        return _decode_answer(self._payload)
