"""The cell's side of the two halves: sessions and pictures that the host half has, and records for its observers."""

from __future__ import annotations

import logging
import mmap
from collections import OrderedDict
from collections.abc import Callable
from os import getpid
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_host.halves.alone import Alone
from procvision_host.halves.messages import CellChannel, Plan
from procvision_host.halves.records import ANSWERED, EVENTS, before_answer, events_record, flags_of, told_call
from procvision_host.halves.ring import DONE, PENDING
from procvision_host.logs import HOST_LOGGER

if TYPE_CHECKING:
    from procvision_host.algorithm.sessions import GuardedSessions, Sessions
    from procvision_host.halves.alone import Answered
    from procvision_host.halves.ring import Ring
    from procvision_host.halves.table_sessions import TableSessions
    from procvision_host.process.channels import HostEnds
    from procvision_sdk.images.backend import ImageBackend
    from procvision_sdk.images.meta import ImageMeta
    from procvision_sdk.images.view import RgbArray
    from procvision_sdk.wire.messages import AnyMessage, Call, Error, Result

MAX_REMEMBERED_SESSIONS = 1024
"""So many sessions are remembered as opened; one that was forgotten is told as opened again."""
_log = logging.getLogger(HOST_LOGGER)


class OtherHalf(Alone):
    """What the cell has of the host half, by what that says of its configuration."""

    def __init__(self, ends: HostEnds, ring: Ring) -> None:
        super().__init__(ends)
        self._ring = ring
        self._channel = channel = CellChannel(ends)
        self.plan = plan = channel.plan()
        self.failed, self._memory = plan.failed, plan.memory
        self.wraps_calls = plan.wrapped
        if not plan.table:
            ends.nothing_is_handed_over()
        if plan.calls or plan.sessions or plan.life:
            self.records = Records(plan, ring, ends, channel)

    def image_backends(self) -> dict[str, Callable[[], ImageBackend]]:
        """As `Alone`, and those that the host half opens."""
        backends = super().image_backends()
        if self.plan.schemes:
            remote = RemoteImages(self._channel, self._ends)
            backends |= {scheme: lambda: remote for scheme in self.plan.schemes}
        return backends

    def sessions(self, max_bytes: int) -> RemoteSessions | TableSessions | GuardedSessions:
        """Return the sessions of the host half, or those in this process's own memory."""
        if self.plan.remote_sessions:
            if self.plan.table:
                from procvision_host.halves.table_sessions import TableSessions

                table = self._ends.handed_over()
                return TableSessions(self._channel, self._ring, table, max_bytes=max_bytes, **self.plan.table)
            return RemoteSessions(self._channel)
        return super().sessions(max_bytes)

    def observed(self, sessions: Sessions) -> Sessions:
        """Return the same sessions, observed if a plugin listens."""
        return self.records.sessions(sessions) if self.records is not None else sessions

    def tell(self, hook: str, **values: Any) -> None:
        """Tell observers of an event in the host's life."""
        if self.records is not None:
            self.records.tell(hook, **values)

    def around(self, run: Callable[[Call], Result | Error]) -> Callable[[Call], Result | Error]:
        """Return the execution of calls with the wrappers' first parts before it; `run` itself if there are none."""
        if not self.plan.wrapped:
            return run
        channel = self._channel

        def run_wrapped(call: Call) -> Result | Error:
            channel.ask("enter", told_call(call))
            return run(call)

        return run_wrapped

    def after(self, answered: Answered) -> Answered:
        """Return what is done after an answer, with the wrappers' second parts and the session's end in it."""
        channel = self._channel if self.plan.wrapped else None
        records = self.records if self.plan.sessions else None
        if channel is None and records is None:
            return answered

        def after_answer(call: Call, answer: AnyMessage, elapsed_ms: float) -> None:
            answered(call, answer, elapsed_ms)
            if records is not None:
                records.flush()
            if channel is not None:
                channel.ask("leave", msgspec.json.encode(answer), elapsed_ms)

        return after_answer


class RemoteSessions:
    """Sessions whose store the host half has: each question waits for its word."""

    def __init__(self, channel: CellChannel) -> None:
        self._channel = channel
        self._process_id = getpid()

    def expect(self, session_id: str) -> None:
        """Let the host half look for the state while the call is checked."""
        if getpid() == self._process_id:
            self._channel.begin("load", session_id)

    def load(self, session_id: str) -> bytes | None:
        """Return the state last saved. Raises CallRefusedError."""
        self._not_in_a_copy()
        state: bytes | None = self._channel.ask("load", session_id)
        return state

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state. Return when the store has it. Raises CallRefusedError."""
        self._not_in_a_copy()
        self._channel.ask("save", session_id, state)

    def delete(self, session_id: str) -> None:
        """Raise CallRefusedError."""
        self._not_in_a_copy()
        self._channel.ask("delete", session_id)

    def end(self, session_id: str) -> None:
        """Forget a session whose last answer is out. Never raises."""
        self._channel.ask("end", session_id)

    def close(self) -> None:
        """Do nothing: the host half closes its store itself."""

    def _not_in_a_copy(self) -> None:
        # Two processes that ask at once would get each other's answers.
        if getpid() != self._process_id:
            from procvision_host.algorithm.sessions import refuse_a_copy

            refuse_a_copy()


class RemoteImage:
    """A call's picture that the host half has opened, mapped read-only."""

    def __init__(self, channel: CellChannel, array: RgbArray) -> None:
        self._channel = channel
        self._array = array

    def array(self) -> RgbArray:
        """Return the picture."""
        return self._array

    def still_valid(self) -> None:
        """Raise CallRefusedError (1002) if the memory was given to another picture meanwhile."""
        self._channel.ask("still_valid")


class RemoteImages:
    """The backend, in the cell, of schemes whose pictures the host half opens and puts into the room."""

    def __init__(self, channel: CellChannel, ends: HostEnds) -> None:
        self._channel = channel
        self._ends = ends
        self._room: mmap.mmap | None = None

    def open(self, shared_mem_id: str, meta: ImageMeta) -> RemoteImage:
        """Raise CallRefusedError (1002)."""
        from procvision_sdk.images.view import rgb_view

        width, height = self._channel.ask("open_image", shared_mem_id, meta)
        length = width * height * 3
        if self._room is None or len(self._room) < length:
            # The mapping before is given back when the last array of it is.
            self._room = mmap.mmap(self._ends.picture_room(), length, prot=mmap.PROT_READ)
        return RemoteImage(self._channel, rgb_view(memoryview(self._room), width, height, "RGB"))

    def close(self) -> None:
        """Do nothing: the mapping goes with the process."""


class Records:
    """Puts down what observers in the host half are told of; made only where one of them listens."""

    __slots__ = ("_channel", "_ends", "_lost", "_pending", "_plan", "_putting", "_ring", "events")

    def __init__(self, plan: Plan, ring: Ring, ends: HostEnds, channel: CellChannel) -> None:
        self._plan = plan
        self._ring = ring
        self._ends = ends
        self._channel = channel
        self.events: list[tuple[str, dict[str, Any]]] = []
        """What happened to sessions and isn't put down yet: always this list."""
        self._pending: list[int] = []
        """Places of what was put down for the answer that is being written."""
        self._lost = 0
        self._putting = Lock()
        """One thread may tell of a session's end while the other tells of the drain."""

    def sessions(self, sessions: Sessions) -> Sessions:
        """Return the same sessions, observed if a plugin listens."""
        return ObservedSessions(sessions, self.events.append) if self._plan.sessions else sessions

    def tell(self, hook: str, **values: Any) -> None:
        """Tell observers of an event in the host's life."""
        if self._plan.life:
            self._put(EVENTS, events_record([(hook, values)]))

    def answering(
        self, call: Call, answer: Result | Error, frame: bytes, elapsed_ms: float, told: bytes | None = None
    ) -> None:
        """The answer to a call is written next: put both down, and what the call did to its session.

        `told` is what `told_call` says of the call, where that is known.
        """
        if self._plan.calls:
            debug: Any = answer.data.get("debug") if type(answer.data) is dict else None
            before = before_answer(
                told_call(call) if told is None else told,
                elapsed_ms,
                time_ns(),
                flags_of(answer.status, debug),
            )
            self._put(ANSWERED, frame, PENDING, before)
        if self.events:
            self._put(EVENTS, self._taken_events(), PENDING)

    def answered(self) -> None:
        """The answer is written: what was put down for it has happened."""
        pending, self._pending = self._pending, []
        # The first is what the reader waits for.
        if pending and self._ring.done(pending[::-1]):
            self._ends.notify_guardian(RECORD_NOTICE)

    def look(self) -> None:
        """Have the host half look at the records, if it sleeps."""
        if self._ring.reader_sleeps:
            self._ends.notify_guardian(RECORD_NOTICE)

    def flush(self) -> None:
        """Tell observers what happened to sessions."""
        if self.events:
            self._put(EVENTS, self._taken_events())

    def _taken_events(self) -> bytes:
        events = self.events[:]
        self.events.clear()  # the same list: the sessions note into it
        return events_record(events)

    def _put(self, kind: int, data: bytes, state: int = DONE, head: bytes = b"") -> None:
        if len(head) + len(data) > self._ring.largest:
            self._channel.ask("record", kind, head + data)
            return
        with self._putting:
            place = self._ring.put(kind, data, state, head)
        if place is None:
            self._lose()
        elif state == PENDING:
            self._pending.append(place)
        else:
            self.look()

    def _lose(self) -> None:
        self._lost += 1
        if self._lost & (self._lost - 1) == 0:
            _log.error("observers don't keep up: %d records are lost", self._lost)

    def ring_of_calls(self) -> memoryview | None:
        """Return where the compiled core puts calls down as `answering` does; None if no plugin is told of calls."""
        return self._ring.memory if self._plan.calls else None


RECORD_NOTICE = b"R"
"""Cell to host half: it sleeps, and there is a record."""


class ObservedSessions:
    """Sessions whose openings, savings and ends are noted for observers."""

    def __init__(self, sessions: Sessions, note: Callable[[tuple[str, dict[str, Any]]], None]) -> None:
        self._sessions = sessions
        self._note = note
        self._met: OrderedDict[str, None] = OrderedDict()
        self.expect = sessions.expect

    def load(self, session_id: str) -> bytes | None:
        """As the sessions; the first time that a session is met is noted."""
        state = self._sessions.load(session_id)
        if session_id not in self._met:
            self._met[session_id] = None
            if len(self._met) > MAX_REMEMBERED_SESSIONS:
                self._met.popitem(last=False)
            self._note(("procvision_session_opened", {"session_id": session_id, "known": state is not None}))
        return state

    def save(self, session_id: str, state: bytes) -> None:
        """As the sessions."""
        self._sessions.save(session_id, state)
        self._note(("procvision_session_saved", {"session_id": session_id, "state": state}))

    def delete(self, session_id: str) -> None:
        """As the sessions."""
        self._sessions.delete(session_id)
        self._ended(session_id)

    def end(self, session_id: str) -> None:
        """As the sessions."""
        self._sessions.end(session_id)
        self._ended(session_id)

    def _ended(self, session_id: str) -> None:
        self._met.pop(session_id, None)
        self._note(("procvision_session_ended", {"session_id": session_id}))
