"""`Pool`: several hosts of one algorithm behind the interface of one, `AlgorithmRunner`.

Each host has a supervisor of its own, all share the slots, and the spare host if there is one. A call goes to the next
host in turn that has none; where all have, to the one that has room soonest. A session stays with the host that began
it, unless its state lies in a store that all of them share (`sessions_outlive_host`). A call that belongs to no session
moves on when its host is lost.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from procvision_runner.call_methods import CallMethods
from procvision_runner.connection.launch import host_command
from procvision_runner.errors import SwapError
from procvision_runner.images.slots import SlotPool
from procvision_runner.options import check_stop_timeout
from procvision_runner.requests import Request
from procvision_runner.supervision.activations import ActivationFollower, fallback_spare
from procvision_runner.supervision.affinity import SessionBindings
from procvision_runner.supervision.attempts import Attempts
from procvision_runner.supervision.events import EventBus, Listener
from procvision_runner.supervision.in_parallel import in_parallel
from procvision_runner.supervision.inspections import InspectionListener, Inspections
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.spare import Spare
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.steady_calls import pooled_calls
from procvision_runner.supervision.supervised_host import pre_belongs_to_the_host
from procvision_runner.supervision.supervisor import Supervisor
from procvision_runner.supervision.suspects import Suspects
from procvision_runner.supervision.swap import GoldenPicture, SwapReport

if TYPE_CHECKING:
    from procvision_runner.results import CallResult
    from procvision_runner.supervision.attempts import CallTaker
    from procvision_runner.supervision.metrics import Snapshot


class Pool(CallMethods):
    """`hosts` supervisors of one algorithm. A context manager; any thread may call.

    With `deployments` and `pid` it follows what is active, as a `Supervisor` does. A call that belongs to no session
    and whose host is lost goes to another host. Everything else is as with a `Supervisor`.
    """

    def __init__(
        self,
        algorithm: str | None = None,
        *,
        hosts: int,
        command: Sequence[str] | None = None,
        options: SupervisorOptions | None = None,
        deployments: str | os.PathLike[str] | None = None,
        pid: str | None = None,
        listeners: Iterable[Listener] = (),
        on_log: Callable[[Mapping[str, Any]], None] | None = None,
        inspection_listeners: Iterable[InspectionListener] = (),
    ) -> None:
        if hosts < 1:
            raise ValueError(f"a Pool has at least one host, asked for are {hosts}")
        self.options = options if options is not None else SupervisorOptions()
        self._call_options = self.options.runner
        self.bus = EventBus(tuple(listeners))
        words = host_command(algorithm, command, self.options.runner, deployments, pid)
        self.name = algorithm or words[0]
        self._slots = None
        self._owner = os.getpid()
        self._all_slots = SlotPool(self.options.runner.max_slots * hosts, self.options.runner.arena_bytes)
        self.spare: Spare | None = None
        if self.options.spare:
            self.spare = Spare(f"{self.name}/spare", words, self.options, self.bus, on_log, self._all_slots)
        self.fallback: Spare | None = None
        if self.options.spare and deployments is not None:
            self.fallback = fallback_spare(self.name, self.options, self.bus, on_log, self._all_slots)
        suspects = Suspects()
        self.inspections = Inspections(tuple(inspection_listeners), self.options.runner.max_slots * hosts)
        self.supervisors = tuple(
            Supervisor(
                # All are of the version that was found here, whatever is activated meanwhile.
                command=words,
                options=self.options,
                on_log=on_log,
                name=f"{self.name}/{number}",
                slots=self._all_slots,
                bus=self.bus,
                spare=self.spare,
                fallback=self.fallback,
                suspects=suspects,
                inspections=self.inspections,
            )
            for number in range(1, hosts + 1)
        )
        self._lock = threading.Lock()
        self._sessions: SessionBindings[Supervisor] = SessionBindings(self.options.session_ttl_s)
        self._turn = -1
        """Who got the last call that could go to any."""
        self._steady_calls = pooled_calls(self)
        self._follower = None
        if deployments is not None and algorithm is not None:
            self._follower = ActivationFollower(
                deployments, algorithm, pid, words, self.options.runner, self, self.fallback
            )

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> Pool:
        """Launch all hosts side by side. If one fails, stop the others and raise its error."""
        failures: list[BaseException] = []

        def start(supervisor: Supervisor) -> None:
            try:
                supervisor.start()
            except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
                failures.append(error)

        self._slots = self._all_slots
        if self._follower is not None:
            try:
                self._follower.check_whole()
            except BaseException:
                self.stop()
                raise
        in_parallel([functools.partial(start, supervisor) for supervisor in self.supervisors])
        if failures:
            self.stop()
            raise failures[0]
        self._steady = self._steady_calls
        if self.spare is not None:
            self.spare.start()
        if self._follower is not None:
            self._follower.start()
        return self

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop all hosts side by side. In a fork of this process it does nothing: the hosts are not the fork's.

        `timeout_s` is how long a host has until SIGKILL; None is what the options say. Raises ValueError if it isn't
        above 0.
        """
        if os.getpid() != self._owner:
            return
        check_stop_timeout(timeout_s)
        if self._follower is not None:
            self._follower.stop()
        self._slots = self._steady = None
        stops: list[Callable[[float | None], object]] = [supervisor.stop for supervisor in self.supervisors]
        stops += [spare.stop for spare in (self.spare, self.fallback) if spare is not None]
        in_parallel([functools.partial(stop, timeout_s) for stop in stops])
        self.inspections.close()
        self._all_slots.close()
        self.bus.close()

    def __enter__(self) -> Pool:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether any host takes a call, now or after a restart."""
        return any(supervisor.alive for supervisor in self.supervisors)

    def info(self) -> dict[str, Any]:
        """Return what the first host that runs tells. All are of one version, except during a swap."""
        return next((told for supervisor in self.supervisors if (told := supervisor.info())), {})

    def snapshots(self) -> dict[str, Snapshot]:
        """Return counters, latencies, memory and CPU, by the name of a supervisor or of the spare."""
        snapshots = {supervisor.name: supervisor.snapshot() for supervisor in self.supervisors}
        return snapshots if self.spare is None else {**snapshots, self.spare.name: self.spare.snapshot()}

    def recover(self) -> None:
        """Start the hosts of broken supervisors again, and a spare that was given up. Raises LaunchError."""
        for supervisor in self.supervisors:
            supervisor.recover()

    # --- calls ----------------------------------------------------------------------------------------------

    def _run(self, request: Request) -> CallResult:
        return self._attempts(request).run()

    def _start(self, request: Request) -> Future[CallResult]:
        return self._attempts(request).start()

    def _attempts(self, request: Request) -> Attempts:
        if request.session_id is None or self._goes_anywhere():
            return Attempts(self._least_busy(), request, self._elsewhere)
        call = request.call
        if call.phase == "reset":
            return Attempts(self._holder(request.session_id), request)
        assert call.session is not None
        return Attempts(self._of_session(request.session_id, final=call.session.final), request)

    # --- who gets it ----------------------------------------------------------------------------------------

    def _goes_anywhere(self) -> bool:
        """Return whether any host can go on with any session."""
        return self.options.sessions_outlive_host and not pre_belongs_to_the_host(self.info())

    def _elsewhere_of(self, session_id: str | None) -> Callable[[CallTaker], CallTaker | None] | None:
        """Return what finds another supervisor for a session's call, or for one of no session; None if nothing may."""
        return self._elsewhere if session_id is None or self._goes_anywhere() else None

    def _bound(self, session_id: str) -> Supervisor | None:
        """Return whose host a session stays with; None for a new one."""
        with self._lock:
            if self._sessions.find(session_id) is None:
                return None
            return self._sessions.get(session_id, time.monotonic()).host

    def _of_session(self, session_id: str, *, final: bool = False) -> Supervisor:
        """Return whose host the session stays with, which it is bound to if it is new."""
        with self._lock:
            binding = self._sessions.get(session_id, time.monotonic())
            if binding.host is None:
                binding.host = self._least_busy()
            if final:
                # Its supervisor still knows it, until the call has ended.
                self._sessions.end(session_id)
            return binding.host

    def _end(self, session_id: str) -> None:
        """Forget a session that is over."""
        with self._lock:
            self._sessions.end(session_id)

    def _holder(self, session_id: str) -> Supervisor:
        """Return whose host has the session; any, where none has it or it was lost with a supervisor that is broken."""
        with self._lock:
            binding = self._sessions.find(session_id)
            if binding is None or binding.host is None:
                return self._least_busy()
            if binding.host.state is SupervisorState.BROKEN:
                binding.host = self._least_busy()
            return binding.host

    def _least_busy(self, besides: CallTaker | None = None) -> Supervisor:
        """Return the supervisor that is ready and has room soonest, else one that will be ready, else any.

        One that is broken says why. How soon there is room is told by the calls that a supervisor has and by how long
        its last ones took: a slow host gets calls while it is idle, and fewer than a fast one while both are busy.
        """
        supervisors, last = self.supervisors, self._turn
        candidates = supervisors[last + 1 :] + supervisors[: last + 1]
        loads = {supervisor: supervisor.admission.load() for supervisor in candidates}
        took_ms = {supervisor: supervisor.journal.metrics.lately_ms() for supervisor in candidates if loads[supervisor]}
        # One that has answered nothing yet is taken for as fast as the fastest.
        least_ms = min((ms for ms in took_ms.values() if ms is not None), default=1.0)
        found = min(
            candidates,
            key=lambda supervisor: (
                supervisor is besides,
                supervisor.state is not SupervisorState.READY,
                not supervisor.alive,
                loads[supervisor] * (took_ms.get(supervisor) or least_ms),
                loads[supervisor],
            ),
        )
        self._turn = supervisors.index(found)
        return found

    def _elsewhere(self, besides: CallTaker) -> Supervisor | None:
        """Return another supervisor that is ready; None if there is none."""
        other = self._least_busy(besides)
        return other if other is not besides and other.state is SupervisorState.READY else None

    # --- another version ------------------------------------------------------------------------------------

    def swap(
        self,
        algorithm: str | None = None,
        *,
        command: Sequence[str] | None = None,
        golden: Sequence[GoldenPicture] = (),
        wait: bool = True,
    ) -> list[SwapReport]:
        """Swap one host after the other to another version; with `wait` each when the old one before is gone.

        Raises SwapError if one can't, after those that had switched have gone back: a pool is of one version.
        """
        reports: list[SwapReport] = []
        done: list[tuple[Supervisor, tuple[str, ...]]] = []
        since = self._since()
        try:
            for supervisor in self.supervisors:
                before = supervisor.command
                try:
                    reports.append(supervisor.swap(algorithm, command=command, golden=golden, wait=wait))
                except SwapError as error:
                    for other, words in done:
                        try:
                            other.swap(command=words)
                        except SwapError as also:
                            error.add_note(f"{other.name} could not go back: {also}")
                    raise
                done.append((supervisor, before))
        finally:
            # Also where they went back, or were interrupted: by then the old spare is older than the hosts.
            if self.spare is not None and self._since() != since:
                self.spare.renew(self.supervisors[0].command, self.fallback)
        return reports

    def _since(self) -> list[float]:
        """Return the time since when a spare must have been launched, by supervisor. Swaps and recoveries change it."""
        return [supervisor.succession.since for supervisor in self.supervisors]
