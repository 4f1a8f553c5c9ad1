"""Launches hosts, and keeps every one until it is buried: a stop has to end them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from procvision_runner.errors import LaunchError
from procvision_runner.exit_causes import EndKind, HostEnd
from procvision_runner.supervision import events
from procvision_runner.supervision.crashreports import CrashReports, Incident
from procvision_runner.supervision.in_parallel import in_parallel
from procvision_runner.supervision.supervised_host import SupervisedHost

if TYPE_CHECKING:
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.supervised_host import HostObserver


class Launcher:
    """Any thread may use it. After `stop_asked` it launches nothing more."""

    def __init__(
        self,
        options: SupervisorOptions,
        journal: Journal,
        stop_asked: threading.Event,
        on_log: Callable[[Mapping[str, Any]], None] | None,
        slots: SlotPool,
        *,
        locks_deployment: bool = True,
    ) -> None:
        self._locks_deployment = locks_deployment
        self._options = options
        self._journal = journal
        self._stop_asked = stop_asked
        self._on_log = on_log
        self._slots = slots
        self._lock = threading.Lock()
        self._hosts: list[SupervisedHost] = []
        self._numbers = 0
        self._reports = (
            CrashReports(options.crash_folder, options.max_crash_reports) if options.crash_folder is not None else None
        )

    def __contains__(self, host: SupervisedHost) -> bool:
        """Tell whether the host is neither buried nor adopted by another launcher."""
        return host in self._hosts

    def hosts(self) -> list[SupervisedHost]:
        """Return all hosts, in the order in which they were launched."""
        with self._lock:
            return list(self._hosts)

    # --- a host's beginning ---------------------------------------------------------------------------------

    def launch(self, command: tuple[str, ...], observer: HostObserver) -> SupervisedHost:
        """Launch a host and return it when it is ready. It gets no calls yet. Raises LaunchError."""
        with self._lock:
            if self._stop_asked.is_set():
                raise LaunchError("the supervisor was stopped")
            self._numbers += 1
            try:
                host = SupervisedHost(
                    self._numbers, command, self._options, observer, self._on_log, self._slots, self._journal.name,
                    locks_deployment=self._locks_deployment,
                )  # fmt: skip
            except OSError as error:
                raise LaunchError(f"no host can be started: {error}; hint: see the limits of this process") from error
            self._hosts.append(host)
        self._journal.emit(events.HostStarting, host=host.number, command=command, process_id=host.process.process_id)
        try:
            host.get_ready()
        except BaseException as error:
            self._launch_failed(host, error)
            raise
        self._journal.emit(
            events.HostReady,
            host=host.number,
            process_id=host.process_id,
            start_s=round(time.monotonic() - host.launched_at, 3),
            version=host.version,
        )
        return host

    def _launch_failed(self, host: SupervisedHost, error: BaseException) -> None:
        if host.stopped:
            # It was ended while it was launched, by a stop or because another version is wanted: no failure of its.
            self.bury(host, host.client.end or HostEnd(EndKind.STOPPED, "was stopped"))
            return
        host.stop(politely=False)
        self.forget(host)
        retryable = isinstance(error, LaunchError) and error.retryable
        self._journal.emit(events.LaunchFailed, host=host.number, reason=str(error), retryable=retryable)
        self._journal.count("failed_launches")
        if isinstance(error, LaunchError) and not retryable:  # what is away is no incident of the host's
            self.report(host, host.client.end or HostEnd(EndKind.EXITED, str(error)), "never became ready")

    def adopt(self, host: SupervisedHost, observer: HostObserver) -> bool:
        """Take over another launcher's host, under a new number. Return False if it is too late for that."""
        with self._lock:
            if self._stop_asked.is_set():
                return False
            self._numbers += 1
            host.number, host.observer = self._numbers, observer
            self._hosts.append(host)
            return True

    # --- a host's end ---------------------------------------------------------------------------------------

    def bury(self, host: SupervisedHost, end: HostEnd) -> None:
        """End what is left of a host that is gone, and tell of its end."""
        host.stop(politely=False)
        self.forget(host)
        self._journal.count(f"hosts_{end.kind}")
        self._journal.emit(
            events.HostEnded, host=host.number, cause=str(end.kind), reason=end.text, exit_status=end.exit_status
        )

    def discard(self, host: SupervisedHost) -> None:
        """Stop a host that got no calls."""
        host.stop()
        # Not before: a stop of the supervisor's waits for all that it knows of.
        self.forget(host)

    def forget(self, host: SupervisedHost) -> None:
        """Forget a host that is buried, or that another launcher adopted."""
        with self._lock:
            if host in self._hosts:
                self._hosts.remove(host)

    def stop_all(self, timeout_s: float | None = None) -> None:
        """Stop all hosts side by side, each within `timeout_s` where that is given."""
        in_parallel([partial(host.stop, timeout_s=timeout_s) for host in self.hosts()])

    def report(self, host: SupervisedHost, end: HostEnd, what: str) -> None:
        """Write a crash report, if they are kept. A host that ends at a stop is no incident."""
        if self._reports is None or self._stop_asked.is_set():
            return
        incident = Incident(source=self._journal.name, what=what, end=end, host=host, options=self._options)
        folder = self._reports.write(incident)
        if folder is not None:
            self._journal.count("crash_reports")
            self._journal.emit(events.CrashReported, host=host.number, folder=str(folder))
