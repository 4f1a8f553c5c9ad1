"""`Supervisor`: one algorithm kept alive, behind the interface of one host, `AlgorithmRunner`.

with Supervisor("pcb-compare", listeners=[print]) as station:
    result = station.execute(picture, pid="A")

Callers speak to the host themselves, on their own threads. What keeps it alive stands elsewhere: `succession` (one
host after the other), `recovery` (restarts, and giving up), `background_thread` (the thread that does it),
`admission` (which call goes to which host, and when), `attempts` (a call through all its tries).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from procvision_runner.call_methods import CallMethods
from procvision_runner.connection.launch import host_command
from procvision_runner.errors import LaunchError, RunnerStoppedError
from procvision_runner.images.slots import SlotPool
from procvision_runner.options import check_stop_timeout
from procvision_runner.requests import Request
from procvision_runner.supervision import events
from procvision_runner.supervision.activations import ActivationFollower, fallback_spare
from procvision_runner.supervision.admission import Admission
from procvision_runner.supervision.attempts import Attempts
from procvision_runner.supervision.in_parallel import in_parallel
from procvision_runner.supervision.inspections import InspectionListener, Inspections
from procvision_runner.supervision.journal import Journal
from procvision_runner.supervision.metrics import Snapshot
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.spare import Spare
from procvision_runner.supervision.state import Lifecycle, SupervisorState
from procvision_runner.supervision.steady_calls import supervised_calls
from procvision_runner.supervision.succession import Succession
from procvision_runner.supervision.suspects import Suspects

if TYPE_CHECKING:
    from procvision_runner.results import CallResult
    from procvision_runner.supervision.swap import GoldenPicture, SwapReport


class Supervisor(CallMethods):
    """One algorithm whose host is kept alive. A context manager: entering it calls `start`, leaving it `stop`.

    `algorithm` is the name of an installed one, NAME or NAME==VERSION; `command` launches another host that speaks
    the protocol instead.
    With `deployments`, a folder that `procvision install` made, it is the version that is active there for the product
    `pid`, or for all products.
    Another activation, or a rollback, is swapped to while calls go on.
    A call that failed for a retryable reason is made again. One that ends without a result raises a CallError with
    its `facts`. A verdict, whatever it is, is never asked for twice. `submit` waits for no host: the call is sent when
    a host has room.
    `listeners` are called with every event, `on_log` with every log record of the hosts, `inspection_listeners` with
    every inspection, its result and its picture. `slots`, `bus`, `spare`, `fallback`, `suspects` and `inspections`
    are what the supervisors of a pool share. Any thread may call.
    """

    def __init__(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        options: SupervisorOptions | None = None,
        deployments: str | os.PathLike[str] | None = None,
        pid: str | None = None,
        listeners: Iterable[events.Listener] = (),
        on_log: Callable[[Mapping[str, Any]], None] | None = None,
        name: str | None = None,
        slots: SlotPool | None = None,
        bus: events.EventBus | None = None,
        spare: Spare | None = None,
        fallback: Spare | None = None,
        suspects: Suspects | None = None,
        inspection_listeners: Iterable[InspectionListener] = (),
        inspections: Inspections | None = None,
    ) -> None:
        self.options = options = options if options is not None else SupervisorOptions()
        self._call_options = options.runner
        words = host_command(algorithm, command, options.runner, deployments, pid)
        self.name = name or algorithm or words[0]
        self.bus = bus if bus is not None else events.EventBus(tuple(listeners))
        self.journal = Journal(self.name, self.bus)
        self.admission = Admission(options)
        self._lifecycle = Lifecycle()
        self._owns_slots = slots is None
        if slots is None:
            slots = SlotPool(options.runner.max_slots, options.runner.arena_bytes)
        self._all_slots = slots
        self._owns_spare = spare is None and options.spare
        if self._owns_spare:
            spare = Spare(f"{self.name}/spare", words, options, self.bus, on_log, slots)
        self.spare = spare
        if self._owns_spare and deployments is not None:
            fallback = fallback_spare(self.name, options, self.bus, on_log, slots)
        self.fallback = fallback
        """Of the version before, so that going back takes no launch; with a spare and deployments alone."""
        self.suspects = suspects if suspects is not None else Suspects()
        self.succession = Succession(
            words, options, self.journal, self.admission, self._lifecycle, on_log, spare, slots, self.suspects, fallback
        )
        self._owns_inspections = inspections is None
        if inspections is None:
            inspections = Inspections(tuple(inspection_listeners), options.runner.max_slots)
        self.inspections = inspections
        self._owns_bus = bus is None
        self._follower = None
        if deployments is not None and algorithm is not None:
            self._follower = ActivationFollower(deployments, algorithm, pid, words, options.runner, self, self.fallback)
        self._slots = None
        self._steady_calls = supervised_calls(self, slots, options.runner)
        self._stop_lock = threading.Lock()
        self._exit_status: int | None = None
        self._owner = os.getpid()

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> Supervisor:
        """Launch the first host and wait until its algorithm is set up. Raises LaunchError, and leaves nothing then."""
        self._lifecycle.start()
        self._slots = self._all_slots
        try:
            if self._follower is not None:
                self._follower.check_whole()
            self.succession.install(self.succession.launch(self.succession.command))
        except BaseException as error:
            self._end(SupervisorState.BROKEN, str(error))
            raise
        self._steady = self._steady_calls
        if self.stopping:
            self.stop()
            raise LaunchError("the supervisor was stopped while it started")
        if self.spare is not None and self._owns_spare:
            self.spare.start()
        if self._follower is not None:
            self._follower.start()
        return self

    def stop(self, timeout_s: float | None = None) -> int | None:
        """End everything, also the calls on their way. Return the last host's exit status.

        `timeout_s` is how long a host has until SIGKILL; None is what the options say. Raises ValueError if it isn't
        above 0.
        Any thread may, also several at once: each returns when all is over. In a fork of this process it does
        nothing, since the hosts are not the fork's to end.
        """
        if os.getpid() != self._owner:
            return None
        check_stop_timeout(timeout_s)
        return self._end(SupervisorState.STOPPED, timeout_s=timeout_s)

    def _end(self, state: SupervisorState, reason: str | None = None, *, timeout_s: float | None = None) -> int | None:
        # Before the lock: a thread that waits for a host, or sleeps before a restart, hears it at once.
        self._lifecycle.stop_asked.set()
        if self._follower is not None:
            self._follower.stop()
        with self._stop_lock:
            if self._slots is None:
                return self._exit_status
            current = self.admission.current
            self._steady = None
            self.admission.close(_stopped_error)
            try:
                stops: list[Callable[[float | None], object]] = [self.succession.stop_all]
                if self._owns_spare:
                    stops += [spare.stop for spare in (self.spare, self.fallback) if spare is not None]
                in_parallel([functools.partial(stop, timeout_s) for stop in stops])
            finally:
                self.succession.keeper.stop()
                if self._owns_inspections:
                    self.inspections.close()  # its pictures lie in the slots
                if self._owns_slots:
                    self._slots.close()
                self._slots = None
                self._lifecycle.end(state, reason)
                self.journal.emit(events.Stopped)
                if self._owns_bus:
                    self.bus.close()
            if current is not None:
                self._exit_status = current.process.exit_status
            return self._exit_status

    def __enter__(self) -> Supervisor:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Supervisor {self.name} {self.state}>"

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def state(self) -> SupervisorState:
        """The current state."""
        return self._lifecycle.state

    @property
    def broken_because(self) -> str | None:
        """Why it was given up or could not be started; None otherwise."""
        return self._lifecycle.broken_because

    @property
    def waiting_because(self) -> str | None:
        """What a host needs and is away while the state is waiting; None otherwise."""
        return self._lifecycle.waiting_because

    @property
    def alive(self) -> bool:
        """Whether a call finds a host, now or after a restart."""
        return self.state in {SupervisorState.READY, SupervisorState.RESTARTING, SupervisorState.WAITING}

    @property
    def stopping(self) -> bool:
        """Whether the supervisor was asked to stop."""
        return self._lifecycle.stopping

    @property
    def command(self) -> tuple[str, ...]:
        """The command line of its hosts; a swap changes it."""
        return self.succession.command

    @property
    def deployment(self) -> Mapping[str, str] | None:
        """The installed version that answers now, as in a result; None without `deployments` or a host."""
        host = self.admission.current
        return host.process.deployment if host is not None else None

    @property
    def process_id(self) -> int | None:
        """The operating system's id of the process that runs the algorithm now."""
        host = self.admission.current
        return host.process_id if host is not None else None

    @property
    def logs(self) -> list[Mapping[str, Any]]:
        """The last log records of the current host, or of the last host if there is none."""
        host = self.admission.current
        return list(host.client.log.records if host is not None else self.succession.recovery.last_logs)

    @property
    def unexpected_answers(self) -> int:
        """How many answers came late, came twice or answered no call, in all hosts."""
        return self.snapshot().counters.get("unexpected_answers", 0)

    def info(self) -> dict[str, Any]:
        """Return `manifest`, `info` (the algorithm's own) and `versions`; empty for a host that doesn't tell."""
        host = self.admission.current
        return dict(host.info) if host is not None else {}

    def snapshot(self) -> Snapshot:
        """Return counters, latencies, memory and CPU."""
        return self.journal.metrics.snapshot()

    # --- calls ----------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> CallResult:
        return Attempts(self, request).run()

    def _start(self, request: Request) -> Future[CallResult]:
        return Attempts(self, request).start()

    @property
    def slots(self) -> SlotPool:
        """The memory of the pictures."""
        return self._open_slots()

    def swap(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        golden: Sequence[GoldenPicture] = (),
        wait: bool = True,
    ) -> SwapReport:
        """Go on with another version, NAME==NEW, between two sessions. Return when the old one is gone.

        Without `wait` return when new sessions go to the new one; the old one ends when its sessions have.

        Raises SwapError where the new one doesn't become ready or judges a golden picture differently: the old one
        serves on.
        """
        from procvision_runner.supervision.swap import swap

        since = self.succession.since
        try:
            return swap(self, algorithm, command=command, golden=golden, wait=wait)
        finally:
            # Also where it was interrupted after the switch, while the old one's sessions went on.
            if self.spare is not None and self._owns_spare and self.succession.since != since:
                self.spare.renew(self.command, self.fallback)

    def recover(self) -> None:
        """Start a host again after the supervisor was given up, and try again with a spare that was.

        Pictures that ended hosts may be tried again, too. Raises LaunchError.
        """
        self.suspects.clear()
        self.succession.recovery.recover()


def _stopped_error() -> RunnerStoppedError:
    error = RunnerStoppedError("the supervisor was stopped: it takes no calls")
    error.sent = False
    return error
