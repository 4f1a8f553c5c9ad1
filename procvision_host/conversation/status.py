"""The host's status, as its pong tells it. The table is the protocol's; this interprets it."""

from __future__ import annotations

from procvision_sdk.wire.tables import STATUS_TRANSITIONS, HostStatus


class StatusMachine:
    """The current status. Changed under the conversation's lock, read anywhere."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = HostStatus.STARTING

    def on(self, event: str) -> None:
        """Follow the table. An event that it doesn't have in this status is a fault in the host."""
        self.now = STATUS_TRANSITIONS[self.now][event]
