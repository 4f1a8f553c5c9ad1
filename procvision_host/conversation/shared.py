"""What the host's two threads share: the connection, the calls that wait and the one that runs, and the drain.

Warning: everything below `lock` is shared by both threads. Every method says whether it takes the lock or expects it.
What is called of `os`, `select` and `time` between two calls is imported by name, here and beside: an algorithm may put
its own into those modules, as libraries for coroutines do.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from os import write as os_write
from select import select
from time import monotonic
from typing import TYPE_CHECKING, Any

from procvision_host import exits
from procvision_host.algorithm.worker import cancelled_answer
from procvision_host.conversation.reader import Reader
from procvision_host.conversation.status import StatusMachine
from procvision_host.logs import HOST_LOGGER
from procvision_host.process.channels import DRAIN_NOTICE, DRAIN_REQUEST, HostEnds
from procvision_sdk.cancellation import Cancellation
from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.events import PeerClosed, Violation
from procvision_sdk.wire.messages import (
    AlgorithmName,
    AnyMessage,
    Call,
    Cancel,
    Error,
    InFlight,
    Ping,
    Pong,
    Result,
    RunnerHello,
    Shutdown,
)
from procvision_sdk.wire.tables import HostStatus

if TYPE_CHECKING:
    import signal as _signal

    from procvision_host.conversation.drain import Drain
    from procvision_host.halves.cell import Records
    from procvision_host.process.shared_page import SharedPage
else:  # without the enumerations of `signal`, which nothing here needs
    import _signal

_SIGNALS = frozenset((_signal.SIGTERM, _signal.SIGINT))
"""As the interpreter's wake-up descriptor tells them, one byte each."""

_LONGEST_DRAIN_MS = 60_000
"""Above what any host may take; JSON's integers have no bound, the clock's numbers do."""

_log = logging.getLogger(HOST_LOGGER)


class Conversation:
    """State shared by the host's two threads."""

    __slots__ = (
        "_board",
        "_ends",
        "_output_lost",
        "abandoned",
        "acknowledged",
        "answer_instead",
        "cancellation",
        "connection",
        "drain_time",
        "draining",
        "exit_status",
        "lock",
        "reader",
        "records",
        "running",
        "running_since",
        "status",
        "told_of_drain",
        "versions",
        "waiting",
    )

    def __init__(self, ends: HostEnds, connection: Connection, board: SharedPage, drain: Drain) -> None:
        self.lock = threading.Lock()
        self.connection = connection
        self.status = StatusMachine()
        self.reader = Reader(ends, self.take, self._take_requests)
        self.exit_status = exits.CLEAN
        self.cancellation = Cancellation()
        """The loaded algorithm's own, once there is one."""
        self.versions: tuple[AlgorithmName, str] | None = None
        """Algorithm and host version, told with the first pong in state ready."""
        self.records: Records | None = None
        """Where answers are put down for observers before they are written; None where nobody listens."""
        self.told_of_drain: Callable[[int], None] | None = None
        """Called once, under the lock, when the drain begins; only hands on."""
        self.waiting: deque[Call] = deque()
        self.running: Call | None = None
        """The call that the algorithm has."""
        self.running_since = 0.0
        self.abandoned = False
        """Whether the running call was answered in the algorithm's place, with `answer_instead`."""
        self.answer_instead: Result | Error = Error()
        self.draining = False
        self.drain_time = drain
        self.acknowledged = True
        """Whether the end is to be told with a last frame."""
        self._ends = ends
        self._board = board
        self._output_lost = False

    # --- what comes in --------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Handle bytes of the runner; none are the end of its stream. Takes the lock."""
        lock = self.lock
        lock.acquire()
        try:
            if data:
                events = self.connection.receive(data, monotonic())
            else:
                self.reader.frames_ended()
                events = self.connection.receive_end()
            for event in events:
                if type(event) is Call:
                    self.waiting.append(event)
                else:
                    self._handle(event)
        finally:
            lock.release()

    def _handle(self, event: Any) -> None:
        """Handle an event that is no call. Under the lock."""
        if isinstance(event, Ping):
            self.write(self.connection.send(self._pong(event)))
        elif isinstance(event, Cancel):
            self._cancel(event)
        elif isinstance(event, Shutdown):
            self._leave_within(event.timeout_ms)
        elif isinstance(event, Violation):
            _log.warning("the runner broke the protocol (%s): %s", event.kind, event.message)
            if event.reply is not None:
                self.write(self.connection.send(event.reply))
            if event.fatal:
                handshake = event.kind == "incompatible_version"
                self.begin_drain(exits.NO_HANDSHAKE if handshake else exits.FRAMING_LOST, acknowledged=False)
        elif isinstance(event, PeerClosed):
            _log.info("the runner closed stdin")
            shaken = self.connection.peer_hello is not None
            self.begin_drain(exits.CLEAN if shaken else exits.NO_HANDSHAKE, acknowledged=True)
        elif isinstance(event, Error):
            _log.warning("the runner reports (%s): %s", event.error_code, event.message)
        elif isinstance(event, RunnerHello):
            _log.debug("the runner speaks protocol %s", event.runner_version)

    def _take_requests(self, requests: bytes) -> None:
        """Take the lock."""
        if DRAIN_REQUEST in requests or not _SIGNALS.isdisjoint(requests):
            _log.info("asked to leave by a signal")
            self.drain(exits.CLEAN, acknowledged=True)

    def _pong(self, ping: Ping) -> Pong:
        pong = Pong(request_id=ping.request_id, state=str(self.status.now))
        if self.running is not None:
            elapsed_ms = int((monotonic() - self.running_since) * 1000)
            pong.executing = InFlight(request_id=self.running.request_id, elapsed_ms=elapsed_ms)
        elif self.waiting and self.status.now is HostStatus.READY:
            # Read together with the ping, or while the answer before was written: it is begun as soon as we are done.
            pong.state = str(HostStatus.EXECUTING)
            pong.executing = InFlight(request_id=self.waiting[0].request_id, elapsed_ms=0)
        elif self.versions is not None and self.status.now is HostStatus.READY:
            pong.algorithm, pong.host_version = self.versions
            self.versions = None
        return pong

    def _cancel(self, cancel: Cancel) -> None:
        for call in self.waiting:
            if call.request_id == cancel.request_id:
                self.waiting.remove(call)
                self.write_answer(cancelled_answer(call))
                return
        if self.running is not None and self.running.request_id == cancel.request_id:
            self.cancellation.requested = True

    # --- what goes out --------------------------------------------------------------------------------------

    def write_answer(self, answer: Result | Error, begun: Call | None = None) -> Result | Error:
        """Write an answer. One that can't be written becomes an error that can, so no call stays open. Under the lock.

        `begun` is the call where it had begun: observers are told of those.
        """
        try:
            frame = self.connection.send(answer, checked=True)
        except LocalProtocolError as error:
            answer = error_message(
                ErrorCode.INVALID_PARAMS, "bad_result", str(error)[:2000], request_id=answer.request_id
            )
            frame = self.connection.send(answer)
        if begun is None or self.records is None:
            self.write(frame)
        else:
            self.write_recorded(begun, answer, frame)
        return answer

    def write_recorded(self, call: Call, answer: Result | Error, frame: bytes, told: bytes | None = None) -> None:
        """Put down for observers that a call has this answer, and write it. Under the lock.

        `told` is what observers are told of the call, where that is known.
        """
        records = self.records
        assert records is not None
        try:
            records.answering(call, answer, frame, (monotonic() - self.running_since) * 1000, told)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call has its answer
            _log.error("the answer of call %s can't be recorded", call.request_id, exc_info=error)
        self.write(frame)
        try:
            records.answered()
        except Exception as error:  # noqa: BLE001
            _log.error("that call %s is answered can't be recorded", call.request_id, exc_info=error)

    def send(self, message: AnyMessage) -> None:
        """Take the lock."""
        with self.lock:
            self.write(self.connection.send(message))

    def write(self, frame: bytes) -> None:
        """Write a frame. A runner that is gone is passed over: the end of stdin tells the same. Under the lock."""
        if self._output_lost:
            return
        try:
            written = os_write(self._ends.frames_out, frame)
        except OSError:
            written = 0  # Met again, and told apart, below.
        if written < len(frame):
            self.write_rest(memoryview(frame)[written:])

    def write_rest(self, rest: memoryview) -> None:
        """Write what one write didn't take: the runner is slow or gone, or a vendor's thread closed the descriptor.

        Under the lock.
        """
        while rest:
            try:
                rest = rest[os_write(self._ends.frames_out, rest) :]
            except BlockingIOError:
                select((), (self._ends.frames_out,), ())
            except BrokenPipeError:
                self._output_lost = True
                if not self.draining:
                    # Nobody hears an answer any more: what waits is not executed.
                    self.waiting.clear()
                    self.begin_drain(exits.NO_HANDSHAKE, acknowledged=False)
                return
            except OSError:
                if not self._ends.mend():
                    raise
                self.reader.descriptors_changed()

    # --- leaving --------------------------------------------------------------------------------------------

    def drain(self, exit_status: int, *, acknowledged: bool) -> None:
        """Take the lock."""
        with self.lock:
            self.begin_drain(exit_status, acknowledged=acknowledged)

    def _leave_within(self, timeout_ms: int | None) -> None:
        """Drain, in less time than the host may take where the runner asks for that. Under the lock."""
        timeout_s = None if timeout_ms is None else min(timeout_ms, _LONGEST_DRAIN_MS) / 1000
        if self.draining and (timeout_s is None or not self.drain_time.shorten(monotonic(), timeout_s)):
            return
        if timeout_s is not None:
            self._board.leave_within(max(1, int(timeout_s * 1000)))
        if self.draining:
            self._ends.notify_guardian(DRAIN_NOTICE)
            self._ends.wake_reader(b"\n")
        else:
            self.begin_drain(exits.CLEAN, acknowledged=True, timeout_s=timeout_s)

    def begin_drain(self, exit_status: int, *, acknowledged: bool, timeout_s: float | None = None) -> None:
        """Begin to drain, under the lock. The first cause decides the exit status, unless a worse one follows."""
        if self.exit_status == exits.CLEAN:
            self.exit_status = exit_status
        self.acknowledged = self.acknowledged and acknowledged
        if self.draining:
            return
        self.draining = True
        self.drain_time.begin(monotonic(), timeout_s)
        self.connection.drain()
        self.status.on("drain")
        self._ends.notify_guardian(DRAIN_NOTICE)
        if self.told_of_drain is not None:
            self.told_of_drain(self.exit_status)
        while self.waiting:
            waiting = self.waiting.popleft()
            self.write_answer(
                error_message(
                    ErrorCode.CANCELLED,
                    "draining",
                    "the host is leaving: the call was not begun",
                    request_id=waiting.request_id,
                    retryable=True,
                )
            )
        # A reader that waits without a deadline has one now.
        self._ends.wake_reader(b"\n")


def told_too_late(call: Call) -> None:
    """Log that a call's answer came after another had been given in its place."""
    _log.warning("the answer of call %s came too late and is dropped", call.request_id)
