"""The steady state of the runner's side: a call like those before it, from its arguments to its result.

The strategy: what a line does ten times a second touches as little code and data as it can, since between two calls
the algorithm has emptied the processor's caches. So `SteadyCalls.inspect` remembers, for each phase, step and product,
the bytes that its calls have in common, and puts into them what differs: the request's id, the slot's, the time. What
changes seldom, as the session or the parameters, is written anew where it changes. `Exchange.carry` then does in one
function what the call table, the writer and the receiver do together: it begins the call, writes, waits, reads and
ends the call. It does so only where no other call is on its way and nobody else reads, and only with an answer that
is one whole result of exactly this call.
Everything else is the general code's, which finds nothing begun, or a call that was begun as it would have begun it:
a second call, a deadline that passes, a ping, an error, a malformed answer, a host that is gone, a Ctrl-C.
`steady_core.c` is the same, compiled. This module is what it is held against, and what
runs where it isn't built or is turned off.
Warning: what `carry` changes is shared. It changes it under the same locks and in the same order as the general code.
"""

from __future__ import annotations

import logging
from os import getpid, read
from secrets import token_hex
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from procvision_runner.connection.call_table import host_timeout_ms
from procvision_runner.connection.leadership import TRANSITION_STEPS, Reading, ReadingEvent
from procvision_runner.connection.pending_call import PendingCall
from procvision_runner.connection.receiver import READ_BYTES
from procvision_runner.connection.writer import KEPT_FRAME_BYTES
from procvision_runner.exit_causes import EndKind
from procvision_runner.images.arena import ArenaSlot
from procvision_runner.images.slots import Lease
from procvision_runner.requests import filled, held_to_the_protocol
from procvision_runner.results import CallResult
from procvision_sdk.calling import OWN_ID_BYTES, session_ref
from procvision_sdk.compiled import compiled
from procvision_sdk.images.picture import Picture, image_meta
from procvision_sdk.plain import MAX_DEPTH, plain
from procvision_sdk.wire.codec import SHALLOW_BYTES
from procvision_sdk.wire.greeting import HEADER_BYTES
from procvision_sdk.wire.messages import Call, Result, SessionRef, ToRunner
from procvision_sdk.wire.tables import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from procvision_runner.connection.call_table import CallTable
    from procvision_runner.connection.client import Client
    from procvision_runner.connection.receiver import Receiver
    from procvision_runner.connection.writer import Writer
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.options import RunnerOptions
    from procvision_sdk.calling import CallImage, InspectingPhase, InspectionSession
    from procvision_sdk.images.meta import ColorSpace
    from procvision_sdk.wire.messages import AnyMessage

CORE = "procvision_runner.connection.steady_core"
"""The compiled form of what stands here."""
MAX_SHAPES = 64
"""So many phases, steps and products are remembered; a line has a few."""
_BEGINNING = b'{"type":"call","request_id":"'
_BEGINNING_BYTES = len(_BEGINNING)
_BEFORE_ID = len(b'{"type":"call",')
_SESSION_ID = b'{"id":"'
_TIME = b'"timestamp_ms":'
_LONGEST_S = 1e9
"""Thirty years: a longer time, or one that never ends, is no steady call's."""
_CALL, _ANSWERED = ReadingEvent.CALL, ReadingEvent.ANSWERED
_OPEN = ConnectionState.OPEN
_ATOMS = frozenset((str, int, float, bool, type(None)))
_log = logging.getLogger("procvision.runner")
_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], AnyMessage] = msgspec.json.Decoder(ToRunner).decode
"""The connection's own: a decoder of results alone takes one without a type."""


class Inspects(Protocol):
    """Makes the calls that are like those before them."""

    def lend(self, width: int, height: int, color_space: ColorSpace, /) -> Lease | None:
        """Lend a slot, as `AlgorithmRunner.lend`. Return None, with nothing done, if the pool has to."""

    def inspect(
        self,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
        /,
    ) -> CallResult | None:
        """Make a call, as `AlgorithmRunner.execute`. Return None, with nothing done, if it is not a steady one."""


class Exchange:
    """Carries one call of a client at a time."""

    __slots__ = (
        "_client",
        "_max_frame_bytes",
        "_poll",
        "_receiver",
        "_record",
        "_stdout",
        "_table",
        "_write",
        "_writer",
    )

    def __init__(self, client: Client, table: CallTable, writer: Writer, receiver: Receiver) -> None:
        self._client = client
        self._table = table
        self._receiver = receiver
        self._writer = writer
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
                tail = b'",' + _encode(call)[_BEFORE_ID:]
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
                or not leadership.follow(_CALL, pending)
            ):
                return False
            table.last_number += 1
            call.request_id = request_id
            pending_ids.add(request_id)
            calls[request_id] = pending
        finally:
            lock.release()
        frame = b"".join((length.to_bytes(HEADER_BYTES, "big"), _BEGINNING, request_id.encode(), tail))
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
                        (length <= SHALLOW_BYTES and b"[" not in payload)
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
                            leadership.follow(_ANSWERED)
                    finally:
                        lock.release()
                if not pending.ended:
                    self._receiver.take(data, now)
            else:
                now = monotonic()
        except BaseException:
            self.lost()
            raise
        if tick_at is not None and now >= tick_at:
            self._receiver.tick()
        if not pending.ended or leadership.leader is pending or self._receiver.pong_awaited:
            self._client.wait_for(pending)
        return True

    # --- for calls that the compiled core has begun -----------------------------------------------------------

    def finish_writing(self, pending: PendingCall, frame: bytes, written: int) -> None:
        """Write the rest of a call's frame. The writer's lock is held, and released here."""
        try:
            whole = self._writer.finish(frame, written, pending.deadline, pending)
        except BaseException:
            self._client.kill(EndKind.STOPPED, "was written to by a thread that was interrupted")
            raise
        if not whole:
            self._client.not_written(pending)

    def go_on(self, pending: PendingCall, data: bytes | None, now: float) -> None:
        """Carry a call to its end. `data` was read and not looked at; None where nothing was read, or all was."""
        receiver, table = self._receiver, self._table
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


class _Shape:
    """The bytes of one call that the next may have, too. Never changed: threads may share it."""

    __slots__ = ("before", "call", "final", "id_at", "params", "session", "tail", "timeout_s")

    def __init__(
        self,
        call: Call,
        session: InspectionSession | str | None,
        user_params: dict[str, Any] | None,
        timeout_s: float,
    ) -> None:
        """Raise what the encoder raises."""
        common = b'",' + _encode(call)[_BEFORE_ID:-1]
        timeout_ms = call.timeout_ms = host_timeout_ms(timeout_s) or 0
        self.call = call
        self.session, self.timeout_s = session, timeout_s
        self.final = bool(call.session and call.session.final) and session is not None
        self.tail = b'%b,"timeout_ms":%d}' % (common, timeout_ms)
        """What follows the request's id where there is no picture."""
        self.before = common + b',"shared_mem_id":"'
        """The same up to the picture's id where there is one."""
        self.id_at = common.index(_SESSION_ID) + len(_SESSION_ID)
        """Where the session's id stands in either."""
        self.params: tuple[tuple[str, Any], ...] | None = ()
        """The parameters, where all are atoms; None where they have to be written anew each time."""
        if call.user_params and user_params:
            atoms = _ATOMS.issuperset(map(type, call.user_params.values()))
            self.params = tuple(user_params.items()) if atoms else None


class _PictureShape:
    """The bytes that tell of one call's picture, and may tell of the next. Never changed."""

    __slots__ = ("after", "before_time", "camera_id", "described", "timeout_s")

    def __init__(self, lease: Lease, camera_id: str | None, call: Call, timeout_s: float) -> None:
        meta = _encode(image_meta(lease, camera_id, 0))
        time_at = meta.index(_TIME) + len(_TIME)
        self.before_time = b'","image_meta":' + meta[:time_at]
        self.after = b'%b,"timeout_ms":%d}' % (meta[time_at + 1 :], call.timeout_ms or 0)
        self.described, self.camera_id, self.timeout_s = lease.described, camera_id, timeout_s


class SteadyCalls:
    """The calls of one `Runner`, as they come again and again."""

    __slots__ = ("_carry", "_client", "_options", "_owner", "_picture", "_shapes", "_slots", "_table")

    def __init__(self, client: Client, slots: SlotPool, options: RunnerOptions) -> None:
        self._client = client
        self._table = client.table
        self._carry = client.exchange.carry
        self._slots = slots
        self._options = options
        self._owner = getpid()
        self._shapes: dict[tuple[str, int, str], _Shape] = {}
        self._picture: _PictureShape | None = None

    def lend(self, _width: int, _height: int, _color_space: ColorSpace, /) -> Lease | None:
        """Return None: the pool is as fast."""
        return None

    def inspect(  # noqa: PLR0912 - see above
        self,
        phase: InspectingPhase,
        image: CallImage | None,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        camera_id: str | None,
        timestamp_ms: int | None,
        timeout_s: float | None,
    ) -> CallResult | None:
        """Make a call, as `AlgorithmRunner.execute`. Return None, with nothing done, if it is not a steady one."""
        if self._table.calls or type(pid) is not str or type(step_index) is not int or getpid() != self._owner:
            return None
        if timeout_s is None:
            timeout_s = self._options.execute_timeout_s if phase == "execute" else self._options.pre_timeout_s
        shape = self._shapes.get((phase, step_index, pid))
        if (
            shape is None
            or session is not shape.session
            or final is not shape.final
            or timeout_s != shape.timeout_s
            or ((user_params or shape.params != ()) and not _the_same(user_params, shape.params))
        ):
            shape = self._another(phase, pid, step_index, session, user_params, final, timeout_s)
            if shape is None:
                return None
        call = replace(shape.call)
        lease = size = None
        if image is None:
            tail = shape.tail
        else:
            if (timestamp_ms is not None and type(timestamp_ms) is not int) or (
                camera_id is not None and type(camera_id) is not str
            ):
                return None
            lease = image if isinstance(image, Lease) else self._filled(image)
            if lease is None:
                return None
            try:
                picture = self._picture
                if (
                    picture is None
                    or lease.described != picture.described
                    or camera_id != picture.camera_id
                    or timeout_s != picture.timeout_s
                ):
                    self._picture = picture = _PictureShape(lease, camera_id, call, timeout_s)
                call.shared_mem_id = image_id = lease.publish()
                if timestamp_ms is None:
                    timestamp_ms = time_ns() // 1_000_000
                tail = b"%b%b%b%d%b" % (
                    shape.before, image_id.encode(), picture.before_time, timestamp_ms, picture.after,
                )  # fmt: skip
            except BaseException:
                lease.release()
                raise
            size = lease.described[:2]
        if session is None:
            # A session of this call's own: its id stands in the place of the last one's, which is as long.
            own_id = token_hex(OWN_ID_BYTES)
            call.session = SessionRef(id=own_id, final=True)
            tail = b"%b%b%b" % (tail[: shape.id_at], own_id.encode(), tail[shape.id_at + len(own_id) :])
        pending = PendingCall(call, monotonic(), timeout_s, lease.release if lease is not None else None)
        client = self._client
        try:
            if not self._carry(pending, tail):
                if lease is not None:
                    call.image_meta = image_meta(lease, camera_id, timestamp_ms)
                client.carry_beside_others(pending)
        except BaseException:
            client.orphan(pending)
            raise
        return self._outcome(pending, phase, size)

    @staticmethod
    def _outcome(pending: PendingCall, phase: str, size: tuple[int, int] | None) -> CallResult:
        """Return the result of a call that has ended, or raise its error."""
        if pending.error is not None:
            raise pending.error
        result = pending.answer
        assert result is not None
        data = result.data
        if (
            result.phase == phase == "execute"
            and result.status == "OK"
            and data.get("result_status") == "OK"
            and (len(data) == 1 or (len(data) == 2 and type(data.get("debug")) is dict))
        ):
            # An OK that says nothing more has nothing more to be checked.
            return CallResult(
                phase=phase,
                step_index=result.step_index,
                status="OK",
                message=result.message,
                error_code=result.error_code,
                data=data,
                request_id=result.request_id,
                elapsed_ms=int(pending.took_s * 1e6) / 1e3,
            )
        return held_to_the_protocol(result, phase, size, pending.took_s)

    def parts(self) -> dict[str, Any]:
        """Return what the compiled core works with, by its names for it."""
        client, table = self._client, self._table
        exchange, leadership, connection = client.exchange, table.leadership, table.connection
        receiver, writer = exchange._receiver, exchange._writer
        caller, nobody = TRANSITION_STEPS[Reading.NOBODY][_CALL], TRANSITION_STEPS[Reading.CALLER][_ANSWERED]
        return {
            "python": self,
            "filled": self._filled,
            "PictureShape": _PictureShape,
            "Lease": Lease,
            "ArenaSlot": ArenaSlot,
            "slots": self._slots,
            "inspect": self.inspect,
            "outcome": self._outcome,
            "shapes": self._shapes,
            "orphan": client.orphan,
            "go_on": exchange.go_on,
            "lost": exchange.lost,
            "finish_writing": exchange.finish_writing,
            "table": table,
            "connection": connection,
            "splitter": connection.splitter,
            "leadership": leadership,
            "receiver": receiver,
            "writer": writer,
            "calls": table.calls,
            "pending_ids": connection.pending_ids,
            "locked": table.lock.locked,
            "writer_locked": writer.lock.locked,
            "writer_acquire": writer.lock.acquire,
            "record": client.record.append,
            "Call": Call,
            "PendingCall": PendingCall,
            "SessionRef": SessionRef,
            "Result": Result,
            "CallResult": CallResult,
            "Shape": _Shape,
            "held": held_to_the_protocol,
            "open": _OPEN,
            "nobody": nobody[0],
            "nobody_steps": nobody[1],
            "caller": caller[0],
            "caller_steps": caller[1],
        }

    def _another(
        self,
        phase: InspectingPhase,
        pid: str,
        step_index: int,
        session: InspectionSession | str | None,
        user_params: Mapping[str, Any] | None,
        final: bool,
        timeout_s: float,
    ) -> _Shape | None:
        """Return the shape of calls from now on; None where the general code has something to say."""
        if type(final) is not bool or not 0 < timeout_s < _LONGEST_S or (user_params and type(user_params) is not dict):
            return None
        if final and session is None:
            return None
        try:
            params = plain(user_params, "user_params") if user_params else None
            call = Call(
                phase=phase,
                step_index=step_index,
                pid=pid,
                session=session_ref(session, final=final),
                user_params=params,
            )
            shape = _Shape(call, session, dict(user_params or ()), timeout_s)
        except Exception:  # noqa: BLE001 - the general code tells what it is
            return None
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        self._shapes[phase, step_index, pid] = shape
        return shape

    def _filled(self, image: CallImage) -> Lease | None:
        """Return a lease with an array's or a raw picture's pixels; None for any other image."""
        if type(image) is Picture and (image.data is not None or image.shared_mem_id is not None):
            return None
        return filled(self._slots, self._options, image)


def steady_calls(client: Client, slots: SlotPool, options: RunnerOptions) -> Inspects:
    """Return what makes a runner's steady calls: the compiled core where it can, else `SteadyCalls`."""
    steady = SteadyCalls(client, slots, options)
    core = compiled(CORE)
    if core is None:
        return steady
    process = client.process
    try:
        made = core.SteadyCalls(
            steady.parts(),
            process.stdin,
            process.stdout,
            float(options.execute_timeout_s),
            float(options.pre_timeout_s),
            client.table.connection.max_frame_bytes,
        )
    except (KeyError, TypeError, ValueError) as error:
        # Built of another source, or for pipes of another kind.
        _log.warning("steady calls run in Python: the compiled core doesn't fit (%s)", error)
        return steady
    client.kept_by_the_core = made.frames
    inspects: Inspects = made
    return inspects


def _the_same(given: Mapping[str, Any] | None, known: tuple[tuple[str, Any], ...] | None) -> bool:
    """Return whether parameters are the very objects that they were in the last call."""
    if known is None or type(given) is not dict or len(given) != len(known):
        return False
    for (key, value), (known_key, known_value) in zip(given.items(), known, strict=True):
        if key is not known_key or value is not known_value:
            return False
    return True
