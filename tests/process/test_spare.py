"""A spare host takes the place of one that is lost at once, never of another version, and is replaced itself."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
from background import Background
from counting import counting
from sparing import NO_RESTART_IN_TIME, WARM, answered_by, kill, pooled, spare_of
from supervising import (
    PICTURE,
    QUICK_HEARTBEAT,
    echo,
    marked,
    nothing_left,
    peer,
    processes_with,
    ready_again,
    supervised,
    wait_until,
    with_runner,
)

from procvision_runner.errors import BrokenError, CallTimeoutError, RunnerStoppedError, SessionLostError, SwapError
from procvision_runner.supervision import events as kinds
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.spare import SpareState
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor


class Stream(Background):
    """Callers without a pause, each with its own numbers; `wrong` is what didn't come back as it should."""

    def __init__(self, station: Supervisor | Pool, callers: int = 4) -> None:
        super().__init__(*(partial(self._call, caller) for caller in range(callers)))
        self.done = 0
        self.wrong: list[str] = []
        self._station = station
        self._lock = threading.Lock()

    def _call(self, caller: int) -> None:
        number = caller * 1_000_000
        while not self.stopping.is_set():
            number += 1
            try:
                if echo(self._station, number) != number:
                    self.wrong.append(f"{number} was answered for another")
            except BaseException as error:  # shown by the test
                self.wrong.append(repr(error))
                return
            with self._lock:
                self.done += 1

    def go_on(self, more: int = 30) -> None:
        target = self.done + more
        assert wait_until(lambda: self.wrong or self.done >= target, 60.0)


# --- it takes over ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [True, False], ids=["with a spare", "without"])
def test_nothing_is_lost_when_hosts_are_killed_under_a_stream_of_calls(spare: bool) -> None:
    """Three times: with a spare, its process is the next host; without, another is launched."""
    heard: list[kinds.Event] = []
    options = attrs.evolve(WARM, spare=spare)
    with supervised(options=options, listeners=[heard.append]) as station:
        assert (station.spare is not None) is spare
        with Stream(station) as stream:
            for _ in range(3):
                stream.go_on()
                before, standing_by = station.process_id, spare_of(station) if spare else None
                kill(before)
                assert wait_until(lambda before=before: station.process_id not in (None, before), 30.0)
                if spare:
                    assert station.process_id == standing_by
            stream.go_on()
        assert stream.wrong == []
        # A spare takes over before the host in whose place it comes is buried and counted.
        assert wait_until(lambda: station.snapshot().counters.get("hosts_crashed") == 3)
        counters = station.snapshot().counters
        assert counters["calls"] == counters["calls_OK"] == stream.done
        assert counters["restarts"] == 3
        assert counters.get("takeovers", 0) == (3 if spare else 0)
    took_over = [event for event in heard if isinstance(event, kinds.SpareTookOver)]
    assert len(took_over) == (3 if spare else 0)
    assert [event.spare for event in took_over] == [1, 2, 3][: len(took_over)]


def test_spare_waits_for_no_delay() -> None:
    """A killed host's calls go on at once, although a launch would be due in a minute; so does the next crash's."""
    with supervised(options=NO_RESTART_IN_TIME) as station:
        for number in range(2):
            standing_by = spare_of(station)
            kill(station.process_id)
            assert echo(station, number) == number
            assert answered_by(station) == station.process_id == standing_by


def test_spare_serves_while_a_hung_host_is_still_being_ended() -> None:
    """Its calls don't wait for the stacks, SIGTERM, and SIGKILL."""
    heard: list[kinds.Event] = []
    options = with_runner(NO_RESTART_IN_TIME, execute_timeout_s=0.6, terminate_timeout_s=1.0)
    arguments = ("hang-deaf", "--asked", "--ignore-sigterm")
    with supervised(*arguments, options=options, listeners=[heard.append]) as station:
        hung, standing_by = station.process_id, spare_of(station)
        with pytest.raises(CallTimeoutError):
            station.execute(PICTURE, pid="A", user_params={"misbehave": True})
        assert answered_by(station) == standing_by
        assert wait_until(lambda: any(isinstance(event, kinds.HostEnded) for event in heard))
    own = [event for event in heard if event.source == "peer"]
    names = [event.NAME for event in own]
    assert names.index("spare_took_over") < names.index("host_restarted") < names.index("host_ended")
    assert next(event for event in own if isinstance(event, kinds.HostEnded)).cause == "timeout"
    assert hung != standing_by


def test_session_of_a_lost_host_is_told_and_the_spare_never_goes_on_with_it() -> None:
    with supervised(options=NO_RESTART_IN_TIME) as station:
        begun, fresh = station.session(), station.session()
        station.pre_execute(PICTURE, pid="A", session=begun)
        standing_by = spare_of(station)
        kill(station.process_id)
        assert wait_until(lambda: station.process_id == standing_by)
        with pytest.raises(SessionLostError, match="SIGKILL"):
            station.execute(PICTURE, pid="A", session=begun)
        assert answered_by(station, session=fresh) == standing_by
        assert answered_by(station, session=fresh, final=True) == standing_by


def test_with_a_store_outside_the_host_the_spare_goes_on_with_a_session(tmp_path: Path) -> None:
    """The real host and SQLite: no call's state is lost, and none is counted twice."""
    with (
        nothing_left() as mark,
        Supervisor("counting", options=counting(NO_RESTART_IN_TIME, mark, tmp_path)) as station,
    ):
        session = station.session()
        counted = [station.execute(PICTURE, pid="A", session=session).debug["calls"] for _ in range(3)]
        standing_by = spare_of(station)
        kill(station.process_id)
        after = [station.execute(PICTURE, pid="A", session=session).debug for _ in range(2)]
        assert [*counted, *(debug["calls"] for debug in after)] == [1, 2, 3, 4, 5]
        assert {debug["process_id"] for debug in after} == {standing_by}


def test_takeovers_count_as_restarts_and_the_intensity_limit_holds() -> None:
    options = attrs.evolve(WARM, restart=RestartPolicy(max_restarts=2, first_delay_s=0.01))
    with supervised(options=options) as station:
        for _ in range(2):
            standing_by = spare_of(station)
            kill(station.process_id)
            assert wait_until(lambda standing_by=standing_by: station.process_id == standing_by)
        spare_of(station)
        kill(station.process_id)
        assert wait_until(lambda: station.state is SupervisorState.BROKEN)
        with pytest.raises(BrokenError, match="2 restarts within 60 s"):
            echo(station, 1)
        assert station.snapshot().counters["takeovers"] == 2


def test_call_that_needs_another_host_has_the_spare_at_once(tmp_path: Path) -> None:
    """Out of its accelerator's memory: the host is replaced, and the call made again in the spare."""
    arguments = ("gpu", "--asked", "--once", str(tmp_path / "once"))
    with supervised(*arguments, options=NO_RESTART_IN_TIME) as station:
        standing_by = spare_of(station)
        assert answered_by(station, user_params={"misbehave": True}) == standing_by


# --- a pool's ---------------------------------------------------------------------------------------------------


def test_pool_has_one_spare_for_whichever_host_is_lost() -> None:
    with pooled(options=NO_RESTART_IN_TIME) as pool:
        for supervisor in pool.supervisors:
            standing_by = spare_of(pool)
            kill(supervisor.process_id)
            assert wait_until(lambda s=supervisor, p=standing_by: s.process_id == p and s.alive)
            assert answered_by(supervisor) == standing_by
        snapshots = pool.snapshots()
        assert [snapshots[supervisor.name].counters["takeovers"] for supervisor in pool.supervisors] == [1, 1]
        assert pool.spare is not None
        assert pool.spare.name in snapshots


def test_pool_loses_nothing_when_all_its_hosts_are_killed_at_once() -> None:
    """The spare serves one, the others are launched anew."""
    with pooled() as pool, Stream(pool) as stream:
        for _ in range(3):
            stream.go_on()
            spare_of(pool)
            for supervisor in pool.supervisors:
                with contextlib.suppress(AssertionError, ProcessLookupError):
                    kill(supervisor.process_id)
            stream.go_on()
            assert wait_until(lambda: all(ready_again(supervisor) for supervisor in pool.supervisors))
    assert stream.wrong == []


# --- another version --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [False, True], ids=["another command", "the same command"])
def test_spare_from_before_a_swap_is_not_used_while_the_old_host_drains(same: bool) -> None:
    """By the same command, too: another version may have been installed under it."""
    arguments = ("--verdict", "NG") if not same else ()
    with supervised(options=WARM) as station:
        old_spare = spare_of(station)
        session = station.session()
        old = answered_by(station, session=session)
        swapping = threading.Thread(target=station.swap, kwargs={"command": peer(*arguments)})
        swapping.start()
        assert wait_until(lambda: station.process_id not in (None, old))
        assert spare_of(station) == old_spare
        kill(station.process_id)
        after = station.execute(PICTURE, pid="A")
        assert after.debug["process_id"] not in (old, old_spare)
        assert after.verdict == ("OK" if same else "NG")
        assert answered_by(station, session=session, final=True) == old
        swapping.join(30)
        assert not swapping.is_alive()
        assert "takeovers" not in station.snapshot().counters


def test_after_a_swap_the_spare_is_of_the_new_version_and_the_old_one_is_gone() -> None:
    with nothing_left() as mark:
        options = marked(NO_RESTART_IN_TIME, mark)
        with Supervisor(command=peer(), options=options) as station:
            old_spare = spare_of(station)
            station.swap(command=peer("--verdict", "NG"))
            assert old_spare not in processes_with(mark)
            new_spare = spare_of(station)
            kill(station.process_id)
            after = station.execute(PICTURE, pid="A")
            assert (after.verdict, after.debug["process_id"]) == ("NG", new_spare)


def test_swap_while_the_spare_is_still_launched_has_the_next_one_be_of_the_new_version(tmp_path: Path) -> None:
    """The one that hangs in its setup is ended, not waited for, and that is no incident."""
    arguments = ("--first", str(tmp_path / "first"), "--setup-fails", "hang")
    heard: list[kinds.Event] = []
    options = attrs.evolve(WARM, crash_folder=tmp_path / "incidents")
    with supervised(*arguments, options=options, listeners=[heard.append]) as station:
        assert wait_until(lambda: any(e.NAME == "host_starting" and e.source == "peer/spare" for e in heard))
        station.swap(command=peer("--verdict", "NG"))
        standing_by = spare_of(station)
        assert station.spare is not None
        assert station.spare.snapshot().counters == {"hosts_stopped": 1}
        assert not (tmp_path / "incidents").exists()
        kill(station.process_id)
        assert answered_by(station) == standing_by


def test_refused_swap_leaves_the_spare_as_it_is() -> None:
    with supervised(options=NO_RESTART_IN_TIME) as station:
        standing_by = spare_of(station)
        with pytest.raises(SwapError, match="no weights"):
            station.swap(command=peer("--setup-fails", "error"))
        assert spare_of(station) == standing_by
        kill(station.process_id)
        assert answered_by(station) == standing_by


def test_pool_that_takes_a_swap_back_has_a_spare_of_the_version_it_went_back_to(tmp_path: Path) -> None:
    """Launched after it: what stood by before might be older than the hosts."""
    with pooled() as pool:
        old_spare = spare_of(pool)
        with pytest.raises(SwapError, match="no weights"):
            pool.swap(command=peer("--verdict", "NG", "--first", str(tmp_path / "first"), "--setup-fails", "error"))
        standing_by = spare_of(pool)
        assert standing_by != old_spare
        first = pool.supervisors[0]
        kill(first.process_id)
        assert wait_until(lambda: first.process_id == standing_by)
        assert {pool.execute(PICTURE, pid="A").verdict for _ in range(6)} == {"OK"}


def test_pool_swaps_and_its_spare_with_it() -> None:
    with pooled(options=NO_RESTART_IN_TIME) as pool:
        spare_of(pool)
        pool.swap(command=peer("--verdict", "NG"))
        standing_by = spare_of(pool)
        second = pool.supervisors[1]
        kill(second.process_id)
        assert wait_until(lambda: second.process_id == standing_by)
        assert {pool.execute(PICTURE, pid="A").verdict for _ in range(6)} == {"NG"}


# --- its own health ---------------------------------------------------------------------------------------------


def test_spare_that_dies_is_replaced_and_the_line_notices_nothing() -> None:
    heard: list[kinds.Event] = []
    with supervised(options=WARM, listeners=[heard.append]) as station:
        serving = station.process_id
        with Stream(station) as stream:
            for _ in range(3):
                before = spare_of(station)
                kill(before)
                assert wait_until(lambda before=before: spare_of(station) != before)
                stream.go_on()
        assert stream.wrong == []
        assert station.process_id == serving
        assert "restarts" not in station.snapshot().counters
        assert station.spare is not None
        assert station.spare.snapshot().counters["hosts_crashed"] == 3
    ended = [event for event in heard if isinstance(event, kinds.HostEnded) and event.cause == "crashed"]
    assert {event.source for event in ended} == {"peer/spare"}


def test_spare_that_stops_to_answer_pings_is_replaced() -> None:
    """A process that is stopped: it would take the place of a host and hang."""
    with supervised(options=with_runner(WARM, heartbeat=QUICK_HEARTBEAT)) as station:
        before = spare_of(station)
        os.kill(before, signal.SIGSTOP)
        assert wait_until(lambda: spare_of(station) != before, 30.0)
        assert station.spare is not None
        assert station.spare.snapshot().counters["hosts_unresponsive"] == 1
        assert echo(station, 1) == 1


def test_spare_that_does_not_become_ready_is_given_up_and_tried_again_when_a_host_does(tmp_path: Path) -> None:
    """As often as a host is tried; the host serves on meanwhile, and its restart is one as without a spare."""
    first = tmp_path / "first"
    heard: list[kinds.Event] = []
    arguments = ("--first", str(first), "--setup-fails", "error")
    with supervised(*arguments, options=WARM, listeners=[heard.append]) as station:
        spare = station.spare
        assert spare is not None
        assert wait_until(lambda: spare.state is SpareState.GIVEN_UP)
        assert spare.broken_because == "the host did not become ready 2 times in a row"
        assert echo(station, 1) == 1
        first.unlink()  # the next launch goes well
        kill(station.process_id)
        assert echo(station, 2) == 2
        assert wait_until(lambda: [event.NAME for event in heard].count("spare_given_up") == 2)
        station.swap(command=peer())
        assert spare_of(station)
        assert spare.broken_because is None
    assert [e.NAME for e in heard if e.source == "peer/spare"].count("launch_failed") == 4


def test_reset_has_the_spare_launched_anew() -> None:
    """What stood by had loaded what somebody has mended since."""
    options = attrs.evolve(WARM, restart=RestartPolicy(max_restarts=0))
    with supervised(options=options) as station:
        before = spare_of(station)
        kill(station.process_id)
        assert wait_until(lambda: station.state is SupervisorState.BROKEN)
        station.recover()
        assert station.process_id != before
        assert spare_of(station) not in (before, station.process_id)


@pytest.mark.parametrize("stations", [supervised, pooled])
def test_reset_of_what_is_not_broken_tries_again_with_a_spare_that_was_given_up(
    stations: Callable[..., contextlib.AbstractContextManager[Supervisor | Pool]],
) -> None:
    """The hosts serve on."""
    with stations(options=attrs.evolve(WARM, restart=RestartPolicy(max_restarts=0))) as station:
        kill(spare_of(station))
        spare = station.spare
        assert spare is not None
        assert wait_until(lambda: spare.state is SpareState.GIVEN_UP)
        serving = answered_by(station)
        station.recover()
        assert spare_of(station)
        assert spare.broken_because is None
        assert isinstance(station, Pool) or answered_by(station) == serving


def test_spare_is_measured_as_hosts_are() -> None:
    options = attrs.evolve(WARM, measure_interval_s=0.1)
    with supervised(options=options) as station:
        spare_of(station)
        spare = station.spare
        assert spare is not None
        assert wait_until(lambda: spare.snapshot().usage is not None)
        usage = spare.snapshot().usage
        assert usage is not None
        assert 1_000_000 < usage.memory_bytes < 200_000_000


def test_crash_of_a_spare_is_reported_and_names_it(tmp_path: Path) -> None:
    with supervised(options=attrs.evolve(WARM, crash_folder=tmp_path)) as station:
        before = spare_of(station)
        os.kill(before, signal.SIGSEGV)
        assert wait_until(lambda: list(tmp_path.glob("*-peer-spare-host1-*/cause.json")))
        assert spare_of(station) != before


# --- its end ----------------------------------------------------------------------------------------------------


def test_stop_ends_the_spare_and_one_that_is_being_launched(tmp_path: Path) -> None:
    """That nothing is left, `supervised` and `pooled` see to in every test here; this one hangs in its setup."""
    arguments = ("--first", str(tmp_path / "first"), "--setup-fails", "hang")
    heard: list[kinds.Event] = []
    with supervised(*arguments, options=WARM, listeners=[heard.append]) as station:
        assert wait_until(lambda: any(e.NAME == "host_starting" and e.source == "peer/spare" for e in heard))
        station.stop()
        assert station.spare is not None
        assert station.spare.state is SpareState.STOPPED
    assert heard[-1].NAME == "stopped"


def test_spare_does_not_outlive_a_stop_that_follows_a_crash() -> None:
    """Neither by taking over meanwhile nor by being launched behind it."""
    with supervised(options=WARM) as station:
        spare_of(station)
        kill(station.process_id)
        station.stop()
        assert station.state is SupervisorState.STOPPED
        with pytest.raises(RunnerStoppedError):
            echo(station, 1)
