"""Makes a call on the wire from what a caller gives, and what the caller gets from a result frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from procvision_runner.errors import ProtocolViolationError
from procvision_runner.images.slots import Lease, SlotPool
from procvision_runner.options import RunnerOptions
from procvision_runner.results import CallResult, checked
from procvision_sdk.calling import InspectingPhase, InspectionSession, session_ref
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.picture import Picture, as_picture, image_meta, is_lent
from procvision_sdk.plain import plain
from procvision_sdk.wire.messages import Call, Result

if TYPE_CHECKING:
    from procvision_sdk.calling import CallImage


class Request(NamedTuple):
    """A call that is ready to be sent, and what it takes to judge its answer."""

    call: Call
    size: tuple[int, int] | None
    timeout_s: float
    lease: Lease | None
    session_id: str | None
    """The session that the caller named; None for one of the call's own."""


def prepare(
    slots: SlotPool,
    options: RunnerOptions,
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
) -> Request:
    """Put the picture into a slot and the rest into a call. Raises SlotsExhaustedError.

    The arguments are those of `AlgorithmRunner.execute`, which has their defaults.
    """
    if timeout_s is None:
        timeout_s = options.execute_timeout_s if phase == "execute" else options.pre_timeout_s
    reference = session_ref(session, final=final)
    call = Call(
        phase=phase,
        step_index=step_index,
        pid=pid,
        session=reference,
        user_params=plain(dict(user_params), "user_params") if user_params else None,
    )
    session_id = None if session is None else reference.id
    if image is None:
        return Request(call, None, timeout_s, None, session_id)
    if isinstance(image, Picture) and image.shared_mem_id is not None:
        call.shared_mem_id = image.shared_mem_id
        call.image_meta = image_meta(image, camera_id, timestamp_ms)
        return Request(call, (image.width, image.height), timeout_s, None, session_id)
    lease = image if isinstance(image, Lease) else filled(slots, options, image)
    try:
        call.shared_mem_id = lease.publish()
    except ValueError:
        raise  # It is another call's, which gives it back: its host may look at it still.
    except BaseException:
        lease.release()
        raise
    call.image_meta = image_meta(lease, camera_id, timestamp_ms)
    return Request(call, (lease.width, lease.height), timeout_s, lease, session_id)


def reset_request(options: RunnerOptions, session: InspectionSession | str) -> Request:
    """Return the call that lets the algorithm forget a session."""
    reference = session_ref(session, final=False)
    return Request(Call(phase="reset", session=reference), None, options.pre_timeout_s, None, reference.id)


def filled(slots: SlotPool, options: RunnerOptions, image: CallImage) -> Lease:
    """Return the lease of a slot that has a copy of a picture. Raises as `prepare`."""
    picture = as_picture(image)
    lease = slots.lease(picture, options.slot_timeout_s)
    try:
        lease.fill(picture)
    except BaseException:
        lease.release()
        raise
    if is_lent(image):
        image.release()
    return lease


def held_to_the_protocol(result: Result, phase: str, size: tuple[int, int] | None, took_s: float) -> CallResult:
    """Return a result as the caller gets it. Raises ProtocolViolationError for one that is malformed."""
    try:
        if result.phase != phase:
            raise ProtocolViolationError(
                f"the host answered {result.phase!r} to {phase!r}", request_id=result.request_id
            )
        return checked(result, phase, size, int(took_s * 1e6) / 1e3)
    except CallRefusedError as error:
        raise ProtocolViolationError(f"the host's answer is malformed: {error}", request_id=result.request_id) from None
