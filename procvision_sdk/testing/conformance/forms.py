"""Is what a host sent a message of the protocol, whatever the row that heard it asks about?

A row's pattern names what the row is about; everything else in the frame is held against the reference's tables here,
as our runner would: a `result` without a verdict fails the row that provoked it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from procvision_sdk.errors import CallRefusedError
from procvision_sdk.results import check_answer
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.messages import MESSAGE_TYPES, AnyMessage, Result
from procvision_sdk.wire.tables import Role


def fault_of_form(frame: dict[str, Any]) -> str | None:
    """Why a runner would refuse this frame of a host's; None if it wouldn't.

    Frames of no known type are left to the row's pattern.
    """
    if frame.get("type") not in MESSAGE_TYPES:
        return None
    try:
        message = Codec(Role.RUNNER).decode(msgspec.json.encode(frame))
        _check_inspection(message)
    except (RemoteProtocolError, CallRefusedError) as refusal:
        return f"a runner can't take this {frame['type']} ({refusal.kind}): {refusal}"
    return None


def _check_inspection(message: AnyMessage) -> None:
    """Raises CallRefusedError. The picture's size isn't known here, so that rects lie within it isn't seen."""
    if isinstance(message, Result) and message.phase in {"pre", "execute"}:
        check_answer(message.phase, message.status, message.message, message.error_code, message.data, None)
