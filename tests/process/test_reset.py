"""`reset(session)` forgets a session wherever it is, by each way to call an algorithm, and never another's."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from counting import counting
from peer_plugins import environment, install_algorithm
from supervising import HOST_PROGRAM, PICTURE, QUICK, marked, nothing_left, wait_until, with_runner

from procvision_runner import (
    CallFailedError,
    Pool,
    RestartPolicy,
    Runner,
    RunnerStoppedError,
    SessionLostError,
    Supervisor,
    SupervisorOptions,
)
from procvision_runner.supervision.state import SupervisorState

TALLY = """
import os
from procvision_sdk import BaseAlgorithm, Ok

class Vendor(BaseAlgorithm):
    def __init__(self):
        super().__init__()
        self.kept = {}

    def reset(self, session):
        if session.id == "stubborn":
            raise RuntimeError("it can't be forgotten")
        self.kept.pop(session.id, None)

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("calls", session.get("calls", 0) + 1)
        self.kept[session.id] = self.kept.get(session.id, 0) + 1
        return Ok(debug={"calls": session.get("calls"), "kept": self.kept[session.id], "process_id": os.getpid()})
"""
"""What it counts in the session's state, and what it keeps for itself under the session's id."""
PATIENT = with_runner(QUICK, handshake_timeout_s=30.0, ready_timeout_s=30.0, pre_timeout_s=20.0, execute_timeout_s=20.0)
KINDS: dict[str, Callable[[SupervisorOptions], Any]] = {
    "Runner": lambda options: Runner(
        "tally", options=attrs.evolve(options.runner, environment=options.environment.environment(os.environ))
    ),
    "Supervisor": lambda options: Supervisor("tally", options=options),
    "Pool": lambda options: Pool("tally", hosts=2, options=options),
}


@contextlib.contextmanager
def tally(folder: Path, kind: str, options: SupervisorOptions = PATIENT) -> Iterator[Any]:
    with nothing_left() as mark:
        found_in = environment(install_algorithm(folder / "installed", "tally", TALLY))
        with KINDS[kind](marked(options, mark, found_in)) as runner:
            yield runner


def count(runner: Any, session: Any) -> tuple[int, int]:
    debug = runner.execute(pid="A", session=session).debug
    return debug["calls"], debug["kept"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_begins_anew_and_no_other_does(tmp_path: Path, kind: str) -> None:
    with tally(tmp_path, kind) as runner:
        sessions = [runner.session() for _ in range(4)]
        for session in sessions:
            assert [count(runner, session) for _ in range(2)] == [(1, 1), (2, 2)]
        runner.reset(sessions[0])
        runner.reset(sessions[1].id)
        runner.reset("never-heard-of")
        assert [count(runner, session) for session in sessions] == [(1, 1), (1, 1), (3, 3), (3, 3)]
        for _ in range(3):
            runner.reset(sessions[2])
            assert count(runner, sessions[2]) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_algorithm_that_cannot_forget_is_an_error_and_the_session_goes_on(tmp_path: Path, kind: str) -> None:
    with tally(tmp_path, kind) as runner:
        count(runner, "stubborn")
        with pytest.raises(CallFailedError, match="can't be forgotten"):
            runner.reset("stubborn")
        assert count(runner, "stubborn") == (2, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_runner_that_does_not_run_says_so(kind: str) -> None:
    with pytest.raises(RunnerStoppedError, match="with block"):
        KINDS[kind](PATIENT).reset("s")


@pytest.mark.parametrize("kind", ["Supervisor", "Pool"])
def test_a_session_that_was_lost_with_its_host_may_begin_again(tmp_path: Path, kind: str) -> None:
    """Not before: an inspection that goes on without its state is another product's."""
    with tally(tmp_path, kind) as runner:
        for session in ("one", "stubborn"):
            os.kill(runner.execute(pid="A", session=session).debug["process_id"], signal.SIGKILL)
            assert wait_until(lambda: lost(runner, session))  # noqa: B023 - called within the turn
        runner.reset("one")
        assert [count(runner, "one") for _ in range(2)] == [(1, 1), (2, 2)]
        with pytest.raises(CallFailedError, match="can't be forgotten"):
            runner.reset("stubborn")
        with pytest.raises(SessionLostError):
            count(runner, "stubborn")


def lost(runner: Any, session: str) -> bool:
    try:
        runner.execute(pid="A", session=session)
    except SessionLostError:
        return True
    except Exception:
        return False
    return False


def test_a_session_of_a_broken_host_begins_again_on_another(tmp_path: Path) -> None:
    once = attrs.evolve(PATIENT, restart=RestartPolicy(max_restarts=0))
    with tally(tmp_path, "Pool", once) as pool:
        os.kill(pool.execute(pid="A", session="one").debug["process_id"], signal.SIGKILL)
        assert wait_until(lambda: SupervisorState.BROKEN in {supervisor.state for supervisor in pool.supervisors})
        pool.reset("one")
        assert [count(pool, "one") for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]


def test_a_session_of_the_old_version_no_longer_holds_up_a_swap(tmp_path: Path) -> None:
    """It is over there; what comes next is a session of the new version."""
    with tally(tmp_path, "Supervisor") as supervisor:
        old = supervisor.execute(pid="A", session="one").debug["process_id"]
        reports: list[Any] = []
        swapping = threading.Thread(target=lambda: reports.append(supervisor.swap("tally")))
        swapping.start()
        assert wait_until(lambda: supervisor.process_id not in (None, old), 30.0)
        assert supervisor.execute(pid="A", session="one").debug["process_id"] == old
        supervisor.reset("one")
        swapping.join(30.0)
        assert [report.sessions_cut for report in reports] == [0]
        answer = supervisor.execute(pid="A", session="one").debug
        assert (answer["calls"], answer["process_id"]) == (1, supervisor.process_id)


def test_with_a_shared_store_it_is_forgotten_for_every_host(tmp_path: Path) -> None:
    with nothing_left() as mark, Pool("counting", hosts=2, options=counting(PATIENT, mark, tmp_path)) as pool:
        counted = [pool.execute(pid="A", session="one").debug["calls"] for _ in range(4)]
        pool.reset("one")
        counted += [pool.execute(pid="A", session="one").debug["calls"] for _ in range(4)]
        assert counted == [1, 2, 3, 4, 1, 2, 3, 4]


HOLDING = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import misbehaving_host as peer
rightly = peer.Peer.result
def result(self, call, request_id=None):
    answer = rightly(self, call, request_id)
    if call["phase"] == "reset":
        answer |= {"status": "ERROR", "message": "it is held", "error_code": "V-9", "data": {}}
    return answer
peer.Peer.result = result
peer.main()
"""


@pytest.mark.parametrize("kind", ["Runner", "Supervisor", "Pool"])
def test_a_host_that_says_it_has_not_forgotten_is_believed(kind: str) -> None:
    """A result of status ERROR, from a host of another make."""
    command = [sys.executable, "-c", HOLDING, str(Path(HOST_PROGRAM).parent)]
    make: Any = {"Runner": Runner, "Supervisor": Supervisor, "Pool": partial(Pool, hosts=2)}[kind]
    with make(command=command) as runner:
        first = runner.execute(PICTURE, pid="A", session="one").debug["process_id"]
        with pytest.raises(CallFailedError, match="it is held") as caught:
            runner.reset("one")
        assert (caught.value.error_code, caught.value.kind) == ("V-9", "reset_failed")
        assert {runner.execute(PICTURE, pid="A", session="one").debug["process_id"] for _ in range(4)} == {first}
