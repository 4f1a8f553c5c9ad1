"""A supervisor's steady calls and its general code are given the same arguments and the same answers, right and wrong.

They write the same frames, return the same results and raise the same errors with the same facts, and leave the same
counts, sessions, products and slots behind.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_host import PATIENCE_S, SupervisedProcess, eventually, in_thread
from steady_inputs import GOOD, OPTIONS, PIXELS, STEADY, TIME, Unsteady, answers, arguments

from procvision_runner.errors import CallError, HostDiedError, SessionLostError
from procvision_runner.supervision import supervised_host
from procvision_runner.supervision.events import CallEnded, Event, Executing, HostEnded, Only, Swapped
from procvision_runner.supervision.limits import ResourceLimits
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.steady_calls import SupervisedCalls, supervised_calls
from procvision_runner.supervision.supervisor import Supervisor
from procvision_sdk.calling import InspectionSession
from procvision_sdk.plain import PlainValueError
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Call, Error, ErrorData, Result, RunnerHello

ONCE = SupervisorOptions(
    runner=OPTIONS,
    restart=RestartPolicy(max_restarts=20, first_delay_s=0.01, max_delay_s=0.05),
    retry=RetryPolicy(retries=0),
    cancel_grace_s=PATIENCE_S,
    dump_timeout_s=0.0,
    measure_interval_s=3600.0,
)
AGAIN = attrs.evolve(ONCE, retry=RetryPolicy(retries=2, delay_s=0.0))


class Rig:
    """A supervisor whose hosts are the test."""

    def __init__(self, kind: str, options: SupervisorOptions = ONCE, **more: Any) -> None:
        self.supervisor = Supervisor(command=["echo"], options=options, **more).start()
        self.kind = kind
        assert self.supervisor._slots is not None
        if kind == "general":
            self.supervisor._steady = None
            self.host.client.exchange = Unsteady()  # type: ignore[assignment]
        elif kind == "python":
            calls = SupervisedCalls(self.supervisor, self.supervisor._slots, options.runner)
            self.supervisor._steady = calls
        else:
            assert type(self.supervisor._steady) is not SupervisedCalls
        self.process.hear(RunnerHello)

    @property
    def host(self) -> supervised_host.SupervisedHost:
        current = self.supervisor.admission.current
        assert current is not None
        return current

    @property
    def process(self) -> SupervisedProcess:
        process = self.host.process
        assert isinstance(process, SupervisedProcess)
        return process

    def outcome(self, answer: bytes, **arguments: Any) -> tuple[Any, ...]:
        """Make a call that is answered with these bytes; what is written, and what comes of it."""
        supervisor, process, host = self.supervisor, self.process, self.host
        lent = arguments.pop("lent", None)
        if lent is not None:
            arguments["image"] = lease = supervisor.lend(*lent)
            lease.array[...] = 7
        process.write(answer)
        try:
            phase = arguments.pop("phase", "execute")
            told: Any = (supervisor.execute if phase == "execute" else supervisor.pre_execute)(**arguments)
            told = msgspec.structs.replace(told, elapsed_ms=0.0)
        except CallError as error:
            facts = attrs.evolve(error.facts, elapsed_s=0.0) if error.facts is not None else None
            told = (
                type(error),
                re.sub("[0-9.]+ s", "", str(error)),
                facts,
                [record.get("level") for record in error.logs],
            )
        except Exception as error:
            told = (type(error), str(error), supervisor.slots.leased)
        written = b""
        with contextlib.suppress(OSError):
            os.set_blocking(process._in, False)
            written = os.read(process._in, 1 << 16)
        counted = {name: n for name, n in supervisor.snapshot().counters.items() if name.startswith(("calls", "prod"))}
        if isinstance(told, tuple):  # what follows from that is another thread's
            return told, TIME.sub(b"", written), counted
        admission = supervisor.admission
        state = (
            host.in_flight,
            host.overdue,
            admission.waiting,
            [
                (name, binding.host is host, binding.answered, binding.owner, binding.lost)
                for name, binding in admission.sessions.bindings.items()
            ],
            list(supervisor.inspections.open_products.items()),
            {phase: latency.calls for phase, latency in supervisor.snapshot().latencies.items()},
            supervisor.slots.leased,
        )
        return told, TIME.sub(b"", written), counted, state

    def next_id(self) -> str:
        return f"call-{self.host.client.table.last_number + 1}"

    def good(self, phase: str = "execute", **data: Any) -> bytes:
        """The answer to the next call."""
        answer = Result(
            request_id=self.next_id(),
            phase=phase,
            step_index=1,
            status="OK",
            data=data or (GOOD if phase == "execute" else {}),
        )
        return frame(msgspec.json.encode(answer))

    def close(self) -> None:
        self.supervisor.stop(0.02)


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_host, "HostProcess", SupervisedProcess)
    monkeypatch.setattr(ResourceLimits, "apply", lambda *_: None)
    monkeypatch.setattr(supervised_host, "tree", lambda _: [])


@contextlib.contextmanager
def rigs(*kinds: str, options: SupervisorOptions = ONCE, **more: Any) -> Iterator[list[Rig]]:
    """One of each kind."""
    made: list[Rig] = []
    try:
        made.extend(Rig(kind, options, **more) for kind in kinds)
        yield made
    finally:
        for rig in made:
            rig.close()


def no_general_code(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.supervisor, "_run", None)


@settings(max_examples=15)
@given(st.lists(arguments(), min_size=2, max_size=4))
def test_a_supervisors_steady_calls_do_what_its_general_code_does(some: list[dict[str, Any]]) -> None:
    """Each twice and in turn, so that every call follows one like it and one that is another."""
    with rigs("general", *STEADY) as made:
        for one in [*some, *some, some[-1]]:
            told = [rig.outcome(rig.good(one["phase"]), **one) for rig in made]
            assert told[1:] == told[:1] * len(STEADY), one
            if isinstance(told[0][0], tuple):  # it raised, and the answer is still in the pipe
                return


@settings(max_examples=15)
@given(answers())
def test_an_answer_means_the_same_to_a_supervisors_steady_calls(answer: bytes) -> None:
    """A result, or the same error with the same facts and counts."""
    with rigs("general", *STEADY) as made:
        for rig in made:
            assert rig.outcome(rig.good(), pid="A", session="s", timeout_s=0.03)[0].verdict == "OK"
        told = [rig.outcome(answer, pid="A", session="s", timeout_s=0.03, lent=(4, 3)) for rig in made]
        assert told[1:] == told[:1] * len(STEADY)


@pytest.mark.parametrize("kind", STEADY)
def test_a_product_after_the_other_takes_the_short_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a session of its own, a reference, a picture, a verdict and less time: never the general code."""
    with rigs(kind) as (rig,):
        no_general_code(rig, monkeypatch)
        rig.host.client.carry_beside_others = None  # type: ignore[method-assign, assignment]
        ng: dict[str, Any] = {"result_status": "NG", "ng_reason": "why", "defect_rects": []}
        products: list[tuple[dict[str, Any], Any]] = [(GOOD, PIXELS), (ng, PIXELS), (GOOD, None), (ng, None)]
        for number, (data, image) in enumerate(products * 2):
            session = InspectionSession(f"s{number}", {"product_key": str(number)})
            given: dict[str, Any] = {"pid": "A", "session": session, "timeout_s": 5 - number / 7}
            assert rig.outcome(rig.good("pre"), phase="pre", image=PIXELS, **given)[0].status == "OK"
            told = rig.outcome(rig.good(**data), image=image, final=True, **given)
            assert told[0].verdict == data["result_status"]
            assert told[3] == (0, 0, 0, [], [], {"pre": number + 1, "execute": number + 1}, 0)
        counters = rig.supervisor.snapshot().counters
        calls = {"calls": 16, "calls_NONE": 8, "calls_OK": 4, "calls_NG": 4}
        assert counters == {**calls, "products": 8, "products_OK": 4, "products_NG": 4}


def answering(rig: Rig, *answers: Any) -> Any:
    """Answer one call after the other, each with what is given for it; None ends the host."""

    def answer() -> list[Call]:
        heard = []
        for one in answers:
            process = rig.process
            heard.append(call := process.hear(Call))
            if one is None:
                _end(rig, process)
            else:
                one.request_id = call.request_id
                process.say(one)
        return heard

    return in_thread(answer)


def _end(rig: Rig, process: SupervisedProcess) -> None:
    """End a host, and wait for the next."""
    process.end(-11)

    def follows() -> bool:
        current = rig.supervisor.admission.current
        return current is not None and current.process != process

    eventually(follows, "another takes its place")


def good() -> Result:
    return Result(phase="execute", step_index=1, status="OK", data=GOOD)


def busy() -> Error:
    return Error(message="busy", error_code="2001", data=ErrorData(kind="busy", retryable=True))


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("kind", STEADY)
def test_a_steady_call_that_fails_is_made_again_as_any_other(kind: str, session: str | None) -> None:
    """With its own picture, which stays in its slot until then; twice in the same host, and once in the next."""
    with rigs(kind, options=AGAIN) as (rig,):
        supervisor = rig.supervisor
        assert rig.outcome(rig.good(), pid="A")[0].verdict == "OK"
        lease = supervisor.lend(4, 3)
        lease.array[...] = 9
        answered = answering(rig, busy(), busy(), good())
        assert supervisor.execute(lease, pid="A", session=session, camera_id="left", timestamp_ms=5).verdict == "OK"
        first, second, third = answered.result()
        assert first.shared_mem_id == second.shared_mem_id == third.shared_mem_id
        assert first.image_meta == third.image_meta == {
            "width": 4, "height": 3, "timestamp_ms": 5, "color_space": "RGB", "camera_id": "left"
        }  # fmt: skip
        assert first.session.id == third.session.id
        assert supervisor.slots.leased == 0
        assert supervisor.snapshot().counters["retries"] == 2
        answered = answering(rig, None, good())
        assert supervisor.execute(PIXELS, pid="A", session=session and "fresh").verdict == "OK"
        first, second = answered.result()
        assert first.shared_mem_id == second.shared_mem_id
        eventually(lambda: supervisor.snapshot().counters.get("hosts_crashed") == 1, "it is buried")
        assert supervisor.slots.leased == rig.host.in_flight == 0
        assert supervisor.snapshot().counters["calls_OK"] == 3


@pytest.mark.parametrize("kind", STEADY)
def test_a_steady_call_whose_host_ends_tells_it_with_its_facts(kind: str) -> None:
    """And what its session left in that host is lost."""
    with rigs(kind) as (rig,):
        supervisor = rig.supervisor
        assert rig.outcome(rig.good(), pid="A", session="s")[0].verdict == "OK"
        answered = answering(rig, None)
        with pytest.raises(HostDiedError) as raised:
            supervisor.execute(PIXELS, pid="A", session="s")
        answered.result()
        facts = raised.value.facts
        assert facts is not None
        assert (facts.phase, facts.pid, facts.session_id, facts.attempts) == ("execute", "A", "s", 1)
        assert supervisor.slots.leased == 0
        with pytest.raises(SessionLostError):
            supervisor.execute(pid="A", session="s")
        assert rig.outcome(rig.good(), pid="A", session="t")[0].verdict == "OK"
        suspects = supervisor.suspects
        assert suspects.any
        ((suspect, _),) = suspects._known.values()
        assert (suspect.width, suspect.height, suspect.session_id) == (4, 3, "s")


@pytest.mark.parametrize("kind", STEADY)
def test_a_call_beside_a_steady_one_is_let_in_as_before(kind: str) -> None:
    """Up to the depth; one more waits in the line, and is let in by the steady one's end."""
    with rigs(kind, options=attrs.evolve(ONCE, depth=1)) as (rig,):
        supervisor, process = rig.supervisor, rig.process
        assert rig.outcome(rig.good(), pid="A", session="s")[0].verdict == "OK"
        first = in_thread(lambda: supervisor.execute(pid="A", session="s"))
        call = process.hear(Call)
        second = in_thread(lambda: supervisor.execute(pid="B", session="t"))
        eventually(lambda: supervisor.admission.waiting == 1, "it waits")
        assert process.hears_nothing(Call)
        for _ in range(2):
            answer = good()
            answer.request_id = call.request_id
            process.say(answer)
            if _ == 0:
                call = process.hear(Call)
        assert first.result().verdict == second.result().verdict == "OK"
        assert rig.host.in_flight == supervisor.admission.waiting == 0


@pytest.mark.parametrize("kind", STEADY)
def test_who_hears_calls_hears_each_and_who_does_not_costs_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener of other events leaves the short way open; one that comes later hears from then on."""
    heard: list[Event] = []
    with rigs(kind, listeners=[Only(heard.append, (Swapped, HostEnded))]) as (rig,):
        with monkeypatch.context() as patch:
            no_general_code(rig, patch)
            assert rig.outcome(rig.good(), pid="A")[0].verdict == "OK"
        rig.supervisor.bus.add(heard.append)
        assert rig.outcome(rig.good(), pid="A")[0].verdict == "OK"
        calls = (Executing, CallEnded)  # of the host it hears, too: that it is ready, and what it measured
        eventually(lambda: [type(event) for event in heard if isinstance(event, calls)] == [*calls], "it heard both")


def test_the_compiled_form_is_what_runs_where_it_is_built() -> None:
    with rigs("general") as (rig,):
        slots = rig.supervisor._slots
        assert slots is not None
        made = supervised_calls(rig.supervisor, slots, OPTIONS)
        assert (type(made) is SupervisedCalls) is (STEADY == ("python",))


@pytest.mark.parametrize("kind", STEADY)
def test_what_json_cannot_carry_keeps_no_slot(kind: str) -> None:
    with rigs(kind) as (rig,):
        for _ in range(3):
            with pytest.raises(PlainValueError):
                rig.supervisor.execute(PIXELS, pid="A", user_params={"x": object()})
        assert rig.supervisor.slots.leased == 0
