"""Bytes to `Connection` and back, on two threads of which one reads at any time.

The strategy: the main thread reads a call, executes it itself and writes the answer, so a short call meets no
hand-over between threads. A second thread, the *standby*, looks every few milliseconds whether a call lasts; only
then does it take over the reading, answers pings, queues calls and hears cancel and shutdown, until the main
thread has nothing left to execute and takes the reading back. While the algorithm is loaded the standby reads too.
Warning: everything below `_lock` in a method's body is shared by both; a blocking read never happens under it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from procvision_host import exits
from procvision_host.board import Board
from procvision_host.channels import DRAIN_NOTICE, DRAIN_REQUEST, HostEnds, wait_for_stray_output
from procvision_host.logs import HOST_LOGGER
from procvision_host.status import StatusMachine
from procvision_host.worker import cancelled_answer
from procvision_sdk.cancellation import Cancellation
from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection, HandshakeExpired, PeerClosed, Violation
from procvision_sdk.wire.errors import LocalProtocolError
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
from procvision_sdk.wire.tables import ConnectionState, HostStatus

TICK_S = 0.02
"""How often the standby looks; two looks at one call are a call that lasts, so a ping waits 40 ms at most."""
IDLE_TICKS = 50
"""After so many looks at an idle host the standby sleeps until the next call."""
MEND_S = 0.5
"""How often the standby looks whether its descriptors are still its own."""
_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT))
"""As the interpreter's wake-up descriptor tells them, one byte each."""
READ_BYTES = 16 * 1024
"""Room for any frame but the rare large one; more would cost a fresh mapping at every read."""

_log = logging.getLogger(HOST_LOGGER)


class Loop:
    """The host's conversation with its runner."""

    def __init__(self, ends: HostEnds, connection: Connection, board: Board, *, shutdown_grace_s: float) -> None:
        self._ends = ends
        self._connection = connection
        self._board = board
        self._shutdown_grace_s = shutdown_grace_s
        self.status = StatusMachine()
        self.exit_status = exits.CLEAN
        self.cancellation = Cancellation()
        """The loaded algorithm's own, once there is one."""
        self.versions: tuple[AlgorithmName, str] | None = None
        """Algorithm and host version, told with the first pong in state ready."""
        self.told_of_drain: Callable[[int], None] | None = None
        """Called once, under the lock, when the drain begins; only hands on."""
        self._lock = threading.Lock()
        self._queue: deque[Call] = deque()
        self._draining = False
        self._drain_began = 0.0
        self._drain_acknowledged = True
        self._output_lost = False
        self._input_ended = False
        # The call being executed, and when it is taken away from the algorithm.
        self._running: Call | None = None
        self._running_number = 0
        self._running_since = 0.0
        self._abandoned = False
        self._answer_instead: Result | Error = Error()
        self._calls = 0
        # Who reads.
        self._standby_reads = False
        self._hand_back = False
        self._handed_back = threading.Semaphore(0)
        self._standby_sleeps = False
        self._standby_wanted = threading.Event()
        self._stopped = False
        self._poller = select.poll()
        self._is_copy = False
        self._watch()

    def _watch(self) -> None:
        self._poller = select.poll()
        self._poller.register(self._ends.frames_in, select.POLLIN)
        self._poller.register(self._ends.control, select.POLLIN)

    def _descriptors_changed(self) -> None:
        _log.warning("the algorithm closed or reused the host's descriptors; they were opened again")
        self._listen_for_signals()
        self._watch()

    def _listen_for_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._ends.wake, warn_on_full_buffer=False)

    # --- the main thread ------------------------------------------------------------------------------------

    def shake_hands(self) -> bool:
        """Waits for the runner's hello; False if the host has to leave instead."""
        while self._connection.state is ConnectionState.HANDSHAKING and not self._draining:
            deadline = self._connection.deadline
            now = time.monotonic()
            self._pump(None if deadline is None else max(0.0, deadline - now))
            for event in self._connection.tick(time.monotonic()):
                if isinstance(event, HandshakeExpired):
                    self._send_error(
                        ErrorCode.TIMEOUT,
                        "handshake_timeout",
                        f"the runner's hello did not come within {event.timeout_s:g} s; "
                        "hint: answer the host's hello at once, or start it with --handshake-timeout-s 0",
                    )
                    self._drain(exits.NO_HANDSHAKE, acknowledged=False)
        return not self._draining

    def start_standby(self) -> None:
        """Starts the second thread; it reads from now on, until `serve`."""
        self._standby_reads = True
        threading.Thread(target=self._standby, name="procvision-standby", daemon=True).start()

    def loading_failed(self, code: str, kind: str, message: str, exit_status: int, detail: Any = None) -> None:
        """The algorithm can't be used: says so and begins to drain."""
        self._send_error(code, kind, message, detail)
        self._drain(exit_status, acknowledged=True)

    def loaded(self) -> None:
        """The algorithm is set up."""
        with self._lock:
            self.status.on("loaded")

    def serve(
        self,
        execute: Callable[[Call], Result | Error],
        answered: Callable[[Call, AnyMessage, float], None] | None,
        wants_replacing: Callable[[], bool],
    ) -> None:
        """Executes calls until the drain; `answered` is told of each after its answer was written.

        `wants_replacing` is asked after an `error`: whether a new process has to take this one's place.
        """
        while True:
            if self._queue:
                call = self._next_call()
                if call is not None:
                    self._execute(call, execute, answered, wants_replacing)
            elif self._draining:
                # The host still answers pings while teardown() runs.
                self._standby_reads = True
                self._standby_wanted.set()
                return
            elif self._standby_reads:
                self._take_reading_back()
            else:
                self._pump(None)

    def _next_call(self) -> Call | None:
        with self._lock:
            if not self._queue:
                return None
            call = self._queue.popleft()
            self._calls = number = self._calls + 1
            self.status.on("call")
            self._abandoned = self.cancellation.requested = False
            self._running = call
            self._running_since = time.monotonic()
            self._running_number = number
        self._board.call_begins(number, call.request_id)
        if self._standby_sleeps:
            self._standby_wanted.set()
        return call

    def _execute(
        self,
        call: Call,
        execute: Callable[[Call], Result | Error],
        answered: Callable[[Call, AnyMessage, float], None] | None,
        wants_replacing: Callable[[], bool],
    ) -> None:
        answer = execute(call)
        replace = type(answer) is Error and wants_replacing()
        self.end_copy()
        wait_for_stray_output()
        # The algorithm has had its hands on the process: the frames' descriptors may not be what they were.
        if not self._ends.verify():
            self._descriptors_changed()
        with self._lock:
            elapsed_ms = (time.monotonic() - self._running_since) * 1000
            self._running = None
            self._running_number = 0
            self.status.on("answered")
            if not self._abandoned:
                answer = self._write_answer(answer)
        self._board.call_ends()
        if self._abandoned:
            _log.warning("the answer of call %s came too late and is dropped", call.request_id)
            answer = self._answer_instead
        if answered is not None:
            answered(call, answer, elapsed_ms)
        if replace:
            self._drain(exits.ALGORITHM_FAILED, acknowledged=True)

    def _write_answer(self, answer: Result | Error) -> Result | Error:
        """Under the lock. An answer that can't be written becomes an error that can: a call is never left open."""
        try:
            frame = self._connection.send(answer, checked=True)
        except LocalProtocolError as error:
            answer = error_message(
                ErrorCode.INVALID_PARAMS, "bad_result", str(error)[:2000], request_id=answer.request_id
            )
            frame = self._connection.send(answer)
        self._write(frame)
        return answer

    def _take_reading_back(self) -> None:
        with self._lock:
            if not self._standby_reads:
                return
            self._hand_back = True
        self._ends.wake_reader(b"\n")
        self._handed_back.acquire()
        # The standby may have opened descriptors again, and only this thread may say where signals go.
        self._listen_for_signals()

    def close(self, exit_status_if_clean: int = exits.CLEAN) -> int:
        """The last frame, after `teardown()`: returns the exit status."""
        status = self.exit_status if self.exit_status != exits.CLEAN else exit_status_if_clean
        self._ends.mend()
        with self._lock:
            self._stopped = True
            if self._drain_acknowledged and self._connection.state is ConnectionState.DRAINING:
                self._write(self._connection.send(Shutdown(status="OK" if status == exits.CLEAN else "ERROR")))
        self._standby_wanted.set()
        return status

    # --- a vendor's fork ------------------------------------------------------------------------------------

    def became_copy(self) -> None:
        """Runs in a child that the algorithm forked: only the original speaks for this host."""
        self._is_copy = True

    def end_copy(self) -> None:
        """Ends a forked child that came back from the vendor's code, before it answers in the original's name."""
        if self._is_copy:
            os._exit(0)

    # --- the standby ----------------------------------------------------------------------------------------

    def _standby(self) -> None:
        try:
            self._stand_by()
        except BaseException:
            # Without it the host would look alive and be deaf: it leaves, and the guardian sees to it.
            _log.exception("the standby failed")
            self._ends.notify_guardian(DRAIN_NOTICE)
            self.exit_status, self._draining = exits.ALGORITHM_FAILED, True
            self._standby_reads = False
            self._handed_back.release()
            raise

    def _stand_by(self) -> None:
        idle = 0
        seen = 0
        while not self._stopped:
            if self._standby_reads:
                self._read_in_standby()
                seen = idle = 0
                continue
            number = self._running_number
            if number and number == seen:
                with self._lock:
                    if self._running_number == number:
                        self._standby_reads = True
                continue
            idle = 0 if number else idle + 1
            seen = number
            if idle < IDLE_TICKS:
                self._standby_wanted.wait(TICK_S)
                continue
            self._standby_sleeps = True
            if not self._running_number:
                self._standby_wanted.wait()
            self._standby_sleeps = False
            self._standby_wanted.clear()
            idle = 0

    def _read_in_standby(self) -> None:
        while not self._stopped:
            self._pump(self._standby_patience())
            self._enforce_deadlines(time.monotonic())
            with self._lock:
                if self._hand_back:
                    self._hand_back = self._standby_reads = False
                    self._handed_back.release()
                    return

    def _standby_patience(self) -> float | None:
        """Seconds until the running call is to be answered for the algorithm, or the descriptors looked after."""
        deadline = self._deadline()
        return MEND_S if deadline is None else min(MEND_S, max(0.0, deadline - time.monotonic()))

    def _deadline(self) -> float | None:
        running = self._running
        if running is None or self._abandoned:
            return None
        deadlines = []
        if running.timeout_ms is not None and running.timeout_ms > 0:
            deadlines.append(self._running_since + running.timeout_ms / 1000)
        if self._draining:
            deadlines.append(self._drain_began + self._shutdown_grace_s)
        return min(deadlines, default=None)

    def _enforce_deadlines(self, now: float) -> None:
        """Answers for an algorithm that doesn't: what it returns later is dropped."""
        with self._lock:
            deadline, running = self._deadline(), self._running
            if deadline is None or running is None or now < deadline:
                return
            self._abandoned = True
            self.cancellation.requested = True
            if self._draining and now >= self._drain_began + self._shutdown_grace_s:
                answer = error_message(
                    ErrorCode.CANCELLED,
                    "draining",
                    f"the host is leaving and the call did not end within {self._shutdown_grace_s:g} s",
                    request_id=running.request_id,
                    retryable=True,
                )
            else:
                answer = error_message(
                    ErrorCode.TIMEOUT,
                    "timeout",
                    f"the algorithm did not answer within the call's timeout_ms of {running.timeout_ms}",
                    request_id=running.request_id,
                    retryable=True,
                )
            self._answer_instead = self._write_answer(answer)

    # --- whoever reads --------------------------------------------------------------------------------------

    def _pump(self, timeout_s: float | None) -> None:
        """Waits for bytes or a request, and handles what comes."""
        ready = self._poller.poll(None if timeout_s is None else timeout_s * 1000 + 1)
        if self._standby_reads and self._ends.mend():
            # A vendor's code is at work and closed them: what is ready may be a file of its own.
            self._descriptors_changed()
            return
        for descriptor, _ in ready:
            if descriptor == self._ends.frames_in:
                try:
                    data = os.read(descriptor, READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    # Closed under us by a vendor's thread: found again, or the end.
                    if self._ends.verify():
                        raise
                    self._descriptors_changed()
                    return
                self._take(data)
            elif descriptor == self._ends.control:
                self._take_control()
            else:
                # It has another number since a log line or a notice found it closed.
                self._ends.mend()
                self._descriptors_changed()
                return

    def _take(self, data: bytes) -> None:
        with self._lock:
            if data:
                events = self._connection.receive(data, time.monotonic())
            else:
                self._poller.unregister(self._ends.frames_in)
                self._input_ended = True
                events = self._connection.receive_end()
            for event in events:
                if type(event) is Call:
                    self._queue.append(event)
                else:
                    self._handle(event)

    def _handle(self, event: Any) -> None:
        """Under the lock: everything but a call."""
        if isinstance(event, Ping):
            self._write(self._connection.send(self._pong(event)))
        elif isinstance(event, Cancel):
            self._cancel(event)
        elif isinstance(event, Shutdown):
            self._begin_drain(exits.CLEAN, acknowledged=True)
        elif isinstance(event, Violation):
            _log.warning("the runner broke the protocol (%s): %s", event.kind, event.message)
            if event.reply is not None:
                self._write(self._connection.send(event.reply))
            if event.fatal:
                handshake = event.kind == "incompatible_version"
                self._begin_drain(exits.NO_HANDSHAKE if handshake else exits.FRAMING_LOST, acknowledged=False)
        elif isinstance(event, PeerClosed):
            _log.info("the runner closed stdin")
            shaken = self._connection.peer_hello is not None
            self._begin_drain(exits.CLEAN if shaken else exits.NO_HANDSHAKE, acknowledged=True)
        elif isinstance(event, Error):
            _log.warning("the runner reports (%s): %s", event.error_code, event.message)
        elif isinstance(event, RunnerHello):
            _log.debug("the runner speaks protocol %s", event.runner_version)

    def _take_control(self) -> None:
        try:
            data = os.read(self._ends.control, 64)
        except BlockingIOError:
            return
        except OSError:
            if not self._ends.mend():
                raise
            self._descriptors_changed()
            return
        if not data:
            self._poller.unregister(self._ends.control)
        elif DRAIN_REQUEST in data or not _SIGNALS.isdisjoint(data):
            _log.info("asked to leave by a signal")
            self._drain(exits.CLEAN, acknowledged=True)

    def _pong(self, ping: Ping) -> Pong:
        pong = Pong(request_id=ping.request_id, state=str(self.status.now))
        if self._running is not None:
            elapsed_ms = int((time.monotonic() - self._running_since) * 1000)
            pong.executing = InFlight(request_id=self._running.request_id, elapsed_ms=elapsed_ms)
        elif self.versions is not None and self.status.now is HostStatus.READY:
            pong.algorithm, pong.host_version = self.versions
            self.versions = None
        return pong

    def _cancel(self, cancel: Cancel) -> None:
        for call in self._queue:
            if call.request_id == cancel.request_id:
                self._queue.remove(call)
                self._write_answer(cancelled_answer(call))
                return
        if self._running is not None and self._running.request_id == cancel.request_id:
            self.cancellation.requested = True

    # --- leaving --------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether the host is about to leave."""
        return self._draining

    def _drain(self, exit_status: int, *, acknowledged: bool) -> None:
        with self._lock:
            self._begin_drain(exit_status, acknowledged=acknowledged)

    def _begin_drain(self, exit_status: int, *, acknowledged: bool) -> None:
        """Under the lock. The first cause decides the exit status, unless it was clean and a worse one follows."""
        if self.exit_status == exits.CLEAN:
            self.exit_status = exit_status
        self._drain_acknowledged = self._drain_acknowledged and acknowledged
        if self._draining:
            return
        self._draining = True
        self._drain_began = time.monotonic()
        self._connection.drain()
        self.status.on("drain")
        self._ends.notify_guardian(DRAIN_NOTICE)
        if self.told_of_drain is not None:
            self.told_of_drain(self.exit_status)
        while self._queue:
            waiting = self._queue.popleft()
            self._write_answer(
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

    def _send_error(self, code: str, kind: str, message: str, detail: Any = None) -> None:
        with self._lock:
            self._write(self._connection.send(error_message(code, kind, message, detail=detail)))

    def _write(self, frame: bytes) -> None:
        """Under the lock. A runner that is gone can't be told: the end of stdin says the same."""
        if self._output_lost:
            return
        try:
            written = os.write(self._ends.frames_out, frame)
        except OSError:
            written = 0  # Met again, and told apart, below.
        if written < len(frame):
            self._write_rest(memoryview(frame)[written:])

    def _write_rest(self, rest: memoryview) -> None:
        """What one write didn't take: a runner is slow, is gone, or a vendor's thread closed the descriptor."""
        while rest:
            try:
                rest = rest[os.write(self._ends.frames_out, rest) :]
            except BlockingIOError:
                select.select((), (self._ends.frames_out,), ())
            except BrokenPipeError:
                self._output_lost = True
                return
            except OSError:
                if not self._ends.mend():
                    raise
                self._descriptors_changed()
