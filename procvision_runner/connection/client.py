"""Carries bytes between `Connection` and the pipes, for any number of callers and one host.

The strategy: a caller that waits for its answer reads the pipe itself, so one caller at a time, the common case, needs
no hand-over between threads. The thread that reads is the leader (`leadership`). It handles what comes for others too,
and hands over to one of them when it has its own answer. The client's `ReaderThread` leads while only submitted calls
wait.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import attrs

from procvision_runner.connection.call_table import CallTable
from procvision_runner.connection.exchange import Exchange
from procvision_runner.connection.observer import Observer
from procvision_runner.connection.pending_call import Judge, PendingCall
from procvision_runner.connection.reader_thread import ReaderThread
from procvision_runner.connection.receiver import Receiver
from procvision_runner.connection.writer import KEPT_FRAMES, Record, Writer
from procvision_runner.errors import LaunchError
from procvision_runner.exit_causes import EndKind, HostEnd, described, end_of
from procvision_runner.options import RunnerOptions
from procvision_runner.process.host_log import HostLog
from procvision_runner.process.host_process import HostProcess
from procvision_sdk.masking import masked, masked_command
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.greeting import ARENA_CAPABILITY, PROTOCOL_VERSION
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
_END_HEAD_START_S = 0.25
"""How much earlier than the runner would kill it a host has to be gone by itself."""


class Client:
    """One connection to one running host."""

    def __init__(
        self,
        process: HostProcess,
        options: RunnerOptions,
        log: HostLog,
        observer: Observer | None = None,
    ) -> None:
        self.process = process
        self.log = log
        self.record: Record = deque(maxlen=KEPT_FRAMES)
        """What the general code has kept of `frames`."""
        self.kept_by_the_core: Callable[[], list[tuple[float, str, bytes]]] = list
        """What the compiled core has kept of them."""
        self._options = options
        self._observer = observer if observer is not None else Observer()
        connection = Connection(
            Role.RUNNER,
            now=time.monotonic(),
            max_frame_bytes=options.max_frame_bytes,
            handshake_timeout_s=options.handshake_timeout_s,
            heartbeat=options.heartbeat,
        )
        self.table = table = CallTable(connection, options.max_in_flight, log, self._observer)
        self._leadership = table.leadership
        self._writer = Writer(process, self.record, self._before_waiting)
        self._receiver = receiver = Receiver(
            process,
            table,
            log,
            self._observer,
            self.record,
            send=self._send,
            time_out=self._time_out,
            kill=self.kill,
            host_leaves=self._host_leaves,
            host_is_gone=self._host_is_gone,
        )
        self._reader_thread = ReaderThread(
            process, table, receiver, log, give_up=self._give_up, outlived=self._host_outlived
        )
        self.exchange = Exchange(self, table, self._writer, receiver)
        self._killed_for: tuple[EndKind, str] | None = None

    # --- what is known --------------------------------------------------------------------------------------

    @property
    def hello(self) -> HostHello | None:
        """The host's hello; None before it has come."""
        return self._receiver.hello

    @property
    def frames(self) -> list[tuple[float, str, bytes]]:
        """The last bytes that went "out" and came "in", each with its monotonic time."""
        kept = sorted([*self.record, *self.kept_by_the_core()], key=lambda entry: entry[0])
        return kept[-KEPT_FRAMES:]

    @property
    def reads_arena(self) -> bool:
        """Whether the host's hello shows that it reads pictures in the arena."""
        return self.hello is not None and ARENA_CAPABILITY in self.hello.capabilities

    @property
    def host_error(self) -> Error | None:
        """The last `error` frame of the host that names no call."""
        return self._receiver.host_error

    @property
    def acknowledged(self) -> bool:
        """Whether the host's last frame, its answer to shutdown, has come."""
        return self._receiver.acknowledged

    @property
    def unexpected(self) -> list[Result | Error | Pong]:
        """The last answers that came late, came twice or answer no call. None is taken for another call's answer."""
        return self.table.unexpected

    @property
    def end(self) -> HostEnd | None:
        """How the host ended; None while it has not."""
        return self.table.end

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self.table.alive

    # --- the handshake --------------------------------------------------------------------------------------

    def shake_hands(self) -> None:
        """Wait for the host's hello and answer it. Raises LaunchError."""
        table = self.table
        table.lead_handshake(self)
        self._reader_thread.start()
        timeout_s = self._options.handshake_timeout_s
        now = time.monotonic()
        deadline = now + timeout_s
        try:
            while self.hello is None and table.end is None and now < deadline:
                now = self._receiver.read_once(now, deadline)
        finally:
            self._hand_over(self)
        if self.hello is None:
            end = table.end
            raise self.launch_error(end.text if end is not None else f"no hello came within {timeout_s:g} s")
        if "pending" not in self.hello.capabilities:
            table.allow_one_at_a_time()
        heartbeat = self._options.heartbeat
        hello = RunnerHello(runner_version=PROTOCOL_VERSION)
        if heartbeat is not None:
            hello.heartbeat_interval_ms = int(heartbeat.interval_s * 1000)
            hello.heartbeat_grace_ms = int(heartbeat.grace_s * 1000)
        if not self._send(hello, deadline):
            raise self.launch_error("it doesn't read its stdin")
        self._reader_thread.wake()

    def launch_error(self, text: str) -> LaunchError:
        """Return a LaunchError that tells how the host ended, and the host's own error or else `text`."""
        said = self.host_error
        if self.end is not None or said is not None:
            self.process.wait(_EXIT_PATIENCE_S)
        self.log.settle(0.5)
        command = " ".join(masked_command(self.process.command))
        why, mark, hint = masked(said.message if said is not None else text).partition("; hint: ")
        return LaunchError(
            f"the host did not become ready: {why} ({command}: {described(self.process.exit_status)}){mark}{hint}",
            exit_status=self.process.exit_status,
            error_code=said.error_code if said is not None else None,
            retryable=self.process.exit_status == os.EX_TEMPFAIL or _may_be_over(said),
            logs=tuple(self.log.records),
        )

    # --- calls ----------------------------------------------------------------------------------------------

    def call(self, call: Call, timeout_s: float, on_freed: Callable[[], None] | None = None) -> tuple[Result, float]:
        """Send a call and wait for its result. Return the result and the seconds that it took.

        `on_freed` runs once, when the host can't touch the call's picture any more. Raises CallError.
        """
        now = time.monotonic()
        pending = PendingCall(call, now, timeout_s, on_freed, deadline=now + timeout_s)
        try:
            if not self.exchange.carry(pending):
                self.carry_beside_others(pending)
        except BaseException:
            self.orphan(pending)
            raise
        if pending.error is not None:
            raise pending.error
        assert pending.answer is not None
        return pending.answer, pending.took_s

    def carry_beside_others(self, pending: PendingCall) -> None:
        """Carry a call to its end, whatever it is, where others may be on their way or another thread reads."""
        self._begin(pending)
        self.wait_for(pending)

    def wait_for(self, pending: PendingCall) -> None:
        """Wait for the end of a call that was sent. Its caller reads where no other thread does."""
        table, leadership = self.table, self._leadership
        while not pending.ended:
            if leadership.leader is pending or table.try_to_lead(pending):
                try:
                    now = time.monotonic()
                    while not pending.ended and now < pending.deadline and leadership.leader is pending:
                        now = self._receiver.read_once(now, pending.deadline)
                        if table.reader_oversleeps:
                            self._wake_sleeping_reader()
                finally:
                    # With its answer, the last caller on the way has stopped leading already.
                    if leadership.leader is pending:
                        self._hand_over(pending)
            elif pending.woken is not None:
                pending.woken.wait(max(0.0, pending.deadline - time.monotonic()))
            if not pending.ended and time.monotonic() >= pending.deadline:
                self._give_up(pending)
        if leadership.leader is pending:
            self._hand_over(pending)
        if self._receiver.pong_awaited:
            # A pong that no thread reads would count as missed.
            self._reader_thread.wake()

    def _wake_sleeping_reader(self) -> None:
        self.table.reader_oversleeps = False
        self._reader_thread.wake()

    def orphan(self, pending: PendingCall) -> None:
        """Cancel a call whose caller was interrupted. The reader thread sees to its end and to its slot's."""
        if self._leadership.leader is pending:
            self._hand_over(pending)
        if self.table.orphan(pending):
            self._cancel(pending)

    def submit(
        self,
        call: Call,
        timeout_s: float,
        on_freed: Callable[[], None] | None = None,
        judge: Judge | None = None,
    ) -> Future[Any]:
        """Send a call and return a Future of what `call` would return or raise. Waits only for room.

        `judge` turns what `call` would return into what the Future is given, on the thread that reads the result.
        The Future can't be cancelled.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        now = time.monotonic()
        pending = PendingCall(call, now, timeout_s, on_freed, future, judge, deadline=now + timeout_s)
        self._begin(pending)
        if pending.needs_wake:
            self._reader_thread.wake()
        return future

    def _begin(self, pending: PendingCall) -> None:
        frame = self.table.begin(pending)
        try:
            written = self._writer.write(frame, pending.sent_at, pending.deadline, pending)
        except BaseException:
            self.kill(EndKind.STOPPED, "was written to by a thread that was interrupted")
            raise
        if not written:
            self.not_written(pending)

    def not_written(self, pending: PendingCall) -> None:
        """End a host that took a call's frame in part at most, in time. The call ends with the host."""
        if not self.table.stopping:
            # A torn frame can't be taken back: this host is of no use any more.
            pending.deadline += _EXIT_PATIENCE_S
            self.kill(EndKind.NOT_READING, "did not read its stdin")

    def _before_waiting(self, pending: PendingCall | None) -> None:
        # A host that doesn't read may itself wait for somebody to read what it writes.
        if pending is not None and self._leadership.leader is pending:
            self._hand_over(pending)

    def _give_up(self, pending: PendingCall) -> None:
        """End and cancel a call whose time is over. Its slot stays leased until the host is done with it."""
        now = time.monotonic()
        if not self.table.give_up(pending, now):
            return
        self._observer.timed_out(pending)
        # Only the reader thread ends calls that have a Future.
        self.table.resolve(pending, reading=self._leadership.leader is self._reader_thread)
        if self.table.connection.answers_without_ids:
            self.kill(EndKind.TIMEOUT, "did not answer in time, and its answers have no ids to tell a late one by")
            return
        self._cancel(pending)

    def _time_out(self, answer: Error, now: float) -> None:
        """End a call that the host has answered because its time is over. Its slot stays leased."""
        pending = self.table.time_out(answer, now)
        if pending is not None:
            self._observer.timed_out(pending)
            self.table.resolve(pending, reading=True)
        # It asks the host until the algorithm is done with the call.
        self._reader_thread.wake()

    def _cancel(self, pending: PendingCall) -> None:
        """Ask the host to stop a call that nobody waits for any more, if the host understands that."""
        if self.hello is not None and "cancel" in self.hello.capabilities:
            self._send(Cancel(request_id=pending.call.request_id), time.monotonic() + 1.0)
        # Its answer is still to come, and frees its slot.
        self._reader_thread.wake()

    def _hand_over(self, leader: object) -> None:
        if self.table.hand_over(leader):
            self._reader_thread.wake()

    def _send(self, message: AnyMessage, deadline: float) -> bool:
        """Send a message that is no call. Return False if it may not be sent any more, or could not be."""
        now = time.monotonic()
        frame = self.table.frame(message, now)
        if frame is None:
            return False
        if self._writer.write(frame, now, deadline):
            return True
        if self._writer.torn and not self.table.stopping:
            self.kill(EndKind.NOT_READING, "did not read its stdin")
        return False

    # --- the end --------------------------------------------------------------------------------------------

    def condemn(self, kind: EndKind, text: str) -> bool:
        """Decide what this host's calls will end with; `text` continues "the host …".

        Return False if that was decided before.
        """
        with self.table.lock:
            if self.table.end is not None or self._killed_for is not None:
                return False
            self._killed_for = (kind, text)
            return True

    def kill(self, kind: EndKind, text: str) -> None:
        """Kill a host that can't be used any more. Its calls end when the end of its stdout is read."""
        if not self.condemn(kind, text):
            return
        self.process.kill_tree()
        self._reader_thread.exit_seen = True
        self._reader_thread.wake()

    def _host_leaves(self) -> None:
        """See that a host is gone soon that has sent its last frame, although nobody asked it to leave.

        It takes no call any more: one that stayed would hold up the line for ever.
        """
        self._reader_thread.leaves_by = time.monotonic() + _EXIT_PATIENCE_S
        self._reader_thread.wake()

    def _host_outlived(self) -> None:
        if not self.table.stopping:
            self.kill(EndKind.PROTOCOL_VIOLATION, f"said that it leaves, and was there {_EXIT_PATIENCE_S:g} s later")

    def _host_is_gone(self) -> None:
        """End every call with the cause: the host's stdout has ended."""
        if self.process.wait(_EXIT_PATIENCE_S) is None:
            # It closed its stdout and lives on. It can't answer, and it must not read a slot that is leased again.
            self.process.kill_tree()
        self.log.settle(0.5)
        self.table.end_all(self._how_it_ended(), time.monotonic())

    def _how_it_ended(self) -> HostEnd:
        status = self.process.exit_status
        if self._killed_for is not None:
            kind, text = self._killed_for
            what, hint, advice = text.partition("; hint: ")
            return HostEnd(kind, f"{what} and was ended{hint}{advice}", status)
        if self.table.stopping:
            return HostEnd(EndKind.STOPPED, f"was stopped: it {described(status)}", status)
        end = end_of(status, self.log.records, self.process.new_oom_kills())
        if self.host_error is not None:
            end = attrs.evolve(end, text=f"{end.text}: {self.host_error.message}")
        return end

    def stop(self, *, politely: bool = True, timeout_s: float | None = None) -> int | None:
        """End the host step by step: shutdown, SIGTERM, SIGKILL for the whole tree. Return the exit status.

        Not `politely`, it begins with SIGTERM, for a host that has shown that it doesn't answer.
        `timeout_s` is the time until SIGKILL; None is that of the options.
        """
        table = self.table
        shutdown_s, terminate_s = self._steps_s(timeout_s)
        table.stopping = self._writer.given_up = True
        with table.lock:
            table.room.notify_all()
        self._free_the_reader()
        self._reader_thread.wake()
        if politely and table.end is None:
            shutdown = Shutdown(timeout_ms=self._drain_ms(shutdown_s + terminate_s))
            if not self._send(shutdown, time.monotonic() + min(1.0, shutdown_s)):
                self._writer.close(self.process.close_stdin)
        if self.process.wait(shutdown_s if politely else 0.0) is None:
            self.process.terminate()
            if self.process.wait(terminate_s) is None:
                self.process.kill_tree()
        # A host of another make may leave processes behind that still hold its pipes.
        self.process.kill_tree()
        self._join()
        table.end_all(self._how_it_ended(), time.monotonic())
        self._reader_thread.close()
        self._writer.close(self.process.release)
        self.log.close()
        return self.process.exit_status

    def _steps_s(self, timeout_s: float | None) -> tuple[float, float]:
        """Return how long the host has after shutdown, and then after SIGTERM."""
        shutdown_s, terminate_s = self._options.shutdown_timeout_s, self._options.terminate_timeout_s
        if timeout_s is None:
            return shutdown_s, terminate_s
        return timeout_s * shutdown_s / (shutdown_s + terminate_s), timeout_s * terminate_s / (shutdown_s + terminate_s)

    def _drain_ms(self, timeout_s: float) -> int | None:
        """Return what to ask of a host that is killed after `timeout_s`; None where it leaves in time by itself.

        A host that ends itself leaves its stacks in the log and tears down what it started.
        """
        own_ms = self.hello.drain_timeout_ms if self.hello is not None else None
        asked_ms = max(1, int((timeout_s - min(_END_HEAD_START_S, timeout_s / 4)) * 1000))
        return asked_ms if own_ms is not None and asked_ms < own_ms else None

    def _join(self) -> None:
        """Wait until the last frames are read and the reader thread has left."""
        deadline = time.monotonic() + _EXIT_PATIENCE_S
        while self.end is None and self._reader_thread.alive and time.monotonic() < deadline:
            self._free_the_reader()
            self._reader_thread.wake()
            time.sleep(0.001)
        self._reader_thread.leave()
        deadline = time.monotonic() + _EXIT_PATIENCE_S
        while self._reader_thread.alive and not self._reader_thread.is_any_of(self._leadership.callbacks):
            if time.monotonic() >= deadline:
                break
            self._reader_thread.join(0.02)
        self.log.settle(0.2)

    def _free_the_reader(self) -> None:
        """Let another thread read if the leader runs a callback, which may wait for this very stop."""
        callbacks = self._leadership.callbacks
        if not callbacks:
            return
        held_up = self._reader_thread if self._reader_thread.is_any_of(callbacks) else None
        self.table.free_held_up_leader(held_up)
        if held_up is not None:
            self._reader_thread = held_up.replaced()


def _may_be_over(said: Error | None) -> bool:
    """Return whether a host says of its error that the same launch may succeed later."""
    return said is not None and said.data is not None and said.data.retryable
