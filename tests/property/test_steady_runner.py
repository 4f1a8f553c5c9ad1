"""The runner's steady calls and its general code are given the same arguments and the same answers, right and wrong.

They write the same frames, return the same results and raise the same errors: no answer that the general code refuses
becomes a result. The steady calls in Python and their compiled form are held to the same, where that is built.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted_host import PATIENCE_S, ScriptedProcess, eventually, hello, in_thread
from steady_inputs import GOOD, OPTIONS, PIXELS, STEADY, TIME, Unsteady, answers, arguments

from procvision_runner import Runner
from procvision_runner.connection.client import Client
from procvision_runner.connection.steady_calls import SteadyCalls, steady_calls
from procvision_runner.images.slots import SlotPool
from procvision_runner.process.host_log import HostLog
from procvision_sdk.calling import InspectionSession
from procvision_sdk.images.picture import Picture
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Result, RunnerHello


class Rig:
    """A runner whose host is the test."""

    def __init__(self, kind: str) -> None:
        self.host = ScriptedProcess()
        self.runner = Runner(command=["echo"], options=OPTIONS)
        client = Client(self.host, OPTIONS, HostLog(self.host.stderr, 20, None))  # type: ignore[arg-type]
        shaking = in_thread(client.shake_hands)
        self.host.say(hello("pending", "arena"))
        self.host.hear(RunnerHello)
        shaking.result()
        self.runner._client = client
        self.runner._slots = slots = SlotPool(2, 1 << 24)
        if kind == "compiled":
            self.runner._steady = steady_calls(client, slots, OPTIONS)
            assert type(self.runner._steady) is not SteadyCalls
        elif kind == "python":
            self.runner._steady = SteadyCalls(client, slots, OPTIONS)
        else:
            client.exchange = Unsteady()  # type: ignore[assignment]
        self.number = 0

    def outcome(self, answer: bytes, **arguments: Any) -> tuple[Any, ...]:
        """Make a call that is answered with these bytes; what is written, and what comes of it."""
        client = self.runner._client
        assert client is not None
        lent = arguments.pop("lent", None)
        if lent is not None:
            arguments["image"] = lease = self.runner.lend(*lent)
            lease.array[...] = 7
        os.write(self.host._out, answer)
        try:
            phase = arguments.pop("phase", "execute")
            told: Any = (self.runner.execute if phase == "execute" else self.runner.pre_execute)(**arguments)
            told = msgspec.structs.replace(told, elapsed_ms=0.0)
        except Exception as error:
            told = (type(error), re.sub("[0-9.]+ s", "", str(error)))
        written = b""
        with contextlib.suppress(BlockingIOError):
            os.set_blocking(self.host._in, False)
            written = os.read(self.host._in, 1 << 16)
        slots, table = self.runner._slots, client.table
        assert slots is not None
        if isinstance(told, tuple):  # what follows from that is another thread's
            return told, TIME.sub(b"", written)
        state = (
            slots.leased,
            len(table.calls),
            len(table.connection.pending_ids),
            table.leadership.state,
            client.alive,
            [(way, TIME.sub(b"", data)) for _, way, data in client.frames],
        )
        return told, TIME.sub(b"", written), state

    def next_id(self) -> str:
        client = self.runner._client
        assert client is not None
        return f"call-{client.table.last_number + 1}"

    def close(self) -> None:
        self.host.end(0)
        self.runner.stop()


@contextlib.contextmanager
def rigs(*kinds: str) -> Iterator[list[Rig]]:
    """One of each kind."""
    made = [Rig(kind) for kind in kinds]
    try:
        yield made
    finally:
        for rig in made:
            rig.close()


@settings(max_examples=40)
@given(st.lists(arguments(), min_size=2, max_size=4))
def test_steady_calls_write_what_the_general_code_writes(some: list[dict[str, Any]]) -> None:
    """Each twice and in turn, so that every call follows one like it and one that is another."""
    with rigs("general", *STEADY) as made:
        for one in [*some, *some, some[-1]]:
            told = [
                rig.outcome(
                    frame(
                        msgspec.json.encode(
                            Result(
                                request_id=rig.next_id(),
                                phase=one["phase"],
                                step_index=1,
                                status="OK",
                                data=GOOD if one["phase"] == "execute" else {},
                            )
                        )
                    ),
                    **one,
                )
                for rig in made
            ]
            assert told[1:] == told[:1] * len(STEADY), one
            if isinstance(told[0][0], tuple):  # it raised, and the answer is still in the pipe
                return


@settings(max_examples=60)
@given(answers())
@example(frame(b'{"request_id":"call-2","phase":"execute","status":"OK","data":{"result_status":"OK"}}'))
def test_an_answer_means_the_same_to_steady_calls(answer: bytes) -> None:
    """A result, or the same error; one that is no answer to this call leaves it to its deadline."""
    with rigs("general", *STEADY) as made:
        for rig in made:  # the compiled form knows a call by one before it
            good = Result(request_id="call-1", phase="execute", step_index=1, status="OK", data=GOOD)
            assert (
                rig.outcome(frame(msgspec.json.encode(good)), pid="A", session="s", timeout_s=0.03)[0].verdict == "OK"
            )
        told = [rig.outcome(answer, pid="A", session="s", timeout_s=0.03) for rig in made]
        assert told[1:] == told[:1] * len(STEADY)


RECT = {"x": 0, "y": 0, "width": 1, "height": 1, "label": "s", "score": 1}


@pytest.mark.parametrize("phase", ["execute", "pre"])
def test_data_of_any_form_in_an_answer_of_the_right_form(phase: str) -> None:
    """No verdict that is missing or malformed becomes an OK, where all around it is what a good answer has."""
    verdicts: list[dict[str, Any]] = [
        {},
        *({"result_status": verdict} for verdict in ("OK", "ok", "", "NG", None, 1, True, ["OK"], {"OK": 1})),
        {"result_status": "NG", "ng_reason": "why", "defect_rects": [RECT]},
        {"result_status": "NG", "ng_reason": " ", "defect_rects": [RECT]},
        {"result_status": "NG", "ng_reason": "why", "defect_rects": [{**RECT, "x": -1}]},
        {"result_status": "OK", "defect_rects": [RECT]},
        {"result_status": "OK", "ng_reason": "why"},
        {"Result_status": "OK"},
        {"calibration_rects": [RECT]},
    ]
    others: list[dict[str, Any]] = [
        {},
        {"debug": {}},
        {"debug": {"latency_ms": 0.5}},
        {"debug": None},
        {"debug": []},
        {"x": {}},
    ]
    with rigs("general", *STEADY) as made:
        for data in ({"debug": {}} if phase == "pre" else GOOD, *(v | o for v in verdicts for o in others)):
            told = []
            for rig in made:
                result = Result(request_id=rig.next_id(), phase=phase, step_index=1, status="OK", data=data)
                told.append(rig.outcome(frame(msgspec.json.encode(result)), phase=phase, pid="A", session="s"))
            assert told[1:] == told[:1] * len(STEADY), data


@pytest.mark.parametrize("kind", STEADY)
def test_calls_like_those_before_are_steady(kind: str) -> None:
    """With a picture of any kind or none, with parameters, with sessions that change: never the general code."""
    with rigs(kind) as (steady,):
        runner = steady.runner
        runner._run = None  # type: ignore[method-assign, assignment]
        runner._client.carry_beside_others = None  # type: ignore[union-attr, method-assign, assignment]
        for session in (None, "s", InspectionSession("t", {"trace_id": "1"})):
            images = (None, PIXELS, Picture.of(PIXELS, "BGR"), "lent")
            for image in (image for image in images for _ in range(2)):
                answer = Result(request_id=steady.next_id(), phase="execute", step_index=1, status="OK", data=GOOD)
                how = {"lent": (4, 3)} if isinstance(image, str) else {"image": image}
                told = steady.outcome(
                    frame(msgspec.json.encode(answer)), pid="A", session=session, user_params={"level": 0.5}, **how
                )
                assert told[0].verdict == "OK"
        if kind == "compiled":  # the second of each is, going out and coming in
            assert len(runner._steady.frames()) >= 24  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", STEADY)
def test_a_call_beside_another_is_the_general_codes(kind: str) -> None:
    """And the next one, when that has its answer, is steady again."""
    with rigs(kind) as (steady,):
        client = steady.runner._client
        assert client is not None
        future = steady.runner.submit("execute", pid="A", session="s")
        calling = in_thread(lambda: steady.runner.execute(pid="A", session="s"))
        eventually(lambda: len(client.table.calls) == 2, "both are on their way")
        for number in (1, 2):
            answer = Result(request_id=f"call-{number}", phase="execute", status="OK", data=GOOD)
            os.write(steady.host._out, frame(msgspec.json.encode(answer)))
        assert future.result(PATIENCE_S).verdict == calling.result().verdict == "OK"
        answer = Result(request_id="call-3", phase="execute", status="OK", data=GOOD)
        steady.runner._run = None  # type: ignore[method-assign, assignment]
        assert steady.outcome(frame(msgspec.json.encode(answer)), pid="A", session="s")[0].verdict == "OK"


@pytest.mark.parametrize("kind", ["general", *STEADY])
def test_a_lease_that_is_another_calls_is_refused_and_stays_that_calls(kind: str) -> None:
    """Given back by who was refused, its slot would take the next picture while the first call looks at it."""
    with rigs(kind) as (rig,):
        runner, slots = rig.runner, rig.runner._slots
        assert slots is not None
        lease = runner.lend(4, 3)
        future = runner.submit("execute", lease, pid="A", session="s")
        for call in (runner.execute, runner.pre_execute):
            with pytest.raises(ValueError, match="used for a call already"):
                call(lease, pid="A", session="s")
            assert slots.leased == 1
        answer = Result(request_id="call-1", phase="execute", status="OK", data=GOOD)
        os.write(rig.host._out, frame(msgspec.json.encode(answer)))
        assert future.result(PATIENCE_S).verdict == "OK"
        assert slots.leased == 0
