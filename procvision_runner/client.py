"""Bytes to `Connection` and back, for any number of callers and one host.

The strategy: a caller that waits for its answer reads the pipe itself, so the common case, one caller at a time,
meets no hand-over between threads. Whoever reads is the *leader* and delivers what comes for others too; when it
has its own answer it makes one of the others the leader. One thread of the client's own, the *attendant*, sends
the heartbeat while nobody reads, leads while only submitted calls wait, and collects the host's log.
Warning: `_lock` guards the connection and the table of calls; no read, write or callback of a user's runs under it.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NoReturn

import attrs

from procvision_runner.causes import EndKind, HostEnd, described, end_of
from procvision_runner.errors import (
    CallError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    ProtocolViolationError,
    RunnerStoppedError,
)
from procvision_runner.hostlog import HostLog
from procvision_runner.options import RunnerOptions
from procvision_runner.pending import Pending
from procvision_runner.process import HostProcess
from procvision_runner.watching import Watcher
from procvision_sdk.wire.connection import (
    Connection,
    HandshakeExpired,
    PeerClosed,
    PingDue,
    PongMissed,
    UnexpectedAnswer,
    Violation,
)
from procvision_sdk.wire.dialect import Dialect
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.greeting import PROTOCOL_VERSION
from procvision_sdk.wire.messages import (
    AnyMessage,
    Call,
    Cancel,
    Error,
    HostHello,
    Pong,
    Result,
    RunnerHello,
    Shutdown,
)
from procvision_sdk.wire.tables import ConnectionState, Role

READ_BYTES = 16 * 1024
"""Room for any frame but the rare large one; more would cost a fresh mapping at every read."""
KEPT_UNEXPECTED = 32
KEPT_FRAMES = 32
"""How many of the last reads and writes are kept for a crash report."""
KEPT_FRAME_BYTES = 4096
"""How much of each."""
_EXIT_PATIENCE_S = 2.0
"""How long the end of stdout may precede the end of the process."""
_WRITE_SLICE_S = 0.1
"""How often a blocked write looks whether the runner is being stopped."""


class Client:
    """One connection to one running host."""

    def __init__(
        self,
        process: HostProcess,
        options: RunnerOptions,
        log: HostLog,
        watcher: Watcher | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        self.process = process
        self.log = log
        self.hello: HostHello | None = None
        self.unexpected: list[Result | Error | Pong] = []
        """The last late, doubled and invented answers: kept to be looked at, never taken for another's."""
        self.host_error: Error | None = None
        """What the host said of itself in an `error` frame without a request id."""
        self.frames: deque[tuple[float, str, bytes]] = deque(maxlen=KEPT_FRAMES)
        """The last bytes that went "out" and came "in", each with its monotonic instant."""
        self.end: HostEnd | None = None
        """How the host ended, once it has."""
        self.acknowledged = False
        """Whether the host's last frame, its answer to shutdown, has come."""
        self._options = options
        self._watcher = watcher if watcher is not None else Watcher()
        self._connection = Connection(
            Role.RUNNER,
            now=time.monotonic(),
            max_frame_bytes=options.max_frame_bytes,
            handshake_timeout_s=options.handshake_timeout_s,
            heartbeat=options.heartbeat,
            dialect=dialect,
        )
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._write_lock = threading.Lock()
        self._calls: dict[str, Pending] = {}
        self._submitted = 0
        self._overdue = 0
        self._numbers = 0
        self._leading = False
        self._dead: str | None = None
        self._killed_for: tuple[EndKind, str] | None = None
        self._stopping = False
        self._pong_awaited = False
        self._exit_seen = False
        self._poller = select.poll()
        self._poller.register(process.stdout, select.POLLIN)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._attendant = threading.Thread(target=self._attend, name="procvision-attendant", daemon=True)
        self._attendant_stops = False
        self._closed = False
        self._stdin_closed = False
        self._torn = False

    # --- the handshake --------------------------------------------------------------------------------------

    def shake_hands(self) -> None:
        """Waits for the host's hello and answers it. Raises LaunchError."""
        self._leading = True
        self._attendant.start()
        timeout_s = self._options.handshake_timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            while self.hello is None and self._dead is None and time.monotonic() < deadline:
                self._read_once(deadline)
        finally:
            self._stop_leading()
        if self.hello is None:
            raise self.launch_error(self._dead or f"no hello came within {timeout_s:g} s")
        heartbeat = self._options.heartbeat
        hello = RunnerHello(runner_version=PROTOCOL_VERSION, capabilities=["cancel"])
        if heartbeat is not None:
            hello.heartbeat_interval_ms = int(heartbeat.interval_s * 1000)
            hello.heartbeat_grace_ms = int(heartbeat.grace_s * 1000)
        if not self._send(hello, deadline):
            raise self.launch_error("it doesn't read its stdin")
        self._wake_attendant()

    def launch_error(self, text: str) -> LaunchError:
        """A LaunchError with what the host said and how it ended."""
        said = self.host_error
        if self._dead is not None or said is not None:
            self.process.wait(_EXIT_PATIENCE_S)
        self.log.settle(0.5)
        command = " ".join(self.process.command)
        return LaunchError(
            f"the host did not become ready ({command}: {described(self.process.exit_status)}): "
            f"{said.message if said is not None else text}",
            exit_status=self.process.exit_status,
            error_code=said.error_code if said is not None else None,
            logs=tuple(self.log.records),
        )

    # --- calls ----------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._dead is None and not self._stopping

    def call(self, call: Call, timeout_s: float, on_freed: Callable[[], None] | None = None) -> tuple[Result, float]:
        """Sends a call, waits for its result; the seconds from the one to the other come with it.

        Raises CallError. `on_freed` runs once, when the host can't touch the call's picture any more.
        """
        pending = self._begin(call, timeout_s, on_freed, None)
        try:
            self._wait_for(pending)
        except BaseException:
            self._orphan(pending)
            raise
        if pending.error is not None:
            raise pending.error
        assert pending.answer is not None
        return pending.answer, pending.took_s

    def _wait_for(self, pending: Pending) -> None:
        while not pending.ended:
            if self._try_to_lead(pending):
                try:
                    while not pending.ended and time.monotonic() < pending.deadline:
                        self._read_once(pending.deadline)
                finally:
                    self._stop_leading()
            elif pending.woken is not None:
                pending.woken.wait(max(0.0, pending.deadline - time.monotonic()))
            if not pending.ended and time.monotonic() >= pending.deadline:
                self._give_up(pending)

    def _orphan(self, pending: Pending) -> None:
        """Its caller was interrupted: the call is cancelled, and the attendant sees to its end and its slot's."""
        with self._lock:
            if pending.ended:
                return
            pending.future = Future()
            self._submitted += 1
        self._send(Cancel(request_id=pending.call.request_id), time.monotonic() + 1.0)
        self._wake_attendant()

    def submit(
        self, call: Call, timeout_s: float, on_freed: Callable[[], None] | None = None
    ) -> Future[tuple[Result, float]]:
        """Sends a call; the Future gets what `call` would return or raise. Waits only for room to send it."""
        future: Future[tuple[Result, float]] = Future()
        self._begin(call, timeout_s, on_freed, future)
        self._wake_attendant()
        return future

    def _begin(
        self,
        call: Call,
        timeout_s: float,
        on_freed: Callable[[], None] | None,
        future: Future[Any] | None,
    ) -> Pending:
        now = time.monotonic()
        deadline = now + timeout_s
        pending = Pending(call, now, deadline, on_freed, future)
        try:
            with self._lock:
                while len(self._calls) >= self._options.max_in_flight and self.alive:
                    if not self._room.wait(deadline - time.monotonic()):
                        self._refuse_for_room()
                self._check_alive()
                self._numbers += 1
                call.request_id = f"call-{self._numbers}"
                frame = self._connection.send(call, checked=True)
                if self._calls:
                    # A host takes its calls in turn: a call's time begins when those before it have ended.
                    pending.deadline += max(0.0, self._calls[next(reversed(self._calls))].deadline - now)
                self._calls[call.request_id] = pending
                if future is not None:
                    self._submitted += 1
        except LocalProtocolError:
            pending.free()
            if self._connection.state is ConnectionState.OPEN:
                raise
            # Its goodbye was read an instant ago, its end is not known yet.
            raise self._gone("it has closed its side") from None
        except BaseException:
            pending.free()
            raise
        try:
            written = self._write(frame, pending.deadline)
        except BaseException:
            self.kill(EndKind.STOPPED, "was written to by a thread that was interrupted")
            raise
        if not written and not self._stopping:
            # A torn frame can't be taken back: this host is of no use any more. Its end is what the call ends of.
            pending.deadline += _EXIT_PATIENCE_S
            self.kill(EndKind.NOT_READING, "did not read its stdin")
        return pending

    def _next_in_turn(self, now: float) -> None:
        """Under the lock: a call has ended, the time of the one behind it begins."""
        for pending in self._calls.values():
            if not pending.ended:
                due = now + pending.timeout_s
                if due < pending.deadline:
                    pending.deadline = due
                    if pending.woken is not None:
                        pending.woken.set()
                return

    def _refuse_for_room(self) -> NoReturn:
        raise CallTimeoutError(
            f"{len(self._calls)} calls are on their way already and none was answered in time; "
            "hint: raise the timeout, or run more hosts"
        )

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise self._gone(self._dead)
        if self._stopping:
            stopped = RunnerStoppedError("the runner was stopped: it takes no calls")
            stopped.sent = False
            raise stopped

    def _gone(self, how: str) -> HostDiedError:
        error = HostDiedError(f"the host is gone: {how}", end=self.end, logs=tuple(self.log.records))
        error.sent = False
        return error

    def _give_up(self, pending: Pending) -> None:
        """The caller's time is over; the slot stays leased until the host is done with it."""
        now = time.monotonic()
        with self._lock:
            request_id = pending.call.request_id
            error = CallTimeoutError(
                f"no answer to {pending.call.phase} within {now - pending.sent_at:.1f} s; the call was cancelled",
                request_id=request_id,
                logs=tuple(self.log.records),
            )
            if not pending.end(None, error, now):
                return
            if pending.future is not None:
                self._submitted -= 1
            self._overdue += 1
            self._next_in_turn(now)
        self._watcher.timed_out(pending)
        pending.resolve()
        self._send(Cancel(request_id=request_id), now + 1.0)
        # Nobody waits for its answer any more, but its slot does.
        self._wake_attendant()

    # --- leading --------------------------------------------------------------------------------------------

    def _try_to_lead(self, pending: Pending) -> bool:
        """Makes the caller the leader; otherwise it has an event that is set when it should look again."""
        with self._lock:
            if not self._leading:
                self._leading = True
                return True
            if pending.woken is None:
                pending.woken = threading.Event()
            elif not pending.ended:
                pending.woken.clear()
            if pending.ended:
                # The answer came before there was an event to be told by.
                pending.woken.set()
            return False

    def _stop_leading(self) -> None:
        with self._lock:
            self._leading = False
            if not self._calls and not self._stopping:
                return
            for other in self._calls.values():
                if other.woken is not None and not other.ended:
                    other.woken.set()
                    return
            attendant_wanted = self._submitted > 0 or self._stopping
        if attendant_wanted:
            self._wake_attendant()

    def _read_once(self, deadline: float) -> None:
        """As the leader: waits for bytes until the deadline or the next heartbeat, and delivers what came."""
        now = time.monotonic()
        tick_at = self._connection.deadline
        until = deadline if tick_at is None or tick_at > deadline else tick_at
        if self._poller.poll(max(0.0, until - now) * 1000 + 0.5):
            try:
                self._read_stdout()
            except BaseException:
                # What was read may be lost, so what follows can't be told apart any more.
                self.kill(EndKind.STOPPED, "was read by a thread that was interrupted")
                raise
        if tick_at is not None and time.monotonic() >= tick_at:
            self._tick()

    def _read_stdout(self) -> None:
        try:
            data = os.read(self.process.stdout, READ_BYTES)
        except OSError:
            data = b""
        now = time.monotonic()
        self.frames.append((now, "in", data[:KEPT_FRAME_BYTES]))
        with self._lock:
            events = self._connection.receive(data, now) if data else self._connection.receive_end()
            if len(events) == 1 and type(events[0]) is Result:
                ended = self._ended_with(events[0], None, now)
                if ended is None or ended.future is None:
                    return
                events = []
                resolved = [ended]
            else:
                resolved = []
        for pending in resolved:
            pending.resolve()
        for event in events:
            self._handle(event, now)
        if not data:
            self._host_is_gone()

    def _ended_with(self, answer: Result | Error, error: CallError | None, now: float) -> Pending | None:
        """Under the lock: the call that an answer belongs to has ended and its picture is free."""
        pending = self._calls.pop(answer.request_id or "", None)
        if pending is None:
            return None
        in_time = pending.end(answer if isinstance(answer, Result) else None, error, now)
        if in_time:
            if pending.future is not None:
                self._submitted -= 1
        else:
            # It timed out before: too late for the caller, in time for the slot.
            self._overdue -= 1
            self._keep_unexpected(answer)
        pending.free()
        self._room.notify()
        if self._calls:
            self._next_in_turn(now)
        return pending if in_time else None

    def _keep_unexpected(self, answer: Result | Error | Pong) -> None:
        self.unexpected.append(answer)
        del self.unexpected[:-KEPT_UNEXPECTED]
        self._watcher.unexpected(answer)

    def _handle(self, event: Any, now: float) -> None:
        """Everything that isn't the one result a caller waits for."""
        if isinstance(event, Result):
            self._end_call(event, None, now)
        elif isinstance(event, Error):
            self._on_error(event, now)
        elif isinstance(event, Pong):
            self._pong_awaited = False
        elif isinstance(event, HostHello):
            self.hello = event
        elif isinstance(event, UnexpectedAnswer):
            self._keep_unexpected(event.message)
        elif isinstance(event, Violation):
            self._on_violation(event, now)
        elif isinstance(event, Shutdown):
            self.acknowledged = True
        elif isinstance(event, PingDue):
            self._pong_awaited = True
            self._send(event.ping, now + 1.0)
        elif isinstance(event, PongMissed):
            self._pong_awaited = not event.unresponsive
            self._watcher.missed_pong(event.misses)
            if event.unresponsive and not self._watcher.unresponsive(event.misses):
                self.kill(EndKind.UNRESPONSIVE, f"did not answer {event.misses} pings in a row")
        elif isinstance(event, (PeerClosed, HandshakeExpired)):
            pass  # Told by the read that met it, and by the handshake's own deadline.

    def _end_call(self, answer: Result | Error, error: CallError | None, now: float) -> None:
        with self._lock:
            pending = self._ended_with(answer, error, now)
        if pending is not None:
            pending.resolve()

    def _on_error(self, event: Error, now: float) -> None:
        if event.request_id is None:
            self.host_error = event
            return
        data = event.data
        error = CallFailedError(
            event.message,
            error_code=event.error_code,
            kind=data.kind if data is not None else "unknown",
            retryable=data.retryable if data is not None else False,
            detail=data.detail if data is not None else None,
            request_id=event.request_id,
            logs=tuple(self.log.records),
        )
        self._end_call(event, error, now)

    def _on_violation(self, event: Violation, now: float) -> None:
        self._watcher.violated(event.kind, event.message)
        if event.reply is not None:
            self._send(event.reply, now + 1.0)
        if event.request_id is not None:
            error = ProtocolViolationError(
                f"the host's answer is malformed ({event.kind}): {event.message}",
                request_id=event.request_id,
                logs=tuple(self.log.records),
            )
            self._end_call(Error(request_id=event.request_id), error, now)
        if event.fatal:
            self.kill(EndKind.PROTOCOL_VIOLATION, f"broke the protocol ({event.kind}): {event.message}")

    # --- the attendant --------------------------------------------------------------------------------------

    def _wake_attendant(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake_write, b"\n")

    def _attend(self) -> None:
        quiet, leading = select.poll(), select.poll()
        for poller in (quiet, leading):
            poller.register(self._wake_read, select.POLLIN)
            poller.register(self.process.stderr, select.POLLIN)
            poller.register(self.process.pidfd, select.POLLIN)
        leading.register(self.process.stdout, select.POLLIN)
        while not self._attendant_stops:
            leads = self._attendant_leads()
            ready = dict((leading if leads else quiet).poll(self._attendant_patience_ms()))
            if ready.get(self._wake_read):
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            if ready.get(self.process.stderr):
                self.log.read()
                if self.log.ended:
                    for poller in (quiet, leading):
                        poller.unregister(self.process.stderr)
            if ready.get(self.process.pidfd):
                # Its last frames may still be in the pipe: somebody has to read to their end, which what it left
                # behind must not put off.
                self._exit_seen = True
                self.process.kill_tree()
                for poller in (quiet, leading):
                    poller.unregister(self.process.pidfd)
            if leads and ready.get(self.process.stdout):
                self._read_stdout()
                if self._dead is not None:
                    leading.unregister(self.process.stdout)
            self._tick()
            self._end_overdue()
            if leads:
                self._stop_leading()

    def _attendant_leads(self) -> bool:
        with self._lock:
            needed = self._submitted > 0 or self._overdue > 0 or self._pong_awaited or self._exit_seen or self._stopping
            if not needed or self._leading or self._dead is not None:
                return False
            self._leading = True
            return True

    def _attendant_patience_ms(self) -> float | None:
        with self._lock:
            deadlines = [pending.deadline for pending in self._calls.values() if pending.future and not pending.ended]
            tick_at = self._connection.deadline if self._dead is None else None
        if tick_at is not None:
            deadlines.append(tick_at)
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1 if deadlines else None

    def _tick(self) -> None:
        now = time.monotonic()
        with self._lock:
            events = self._connection.tick(now) if self._dead is None else []
        for event in events:
            self._handle(event, now)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        with self._lock:
            overdue = [p for p in self._calls.values() if p.future and not p.ended and now >= p.deadline]
        for pending in overdue:
            self._give_up(pending)

    # --- writing --------------------------------------------------------------------------------------------

    def _send(self, message: AnyMessage, deadline: float) -> bool:
        """Sends what is no call; False if it may not be sent any more, or could not be."""
        with self._lock:
            if self._dead is not None:
                return False
            try:
                frame = self._connection.send(message, time.monotonic())
            except LocalProtocolError:
                return False
        if self._write(frame, deadline):
            return True
        if self._torn and not self._stopping:
            self.kill(EndKind.NOT_READING, "did not read its stdin")
        return False

    def _write(self, frame: bytes, deadline: float) -> bool:
        """Writes a whole frame; False if the host doesn't take it, after which it may be torn."""
        if not self._write_lock.acquire(blocking=False):
            # Whoever holds it may be blocked by a host that doesn't read.
            left = deadline - time.monotonic()
            if not self._write_lock.acquire(timeout=max(0.0, min(left, threading.TIMEOUT_MAX))):
                return False
        try:
            if self._stdin_closed:
                return True
            self.frames.append((time.monotonic(), "out", frame[:KEPT_FRAME_BYTES]))
            try:
                written = os.write(self.process.stdin, frame)
            except BlockingIOError:
                written = 0
            except OSError:
                return True  # The host is gone: whoever reads learns it with the cause.
            return written == len(frame) or self._write_rest(frame, written, deadline)
        finally:
            self._write_lock.release()

    def _write_rest(self, frame: bytes, written: int, deadline: float) -> bool:
        poller = select.poll()
        poller.register(self.process.stdin, select.POLLOUT)
        while written < len(frame):
            left = deadline - time.monotonic()
            if left <= 0 or self._stopping:
                self._torn = written > 0
                return False
            if poller.poll(min(left, _WRITE_SLICE_S) * 1000):
                try:
                    written += os.write(self.process.stdin, memoryview(frame)[written:])
                except BlockingIOError:
                    continue
                except OSError:
                    return True
        return True

    # --- the end --------------------------------------------------------------------------------------------

    def condemn(self, kind: EndKind, text: str) -> bool:
        """Settles what this host's calls will be told it ended of; `text` continues "the host …"."""
        with self._lock:
            if self._dead is not None or self._killed_for is not None:
                return False
            self._killed_for = (kind, text)
            return True

    def kill(self, kind: EndKind, text: str) -> None:
        """This host can't be used any more; its calls end when the end of its stdout is read."""
        if not self.condemn(kind, text):
            return
        self.process.kill_tree()
        self._exit_seen = True
        self._wake_attendant()

    def _host_is_gone(self) -> None:
        """Its stdout has ended: ends every call with the cause."""
        if self.process.wait(_EXIT_PATIENCE_S) is None:
            # It closed its stdout and lives on: it can't answer, and it must not read a slot that is given away.
            self.process.kill_tree()
        self.log.settle(0.5)
        self._end_all()

    def _how_it_ended(self) -> HostEnd:
        status = self.process.exit_status
        if self._killed_for is not None:
            kind, text = self._killed_for
            return HostEnd(kind, f"{text} and was ended", status)
        if self._stopping:
            return HostEnd(EndKind.STOPPED, f"was stopped: it {described(status)}", status)
        end = end_of(status, self.log.records, self.process.new_oom_kills())
        if self.host_error is not None:
            end = attrs.evolve(end, text=f"{end.text}: {self.host_error.message}")
        return end

    def _end_all(self) -> None:
        now = time.monotonic()
        end = self._how_it_ended()
        with self._lock:
            first = self._dead is None
            if self.end is None:
                self.end = end
                self._dead = end.text
            calls = list(self._calls.values())
            self._calls.clear()
            self._submitted = self._overdue = 0
            ended = [pending for pending in calls if pending.end(None, self._error_of_end(self.end, pending), now)]
            for pending in calls:
                pending.free()
            self._room.notify_all()
        if first:
            self._watcher.died(self.end)
        for pending in ended:
            pending.resolve()

    def _error_of_end(self, end: HostEnd, pending: Pending) -> CallError:
        request_id, logs = pending.call.request_id, tuple(self.log.records)
        text = f"the host {end.text} while {pending.call.phase} was on its way"
        if end.kind is EndKind.STOPPED:
            return RunnerStoppedError(f"the runner was stopped: the host {end.text}", request_id=request_id, logs=logs)
        if end.kind is EndKind.PROTOCOL_VIOLATION:
            return ProtocolViolationError(text, request_id=request_id, logs=logs)
        return HostDiedError(text, end=end, request_id=request_id, logs=logs)

    def stop(self, *, politely: bool = True) -> int | None:
        """The stop ladder: shutdown, SIGTERM, SIGKILL, the whole tree. Returns the exit status.

        Not `politely` it begins with SIGTERM: for a host that has shown that it doesn't answer.
        """
        options = self._options
        self._stopping = True
        with self._lock:
            self._room.notify_all()
        self._wake_attendant()
        if politely and self._dead is None and not self._send(Shutdown(), time.monotonic() + 1.0):
            with self._write_lock:
                self._stdin_closed = True
                self.process.close_stdin()
        if self.process.wait(options.shutdown_timeout_s if politely else 0.0) is None:
            self.process.terminate()
            if self.process.wait(options.terminate_timeout_s) is None:
                self.process.kill_tree()
        # A host of another make may leave processes behind that still hold its pipes.
        self.process.kill_tree()
        self._join()
        self._end_all()
        with self._lock:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)
        with self._write_lock:
            self._stdin_closed = True
            self.process.release()
        return self.process.exit_status

    def _join(self) -> None:
        """Waits for the last frames to be read and for the attendant to leave."""
        deadline = time.monotonic() + _EXIT_PATIENCE_S
        while self._dead is None and self._attendant.is_alive() and time.monotonic() < deadline:
            self._wake_attendant()
            time.sleep(0.001)
        self._attendant_stops = True
        if self._attendant.is_alive():
            self._wake_attendant()
            self._attendant.join(_EXIT_PATIENCE_S)
        self.log.settle(0.2)
