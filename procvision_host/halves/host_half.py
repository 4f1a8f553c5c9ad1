"""The host half: it has the hook plugins, the stores and their secrets, and nothing of a vendor's runs in it.

Three threads beside the guardian's: one reads the configuration, then answers the cell's questions and has the store;
one takes the cell's records and hands them to the observers, who have threads of their own. Whatever goes wrong here
that isn't the configuration's fault ends the cell: a host that can't keep what it promised mustn't go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from procvision_host.halves.messages import Done, HostChannel, LostChannelError, Plan, Refused
from procvision_host.halves.ring import Ring, SpoiltRingError
from procvision_host.process.channels import PrivateEnds
from procvision_host.process.output_relay import record
from procvision_sdk.errors import CallRefusedError, ErrorCode, ProcVisionError

if TYPE_CHECKING:
    from procvision_host.algorithm.images import Images
    from procvision_host.algorithm.sessions import GuardedSessions
    from procvision_host.algorithm.tabled_sessions import TabledSessions
    from procvision_host.hooks.manager import Hooks
    from procvision_host.hooks.observers import LogDispatcher, RecordDispatcher, Wrappers
    from procvision_host.options import HostOptions
    from procvision_sdk.images.backend import OpenedImage

GATHER_S = 0.005
"""How long records gather before they are looked at: waking a thread for each would cost the cell more than telling."""
LINGER_S = 0.25
"""How long they are looked for after the last: a line that calls every few milliseconds wakes nobody."""
CARRY_EVERY_S = 0.2
"""How long what was saved into a table of sessions waits for its way into the store, as a rule."""
END_S = 2.0
"""How long the store and what isn't seen yet have at the end."""
_SWITCH_S = 0.0005
"""How long a thread of these keeps the interpreter from another that answers a call's question."""


class HostHalf:
    """What the launched process is beside a guardian, where hooks or a store ask for it."""

    def __init__(self, arguments: Sequence[str], cell: int, ends: PrivateEnds, ring: Ring) -> None:
        self._arguments = arguments
        self._cell = cell
        """A process descriptor; SIGKILL to it ends the cell."""
        self._ends = ends
        self._ring = ring
        self.log, self._log_end = os.pipe()
        """Where this process's own log can be read."""
        self.lines_dropped = 0
        """How many lines of it found no room."""
        self._hooks: Hooks | None = None
        self._dispatcher: RecordDispatcher | None = None
        self._wrappers: Wrappers | None = None
        self._log_dispatcher: LogDispatcher | None = None
        self._sessions: GuardedSessions | None = None
        self._carried_at = 0.0
        self._images: Images | None = None
        self._image: OpenedImage | None = None
        self._room_bytes = 0
        self._hidden: list[str] = []
        """Files and folders of this half's that the cell doesn't see, where it could open them."""
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._answering = threading.Thread(target=self._guarded, args=(self._answer,), name="procvision-private")
        self._collecting = threading.Thread(target=self._guarded, args=(self._collect,), name="procvision-records")
        self._answering.daemon = self._collecting.daemon = True

    # --- for the guardian -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read the configuration, and return at once."""
        os.set_blocking(self._log_end, False)
        sys.setswitchinterval(_SWITCH_S)
        self._answering.start()

    def wake(self) -> None:
        """Look at the records: the cell has written one."""
        self._woken.set()

    def _line_dropped(self) -> None:
        self.lines_dropped += 1

    def hear(self, line: bytes) -> None:
        """Tell observers of a line of the cell's log."""
        log_dispatcher = self._log_dispatcher
        if log_dispatcher is not None:
            log_dispatcher.tell_line(line)

    def end(self, exit_status: int | None) -> None:
        """Take what the cell left when it ended, tell of its end if that was in order, and close the store."""
        self._ended.set()
        self._woken.set()
        self._ends.cell_is_gone()
        if self._collecting.ident is not None:
            self._collecting.join(END_S)
        if self._hooks is not None:
            if exit_status is not None:
                self._hooks.tell("procvision_host_closed", lambda: {"exit_status": exit_status})
            self._hooks.end()
        self._answering.join(END_S)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody would answer the cell any more
            if not self._ended.is_set():
                foreign = isinstance(error, (LostChannelError, SpoiltRingError))
                trace = f"{error}; its process is ended" if foreign else "".join(traceback.format_exception(error))
                with contextlib.suppress(OSError):
                    os.write(self._log_end, record("critical", f"the host half failed: {trace}"))
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._cell, signal.SIGKILL)

    # --- the configuration ----------------------------------------------------------------------------------

    def _plan(self, options: HostOptions) -> Plan:
        from procvision_host import exits
        from procvision_host.configuration import ConfigurationError

        try:
            return self._configured(options)
        except ProcVisionError as error:
            logging.getLogger("procvision.host").error("%s", error)  # noqa: TRY400 - the text says it all
            code = error.error_code if isinstance(error, ConfigurationError) else ErrorCode.CONFIGURATION_INVALID
            status, retryable = exits.CONFIGURATION, False
            if isinstance(error, ConfigurationError):
                status, retryable = error.exit_status, error.retryable
            return Plan(failed=(str(code), "configuration", str(error), status, retryable))

    def _configured(self, options: HostOptions) -> Plan:
        from procvision_host.algorithm.images import Images
        from procvision_host.algorithm.session_secret import secret_path, session_secret
        from procvision_host.algorithm.sessions import chosen_store, open_store
        from procvision_host.algorithm.tabled_sessions import with_table
        from procvision_host.builtin.memory_store import MemorySessionStore
        from procvision_host.hooks.manager import Hooks
        from procvision_host.hooks.observers import (
            CALL_HOOKS,
            LIFE_HOOKS,
            LOG_HOOK,
            SESSION_HOOKS,
            LogDispatcher,
            RecordDispatcher,
            Wrappers,
        )
        from procvision_host.logs import LogContext
        from procvision_sdk.environment import SUPERVISOR_VARIABLE
        from procvision_sdk.images.layout import ARENA_SCHEME, SCHEME

        config = options.read_config(os.environ)
        chosen = chosen_store(options.sessions, config, os.environ)
        self._hooks = hooks = Hooks(options.hook_choice(config, os.environ))
        if hooks.listening(LOG_HOOK):
            self._log_dispatcher = LogDispatcher(hooks, options.algo, LogContext())
            self._log_dispatcher.install()
        backends = dict(hooks.image_backends({ARENA_SCHEME: _the_cells}))
        for own in (SCHEME, ARENA_SCHEME):
            backends.pop(own, None)
        self._images = Images(backends)
        named = None if ":" in options.algo else options.algo.partition("==")[0].partition("@")[0]
        self._dispatcher = RecordDispatcher(hooks, named, os.environ.get(SUPERVISOR_VARIABLE, ""))
        self._wrappers = Wrappers(hooks)
        store = open_store(chosen, hooks.session_stores())
        self._hidden = [*hooks.hidden(), *options.named_config(os.environ)]
        plan = Plan(
            schemes=sorted(backends),
            calls=hooks.listening(*CALL_HOOKS),
            sessions=hooks.listening(*SESSION_HOOKS),
            life=hooks.listening(*LIFE_HOOKS),
            wrapped=bool(self._wrappers),
        )
        if isinstance(store, MemorySessionStore):
            plan.memory = store.values  # it stays in the cell
        else:
            plan.remote_sessions = True
            # By the name that was asked for: whatever the cell says of itself, it gets no other algorithm's sessions.
            asked, secret = named or options.algo, session_secret(os.environ)
            self._sessions, plan.table = with_table(
                store, options.max_session_bytes, algorithm=asked, secret=secret, hand_over=self._ends.hand_over
            )
            self._hidden += [str(secret_path(os.environ).absolute()), *_files_of(chosen)]
        return plan

    # --- questions ------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        from procvision_host.logs import LogContext, OwnPipe, install
        from procvision_host.options import WrongCommandLineError, parse
        from procvision_host.process.setup import unbuffered_stream

        sys.stdout, sys.stderr = unbuffered_stream(1), unbuffered_stream(2)
        try:
            options = parse(list(self._arguments))
        except WrongCommandLineError:
            return  # the cell says so
        install(OwnPipe(self._log_end), options.algo, LogContext(), options.log_level, self._line_dropped)
        channel = HostChannel(self._ends.requests, self._ends.replies)
        if options.isolation == "basic":
            if channel.question() != ["hidden"]:
                return
            plan = self._plan(options)
            with contextlib.suppress(BrokenPipeError):  # a cell that is gone asks nothing more
                channel.answer(Done(self._hidden))
            channel = HostChannel(self._ends.requests, self._ends.replies)
        elif options.isolation == "strict":
            # Asked before everything else: the cell is shut in while hooks and stores are made.
            if channel.question() != ["grants"]:
                return
            channel.answer(Done(_grants(options)))
            channel = HostChannel(self._ends.requests, self._ends.replies)  # what the cell asks then it numbers anew
            plan = self._plan(options)
        else:
            plan = self._plan(options)
        self._ends.stop_handing()
        if plan.failed is None:
            self._collecting.start()
        idle = self._carry if plan.table else None
        while (question := channel.question(idle, CARRY_EVERY_S)) is not None:
            answer = Done(plan) if question == ["plan"] else self._answer_to(question)
            try:
                channel.answer(answer)
            except BrokenPipeError:
                break
            if idle is not None and monotonic() >= self._carried_at + CARRY_EVERY_S:
                idle()  # questions one after the other leave no time for it
        self._close()

    def _carry(self) -> None:
        """Put what the cell has written into the table of sessions into the store."""
        if TYPE_CHECKING:
            assert isinstance(self._sessions, TabledSessions)
        self._ring.refuse_table(not self._sessions.carry_sometimes(self._ring.table_writes))
        self._carried_at = monotonic()

    def _answer_to(self, question: list[Any]) -> Done | Refused:
        name = question[0] if question and isinstance(question[0], str) else ""
        handler, kinds = _HANDLERS.get(name, (None, ()))
        values = question[1:]
        if handler is None or len(values) != len(kinds) or not all(map(isinstance, values, kinds)):
            raise LostChannelError(f"the algorithm asks what nobody asks here, {question!r:.200}")
        try:
            return Done(handler(self, *values))
        except CallRefusedError as refusal:
            return Refused.of(refusal)
        except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
            raise LostChannelError(f"the algorithm's {name} is no {name}: {error}") from error

    def _load(self, session_id: str) -> bytes | None:
        assert self._sessions is not None
        return self._sessions.load(session_id)

    def _save(self, session_id: str, state: bytes) -> None:
        assert self._sessions is not None
        self._sessions.save(session_id, state)

    def _find(self, session_id: str) -> Any:
        if TYPE_CHECKING:
            assert isinstance(self._sessions, TabledSessions)
        return self._sessions.find(session_id)

    def _keep(self, session_id: str, state: bytes, base: int) -> int:
        if TYPE_CHECKING:
            assert isinstance(self._sessions, TabledSessions)
        return self._sessions.keep(session_id, state, base)

    def _delete(self, session_id: str) -> None:
        assert self._sessions is not None
        self._sessions.delete(session_id)

    def _end_session(self, session_id: str) -> None:
        assert self._sessions is not None
        self._sessions.end(session_id)

    def _open_image(self, shared_mem_id: str, meta: dict[str, Any]) -> tuple[int, int]:
        """Put the picture into the room. Return its width and height."""
        import msgspec

        from procvision_sdk.images.meta import ImageMeta

        assert self._images is not None
        self._image = None
        checked = msgspec.convert(meta, ImageMeta)
        self._image = image = self._images.open(shared_mem_id, {}, checked)
        try:
            array = self._images.read(shared_mem_id, {})
            height, width = array.shape[:2]
            _check_picture(array)
            if array.nbytes > self._room_bytes:
                os.ftruncate(self._ends.room, array.nbytes)
                self._room_bytes = array.nbytes
            _write_all(self._ends.room, array.tobytes() if not array.flags.c_contiguous else array.data)
        except BaseException:
            self._image = None
            raise
        finally:
            self._images.release()
        assert image is not None
        return width, height

    def _still_valid(self) -> None:
        if self._image is not None:
            self._image.still_valid()

    def _record(self, kind: int, data: bytes) -> None:
        """A record that is too large for the ring, which has what was before it."""
        self._drain()
        with self._draining:
            assert self._dispatcher is not None
            self._dispatcher.take(kind, data)

    def _enter(self, call: bytes) -> None:
        assert self._wrappers is not None
        self._wrappers.enter(call)

    def _leave(self, answer: bytes, elapsed_ms: float) -> None:
        assert self._wrappers is not None
        self._wrappers.leave(answer, elapsed_ms)

    def _close(self) -> None:
        if self._sessions is not None:
            self._sessions.close()
        if self._images is not None:
            self._images.close()

    # --- records --------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        ring, lingers_until = self._ring, 0.0
        while not self._ended.wait(GATHER_S):
            if self._drain():
                lingers_until = monotonic() + LINGER_S
                continue
            if monotonic() < lingers_until:
                continue
            self._woken.clear()
            ring.sleeps(asleep=True)
            # Looked at once more: what was put down in between has seen nobody asleep.
            if not self._drain():
                self._woken.wait(None if not ring.waiting else GATHER_S)
            ring.sleeps(asleep=False)
        self._drain(ended=True)

    _draining = threading.Lock()

    def _drain(self, *, ended: bool = False) -> bool:
        """Hand the records to the observers. Return whether there were any."""
        assert self._dispatcher is not None
        found = False
        with self._draining:
            try:
                for kind, data in self._ring.take(ended=ended):
                    found = True
                    self._dispatcher.take(kind, data)
            except (SpoiltRingError, ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
                raise SpoiltRingError(f"the algorithm wrote into the records: {error}") from error
        return found


_HANDLERS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "load": (HostHalf._load, (str,)),
    "save": (HostHalf._save, (str, bytes)),
    "find": (HostHalf._find, (str,)),
    "keep": (HostHalf._keep, (str, bytes, int)),
    "delete": (HostHalf._delete, (str,)),
    "end": (HostHalf._end_session, (str,)),
    "open_image": (HostHalf._open_image, (str, dict)),
    "still_valid": (HostHalf._still_valid, ()),
    "record": (HostHalf._record, (int, bytes)),
    "enter": (HostHalf._enter, (bytes,)),
    "leave": (HostHalf._leave, (bytes, (int, float))),
}
"""What the cell asks, and the types of what it gives with it."""


def _grants(options: HostOptions) -> list[str]:
    """Return the grants of the configuration; none of one that can't be read, which the plan tells."""
    from procvision_host.configuration import ConfigurationError

    try:
        found = options.read_config(os.environ).get("grants", [])
    except ConfigurationError:
        return []
    return [str(name) for name in found] if isinstance(found, list) else [str(found)]


def _files_of(store: str) -> list[str]:
    """Return the files of a store that lies in files of this machine: SQLite's, what it keeps beside it, its tables."""
    scheme, _, rest = store.partition("?")[0].partition(":")
    if scheme != "sqlite":
        return []
    place = os.path.abspath(rest)  # noqa: PTH100 - links stay
    folder, name = os.path.split(place)
    try:
        beside = [entry for entry in os.listdir(folder) if entry.startswith(f"{name}-")]  # noqa: PTH208 - texts
    except OSError:  # a folder that may be used need not be one that may be listed
        beside = [f"{name}-wal", f"{name}-shm"]
    return [place, *(f"{folder}/{entry}" for entry in beside)]


def _the_cells() -> None:
    """The cell opens pictures of this scheme itself: no hook plugin may claim it."""


def _check_picture(array: Any) -> None:
    if array.ndim != 3 or array.shape[2] != 3 or str(array.dtype) != "uint8":
        raise CallRefusedError(
            ErrorCode.IMAGE_LOAD_FAILED,
            "image_backend",
            f"the image backend gave {array.dtype} of shape {array.shape}, a picture is H x W x 3, uint8",
        )


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    rest, at = memoryview(data).cast("B"), 0
    while at < len(rest):
        at += os.pwrite(descriptor, rest[at:], at)
