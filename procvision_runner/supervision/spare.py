"""Keeps one host more than is needed, launched and set up, to take the place of one that is lost.

The strategy: a thread of its own keeps it ready. The supervisor that takes it adopts it under a number of its own, and
observes it from then on. A host that dies while it stands by, or never becomes ready, is followed by another, as the
restart policy says.
Warning: what was launched for another version, or before a swap or a recovery, must not be taken: hence the command and
the instant that `take` wants.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from procvision_runner.errors import LaunchError
from procvision_runner.exit_causes import EndKind, HostEnd
from procvision_runner.supervision import events
from procvision_runner.supervision.background_thread import BackgroundThread
from procvision_runner.supervision.in_parallel import in_parallel
from procvision_runner.supervision.journal import Journal
from procvision_runner.supervision.launcher import Launcher
from procvision_runner.supervision.measuring import Gauge
from procvision_runner.supervision.notices import Notices
from procvision_runner.supervision.restart import GiveUp, RestartHistory

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.supervision.metrics import Snapshot
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.supervised_host import HostObserver, SupervisedHost


class SpareState(StrEnum):
    """The state of a spare."""

    STARTING = "starting"
    """The last one was taken, or is lost; the next is launched and set up, or waits for its delay."""
    READY = "ready"
    """A host stands by."""
    GIVEN_UP = "given up"
    """It didn't stay: none is launched until a host becomes ready again, or until a `recover()` or a swap."""
    STOPPED = "stopped"
    """For good."""


class Spare(Notices):
    """Keeps one host ready, for one supervisor or a pool. `name` is the source of its events."""

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        options: SupervisorOptions,
        bus: events.EventBus,
        on_log: Callable[[Mapping[str, Any]], None] | None,
        slots: SlotPool,
        *,
        locks_deployment: bool = True,
    ) -> None:
        """Launch nothing before `start`, and nothing while the command is empty."""
        super().__init__(Journal(name, bus))
        self.name = name
        self._command = command
        self._locks_deployment = locks_deployment
        self._policy = options.restart
        self._stop_asked = threading.Event()
        self._launcher = Launcher(
            options, self._journal, self._stop_asked, on_log, slots, locks_deployment=locks_deployment
        )
        self._lock = threading.Lock()
        self._host: SupervisedHost | None = None
        """The host that is ready and may be taken."""
        self._renewals = 0
        self._launched_in = 0
        """How often it was renewed: what happens to a host of an earlier renewal counts no more."""
        self._history = RestartHistory()
        self._not_before = 0.0
        self._given_up_because: str | None = None
        gauge = Gauge(
            self._journal, lambda: self._host, options.measure_interval_s, options.limits.memory_bytes, self._put_down
        )
        self._keeper = BackgroundThread(f"procvision-spare {name}", (self._fill, gauge.look), self._keeper_failed)
        self._owner = os.getpid()

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to launch the first host, and return at once."""
        self._keeper.look()

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop the spare host, within `timeout_s` where that is given. In a fork of this process it does nothing."""
        if os.getpid() != self._owner:
            return
        self._stop_asked.set()
        self._launcher.stop_all(timeout_s)
        self._keeper.stop()

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def state(self) -> SpareState:
        """The current state."""
        if self._stop_asked.is_set():
            return SpareState.STOPPED
        if self._given_up_because is not None:
            return SpareState.GIVEN_UP
        return SpareState.READY if self._host is not None else SpareState.STARTING

    @property
    def broken_because(self) -> str | None:
        """Why it was given up; None if it was not."""
        return self._given_up_because

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the process that would run the algorithm; None while there is none."""
        host = self._host
        return host.process_id if host is not None else None

    def snapshot(self) -> Snapshot:
        """Return its counters, memory and CPU."""
        return self._journal.metrics.snapshot()

    # --- what supervisors ask of it -------------------------------------------------------------------------

    def take(
        self, command: tuple[str, ...], since: float, into: Launcher, observer: HostObserver
    ) -> tuple[SupervisedHost, int] | None:
        """Return the host and its number here, if it is ready, runs this command and was launched at `since` or later.

        Else return None. The host belongs to its taker from here on.
        """
        with self._lock:
            host = self._host
            if host is None or host.client.end is not None or host.command != command or host.launched_at < since:
                return None
            spare = host.number
            if not into.adopt(host, observer):
                return None
            self._host = None
            self._launcher.forget(host)
        self._keeper.look()
        return host, spare

    @property
    def command(self) -> tuple[str, ...]:
        """What launches its host; empty while it keeps none."""
        return self._command

    def renew(self, command: tuple[str, ...], heir: Spare | None = None) -> None:
        """End the host that is ready or is being launched, and launch another by this command.

        An `heir` goes on with the command before, and with the host if it is ready: so nothing is launched for it.
        """
        given = None
        with self._lock:
            before, self._command = self._command, command
            self._renewals += 1
            host, self._host = self._host, None
            if heir is not None and host is not None and host.client.end is None and heir._launcher.adopt(host, heir):
                self._launcher.forget(host)
                given = host
            # Those of now: the keeper may launch the next before they have ended.
            outdated = self._launcher.hosts()
        if heir is not None:
            heir._inherit(before, given)
        self._end_outdated(outdated)

    def _inherit(self, command: tuple[str, ...], host: SupervisedHost | None) -> None:
        with self._lock:
            self._command = command
            self._renewals += 1
            self._launched_in = self._renewals
            self._host = host if host is not None and host.client.end is None else None
            outdated = [other for other in self._launcher.hosts() if other is not host]
        if host is not None and not self._locks_deployment:
            host.process.let_deployment_go()
        self._end_outdated(outdated)

    def _end_outdated(self, outdated: list[SupervisedHost]) -> None:
        in_parallel([host.stop for host in outdated])
        self._keeper.do(self._bury_stopped)
        self.try_again()

    def try_again(self) -> None:
        """Forget earlier failures, since something has changed."""
        with self._lock:
            self._history = RestartHistory()
            self._not_before = 0.0
            self._given_up_because = None
        self._keeper.look()

    # --- what the host tells --------------------------------------------------------------------------------

    def host_unresponsive(self, host: SupervisedHost, misses: int) -> None:
        """Let the keeper end it. If it was taken already, tell its taker instead."""
        self._withdraw(host)
        if host.observer is not self:
            host.unresponsive(misses)
            return
        self._keeper.do(lambda: self._put_down_unresponsive(host, misses))

    def host_timed_out(self, host: SupervisedHost, pending: PendingCall) -> None:
        """Do nothing: its only call is the one by which it becomes ready, and that fails the launch."""

    def host_died(self, host: SupervisedHost, end: HostEnd) -> None:
        """Let the keeper launch another. The end of a host that was taken is its taker's."""
        self._withdraw(host)
        self._keeper.do(lambda: self._bury(host, end))

    # --- what the keeper does -------------------------------------------------------------------------------

    def _fill(self, now: float) -> float | None:
        """Launch a host if there is none. Return the seconds until it may launch one."""
        with self._lock:
            # Not before the last one is buried: then its delay is known.
            if (
                not self._command
                or self._launcher.hosts()
                or self._given_up_because is not None
                or self._stop_asked.is_set()
            ):
                return None
            if now < self._not_before:
                return self._not_before - now
            command, renewals = self._command, self._renewals
            self._launched_in = renewals
        try:
            host = self._launcher.launch(command, self)
        except LaunchError as error:
            self._failed(renewals, launched=False, passing=error.retryable)
            return 0.0
        with self._lock:
            outdated = renewals != self._renewals
            if not outdated:
                self._history = self._history.launched()
                # Where it has died again already, its burial is the keeper's next task.
                self._host = host if host.client.end is None else None
        if outdated:
            self._launcher.discard(host)
            return 0.0
        return None

    def _put_down_unresponsive(self, host: SupervisedHost, misses: int) -> None:
        self._withdraw(host)
        if host.observer is not self:
            # It was told while the host was launched, and the host was taken before this: it is not told twice.
            host.unresponsive(misses)
            return
        self._put_down(host, EndKind.UNRESPONSIVE, f"did not answer {misses} pings in a row")

    def _put_down(self, host: SupervisedHost, kind: EndKind, text: str) -> None:
        self._withdraw(host)
        if host not in self._launcher or host.stopped or host.client.end is not None:
            return  # Taken, or it ends already.
        self._journal.emit(events.HostPutDown, host=host.number, cause=str(kind), reason=text)
        host.put_down(kind, text)
        self._bury(host, host.client.end or HostEnd(kind, text))

    def _withdraw(self, host: SupervisedHost) -> None:
        """Let nobody take the host from here on. One that was taken before stays its taker's."""
        with self._lock:
            if self._host is host:
                self._host = None

    def _bury(self, host: SupervisedHost, end: HostEnd) -> None:
        if host not in self._launcher:
            return  # Taken, or never ready.
        self._launcher.bury(host, end)
        if end.kind is not EndKind.STOPPED:
            self._launcher.report(host, end, "ended while it stood by")
            self._failed(self._launched_in, launched=True)

    def _bury_stopped(self) -> None:
        for host in self._launcher.hosts():
            if host.stopped:
                self._bury(host, host.client.end or HostEnd(EndKind.STOPPED, "was stopped"))

    def _failed(self, renewals: int, *, launched: bool, passing: bool = False) -> None:
        """Decide when another host is launched, since this one was lost or never became ready."""
        now = time.monotonic()
        with self._lock:
            if renewals != self._renewals or self._stop_asked.is_set():
                return
            history = self._history
            if passing:
                history = history.must_wait()
            elif not launched:
                history = history.launch_failed()
            decision, self._history = self._policy.decide(history, now)
            if not isinstance(decision, GiveUp):
                self._not_before = now + decision.delay_s
                return
        self._give_up(decision.reason)

    def _give_up(self, reason: str) -> None:
        self._given_up_because = reason
        self._journal.emit(events.SpareGivenUp, reason=reason)

    def _keeper_failed(self, error: Exception) -> None:
        """Give up after a failure of the keeper itself."""
        self._give_up(f"its keeper failed: {error!r}")
