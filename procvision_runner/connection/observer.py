"""What a client tells whoever keeps its host alive. Each is called on a thread of the client's: none may block."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import Pending
    from procvision_runner.exit_causes import HostEnd
    from procvision_sdk.wire.messages import Error, Pong, Result


class Watcher:
    """Hears nothing and decides nothing: what a bare `Runner` has."""

    def missed_pong(self, misses: int) -> None:
        """A ping was not answered in time, `misses` in a row."""

    def unresponsive(self, misses: int) -> bool:
        """As many as are allowed; True says that the watcher sees to the host's end, False leaves it to the client."""
        del misses
        return False

    def timed_out(self, pending: Pending) -> None:
        """A call's time is over and it was cancelled; the host may still be busy with it."""

    def unexpected(self, answer: Result | Error | Pong) -> None:
        """A late, doubled or invented answer was recorded."""

    def violated(self, kind: str, message: str) -> None:
        """The host broke a rule of the wire."""

    def died(self, end: HostEnd) -> None:
        """The host is gone and its calls have ended."""
