"""Carries one call of a client from its frame to its answer, where it is the only one on its way.

The strategy: `Exchange.carry` does in one function what the call table, the writer and the receiver do together: it
begins the call, writes, waits, reads and ends the call. It does so only where no other call is on its way and nobody
else reads, and only with an answer that is one whole result of exactly this call. Everything else is the general
code's, which finds nothing begun, or a call that was begun as it would have begun it: a second call, a deadline that
passes, a ping, an error, a malformed answer, a host that is gone, a Ctrl-C.
Warning: what `carry` changes is shared. It changes it under the same locks and in the same order as the general code.
"""

from __future__ import annotations

from os import read
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from procvision_runner.connection.call_table import host_timeout_ms
from procvision_runner.connection.leadership import TRANSITION_STEPS, Reading, ReadingEvent
from procvision_runner.connection.receiver import READ_BYTES
from procvision_runner.connection.writer import KEPT_FRAME_BYTES
from procvision_runner.exit_causes import EndKind
from procvision_sdk.plain import MAX_DEPTH
from procvision_sdk.wire.codec import SHALLOW_BYTES
from procvision_sdk.wire.greeting import HEADER_BYTES
from procvision_sdk.wire.messages import Result, ToRunner
from procvision_sdk.wire.tables import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from procvision_runner.connection.call_table import CallTable
    from procvision_runner.connection.client import Client
    from procvision_runner.connection.pending_call import PendingCall
    from procvision_runner.connection.receiver import Receiver
    from procvision_runner.connection.writer import Writer
    from procvision_sdk.wire.messages import AnyMessage

_BEGINNING = b'{"type":"call","request_id":"'
_BEGINNING_BYTES = len(_BEGINNING)
BEFORE_ID = len(b'{"type":"call",')
"""What of an encoded call stands in front of the place of its request's id."""
_NOBODY = Reading.NOBODY
_CALLED = TRANSITION_STEPS[Reading.NOBODY][ReadingEvent.CALL]
_ANSWERED = TRANSITION_STEPS[Reading.CALLER][ReadingEvent.ANSWERED]
"""What the table says of the two steps of a call that is alone."""
_OPEN = ConnectionState.OPEN
_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], AnyMessage] = msgspec.json.Decoder(ToRunner).decode
"""The connection's own: a decoder of results alone takes one without a type."""


class Exchange:
    """Carries one call of a client at a time."""

    __slots__ = (
        "_client",
        "_max_frame_bytes",
        "_poll",
        "_record",
        "_stdout",
        "_table",
        "_write",
        "receiver",
        "writer",
    )

    def __init__(self, client: Client, table: CallTable, writer: Writer, receiver: Receiver) -> None:
        self._client = client
        self._table = table
        self.receiver = receiver
        self.writer = writer
        self._write = writer.write
        self._poll = receiver.poll
        self._stdout = client.process.stdout
        self._record = client.record
        self._max_frame_bytes = table.connection.max_frame_bytes

    def carry(self, pending: PendingCall, tail: bytes | None = None) -> bool:  # noqa: PLR0912, PLR0915 - see above
        """Carry a call to its end, whatever that is. Return False, with nothing begun, where it is not the only call.

        `tail` is what follows the request's id in the frame; without one it is made here.
        """
        call, table = pending.call, self._table
        connection, calls, leadership, lock = table.connection, table.calls, table.leadership, table.lock
        if tail is None:
            call.request_id, call.timeout_ms = None, host_timeout_ms(pending.timeout_s)
            try:
                tail = b'",' + _encode(call)[BEFORE_ID:]
            except Exception:  # noqa: BLE001 - the general code tells what JSON can't carry
                return False
        pending_ids = connection.pending_ids
        lock.acquire()
        try:
            request_id = f"call-{table.last_number + 1}"
            length = _BEGINNING_BYTES + len(request_id) + len(tail)
            if (
                calls
                or pending_ids
                or table.end is not None
                or table.stopping
                or connection.state is not _OPEN
                or length > self._max_frame_bytes
                or leadership.state is not _NOBODY
            ):
                return False
            leadership.state, leadership._steps = _CALLED
            leadership.leader = pending
            table.last_number += 1
            call.request_id = request_id
            pending_ids.add(request_id)
            calls[request_id] = pending
        finally:
            lock.release()
        frame = b"%b%b%b%b" % (length.to_bytes(HEADER_BYTES, "big"), _BEGINNING, request_id.encode(), tail)
        now, deadline = pending.sent_at, pending.deadline
        try:
            written = self._write(frame, now, deadline, pending)
        except BaseException:
            self._client.kill(EndKind.STOPPED, "was written to by a thread that was interrupted")
            raise
        if not written:
            self._client.not_written(pending)
        tick_at = table.tick_at
        until = deadline if tick_at is None or tick_at > deadline else tick_at
        # A negative time would mean for ever. A thread that is interrupted here has read nothing yet.
        there = leadership.leader is pending and self._poll((until - now) * 1000 + 0.5 if until > now else 0.5)
        try:
            if there:
                try:
                    data = read(self._stdout, READ_BYTES)
                except OSError:
                    data = b""
                now = monotonic()
                self._record.append((now, "in", data[:KEPT_FRAME_BYTES]))
                payload = data[HEADER_BYTES:]
                length = len(payload)
                result = None
                if (
                    0 < length <= self._max_frame_bytes
                    and int.from_bytes(data[:HEADER_BYTES], "big") == length
                    and connection.splitter.empty
                    and payload.isascii()
                    # Objects alone can't nest too deep in so few bytes, nor can so many opening brackets.
                    and (
                        (length <= SHALLOW_BYTES and payload.find(b"[") < 0)
                        or payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH
                    )
                ):
                    try:
                        result = _decode(payload)
                    except ValueError:
                        result = None
                if type(result) is Result and result.request_id == request_id and not connection.answers_without_ids:
                    lock.acquire()
                    try:
                        if (
                            len(calls) == 1
                            and not (pending.ended or table.stopping or table.waiting_for_room)
                            and leadership.leader is pending
                            and connection.state is _OPEN
                        ):
                            calls.clear()
                            pending_ids.clear()
                            pending.answer = result
                            pending.took_s = now - pending.sent_at
                            pending.ended = True
                            pending.free()
                            leadership.state, leadership._steps = _ANSWERED
                            leadership.leader = None
                    finally:
                        lock.release()
                if not pending.ended:
                    self.receiver.take(data, now)
            else:
                now = monotonic()
        except BaseException:
            self.lost()
            raise
        if tick_at is not None and now >= tick_at:
            self.receiver.tick()
        if not pending.ended or leadership.leader is pending or self.receiver.pong_awaited:
            self._client.wait_for(pending)
        return True

    # --- for calls that the compiled core has begun -----------------------------------------------------------

    def finish_writing(self, pending: PendingCall, frame: bytes, written: int) -> None:
        """Write the rest of a call's frame. The writer's lock is held, and released here."""
        try:
            whole = self.writer.finish(frame, written, pending.deadline, pending)
        except BaseException:
            self._client.kill(EndKind.STOPPED, "was written to by a thread that was interrupted")
            raise
        if not whole:
            self._client.not_written(pending)

    def go_on(self, pending: PendingCall, data: bytes | None, now: float) -> None:
        """Carry a call to its end. `data` was read and not looked at; None where nothing was read, or all was."""
        receiver, table = self.receiver, self._table
        if data is not None:
            try:
                receiver.take(data, now)
            except BaseException:
                self.lost()
                raise
        if table.tick_at is not None and now >= table.tick_at:
            receiver.tick()
        if not pending.ended or table.leadership.leader is pending or receiver.pong_awaited:
            self._client.wait_for(pending)

    def lost(self) -> None:
        """End a host of which something was read that nobody handled: its frames can't be told apart any more."""
        self._client.kill(EndKind.STOPPED, "was read by a thread that was interrupted")
