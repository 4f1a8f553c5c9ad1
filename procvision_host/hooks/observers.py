"""Tells the hook plugins of calls, sessions and log records, as the cell's records say it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from procvision_host.halves.records import ANSWERED, EVENTS, AnswerRecord, named
from procvision_host.hooks.isolation import Isolation, on_observers_thread
from procvision_host.logs import HOST_LOGGER, LogContext, record_fields

if TYPE_CHECKING:
    from procvision_host.hooks.manager import Hooks

CALL_HOOKS = (
    "procvision_call_finished",
    "procvision_call_failed",
    "procvision_diagnostics_published",
)
SESSION_HOOKS = ("procvision_session_opened", "procvision_session_saved", "procvision_session_ended")
_LOADED, _READY = "procvision_host_loaded", "procvision_host_ready"
LIFE_HOOKS = (_LOADED, _READY, "procvision_host_draining")
LOG_HOOK = "procvision_log_record"
_decode_events = msgspec.msgpack.Decoder(list[tuple[str, dict[str, Any]]]).decode
_TOLD_BY_EVENTS = frozenset((*SESSION_HOOKS, *LIFE_HOOKS))


class RecordDispatcher:
    """Tells the observers what a record of the cell says.

    What is said in a call the cell may say as it likes: it is its own. Whose record it is, a file, a topic, the labels
    of a metric, comes from what the host was asked for.
    """

    def __init__(self, hooks: Hooks, algorithm: str | None, supervisor: str) -> None:
        """`algorithm` is the name that was asked for, None where a source gives it."""
        self._hooks = hooks
        self._algorithm = algorithm
        self._supervisor = supervisor
        self._loaded: dict[str, Any] = {}

    def take(self, kind: int, data: bytes) -> None:
        """Tell of one record. Raises ValueError and TypeError for what is none."""
        if kind == ANSWERED:
            self._tell_answer(AnswerRecord(data))
        elif kind == EVENTS:
            self._tell_events(_decode_events(data), len(data))
        else:
            raise ValueError(f"a record of kind {kind} doesn't come here")

    def _tell_events(self, events: list[tuple[str, dict[str, Any]]], size: int) -> None:
        for hook, values in events:
            if hook not in _TOLD_BY_EVENTS:
                raise ValueError(f"a cell doesn't tell of {hook[:80]!r}")
            told = values
            if hook == _LOADED:
                told = self._loaded = self._as_asked_for(values)
            elif hook == _READY:
                if not self._loaded:
                    raise ValueError("the algorithm is ready before it is loaded")
                told = {name: self._loaded[name] for name in ("algorithm", "version")}
            self._hooks.tell(hook, partial(dict, told), size)
            size = 0  # they are held together

    def _as_asked_for(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what observers are told of the algorithm. Raises ValueError where the cell claims to be another's."""
        told = msgspec.convert(values, _Loaded)
        if self._loaded:
            raise ValueError(f"the algorithm is loaded a second time, as {told.algorithm!r}")
        if self._algorithm is None:
            from procvision_sdk.manifest.model import ALGORITHM_NAME

            msgspec.convert(told.algorithm, Annotated[str, ALGORITHM_NAME])  # it may become the name of a file
        elif told.algorithm != self._algorithm:
            raise ValueError(f"the algorithm calls itself {told.algorithm!r}, asked for is {self._algorithm!r}")
        return {**msgspec.structs.asdict(told), "supervisor": self._supervisor}

    def _tell_answer(self, record: AnswerRecord) -> None:
        def arguments() -> dict[str, Any]:
            # Decoded for each observer on its own thread: what it is given is its own.
            return {
                "call": record.call(),
                "answer": record.answer(),
                "elapsed_ms": record.elapsed_ms,
                "ended_at_ns": record.ended_at_ns,
            }

        def diagnostics() -> dict[str, Any]:
            told = record.answer()["data"]["debug"]
            return {"call": record.call(), "diagnostics": told, "ended_at_ns": record.ended_at_ns}

        tell = self._hooks.tell
        tell("procvision_call_finished", arguments, record.size)
        if record.failed:
            tell("procvision_call_failed", arguments, record.size)
        if record.diagnostics:
            tell("procvision_diagnostics_published", diagnostics, record.size)


class _Loaded(msgspec.Struct):
    """What a cell says of its algorithm."""

    algorithm: str
    version: Annotated[str, msgspec.Meta(max_length=64)]
    process_id: int
    supervisor: str = ""


class Wrappers:
    """Runs the wrappers around the call that the cell is about to begin, and has answered."""

    def __init__(self, hooks: Hooks) -> None:
        self._wrappers = hooks.around_call()
        self._open: list[tuple[Isolation, Generator[None, Any, None], bool]] = []

    def __bool__(self) -> bool:
        return bool(self._wrappers)

    def enter(self, told: bytes) -> None:
        """Run the wrappers' first parts."""
        for isolation, function in self._wrappers:
            if not isolation.off:
                self._enter(isolation, function, named(told))

    def leave(self, answer: bytes, elapsed_ms: float) -> None:
        """Run the wrappers' second parts, in the other order."""
        opened, self._open = self._open, []
        for isolation, generator, began_well in reversed(opened):

            def finish(generator: Generator[None, Any, None] = generator) -> None:
                try:
                    generator.send({"answer": msgspec.json.decode(answer), "elapsed_ms": elapsed_ms})
                except StopIteration:
                    return
                generator.close()
                raise RuntimeError("it yielded more than once")

            isolation.run("procvision_around_call", finish, slow_fails=True, whole=began_well)

    def _enter(self, isolation: Isolation, function: Callable[..., Any], call: Mapping[str, Any]) -> None:
        def begin() -> Generator[None, Any, None]:
            generator: Generator[None, Any, None] = function(call=call)
            next(generator)
            return generator

        failures = isolation.failures
        generator = isolation.run("procvision_around_call", begin, slow_fails=True, whole=False)
        if generator is not None:
            self._open.append((isolation, generator, isolation.failures == failures))


class LogDispatcher(logging.Handler):
    """Tells observers of the host half's own log records, but not of what they log themselves."""

    def __init__(self, hooks: Hooks, algorithm: str, context: LogContext) -> None:
        super().__init__()
        self._hooks = hooks
        self._algorithm = algorithm
        self._context = context
        self._busy = False

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of a record. Never raises and never blocks."""
        # The handler's lock keeps other threads out: what comes here twice is what telling itself has logged.
        if self._busy or on_observers_thread():
            return
        self._busy = True
        try:
            fields = record_fields(record, self._algorithm, self._context)
            self._hooks.tell(LOG_HOOK, lambda: {"record": msgspec.to_builtins(fields, enc_hook=repr)})
        except Exception:  # noqa: BLE001 - a vendor's record must not take the host down; stderr tells of it
            return
        finally:
            self._busy = False

    def install(self) -> None:
        """Listen to the root logger and to the host's own, which has no parent."""
        logging.getLogger().addHandler(self)
        logging.getLogger(HOST_LOGGER).addHandler(self)

    def tell_line(self, line: bytes) -> None:
        """Tell of a line of the cell's log."""
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            return  # stderr has it as it is
        fields["algorithm"] = self._algorithm  # a line says what it likes
        self._hooks.tell(LOG_HOOK, lambda: {"record": dict(fields)}, len(line))
