"""One host after the other: launched, given the calls, buried when it ended, and followed by the next.

The strategy: the keeper's thread decides and does; hosts tell what they notice on their clients' threads, which must
not block, so that becomes a task of the keeper's. Who swaps or resets does that on a thread of its own.
Warning: no lock is held while a host is launched or ended, so what was decided on may have changed meanwhile;
`switching` orders the two who may install one, a swap and a restart.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from procvision_runner.causes import EndKind, HostEnd
from procvision_runner.errors import LaunchError
from procvision_runner.supervision import events
from procvision_runner.supervision.crashreports import CrashReports, Incident
from procvision_runner.supervision.errands import Errands
from procvision_runner.supervision.hosts import Host
from procvision_runner.supervision.measuring import Gauge
from procvision_runner.supervision.overdue import OverdueCalls
from procvision_runner.supervision.recovery import Recovery

if TYPE_CHECKING:
    from procvision_runner.pending import Pending
    from procvision_runner.supervision.admission import Admission
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.standing import Standing
    from procvision_sdk.wire.messages import Error, Pong, Result


class Succession:
    """A supervisor's hosts. `command` is what the next is launched with."""

    def __init__(
        self,
        command: tuple[str, ...],
        options: SupervisorOptions,
        journal: Journal,
        admission: Admission,
        standing: Standing,
        on_log: Callable[[Mapping[str, Any]], None] | None,
    ) -> None:
        self.command = command
        self.swapping = threading.Lock()
        """Held through a swap, or a reset: one at a time."""
        self._options = options
        self._journal = journal
        self._admission = admission
        self._standing = standing
        self._on_log = on_log
        self.switching = threading.Lock()
        self._hosts_lock = threading.Lock()
        self._hosts: list[Host] = []
        self._numbers = 0
        self._reports = (
            CrashReports(options.crash_folder, options.max_crash_reports) if options.crash_folder is not None else None
        )
        self.recovery = Recovery(self, options.restart, journal, admission, standing)
        self._overdue = OverdueCalls(admission, options.cancel_grace_s, self._put_down)
        gauge = Gauge(journal, admission, options.measure_interval_s, options.limits.memory_bytes, self._put_down)
        self.keeper = Errands(
            f"procvision-keeper {journal.name}", (self._overdue.look, gauge.look), self.recovery.keeper_failed
        )

    # --- a host's beginning ---------------------------------------------------------------------------------

    def launch(self, command: tuple[str, ...]) -> Host:
        """A host that is ready, and gets no calls yet. Raises LaunchError."""
        with self._hosts_lock:
            if self._standing.stopping:
                raise LaunchError("the supervisor was stopped")
            self._numbers += 1
            try:
                host = Host(self._numbers, command, self._options, self, self._on_log)
            except OSError as error:
                raise LaunchError(f"no host can be started: {error}; hint: see the limits of this process") from error
            self._hosts.append(host)
        self._journal.emit(events.HostStarting, host=host.number, command=command, process_id=host.process.process_id)
        began = time.monotonic()
        try:
            host.get_ready()
        except BaseException as error:
            self._launch_failed(host, error)
            raise
        self._journal.emit(
            events.HostReady,
            host=host.number,
            process_id=host.process_id,
            start_s=round(time.monotonic() - began, 3),
            version=host.version,
        )
        return host

    def _launch_failed(self, host: Host, error: BaseException) -> None:
        host.stop(politely=False)
        self._forget(host)
        self._journal.emit(events.LaunchFailed, host=host.number, reason=str(error))
        self._journal.count("failed_launches")
        if isinstance(error, LaunchError) and not self._standing.stopping:
            self._report(host, host.client.end or HostEnd(EndKind.EXITED, str(error)), "never became ready")

    def install(self, host: Host) -> Host | None:
        """Calls go to this host from now on; returns the one before."""
        self.recovery.launched()
        self._standing.ready()
        before = self._admission.install(host)
        if host.client.end is not None:
            # It died between its hello and here, and the keeper may have found nothing to do about it then.
            self.keeper.do(functools.partial(self._bury, host, host.client.end))
        else:
            self.keeper.look()
        return before

    def promote(self, host: Host, command: tuple[str, ...]) -> Host | None:
        """New sessions go to `host`; the host before, which is returned, keeps those it has."""
        with self.switching:
            self.command = command
            before = self._admission.current
            if before is not None:
                with self._admission.lock:
                    before.draining = True
            self.install(host)
            return before

    # --- a host's end ---------------------------------------------------------------------------------------

    def discard(self, host: Host) -> None:
        """Stops a host that got no calls."""
        host.stop()
        # Not before: a stop of the supervisor's waits for all that it knows of.
        self._forget(host)

    def drain(self, host: Host) -> int:
        """Waits for the last session of a host that was swapped out, then stops it; how many had to be cut off."""
        cut = self._admission.wait_until_idle(host, self._options.drain_timeout_s)
        with self._admission.lock:
            host.closing = True
        host.stop()
        end = host.client.end or HostEnd(EndKind.STOPPED, "was stopped")
        self.keeper.do(functools.partial(self._bury, host, end))
        self._journal.emit(events.HostDrained, host=host.number, sessions_cut=cut)
        return cut

    def replace(self, host: Host, reason: str, *, leaving: bool) -> None:
        """Has the keeper end a host that still answers, and start another; one that is `leaving` goes by itself."""
        with self._admission.lock:
            if host.closing:
                return
            host.closing = True
        self.keeper.do(functools.partial(self._replace, host, reason, leaving=leaving))

    def stop_all(self) -> None:
        """Each in its own time, all in the time of one."""
        with self._hosts_lock:
            hosts = list(self._hosts)
        threads = [threading.Thread(target=host.stop, name="procvision-stop") for host in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _forget(self, host: Host) -> None:
        with self._hosts_lock:
            if host in self._hosts:
                self._hosts.remove(host)

    # --- what hosts tell ------------------------------------------------------------------------------------

    def host_missed_pong(self, host: Host, misses: int) -> None:
        """Counts it."""
        self._journal.count("missed_pongs")
        self._journal.emit(events.PongMissed, host=host.number, misses=misses)

    def host_unresponsive(self, host: Host, misses: int) -> None:
        """Has the keeper end it."""
        text = f"did not answer {misses} pings in a row"
        self.keeper.do(functools.partial(self._put_down, host, EndKind.UNRESPONSIVE, text))

    def host_timed_out(self, host: Host, pending: Pending) -> None:
        """Gives the call its grace, in which the host gets no other."""
        self._overdue.add(host, pending)
        self.keeper.look()

    def host_answered_unexpectedly(self, host: Host, answer: Result | Error | Pong) -> None:
        """Counts it."""
        self._journal.count("unexpected_answers")
        self._journal.emit(events.UnexpectedAnswer, host=host.number, request_id=answer.request_id, type=answer.TYPE)

    def host_violated(self, host: Host, kind: str, message: str) -> None:
        """Counts it."""
        self._journal.count("violations")
        self._journal.emit(events.ProtocolViolated, host=host.number, kind=kind, message=message[:1000])

    def host_died(self, host: Host, end: HostEnd) -> None:
        """Lets no more calls in; the rest is the keeper's."""
        with self._admission.lock:
            host.closing = True
            current = self._admission.current is host
        if current:
            self._standing.host_lost()
        self.keeper.do(functools.partial(self._bury, host, end))

    # --- what the keeper does -------------------------------------------------------------------------------

    def _put_down(self, host: Host, kind: EndKind, text: str) -> None:
        with self._admission.lock:
            host.closing = True
        if host.client.end is not None or host.stopped or self._standing.stopping:
            return
        self._journal.emit(events.HostPutDown, host=host.number, cause=str(kind), reason=text)
        host.put_down(kind, text)

    def _replace(self, host: Host, reason: str, *, leaving: bool) -> None:
        timeout_s = self._options.runner.shutdown_timeout_s
        # One that leaves tells by its own end why; in another the other calls, which have done nothing wrong, get
        # their time.
        if (leaving and host.ends_within(timeout_s)) or host.client.end is not None or self._standing.stopping:
            return
        self._journal.emit(events.HostPutDown, host=host.number, cause="replaced", reason=reason)
        self._admission.wait_until_idle(host, timeout_s, calls_only=True)
        host.stop()

    def _bury(self, host: Host, end: HostEnd) -> None:
        """A host is gone: takes care of what it leaves, and of another in its place."""
        if host not in self._hosts or not host.ready:
            return  # buried already, or never installed: whoever launched it sees to that
        ended_at = time.monotonic()
        was_current = self._admission.current is host
        self._overdue.forget(host)
        self.recovery.last_logs = tuple(host.client.log.records)
        if was_current:
            self._standing.host_lost()
        host.stop(politely=False)
        lost = self._admission.lose(host, f"the host that knew it {end.text}")
        self._forget(host)
        self._journal.count(f"hosts_{end.kind}")
        self._journal.emit(
            events.HostEnded, host=host.number, cause=str(end.kind), reason=end.text, exit_status=end.exit_status
        )
        if lost:
            self._journal.count("sessions_lost", lost)
            self._journal.emit(events.SessionsLost, host=host.number, count=lost)
        if end.kind is not EndKind.STOPPED and not self._standing.stopping:
            self._report(host, end, "ended")
        if was_current and not self._standing.stopping:
            self.recovery.restart(ended_at)

    def _report(self, host: Host, end: HostEnd, what: str) -> None:
        if self._reports is None:
            return
        incident = Incident(source=self._journal.name, what=what, end=end, host=host, options=self._options)
        folder = self._reports.write(incident)
        if folder is not None:
            self._journal.count("crash_reports")
            self._journal.emit(events.CrashReported, host=host.number, folder=str(folder))
