"""Payload bytes to message objects and back. What is refused, and in which words, the conformance tables say."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

import numpy as np
import pytest

from procvision_sdk.wire.codec import Codec, error_for, error_message, nesting_depth
from procvision_sdk.wire.errors import LocalProtocolError, RemoteProtocolError
from procvision_sdk.wire.messages import Call, Error, Ping, Result, SessionRef
from procvision_sdk.wire.tables import Role

HOST, RUNNER = Codec(Role.HOST), Codec(Role.RUNNER)


def refusal(payload: bytes) -> RemoteProtocolError:
    """How a host refuses this."""
    with pytest.raises(RemoteProtocolError) as caught:
        HOST.decode(payload)
    return caught.value


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b"{}", 1),
        (b"[[],[]]", 2),
        (b'{"a":[{}]}', 3),
        (b'"[[["', 0),
        (b'["\\"[["]', 1),
        (b'["\\\\",[]]', 2),
        (b'["\\n","[",[]]', 2),
        (b'["[" ,"]"]', 1),
        (b'{"[":"{"}', 1),
        (b"[" * 1000, 1000),
        (b"]]][[[[", 1),
    ],
)
def test_depth_is_that_of_brackets_outside_strings(text: bytes, depth: int) -> None:
    """Escapes and seams between strings included."""
    assert nesting_depth(text) == depth


def test_many_brackets_are_measured_quickly() -> None:
    """A frame of four megabytes of brackets must not hold a host for seconds."""
    began = time.perf_counter()
    nesting_depth(b"[" + b'{"a":[]},' * 450_000 + b"1]")
    assert time.perf_counter() - began < 2


def test_refusal_tells_kind_type_and_id() -> None:
    """What the answer and the caller need."""
    error = refusal(b'{"type":"ping","request_id":"p","timestamp_ms":"x"}')
    assert (error.kind, error.message_type, error.request_id, error.fatal) == ("bad_field", "ping", "p", False)
    assert "timestamp_ms" in str(error)


def test_refusal_never_repeats_a_long_value() -> None:
    """An answer must fit into a frame, whatever it answers."""
    long = b"x" * 100_000
    assert len(str(refusal(b'{"type":"' + long + b'"}'))) < 400
    assert len(str(refusal(b'{"type":"result","phase":"pre","status":"' + long + b'"}'))) < 400
    assert refusal(b'{"type":5,"request_id":"' + long + b'"}').request_id is None


def test_id_is_read_beside_a_number_out_of_range() -> None:
    """So that the call gets its answer."""
    assert refusal(b'{"type":"call","request_id":"c","user_params":{"x":1e999}}').request_id == "c"


def test_decoded_call_is_flat() -> None:
    """What stood inside `data` stands at the top."""
    call = HOST.decode(b'{"type":"call","phase":"pre","data":{"phase":"execute","pid":"A"}}')
    assert call == Call(phase="pre", pid="A")


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        b"x",
        {1: 2},
        pytest.param(object(), id="object"),
        {1},
        np.zeros(2),
        np.float64("nan"),
        1j,
    ],
    ids=repr,
)
def test_value_that_json_cannot_carry_is_refused_with_its_place(value: Any) -> None:
    """Never silently converted."""
    with pytest.raises(LocalProtocolError, match=r"this result.*data\.deep\[0\]"):
        HOST.encode(Result(phase="pre", status="OK", data={"deep": [value]}))


def test_lone_surrogate_is_refused() -> None:
    """No peer could read it."""
    with pytest.raises(LocalProtocolError, match="surrogates"):
        HOST.encode(Result(phase="pre", status="OK", data={"x": "\ud800"}))


def test_cycle_is_refused() -> None:
    """By the bound on nesting."""
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(LocalProtocolError, match="contains itself"):
        HOST.encode(Result(phase="pre", status="OK", data=data))


def test_numpy_scalars_and_tuples_become_what_they_stand_for() -> None:
    """In every free-form field."""

    class Colour(StrEnum):
        RED = "red"

    call = Call(
        user_params={"a": np.int64(3), "b": (1, np.float32(0.5))},
        image_meta={"width": np.uint16(7)},
        session=SessionRef(id="s", context={"colour": Colour.RED}),
    )
    assert HOST.decode(RUNNER.encode(call)) == Call(
        user_params={"a": 3, "b": [1, 0.5]},
        image_meta={"width": 7},
        session=SessionRef(id="s", context={"colour": "red"}),
    )


def test_error_message_has_all_its_fields() -> None:
    """Also those at their defaults."""
    payload = HOST.encode(error_message("1002", "stale_image", "gone", request_id="c", retryable=True, detail=[1]))
    assert payload == (
        b'{"type":"error","request_id":"c","status":"ERROR","message":"gone","error_code":"1002",'
        b'"data":{"kind":"stale_image","retryable":true,"detail":[1]}}'
    )
    assert b'"error_code":"9999"' in HOST.encode(Error())


def test_violation_becomes_an_error_1000() -> None:
    """With the refused frame's id."""
    error = error_for(RemoteProtocolError("busy", "full", request_id="c", retryable=True))
    assert (error.error_code, error.request_id, error.message) == ("1000", "c", "full")
    assert error.data is not None
    assert (error.data.kind, error.data.retryable) == ("busy", True)


def test_payload_may_be_empty_of_all_but_its_type() -> None:
    """The shortest message."""
    assert HOST.decode(b'{"type":"ping"}') == Ping()
    assert RUNNER.encode(Ping()) == b'{"type":"ping"}'
