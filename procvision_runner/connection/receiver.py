"""Reads a host's frames, and does what each of them means for the runner."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from time import monotonic
from typing import Any

from procvision_runner.connection.call_table import CallTable
from procvision_runner.connection.observer import Observer
from procvision_runner.connection.writer import KEPT_FRAME_BYTES, Record
from procvision_runner.errors import CallFailedError, ProtocolViolationError
from procvision_runner.exit_causes import EndKind
from procvision_runner.process.held_up import held_up, waits
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess
from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.events import HandshakeExpired, PeerClosed, PingDue, PongMissed, UnexpectedAnswer, Violation
from procvision_sdk.wire.messages import AnyMessage, Error, HostHello, Ping, Pong, Result, Shutdown

READ_BYTES = 16 * 1024
"""Room for any frame but the rare large one; more would cost a fresh mapping at every read."""


class Receiver:
    """Reads for the leader. `send`, `time_out`, `kill` and those of the host are what the client does about it."""

    __slots__ = (
        "_asked",
        "_host_is_gone",
        "_host_leaves",
        "_kill",
        "_log",
        "_observer",
        "_record",
        "_send",
        "_stdout",
        "_table",
        "_time_out",
        "_waited",
        "acknowledged",
        "hello",
        "host_error",
        "poll",
        "pong_awaited",
    )

    def __init__(
        self,
        process: HostProcess,
        table: CallTable,
        log: HostLog,
        observer: Observer,
        record: Record,
        *,
        send: Callable[[AnyMessage, float], bool],
        time_out: Callable[[Error, float], None],
        kill: Callable[[EndKind, str], None],
        host_leaves: Callable[[], None],
        host_is_gone: Callable[[], None],
    ) -> None:
        self._table = table
        self._log = log
        self._observer = observer
        self._record = record
        self._send = send
        self._time_out = time_out
        self._kill = kill
        self._host_leaves = host_leaves
        self._host_is_gone = host_is_gone
        self._stdout = process.stdout
        poller = select.poll()
        poller.register(process.stdout, select.POLLIN)
        self.poll = poller.poll
        """Waits for what the host says, so many milliseconds."""
        self.hello: HostHello | None = None
        self.host_error: Error | None = None
        """The last `error` frame that names no call."""
        self.acknowledged = False
        """Whether the host's last frame, its answer to shutdown, has come."""
        self.pong_awaited = False
        self._asked = 0
        self._waited: dict[str, int] = {}
        """For how long the host's threads had waited for a processor when it was pinged."""

    def read_once(self, now: float, deadline: float) -> float:
        """Wait for bytes until the deadline or the next heartbeat, and handle what came. For the leader alone.

        Return the time, in monotonic seconds, at which that was done.
        """
        tick_at = self._table.tick_at
        until = deadline if tick_at is None or tick_at > deadline else tick_at
        # A negative time would mean for ever.
        if self.poll((until - now) * 1000 + 0.5 if until > now else 0.5):
            try:
                now = self.read()
            except BaseException:
                # What was read may be lost, so frames can't be told apart any more.
                self._kill(EndKind.STOPPED, "was read by a thread that was interrupted")
                raise
        else:
            now = monotonic()
        if tick_at is not None and now >= tick_at:
            self.tick()
        return now

    def read(self) -> float:
        """Read the bytes that are there and handle them. Return the time at which they were read."""
        try:
            data = os.read(self._stdout, READ_BYTES)
        except OSError:
            data = b""
        now = monotonic()
        self._record.append((now, "in", data[:KEPT_FRAME_BYTES]))
        self.take(data, now)
        return now

    @property
    def _process_id(self) -> int | None:
        return self.hello.process_id if self.hello is not None else None

    def take(self, data: bytes, now: float) -> None:
        """Handle bytes that were read; none are the end of the stream."""
        events, ended = self._table.receive(data, now)
        if ended is not None:
            self._table.resolve(ended, reading=True)
        for event in events:
            self._handle(event, now)
        if not data:
            self._host_is_gone()

    def tick(self) -> None:
        """Send the pings that are due, and handle those that were not answered."""
        now = monotonic()
        late = self._table.connection.late_pong(now)
        if late is not None and held_up(self._process_id, self._waited, *late):
            self._table.put_off_pong(now)
            self._waited = waits(self._process_id)  # each time is judged by itself
        for event in self._table.tick(now):
            self._handle(event, now)
        if self._table.lingering and self._table.ask_is_due(now):
            self._asked += 1
            self.pong_awaited = True
            self._send(Ping(request_id=f"ask-{self._asked}"), now + 1.0)

    def _handle(self, event: Any, now: float) -> None:
        """Handle an event."""
        if isinstance(event, Result):
            self._table.end_call(event, None, now)
        elif isinstance(event, Error):
            self._on_error(event, now)
        elif isinstance(event, Pong):
            self.pong_awaited = False
            if self._table.lingering:
                self._table.free_finished(event, now)
        elif isinstance(event, HostHello):
            self.hello = event
        elif isinstance(event, UnexpectedAnswer):
            self._on_unexpected(event.message)
        elif isinstance(event, Violation):
            self._on_violation(event, now)
        elif isinstance(event, Shutdown):
            self._on_last_frame()
        elif isinstance(event, PingDue):
            self.pong_awaited = True
            self._waited = waits(self._process_id)
            self._send(event.ping, now + 1.0)
        elif isinstance(event, PongMissed):
            self.pong_awaited = not event.unresponsive
            self._observer.missed_pong(event.misses)
            if event.unresponsive and not self._observer.unresponsive(event.misses):
                self._kill(EndKind.UNRESPONSIVE, f"did not answer {event.misses} pings in a row")
        elif isinstance(event, (PeerClosed, HandshakeExpired)):
            pass  # `read` and the handshake's own deadline see to these.

    def _on_last_frame(self) -> None:
        self.acknowledged = True
        if not self._table.stopping:
            self._host_leaves()

    def _on_error(self, event: Error, now: float) -> None:
        if event.request_id is None:
            self.host_error = event
            if self._table.has_called:
                self._on_answer_to_nothing(f"an error ({event.message})")
            return
        data = event.data
        if event.error_code == ErrorCode.TIMEOUT and data is not None and data.kind == "timeout":
            self._time_out(event, now)
            return
        error = CallFailedError(
            event.message,
            error_code=event.error_code,
            kind=data.kind if data is not None else "unknown",
            retryable=data.retryable if data is not None else False,
            detail=data.detail if data is not None else None,
            request_id=event.request_id,
            logs=tuple(self._log.records),
        )
        self._table.end_call(event, error, now)

    def _on_unexpected(self, answer: Result | Error | Pong) -> None:
        self._table.keep_unexpected(answer)
        if isinstance(answer, Result) and answer.request_id is None:
            self._on_answer_to_nothing("a result")

    def _on_answer_to_nothing(self, what: str) -> None:
        """End a host whose answers have no ids: what it sends while no call waits may come in the next one's place."""
        if self._table.connection.answers_without_ids:
            self._kill(EndKind.PROTOCOL_VIOLATION, f"sent {what} while no call waited")

    def _on_violation(self, event: Violation, now: float) -> None:
        self._observer.violated(event.kind, event.message)
        if event.reply is not None:
            self._send(event.reply, now + 1.0)
        if event.request_id is not None:
            error = ProtocolViolationError(
                f"the host's answer is malformed ({event.kind}): {event.message}",
                request_id=event.request_id,
                logs=tuple(self._log.records),
            )
            self._table.end_call(Error(request_id=event.request_id), error, now)
        if event.fatal:
            self._kill(EndKind.PROTOCOL_VIOLATION, f"broke the protocol ({event.kind}): {event.message}")
