"""One host after the other: launched, given the calls, buried when it ended, and followed by the next.

The strategy: the keeper's thread decides and does; hosts tell what they notice on their clients' threads, which must
not block, so that becomes a task of the keeper's. Who swaps or recovers does that on a thread of its own.
Warning: no lock is held while a host is launched or ended, so what was decided on may have changed meanwhile;
`switching` orders those who may install one: a swap, a restart, and the spare's taking over.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from procvision_runner.exit_causes import EndKind, HostEnd
from procvision_runner.supervision import events
from procvision_runner.supervision.background_thread import Errands
from procvision_runner.supervision.launcher import Launcher
from procvision_runner.supervision.measuring import Gauge
from procvision_runner.supervision.notices import Notices
from procvision_runner.supervision.overdue import OverdueCalls
from procvision_runner.supervision.recovery import Recovery

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.spare import Spare
    from procvision_runner.supervision.state import Standing
    from procvision_runner.supervision.supervised_host import SupervisedHost


class Succession(Notices):
    """A supervisor's hosts. `command` is what the next is launched with."""

    def __init__(
        self,
        command: tuple[str, ...],
        options: SupervisorOptions,
        journal: Journal,
        admission: Admission,
        standing: Standing,
        on_log: Callable[[Mapping[str, Any]], None] | None,
        spare: Spare | None,
        slots: SlotPool,
    ) -> None:
        super().__init__(journal)
        self.command = command
        self.swapping = threading.Lock()
        """Held through a swap, or a recovery: one at a time."""
        self.switching = threading.Lock()
        self.since = 0.0
        """No spare is taken that was launched earlier."""
        self._options = options
        self._admission = admission
        self._standing = standing
        self._spare = spare
        self._launcher = Launcher(options, journal, standing.stop_asked, on_log, slots)
        self.recovery = Recovery(self, options.restart, journal, admission, standing, spare)
        self._overdue = OverdueCalls(admission, options.cancel_grace_s, self._put_down)
        gauge = Gauge(
            journal, lambda: admission.current, options.measure_interval_s, options.limits.memory_bytes, self._put_down
        )
        self.keeper = Errands(
            f"procvision-keeper {journal.name}", (self._overdue.look, gauge.look), self.recovery.keeper_failed
        )

    # --- a host's beginning ---------------------------------------------------------------------------------

    def launch(self, command: tuple[str, ...]) -> SupervisedHost:
        """A host that is ready, and gets no calls yet. Raises LaunchError."""
        return self._launcher.launch(command, self)

    def launch_next(self) -> SupervisedHost:
        """The same, of the running version."""
        return self.launch(self.command)

    def take_spare(self) -> SupervisedHost | None:
        """The spare host, if it is ready and of the running version. Under `switching`."""
        taken = self._spare.take(self.command, self.since, self._launcher, self) if self._spare is not None else None
        if taken is None:
            return None
        host, spare = taken
        self._journal.emit(
            events.SpareTookOver, host=host.number, spare=spare, process_id=host.process_id, version=host.version
        )
        return host

    def install(self, host: SupervisedHost) -> SupervisedHost | None:
        """Calls go to this host from now on; returns the one before."""
        self.recovery.launched()
        before = self._admission.install(host, self._standing.ready)
        if host.client.end is not None:
            # It died between its hello and here, and the keeper may have found nothing to do about it then.
            self.keeper.do(functools.partial(self._bury, host, host.client.end))
        else:
            self.keeper.look()
        return before

    def promote(self, host: SupervisedHost, command: tuple[str, ...]) -> SupervisedHost | None:
        """New sessions go to `host`; the host before, which is returned, keeps those it has."""
        with self.switching:
            self.renewed(host)
            self.command = command
            before = self._admission.current
            if before is not None:
                with self._admission.lock:
                    before.draining = True
            self.install(host)
            return before

    def renewed(self, host: SupervisedHost) -> None:
        """What was launched before this host may be of an earlier version, even by the same command: it isn't used."""
        self.since = host.launched_at

    # --- a host's end ---------------------------------------------------------------------------------------

    def discard(self, host: SupervisedHost) -> None:
        """Stops a host that got no calls."""
        self._launcher.discard(host)

    def drain(self, host: SupervisedHost) -> int:
        """Waits for the last session of a host that was swapped out, then stops it; how many had to be cut off."""
        cut = self._admission.wait_until_idle(host, self._options.drain_timeout_s)
        with self._admission.lock:
            host.closing = True
        host.stop()
        end = host.client.end or HostEnd(EndKind.STOPPED, "was stopped")
        self.keeper.do(functools.partial(self._bury, host, end))
        self._journal.emit(events.HostDrained, host=host.number, sessions_cut=cut)
        return cut

    def replace(self, host: SupervisedHost, reason: str, *, leaving: bool) -> None:
        """Has the keeper end a host that still answers, and start another; one that is `leaving` goes by itself."""
        with self._admission.lock:
            if host.closing:
                return
            host.closing = True
        self.keeper.do(functools.partial(self._replace, host, reason, leaving=leaving))

    def stop_all(self) -> None:
        """Ends them, all in the time of one."""
        self._launcher.stop_all()

    # --- what hosts tell ------------------------------------------------------------------------------------

    def host_unresponsive(self, host: SupervisedHost, misses: int) -> None:
        """Has the keeper end it."""
        text = f"did not answer {misses} pings in a row"
        self.keeper.do(functools.partial(self._put_down, host, EndKind.UNRESPONSIVE, text))

    def host_timed_out(self, host: SupervisedHost, pending: PendingCall) -> None:
        """Gives the call its grace, in which the host gets no other."""
        self._overdue.add(host, pending)
        self.keeper.look()

    def host_died(self, host: SupervisedHost, end: HostEnd) -> None:
        """Lets no more calls in; the rest is the keeper's."""
        with self._admission.lock:
            host.closing = True
            self._lost_if_current(host)
        self.keeper.do(functools.partial(self._bury, host, end))

    def _lost_if_current(self, host: SupervisedHost) -> bool:
        """Whether calls went to this host. Under the admission's lock: else another may be installed in between."""
        if self._admission.current is not host:
            return False
        self._standing.host_lost()
        return True

    # --- what the keeper does -------------------------------------------------------------------------------

    def _put_down(self, host: SupervisedHost, kind: EndKind, text: str) -> None:
        with self._admission.lock:
            host.closing = True
        if host.client.end is not None or host.stopped or self._standing.stopping:
            return
        self.recovery.cover(host)
        self._journal.emit(events.HostPutDown, host=host.number, cause=str(kind), reason=text)
        host.put_down(kind, text)

    def _replace(self, host: SupervisedHost, reason: str, *, leaving: bool) -> None:
        self.recovery.cover(host)
        timeout_s = self._options.runner.shutdown_timeout_s
        # One that leaves tells by its own end why; in another the other calls, which have done nothing wrong, get
        # their time.
        if (leaving and host.ends_within(timeout_s)) or host.client.end is not None or self._standing.stopping:
            return
        self._journal.emit(events.HostPutDown, host=host.number, cause="replaced", reason=reason)
        self._admission.wait_until_idle(host, timeout_s, calls_only=True)
        host.stop()

    def _bury(self, host: SupervisedHost, end: HostEnd) -> None:
        """A host is gone: takes care of what it leaves, and of another in its place."""
        if host not in self._launcher or not host.ready:
            return  # buried already, or never installed: whoever launched it sees to that
        ended_at = time.monotonic()
        self.recovery.cover(host)
        with self._admission.lock:
            was_current = self._lost_if_current(host)
        self._overdue.forget(host)
        self.recovery.last_logs = tuple(host.client.log.records)
        self._launcher.bury(host, end)
        # Not before it is buried: where its sessions outlive it, the next host goes on with them.
        lost = self._admission.lose(host, f"the host that knew it {end.text}")
        if lost:
            self._journal.count("sessions_lost", lost)
            self._journal.emit(events.SessionsLost, host=host.number, count=lost)
        if end.kind is not EndKind.STOPPED:
            self._launcher.report(host, end, "ended")
        if was_current and not self._standing.stopping:
            self.recovery.restart(ended_at)
