"""What a client tells the one that keeps its host alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.exit_causes import HostEnd
    from procvision_sdk.wire.messages import Error, Pong, Result


class Observer:
    """Does nothing: what a bare `Runner` has. Each method is called on a thread of the client's, and must not block."""

    __slots__ = ()

    def missed_pong(self, misses: int) -> None:
        """Note that a ping was not answered in time, `misses` in a row."""

    def unresponsive(self, misses: int) -> bool:
        """Note that too many pings were missed. Return True to end the host here, False to leave that to the client."""
        del misses
        return False

    def timed_out(self, pending: PendingCall) -> None:
        """Note that a call timed out and was cancelled. The host may still be busy with it."""

    def unexpected(self, answer: Result | Error | Pong) -> None:
        """Note an answer that came late, came twice or answers no call."""

    def violated(self, kind: str, message: str) -> None:
        """Note that the host broke a rule of the wire."""

    def ending(self, end: HostEnd, running: PendingCall | None) -> None:
        """Note that the host has ended while it was at `running`, whose picture still lies in its slot.

        Called under the call table's lock, before any call of the host ends.
        """

    def died(self, end: HostEnd) -> None:
        """Note that the host has ended, and its calls with it."""
