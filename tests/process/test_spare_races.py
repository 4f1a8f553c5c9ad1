"""What happens at the same time as a spare is taken, renewed or lost: each test holds one thread where it matters.

A hold ends when what must not come in between has come, or after `IN_BETWEEN_S`, where it could not.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
from sparing import NO_RESTART_IN_TIME, WARM, answered_by, kill, pooled, spare_of
from supervising import PICTURE, echo, peer, ready_again, supervised, wait_until, with_runner

from procvision_runner.exit_causes import HostEnd
from procvision_runner.supervision import events as kinds
from procvision_runner.supervision import measuring
from procvision_runner.supervision.launcher import Launcher
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.spare import Spare
from procvision_runner.supervision.state import Lifecycle, SupervisorState
from procvision_runner.supervision.supervised_host import SupervisedHost
from procvision_runner.supervision.supervisor import Supervisor
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

IN_BETWEEN_S = 0.5
PATIENCE_S = 30.0


def on(thread: str) -> bool:
    return threading.current_thread().name.startswith(f"procvision-{thread}")


def the_spare(station: Supervisor | Pool) -> Spare:
    assert station.spare is not None
    return station.spare


class Held:
    """The spare's keeper, from `hold` on: it measures a host, and is not done with that until `release`."""

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.held = threading.Event()
        self.release = threading.Event()

    def usage_of(self, process_id: int, real: Callable[[int], Any] = measuring.usage_of) -> Any:
        if self.hold.is_set() and on("spare"):
            self.held.set()
            self.release.wait(PATIENCE_S)
        return real(process_id)


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr(measuring, "usage_of", held.usage_of)
    yield held
    held.release.set()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the user of a host was told that it is unresponsive."""
    unresponsive, heard = SupervisedHost.unresponsive, threading.Event()

    def tell(host: SupervisedHost, misses: int) -> bool:
        answer = unresponsive(host, misses)
        heard.set()
        return answer

    monkeypatch.setattr(SupervisedHost, "unresponsive", tell)
    return heard


# --- a spare that stops to answer -------------------------------------------------------------------------------

LISTENED_TO = attrs.evolve(
    with_runner(WARM, heartbeat=HeartbeatPolicy(interval_s=0.1, grace_s=0.5)), measure_interval_s=0.02
)


def test_spare_that_was_told_of_as_unresponsive_is_not_taken_before_its_keeper_ends_it(
    keeper: Held, told: threading.Event
) -> None:
    """It would hang as a host, and nobody would hear of that again: an unresponsive host gets no more pings."""
    with supervised(options=LISTENED_TO) as station:
        hung, spare = spare_of(station), the_spare(station)
        keeper.hold.set()
        assert keeper.held.wait(PATIENCE_S)
        os.kill(hung, signal.SIGSTOP)
        assert told.wait(PATIENCE_S)
        kill(station.process_id)
        assert answered_by(station) != hung
        keeper.release.set()
        assert spare_of(station) != hung
        assert spare.snapshot().counters["hosts_unresponsive"] == 1
        assert "takeovers" not in station.snapshot().counters


def test_spare_that_is_taken_although_it_was_told_of_as_unresponsive_is_ended_by_its_taker(
    keeper: Held, told: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process stops while it becomes ready: it is told of before it stands by, and only once."""
    launch = Launcher.launch

    def stopped_when_ready(launcher: Launcher, *more: Any) -> SupervisedHost:
        host = launch(launcher, *more)
        if on("spare") and not keeper.hold.is_set():
            keeper.hold.set()
            os.kill(host.process_id, signal.SIGSTOP)
            assert told.wait(PATIENCE_S)
        return host

    monkeypatch.setattr(Launcher, "launch", stopped_when_ready)
    with supervised(options=LISTENED_TO) as station:
        assert keeper.held.wait(PATIENCE_S)
        hung = spare_of(station)
        kill(station.process_id)
        assert wait_until(lambda: station.process_id == hung)
        keeper.release.set()
        assert wait_until(lambda: station.process_id not in (None, hung), PATIENCE_S)
        assert echo(station, 1) == 1
        assert wait_until(lambda: station.snapshot().counters.get("hosts_unresponsive") == 1)


# --- a takeover that crosses the old host's end -----------------------------------------------------------------


def test_supervisor_is_ready_after_a_takeover_that_comes_while_the_old_hosts_end_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The spare is installed between "it was the current one" and what follows from that, if it can be."""
    host_lost, telling, told = Lifecycle.host_lost, threading.Event(), threading.Event()
    with supervised(options=NO_RESTART_IN_TIME) as station:
        standing_by, old = spare_of(station), station.admission.current
        assert old is not None

        def slowly(lifecycle: Lifecycle) -> None:
            if on("reader"):
                telling.set()
                wait_until(lambda: station.admission.current is not old, IN_BETWEEN_S)
            host_lost(lifecycle)
            told.set()

        def until_it_is_told() -> None:
            telling.wait(PATIENCE_S)

        monkeypatch.setattr(Lifecycle, "host_lost", slowly)
        station.succession.keeper.do(until_it_is_told)
        station.succession.replace(old, "it leaves", leaving=True)
        kill(old.process_id)
        assert told.wait(PATIENCE_S)
        assert wait_until(lambda: station.process_id == standing_by)
        assert ready_again(station)


def test_supervisor_is_ready_after_a_takeover_in_the_middle_of_which_the_old_host_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between "ready" and "calls go to the spare", if there is a between."""
    ready = Lifecycle.ready
    with supervised(options=NO_RESTART_IN_TIME) as station:
        standing_by, old = spare_of(station), station.admission.current
        assert old is not None

        def slowly(lifecycle: Lifecycle) -> None:
            ready(lifecycle)
            kill(old.process_id)
            wait_until(lambda: station.state is SupervisorState.RESTARTING, IN_BETWEEN_S)

        monkeypatch.setattr(Lifecycle, "ready", slowly)
        station.succession.replace(old, "it leaves", leaving=True)
        assert wait_until(lambda: station.process_id == standing_by)
        assert wait_until(lambda: old.client.end is not None)
        assert ready_again(station)
        assert answered_by(station) == standing_by


def test_supervisor_is_ready_after_a_swap_that_comes_while_the_old_host_is_buried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host_lost, burying = Lifecycle.host_lost, threading.Event()
    heard: list[kinds.Event] = []
    options = attrs.evolve(NO_RESTART_IN_TIME, spare=False)
    with supervised(options=options, listeners=[heard.append]) as station:
        old = station.admission.current
        assert old is not None
        swapping = threading.Thread(target=station.swap, kwargs={"command": peer("--verdict", "NG")})

        def slowly(lifecycle: Lifecycle) -> None:
            if on("keeper"):
                burying.set()
                wait_until(lambda: station.admission.current is not old, IN_BETWEEN_S)
            host_lost(lifecycle)

        monkeypatch.setattr(Lifecycle, "host_lost", slowly)
        with station.succession.switching:
            swapping.start()
            assert wait_until(lambda: [event.NAME for event in heard].count("host_ready") == 2, PATIENCE_S)
            kill(old.process_id)
            assert burying.wait(PATIENCE_S)
        swapping.join(PATIENCE_S)
        assert wait_until(lambda: any(isinstance(event, kinds.HostEnded) for event in heard))
        assert ready_again(station)
        assert station.execute(PICTURE, pid="A").verdict == "NG"


def test_launch_that_fails_behind_a_swap_breaks_nothing(tmp_path: Path) -> None:
    """The old version's next host hangs in its setup while the new one is swapped in, and is lost then."""
    heard: list[kinds.Event] = []
    arguments = ("--first", str(tmp_path / "first"), "--setup-fails", "hang")
    options = attrs.evolve(WARM, spare=False, restart=RestartPolicy(first_delay_s=0.01, max_failed_launches=1))
    with supervised(*arguments, options=options, listeners=[heard.append]) as station:
        kill(station.process_id)

        def starting() -> list[int]:
            return [event.process_id for event in heard if isinstance(event, kinds.HostStarting)]

        assert wait_until(lambda: len(starting()) == 2)
        station.swap(command=peer("--verdict", "NG"))
        new = station.process_id
        kill(starting()[1])
        assert wait_until(lambda: any(isinstance(event, kinds.LaunchFailed) for event in heard))
        kill(new)
        assert station.execute(PICTURE, pid="A").verdict == "NG"
        assert station.process_id != new
    assert "broken" not in [event.NAME for event in heard]


# --- a spare that is renewed ------------------------------------------------------------------------------------


def test_renewal_ends_no_spare_that_was_launched_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none, and somebody else has another tried just when the hosts to end are looked for."""
    hosts = Launcher.hosts
    heard: list[kinds.Event] = []
    renewing = threading.current_thread()
    with supervised(options=NO_RESTART_IN_TIME, listeners=[heard.append]) as station:
        spare = the_spare(station)
        kill(spare_of(station))
        assert wait_until(lambda: any(isinstance(event, kinds.HostEnded) for event in heard))
        trying = threading.Thread(target=spare.try_again)

        def slowly(launcher: Launcher) -> list[SupervisedHost]:
            if threading.current_thread() is renewing and trying.ident is None:
                trying.start()
                wait_until(lambda: hosts(launcher), IN_BETWEEN_S)
            return hosts(launcher)

        monkeypatch.setattr(Launcher, "hosts", slowly)
        spare.renew(station.command)
        trying.join(PATIENCE_S)
        assert spare_of(station)
        assert spare.snapshot().counters == {"hosts_crashed": 1}


def test_crash_of_a_spare_from_before_a_renewal_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is buried after it: what follows is the first try of the new one, not one restart too many."""
    bury, burying, renewed = Launcher.bury, threading.Event(), threading.Event()

    def late(launcher: Launcher, host: SupervisedHost, end: HostEnd) -> None:
        if on("spare"):
            burying.set()
            renewed.wait(PATIENCE_S)
        bury(launcher, host, end)

    monkeypatch.setattr(Launcher, "bury", late)
    with supervised(options=attrs.evolve(WARM, restart=RestartPolicy(max_restarts=0))) as station:
        spare = the_spare(station)
        kill(spare_of(station))
        assert burying.wait(PATIENCE_S)
        spare.renew(station.command)
        renewed.set()
        assert spare_of(station)
        assert spare.broken_because is None


# --- a swap that is interrupted ---------------------------------------------------------------------------------


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT is Python's, also where the tests were started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stations", [supervised, pooled])
@pytest.mark.usefixtures("interruptible")
def test_swap_that_is_interrupted_behind_the_switch_leaves_no_old_spare(
    stations: Callable[..., AbstractContextManager[Supervisor | Pool]],
) -> None:
    """By Ctrl-C while a session of the old version goes on."""
    with stations(options=WARM) as station:
        old_spare = spare_of(station)
        first = station.supervisors[0] if isinstance(station, Pool) else station
        old = first.process_id
        session = first.session()
        first.pre_execute(PICTURE, pid="A", session=session)

        def interrupt() -> None:
            if wait_until(lambda: first.snapshot().counters.get("swaps"), PATIENCE_S):
                os.kill(os.getpid(), signal.SIGINT)

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            station.swap(command=peer("--verdict", "NG"))
        interrupting.join(PATIENCE_S)
        assert first.process_id != old
        new_spare = spare_of(station)
        assert new_spare != old_spare
        kill(first.process_id)
        assert wait_until(lambda: first.process_id == new_spare, PATIENCE_S)
        assert first.execute(PICTURE, pid="A").verdict == "NG"
