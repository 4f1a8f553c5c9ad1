"""The main thread's part of the conversation: it reads a call, executes it itself and writes the answer.

The strategy: one of two threads reads at any time. The main thread does as long as calls are short, so that these
meet no hand-over between threads; the `Standby` takes over when a call lasts, and while the algorithm is loaded.
Warning: a blocking read never happens under the conversation's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import _exit
from time import monotonic
from typing import TYPE_CHECKING, Any

from procvision_host import exits
from procvision_host.conversation.drain import Drain
from procvision_host.conversation.shared import Conversation, told_too_late
from procvision_host.conversation.standby import Standby
from procvision_host.process.channels import HostEnds, wait_for_stray_output
from procvision_host.process.shared_page import SharedPage
from procvision_sdk.cancellation import Cancellation
from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.events import HandshakeExpired
from procvision_sdk.wire.messages import AlgorithmName, AnyMessage, Call, Error, Result, Shutdown
from procvision_sdk.wire.tables import ConnectionState

if TYPE_CHECKING:
    from procvision_host.algorithm.worker import Worker
    from procvision_host.halves.cell import Records

IDLE_S = 0.02
"""How long a host that is ready waits for a call that was waiting for it, as after a restart, before it does something
for the calls that come later."""


class Loop:
    """The host's conversation with its runner, from the handshake to the last frame."""

    __slots__ = ("_answered", "_worker", "board", "calls", "conversation", "ends", "is_copy", "standby")

    def __init__(
        self,
        ends: HostEnds,
        connection: Connection,
        board: SharedPage,
        *,
        shutdown_grace_s: float,
        drain_timeout_s: float,
    ) -> None:
        self.ends = ends
        self.board = board
        self.conversation = Conversation(ends, connection, board, Drain(shutdown_grace_s, drain_timeout_s))
        self.standby = Standby(self.conversation, ends)
        self.calls = 0
        self.is_copy = False

    @property
    def exit_status(self) -> int:
        """The exit status of the process."""
        return self.conversation.exit_status

    @exit_status.setter
    def exit_status(self, exit_status: int) -> None:
        self.conversation.exit_status = exit_status

    # --- before the first call ------------------------------------------------------------------------------

    def shake_hands(self) -> bool:
        """Wait for the runner's hello. Return False if the host has to leave instead."""
        conversation = self.conversation
        connection = conversation.connection
        while connection.state is ConnectionState.HANDSHAKING and not conversation.draining:
            deadline = connection.deadline
            conversation.reader.pump(None if deadline is None else max(0.0, deadline - monotonic()))
            for event in connection.tick(monotonic()):
                if isinstance(event, HandshakeExpired):
                    conversation.send(
                        error_message(
                            ErrorCode.TIMEOUT,
                            "handshake_timeout",
                            f"the runner's hello did not come within {event.timeout_s:g} s; "
                            "hint: answer the host's hello at once, or start it with --handshake-timeout-s 0",
                        )
                    )
                    conversation.drain(exits.NO_HANDSHAKE, acknowledged=False)
        return not conversation.draining

    def start_standby(self) -> None:
        """Start the second thread. It reads from now on, until `serve`."""
        self.standby.start()

    def record(self, records: Records) -> None:
        """Record answers for observers from now on."""
        self.conversation.records = records

    def tell_of_drain(self, told: Callable[[int], None]) -> None:
        """Call `told` once with the exit status, when the drain begins. It must only pass that on."""
        self.conversation.told_of_drain = told

    def loading_failed(
        self, code: str, kind: str, message: str, exit_status: int, detail: Any = None, *, retryable: bool = False
    ) -> None:
        """Say that the algorithm can't be used, and begin to drain. `retryable`: the same launch may succeed later."""
        self.conversation.send(error_message(code, kind, message, retryable=retryable, detail=detail))
        self.conversation.drain(exit_status, acknowledged=True)

    def made(self, cancellation: Cancellation) -> None:
        """Take the cancellation flag of the algorithm, which is constructed."""
        self.conversation.cancellation = cancellation

    def loaded(self, algorithm: AlgorithmName, host_version: str) -> None:
        """Note that the algorithm is set up. The first pong in state ready tells what it is."""
        conversation = self.conversation
        conversation.versions = (algorithm, host_version)
        with conversation.lock:
            conversation.status.on("loaded")

    # --- calls ----------------------------------------------------------------------------------------------

    def serve(
        self,
        worker: Worker,
        execute: Callable[[Call], Result | Error],
        answered: Callable[[Call, AnyMessage, float], None],
        *,
        steady: bool,
        when_idle: Callable[[], object] | None = None,
    ) -> None:
        """Execute calls until the drain. `answered` is told of each after its answer was written.

        With `steady`, calls like those before them are the worker's alone: nothing of `execute` or `answered` but the
        worker's own and the records for observers has to see them. `when_idle` is called once, if no call comes within
        IDLE_S: it takes a first call's time.
        """
        conversation, standby = self.conversation, self.standby
        waiting = conversation.waiting
        self._worker, self._answered = worker, answered
        pump: Callable[[], object] | None = None if steady else partial(conversation.reader.pump, None)
        while True:
            if waiting:
                call = self._next_call()
                if call is not None:
                    self.finish(call, execute(call))
            elif conversation.draining:
                # The host still answers pings while teardown() runs.
                standby.take_over()
                return
            elif pump is None:
                # Made while the runner takes the answer that the algorithm is set up. The second thread still reads.
                from procvision_host.conversation.steady_calls import steady_pump

                pump = steady_pump(self, worker)
            elif standby.reads:
                standby.give_back()
            elif when_idle is not None:
                conversation.reader.pump(IDLE_S)
                if not (waiting or conversation.draining):
                    standby.take_over()  # it answers pings meanwhile
                    when_idle()
                when_idle = None
            else:
                pump()

    def finish(self, call: Call, answer: Result | Error) -> None:
        """Write a call's answer, and do what follows from it."""
        # A new process has to take this one's place where an algorithm's exception says so.
        replace = type(answer) is Error and self._worker.wants_replacing
        answer, elapsed_ms = self._give(call, answer)
        self._answered(call, answer, elapsed_ms)
        if replace:
            self.conversation.drain(exits.ALGORITHM_FAILED, acknowledged=True)

    def _next_call(self) -> Call | None:
        conversation = self.conversation
        lock = conversation.lock
        lock.acquire()
        try:
            if not conversation.waiting:
                return None
            call = conversation.waiting.popleft()
            conversation.status.on("call")
            conversation.abandoned = conversation.cancellation.requested = False
            conversation.running_since = monotonic()
            conversation.running = call
        finally:
            lock.release()
        self.calls += 1
        self.board.call_begins(self.calls, (call.request_id or "").encode("utf-8", "replace"))
        if self.standby.sleeps:
            self.standby.wake()
        return call

    def _give(self, call: Call, answer: Result | Error) -> tuple[Result | Error, float]:
        """Write a call's answer. Return what was answered, and the milliseconds since the call began."""
        if self.is_copy:
            _exit(0)
        conversation = self.conversation
        wait_for_stray_output()
        # The algorithm has had its hands on the process: the frames' descriptors may not be what they were.
        if not self.ends.verify():
            conversation.reader.descriptors_changed()
        lock = conversation.lock
        lock.acquire()
        try:
            elapsed_ms = (monotonic() - conversation.running_since) * 1000
            conversation.running = None
            conversation.status.on("answered")
            abandoned = conversation.abandoned
            answer = conversation.answer_instead if abandoned else conversation.write_answer(answer, call)
        finally:
            lock.release()
        self.board.call_ends()
        if abandoned:
            told_too_late(call)
        return answer, elapsed_ms

    # --- the end --------------------------------------------------------------------------------------------

    def close(self) -> int:
        """Write the last frame, after `teardown()`. Return the exit status."""
        conversation = self.conversation
        status = conversation.exit_status
        self.ends.mend()
        with conversation.lock:
            self.standby.stop()
            if conversation.acknowledged and conversation.connection.state is ConnectionState.DRAINING:
                last = Shutdown(status="OK" if status == exits.CLEAN else "ERROR")
                conversation.write(conversation.connection.send(last))
        return status

    # --- a vendor's fork ------------------------------------------------------------------------------------

    def became_copy(self) -> None:
        """Note, in a child that the algorithm forked, that only the original speaks for this host."""
        self.is_copy = True

    def end_copy(self) -> None:
        """End a forked child that came back from the vendor's code, before it answers in the original's name."""
        if self.is_copy:
            _exit(0)
