"""Counts what hosts tell and nothing has to be done about, and passes it on as events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procvision_runner.supervision import events

if TYPE_CHECKING:
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.exit_causes import HostEnd
    from procvision_runner.supervision.journal import Journal
    from procvision_runner.supervision.supervised_host import SupervisedHost
    from procvision_sdk.wire.messages import Error, Pong, Result


class Notices:
    """The half of a `HostObserver` that a supervisor and a spare share."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def host_ending(self, host: SupervisedHost, end: HostEnd, running: PendingCall | None) -> None:
        """Nothing to do but for who gives it calls."""

    def host_missed_pong(self, host: SupervisedHost, misses: int) -> None:
        """Count it."""
        self._journal.count("missed_pongs")
        self._journal.emit(events.PongMissed, host=host.number, misses=misses)

    def host_answered_unexpectedly(self, host: SupervisedHost, answer: Result | Error | Pong) -> None:
        """Count it."""
        self._journal.count("unexpected_answers")
        self._journal.emit(events.UnexpectedAnswer, host=host.number, request_id=answer.request_id, type=answer.TYPE)

    def host_violated(self, host: SupervisedHost, kind: str, message: str) -> None:
        """Count it."""
        self._journal.count("violations")
        self._journal.emit(events.ProtocolViolated, host=host.number, kind=kind, message=message[:1000])
