"""What becomes of inspections, on the platform's side: each call with its picture for listeners, products counted.

The strategy: a listener runs on a thread of its own, and the picture's slot goes back only after it. So that a slow one
never takes the line its slots, at most half of them wait for listeners: a call over that is told without its picture.
What a product is, and its verdict, is `procvision_sdk.records.Products`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from procvision_runner.delivery import Delivery
from procvision_sdk.records import Products

if TYPE_CHECKING:
    import numpy as np

    from procvision_runner.errors import CallError
    from procvision_runner.images.shared_lease import SharedLease
    from procvision_runner.images.slots import Lease
    from procvision_runner.results import CallResult
    from procvision_sdk.wire.messages import Call

_INSPECTING = ("pre", "execute")

_log = logging.getLogger("procvision.runner")


@attrs.frozen(kw_only=True, eq=False)
class Inspected:
    """A `pre` or `execute` that has ended: what was asked, what came, and the picture.

    `result` is None where the call failed: `error` says how then. `source` is the supervisor's name. The picture lies
    in its slot as long as the listener runs: copy what has to outlast it.
    """

    source: str
    timestamp_ms: int
    request_id: str | None
    phase: str
    step_index: int | None
    pid: str | None
    session_id: str | None
    context: Mapping[str, Any]
    user_params: Mapping[str, Any]
    image_meta: Mapping[str, Any] | None
    """What the call said of its picture; None for a call without one."""
    attempts: int
    elapsed_ms: float
    result: CallResult | None
    error: CallError | None
    _lease: Lease | None

    @property
    def verdict(self) -> str | None:
        """OK or NG; None where there is no verdict."""
        return self.result.verdict if self.result is not None else None

    @property
    def array(self) -> np.ndarray[Any, Any] | None:
        """The picture, read-only: H x W x 3 or H x W, uint8 or uint16, in the order that `image_meta` tells.

        None for a call without a picture in a slot, for an encoded one, and where too many waited for the listeners.
        """
        lease = self._lease
        return lease.array if lease is not None and lease.encoding == "raw" else None

    @property
    def payload(self) -> bytes | None:
        """A copy of the picture's bytes, for an encoded one its file; None where there is no picture in a slot."""
        return bytes(self._lease.payload) if self._lease is not None else None


InspectionListener: TypeAlias = Callable[[Inspected], None]


class Inspections:
    """Tells the listeners, and counts products. Any thread may use it; the supervisors of a pool share one."""

    __slots__ = (
        "_delivery",
        "_listeners",
        "_max_waiting",
        "_products",
        "_waiting",
        "dropped_pictures",
        "heard",
        "lock",
    )

    def __init__(self, listeners: tuple[InspectionListener, ...], max_slots: int) -> None:
        self.dropped_pictures = 0
        """How many calls were told without their picture, since too many waited."""
        self._listeners = listeners
        self.heard = bool(listeners)
        """Whether there is a listener."""
        self._delivery: Delivery[tuple[Inspected, Callable[[], None] | None]] = Delivery(
            (self._tell,) if listeners else (), "procvision-inspections"
        )
        self._max_waiting = max(1, max_slots // 2)
        self._waiting = 0
        self.lock = threading.Lock()
        self._products = Products()

    def close(self) -> None:
        """Tell what waits. A listener that blocks is left behind."""
        self._delivery.close()

    # --- listeners ------------------------------------------------------------------------------------------

    def tell(
        self,
        source: str,
        call: Call,
        session_id: str | None,
        result: CallResult | None,
        error: CallError | None,
        attempts: int,
        elapsed_ms: float,
        lease: Lease | None,
        shared: SharedLease | None,
    ) -> None:
        """Tell the listeners of a call, soon. Its slot is kept until they have seen it."""
        if call.phase not in _INSPECTING:
            return
        release = None
        if lease is not None and shared is not None:
            with self.lock:
                if self._waiting < self._max_waiting:
                    self._waiting += 1
                    release = shared.share()
                else:
                    self.dropped_pictures += 1
            if release is None:
                _log.warning("%s: a picture was not shown to the listeners, since too many wait for them", source)
        reference = call.session
        context = reference.context if reference is not None else None
        told = Inspected(
            source=source,
            timestamp_ms=time.time_ns() // 1_000_000,
            request_id=call.request_id,
            phase=call.phase,
            step_index=call.step_index,
            pid=call.pid,
            session_id=session_id,
            context=context or {},
            user_params=call.user_params or {},
            image_meta=None if call.image_meta is None else _as_dict(call.image_meta),
            attempts=attempts,
            elapsed_ms=elapsed_ms,
            result=result,
            error=error,
            lease=lease if release is not None else None,
        )
        if not self._delivery.emit((told, release)) and release is not None:
            self._let_go(release)

    def _tell(self, waiting: tuple[Inspected, Callable[[], None] | None]) -> None:
        told, release = waiting
        try:
            for listener in self._listeners:
                try:
                    listener(told)
                except BaseException:  # noqa: BLE001 - foreign code: not even its SystemExit ends this thread
                    _log.exception("a listener raised at the %s of %s", told.phase, told.pid)
        finally:
            if release is not None:
                self._let_go(release)

    def _let_go(self, release: Callable[[], None]) -> None:
        with self.lock:
            self._waiting -= 1
        release()

    # --- products -------------------------------------------------------------------------------------------

    @property
    def open_products(self) -> dict[str, dict[tuple[str, object], str]]:
        """The outcomes of the calls of each product that is not over, by its session. Under `lock`."""
        return self._products.open

    def product_of(
        self, phase: str, step_index: object, session_id: str | None, outcome: str, *, final: bool
    ) -> tuple[str, ...]:
        """Note how a call ended. Return the verdicts of the products that are over with it: one as a rule.

        `outcome` is OK, NG, or anything else for what is neither.
        """
        with self.lock:
            return self._products.call_ended(phase, step_index, session_id, outcome, final=final)


def _as_dict(image_meta: Any) -> dict[str, Any]:
    return dict(image_meta) if isinstance(image_meta, Mapping) else {**_fields(image_meta)}


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
