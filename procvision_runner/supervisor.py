"""`Supervisor`: one algorithm kept alive, with a `Runner`'s interface.

with Supervisor("pcb-compare", listeners=[print]) as station:
    result = station.execute(picture, pid="A")

The strategy: callers speak to the host themselves, on their own threads; one thread of the supervisor's own, the
*keeper*, does what takes time and is no caller's business: ends hosts that hang, buries those that died, starts
others. What a client notices reaches the keeper through its inbox.
Warning: the keeper holds no lock while it launches or ends a host, so what it decides on may have changed meanwhile.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs

from procvision_runner import events
from procvision_runner.admission import Admission
from procvision_runner.attempts import Attempts
from procvision_runner.causes import EndKind, HostEnd
from procvision_runner.crashreports import CrashReports, Incident
from procvision_runner.errors import BrokenError, CallError, LaunchError, RunnerStoppedError
from procvision_runner.hosts import Host
from procvision_runner.launching import host_command
from procvision_runner.metrics import Metrics, Snapshot, usage_of
from procvision_runner.options import SupervisorOptions
from procvision_runner.requests import InspectingPhase, InspectionSession, Request, new_session_id, prepare, session_ref
from procvision_runner.restart import GiveUp, RestartHistory
from procvision_runner.slots import Lease, SlotPool
from procvision_sdk.wire.messages import Call

if TYPE_CHECKING:
    from procvision_runner.pending import Pending
    from procvision_runner.requests import Image
    from procvision_runner.results import CallResult
    from procvision_runner.swap import GoldenPicture, SwapReport
    from procvision_sdk.images.meta import ColorSpace
    from procvision_sdk.wire.messages import Error, Pong, Result

_log = logging.getLogger("procvision.runner")

_LOOK_S = 0.02
"""How often the keeper looks at a call that was cancelled."""


class SupervisorState(StrEnum):
    """What a supervisor is at."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    BROKEN = "broken"
    STOPPED = "stopped"


@attrs.define
class _Overdue:
    """A call that was cancelled because its time is over, and until when it may end by itself."""

    host: Host
    pending: Pending
    grace_ends_at: float


class Supervisor:
    """Keeps a host of one algorithm alive and makes calls in it. A context manager; any thread may call.

    `algorithm` is the name of an installed one, NAME or NAME==VERSION; `command` launches any other host instead.
    `listeners` are told every event, `on_log` every log record of the hosts. `slots` and `bus` are shared by a pool.
    """

    def __init__(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        options: SupervisorOptions | None = None,
        listeners: Iterable[events.Listener] = (),
        on_log: Callable[[Mapping[str, Any]], None] | None = None,
        name: str | None = None,
        slots: SlotPool | None = None,
        bus: events.EventBus | None = None,
    ) -> None:
        self.options = options = options if options is not None else SupervisorOptions()
        self.command = host_command(algorithm, command, options.runner)
        self.name = name or algorithm or self.command[0]
        self.bus = bus if bus is not None else events.EventBus(tuple(listeners))
        self.metrics = Metrics()
        self.admission = Admission(options)
        self.reports = (
            CrashReports(options.crash_folder, options.max_crash_reports) if options.crash_folder is not None else None
        )
        self.broken_because: str | None = None
        self._owns_bus = bus is None
        self._shared_slots = slots
        self._slots: SlotPool | None = None
        self._on_log = on_log
        self._state = SupervisorState.NEW
        self._state_lock = threading.Lock()
        self._hosts: list[Host] = []
        self._numbers = 0
        self.swapping = threading.Lock()
        """Held through a swap: one at a time."""
        self._switching = threading.Lock()
        self._history = RestartHistory()
        self._stop_asked = threading.Event()
        self._stop_lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._keeper: threading.Thread | None = None
        self._overdue: list[_Overdue] = []
        self._measure_at = 0.0
        self._last_logs: tuple[Mapping[str, Any], ...] = ()

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> Supervisor:
        """Launches the first host and waits until its algorithm is set up. Raises LaunchError; nothing is left then."""
        if self._state is not SupervisorState.NEW:
            raise RuntimeError("this Supervisor was started already: make a new one")
        self._state = SupervisorState.STARTING
        self._slots = self._shared_slots if self._shared_slots is not None else SlotPool(self.options.runner.max_slots)
        self._keeper = threading.Thread(target=self._keep, name=f"procvision-keeper {self.name}", daemon=True)
        self._keeper.start()
        try:
            self._install(self.launch(self.command))
        except BaseException as error:
            self.broken_because = str(error)
            self._end(SupervisorState.BROKEN)
            raise
        return self

    def stop(self) -> int | None:
        """Ends everything; the calls that are on their way, too. Returns the last host's exit status."""
        return self._end(SupervisorState.STOPPED)

    def _end(self, state: SupervisorState) -> int | None:
        with self._stop_lock:
            if self._slots is None:
                return None
            self._stop_asked.set()
            self.admission.close(self._stopped_error)
            with self._state_lock:
                hosts = list(self._hosts)
            current = self.admission.current
            try:
                # Each in its own time, all in the time of one.
                threads = [threading.Thread(target=host.stop, name="procvision-stop") for host in hosts]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            finally:
                self._inbox.put(None)
                if self._keeper is not None:
                    self._keeper.join()
                if self._shared_slots is None:
                    self._slots.close()
                self._slots = None
                self._state = state
                self.emit(events.Stopped)
                if self._owns_bus:
                    self.bus.close()
            return current.process.exit_status if current is not None else None

    def _stopped_error(self) -> RunnerStoppedError:
        error = RunnerStoppedError("the supervisor was stopped: it takes no calls")
        error.sent = False
        return error

    def __enter__(self) -> Supervisor:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Supervisor {self.name} {self._state}>"

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def state(self) -> SupervisorState:
        """What it is at."""
        return self._state

    @property
    def alive(self) -> bool:
        """Whether a call would find a host, now or after a restart."""
        return self._state in {SupervisorState.READY, SupervisorState.RESTARTING}

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop_asked.is_set()

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the process that runs the algorithm now."""
        host = self.admission.current
        return host.process_id if host is not None else None

    @property
    def logs(self) -> list[Mapping[str, Any]]:
        """The last log records of the current host, or of the last one that there was."""
        host = self.admission.current
        return list(host.client.log.records if host is not None else self._last_logs)

    @property
    def unexpected_answers(self) -> int:
        """How many late, doubled or invented answers came, in all hosts."""
        return self.metrics.snapshot().counters.get("unexpected_answers", 0)

    def info(self) -> dict[str, Any]:
        """`manifest`, `info` (the algorithm's own) and `versions`; empty for a host that doesn't tell."""
        host = self.admission.current
        return dict(host.info) if host is not None else {}

    def snapshot(self) -> Snapshot:
        """Counters, latencies, memory and CPU."""
        return self.metrics.snapshot()

    def emit(self, kind: type[events.Event], /, **fields: Any) -> None:
        """Tells the listeners, if there are any."""
        if self.bus.heard:
            self.bus.emit(kind(source=self.name, **fields))

    # --- calls ----------------------------------------------------------------------------------------------

    def session(self, context: Mapping[str, Any] | None = None, session_id: str | None = None) -> InspectionSession:
        """A new inspection; `context` is what the algorithm may know of the product."""
        return InspectionSession(session_id or new_session_id(), dict(context or {}))

    def lend(self, width: int, height: int, color_space: ColorSpace = "RGB") -> Lease:
        """A slot for a picture that isn't there yet: write into its `array`, then pass it to a call, without a copy."""
        return self.slots.lease((width, height, color_space), self.options.runner.slot_timeout_s)

    def pre_execute(self, image: Image | None = None, *, pid: str, **more: Any) -> CallResult:
        """Prepares a step; takes what `execute` takes."""
        return self._attempts("pre", image, pid, more).run()

    def execute(self, image: Image | None = None, *, pid: str, **more: Any) -> CallResult:
        """Inspects a picture and waits for the result; takes what `Runner.execute` takes.

        A call that failed for a reason that is retryable is made again; one that ends without a result raises a
        CallError that says why, with its `facts`. A verdict, whatever it is, is never asked for twice.
        """
        return self._attempts("execute", image, pid, more).run()

    def submit(
        self, phase: InspectingPhase, image: Image | None = None, *, pid: str, **more: Any
    ) -> Future[CallResult]:
        """The same without waiting: a Future of what `execute` returns or raises.

        Returns when the picture is in its slot, whether or not a host has room or lives at the moment; so it waits
        for no host, only for a slot while all are leased. asyncio users `asyncio.wrap_future` it.
        """
        return self._attempts(phase, image, pid, more).start()

    def reset_session(self, session: InspectionSession | str) -> None:
        """Has the algorithm forget a session. Raises CallError."""
        reference = session_ref(session, final=False)
        request = Request(Call(phase="reset", session=reference), None, self.options.runner.pre_timeout_s, None)
        Attempts(self, request, reference.id).run()

    def _attempts(self, phase: InspectingPhase, image: Image | None, pid: str, more: dict[str, Any]) -> Attempts:
        request = prepare(self.slots, self.options.runner, phase, image, pid, **more)
        session = more.get("session")
        if session is None:
            return Attempts(self, request, None)
        assert request.call.session is not None
        return Attempts(self, request, request.call.session.id)

    @property
    def slots(self) -> SlotPool:
        """Where the pictures lie."""
        slots = self._slots
        if slots is None:
            raise RunnerStoppedError("this Supervisor doesn't run: use it in a with block, or call start()")
        return slots

    def swap(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        golden: Sequence[GoldenPicture] = (),
    ) -> SwapReport:
        """Goes on with another version, NAME==NEW, between two sessions; returns when the old one is gone.

        Raises SwapError where the new one doesn't become ready or judges a golden picture differently: the old one
        serves on.
        """
        from procvision_runner.swap import swap

        return swap(self, algorithm, command=command, golden=golden)

    # --- hosts ----------------------------------------------------------------------------------------------

    def launch(self, command: tuple[str, ...]) -> Host:
        """A host that is ready, and gets no calls yet. Raises LaunchError."""
        with self._state_lock:
            if self.stopping:
                raise LaunchError("the supervisor was stopped")
            self._numbers += 1
            try:
                host = Host(self._numbers, command, self.options, self, self._on_log)
            except OSError as error:
                raise LaunchError(f"no host can be started: {error}; hint: see the limits of this process") from error
            self._hosts.append(host)
        self.emit(events.HostStarting, host=host.number, command=command, process_id=host.process.process_id)
        began = time.monotonic()
        try:
            host.get_ready()
        except BaseException as error:
            self._forget(host)
            host.stop(politely=False)
            self.emit(events.LaunchFailed, host=host.number, reason=str(error))
            self.metrics.count("failed_launches")
            if isinstance(error, LaunchError) and not self.stopping:
                self._report(host, host.client.end or HostEnd(EndKind.EXITED, str(error)), "never became ready")
            raise
        self.emit(
            events.HostReady,
            host=host.number,
            process_id=host.process_id,
            start_s=round(time.monotonic() - began, 3),
            version=host.version,
        )
        return host

    def _install(self, host: Host) -> Host | None:
        """Calls go to this host from now on; returns the one before."""
        self._history = self._history.launched()
        self.metrics.new_host()
        self._measure_at = 0.0
        with self._state_lock:
            self._state = SupervisorState.READY
            self.broken_because = None
        before = self.admission.install(host)
        if host.client.end is not None:
            # It died between its hello and here, and the keeper may have found nothing to do about it then.
            self._inbox.put(functools.partial(self._bury, host, host.client.end))
        else:
            self._inbox.put(lambda: None)
        return before

    def _forget(self, host: Host) -> None:
        with self._state_lock:
            if host in self._hosts:
                self._hosts.remove(host)

    def replace(self, host: Host, reason: str) -> None:
        """Has the keeper end a host that still answers, and start another."""
        with self.admission.lock:
            if host.closing:
                return
            host.closing = True
        self._inbox.put(functools.partial(self._replace, host, reason))

    def reset(self) -> None:
        """Somebody has looked: forgets what was tried and starts a host again. Raises LaunchError."""
        with self._state_lock:
            if self._state is not SupervisorState.BROKEN or self._slots is None:
                return
            self._state = SupervisorState.RESTARTING
        self._history = RestartHistory()
        self.emit(events.WasReset)
        try:
            host = self.launch(self.command)
        except LaunchError as error:
            self._give_up(str(error))
            raise
        self._install(host)

    def promote(self, host: Host, command: tuple[str, ...]) -> Host | None:
        """New sessions go to `host`; the host before, which is returned, keeps those it has."""
        with self._switching:
            self.command = command
            before = self.admission.current
            if before is not None:
                with self.admission.lock:
                    before.draining = True
            self._install(host)
            return before

    def discard(self, host: Host) -> None:
        """Stops a host that got no calls."""
        self._forget(host)
        host.stop()

    def drain(self, host: Host) -> int:
        """Waits for the last session of a host that was swapped out, then stops it; how many had to be cut off."""
        cut = self.admission.wait_until_idle(host, self.options.drain_timeout_s)
        with self.admission.lock:
            host.closing = True
        host.stop()
        self._inbox.put(functools.partial(self._bury, host, host.client.end or HostEnd(EndKind.STOPPED, "was stopped")))
        self.emit(events.HostDrained, host=host.number, sessions_cut=cut)
        return cut

    # --- what hosts tell ------------------------------------------------------------------------------------

    def host_missed_pong(self, host: Host, misses: int) -> None:
        """Counts it."""
        self.metrics.count("missed_pongs")
        self.emit(events.PongMissed, host=host.number, misses=misses)

    def host_unresponsive(self, host: Host, misses: int) -> None:
        """Has the keeper end it."""
        text = f"did not answer {misses} pings in a row"
        self._inbox.put(functools.partial(self._put_down, host, EndKind.UNRESPONSIVE, text))

    def host_timed_out(self, host: Host, pending: Pending) -> None:
        """Gives the call its grace, in which the host gets no other."""
        with self.admission.lock:
            host.overdue += 1
        overdue = _Overdue(host, pending, time.monotonic() + self.options.cancel_grace_s)
        self._inbox.put(functools.partial(self._overdue.append, overdue))

    def host_answered_unexpectedly(self, host: Host, answer: Result | Error | Pong) -> None:
        """Counts it."""
        self.metrics.count("unexpected_answers")
        self.emit(events.UnexpectedAnswer, host=host.number, request_id=answer.request_id, type=answer.TYPE)

    def host_violated(self, host: Host, kind: str, message: str) -> None:
        """Counts it."""
        self.metrics.count("violations")
        self.emit(events.ProtocolViolated, host=host.number, kind=kind, message=message[:1000])

    def host_died(self, host: Host, end: HostEnd) -> None:
        """Lets no more calls in; the rest is the keeper's."""
        with self.admission.lock:
            host.closing = True
            current = self.admission.current is host
        self._restarting(current=current)
        self._inbox.put(functools.partial(self._bury, host, end))

    # --- the keeper -----------------------------------------------------------------------------------------

    def _keep(self) -> None:
        while True:
            try:
                task = self._inbox.get(timeout=self._patience())
            except queue.Empty:
                pass
            else:
                if task is None:
                    return
                self._do(task)
            self._do(self._look_at_overdue)
            self._do(self._measure)

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - callers must not wait for a keeper that has gone
            _log.exception("the supervisor of %s failed", self.name)
            if not self.stopping:
                self._give_up(f"its supervisor failed: {error!r}")

    def _patience(self) -> float | None:
        if self._overdue:
            return _LOOK_S
        if self.admission.current is None:
            return None
        return max(0.0, self._measure_at - time.monotonic())

    def _look_at_overdue(self) -> None:
        now = time.monotonic()
        for overdue in list(self._overdue):
            host, pending = overdue.host, overdue.pending
            if pending.freed:
                self._overdue.remove(overdue)
                with self.admission.lock:
                    host.overdue -= 1
                self.admission.look_again()
            elif now >= overdue.grace_ends_at:
                self._overdue.remove(overdue)
                text = (
                    f"did not end {pending.call.phase} within its {pending.timeout_s:g} s, "
                    f"nor within {self.options.cancel_grace_s:g} s of its cancel"
                )
                self._put_down(host, EndKind.TIMEOUT, text)

    def _put_down(self, host: Host, kind: EndKind, text: str) -> None:
        with self.admission.lock:
            host.closing = True
        if host.client.end is not None or host.stopped or self.stopping:
            return
        self.emit(events.HostPutDown, host=host.number, cause=str(kind), reason=text)
        host.put_down(kind, text)

    def _replace(self, host: Host, reason: str) -> None:
        if host.client.end is not None or self.stopping:
            return
        self.emit(events.HostPutDown, host=host.number, cause="replaced", reason=reason)
        # What is still in it gets its time: the other calls have done nothing wrong.
        self.admission.wait_until_idle(host, self.options.runner.shutdown_timeout_s, calls_only=True)
        host.stop()

    def _bury(self, host: Host, end: HostEnd) -> None:
        """A host is gone: takes care of what it leaves, and of another in its place."""
        if host not in self._hosts or not host.ready:
            return  # buried already, or never installed: whoever launched it sees to that
        ended_at = time.monotonic()
        was_current = self.admission.current is host
        self._overdue[:] = [overdue for overdue in self._overdue if overdue.host is not host]
        self._last_logs = tuple(host.client.log.records)
        self._restarting(current=was_current)
        host.stop(politely=False)
        lost = self.admission.lose(host, f"the host that knew it {end.text}")
        self._forget(host)
        self.metrics.count(f"hosts_{end.kind}")
        self.emit(events.HostEnded, host=host.number, cause=str(end.kind), reason=end.text, exit_status=end.exit_status)
        if lost:
            self.metrics.count("sessions_lost", lost)
            self.emit(events.SessionsLost, host=host.number, count=lost)
        if end.kind is not EndKind.STOPPED and not self.stopping:
            self._report(host, end, "ended")
        if was_current and not self.stopping:
            self._restart(ended_at)

    def _restarting(self, *, current: bool) -> None:
        with self._state_lock:
            if current and self._state is SupervisorState.READY and not self.stopping:
                self._state = SupervisorState.RESTARTING

    def _restart(self, ended_at: float) -> None:
        while not self.stopping:
            decision, self._history = self.options.restart.decide(self._history, time.monotonic())
            if isinstance(decision, GiveUp):
                self._give_up(decision.reason)
                return
            if self._stop_asked.wait(decision.delay_s):
                return
            try:
                host = self.launch(self.command)
            except LaunchError as error:
                self._history = self._history.launch_failed()
                self._last_logs = tuple(error.logs)
                continue
            with self._switching:
                swapped = self.admission.current is not None
                if not swapped:
                    self._install(host)
            if swapped:
                self.discard(host)
                return
            self.metrics.count("restarts")
            self.emit(events.HostRestarted, host=host.number, down_s=round(time.monotonic() - ended_at, 3))
            return

    def _give_up(self, reason: str) -> None:
        with self._state_lock:
            self._state = SupervisorState.BROKEN
            self.broken_because = reason
        self.metrics.count("broken")
        self.admission.refuse(functools.partial(self._broken_error, reason))
        self.emit(events.Broken, reason=reason)

    def _broken_error(self, reason: str) -> CallError:
        error = BrokenError(
            f"{self.name} is broken: {reason}; hint: see the last log lines, mend it, then reset()",
            logs=self._last_logs,
        )
        error.sent = False
        return error

    def _report(self, host: Host, end: HostEnd, what: str) -> None:
        if self.reports is None:
            return
        incident = Incident(source=self.name, what=what, end=end, host=host, options=self.options)
        folder = self.reports.write(incident)
        if folder is not None:
            self.metrics.count("crash_reports")
            self.emit(events.CrashReported, host=host.number, folder=str(folder))

    def _measure(self) -> None:
        now = time.monotonic()
        host = self.admission.current
        if host is None or now < self._measure_at or not host.ready:
            return
        self._measure_at = now + self.options.measure_interval_s
        usage = usage_of(host.process.process_id)
        if not usage.processes:
            return
        cpu_percent = self.metrics.measured(usage)
        self.emit(
            events.Measured,
            host=host.number,
            processes=usage.processes,
            memory_bytes=usage.memory_bytes,
            cpu_percent=round(cpu_percent, 1),
        )
        limit = self.options.limits.memory_bytes
        if limit is not None and usage.memory_bytes > limit:
            text = f"and what it started took {usage.memory_bytes} bytes of memory, allowed are {limit}"
            self._put_down(host, EndKind.OUT_OF_MEMORY, text)
