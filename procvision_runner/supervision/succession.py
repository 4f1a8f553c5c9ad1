"""Manages one host after the other: launches it, gives it the calls, buries it, and lets the next follow.

The strategy: the keeper's thread decides and acts. Hosts tell what they notice on their clients' threads, which must
not block, so it becomes a task for the keeper. A swap and a recovery run on their callers' threads.
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
from procvision_runner.supervision.background_thread import BackgroundThread
from procvision_runner.supervision.launcher import Launcher
from procvision_runner.supervision.measuring import Gauge
from procvision_runner.supervision.notices import Notices
from procvision_runner.supervision.overdue import OverdueCalls
from procvision_runner.supervision.recovery import Recovery
from procvision_runner.supervision.suspects import MAX_ENDS, Suspects

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.spare import Spare
    from procvision_runner.supervision.state import Lifecycle
    from procvision_runner.supervision.supervised_host import SupervisedHost


class Succession(Notices):
    """A supervisor's hosts. `command` launches the next one."""

    def __init__(
        self,
        command: tuple[str, ...],
        options: SupervisorOptions,
        journal: Journal,
        admission: Admission,
        lifecycle: Lifecycle,
        on_log: Callable[[Mapping[str, Any]], None] | None,
        spare: Spare | None,
        slots: SlotPool,
        suspects: Suspects,
        fallback: Spare | None = None,
    ) -> None:
        super().__init__(journal)
        self.command = command
        self.swapping = threading.Lock()
        """Held during a swap or a recovery: only one at a time."""
        self.switching = threading.Lock()
        self.since = 0.0
        """A spare that was launched earlier is not taken."""
        self._options = options
        self._admission = admission
        self._lifecycle = lifecycle
        self._spare = spare
        self._fallback = fallback
        self._slots = slots
        self._suspects = suspects
        self._launcher = Launcher(options, journal, lifecycle.stop_asked, on_log, slots)
        self.recovery = Recovery(self, options.restart, journal, admission, lifecycle, spare)
        self._overdue = OverdueCalls(admission, options.cancel_grace_s, self._put_down)
        gauge = Gauge(
            journal, lambda: admission.current, options.measure_interval_s, options.limits.memory_bytes, self._put_down
        )
        self.keeper = BackgroundThread(
            f"procvision-keeper {journal.name}", (self._overdue.look, gauge.look), self.recovery.keeper_failed
        )

    # --- a host's beginning ---------------------------------------------------------------------------------

    def launch(self, command: tuple[str, ...]) -> SupervisedHost:
        """Launch a host and return it when it is ready. It gets no calls yet. Raises LaunchError."""
        return self._launcher.launch(command, self)

    def launch_next(self) -> SupervisedHost:
        """Launch a host of the running version."""
        return self.launch(self.command)

    def launch_other(self, command: tuple[str, ...]) -> SupervisedHost:
        """Return a host of another version: the one that stands by for it, or a new one. Raises LaunchError."""
        return self._take(self._fallback, command, 0.0) or self.launch(command)

    def take_spare(self) -> SupervisedHost | None:
        """Return the spare host, if it is ready and of the running version. Under `switching`."""
        return self._take(self._spare, self.command, self.since)

    def _take(self, spare_host: Spare | None, command: tuple[str, ...], since: float) -> SupervisedHost | None:
        taken = spare_host.take(command, since, self._launcher, self) if spare_host is not None else None
        if taken is None:
            return None
        host, spare = taken
        self._journal.emit(
            events.SpareTookOver, host=host.number, spare=spare, process_id=host.process_id, version=host.version
        )
        return host

    def install(self, host: SupervisedHost) -> SupervisedHost | None:
        """Send calls to this host from now on, and return the one before."""
        self.recovery.launched()
        before = self._admission.install(host, self._lifecycle.ready)
        if host.client.end is not None:
            # It died between its hello and here, and the keeper may have found nothing to do about it then.
            self.keeper.do(functools.partial(self._bury, host, host.client.end))
        else:
            self.keeper.look()
        return before

    def promote(self, host: SupervisedHost, command: tuple[str, ...]) -> SupervisedHost | None:
        """Send new sessions to `host`. Return the host before, which keeps the sessions that it has."""
        with self.switching:
            self.renewed(host)
            self._suspects.clear()
            self.command = command
            before = self._admission.current
            if before is not None:
                with self._admission.lock:
                    before.draining = True
            self.install(host)
            return before

    def renewed(self, host: SupervisedHost) -> None:
        """Use no spare that was launched before this host: the same command may have been another version."""
        self.since = host.launched_at

    # --- a host's end ---------------------------------------------------------------------------------------

    def discard(self, host: SupervisedHost) -> None:
        """Stop a host that got no calls."""
        self._launcher.discard(host)

    def drain(self, host: SupervisedHost) -> int:
        """Wait for the last session of a host that was swapped out, then stop it. Return how many were cut off."""
        cut = self._admission.wait_until_idle(host, self._options.drain_timeout_s)
        with self._admission.lock:
            host.closing = True
        host.stop()
        end = host.client.end or HostEnd(EndKind.STOPPED, "was stopped")
        self.keeper.do(functools.partial(self._bury, host, end))
        self._journal.emit(events.HostDrained, host=host.number, sessions_cut=cut)
        return cut

    def replace(self, host: SupervisedHost, reason: str, *, leaving: bool) -> None:
        """Let the keeper end a host that still answers, and start another. A host that is `leaving` goes by itself."""
        with self._admission.lock:
            if host.closing:
                return
            host.closing = True
        self.keeper.do(functools.partial(self._replace, host, reason, leaving=leaving))

    def stop_all(self, timeout_s: float | None = None) -> None:
        """Stop all hosts side by side, each within `timeout_s` where that is given."""
        self._launcher.stop_all(timeout_s)

    # --- what hosts tell ------------------------------------------------------------------------------------

    def host_unresponsive(self, host: SupervisedHost, misses: int) -> None:
        """Let the keeper end the host."""
        text = f"did not answer {misses} pings in a row"
        self.keeper.do(functools.partial(self._put_down, host, EndKind.UNRESPONSIVE, text))

    def host_timed_out(self, host: SupervisedHost, pending: PendingCall) -> None:
        """Give the call its grace. The host gets no other call in it."""
        self._overdue.add(host, pending)
        self.keeper.look()

    def host_ending(self, host: SupervisedHost, end: HostEnd, running: PendingCall | None) -> None:
        """Look which picture it was, while that still lies in its slot."""
        call = running.whole_call() if running is not None else None
        if call is not None and call.shared_mem_id is not None:
            host.suspect = self._suspects.ended_by(call, self._slots.payload(call.shared_mem_id), end)

    def host_died(self, host: SupervisedHost, end: HostEnd) -> None:
        """Let no more calls in. The keeper does the rest."""
        with self._admission.lock:
            host.closing = True
            self._lost_if_current(host)
        self.keeper.do(functools.partial(self._bury, host, end))

    def _lost_if_current(self, host: SupervisedHost) -> bool:
        """Note the loss if calls went to this host, and return whether they did. Under the admission's lock."""
        if self._admission.current is not host:
            return False
        self._lifecycle.host_lost()
        return True

    # --- what the keeper does -------------------------------------------------------------------------------

    def _put_down(self, host: SupervisedHost, kind: EndKind, text: str) -> None:
        with self._admission.lock:
            host.closing = True
        if host.client.end is not None or host.stopped or self._lifecycle.stopping:
            return
        self.recovery.cover(host)
        self._journal.emit(events.HostPutDown, host=host.number, cause=str(kind), reason=text)
        host.put_down(kind, text)

    def _replace(self, host: SupervisedHost, reason: str, *, leaving: bool) -> None:
        self.recovery.cover(host)
        timeout_s = self._options.runner.shutdown_timeout_s
        # One that leaves tells by its own end why; in another the other calls, which have done nothing wrong, get
        # their time.
        if (leaving and host.ends_within(timeout_s)) or host.client.end is not None or self._lifecycle.stopping:
            return
        self._journal.emit(events.HostPutDown, host=host.number, cause="replaced", reason=reason)
        self._admission.wait_until_idle(host, timeout_s, calls_only=True)
        host.stop()

    def _bury(self, host: SupervisedHost, end: HostEnd) -> None:
        """Clear up after a host that is gone, and start another in its place."""
        if host not in self._launcher or not host.ready:
            return  # It is buried already, or was never installed: the thread that launched it sees to that.
        ended_at = time.monotonic()
        pardoned = self._tell_of_suspect(host)
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
        if was_current and not self._lifecycle.stopping:
            self.recovery.restart(ended_at)
        if pardoned:
            self.recovery.pardon()

    def _tell_of_suspect(self, host: SupervisedHost) -> bool:
        """Tell of a picture that has ended its second host. Return whether its two restarts don't count."""
        suspect = host.suspect
        if suspect is None or suspect.ends < MAX_ENDS:
            return False
        self._journal.count("suspect_pictures")
        self._journal.emit(
            events.PictureSuspected,
            host=host.number,
            digest=suspect.digest,
            phase=suspect.phase,
            step_index=suspect.step_index,
            pid=suspect.pid,
            session_id=suspect.session_id,
            camera_id=suspect.camera_id,
            picture_timestamp_ms=suspect.timestamp_ms,
            cause=suspect.cause,
        )
        pardoned = self._suspects.pardonable()
        if pardoned:
            # The first of the two; the second is decided on now.
            self.recovery.pardon()
        return pardoned
