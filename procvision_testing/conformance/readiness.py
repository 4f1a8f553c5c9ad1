"""What a host says of itself, asked once before its rows: does it start at all, and what does its algorithm take?

One that says that it can't start would fail every row, and each for the same reason.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from attrs import frozen

from procvision_sdk.errors import ErrorCode
from procvision_sdk.manifest.model import Manifest
from procvision_testing.conformance.interpreter import RUNNER_HELLO, bytes_to_send
from procvision_testing.conformance.targets import Target

PROBE_ID = "is-it-ready"
INFO_ID = "what-is-it"
PING = {"type": "ping", "request_id": PROBE_ID}
INFO = {"type": "call", "request_id": INFO_ID, "phase": "info"}
PAUSE_S = 0.05
"""Between two pings to a host that is still starting."""


@frozen
class HostFacts:
    """What a host says of itself."""

    failure: str | None = None
    """Why it can't start, in its own words; None where it starts, and where it says nothing of the kind."""
    manifest: Manifest | None = None
    """Its algorithm's; None where it tells none that can be read."""


def ask_host(target: Target, patience_s: float) -> HostFacts:
    """Return what a host says of itself within ``patience_s``. One that says nothing is judged by the rows."""
    deadline = time.monotonic() + patience_s
    hello = target.frame(patience_s)
    if hello is None:
        return HostFacts()
    target.write(bytes_to_send([{"message": RUNNER_HELLO}, {"message": PING}]))
    while (found := target.frame(max(0.0, deadline - time.monotonic()))) is not None:
        if found.get("type") == "error" and "request_id" not in found:
            of_a_frame = found.get("error_code") == ErrorCode.PROTOCOL
            return HostFacts(None if of_a_frame else str(found.get("message", "an error without a message")))
        if found.get("type") == "pong":
            if found.get("state") != "starting":
                return HostFacts(manifest=_manifest(target, hello, deadline))
            target.wait(PAUSE_S)
            target.write(bytes_to_send(PING))
    return HostFacts()


def _manifest(target: Target, hello: dict[str, Any], deadline: float) -> Manifest | None:
    shown = hello.get("capabilities")
    if not isinstance(shown, list) or "info" not in shown:
        return None
    target.write(bytes_to_send(INFO))
    while (found := target.frame(max(0.0, deadline - time.monotonic()))) is not None:
        if found.get("request_id") == INFO_ID:
            data = found.get("data")
            try:
                return msgspec.convert(data.get("manifest") if isinstance(data, dict) else None, Manifest)
            except (ValueError, TypeError):
                return None
    return None
