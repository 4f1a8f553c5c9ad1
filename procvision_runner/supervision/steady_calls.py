"""The steady state of a supervisor, and of a pool: a call to a host that is well, while nothing else goes on.

The strategy: as long as the current host has no call, nobody waits, no picture is suspected and nobody listens to
calls, a call needs nothing of all that stands ready for when it goes wrong. So `SupervisedCalls.inspect` lets it in,
lets the host's own steady calls make it, and counts it, on its caller's thread and without waking another. A call
that fails goes on as any other: `Attempts` takes it over after its first attempt, with its place in the line.
`PooledCalls` gives each call to the supervisor that has its session, else to the next in turn that has no call. It
chooses when the picture is in its slot: what became busy during the copy doesn't get the call.
`steady_core.c` is the same, compiled. This module is what it is held against, and what runs where it isn't built or
is turned off.
Warning: what is counted here is shared. It changes under the same locks as the general code's.
"""

from __future__ import annotations

import logging
import time
from os import getpid
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from procvision_runner.connection.steady_calls import AttemptFailedError, lease_with
from procvision_runner.errors import CallError
from procvision_runner.images.slots import Lease
from procvision_runner.requests import Request, prepare
from procvision_runner.results import CallResult
from procvision_runner.supervision.affinity import Binding
from procvision_runner.supervision.attempts import Attempts, CallTaker
from procvision_runner.supervision.supervised_host import SupervisedHost
from procvision_runner.supervision.ticket import next_order, orders
from procvision_sdk.calling import InspectionSession
from procvision_sdk.compiled import compiled
from procvision_sdk.records import NO_VERDICT
from procvision_sdk.wire.messages import SessionRef

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from procvision_runner.connection.steady_calls import Inspects
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.options import RunnerOptions
    from procvision_runner.supervision.affinity import SessionBindings
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_sdk.calling import CallImage, InspectingPhase
    from procvision_sdk.images.meta import ColorSpace

CORE = "procvision_runner.supervision.steady_core"
"""The compiled form of what stands here."""
_log = logging.getLogger("procvision.runner")

if TYPE_CHECKING:
    Elsewhere: TypeAlias = Callable[[CallTaker], CallTaker | None]
    _Given: TypeAlias = tuple[
        InspectingPhase, CallImage | None, str, int, InspectionSession | str | None, Mapping[str, Any] | None, bool,
        str | None, int | None, float | None,
    ]  # fmt: skip


def nowhere(_session_id: str | None) -> Elsewhere | None:
    """Return None: a call stays with its supervisor."""
    return None


def id_of(session: InspectionSession | str | None) -> Any:
    """Return a session's id, as a caller gave it; None for none."""
    return session.reference.id if type(session) is InspectionSession else session


def with_lease(
    slots: SlotPool,
    options: RunnerOptions,
    phase: InspectingPhase,
    lease: CallImage | None,
    pid: str,
    step_index: int,
    session: InspectionSession | str | None,
    user_params: Mapping[str, Any] | None,
    final: bool,
    camera_id: str | None,
    timestamp_ms: int | None,
    timeout_s: float | None,
) -> Request:
    """Return the call whose picture was put into its slot here. Raises as `prepare`; the slot goes back then."""
    assert isinstance(lease, Lease)
    try:
        return prepare(
            slots, options, phase, lease, pid,
            step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
        )  # fmt: skip
    except BaseException:
        lease.release()
        raise


class SupervisedCalls:
    """The calls of one supervisor, as they come again and again.

    `elsewhere` gives, for a call's session, what finds another supervisor for the call if this one can't make it.
    """

    __slots__ = ("_admission", "_elsewhere", "_inspections", "_options", "_owner", "_slots", "_taker")

    def __init__(
        self,
        taker: CallTaker,
        slots: SlotPool,
        options: RunnerOptions,
        elsewhere: Callable[[str | None], Elsewhere | None] = nowhere,
    ) -> None:
        self._taker = taker
        self._admission = taker.admission
        self._inspections = taker.inspections
        self._slots = slots
        self._options = options
        self._elsewhere = elsewhere
        self._owner = getpid()

    def lend(self, width: int, height: int, color_space: ColorSpace, /) -> Lease | None:
        """Lend a slot, as `AlgorithmRunner.lend`. Return None, with nothing done, if the pool has to."""
        host = self._admission.current
        return host.calls.lend(width, height, color_space) if host is not None and host.calls is not None else None

    def inspect(
        self,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> CallResult | None:
        """Make a call, as `AlgorithmRunner.execute`. Return None, with nothing done, if it is not a steady one."""
        session_id = id_of(session)
        if type(final) is not bool or not (session_id is None or type(session_id) is str) or not self.takes():
            return None
        lease = image
        if image is not None and type(image) is not Lease:
            lease = lease_with(self._slots, self._options, image)
            if lease is None:
                return None
        result = self.attempt(
            session_id, phase, lease, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
        )
        if result is not None or lease is image:
            return result
        return self._besides(
            phase, lease, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
        )

    def takes(self) -> bool:
        """Return whether a call could be let in now, and nobody listens to it."""
        taker, host = self._taker, self._admission.current
        return (
            host is not None
            and host.calls is not None
            and not host.in_flight
            and not taker.suspects.any
            and not taker.journal.bus.calls_heard
            and not self._inspections.heard
            and getpid() == self._owner
        )

    def attempt(
        self,
        session_id: str | None,
        phase: InspectingPhase,
        lease: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> CallResult | None:
        """Make a call whose picture is in its slot. Return None, with nothing done, if it isn't let in or not steady.

        Raises CallError.
        """
        taker, admission, inspections = self._taker, self._admission, self._inspections
        host = admission.current
        if host is None or host.calls is None or not self.takes():
            return None
        order, began = next_order(), time.monotonic()
        binding = admission.enter_alone(host, session_id, began)
        if binding is None:
            return None
        failed = None
        try:
            result = host.calls.inspect(
                phase, lease, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
            )
        except AttemptFailedError as error:
            failed, result = error, None
        except BaseException:
            admission.leave_alone(host, binding, session_id, answered=False, final=final)
            raise
        if failed is not None:
            return self._go_on(failed, host, binding, session_id, order, began)
        if result is None:
            admission.withdraw(host, binding)
            return None
        admission.leave_alone(host, binding, session_id, answered=True, final=final)
        outcome = result.verdict or (NO_VERDICT if result.status == "OK" else "ERROR")
        metrics = taker.journal.metrics
        metrics.call_ended(phase, outcome, round((time.monotonic() - began) * 1000, 3))
        metrics.products(inspections.product_of(phase, step_index, session_id, outcome, final=final))
        return result

    def _besides(
        self,
        phase: InspectingPhase,
        lease: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> CallResult:
        """Make a call whose picture was put into its slot here, as any other. Raises CallError."""
        request = with_lease(
            self._slots, self._options, phase, lease,
            pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
        )  # fmt: skip
        return Attempts(self._taker, request, self._elsewhere(request.session_id)).run()

    def _go_on(
        self,
        failed: AttemptFailedError,
        host: SupervisedHost,
        binding: Binding[SupervisedHost] | None,
        session_id: str | None,
        order: int,
        began: float,
    ) -> CallResult:
        """Go on with a call whose first attempt has failed. Return its result, or raise its error."""
        pending = failed.pending
        lease = pending.kept.lease if pending.kept is not None else None
        request = Request(pending.whole_call(), failed.size, pending.timeout_s, lease, session_id)
        attempts = Attempts(self._taker, request, self._elsewhere(session_id))
        attempts.take_over(pending, host, order, began)
        self._admission.take_over(attempts.ticket, host, binding)
        return attempts.go_on(failed.error, answered=pending.error is None)

    def parts(self) -> dict[str, Any]:
        """Return what the compiled core works with, by its names for it."""
        taker, admission, inspections = self._taker, self._admission, self._inspections
        metrics = taker.journal.metrics
        return {
            "besides": self._besides,
            "go_on": self._go_on,
            "filled": lambda image: lease_with(self._slots, self._options, image),
            "admission": admission,
            "admission_locked": admission.lock.locked,
            "enter_alone": admission.enter_alone,
            "leave_alone": admission.leave_alone,
            "withdraw": admission.withdraw,
            "sessions": admission.sessions,
            "bindings": admission.sessions.bindings,
            "orders": orders,
            "suspects": taker.suspects,
            "bus": taker.journal.bus,
            "inspections": inspections,
            "inspections_locked": inspections.lock.locked,
            "product_of": inspections.product_of,
            "open_products": inspections.open_products,
            "metrics": metrics,
            "metrics_locked": metrics.lock.locked,
            "call_ended": metrics.call_ended,
            "products": metrics.products,
            "counters": metrics.counters,
            "latencies": metrics.latencies,
            "Host": SupervisedHost,
            "Binding": Binding,
            "Lease": Lease,
            "InspectionSession": InspectionSession,
            "SessionRef": SessionRef,
            "CallResult": CallResult,
            "AttemptFailedError": AttemptFailedError,
        }


def supervised_calls(
    taker: CallTaker,
    slots: SlotPool,
    options: RunnerOptions,
    elsewhere: Callable[[str | None], Elsewhere | None] = nowhere,
) -> Inspects:
    """Return what makes a supervisor's steady calls: the compiled core where it can, else `SupervisedCalls`."""
    steady = SupervisedCalls(taker, slots, options, elsewhere)
    core = compiled(CORE)
    if core is None:
        return steady
    try:
        made: Inspects = core.SupervisedCalls(steady.parts())
    except (KeyError, TypeError, ValueError) as error:
        _log.warning("a supervisor's steady calls run in Python: the compiled core doesn't fit (%s)", error)
        return steady
    return made


class SharesSessions(Protocol):
    """What a pool's steady calls need of it."""

    options: SupervisorOptions
    _all_slots: SlotPool
    _sessions: SessionBindings[Any]
    _lock: threading.Lock

    @property
    def supervisors(self) -> Sequence[CallTaker]:
        """One for each host."""

    def _goes_anywhere(self) -> bool: ...

    def _elsewhere_of(self, session_id: str | None) -> Elsewhere | None: ...

    def _bound(self, session_id: str) -> CallTaker | None: ...

    def _of_session(self, session_id: str) -> CallTaker: ...

    def _end(self, session_id: str) -> None: ...

    def _run(self, request: Request) -> CallResult: ...


class PooledCalls:
    """The calls of a pool, as they come again and again: each is a steady one of the supervisor that gets it."""

    __slots__ = ("_calls", "_of", "_owner", "_pool", "_turn")

    def __init__(self, pool: SharesSessions, of: Mapping[CallTaker, SupervisedCalls]) -> None:
        self._pool = pool
        self._of = of
        self._calls = tuple(of.values())
        self._turn = -1
        """Who got the last call that could go to any."""
        self._owner = getpid()

    def lend(self, width: int, height: int, color_space: ColorSpace, /) -> Lease | None:
        """Lend a slot, as `AlgorithmRunner.lend`. Return None, with nothing done, if the pool of slots has to."""
        return self._calls[0].lend(width, height, color_space)

    def inspect(
        self,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> CallResult | None:
        """Make a call, as `AlgorithmRunner.execute`. Return None, with nothing done, if it is not a steady one."""
        pool, session_id = self._pool, id_of(session)
        if type(final) is not bool or not (session_id is None or type(session_id) is str) or getpid() != self._owner:
            return None
        bound: str | None = None if session_id is None or pool._goes_anywhere() else session_id
        holder = pool._bound(bound) if bound is not None else None
        if not any(calls.takes() for calls in (self._calls if holder is None else (self._of[holder],))):
            return None
        lease = image
        if image is not None and type(image) is not Lease:
            lease = lease_with(pool._all_slots, pool.options.runner, image)
            if lease is None:
                return None
        given = (phase, lease, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s)
        result = self._anywhere(session_id, given) if bound is None else self._of_session(holder, bound, given)
        return result if result is not None or lease is image else self._besides(*given)

    def _anywhere(self, session_id: str | None, given: _Given) -> CallResult | None:
        """Make a call in the next supervisor in turn that takes it."""
        last, count = self._turn, len(self._calls)
        for offset in range(1, count + 1):
            place = (last + offset) % count
            calls = self._calls[place]
            if not calls.takes():
                continue
            self._turn = place
            result = calls.attempt(session_id, *given)
            if result is not None:
                return result
        return None

    def _of_session(self, holder: CallTaker | None, session_id: str, given: _Given) -> CallResult | None:
        """Make a call in the supervisor that has its session. A new one is bound now."""
        pool, final = self._pool, given[6]
        if holder is None:
            holder = pool._of_session(session_id)
        try:
            result = self._of[holder].attempt(session_id, *given)
        except CallError:
            if final:
                pool._end(session_id)
            raise
        if final and result is not None:
            pool._end(session_id)
        return result

    def _besides(
        self,
        phase: InspectingPhase,
        lease: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> CallResult:
        """Make a call whose picture was put into its slot here, as any other. Raises CallError."""
        pool = self._pool
        return pool._run(
            with_lease(
                pool._all_slots, pool.options.runner, phase, lease,
                pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
            )
        )  # fmt: skip

    def parts(self) -> dict[str, Any]:
        """Return what the compiled core works with, by its names for it."""
        pool = self._pool
        return {
            "calls": self._calls,
            "of": dict(self._of),
            "bindings": pool._sessions.bindings,
            "locked": pool._lock.locked,
            "of_session": pool._of_session,
            "end": pool._end,
            "goes_anywhere": pool._goes_anywhere if pool.options.sessions_outlive_host else None,
            "besides": self._besides,
            "CallError": CallError,
        }


def pooled_calls(pool: SharesSessions) -> Inspects:
    """Return what makes a pool's steady calls: the compiled core where it can, else `PooledCalls`."""
    of: dict[CallTaker, Any] = {
        supervisor: supervised_calls(supervisor, pool._all_slots, pool.options.runner, pool._elsewhere_of)
        for supervisor in pool.supervisors
    }
    steady = PooledCalls(pool, of)
    core = compiled(CORE)
    if core is None or isinstance(next(iter(of.values())), SupervisedCalls):
        return steady
    made: Inspects = core.PooledCalls(steady.parts())
    return made
