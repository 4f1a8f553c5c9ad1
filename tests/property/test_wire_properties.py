"""What holds of the wire for all bytes, all chunks and all values."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procvision_sdk.plain import MAX_DEPTH, MAX_VALUE_DEPTH, PlainValueError, plain
from procvision_sdk.wire.codec import Codec, nesting_depth
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import REFUSALS, LocalProtocolError, RemoteProtocolError
from procvision_sdk.wire.events import Event, Violation
from procvision_sdk.wire.frames import FrameSplitter, frame
from procvision_sdk.wire.greeting import HOST_CAPABILITIES, PROTOCOL_VERSION, hello_frame, quoted
from procvision_sdk.wire.messages import (
    MESSAGE_TYPES,
    AlgorithmName,
    AnyMessage,
    Call,
    Error,
    ErrorData,
    HostHello,
    InFlight,
    Ping,
    Pong,
    Result,
    RunnerHello,
    SessionRef,
    Shutdown,
)
from procvision_sdk.wire.tables import ConnectionState, Role

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
IDS = st.sampled_from(["", "a", "b", "c", "ü", "x" * 256, "x" * 257])
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(MESSAGE_TYPES) | JSON_VALUES},
    optional={
        "request_id": IDS | JSON_VALUES,
        "phase": st.sampled_from(["pre", "execute"]) | JSON_VALUES,
        "status": st.sampled_from(["OK", "ERROR"]) | JSON_VALUES,
        "state": TEXT,
        "sdk_version": st.sampled_from(["1.0", "2.0", "", "1"]),
        "runner_version": st.sampled_from(["1.0", "9.0", "x"]),
        "step_index": JSON_VALUES,
        "session": JSON_VALUES | st.just({"id": "s"}),
        "data": JSON_VALUES,
        "message": TEXT,
        "executing": JSON_VALUES,
        "unknown": JSON_VALUES,
    },
)
PIECES = (
    FIELDS.map(lambda fields: frame(json.dumps(fields).encode()))
    | FIELDS.map(lambda fields: frame(json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")))
    | st.binary(max_size=20).map(frame)
    | st.binary(max_size=20)
    | st.sampled_from([b"\x00\x00\x00\x00", b"\x00\x00", b"\xff\xff\xff\xff", frame(b"[" * 70), frame(b'{"type":NaN}')])
)
STREAMS = st.lists(PIECES, max_size=8).map(b"".join)


def in_state(role: Role, state: str) -> Connection:
    """A fresh connection, some way into its life."""
    connection = Connection(role, now=0.0)
    if role is Role.HOST:
        connection.hello_was_written()
        if state != "early":
            connection.receive(frame(b'{"type":"hello","runner_version":"1.0"}'))
        if state == "draining":
            connection.drain()
    elif state != "early":
        connection.receive(hello_frame("x", 1))
        connection.send(RunnerHello(runner_version="1.0"))
        connection.send(Call(request_id="a", phase="pre"))
        if state == "draining":
            connection.send(Shutdown())
    return connection


STATES = st.sampled_from(["early", "open", "draining"])


def without_quotation(event: Event) -> Event:
    """A text in a frame's place is quoted as far as it came with its start, so its message depends on the cuts."""
    if isinstance(event, Violation) and event.kind == "frame_too_large":
        return msgspec.structs.replace(event, message="", reply=None)
    return event


@given(STREAMS, st.data(), st.sampled_from(Role), STATES)
@settings(max_examples=300)
def test_any_chunking_gives_the_same_events(stream: bytes, data: st.DataObject, role: Role, state: str) -> None:
    """However a byte stream is cut, its events, its end and the state it leaves are the same."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    ways = [
        [stream],
        [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)],
        [stream[i : i + 1] for i in range(len(stream))],
    ]
    outcomes: list[tuple[list[Event], list[Event], ConnectionState, int]] = []
    for chunks in ways:
        connection = in_state(role, state)
        events = [without_quotation(event) for chunk in chunks for event in connection.receive(chunk)]
        outcomes.append((events, connection.receive_end(), connection.state, connection.pending))
    assert outcomes[1] == outcomes[0]
    assert outcomes[2] == outcomes[0]


@given(STREAMS, st.sampled_from(Role), STATES)
@settings(max_examples=300)
def test_no_bytes_raise_and_every_reply_can_be_sent(stream: bytes, role: Role, state: str) -> None:
    """Whatever a peer sends becomes events; what is offered as a reply goes out and is readable to the other side."""
    connection = in_state(role, state)
    peer = Codec(Role.RUNNER if role is Role.HOST else Role.HOST)
    for event in [*connection.receive(stream), *connection.receive_end(), *connection.receive(b"\x00" * 5)]:
        if isinstance(event, Ping):
            connection.send(Pong(request_id=event.request_id, state="ready"))
        if isinstance(event, Violation):
            assert event.kind in REFUSALS
            if event.reply is not None and connection.state is not ConnectionState.CLOSED:
                sent = connection.send(event.reply)
                assert len(sent) < 2000
                reply = peer.decode(sent[4:])
                assert isinstance(reply, Error)
                assert (reply.error_code, reply.data and reply.data.kind) == ("1000", event.kind)


@given(st.lists(st.binary(max_size=30), max_size=10), st.integers(1, 40))
@settings(max_examples=150)
def test_splitter_gives_back_what_was_framed(payloads: list[bytes], chunk_bytes: int) -> None:
    """Frames put together and cut anyhow come back as the payloads they were."""
    stream = b"".join(map(frame, payloads))
    splitter = FrameSplitter()
    found = [p for i in range(0, len(stream), chunk_bytes) for p in splitter.feed(stream[i : i + chunk_bytes])]
    assert found == payloads
    assert not splitter.inside_frame


def walked_depth(text: str) -> int:
    """How deep a JSON text nests, by walking it: the slow and plain way."""
    depth = deepest = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            escaped, in_string = (char == "\\" and not escaped), (char != '"' or escaped)
        elif char == '"':
            in_string = True
        else:
            depth += (char in "[{") - (char in "]}")
            deepest = max(deepest, depth)
    return deepest


@given(
    st.recursive(
        TEXT | st.text('[]{}"\\n', max_size=9),
        lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text('[{"\\', max_size=3), x, max_size=3),
    ),
    st.booleans(),
)
@settings(max_examples=200)
def test_depth_by_bulk_operations_is_the_walked_depth(value: Any, ascii_only: bool) -> None:
    """Brackets, quotes and backslashes inside strings don't confuse the measure."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert nesting_depth(text.encode()) == walked_depth(text)


@given(st.binary(max_size=60) | st.text('[]{}"\\', max_size=60).map(str.encode))
@settings(max_examples=150)
def test_measuring_any_bytes_never_raises(payload: bytes) -> None:
    """Also of what isn't JSON."""
    assert nesting_depth(payload) <= payload.count(b"[") + payload.count(b"{")


SHORT_IDS = st.none() | st.text(st.characters(codec="utf-8"), max_size=256)
COUNTS = st.none() | st.integers(-(2**53), 2**53)
OBJECTS = st.dictionaries(TEXT, JSON_VALUES, max_size=3)
CALLS = st.builds(
    Call,
    request_id=SHORT_IDS,
    timestamp_ms=COUNTS,
    phase=TEXT,
    step_index=COUNTS,
    pid=st.none() | TEXT,
    session=st.none() | st.builds(SessionRef, id=TEXT, context=OBJECTS, final=st.booleans()),
    user_params=st.none() | OBJECTS,
    shared_mem_id=st.none() | TEXT,
    image_meta=st.none() | OBJECTS,
    timeout_ms=COUNTS,
)
TO_RUNNER = (
    st.builds(
        Result,
        request_id=SHORT_IDS,
        phase=TEXT,
        step_index=COUNTS,
        status=st.sampled_from(["OK", "ERROR"]),
        message=TEXT,
        error_code=st.none() | TEXT,
        data=OBJECTS,
    )
    | st.builds(
        Error,
        request_id=SHORT_IDS,
        message=TEXT,
        error_code=TEXT,
        data=st.none() | st.builds(ErrorData, kind=TEXT, retryable=st.booleans(), detail=JSON_VALUES),
    )
    | st.builds(
        Pong,
        request_id=SHORT_IDS,
        state=TEXT,
        executing=st.none() | st.builds(InFlight, request_id=SHORT_IDS, elapsed_ms=st.integers(0, 2**53)),
    )
    | st.builds(HostHello, sdk_version=TEXT, algorithm=st.none() | st.builds(AlgorithmName, name=TEXT))
    | st.builds(Shutdown, status=st.none() | TEXT)
)


@given(CALLS)
@settings(max_examples=100)
def test_what_a_runner_encodes_a_host_decodes(message: Call) -> None:
    """A call comes out as it went in."""
    assert Codec(Role.HOST).decode(Codec(Role.RUNNER).encode(message)) == message


@given(TO_RUNNER)
@settings(max_examples=150)
def test_what_a_host_encodes_a_runner_decodes(message: AnyMessage) -> None:
    """So does every message of a host; any other JSON parser reads it, too."""
    payload = Codec(Role.HOST).encode(message)
    assert Codec(Role.RUNNER).decode(payload) == message
    assert json.loads(payload)["type"] == message.TYPE


@given(st.text(max_size=20), st.integers(0, 2**31), st.none() | st.integers(1, 10_000))
@settings(max_examples=150)
def test_hello_frame_is_the_message_class(name: str, process_id: int, drain_ms: int | None) -> None:
    """The frame that is put together by hand says what the class would."""
    expected = HostHello(
        sdk_version=PROTOCOL_VERSION,
        capabilities=list(HOST_CAPABILITIES),
        algorithm=AlgorithmName(name=name.encode("utf-8", "replace").decode()),
        process_id=process_id,
        drain_timeout_ms=drain_ms,
    )
    hello = Codec(Role.RUNNER).decode(hello_frame(name, process_id, drain_timeout_ms=drain_ms)[4:])
    if any(0xD800 <= ord(char) <= 0xDFFF for char in name):
        assert isinstance(hello, HostHello)
        assert hello.algorithm is not None
        assert len(hello.algorithm.name) == len(name)
    else:
        assert hello == expected
        assert json.loads(quoted(name)) == name


def test_hello_frame_of_a_plain_name_is_the_encoder_s_to_the_byte() -> None:
    """Same fields, same order, same spelling."""
    message = HostHello(
        sdk_version=PROTOCOL_VERSION,
        capabilities=list(HOST_CAPABILITIES),
        algorithm=AlgorithmName(name="pcb-compare"),
        process_id=4711,
        drain_timeout_ms=10_000,
    )
    assert hello_frame("pcb-compare", 4711, drain_timeout_ms=10_000) == frame(Codec(Role.HOST).encode(message))


def test_header_of_4_gib_allocates_nothing() -> None:
    """The limit is checked on the header."""
    connection = in_state(Role.HOST, "open")
    tracemalloc.start()
    events = [event for _ in range(100) for event in connection.receive(b"\xff\xff\xff\xff" + b"x" * 1000)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [getattr(event, "kind", None) for event in events] == ["frame_too_large"]
    assert peak < 100_000


def nested(levels: int, opening: str, closing: str) -> bytes:
    """A ping that nests `levels` deep, itself included."""
    core = "1" if opening != "[" else ""
    return ('{"type":"ping","x":' + opening * (levels - 1) + core + closing * (levels - 1) + "}").encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_bound_is_exact(opening: str, closing: str) -> None:
    """64 levels are read, 65 are not."""
    step = opening.count("[") + opening.count("{")
    codec = Codec(Role.HOST)
    payload = nested((MAX_DEPTH - 1) // step + 1, opening, closing)
    extra = nested((MAX_DEPTH - 1) // step + 2, opening, closing)
    assert nesting_depth(payload) <= MAX_DEPTH < nesting_depth(extra)
    assert codec.decode(payload) == Ping()
    with pytest.raises(RemoteProtocolError, match="deeper than 64"):
        codec.decode(extra)


@given(
    st.sampled_from([math.nan, math.inf, -math.inf]), st.sampled_from(["data", "detail", "params", "meta", "context"])
)
@settings(max_examples=30)
def test_numbers_that_are_not_finite_never_go_out(number: float, place: str) -> None:
    """Wherever they stand: refused, and never written as null."""
    value = {"deep": [{"x": number}]}
    messages: dict[str, AnyMessage] = {
        "data": Result(phase="pre", status="OK", data=value),
        "detail": Error(data=ErrorData(kind="k", detail=value)),
        "params": Call(user_params=value),
        "meta": Call(image_meta=value),
        "context": Call(session=SessionRef(id="s", context=value)),
    }
    with pytest.raises(LocalProtocolError, match="finite"):
        Codec(Role.HOST).encode(messages[place])


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_numbers_that_are_not_finite_never_come_in(number: bytes) -> None:
    """As a field's value they are refused, spelled as a word or as digits."""
    with pytest.raises(RemoteProtocolError):
        Codec(Role.RUNNER).decode(b'{"type":"result","phase":"pre","status":"OK","data":{"x":' + number + b"}}")


def deep(levels: int, leaf: Any = None) -> Any:
    """A value of so many levels."""
    for _ in range(levels):
        leaf = {"a": leaf} if isinstance(leaf, list) else [leaf]
    return leaf


def test_what_is_sent_is_never_too_deep_to_be_read() -> None:
    """The deepest value that `plain` lets pass, in the deepest place of a frame, is read by the peer."""
    value = plain(deep(MAX_VALUE_DEPTH))
    result = Result(phase="pre", status="OK", data={"debug": {"mean": value}})
    error = Error(data=ErrorData(kind="k", detail={"detail": value}))
    for message in (result, error):
        payload = Codec(Role.HOST).encode(message, checked=True)
        assert Codec(Role.RUNNER).decode(payload) == message
    with pytest.raises(PlainValueError, match="deeper"):
        plain(deep(MAX_VALUE_DEPTH + 1))


@given(JSON_VALUES)
@settings(max_examples=150)
def test_plain_leaves_json_as_it_is(value: Any) -> None:
    """What JSON can carry comes back equal, and the encoder takes it."""
    assert plain(value) == value
    assert json.loads(msgspec.json.encode(plain(value))) == value
