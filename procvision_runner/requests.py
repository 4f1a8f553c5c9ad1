"""From what a caller gives to a call on the wire, and from a result frame to what the caller gets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import attrs

from procvision_runner.errors import ProtocolViolationError
from procvision_runner.images.picture import Picture
from procvision_runner.images.slots import Lease, SlotPool
from procvision_runner.options import RunnerOptions
from procvision_runner.results import CallResult, checked
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.plain import plain
from procvision_sdk.wire.messages import Call, Result, SessionRef

if TYPE_CHECKING:
    from procvision_runner.images.picture import Pixels

    Image: TypeAlias = Pixels | Picture | Lease

InspectingPhase: TypeAlias = Literal["pre", "execute"]


@attrs.frozen
class InspectionSession:
    """The inspection of one product: every call that names it shares the algorithm's state of it."""

    id: str
    context: Mapping[str, Any] = attrs.field(factory=dict)
    reference: SessionRef = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        # Checked and made once: every call of the session sends the same.
        context = plain(dict(self.context), "context")
        object.__setattr__(self, "reference", SessionRef(id=self.id, context=context))


def new_session_id() -> str:
    """An id that no other session has."""
    return secrets.token_hex(8)


class Request(NamedTuple):
    """A call that is ready to be sent, and what it takes to judge its answer."""

    call: Call
    size: tuple[int, int] | None
    timeout_s: float
    lease: Lease | None


def prepare(
    slots: SlotPool,
    options: RunnerOptions,
    phase: InspectingPhase,
    image: Image | None,
    pid: str,
    *,
    step_index: int = 1,
    session: InspectionSession | str | None = None,
    user_params: Mapping[str, Any] | None = None,
    final: bool = False,
    camera_id: str | None = None,
    timestamp_ms: int | None = None,
    timeout_s: float | None = None,
) -> Request:
    """Puts the picture into a slot and the rest into a call. Raises SlotsExhaustedError."""
    if timeout_s is None:
        timeout_s = options.execute_timeout_s if phase == "execute" else options.pre_timeout_s
    call = Call(
        phase=phase,
        step_index=step_index,
        pid=pid,
        session=session_ref(session, final=final),
        user_params=plain(dict(user_params), "user_params") if user_params else None,
    )
    if image is None:
        return Request(call, None, timeout_s, None)
    if isinstance(image, Picture) and image.shared_mem_id is not None:
        call.shared_mem_id = image.shared_mem_id
        call.image_meta = image_meta(image, camera_id, timestamp_ms)
        return Request(call, (image.width, image.height), timeout_s, None)
    lease = image if isinstance(image, Lease) else _filled(slots, options, image)
    try:
        call.shared_mem_id = lease.publish()
    except BaseException:
        lease.release()
        raise
    call.image_meta = image_meta(lease, camera_id, timestamp_ms)
    return Request(call, (lease.width, lease.height), timeout_s, lease)


ARGUMENTS = frozenset(prepare.__kwdefaults__ or {})
"""What every way to make a call takes besides the picture and `pid`; `Runner.execute` says what they mean."""


def image_meta(image: Lease | Picture, camera_id: str | None, timestamp_ms: int | None) -> dict[str, Any]:
    """What a call says of its picture; the time is now where none is given."""
    meta: dict[str, Any] = {
        "width": image.width,
        "height": image.height,
        "timestamp_ms": time.time_ns() // 1_000_000 if timestamp_ms is None else timestamp_ms,
        "color_space": image.color_space,
    }
    if image.encoding != "raw":
        meta["encoding"] = image.encoding
    if image.bits is not None:
        meta["bits"] = image.bits
    if camera_id is not None:
        meta["camera_id"] = camera_id
    return meta


def _filled(slots: SlotPool, options: RunnerOptions, image: Pixels | Picture) -> Lease:
    picture = image if isinstance(image, Picture) else Picture.of(image)
    lease = slots.lease(picture, options.slot_timeout_s)
    try:
        lease.fill(picture)
    except BaseException:
        lease.release()
        raise
    return lease


def session_ref(session: InspectionSession | str | None, *, final: bool) -> SessionRef:
    """A session as a call names it; none is one of its own, which ends with the call."""
    if isinstance(session, InspectionSession):
        reference = session.reference
        return SessionRef(id=reference.id, context=reference.context, final=True) if final else reference
    if session is None:
        return SessionRef(id=new_session_id(), final=True)
    return SessionRef(id=session, final=final)


def held_to_the_protocol(result: Result, phase: str, size: tuple[int, int] | None, took_s: float) -> CallResult:
    """Nothing malformed is read as a verdict, whatever host it came from."""
    try:
        if result.phase != phase:
            raise ProtocolViolationError(
                f"the host answered {result.phase!r} to {phase!r}", request_id=result.request_id
            )
        return checked(result, phase, size, int(took_s * 1e6) / 1e3)
    except CallRefusedError as error:
        raise ProtocolViolationError(f"the host's answer is malformed: {error}", request_id=result.request_id) from None
