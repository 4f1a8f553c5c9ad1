"""Bytes to `Connection` and back, for any number of callers and one host.

The strategy: a caller that waits for its answer reads the pipe itself, so the common case, one caller at a time,
meets no hand-over between threads. Whoever reads is the *leader* and delivers what comes for others too; when it
has its own answer it makes one of the others the leader. One thread of the client's own, the `Attendant`, leads while
only submitted calls wait.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import attrs

from procvision_runner.connection.call_table import Exchange
from procvision_runner.connection.observer import Watcher
from procvision_runner.connection.pending_call import Judge, Pending
from procvision_runner.connection.reader_thread import Attendant
from procvision_runner.connection.receiver import Hearing
from procvision_runner.connection.writer import KEPT_FRAMES, Record, Writer
from procvision_runner.errors import LaunchError
from procvision_runner.exit_causes import EndKind, HostEnd, described, end_of
from procvision_runner.options import RunnerOptions
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.dialect import Dialect
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
from procvision_sdk.wire.tables import Role

_EXIT_PATIENCE_S = 2.0
"""How long the end of stdout may precede the end of the process."""
_SHAKING_HANDS = "handshake"
"""Who leads before there are calls."""


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
        self.frames: Record = deque(maxlen=KEPT_FRAMES)
        """The last bytes that went "out" and came "in", each with its monotonic instant."""
        self._options = options
        self._watcher = watcher if watcher is not None else Watcher()
        connection = Connection(
            Role.RUNNER,
            now=time.monotonic(),
            max_frame_bytes=options.max_frame_bytes,
            handshake_timeout_s=options.handshake_timeout_s,
            heartbeat=options.heartbeat,
            dialect=dialect,
        )
        self._exchange = exchange = Exchange(connection, options.max_in_flight, log, self._watcher)
        self._writer = Writer(process, self.frames, self._before_waiting)
        self._hearing = hearing = Hearing(
            process,
            exchange,
            log,
            self._watcher,
            self.frames,
            send=self._send,
            kill=self.kill,
            host_is_gone=self._host_is_gone,
        )
        self._attendant = Attendant(process, exchange, hearing, log, give_up=self._give_up)
        self._killed_for: tuple[EndKind, str] | None = None

    # --- what there is to know ------------------------------------------------------------------------------

    @property
    def hello(self) -> HostHello | None:
        """The host's hello, once it has come."""
        return self._hearing.hello

    @property
    def host_error(self) -> Error | None:
        """What the host said of itself in an `error` frame without a request id."""
        return self._hearing.host_error

    @property
    def acknowledged(self) -> bool:
        """Whether the host's last frame, its answer to shutdown, has come."""
        return self._hearing.acknowledged

    @property
    def unexpected(self) -> list[Result | Error | Pong]:
        """The last late, doubled and invented answers: kept to be looked at, never taken for another's."""
        return self._exchange.unexpected

    @property
    def end(self) -> HostEnd | None:
        """How the host ended, once it has."""
        return self._exchange.end

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self._exchange.alive

    # --- the handshake --------------------------------------------------------------------------------------

    def shake_hands(self) -> None:
        """Waits for the host's hello and answers it. Raises LaunchError."""
        exchange = self._exchange
        exchange.leader = _SHAKING_HANDS
        self._attendant.start()
        timeout_s = self._options.handshake_timeout_s
        now = time.monotonic()
        deadline = now + timeout_s
        try:
            while self.hello is None and exchange.end is None and now < deadline:
                now = self._hearing.read_once(now, deadline)
        finally:
            self._stop_leading()
        if self.hello is None:
            end = exchange.end
            raise self.launch_error(end.text if end is not None else f"no hello came within {timeout_s:g} s")
        if "pending" not in self.hello.capabilities:
            exchange.one_at_a_time()
        heartbeat = self._options.heartbeat
        hello = RunnerHello(runner_version=PROTOCOL_VERSION)
        if heartbeat is not None:
            hello.heartbeat_interval_ms = int(heartbeat.interval_s * 1000)
            hello.heartbeat_grace_ms = int(heartbeat.grace_s * 1000)
        if not self._send(hello, deadline):
            raise self.launch_error("it doesn't read its stdin")
        self._attendant.wake()

    def launch_error(self, text: str) -> LaunchError:
        """A LaunchError with what the host said and how it ended."""
        said = self.host_error
        if self.end is not None or said is not None:
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

    def call(self, call: Call, timeout_s: float, on_freed: Callable[[], None] | None = None) -> tuple[Result, float]:
        """Sends a call, waits for its result; the seconds from the one to the other come with it.

        Raises CallError. `on_freed` runs once, when the host can't touch the call's picture any more.
        """
        pending = Pending(call, time.monotonic(), timeout_s, on_freed)
        try:
            self._begin(pending)
            self._wait_for(pending)
        except BaseException:
            self._orphan(pending)
            raise
        if pending.error is not None:
            raise pending.error
        assert pending.answer is not None
        return pending.answer, pending.took_s

    def _wait_for(self, pending: Pending) -> None:
        exchange = self._exchange
        while not pending.ended:
            if exchange.leader is pending or exchange.try_to_lead(pending):
                try:
                    now = pending.sent_at
                    while not pending.ended and now < pending.deadline and exchange.leader is pending:
                        now = self._hearing.read_once(now, pending.deadline)
                        if exchange.attendant_late:
                            self._wake_late_attendant()
                finally:
                    # With its answer the last leader has stopped already.
                    if exchange.leader is pending:
                        self._stop_leading()
            elif pending.woken is not None:
                pending.woken.wait(max(0.0, pending.deadline - time.monotonic()))
            if not pending.ended and time.monotonic() >= pending.deadline:
                self._give_up(pending)
        if self._hearing.pong_awaited:
            # A pong that nobody reads would count as missed.
            self._attendant.wake()

    def _wake_late_attendant(self) -> None:
        self._exchange.attendant_late = False
        self._attendant.wake()

    def _orphan(self, pending: Pending) -> None:
        """Its caller was interrupted: the call is cancelled, and the attendant sees to its end and its slot's."""
        if self._exchange.leader is pending:
            self._stop_leading()
        if self._exchange.orphan(pending):
            self._cancel(pending)

    def submit(
        self,
        call: Call,
        timeout_s: float,
        on_freed: Callable[[], None] | None = None,
        judge: Judge | None = None,
    ) -> Future[Any]:
        """Sends a call; the Future, which can't be cancelled, gets what `call` would return or raise.

        `judge` makes of the former what the Future is given, on the thread that has read it. Waits only for room.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        pending = Pending(call, time.monotonic(), timeout_s, on_freed, future, judge)
        self._begin(pending)
        if pending.unattended:
            self._attendant.wake()
        return future

    def _begin(self, pending: Pending) -> None:
        frame = self._exchange.begin(pending)
        try:
            written = self._writer.write(frame, pending.sent_at, pending.deadline, pending)
        except BaseException:
            self.kill(EndKind.STOPPED, "was written to by a thread that was interrupted")
            raise
        if not written and not self._exchange.stopping:
            # A torn frame can't be taken back: this host is of no use any more. Its end is what the call ends of.
            pending.deadline += _EXIT_PATIENCE_S
            self.kill(EndKind.NOT_READING, "did not read its stdin")

    def _before_waiting(self, pending: Pending | None) -> None:
        # A host that doesn't read may itself wait for somebody to read what it writes.
        if pending is not None and self._exchange.leader is pending:
            self._stop_leading()

    def _give_up(self, pending: Pending) -> None:
        """The caller's time is over; the slot stays leased until the host is done with it."""
        now = time.monotonic()
        if not self._exchange.give_up(pending, now):
            return
        self._watcher.timed_out(pending)
        # Only the attendant ends calls that have a Future.
        self._exchange.resolve(pending, reading=self._exchange.leader is self._attendant)
        self._cancel(pending)

    def _cancel(self, pending: Pending) -> None:
        """Asks a host that understands it to stop a call that nobody waits for any more."""
        if self.hello is not None and "cancel" in self.hello.capabilities:
            self._send(Cancel(request_id=pending.call.request_id), time.monotonic() + 1.0)
        # Its answer is still to come, and its slot waits for that.
        self._attendant.wake()

    def _stop_leading(self) -> None:
        if self._exchange.stop_leading():
            self._attendant.wake()

    def _send(self, message: AnyMessage, deadline: float) -> bool:
        """Sends what is no call; False if it may not be sent any more, or could not be."""
        now = time.monotonic()
        frame = self._exchange.frame(message, now)
        if frame is None:
            return False
        if self._writer.write(frame, now, deadline):
            return True
        if self._writer.torn and not self._exchange.stopping:
            self.kill(EndKind.NOT_READING, "did not read its stdin")
        return False

    # --- the end --------------------------------------------------------------------------------------------

    def condemn(self, kind: EndKind, text: str) -> bool:
        """Settles what this host's calls will be told it ended of; `text` continues "the host …"."""
        with self._exchange.lock:
            if self._exchange.end is not None or self._killed_for is not None:
                return False
            self._killed_for = (kind, text)
            return True

    def kill(self, kind: EndKind, text: str) -> None:
        """This host can't be used any more; its calls end when the end of its stdout is read."""
        if not self.condemn(kind, text):
            return
        self.process.kill_tree()
        self._attendant.exit_seen = True
        self._attendant.wake()

    def _host_is_gone(self) -> None:
        """Its stdout has ended: ends every call with the cause."""
        if self.process.wait(_EXIT_PATIENCE_S) is None:
            # It closed its stdout and lives on: it can't answer, and it must not read a slot that is given away.
            self.process.kill_tree()
        self.log.settle(0.5)
        self._exchange.end_all(self._how_it_ended(), time.monotonic())

    def _how_it_ended(self) -> HostEnd:
        status = self.process.exit_status
        if self._killed_for is not None:
            kind, text = self._killed_for
            return HostEnd(kind, f"{text} and was ended", status)
        if self._exchange.stopping:
            return HostEnd(EndKind.STOPPED, f"was stopped: it {described(status)}", status)
        end = end_of(status, self.log.records, self.process.new_oom_kills())
        if self.host_error is not None:
            end = attrs.evolve(end, text=f"{end.text}: {self.host_error.message}")
        return end

    def stop(self, *, politely: bool = True) -> int | None:
        """The stop ladder: shutdown, SIGTERM, SIGKILL, the whole tree. Returns the exit status.

        Not `politely` it begins with SIGTERM: for a host that has shown that it doesn't answer.
        """
        options, exchange = self._options, self._exchange
        exchange.stopping = self._writer.given_up = True
        with exchange.lock:
            exchange.room.notify_all()
        self._free_the_reader()
        self._attendant.wake()
        if politely and exchange.end is None and not self._send(Shutdown(), time.monotonic() + 1.0):
            self._writer.close(self.process.close_stdin)
        if self.process.wait(options.shutdown_timeout_s if politely else 0.0) is None:
            self.process.terminate()
            if self.process.wait(options.terminate_timeout_s) is None:
                self.process.kill_tree()
        # A host of another make may leave processes behind that still hold its pipes.
        self.process.kill_tree()
        self._join()
        exchange.end_all(self._how_it_ended(), time.monotonic())
        self._attendant.close()
        self._writer.close(self.process.release)
        self.log.close()
        return self.process.exit_status

    def _join(self) -> None:
        """Waits for the last frames to be read and for the attendant to leave."""
        deadline = time.monotonic() + _EXIT_PATIENCE_S
        while self.end is None and self._attendant.alive and time.monotonic() < deadline:
            self._free_the_reader()
            self._attendant.wake()
            time.sleep(0.001)
        self._attendant.leave()
        deadline = time.monotonic() + _EXIT_PATIENCE_S
        while self._attendant.alive and not self._attendant.is_any_of(self._exchange.resolving):
            if time.monotonic() >= deadline:
                break
            self._attendant.join(0.02)
        self.log.settle(0.2)

    def _free_the_reader(self) -> None:
        """Whoever reads may be in a callback of a Future, and that may wait for this very stop: another reads on."""
        exchange = self._exchange
        if not exchange.resolving:
            return
        stuck = self._attendant if self._attendant.is_any_of(exchange.resolving) else None
        with exchange.lock:
            if exchange.leader is not None and exchange.leader in (stuck, *exchange.resolving.values()):
                exchange.leader = None
        if stuck is not None:
            self._attendant = stuck.replaced()
