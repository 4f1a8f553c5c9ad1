"""Does a host start at all? One that says that it can't would fail every row, and each for the same reason."""

from __future__ import annotations

import time

from procvision_sdk.errors import ErrorCode
from procvision_testing.conformance.interpreter import RUNNER_HELLO, bytes_to_send
from procvision_testing.conformance.targets import Target

PROBE_ID = "is-it-ready"
PING = {"type": "ping", "request_id": PROBE_ID}
PAUSE_S = 0.05
"""Between two pings to a host that is still starting."""


def start_failure(target: Target, patience_s: float) -> str | None:
    """Give what a host says of itself when it can't start.

    That is the message of an `error` that answers nothing and is about no frame. None where it becomes ready, and where
    it says nothing of the kind within ``patience_s``: the rows judge that.
    """
    deadline = time.monotonic() + patience_s
    hello = target.frame(patience_s)
    if hello is None:
        return None
    target.write(bytes_to_send([{"message": RUNNER_HELLO}, {"message": PING}]))
    while (found := target.frame(max(0.0, deadline - time.monotonic()))) is not None:
        if found.get("type") == "error" and "request_id" not in found:
            of_a_frame = found.get("error_code") == ErrorCode.PROTOCOL
            return None if of_a_frame else str(found.get("message", "an error without a message"))
        if found.get("type") == "pong":
            if found.get("state") != "starting":
                return None
            target.wait(PAUSE_S)
            target.write(bytes_to_send(PING))
    return None
