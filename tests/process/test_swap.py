"""A hot swap under load drops no call and no session; whatever goes wrong leaves the old version serving."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import attrs
import chaos_plugins
import numpy as np
import pytest
from background import Background
from supervising import (
    PICTURE,
    QUICK,
    echo,
    marked,
    nothing_left,
    peer,
    ready_again,
    supervised,
    wait_until,
    with_runner,
)

from procvision_runner.errors import BrokenError, HostDiedError, SessionLostError, SwapError
from procvision_runner.supervision import events as kinds
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor
from procvision_runner.supervision.swap import GoldenPicture

PATIENT = attrs.evolve(
    with_runner(QUICK, execute_timeout_s=20.0, pre_timeout_s=20.0, ready_timeout_s=20.0), drain_timeout_s=20.0
)


class Inspections(Background):
    """Threads that inspect, each product in a session of three calls, and what they met."""

    def __init__(self, supervisor: Supervisor, callers: int = 4) -> None:
        super().__init__(*[self._inspect] * callers)
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self.errors: list[BaseException] = []
        self.sessions: list[set[int]] = []
        """The processes that answered, by session."""

    def _inspect(self) -> None:
        while not self.stopping.is_set():
            session = self._supervisor.session()
            more: dict[str, Any] = {"pid": "A", "session": session, "user_params": {"takes": 0.005}}
            try:
                answers = [
                    self._supervisor.pre_execute(PICTURE, **more),
                    self._supervisor.execute(PICTURE, **more),
                    self._supervisor.execute(PICTURE, final=True, **more),
                ]
            except BaseException as error:
                self.errors.append(error)
                return
            with self._lock:
                self.sessions.append({answer.debug["process_id"] for answer in answers})

    def go_on(self, more: int = 20) -> None:
        """Waits until so many further sessions have ended."""
        target = len(self.sessions) + more
        assert wait_until(lambda: self.errors or len(self.sessions) >= target, 60.0)


# --- that succeed -----------------------------------------------------------------------------------------------


def test_swap_under_load_drops_no_call_and_no_session() -> None:
    heard: list[kinds.Event] = []
    with supervised(options=PATIENT, listeners=[heard.append]) as supervisor:
        processes = [supervisor.process_id]
        with Inspections(supervisor) as inspections:
            for number in range(3):
                inspections.go_on()
                report = supervisor.swap(command=peer("--log", f"version {number}"))
                assert report.sessions_cut == 0
                processes.append(supervisor.process_id)
            inspections.go_on()
        assert inspections.errors == []
        assert len(set(processes)) == 4
        # Never within a session, and every version has served.
        assert all(len(session) == 1 for session in inspections.sessions)
        assert set().union(*inspections.sessions) == set(processes)
        counters = supervisor.snapshot().counters
        assert counters["calls"] == 3 * len(inspections.sessions)
        assert counters["swaps"] == 3
        assert "sessions_lost" not in counters
    names = [event.NAME for event in heard]
    assert names.count("swapped") == names.count("host_drained") == 3
    assert "host_restarted" not in names


def test_session_that_was_begun_ends_on_the_old_version() -> None:
    """The swap waits for it, new sessions don't."""
    with supervised(options=PATIENT) as supervisor:
        old = supervisor.process_id
        session = supervisor.session()
        supervisor.pre_execute(PICTURE, pid="A", session=session)
        swapping = threading.Thread(target=supervisor.swap, kwargs={"command": peer()})
        swapping.start()
        assert wait_until(lambda: supervisor.process_id != old)
        assert supervisor.execute(PICTURE, pid="A").debug["process_id"] == supervisor.process_id
        assert swapping.is_alive()
        last = supervisor.execute(PICTURE, pid="A", session=session, final=True)
        assert last.debug["process_id"] == old
        swapping.join(20)
        assert not swapping.is_alive()


def test_session_that_does_not_end_is_cut_off_by_the_drain_timeout_and_told() -> None:
    with supervised(options=attrs.evolve(PATIENT, drain_timeout_s=0.2)) as supervisor:
        session = supervisor.session()
        supervisor.pre_execute(PICTURE, pid="A", session=session)
        assert supervisor.swap(command=peer()).sessions_cut == 1
        with pytest.raises(SessionLostError):
            supervisor.execute(PICTURE, pid="A", session=session)
        assert echo(supervisor, 1) == 1


def test_golden_pictures_are_judged_by_the_new_version_before_it_serves() -> None:
    golden = [
        GoldenPicture(name="good", image=PICTURE, pid="A", expected="OK", reference=PICTURE),
        GoldenPicture(name="as the old one says", image=PICTURE, pid="A"),
    ]
    with supervised(options=PATIENT) as supervisor:
        report = supervisor.swap(command=peer(), golden=golden)
        assert [(c.name, c.expected, c.verdict) for c in report.comparisons] == [
            ("good", "OK", "OK"),
            ("as the old one says", "OK", "OK"),
        ]


def test_swap_mends_a_broken_supervisor() -> None:
    options = attrs.evolve(PATIENT, restart=RestartPolicy(max_restarts=0))
    with supervised("crash", options=options) as supervisor:
        with pytest.raises(HostDiedError):
            supervisor.execute(PICTURE, pid="A")
        assert wait_until(lambda: supervisor.state is SupervisorState.BROKEN)
        with pytest.raises(BrokenError):
            echo(supervisor, 1)
        supervisor.swap(command=peer())
        assert supervisor.state is SupervisorState.READY
        assert echo(supervisor, 2) == 2


def test_swap_during_a_restart_is_not_undone_by_it() -> None:
    """The old version's next host, which became ready later or never, doesn't get the calls."""
    options = attrs.evolve(PATIENT, restart=RestartPolicy(first_delay_s=0.5))
    with supervised("crash", "--asked", options=options) as supervisor:
        with pytest.raises(HostDiedError):
            supervisor.execute(PICTURE, pid="A", user_params={"misbehave": True})
        supervisor.swap(command=peer("--verdict", "NG"))
        after = supervisor.process_id
        time.sleep(1.0)  # longer than the restart's delay
        assert supervisor.execute(PICTURE, pid="A").verdict == "NG"
        assert supervisor.process_id == after
        assert supervisor.command == tuple(peer("--verdict", "NG"))


def test_restart_after_a_swap_starts_the_new_version() -> None:
    with supervised("--verdict", "OK", options=PATIENT) as supervisor:
        supervisor.swap(command=peer("crash", "--asked", "--verdict", "NG"))
        with pytest.raises(HostDiedError):
            supervisor.execute(PICTURE, pid="A", user_params={"misbehave": True})
        assert ready_again(supervisor)
        assert supervisor.execute(PICTURE, pid="A").verdict == "NG"


def test_two_swaps_at_once_take_place_one_after_the_other() -> None:
    with supervised(options=PATIENT) as supervisor:
        reports: list[Any] = []
        threads = [
            threading.Thread(target=lambda: reports.append(supervisor.swap(command=peer("--log", "2"))))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(reports) == 2
        assert echo(supervisor, 1) == 1
        assert supervisor.snapshot().counters["swaps"] == 2


# --- that are refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--setup-fails", "error"], "no weights"),
        (["--setup-fails", "crash"], "SIGSEGV"),
        (["--garbage", "start"], "broke the protocol"),
        (["--silent"], "no hello came within"),
        (["--verdict", "NG"], "the golden picture 'board 7' should be OK, the new version says NG"),
        (["malformed"], "the golden picture 'board 7' has no result: the host's answer is malformed"),
        (["crash"], "the golden picture 'board 7' has no result: the host was ended by SIGSEGV"),
        (["program"], "the golden picture 'board 7' has no result: a program error"),
        (["hang-deaf"], "the golden picture 'board 7' has no result: no answer to execute within"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_swap_to_a_broken_version_leaves_the_old_one_serving_and_says_why(arguments: list[str], why: str) -> None:
    heard: list[kinds.Event] = []
    options = with_runner(PATIENT, handshake_timeout_s=2.0, ready_timeout_s=2.0, execute_timeout_s=1.0)
    golden = [GoldenPicture(name="board 7", image=PICTURE, pid="A", expected="OK")]
    with supervised(options=options, listeners=[heard.append]) as supervisor:
        before = supervisor.process_id, supervisor.command
        with pytest.raises(SwapError, match="was not switched to") as caught:
            supervisor.swap(command=peer(*arguments), golden=golden)
        assert why in str(caught.value)
        assert (supervisor.process_id, supervisor.command) == before
        assert supervisor.state is SupervisorState.READY
        assert echo(supervisor, 1) == 1
        assert supervisor.snapshot().counters["failed_swaps"] == 1
    failed = [event for event in heard if isinstance(event, kinds.SwapFailed)]
    assert len(failed) == 1
    assert why in failed[0].reason


def test_swap_to_what_cannot_be_launched_leaves_the_old_one_serving() -> None:
    with supervised(options=PATIENT) as supervisor:
        with pytest.raises(SwapError, match="/nowhere/host"):
            supervisor.swap(command=["/nowhere/host"])
        assert echo(supervisor, 1) == 1


def test_stop_during_a_swap_ends_both_versions() -> None:
    errors: list[BaseException] = []

    def swap(supervisor: Supervisor) -> None:
        try:
            supervisor.swap(command=peer("--setup-fails", "hang"))
        except SwapError as error:
            errors.append(error)

    heard: list[kinds.Event] = []
    with supervised(options=PATIENT, listeners=[heard.append]) as supervisor:
        swapping = threading.Thread(target=swap, args=[supervisor])
        swapping.start()
        assert wait_until(lambda: [event.NAME for event in heard].count("host_starting") == 2)
        supervisor.stop()
        swapping.join(20)
        assert len(errors) == 1
        assert supervisor.state is SupervisorState.STOPPED


# --- the real host ----------------------------------------------------------------------------------------------


def test_installed_version_is_swapped_for_another_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    """NAME@DISTRIBUTION==VERSION: each version is of a distribution of its own, two of them are bad."""
    environment = chaos_plugins.install(tmp_path)
    options = attrs.evolve(
        PATIENT, runner=attrs.evolve(PATIENT.runner, handshake_timeout_s=30.0, shutdown_timeout_s=20.0)
    )
    board = np.arange(64 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    params = {"takes_s": 0.0}
    golden = [GoldenPicture(name="board", image=board, pid="A", user_params=params)]
    with (
        nothing_left() as mark,
        Supervisor(chaos_plugins.named("1.0"), options=marked(options, mark, environment)) as station,
    ):
        first = station.execute(board, pid="A", user_params=params)
        report = station.swap(chaos_plugins.named("2.0"), golden=golden)
        assert (report.old, report.new) == ("1.0", "2.0")
        assert [comparison.verdict for comparison in report.comparisons] == [first.verdict]
        with pytest.raises(SwapError, match="this version is broken"):
            station.swap(chaos_plugins.named("3.0"))
        with pytest.raises(SwapError, match="'board' should be"):
            station.swap(chaos_plugins.named("4.0"), golden=golden)
        with pytest.raises(SwapError, match="was not switched to"):
            station.swap("chaos==9.9")
        assert station.info()["versions"]["algorithm"] == "2.0"
        second = station.execute(board, pid="A", user_params=params)
        assert (second.verdict, second.debug["number"]) == (first.verdict, first.debug["number"])
