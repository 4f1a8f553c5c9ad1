"""The steady state of a supervisor: a call to a host that is well, while nothing else goes on.

The strategy: as long as the current host has no call, nobody waits, no picture is suspected and nobody listens to
calls, a call needs nothing of all that stands ready for when it goes wrong. So `SupervisedCalls.inspect` lets it in,
lets the host's own steady calls make it, and counts it, on its caller's thread and without waking another. A call
that fails goes on as any other: `Attempts` takes it over after its first attempt, with its place in the line.
`steady_core.c` is the same, compiled. This module is what it is held against, and what runs where it isn't built or
is turned off.
Warning: what is counted here is shared. It changes under the same locks as the general code's.
"""

from __future__ import annotations

import logging
import time
from os import getpid
from typing import TYPE_CHECKING, Any, TypeAlias

from procvision_runner.connection.steady_calls import AttemptFailedError, lease_with
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
    from collections.abc import Callable, Mapping

    from procvision_runner.connection.steady_calls import Inspects
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.options import RunnerOptions
    from procvision_sdk.calling import CallImage, InspectingPhase
    from procvision_sdk.images.meta import ColorSpace

CORE = "procvision_runner.supervision.steady_core"
"""The compiled form of what stands here."""
_log = logging.getLogger("procvision.runner")

if TYPE_CHECKING:
    Elsewhere: TypeAlias = Callable[[CallTaker], CallTaker | None]


def nowhere(_session_id: str | None) -> Elsewhere | None:
    """Return None: a call stays with its supervisor."""
    return None


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
        taker, admission, inspections = self._taker, self._admission, self._inspections
        host = admission.current
        if (
            host is None
            or host.calls is None
            or host.in_flight
            or taker.suspects.any
            or taker.journal.bus.calls_heard
            or inspections.heard
            or type(final) is not bool
            or getpid() != self._owner
        ):
            return None
        session_id = session.reference.id if type(session) is InspectionSession else session
        if session_id is not None and type(session_id) is not str:
            return None
        lease = image
        if image is not None and type(image) is not Lease:
            lease = lease_with(self._slots, self._options, image)
            if lease is None:
                return None
        order, began = next_order(), time.monotonic()
        binding = admission.enter_alone(host, session_id, began)
        if binding is None:
            return self._besides(
                phase, image, lease, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
            )
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
            return self._besides(
                phase, image, lease, pid, step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s
            )
        admission.leave_alone(host, binding, session_id, answered=True, final=final)
        outcome = result.verdict or (NO_VERDICT if result.status == "OK" else "ERROR")
        metrics = taker.journal.metrics
        metrics.call_ended(phase, outcome, round((time.monotonic() - began) * 1000, 3))
        metrics.products(inspections.product_of(phase, step_index, session_id, outcome, final=final))
        return result

    def _besides(
        self,
        phase: InspectingPhase,
        image: CallImage | None,
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
        """Make a call whose picture is in its slot already, as any other; None for one that has none, or its own."""
        if lease is image:
            return None
        assert isinstance(lease, Lease)  # filled here: nobody else gives it back
        try:
            request = prepare(
                self._slots, self._options, phase, lease, pid,
                step_index, session, user_params, final, camera_id, timestamp_ms, timeout_s,
            )  # fmt: skip
        except BaseException:
            lease.release()
            raise
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
            "inspect": self.inspect,
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
