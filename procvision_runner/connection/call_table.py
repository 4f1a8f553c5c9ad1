"""The connection to one host and the calls on their way to it, under one lock.

Who reads is settled here too: one caller at a time is the *leader*. Warning: no read, no write and no callback of a
user's runs under `lock`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import inf
from time import monotonic
from typing import NoReturn

from procvision_runner.connection.observer import Watcher
from procvision_runner.connection.pending_call import Pending
from procvision_runner.errors import (
    CallError,
    CallTimeoutError,
    HostDiedError,
    ProtocolViolationError,
    RunnerStoppedError,
)
from procvision_runner.exit_causes import EndKind, HostEnd
from procvision_runner.process.host_log import HostLog
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import LocalProtocolError
from procvision_sdk.wire.events import Event
from procvision_sdk.wire.messages import AnyMessage, Error, Pong, Result
from procvision_sdk.wire.tables import ConnectionState

KEPT_UNEXPECTED = 32
_NOBODY = object()


class Exchange:
    """The table of calls, and what a frame means for it."""

    def __init__(self, connection: Connection, max_in_flight: int, log: HostLog, watcher: Watcher) -> None:
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)
        self.connection = connection
        self.calls: dict[str, Pending] = {}
        self.submitted = 0
        """Calls with a Future, for which the attendant reads."""
        self.overdue = 0
        """Calls whose callers have given up, and whose pictures the host may still have."""
        self.leader: object | None = None
        """Whoever reads: a caller's `Pending`, or another's token."""
        self.attendant: object = _NOBODY
        """The token of the one that leads while only submitted calls wait."""
        self.attended_until = 0.0
        """Until when the attendant sleeps if nothing comes."""
        self.attendant_late = False
        """Whether it sleeps longer than it may: whoever leads wakes it."""
        self.end: HostEnd | None = None
        """How the host ended, once it has."""
        self.stopping = False
        self.tick_at = connection.deadline
        """When `tick` has something to say; read without the lock, as a hint how long to wait."""
        self.resolving: dict[int, object | None] = {}
        """The threads that are in a Future's callbacks, each with what it leads as, if it does."""
        self.unexpected: list[Result | Error | Pong] = []
        """The last late, doubled and invented answers."""
        self._max_in_flight = max_in_flight
        self._log = log
        self._watcher = watcher
        self._waiting_for_room = 0
        self._numbers = 0

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self.end is None and not self.stopping

    def one_at_a_time(self) -> None:
        """The host's hello doesn't show that it takes calls ahead of their answers."""
        self._max_in_flight = 1

    # --- a call begins --------------------------------------------------------------------------------------

    def begin(self, pending: Pending) -> bytes:
        """The frame of a new call, which is in the table from now on; its caller may have become the leader.

        Raises CallError, and LocalProtocolError for a call that JSON can't carry.
        """
        call = pending.call
        try:
            with self.lock:
                if len(self.calls) >= self._max_in_flight:
                    self._wait_for_room(pending)
                if self.end is not None or self.stopping:
                    self._refuse_call()
                self._numbers += 1
                call.request_id = request_id = f"call-{self._numbers}"
                frame = self.connection.send(call, checked=True)
                if self.calls:
                    # A host takes its calls in turn: a call's time begins when those before it have ended.
                    last = self.calls[next(reversed(self.calls))]
                    pending.deadline += max(0.0, last.deadline - pending.sent_at)
                self.calls[request_id] = pending
                if pending.future is not None:
                    self.submitted += 1
                    pending.unattended = pending.deadline < self.attended_until or self.leader is not self.attendant
                elif self.leader is None:
                    self.leader = pending
                return frame
        except LocalProtocolError:
            pending.free()
            if self.connection.state is ConnectionState.OPEN:
                raise
            # Its goodbye was read an instant ago, its end is not known yet.
            raise self._gone("it has closed its side") from None
        except BaseException:
            if call.request_id is None or self.calls.get(call.request_id) is not pending:
                pending.free()
            raise

    def _wait_for_room(self, pending: Pending) -> None:
        self._waiting_for_room += 1
        try:
            while len(self.calls) >= self._max_in_flight and self.alive:
                if not self.room.wait(pending.deadline - monotonic()):
                    self._refuse_for_room()
        finally:
            self._waiting_for_room -= 1

    def _refuse_for_room(self) -> NoReturn:
        raise CallTimeoutError(
            f"{len(self.calls)} calls are on their way already and none was answered in time; "
            "hint: raise the timeout, or run more hosts"
        )

    def _refuse_call(self) -> NoReturn:
        if self.end is not None:
            raise self._gone(self.end.text)
        stopped = RunnerStoppedError("the runner was stopped: it takes no calls")
        stopped.sent = False
        raise stopped

    def _gone(self, how: str) -> HostDiedError:
        error = HostDiedError(f"the host is gone: {how}", end=self.end, logs=tuple(self._log.records))
        error.sent = False
        return error

    # --- leading --------------------------------------------------------------------------------------------

    def try_to_lead(self, pending: Pending) -> bool:
        """Makes the caller the leader; otherwise it has an event that is set when it should look again."""
        with self.lock:
            # In a Future's callback this thread may lead already, as somebody else: it goes on as this call's caller.
            if self.leader is None or self.resolving.get(threading.get_ident()) is self.leader:
                self.leader = pending
                return True
            if pending.woken is None:
                pending.woken = threading.Event()
            elif not pending.ended:
                pending.woken.clear()
            if pending.ended:
                # The answer came before there was an event to be told by.
                pending.woken.set()
            return False

    def stop_leading(self) -> bool:
        """Has another caller lead; True if there is none and the attendant has to."""
        with self.lock:
            self.leader = None
            for other in self.calls.values():
                if other.woken is not None and not other.ended:
                    other.woken.set()
                    return False
            return self.stopping or self.submitted > 0

    # --- what comes in --------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> tuple[Sequence[Event], Pending | None]:
        """The events of these bytes, none being the stream's end.

        The one result a caller waits for, which is the rule, is none of them: its call has ended. It is given where
        it has a Future to be resolved.
        """
        with self.lock:
            events = self.connection.receive(data, now) if data else self.connection.receive_end()
            if len(events) == 1 and type(events[0]) is Result:
                ended = self._ended_with(events[0], None, now)
                return (), (None if ended is None or ended.future is None else ended)
            self.tick_at = self.connection.deadline
            return events, None

    def end_call(self, answer: Result | Error, error: CallError | None, now: float) -> None:
        """A call has its answer, or the error that stands for it."""
        with self.lock:
            pending = self._ended_with(answer, error, now)
        if pending is not None:
            self.resolve(pending, reading=True)

    def resolve(self, pending: Pending, *, reading: bool = False) -> None:
        """Gives a submitted call's Future its outcome; not under the lock, since callbacks run in here.

        `reading` where the thread that does so is the leader.
        """
        if pending.future is None:
            return
        thread = threading.get_ident()
        # A callback may make calls, which may end others: this thread is in one until the outermost has returned.
        outermost = thread not in self.resolving
        if outermost:
            self.resolving[thread] = self.leader if reading else None
        try:
            pending.resolve()
        finally:
            if outermost:
                del self.resolving[thread]

    def _ended_with(self, answer: Result | Error, error: CallError | None, now: float) -> Pending | None:
        """Under the lock: the call that an answer belongs to has ended and its picture is free."""
        calls = self.calls
        pending = calls.pop(answer.request_id or "", None)
        if pending is None:
            return None
        in_time = pending.end(answer if type(answer) is Result else None, error, now)
        if not in_time:
            # It timed out before: too late for the caller, in time for the slot.
            self.overdue -= 1
            self.keep_unexpected(answer)
        elif pending.future is not None:
            self.submitted -= 1
        pending.free()
        if self._waiting_for_room:
            self.room.notify()
        if calls:
            self._next_in_turn(now)
        elif pending is self.leader and not self.stopping:
            self.leader = None
        return pending if in_time else None

    def _next_in_turn(self, now: float) -> None:
        """Under the lock: a call has ended, the time of the one behind it begins."""
        for pending in self.calls.values():
            if not pending.ended:
                due = now + pending.timeout_s
                if due < pending.deadline:
                    pending.deadline = due
                    if pending.woken is not None:
                        pending.woken.set()
                    elif pending.future is not None and due < self.attended_until:
                        self.attendant_late = self.leader is not self.attendant
                return

    def keep_unexpected(self, answer: Result | Error | Pong) -> None:
        """Records an answer that nobody waits for."""
        self.unexpected.append(answer)
        del self.unexpected[:-KEPT_UNEXPECTED]
        self._watcher.unexpected(answer)

    def tick(self, now: float) -> list[Event]:
        """What the passing of time brings."""
        with self.lock:
            events = self.connection.tick(now) if self.end is None else []
            self.tick_at = self.connection.deadline if self.end is None else None
        return events

    # --- what goes out --------------------------------------------------------------------------------------

    def frame(self, message: AnyMessage, now: float) -> bytes | None:
        """The frame of what is no call; None if it may not be sent any more."""
        with self.lock:
            if self.end is not None:
                return None
            try:
                return self.connection.send(message, now)
            except LocalProtocolError:
                return None
            finally:
                self.tick_at = self.connection.deadline

    # --- calls that end otherwise ---------------------------------------------------------------------------

    def give_up(self, pending: Pending, now: float) -> bool:
        """The caller's time is over, the slot stays leased until the host is done with it; False if it had ended."""
        with self.lock:
            error = CallTimeoutError(
                f"no answer to {pending.call.phase} within {now - pending.sent_at:.1f} s; the call was cancelled",
                request_id=pending.call.request_id,
                logs=tuple(self._log.records),
            )
            if not pending.end(None, error, now):
                return False
            if pending.future is not None:
                self.submitted -= 1
            self.overdue += 1
            self._next_in_turn(now)
            return True

    def orphan(self, pending: Pending) -> bool:
        """Its caller was interrupted: from now on it is the attendant's. False if it had ended, or never began."""
        from concurrent.futures import Future

        with self.lock:
            request_id = pending.call.request_id
            if pending.ended or request_id is None or self.calls.get(request_id) is not pending:
                return False
            pending.future = Future()
            self.submitted += 1
            return True

    def overdue_calls(self, now: float) -> list[Pending]:
        """The submitted calls whose time is over."""
        with self.lock:
            return [p for p in self.calls.values() if p.future and not p.ended and now >= p.deadline]

    def next_deadline(self) -> float | None:
        """When a submitted call's time is over, or a tick is due: until then the attendant sleeps."""
        with self.lock:
            deadlines = [pending.deadline for pending in self.calls.values() if pending.future and not pending.ended]
            tick_at = self.connection.deadline if self.end is None else None
            if tick_at is not None:
                deadlines.append(tick_at)
            found = min(deadlines, default=None)
            self.attended_until = inf if found is None else found
        return found

    def end_all(self, end: HostEnd, now: float) -> bool:
        """The host has ended: so has every call. False if that was known."""
        with self.lock:
            first = self.end is None
            if self.end is None:
                self.end = end
            calls = list(self.calls.values())
            self.calls.clear()
            self.submitted = self.overdue = 0
            ended = [pending for pending in calls if pending.end(None, self._error_of_end(self.end, pending), now)]
            for pending in calls:
                pending.free()
            self.room.notify_all()
        if first:
            self._watcher.died(self.end)
        for pending in ended:
            self.resolve(pending)
        return first

    def _error_of_end(self, end: HostEnd, pending: Pending) -> CallError:
        request_id, logs = pending.call.request_id, tuple(self._log.records)
        text = f"the host {end.text} while {pending.call.phase} was on its way"
        if end.kind is EndKind.STOPPED:
            return RunnerStoppedError(f"the runner was stopped: the host {end.text}", request_id=request_id, logs=logs)
        if end.kind is EndKind.PROTOCOL_VIOLATION:
            return ProtocolViolationError(text, request_id=request_id, logs=logs)
        return HostDiedError(text, end=end, request_id=request_id, logs=logs)
