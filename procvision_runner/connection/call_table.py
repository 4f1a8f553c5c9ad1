"""The connection to one host and the calls that are on their way to it, under one lock.

Who reads changes under the same lock: `leadership` has the rules, this module says when they apply.
Warning: nothing is read or written and no callback of a user's runs while `lock` is held.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from math import inf, isfinite
from time import monotonic
from typing import NoReturn

from procvision_runner.connection.leadership import Leadership, ReadingEvent
from procvision_runner.connection.observer import Observer
from procvision_runner.connection.pending_call import PendingCall
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
from procvision_sdk.wire.tables import ConnectionState, HostStatus

KEPT_UNEXPECTED = 32
"""How many unexpected answers are kept."""
_CALL, _ANSWERED = ReadingEvent.CALL, ReadingEvent.ANSWERED
_SHORTEST_ASK_S, _LONGEST_ASK_S = 0.05, 1.0
"""How long a host is left alone between two questions whether the algorithm still runs a call that timed out. Each
time is twice the one before, so that the frames of a crash report are not all of that.
"""
_HEAD_START = 0.05
"""How much of a call's time the host's answer gets for its way: it has to come before the caller gives up."""
_SHORTEST_HEAD_START_S, _LONGEST_HEAD_START_S = 0.02, 0.25


@lru_cache(maxsize=64)
def host_timeout_ms(timeout_s: float) -> int | None:
    """Return the `timeout_ms` of a call that its caller gives up after `timeout_s`; None if it waits for ever."""
    if not isfinite(timeout_s):
        return None
    head_start_s = min(max(timeout_s * _HEAD_START, _SHORTEST_HEAD_START_S), _LONGEST_HEAD_START_S, timeout_s / 2)
    return max(1, int((timeout_s - head_start_s) * 1000))


class CallTable:
    """The calls on their way, and what a frame means for them."""

    __slots__ = (
        "_ask_after_s",
        "_log",
        "_max_in_flight",
        "_observer",
        "ask_at",
        "calls",
        "connection",
        "end",
        "last_number",
        "leadership",
        "lingering",
        "lock",
        "overdue",
        "reader_oversleeps",
        "reader_sleeps_until",
        "room",
        "stopping",
        "submitted",
        "tick_at",
        "unexpected",
        "waiting_for_room",
    )

    def __init__(self, connection: Connection, max_in_flight: int, log: HostLog, observer: Observer) -> None:
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)
        """Notified when there is room for another call."""
        self.connection = connection
        self.leadership = Leadership()
        self.calls: dict[str, PendingCall] = {}
        """By `request_id`, in the order in which they were sent."""
        self.submitted = 0
        """Calls with a Future that have not ended: the reader thread reads for them."""
        self.overdue = 0
        """Calls that timed out and whose pictures the host may still use."""
        self.lingering: dict[str, PendingCall] = {}
        """Those of them that the host has answered in the algorithm's place: the algorithm may still run."""
        self.ask_at: float | None = None
        """When to ask the host whether it does."""
        self.reader_sleeps_until = 0.0
        """When the reader thread wakes by itself."""
        self.reader_oversleeps = False
        """Whether the reader thread sleeps longer than it may: the leader wakes it."""
        self.end: HostEnd | None = None
        """How the host ended; None while it has not."""
        self.stopping = False
        self.tick_at = connection.deadline
        """When `tick` has something to do. Read without the lock, as a hint how long to wait."""
        self.unexpected: list[Result | Error | Pong] = []
        """The last answers that came late, came twice or answer no call."""
        self.waiting_for_room = 0
        """How many callers wait until another's call has ended."""
        self.last_number = 0
        """The number in the last call's `request_id`."""
        self._ask_after_s = _SHORTEST_ASK_S
        self._max_in_flight = max_in_flight
        self._log = log
        self._observer = observer

    @property
    def alive(self) -> bool:
        """Whether calls can be made."""
        return self.end is None and not self.stopping

    @property
    def has_called(self) -> bool:
        """Whether any call was sent."""
        return self.last_number > 0

    def allow_one_at_a_time(self) -> None:
        """Send no call before the one before it is answered: the host's hello doesn't show that it takes more."""
        self._max_in_flight = 1

    # --- a call begins --------------------------------------------------------------------------------------

    def begin(self, pending: PendingCall) -> bytes:
        """Put a new call into the table and return its frame. Its caller becomes the leader if there is none.

        Raises CallError, and LocalProtocolError for a call that JSON can't carry.
        """
        call = pending.call
        try:
            with self.lock:
                if len(self.calls) >= self._max_in_flight:
                    self._wait_for_room(pending)
                if self.end is not None or self.stopping:
                    self._refuse_call()
                self.last_number += 1
                call.request_id = request_id = f"call-{self.last_number}"
                call.timeout_ms = host_timeout_ms(pending.timeout_s)
                frame = self.connection.send(call, checked=True)
                if self.calls:
                    # A host executes its calls in order: a call's time begins when those before it have ended.
                    last = self.calls[next(reversed(self.calls))]
                    pending.deadline += max(0.0, last.deadline - pending.sent_at)
                self.calls[request_id] = pending
                leadership = self.leadership
                if pending.future is not None:
                    self.submitted += 1
                    pending.needs_wake = (
                        pending.deadline < self.reader_sleeps_until or leadership.leader is not leadership.reader_thread
                    )
                else:
                    leadership.follow(_CALL, pending)
                return frame
        except LocalProtocolError:
            pending.free()
            if self.connection.state is ConnectionState.OPEN:
                raise
            # Its last frame was read an instant ago, but its end is not known yet.
            raise self._gone("it has closed its side") from None
        except BaseException:
            if call.request_id is None or self.calls.get(call.request_id) is not pending:
                pending.free()
            raise

    def _wait_for_room(self, pending: PendingCall) -> None:
        self.waiting_for_room += 1
        try:
            while len(self.calls) >= self._max_in_flight and self.alive:
                if not self.room.wait(pending.deadline - monotonic()):
                    self._refuse_for_room()
        finally:
            self.waiting_for_room -= 1

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

    # --- who reads ------------------------------------------------------------------------------------------

    def lead_handshake(self, starter: object) -> None:
        """Make the thread that starts the client the leader, until it hands over."""
        with self.lock:
            self.leadership.follow(ReadingEvent.GREETING, starter)

    def try_to_lead(self, pending: PendingCall) -> bool:
        """Make the caller the leader. Return False if another thread reads; `woken` tells when to retry."""
        with self.lock:
            if self.leadership.lead(pending):
                return True
            if pending.woken is None:
                pending.woken = threading.Event()
            elif not pending.ended:
                pending.woken.clear()
            if pending.ended:
                # The answer came before there was an event to set.
                pending.woken.set()
            return False

    def lead_from_reader_thread(self, thread: object, *, needed: bool) -> bool:
        """Make the reader thread the leader if nobody reads, and a call, a stop or `needed` asks for it."""
        with self.lock:
            if not (needed or self.submitted > 0 or self.overdue > 0 or self.stopping):
                return False
            return self.leadership.follow(ReadingEvent.READER_NEEDED, thread)

    def hand_over(self, leader: object) -> bool:
        """Hand reading to another waiting caller. Return True if the reader thread must take over."""
        with self.lock:
            if not self.leadership.stop(leader):
                return False
            for other in self.calls.values():
                if other.woken is not None and not other.ended:
                    other.woken.set()
                    return False
            return self.stopping or self.submitted > 0

    def free_held_up_leader(self, held_up: object | None) -> None:
        """End the lead of a thread that runs a callback: that may wait for the very stop that asks for this."""
        with self.lock:
            self.leadership.free(held_up)

    # --- what comes in --------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> tuple[Sequence[Event], PendingCall | None]:
        """Return the events of these bytes; no bytes are the end of the stream.

        As a rule, one result comes, which a caller waits for. Its call ends here, and it is no event. The call is
        returned if it has a Future to resolve.
        """
        with self.lock:
            events = self.connection.receive(data, now) if data else self.connection.receive_end()
            if len(events) == 1 and type(events[0]) is Result:
                ended = self._end_with(events[0], None, now)
                return (), (None if ended is None or ended.future is None else ended)
            self.tick_at = self.connection.deadline
            return events, None

    def end_call(self, answer: Result | Error, error: CallError | None, now: float) -> None:
        """End a call with its answer, or with the error that stands for it."""
        with self.lock:
            pending = self._end_with(answer, error, now)
        if pending is not None:
            self.resolve(pending, reading=True)

    def resolve(self, pending: PendingCall, *, reading: bool = False) -> None:
        """Give a submitted call's Future its outcome. Call it without the lock: callbacks run in here.

        `reading` if this thread is the leader.
        """
        if pending.future is None:
            return
        leadership = self.leadership
        # A callback may make calls, which may end others: only the outermost of them leaves.
        outermost = leadership.enter_callbacks(reading=reading)
        try:
            pending.resolve()
        finally:
            if outermost:
                leadership.leave_callbacks()

    def _end_with(self, answer: Result | Error, error: CallError | None, now: float) -> PendingCall | None:
        """End the call of an answer and free its picture, under the lock. Return the call if it ended in time."""
        calls = self.calls
        pending = calls.pop(answer.request_id or "", None)
        if pending is None:
            return None
        in_time = pending.end(answer if type(answer) is Result else None, error, now)
        if not in_time:
            # It timed out before: the answer is too late for the caller, and it frees the slot.
            self.overdue -= 1
            self.keep_unexpected(answer)
        elif pending.future is not None:
            self.submitted -= 1
        pending.free()
        if self.waiting_for_room:
            self.room.notify()
        if calls:
            self._start_next(now)
        elif pending is self.leadership.leader and not self.stopping:
            self.leadership.follow(_ANSWERED)
        return pending if in_time else None

    def _start_next(self, now: float) -> None:
        """Begin the time of the next call, since the one before it has ended. Under the lock."""
        for pending in self.calls.values():
            if not pending.ended:
                due = now + pending.timeout_s
                if due < pending.deadline:
                    pending.deadline = due
                    if pending.woken is not None:
                        pending.woken.set()
                    elif pending.future is not None and due < self.reader_sleeps_until:
                        self.reader_oversleeps = self.leadership.leader is not self.leadership.reader_thread
                return

    def keep_unexpected(self, answer: Result | Error | Pong) -> None:
        """Record an answer that nobody waits for."""
        self.unexpected.append(answer)
        del self.unexpected[:-KEPT_UNEXPECTED]
        self._observer.unexpected(answer)

    def tick(self, now: float) -> list[Event]:
        """Return what the passing of time brings."""
        with self.lock:
            events = self.connection.tick(now) if self.end is None else []
            self.tick_at = self.connection.deadline if self.end is None else None
        return events

    def put_off_pong(self, now: float) -> None:
        """Give a late pong its time once more."""
        with self.lock:
            self.connection.put_off_pong(now)
            self.tick_at = self.connection.deadline if self.end is None else None

    # --- what goes out --------------------------------------------------------------------------------------

    def frame(self, message: AnyMessage, now: float) -> bytes | None:
        """Return the frame of a message that is no call, or None if it may not be sent any more."""
        with self.lock:
            if self.end is not None:
                return None
            try:
                return self.connection.send(message, now)
            except LocalProtocolError:
                return None
            finally:
                self.tick_at = self.connection.deadline

    # --- calls that end without an answer -------------------------------------------------------------------

    def give_up(self, pending: PendingCall, now: float) -> bool:
        """End a call whose time is over. Its slot stays leased until the host answers. Return False if it had ended."""
        with self.lock:
            return self._time_out(pending, now)

    def _time_out(self, pending: PendingCall, now: float) -> bool:
        """End a call with a CallTimeoutError. Under the lock. Return False if it had ended."""
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
        self._start_next(now)
        return True

    def time_out(self, answer: Error, now: float) -> PendingCall | None:
        """End a call that the host answered in the algorithm's place, because its `timeout_ms` was over.

        The algorithm may still run and look at the picture: the slot stays leased until a pong tells that it doesn't.
        Return the call if it ended by this.
        """
        with self.lock:
            request_id = answer.request_id or ""
            pending = self.calls.get(request_id)
            if pending is None:
                return None
            self.lingering[request_id] = pending
            self.ask_at, self._ask_after_s = now, _SHORTEST_ASK_S
            if self._time_out(pending, now):
                return pending
            self.keep_unexpected(answer)
            return None

    def free_finished(self, pong: Pong, now: float) -> None:
        """Free the lingering calls that the host does not execute any more, as its pong tells."""
        with self.lock:
            executing = pong.executing
            for request_id, pending in tuple(self.lingering.items()):
                runs = pong.state == HostStatus.EXECUTING if executing is None else executing.request_id == request_id
                if not runs:
                    del self.lingering[request_id], self.calls[request_id]
                    self.overdue -= 1
                    pending.free()
                    self.room.notify()
                    self._start_next(now)
            self.ask_at = now + self._ask_after_s if self.lingering else None
            self._ask_after_s = min(self._ask_after_s * 2, _LONGEST_ASK_S)

    def ask_is_due(self, now: float) -> bool:
        """Tell whether to send a ping for `free_finished`. True once: the pong decides whether another follows."""
        with self.lock:
            if self.ask_at is None or now < self.ask_at:
                return False
            self.ask_at = None
            return True

    def orphan(self, pending: PendingCall) -> bool:
        """Leave the call of an interrupted caller to the reader thread. Return False if it had ended or never began."""
        from concurrent.futures import Future

        with self.lock:
            request_id = pending.call.request_id
            if request_id is None or self.calls.get(request_id) is not pending:
                pending.free()
                return False
            if pending.ended:
                return False
            pending.future = Future()
            self.submitted += 1
            return True

    def overdue_calls(self, now: float) -> list[PendingCall]:
        """Return the submitted calls whose time is over."""
        with self.lock:
            return [p for p in self.calls.values() if p.future and not p.ended and now >= p.deadline]

    def next_deadline(self) -> float | None:
        """Return when the reader thread has something to do: a submitted call times out, or a tick is due."""
        with self.lock:
            deadlines = [pending.deadline for pending in self.calls.values() if pending.future and not pending.ended]
            if self.end is None:
                deadlines += [at for at in (self.connection.deadline, self.ask_at) if at is not None]
            found = min(deadlines, default=None)
            self.reader_sleeps_until = inf if found is None else found
        return found

    def end_all(self, end: HostEnd, now: float) -> None:
        """End every call, since the host has ended. A second call of this changes nothing."""
        with self.lock:
            first = self.end is None
            if self.end is None:
                self.end = end
                # A host executes in order: the oldest that it has not answered is what it was at.
                self._observer.ending(end, next(iter(self.calls.values()), None))
            self.leadership.follow(ReadingEvent.HOST_ENDED)
            calls = list(self.calls.values())
            self.calls.clear()
            self.lingering.clear()
            self.submitted = self.overdue = 0
            ended = [pending for pending in calls if pending.end(None, self._error_of_end(self.end, pending), now)]
            for pending in calls:
                pending.free()
            self.room.notify_all()
        if first:
            self._observer.died(self.end)
        for pending in ended:
            self.resolve(pending)

    def _error_of_end(self, end: HostEnd, pending: PendingCall) -> CallError:
        request_id, logs = pending.call.request_id, tuple(self._log.records)
        text = f"the host {end.text} while {pending.call.phase} was on its way"
        if end.kind is EndKind.STOPPED:
            return RunnerStoppedError(f"the runner was stopped: the host {end.text}", request_id=request_id, logs=logs)
        if end.kind is EndKind.PROTOCOL_VIOLATION:
            return ProtocolViolationError(text, request_id=request_id, logs=logs)
        return HostDiedError(text, end=end, request_id=request_id, logs=logs)
