"""The host's steady calls and its general code are given the same frames, whole, mutated and of any form.

They give the same answers, and the algorithm is given the same: the steady code lets nothing through that the general
code refuses, and says of what it takes exactly what a decoder says. The steady calls in Python and their compiled form
are held to the same, where that is built.
"""

from __future__ import annotations

import contextlib
import logging
import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from steady_rig import AREA, HEIGHT, IMAGE, WIDTH, Host, Slots
from tabled_rig import TabledHost

from procvision_host.conversation.shared import Conversation
from procvision_host.conversation.steady_calls import CORE, SteadyCalls
from procvision_host.halves import ring as rings
from procvision_host.halves.messages import Plan
from procvision_host.logs import HOST_LOGGER
from procvision_sdk import Ok
from procvision_sdk.compiled import compiled
from procvision_sdk.images.layout import ARENA_SCHEME
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Call, SessionRef
from procvision_sdk.wire.tables import Role

STEADY = ("python", "compiled") if compiled(CORE) else ("python",)


PLANS = {
    "nobody listens": None,
    "calls": Plan(calls=True),
    "calls and sessions": Plan(calls=True, sessions=True),
    "sessions": Plan(sessions=True),
    "the host's life": Plan(life=True),
}


class Hosts(list[Host]):
    """The general code, and what is steady."""

    def agree(self, data: bytes) -> bool:
        """Give all the same bytes; return whether they answer the same, and tell observers the same."""
        general, *steady = [(host.answers(data), host.told()) for host in self]
        return all(answers == general for answers in steady)


@contextlib.contextmanager
def hosts(plan: str = "nobody listens") -> Iterator[Hosts]:
    made = Hosts(Host(kind, PLANS[plan]) for kind in ("general", *STEADY))
    try:
        yield made
    finally:
        for host in made:
            host.ends.close()


ENCODE = Codec(Role.RUNNER).encode
TEXTS = st.text(st.sampled_from('aZ9 -"\\{}[]:,é\u2028\x00'), max_size=8)
RIGHT_PARAMS = [
    None,
    {"level": 1},
    {"level": 0.5, "name": f'","shared_mem_id":"{IMAGE}'},
    {"area": {**AREA, "width": 2}},
]
TIMES = st.integers(1_700_000_000_000, 1_700_000_000_999)


VALUES = st.recursive(
    TEXTS
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.none()
    | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
CONTEXTS = st.dictionaries(TEXTS, VALUES, max_size=3)


@st.composite
def right_calls(draw: st.DrawFn) -> Call:
    """A call that the host executes."""
    step_index = draw(st.sampled_from([1, 2]))
    call = Call(
        request_id=draw(st.sampled_from(["call-1", "call-22"])),
        phase=draw(st.sampled_from(["execute", "execute", "pre"])),
        step_index=step_index,
        pid=draw(st.sampled_from(["A", "B"])),
        session=SessionRef(
            id=draw(st.sampled_from(["s", "0123456789abcdef"])),
            context=draw(st.sampled_from([{}, {"trace_id": "t"}, {"deep": [{"id": "s"}]}])),
            final=draw(st.sampled_from([False, False, True])),
        ),
        user_params=draw(st.sampled_from(RIGHT_PARAMS)) if step_index == 2 else None,
        timeout_ms=draw(st.sampled_from([None, 1000])),
    )
    if draw(st.integers(0, 2)):
        call.shared_mem_id = IMAGE
        call.image_meta = {"width": WIDTH, "height": HEIGHT, "timestamp_ms": draw(TIMES), "color_space": "RGB"}
    return call


@st.composite
def other_calls(draw: st.DrawFn, like: Call) -> Call:
    """A call that differs in one thing, which may be wrong."""
    call = replace(like)
    session = like.session
    assert session is not None
    match draw(st.integers(0, 9)):
        case 0:
            call.request_id = draw(st.sampled_from(["call-3", "", "é", '"', "a\\b", "x" * 256, "x" * 257, None]))
        case 1:
            call.phase = draw(st.sampled_from(["execute", "pre", "info", "reset", "other"]))
        case 2:
            call.step_index = draw(st.sampled_from([1, 2, 3, None]))
        case 3:
            call.pid = draw(st.sampled_from(["A", "C", 'A"', None]))
        case 4:
            ids = ["t", 'é"', "", '{"id":"s"}', "x" * 256, "x" * 257]
            call.session = replace(session, id=draw(st.sampled_from(ids)))
        case 5:
            call.session = replace(session, context=draw(st.dictionaries(TEXTS, TEXTS, max_size=2)))
        case 6:
            values = [None, {"level": True}, {"level": 2}, {"level": 1.0}, {"other": 1}, *RIGHT_PARAMS]
            call.user_params = draw(st.sampled_from(values))
        case 7:
            ids = [None, "arena:0:65536:10", "arena:0:65536:x", "arena:0:65536:", "arena:0:65536:008", "shm:x:8"]
            call.shared_mem_id = draw(st.sampled_from(ids))
        case 8:
            call.timeout_ms = draw(st.sampled_from([None, -1, 0, 1, 999, 10**15 - 1, 10**15, 10**16, True]))
        case _:
            meta = dict(like.image_meta or {})
            meta |= {"timestamp_ms": draw(TIMES | st.sampled_from([None, -1, 0, 1.5, "now", 10**15, 10**16]))}
            meta |= draw(st.sampled_from([{}, {}, {"width": 5}, {"camera_id": '"timestamp_ms":1'}, {"more": [1]}]))
            call.image_meta = meta
    return call


ALPHABET = b'{}[]":,\\u0123456789.-+eE \x00\x1f\x7f\x80\xc3\xa9\xffatrufnls'


@st.composite
def mutated(draw: st.DrawFn, payload: bytes) -> bytes:
    """A frame that is not quite what it was; its header tells the truth as a rule."""
    changed = bytearray(payload)
    for _ in range(draw(st.integers(1, 2))):
        at = len(changed) if draw(st.integers(0, 9)) == 0 else draw(st.integers(0, len(changed)))
        deed = draw(st.integers(0, 3))
        if deed == 0:
            changed[at : at + 1] = bytes([draw(st.sampled_from(ALPHABET))])
        elif deed == 1:
            changed[at:at] = bytes([draw(st.sampled_from(ALPHABET))])
        elif deed == 2:
            del changed[at : at + draw(st.integers(1, 4))]
        else:
            end = draw(st.integers(at, min(len(changed), at + 40)))
            changed[at:at] = changed[at:end]
    return bytes(changed)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What the host says of wrong frames is no news here."""
    caplog.set_level(logging.CRITICAL, HOST_LOGGER)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_steady_code_answers_as_the_general_code(data: st.DataObject) -> None:
    """Frame by frame, and whatever came before."""
    with hosts(data.draw(st.sampled_from(sorted(PLANS)))) as made:
        base = data.draw(right_calls())
        for _ in range(data.draw(st.integers(4, 16))):
            call = base
            match data.draw(st.integers(0, 5)):
                case 0:
                    call = data.draw(other_calls(base))
                case 1:
                    base = data.draw(right_calls())
                case 2:
                    assert base.session is not None
                    another = replace(base.session, id=data.draw(st.sampled_from("abc")))
                    if data.draw(st.booleans()):
                        another.context = data.draw(CONTEXTS)
                    base = replace(base, session=another)
            payload = ENCODE(call)
            if data.draw(st.integers(0, 2)) == 0:
                payload = data.draw(mutated(payload))
            sent = frame(payload)
            if data.draw(st.integers(0, 19)) == 0:
                sent = sent[:3] + bytes([sent[3] ^ 1]) + sent[4:]
            assert made.agree(sent), sent


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_sessions_in_a_store_are_kept_alike(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each form has a table of its own; what is carried, and what is found there, is the same."""
    folder, now = tmp_path_factory.mktemp("tables"), [time.time()]
    halves = [TabledHost(folder / f"{kind}.db", now) for kind in ("general", *STEADY)]
    made = Hosts(Host(kind, sessions=half.cell) for kind, half in zip(("general", *STEADY), halves, strict=True))
    try:
        call = data.draw(right_calls())
        for _ in range(data.draw(st.integers(4, 20))):
            deed = data.draw(st.integers(0, 5))
            if deed == 0:
                call = data.draw(right_calls())
            elif deed == 1:
                call = replace(call, phase="reset") if data.draw(st.booleans()) else data.draw(other_calls(call))
            assert made.agree(frame(ENCODE(call)))
            if deed == 2:
                for half in halves:
                    half.carry()
        for name in ("s", "0123456789abcdef"):
            assert len({half.half.load(name) for half in halves}) == 1
    finally:
        for host, half in zip(made, halves, strict=True):
            host.ends.close()
            half.close()


PLAIN_CALL = Call(
    request_id="call-7",
    phase="execute",
    step_index=1,
    pid="A",
    session=SessionRef(id="s", context={"trace_id": "t"}),
    timeout_ms=1000,
)
PICTURE_CALL = replace(
    PLAIN_CALL,
    shared_mem_id=IMAGE,
    image_meta={"width": WIDTH, "height": HEIGHT, "timestamp_ms": 1_700_000_000_000, "color_space": "RGB"},
)


@pytest.mark.parametrize("call", [PLAIN_CALL, PICTURE_CALL], ids=["without a picture", "with a picture"])
def test_every_byte_of_a_steady_frame_counts(call: Call) -> None:
    """Changed, left out or doubled, wherever it stands, it means to steady code what it means to the general code."""
    whole = ENCODE(call)
    with hosts("calls") as made:
        assert made.agree(frame(whole))
        assert made.agree(frame(whole))
        for at in range(len(whole) + 1):
            before, behind = whole[:at], whole[at:]
            others = [
                before + byte + behind[1:] for byte in (b'"', b"\\", b"0", b"1", b"x", b"}", b" ", b"\x00", b"\xff")
            ]
            others += [
                before + behind[1:],
                before + behind[:1] + behind,
                before + b" " + behind,
                before + b"00" + behind,
            ]
            for other in others:
                assert made.agree(frame(other)), other
                assert made.agree(frame(whole)), other


def test_a_frame_that_is_not_whole_or_not_alone_is_the_general_codes() -> None:
    """In pieces, two at once, with a length that is not its own."""
    whole = frame(ENCODE(PLAIN_CALL))
    two = whole + frame(ENCODE(replace(PLAIN_CALL, request_id="call-8")))
    longer = whole[:3] + bytes([whole[3] + 1]) + whole[4:]
    with hosts() as made:
        for data in (whole, whole, whole[:40], whole[40:], two, whole, whole[:2], whole[2:], longer, b" ", whole):
            assert made.agree(data)


@pytest.mark.parametrize("bound", [256, 257])
def test_ids_are_bounded(bound: int) -> None:
    """Of requests and sessions: what is too long is the general code's to refuse."""
    with hosts() as made:
        for call in (
            PLAIN_CALL,
            PLAIN_CALL,
            replace(PLAIN_CALL, request_id="x" * bound),
            replace(PLAIN_CALL, session=SessionRef(id="x" * bound, context={"trace_id": "t"})),
        ):
            assert made.agree(frame(ENCODE(call)))


class Text(str):
    """Says that it equals whatever it is compared with."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


def let_return(host: Host, value: Any, deed: str) -> None:
    """Have a host's algorithm do something, and return this."""
    algorithm, images = host.worker._algorithm, host.worker.images

    def tell_start(*given: Any) -> None:
        if deed == "refuse the start":
            raise RuntimeError("not now")
        algorithm.diagnostics.publish("started", [given[0], given[1].id, dict(given[2])])

    def tell_end(*given: Any) -> None:
        given[1].set("ended", [given[0], given[2]["status"]])

    for name, method, wanted in (
        ("on_step_start", tell_start, deed in {"start", "refuse the start"}),
        ("on_step_finish", tell_end, deed == "finish"),
    ):
        vars(algorithm).pop(name, None)
        if wanted:
            setattr(algorithm, name, method)

    def execute(*given: Any) -> Any:
        if deed == "publish":
            algorithm.diagnostics.publish("n", 1)
        elif deed == "cancel":
            algorithm.cancellation.requested = True
        elif deed == "read":
            with contextlib.suppress(Exception):
                images.read("arena:0:65536:8", {})
        elif deed == "keep":
            given[2].set("n", given[2].get("n", 0) + 1)
        return value

    algorithm.execute = execute  # type: ignore[method-assign]


def test_what_an_algorithm_returns_means_the_same() -> None:
    """Nothing that is missing or malformed becomes an OK, and nothing that was published, kept or cancelled is lost."""
    verdict = {"result_status": "OK"}
    returned: list[Any] = [
        *(Ok(), Ok(message="m"), Ok(debug={"a": 1}), Ok(position_rects=[{**AREA, "label": "p"}]), None, "OK", [], {}),
        *({"status": status, "data": verdict} for status in ("OK", "ok", "ERROR", None, True, Text("ERROR"))),
        *(
            {"status": "OK", "data": data}
            for data in (None, {}, [], {"result_status": "ok"}, {"result_status": Text("NG")})
        ),
        *(
            {"status": "OK", "data": {**verdict, **more}}
            for more in ({"debug": {}}, {"debug": 1}, {"defect_rects": [AREA]})
        ),
        *({"status": "OK", "data": verdict, **more} for more in ({"message": ""}, {"message": 1}, {"error_code": "1"})),
        {"status": "OK", "data": {Text("x"): "OK"}},
        {Text("x"): "OK", "data": verdict},
        {"status": "OK"},
        {"data": verdict, "status": "OK"},
    ]
    deeds = ("nothing", "publish", "cancel", "read", "keep", "start", "refuse the start", "finish")
    with hosts("calls and sessions") as made:
        for value, deed in [(value, deed) for value in returned for deed in deeds]:
            for host in made:
                let_return(host, value, deed)
            assert made.agree(frame(ENCODE(PLAIN_CALL))), (value, deed)


@pytest.mark.parametrize("kind", STEADY)
def test_observers_that_do_not_keep_up_lose_the_same_records(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds the memory full is counted and named, and the call has its answer."""
    monkeypatch.setattr(rings, "PATIENCE_S", 0.001)
    told = []
    for which in ("general", kind):
        host = Host(which, PLANS["calls"], ring_bytes=2048)
        for _ in range(12):
            assert len(host.answers(frame(ENCODE(PLAIN_CALL)))) == 1
        assert host.records is not None
        told.append((host.records._lost, host.told()))
        assert len(told[-1][1]) + told[-1][0] == 12
        host.ends.close()
    assert told[0] == told[1]
    assert told[0][0] > 3


@pytest.mark.parametrize("kind", STEADY)
def test_whatever_a_vendor_writes_between_the_records_the_call_is_answered(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts that lie lead nowhere outside of the memory."""
    monkeypatch.setattr(rings, "PATIENCE_S", 0.0)
    host, chosen = Host(kind, PLANS["calls"]), random.Random(7)
    for _ in range(300):
        host.ring._memory[:17] = chosen.choice(
            (chosen.randbytes(17), struct.pack("<QQB", chosen.randrange(9000), 0, 1))
        )
        assert len(host.answers(frame(ENCODE(PLAIN_CALL)))) == 1
    host.ends.close()


@pytest.mark.parametrize("plan", ["nobody listens", "calls"])
@pytest.mark.parametrize("kind", STEADY)
def test_calls_like_those_before_are_steady(kind: str, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another id, session, context, picture and timeout, with parameters and a state: never the general code's."""
    host = Host(kind, PLANS[plan])
    taken: list[bytes] = []
    monkeypatch.setattr(Conversation, "take", lambda _, data: taken.append(data))
    in_python: list[bytes] = []
    answer_in_python = SteadyCalls.answer
    monkeypatch.setattr(
        SteadyCalls, "answer", lambda self, data: in_python.append(data) or answer_in_python(self, data)
    )
    meta = {"width": WIDTH, "height": HEIGHT, "color_space": "RGB"}
    for number in range(6):
        call = Call(
            request_id=f"call-{number}",
            phase="execute",
            step_index=1 + number % 2,
            pid="A",
            session=SessionRef(id=f"session-{number // 2}", context={"trace_id": f"t{number // 2}", "n": number % 5}),
            user_params={"level": 0.25} if number % 2 else None,
            timeout_ms=1000 - number,
        )
        if number > 1:
            call.shared_mem_id = IMAGE
            call.image_meta = {**meta, "timestamp_ms": 1_700_000_000_000 + number}
            host.worker.images._backends.setdefault(ARENA_SCHEME, Slots())
        answers = host.answers(frame(ENCODE(call)))
        assert len(answers) == 1
        assert f'"request_id":"call-{number}"'.encode() in answers[0]
        assert b'"spoilt"' not in answers[0]
    host.ends.close()
    assert taken == []
    # The compiled form learns each of the four from Python.
    assert len(in_python) == (4 if kind == "compiled" else 6)
