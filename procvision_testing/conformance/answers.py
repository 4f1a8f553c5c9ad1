"""Can a runner take the results that a host gives, whatever the row that heard them asks about?

A row's pattern names what the row is about; the rest of a `result` is held against the reference here, as our runner
does: one without a verdict fails the row that provoked it. Other messages have rows about their form.
"""

from __future__ import annotations

from typing import Any

import msgspec

from procvision_sdk.answers import check_answer
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.messages import Result
from procvision_sdk.wire.tables import Role


def fault_of_result(frame: dict[str, Any]) -> str | None:
    """Return why a runner can't take this frame of a host's, if it is a `result`; None if it can, or it is none.

    The picture's size isn't known here: whether rects lie within it isn't seen.
    """
    if frame.get("type") != Result.TYPE:
        return None
    try:
        result = Codec(Role.RUNNER).decode(msgspec.json.encode(frame))
        if isinstance(result, Result) and result.phase in {"pre", "execute"}:
            check_answer(result.phase, result.status, result.message, result.error_code, result.data, None)
    except (RemoteProtocolError, CallRefusedError) as refusal:
        return f"a runner can't take this result ({refusal.kind}): {refusal}"
    return None
