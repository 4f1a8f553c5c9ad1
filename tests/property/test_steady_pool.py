"""A pool gives each call to a host that has none, in turn, and a session's calls to the one that began it.

It chooses when the picture is in its slot. The general code, the steady calls in Python and their compiled form are
given the same calls, and return and leave the same.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_host import PATIENCE_S, SupervisedProcess, eventually, in_thread
from steady_inputs import GOOD, OPTIONS, PIXELS, STEADY, arguments

from procvision_runner.errors import CallError
from procvision_runner.supervision import steady_calls, supervised_host
from procvision_runner.supervision.limits import ResourceLimits
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.steady_calls import PooledCalls, SupervisedCalls, pooled_calls
from procvision_sdk.calling import InspectionSession
from procvision_sdk.wire.events import Violation
from procvision_sdk.wire.messages import Call, Result

ONCE = SupervisorOptions(
    runner=OPTIONS,
    retry=RetryPolicy(retries=0),
    cancel_grace_s=PATIENCE_S,
    dump_timeout_s=0.0,
    measure_interval_s=3600.0,
)


class Answering(SupervisedProcess):
    """Answers each call with an OK once its gate is open, and remembers it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.gate = threading.Event()
        self.gate.set()
        self._leave = os.eventfd(0)
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        poller = select.poll()
        poller.register(self._in, select.POLLIN)
        poller.register(self._leave, select.POLLIN)
        while self._leave not in dict(poller.poll()):
            for call in self.connection.receive(os.read(self._in, 65536), time.monotonic()):
                if isinstance(call, Violation) and call.reply is not None:
                    self.say(call.reply)
                elif isinstance(call, Call):
                    self.calls.append(call)
                    self.gate.wait()
                    data = GOOD if call.phase == "execute" else {}
                    self.say(Result(request_id=call.request_id, phase=call.phase, step_index=1, status="OK", data=data))

    def end(self, status: int) -> None:
        """End the thread before its descriptors, whose numbers others get."""
        os.eventfd_write(self._leave, 1)
        self.gate.set()
        self._thread.join(PATIENCE_S)
        super().end(status)


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised_host, "HostProcess", Answering)
    monkeypatch.setattr(ResourceLimits, "apply", lambda *_: None)
    monkeypatch.setattr(supervised_host, "tree", lambda _: [])


@contextlib.contextmanager
def pooled(kind: str, hosts: int = 2) -> Iterator[tuple[Pool, list[Answering]]]:
    """A pool of one kind, and the processes of its hosts."""
    pool = Pool(command=["echo"], hosts=hosts, options=ONCE).start()
    if kind == "general":
        pool._steady = None
    elif kind == "python":
        of: Any = {each: SupervisedCalls(each, pool._all_slots, OPTIONS) for each in pool.supervisors}
        pool._steady = PooledCalls(pool, of)
    else:
        assert type(pool._steady) is not PooledCalls
    processes: list[Any] = [each.admission.current.process for each in pool.supervisors if each.admission.current]
    try:
        yield pool, processes
    finally:
        for process in processes:
            process.gate.set()
        pool.stop(0.02)


@pytest.fixture(params=["general", *STEADY])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=STEADY)
def steady(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_hosts_take_turns_and_one_that_is_held_up_gets_nothing(kind: str) -> None:
    """No host starves, and none waits behind one that doesn't answer."""
    with pooled(kind, 3) as (pool, processes):
        for _ in range(6):
            assert pool.execute(pid="A").verdict == "OK"
        assert [len(process.calls) for process in processes] == [2, 2, 2]
        for process in processes:
            process.gate.clear()
        held_up = in_thread(lambda: pool.execute(pid="A"))
        eventually(lambda: sum(len(process.calls) for process in processes) == 7, "one host has it")
        for process in processes:
            if len(process.calls) == 2:
                process.gate.set()
        for _ in range(6):
            assert pool.execute(PIXELS, pid="A").verdict == "OK"
        assert sorted(len(process.calls) for process in processes) == [3, 5, 5]
        assert not held_up.done


@pytest.mark.parametrize("session", [None, "new"])
def test_a_host_that_becomes_busy_during_the_copy_does_not_get_the_call(
    steady: str, session: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pooled(steady) as (pool, processes):
        first: list[Any] = []
        lease_with: Any = vars(steady_calls)["lease_with"]

        def copy(*given: Any) -> Any:
            if not first:
                for process in processes:
                    process.gate.clear()
                first.append(in_thread(lambda: pool.execute(pid="B")))
                eventually(lambda: any(process.calls for process in processes), "the other call is on its way")
                for process in processes:
                    if not process.calls:
                        process.gate.set()
            return lease_with(*given)

        monkeypatch.setattr(steady_calls, "lease_with", copy)
        assert pool.execute(PIXELS, pid="A", session=session).verdict == "OK"
        assert sorted([call.pid for call in process.calls] for process in processes) == [["A"], ["B"]]
        assert not first[0].done


def test_a_call_whose_picture_is_copied_goes_to_whoever_is_free_first(
    steady: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every host became busy meanwhile, the general code makes it, with the picture that lies in its slot."""
    with pooled(steady) as (pool, processes):
        held_up: list[Any] = []
        lease_with: Any = vars(steady_calls)["lease_with"]

        def copy(*given: Any) -> Any:
            for process in processes:
                process.gate.clear()
            held_up.extend(in_thread(lambda: pool.execute(pid="B")) for _ in processes)
            eventually(lambda: all(process.calls for process in processes), "both are busy")
            threading.Timer(0.05, processes[1].gate.set).start()
            return lease_with(*given)

        monkeypatch.setattr(steady_calls, "lease_with", copy)
        pool.supervisors[0].journal.metrics.call_ended("execute", "OK", 500.0)  # it is slow, as far as is known
        pool.supervisors[1].journal.metrics.call_ended("execute", "OK", 5.0)
        assert pool.execute(np.full_like(PIXELS, 7), pid="A").verdict == "OK"
        assert [call.pid for call in processes[1].calls] == ["B", "A"]
        processes[0].gate.set()
        assert [one.result().verdict for one in held_up] == ["OK", "OK"]
        assert pool._all_slots.leased == 0


def test_a_slow_host_gets_fewer_calls_while_all_are_busy(kind: str) -> None:
    with pooled(kind) as (pool, processes):
        slow, fast = pool.supervisors
        slow.journal.metrics.call_ended("execute", "OK", 30.0)
        fast.journal.metrics.call_ended("execute", "OK", 10.0)
        for process in processes:
            process.gate.clear()
        calls = []
        for number in range(1, 9):
            calls.append(in_thread(lambda: pool.execute(pid="A")))
            eventually(lambda: sum(each.admission.load() for each in pool.supervisors) == number, "it came")  # noqa: B023
        assert (slow.admission.load(), fast.admission.load()) == (2, 6)
        for process in processes:
            process.gate.set()
        assert [call.result().verdict for call in calls] == ["OK"] * 8


def test_sessions_stay_and_are_forgotten_with_their_last_call(kind: str) -> None:
    """Also where others come in between, by name or as an object."""
    with pooled(kind, 3) as (pool, processes):
        sessions: list[Any] = ["a", InspectionSession("b"), pool.session(), "d"]
        for final in (False, False, True):
            for session in sessions:
                assert pool.execute(PIXELS, pid="A", session=session, final=final).verdict == "OK"
                pool.execute(pid="B")
        for process in processes:
            counts = Counter(call.session.id for call in process.calls if call.pid == "A" and call.session)
            assert set(counts.values()) <= {3}
        assert not pool._sessions.bindings
        for supervisor in pool.supervisors:
            assert not supervisor.admission.sessions.bindings
            assert supervisor.admission.load() == 0


@settings(max_examples=6)
@given(st.lists(arguments(), min_size=2, max_size=3))
def test_a_pools_steady_calls_do_what_its_general_code_does(some: list[dict[str, Any]]) -> None:
    """Each twice and in turn."""
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(pooled(kind))[0] for kind in ("general", *STEADY)]
        for one in [*some, *some]:
            told = [_outcome(pool, dict(one)) for pool in pools]
            assert told[1:] == told[:1] * len(STEADY), one


def _outcome(pool: Pool, given: dict[str, Any]) -> tuple[Any, ...]:
    lent = given.pop("lent", None)
    if lent is not None:
        given["image"] = pool.lend(*lent)
    call: Callable[..., Any] = pool.execute if given.pop("phase") == "execute" else pool.pre_execute
    try:
        told: Any = msgspec.structs.replace(call(**given), elapsed_ms=0.0, request_id=None)
    except (CallError, TypeError, ValueError) as error:
        # A new session that can't be called so is bound, or isn't: its next call is its first either way.
        told = type(error), str(error)
        pool._sessions.bindings.clear()
    loads = [supervisor.admission.load() for supervisor in pool.supervisors]
    counted = Counter[str]()
    for snapshot in pool.snapshots().values():
        counted.update(snapshot.counters)
    return told, loads, pool._all_slots.leased, list(pool._sessions.bindings), counted["calls"], counted["products"]


def test_the_compiled_form_is_what_runs_where_it_is_built() -> None:
    with pooled("general") as (pool, _):
        assert (type(pooled_calls(pool)) is PooledCalls) is (STEADY == ("python",))
