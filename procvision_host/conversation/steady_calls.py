"""The steady state of the host's side: a call like one before it, from its bytes to the bytes of its answer.

The strategy: a line's calls differ in little. `_Template` is a frame that the general code's checks let through: byte
for byte what it was, but for the holes, which are the request's id, the session's id and context, of a picture the
generation and the time, and the timeout. A frame that is the same outside the holes was checked before; what stands in
the holes is checked here. It says then what that call said, with the holes' values in it: nothing is decoded and
nothing is checked again, but for a context that is another than the last.
`SteadyCalls.answer` does the rest in one function: it begins the call, lets the worker execute it, writes the answer.
Everything else is the general code's. It finds nothing begun where `answer` returns False: a frame of another form,
calls that wait, a drain. And where a steady call ends as others do, by an exception, a refusal, a status ERROR, it is
given the answer to write. What observers are told of a call is put down here as well. Where wrappers are named, there
are no steady calls.
`steady_core.c` is the same, compiled. This module is what it is held against, and what runs where it isn't built or is
turned off.
Warning: what `answer` changes is shared with the second thread, which may read, answer pings and even this call while
the algorithm works. It is changed under the same lock and in the same order as by the general code.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from fcntl import ioctl
from functools import partial
from os import _exit
from termios import FIONREAD
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from procvision_host.algorithm.call_checker import MAX_SESSION_ID_LENGTH, CheckedCall
from procvision_host.algorithm.sessions import GuardedSessions
from procvision_host.builtin.mapped_slots import MappedImage, MappedSlots, Mapping
from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_host.conversation.shared import told_too_late
from procvision_host.logs import HOST_LOGGER
from procvision_host.process.channels import wait_for_stray_output
from procvision_sdk.algorithm import SESSION_OF_THE_CALL, BaseAlgorithm
from procvision_sdk.compiled import compiled
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.layout import MAX_GENERATION_DIGITS, SlotHeader
from procvision_sdk.results import Ok
from procvision_sdk.session import Session
from procvision_sdk.wire.codec import Codec
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.greeting import HEADER_BYTES
from procvision_sdk.wire.messages import MAX_REQUEST_ID_CHARS, Call, Result, SessionRef
from procvision_sdk.wire.tables import ConnectionState, HostStatus, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from procvision_host.algorithm.call_checker import CallChecker
    from procvision_host.algorithm.images import Images
    from procvision_host.algorithm.worker import Worker
    from procvision_host.conversation.main_loop import Loop

CORE = "procvision_host.conversation.steady_core"
"""The compiled form of what stands here."""
MAX_TEMPLATES = 16
"""A line has a few steps, each with its phases, and a few products."""
MAX_VAIN = 64
"""After so many frames in a row that are like none before, one in so many is learned: each costs a second decoding."""
_BEGINNING = b'{"type":"call","request_id":"'
_ID_AT = HEADER_BYTES + len(_BEGINNING)
_SESSION_ID = b'{"id":"'
_CONTEXT = b'","context":'
_MAX_CONTEXT_DEPTH = 16
"""Of the protocol's 64."""
_IMAGE_ID = b',"shared_mem_id":"'
_TIME = b'"timestamp_ms":'
_LONGEST_TIME = 15
"""Digits: thirty thousand years in milliseconds."""
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""What stands in a JSON string as it is."""
_ATOMS = frozenset((str, bool, int, float, type(None)))
_NO_BYTES = bytes(4)
_OPEN = ConnectionState.OPEN
_READY, _EXECUTING = HostStatus.READY, HostStatus.EXECUTING
_log = logging.getLogger(HOST_LOGGER)
_encode = msgspec.json.Encoder().encode
_decode = Codec(Role.HOST).decode
_decode_context = msgspec.json.Decoder(dict[str, Any]).decode


class _Template:
    """A frame that was checked, cut at its holes.

    What follows the request's id is `to_session` SESSION `","context":` CONTEXT `to_picture` GENERATION `to_time` TIME
    `after` TIMEOUT `}`: those in capitals are holes. Without a picture, TIMEOUT follows `to_picture`. Without a
    timeout, the bracket belongs to what is before it. Without a context, `to_picture` follows the session's id.
    """

    __slots__ = (
        "after",
        "call",
        "checked",
        "context",
        "deep",
        "ending",
        "image_meta",
        "image_prefix",
        "met_at",
        "seen",
        "session",
        "to_picture",
        "to_session",
        "to_time",
        "told_before",
        "told_behind",
    )

    def __init__(self, data: bytes, id_end: int, call: Call, checked: CheckedCall, *, observed: bool) -> None:
        """`data` is the frame, exactly as our encoder writes `call`. Raises ValueError for what can't be a template."""
        self.call = call
        self.checked = checked
        at = data.index(_SESSION_ID, id_end) + len(_SESSION_ID)
        self.session = checked.session
        """Of the last frame."""
        session_id = self.session.id.encode("ascii")
        if not is_plain(session_id):
            raise ValueError("the session's id is written with escapes")
        self.to_session = data[id_end:at]
        self.context = b""
        """What stands for it in the last frame; nothing where these frames have none."""
        end = at + len(session_id)
        if data.startswith(_CONTEXT, end):
            self.context = _encode(self.session.context)
            end += len(_CONTEXT) + len(self.context)
        self.told_before = self.told_behind = b""
        """What observers are told of a call, before its id and behind it; nothing where there are none."""
        if observed:
            from procvision_host.halves.records import told_before_id

            self.told_before = told_before_id(call)
            self._tell_session(session_id)
        self.met_at = 0
        """The number of the last call that had this form: the one that was met least lately makes room for another."""
        self.image_prefix: str | None = None
        self.image_meta: dict[str, Any] = {}
        self.to_time = self.after = b""
        self.ending = b""
        """A colon, TIMEOUT and a bracket, as in the last frame; nothing where these frames have none."""
        generation_at = len(data)
        if call.timeout_ms is not None:
            digits = b"%d" % call.timeout_ms
            self.ending = b":%b}" % digits
            generation_at -= len(digits) + 1
            if not is_time(digits):
                raise ValueError("nobody waits so long")
        if checked.meta is not None:
            generation_at = self._cut_picture(data[:generation_at], call)
        self.seen = data[id_end:generation_at]
        """What the last frame had up to GENERATION: the next has the same as a rule."""
        self.to_picture = data[end:generation_at]
        self.deep = not _ATOMS.issuperset(map(type, checked.user_params.values()))
        """Whether the algorithm could change a parameter in place."""

    def ends(self, data: bytes) -> bool:
        """Return whether a frame ends with another timeout, which the next is compared with from now on."""
        at = data.rfind(b":")
        digits = data[at + 1 : -1]
        if at < 0 or not data.endswith(b"}") or not is_time(digits):
            return False
        self.ending = data[at:]
        self.call = replace(self.call, timeout_ms=int(digits))
        return True

    def follows(self, data: bytes, id_end: int) -> bool:
        """Return whether a frame is this with another session, which the next is compared with from now on."""
        at = id_end + len(self.to_session)
        end = data.find(b'"', at)
        session_id = data[at:end]
        if (
            end < 0
            or not data.startswith(self.to_session, id_end)
            or not 0 < len(session_id) <= MAX_SESSION_ID_LENGTH
            or not is_plain(session_id)
        ):
            return False
        written, context = self.context, self.session.context
        if written:
            begin = end + len(_CONTEXT)
            # Whatever stands between: if that is one JSON object, the frame is what it would be with this context.
            end = data.rfind(self.to_picture, begin)
            if end < 0 or not data.startswith(_CONTEXT, begin - len(_CONTEXT)):
                return False
            written = data[begin:end]
            if written != self.context:
                found = context_of(written)
                if found is None:
                    return False
                context = found
        elif not data.startswith(self.to_picture, end):
            return False
        self.context = written
        self.seen = data[id_end : end + len(self.to_picture)]
        self.session = replace(self.session, id=str(session_id, "ascii"), context=context)
        self.call = replace(self.call, session=self.session)
        self.checked = replace(self.checked, session=self.session)
        if self.told_before:
            self._tell_session(session_id)
        return True

    def _tell_session(self, session_id: bytes) -> None:
        from procvision_host.halves.records import told_behind_id

        self.told_behind = told_behind_id(session_id, self.context or b"{}", final=self.session.final)

    def _cut_picture(self, data: bytes, call: Call) -> int:
        """Cut what is said of the picture. Return where its generation begins."""
        meta, image_id = call.image_meta, call.shared_mem_id
        if meta is None or image_id is None or not _ATOMS.issuperset(map(type, meta.values())):
            raise ValueError("what is said of the picture is no flat object")
        named, _, number = image_id.rpartition(":")
        self.image_prefix, self.image_meta = f"{named}:", meta
        prefix = self.image_prefix.encode("ascii")
        time = meta.get("timestamp_ms")
        if not is_plain(prefix) or not is_generation(number.encode()) or type(time) is not int:
            raise ValueError("the picture has no generation, or no time")
        # What stands before the picture's id was written like this, too.
        before = _encode(replace(call, shared_mem_id=None, image_meta=None, timeout_ms=None))
        generation_at = HEADER_BYTES + len(before) - 1 + len(_IMAGE_ID) + len(prefix)
        generation_end = generation_at + len(number)
        written = _encode(meta)
        time_at = data.index(written, generation_end) + written.index(_TIME) + len(_TIME)
        self.to_time = data[generation_end:time_at]
        digits = b"%d" % time
        self.after = data[time_at + len(digits) :]
        if not is_time(digits):
            raise ValueError("the picture's time is none of our days")
        return generation_at


def is_plain(text: bytes) -> bool:
    """Return whether a JSON string of these bytes says exactly what they are."""
    return not text.translate(None, _PLAIN)


def context_of(written: bytes) -> dict[str, Any] | None:
    """Return a session's context; None for what is none, or nests deeper than a context does."""
    if written.count(b"{") + written.count(b"[") > _MAX_CONTEXT_DEPTH:
        return None
    try:
        written.decode()  # the decoder may skip over bad UTF-8
        return _decode_context(written)
    except ValueError:  # both of what can be wrong with it
        return None


def is_generation(digits: bytes) -> bool:
    """Return whether these are a generation, as the backends of slots read it."""
    return digits.isdigit() and len(digits) <= MAX_GENERATION_DIGITS


def is_time(digits: bytes) -> bool:
    """Return whether these are a JSON number, and a time."""
    return digits.isdigit() and len(digits) <= _LONGEST_TIME and not digits.startswith(b"0")


def learned(data: bytes, id_end: int, checker: CallChecker, images: Images, *, observed: bool) -> _Template | None:
    """Return the template of a frame that holds a call; None where the general code has something to say of it."""
    try:
        call = _decode(data[HEADER_BYTES:])
        if type(call) is not Call or call.phase not in ("execute", "pre"):
            return None
        checked = checker.check(call)
        if call.shared_mem_id is not None and not images.lie_in_slots(call.shared_mem_id):
            return None
        # The places of the holes are known where a frame is what our encoder writes.
        if _encode(call) != data[HEADER_BYTES:]:
            return None
        return _Template(data, id_end, call, checked, observed=observed)
    except (RemoteProtocolError, CallRefusedError, ValueError):
        return None


class SteadyCalls:
    """Answers the steady calls of one algorithm."""

    __slots__ = (
        "_board",
        "_conversation",
        "_ends",
        "_loop",
        "_standby",
        "_stray",
        "_templates",
        "_vain",
        "_worker",
    )

    def __init__(self, loop: Loop, worker: Worker) -> None:
        self._loop = loop
        self._worker = worker
        self._conversation = loop.conversation
        self._standby = loop.standby
        self._ends = loop.ends
        self._board = loop.board
        self._stray = bytearray(4)
        self._templates: list[_Template] = []
        self._vain = 0

    def take(self, data: bytes) -> None:
        """Answer a steady call; pass other bytes on."""
        if not self.answer(data):
            self._conversation.take(data)

    def answer(self, data: bytes) -> bool:  # noqa: PLR0912, PLR0915 - each function more is code to be met cold
        """Answer the call that these bytes are. Return False, with nothing done, if they are no steady call."""
        conversation = self._conversation
        connection = conversation.connection
        length = len(data) - HEADER_BYTES
        if (
            not data.startswith(_BEGINNING, HEADER_BYTES)
            or int.from_bytes(data[:HEADER_BYTES], "big") != length
            or length > connection.max_frame_bytes
            or not connection.splitter.empty
        ):
            return False
        id_end = data.find(b'"', _ID_AT)
        raw_id = data[_ID_AT:id_end]
        if id_end < 0 or len(raw_id) > MAX_REQUEST_ID_CHARS or raw_id.translate(None, _PLAIN):
            return False
        for template in self._templates:
            if data.startswith(template.seen, id_end):
                self._vain = 0
                break
        else:
            found = self._found(data, id_end)
            if found is None:
                return False
            template = found
        end = len(data)
        if template.ending:
            if not data.endswith(template.ending) and not template.ends(data):
                return False
            end -= len(template.ending) - 1
        request_id = str(raw_id, "ascii")
        call = replace(template.call, request_id=request_id)
        generation_at = id_end + len(template.seen)
        if template.image_prefix is None:
            if generation_at != end:
                return False
        else:
            generation_end = data.find(b'"', generation_at)
            generation = data[generation_at:generation_end]
            after_at = end - len(template.after)
            time = data[generation_end + len(template.to_time) : after_at]
            if (
                not generation.isdigit()
                or len(generation) > MAX_GENERATION_DIGITS
                or not data.startswith(template.to_time, generation_end)
                or not time.isdigit()
                or len(time) > _LONGEST_TIME
                or time.startswith(b"0")
                or not data.startswith(template.after, after_at)
            ):
                return False
            call.shared_mem_id = template.image_prefix + str(generation, "ascii")
            call.image_meta = template.image_meta | {"timestamp_ms": int(time)}
        checked = template.checked
        params = deepcopy(checked.user_params) if template.deep else checked.user_params.copy()
        lock, status, pending_ids = conversation.lock, conversation.status, connection.pending_ids
        lock.acquire()
        try:
            if (
                pending_ids
                or connection.anonymous
                or conversation.waiting
                or connection.state is not _OPEN
                or status.now is not _READY
            ):
                return False
            pending_ids.add(request_id)
            status.now = _EXECUTING
            conversation.abandoned = conversation.cancellation.requested = False
            conversation.running_since = monotonic()
            conversation.running = call
        finally:
            lock.release()
        loop, worker = self._loop, self._worker
        loop.calls = template.met_at = number = loop.calls + 1
        self._board.call_begins(number, raw_id)
        if self._standby.sleeps:
            self._standby.wake()
        answer = worker.run(call, checked, params)
        if type(answer) is not Result:
            loop.finish(call, answer)
            return True
        try:
            payload = _encode(answer)
        except Exception:  # noqa: BLE001 - the general code tells what JSON can't carry
            loop.finish(call, answer)
            return True
        if loop.is_copy:
            _exit(0)
        try:
            ioctl(1, FIONREAD, self._stray)
            if self._stray != _NO_BYTES:
                wait_for_stray_output()
        except OSError:
            pass  # Its fd 1 is the algorithm's own doing.
        # The algorithm has had its hands on the process: the frames' descriptors may not be what they were.
        if not self._ends.verify():
            conversation.reader.descriptors_changed()
        length = len(payload)
        lock.acquire()
        try:
            conversation.running = None
            if status.now is _EXECUTING:
                status.now = _READY
            else:
                status.on("answered")
            abandoned = conversation.abandoned
            if not abandoned:
                if connection.state is _OPEN and length <= connection.max_frame_bytes:
                    pending_ids.discard(request_id)
                    frame = length.to_bytes(HEADER_BYTES, "big") + payload
                    if conversation.records is None:
                        conversation.write(frame)
                    else:
                        told = b"".join((template.told_before, raw_id, template.told_behind))
                        conversation.write_recorded(call, answer, frame, told)
                else:
                    answer = conversation.write_answer(answer, call)
        finally:
            lock.release()
        self._board.call_ends()
        if abandoned:
            told_too_late(call)
        elif template.session.final:
            worker.answered(call, answer, 0.0)
            if conversation.records is not None:
                conversation.records.flush()
        return True

    # --- for the compiled core --------------------------------------------------------------------------------

    def parts(self) -> dict[str, Any]:
        """Return what the compiled core works with, by its names for it."""
        loop, worker, conversation = self._loop, self._worker, self._conversation
        sessions, records = worker._sessions, conversation.records
        own: object = sessions
        met = None
        if records is not None:
            from procvision_host.halves.cell import ObservedSessions

            if isinstance(sessions, ObservedSessions):
                own, met = sessions._sessions, sessions._met
        store = own._store if isinstance(own, GuardedSessions) else None
        guarded = type(own) is GuardedSessions and type(store) is MemorySessionStore
        way: tuple[Callable[..., None], Callable[..., bytes | None], Callable[..., None]]
        way = (sessions.expect, sessions.load, worker.save)
        if not guarded:
            from procvision_host.halves.table_sessions import TableSessions

            if isinstance(sessions, TableSessions):
                way = sessions.short_way(worker.save)
        return {
            "python": self,
            "take": self.take,
            "templates": self._templates,
            "loop": loop,
            "finish": loop.finish,
            "conversation": conversation,
            "connection": conversation.connection,
            "splitter": conversation.connection.splitter,
            "status": conversation.status,
            "pending_ids": conversation.connection.pending_ids,
            "waiting": conversation.waiting,
            "write_rest": self._write_rest,
            "locked": conversation.lock.locked,
            "acquire": conversation.lock.acquire,
            "release": conversation.lock.release,
            "cancellation": conversation.cancellation,
            "flag": worker._cancellation,
            "reader": conversation.reader,
            "pump": partial(conversation.reader.pump, None, self.take),
            "interrupted": conversation.reader.interrupted,
            "nothing": _nothing,
            "ends": self._ends,
            "verify": self._verify,
            "wait_for_stray_output": wait_for_stray_output,
            "standby": self._standby,
            "wake": self._standby.wake,
            "worker": worker,
            "algorithm": worker._algorithm,
            "diagnostics": worker._diagnostics,
            "context": worker._context,
            "judge": worker.judge,
            "raised": worker.raised,
            "leave": worker.leave,
            "save": way[2],
            "answered": worker.answered,
            "images": worker.images,
            "open_image": worker.images.open,
            "sessions": own if guarded else None,
            "store": store if guarded else None,
            "met": met,
            "expect": way[0],
            "load": way[1],
            "end_session": sessions.end if records is None else self._end_session,
            "records": records,
            "ring": None if records is None else records.ring_of_calls(),
            "look": self._look,
            "write_recorded": conversation.write_recorded,
            "events": [] if records is None else records.events,
            "encode": _encode,
            "deepcopy": deepcopy,
            "Call": Call,
            "CheckedCall": CheckedCall,
            "GuardedSessions": GuardedSessions,
            "MemorySessionStore": MemorySessionStore,
            "MappedSlots": MappedSlots,
            "Mapping": Mapping,
            "MappedImage": MappedImage,
            "SlotHeader": SlotHeader,
            "Ok": Ok,
            "Result": Result,
            "Session": Session,
            "SessionRef": SessionRef,
            "Template": _Template,
            "no_start": BaseAlgorithm.on_step_start,
            "no_finish": BaseAlgorithm.on_step_finish,
            "session_of_the_call": SESSION_OF_THE_CALL,
            "open": _OPEN,
            "ready": _READY,
            "executing": _EXECUTING,
        }

    def _verify(self) -> None:
        """Look whether the descriptors are what they were, and watch them anew if they are not."""
        if not self._ends.verify():
            self._conversation.reader.descriptors_changed()

    def _end_session(self, session_id: str) -> None:
        """End a session, and tell observers of it."""
        self._worker._sessions.end(session_id)
        assert self._conversation.records is not None
        self._conversation.records.flush()

    def _look(self) -> None:
        """Have the host half look at the records."""
        records = self._conversation.records
        assert records is not None
        try:
            records.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, the call has its answer
            _log.error("observers can't be told of a record", exc_info=error)

    def _write_rest(self, frame: bytes, written: int) -> None:
        self._conversation.write_rest(memoryview(frame)[written:])

    def _found(self, data: bytes, id_end: int) -> _Template | None:
        """Return the template of a frame that is of another session than the last, or that has none yet."""
        for template in self._templates:
            if template.follows(data, id_end):
                self._vain = 0
                return template
        self._vain += 1
        if self._vain > MAX_VAIN and self._vain % MAX_VAIN:
            return None
        observed = self._conversation.records is not None
        found = learned(data, id_end, self._worker.checker, self._worker.images, observed=observed)
        if found is not None:
            if len(self._templates) >= MAX_TEMPLATES:
                self._templates.remove(min(self._templates, key=lambda template: template.met_at))
            self._templates.append(found)
        return found


def _nothing() -> None:
    """Do nothing, but for what the interpreter does where a function begins: raise what was put into this thread."""


def steady_pump(loop: Loop, worker: Worker) -> Callable[[], object]:
    """Return what waits for a frame and answers the call in it: the compiled core where it can, else `SteadyCalls`."""
    steady = SteadyCalls(loop, worker)
    core = compiled(CORE)
    if core is not None:
        try:
            pump: Callable[[], object] = core.SteadyCalls(
                steady.parts(), memoryview(loop.board.memory), loop.conversation.connection.max_frame_bytes
            ).pump
        except (KeyError, TypeError, ValueError) as error:
            # Built of another source.
            _log.warning("steady calls run in Python: the compiled core doesn't fit (%s)", error)
        else:
            return pump
    return partial(loop.conversation.reader.pump, None, steady.take)
