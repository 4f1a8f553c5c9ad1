"""The steady state of the runner's side: a call like those before it, from its arguments to its result.

The strategy: what a line does ten times a second touches as little code and data as it can, since between two calls
the algorithm has emptied the processor's caches. So `SteadyCalls.inspect` remembers, for each phase, step and product,
the bytes that its calls have in common, and puts into them what differs: the request's id, the slot's, the time. What
changes with a product, as the session or the time that is left, is written anew where it changes. `Exchange.carry`
then takes the call to its answer. Everything else is the general code's, which finds nothing begun.
`steady_core.c` is the same, compiled. This module is what it is held against, and what runs where it isn't built or
is turned off.
"""

from __future__ import annotations

import logging
from os import getpid
from secrets import token_hex
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from procvision_runner.connection.call_table import host_timeout_ms
from procvision_runner.connection.exchange import BEFORE_ID
from procvision_runner.connection.leadership import TRANSITION_STEPS, Reading, ReadingEvent
from procvision_runner.connection.pending_call import PendingCall
from procvision_runner.errors import CallError
from procvision_runner.images.arena import ArenaSlot
from procvision_runner.images.shared_lease import SharedLease
from procvision_runner.images.slots import Lease
from procvision_runner.requests import filled, held_to_the_protocol
from procvision_runner.results import CallResult
from procvision_sdk.calling import OWN_ID_BYTES, InspectionSession, session_ref
from procvision_sdk.compiled import compiled
from procvision_sdk.images.picture import Picture, image_meta
from procvision_sdk.plain import plain
from procvision_sdk.wire.messages import Call, Result, SessionRef
from procvision_sdk.wire.tables import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from procvision_runner.connection.client import Client
    from procvision_runner.images.slots import SlotPool
    from procvision_runner.options import RunnerOptions
    from procvision_sdk.calling import CallImage, InspectingPhase
    from procvision_sdk.images.meta import ColorSpace

CORE = "procvision_runner.connection.steady_core"
"""The compiled form of what stands here."""
MAX_SHAPES = 64
"""So many phases, steps and products are remembered; a line has a few."""
_SESSION_ID = b'{"id":"'
_TIME = b'"timestamp_ms":'
_LONGEST_S = 1e9
"""Thirty years: a longer time, or one that never ends, is no steady call's."""
_CALL, _ANSWERED = ReadingEvent.CALL, ReadingEvent.ANSWERED
_OPEN = ConnectionState.OPEN
_ATOMS = frozenset((str, int, float, bool, type(None)))
_log = logging.getLogger("procvision.runner")
_encode = msgspec.json.Encoder().encode
copy: Callable[[Call], Call] = Call.__copy__  # type: ignore[attr-defined]  # msgspec's stubs lack it
"""Faster than the module of this name, which asks for it."""


class AttemptFailedError(Exception):
    """A supervised call has no result. What it was, and its picture, are there to try it again.

    Who catches it releases `pending.kept`.
    """

    def __init__(self, error: CallError, pending: PendingCall, size: tuple[int, int] | None) -> None:
        super().__init__(error)
        self.error, self.pending, self.size = error, pending, size


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


class _Shape:
    """The bytes of one call that the next may have, too. Never changed: threads may share it."""

    __slots__ = (
        "before",
        "call",
        "final",
        "head",
        "id_at",
        "middle",
        "params",
        "session",
        "tail",
        "timeout_ms",
        "timeout_s",
    )

    def __init__(
        self, call: Call, head: bytes, middle: bytes, params: tuple[tuple[str, Any], ...] | None,
        session: InspectionSession | str | None, final: bool, timeout_s: float,
    ) -> None:  # fmt: skip
        """Raise what the encoder raises. `call` has the session and the time."""
        self.call, self.head, self.middle = call, head, middle
        self.params = params
        """The parameters, where all are atoms; None where they have to be written anew each time."""
        self.session, self.final = session, final
        self.timeout_s, self.timeout_ms = timeout_s, call.timeout_ms or 0
        common = head + _encode(call.session) + middle
        self.tail = b'%b,"timeout_ms":%d}' % (common, self.timeout_ms)
        """What follows the request's id where there is no picture."""
        self.before = common + b',"shared_mem_id":"'
        """The same up to the picture's id where there is one."""
        self.id_at = len(head) + len(_SESSION_ID)
        """Where the session's id stands in either."""

    def again(self, session: InspectionSession | str | None, final: bool, timeout_s: float) -> _Shape:
        """Return the same call in another session, or with another time."""
        reference = session_ref(session, final=final)
        call = replace(self.call, session=reference, timeout_ms=host_timeout_ms(timeout_s))
        return _Shape(call, self.head, self.middle, self.params, session, final, timeout_s)


class _PictureShape:
    """The bytes that tell of one call's picture, and may tell of the next. Never changed."""

    __slots__ = ("after_time", "before_time", "camera_id", "described", "told")

    def __init__(self, lease: Lease, camera_id: str | None) -> None:
        self.told = image_meta(lease, camera_id, 0)
        meta = _encode(self.told)
        time_at = meta.index(_TIME) + len(_TIME)
        self.before_time, self.after_time = b'","image_meta":' + meta[:time_at], meta[time_at + 1 :]
        self.described, self.camera_id = lease.described, camera_id


class SteadyCalls:
    """The calls of one host, as they come again and again.

    `deployment` is the installed version that the host runs. For a `supervised` host a call that fails raises
    AttemptFailedError, and its picture stays in its slot.
    """

    __slots__ = (
        "_carry",
        "_client",
        "_deployment",
        "_options",
        "_owner",
        "_picture",
        "_shapes",
        "_slots",
        "_supervised",
        "_table",
    )

    def __init__(
        self,
        client: Client,
        slots: SlotPool,
        options: RunnerOptions,
        *,
        deployment: Mapping[str, str] | None = None,
        supervised: bool = False,
    ) -> None:
        self._client = client
        self._table = client.table
        self._carry = client.exchange.carry
        self._slots = slots
        self._options = options
        self._deployment, self._supervised = deployment, supervised
        self._owner = getpid()
        self._shapes: dict[tuple[str, int, str], _Shape] = {}
        self._picture: _PictureShape | None = None

    def lend(self, _width: int, _height: int, _color_space: ColorSpace, /) -> Lease | None:
        """Return None: the pool is as fast."""
        return None

    def inspect(  # noqa: PLR0912, PLR0915 - see above
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
            shape = self._another(shape, phase, pid, step_index, session, user_params, final, timeout_s)
            if shape is None:
                return None
        call = copy(shape.call)
        lease = size = kept = picture = None
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
                if picture is None or lease.described != picture.described or camera_id != picture.camera_id:
                    self._picture = picture = _PictureShape(lease, camera_id)
                call.shared_mem_id = image_id = lease.publish()
                if timestamp_ms is None:
                    timestamp_ms = time_ns() // 1_000_000
                tail = b'%b%b%b%d%b,"timeout_ms":%d}' % (
                    shape.before, image_id.encode(), picture.before_time, timestamp_ms, picture.after_time,
                    shape.timeout_ms,
                )  # fmt: skip
                if self._supervised:
                    kept = SharedLease(lease)
                    kept.share()
            except ValueError:
                raise  # It is another call's, which gives it back: its host may look at it still.
            except BaseException:
                lease.release()
                raise
            size = lease.described[:2]
        if session is None:
            # A session of this call's own: its id stands in the place of the last one's, which is as long.
            own_id = token_hex(OWN_ID_BYTES)
            call.session = SessionRef(id=own_id, final=True)
            tail = b"%b%b%b" % (tail[: shape.id_at], own_id.encode(), tail[shape.id_at + len(own_id) :])
        now = monotonic()
        pending = PendingCall(call, now, timeout_s, None, deadline=now + timeout_s)
        if picture is not None:
            pending.lease, pending.kept, pending.told, pending.timestamp_ms = lease, kept, picture.told, timestamp_ms
        try:
            if not self._carry(pending, tail):
                pending.whole_call()
                self._client.carry_beside_others(pending)
            answer = pending.answer
            if answer is None or phase != "execute" or answer.phase != "execute" or answer.status != "OK":
                return self._outcome(pending, phase, size)
            data = answer.data
            if data.get("result_status") != "OK" or (
                len(data) != 1 and (len(data) != 2 or type(data.get("debug")) is not dict)
            ):
                return self._outcome(pending, phase, size)
            # An OK that says nothing more has nothing more to be checked.
            if kept is not None:
                kept.release()
            return CallResult(
                phase=phase,
                step_index=answer.step_index,
                status="OK",
                message=answer.message,
                error_code=answer.error_code,
                data=data,
                request_id=answer.request_id,
                elapsed_ms=int(pending.took_s * 1e6) / 1e3,
                deployment=self._deployment,
            )
        except AttemptFailedError:
            raise
        except BaseException:
            self._interrupted(pending)
            raise

    def _interrupted(self, pending: PendingCall) -> None:
        """Leave the call of an interrupted caller to its host."""
        self._client.orphan(pending)
        if pending.kept is not None:
            pending.kept.release()

    def _outcome(self, pending: PendingCall, phase: str, size: tuple[int, int] | None) -> CallResult:
        """Return the result of a call that has ended, or raise its error."""
        try:
            result = self._result(pending, phase, size)
        except CallError as error:
            if self._supervised:
                raise AttemptFailedError(error, pending, size) from None
            raise
        if pending.kept is not None:
            pending.kept.release()
        return result

    def _result(self, pending: PendingCall, phase: str, size: tuple[int, int] | None) -> CallResult:
        if pending.error is not None:
            raise pending.error
        assert pending.answer is not None
        result = held_to_the_protocol(pending.answer, phase, size, pending.took_s)
        return result if self._deployment is None else replace(result, deployment=self._deployment)

    def parts(self) -> dict[str, Any]:
        """Return what the compiled core works with, by its names for it."""
        client, table = self._client, self._table
        exchange, leadership, connection = client.exchange, table.leadership, table.connection
        receiver, writer = exchange.receiver, exchange.writer
        caller, nobody = TRANSITION_STEPS[Reading.NOBODY][_CALL], TRANSITION_STEPS[Reading.CALLER][_ANSWERED]
        return {
            "python": self,
            "filled": self._filled,
            "encode": _encode,
            "PictureShape": _PictureShape,
            "Lease": Lease,
            "SharedLease": SharedLease,
            "ArenaSlot": ArenaSlot,
            "slots": self._slots,
            "slots_lock": self._slots._lock,
            "inspect": self.inspect,
            "outcome": self._outcome,
            "shapes": self._shapes,
            "interrupted": self._interrupted,
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
            "InspectionSession": InspectionSession,
            "SessionRef": SessionRef,
            "Result": Result,
            "CallResult": CallResult,
            "Shape": _Shape,
            "AttemptFailedError": AttemptFailedError,
            "deployment": self._deployment,
            "supervised": self._supervised,
            "open": _OPEN,
            "nobody": nobody[0],
            "nobody_steps": nobody[1],
            "caller": caller[0],
            "caller_steps": caller[1],
        }

    def _another(
        self,
        shape: _Shape | None,
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
            if shape is not None and _the_same(user_params or {}, shape.params):
                shape = shape.again(session, final, timeout_s)
            else:
                params = plain(user_params, "user_params") if user_params else None
                call = Call(phase=phase, step_index=step_index, pid=pid)
                head = b'",' + _encode(call)[BEFORE_ID:-1] + b',"session":'
                middle = b',"user_params":' + _encode(params) if params else b""
                atoms = not params or _ATOMS.issuperset(map(type, params.values()))
                known = tuple((user_params or {}).items()) if atoms else None
                call.user_params, call.timeout_ms = params, host_timeout_ms(timeout_s)
                call.session = session_ref(session, final=final)
                shape = _Shape(call, head, middle, known, session, final, timeout_s)
        except Exception:  # noqa: BLE001 - the general code tells what it is
            return None
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        self._shapes[phase, step_index, pid] = shape
        return shape

    def _filled(self, image: CallImage) -> Lease | None:
        return lease_with(self._slots, self._options, image)


def lease_with(slots: SlotPool, options: RunnerOptions, image: CallImage) -> Lease | None:
    """Return a lease with an array's or a raw picture's pixels; None for any other image. Raises as `prepare`."""
    if type(image) is Picture and (image.data is not None or image.shared_mem_id is not None):
        return None
    return filled(slots, options, image)


def steady_calls(
    client: Client,
    slots: SlotPool,
    options: RunnerOptions,
    *,
    deployment: Mapping[str, str] | None = None,
    supervised: bool = False,
) -> Inspects:
    """Return what makes a host's steady calls: the compiled core where it can, else `SteadyCalls`, which see."""
    steady = SteadyCalls(client, slots, options, deployment=deployment, supervised=supervised)
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
