"""What the hook plugins are told of calls, sessions and log records; made only where one of them listens."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Generator
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_host.hooks.isolation import Isolation, on_observers_thread
from procvision_host.logs import HOST_LOGGER, LogContext, record_fields
from procvision_sdk.wire.messages import AnyMessage, Call, Error, Result

if TYPE_CHECKING:
    from procvision_host.algorithm.sessions import Sessions
    from procvision_host.hooks.manager import Hooks

CALL_HOOKS = (
    "procvision_call_finished",
    "procvision_call_failed",
    "procvision_diagnostics_published",
)
SESSION_HOOKS = ("procvision_session_opened", "procvision_session_saved", "procvision_session_ended")
LOG_HOOK = "procvision_log_record"
MAX_REMEMBERED_SESSIONS = 1024
"""So many sessions are remembered as opened; one that was forgotten is told as opened again."""


class Telling:
    """Stands around the calls of a host, as far as its hook plugins want to know of them."""

    def __init__(self, hooks: Hooks, sessions: Sessions) -> None:
        self._hooks = hooks
        self._wrappers = hooks.around_call()
        self._calls_heard = hooks.listening(*CALL_HOOKS)
        self._open: list[tuple[Isolation, Generator[None, Any, None], bool]] = []
        self._session_events: list[tuple[str, dict[str, Any]]] = []
        self.sessions: Sessions = sessions
        """The store that the worker uses."""
        self.answered: Callable[[Call, AnyMessage, float], None] | None = None
        """What is to be told of each call that was answered; None where nobody listens."""
        sessions_heard = hooks.listening(*SESSION_HOOKS)
        if sessions_heard:
            self.sessions = ObservedSessions(sessions, self._session_events.append)
        if self._wrappers or self._calls_heard or sessions_heard:
            self.answered = self._answered

    def around(self, run: Callable[[Call], Result | Error]) -> Callable[[Call], Result | Error]:
        """The execution of calls with the wrappers' first parts before it; as it was where there are none."""
        if not self._wrappers:
            return run

        def run_wrapped(call: Call) -> Result | Error:
            for isolation, function in self._wrappers:
                if not isolation.off:
                    self._enter(isolation, function, call)
            return run(call)

        return run_wrapped

    def _answered(self, call: Call, answer: AnyMessage, elapsed_ms: float) -> None:
        if self._open:
            self._leave(answer, elapsed_ms)
        if self._calls_heard:
            self._tell_call(call, answer, elapsed_ms)
        if self._session_events:
            # The list stays the same object: the store notes into it.
            events = self._session_events[:]
            self._session_events.clear()
            for hook, values in events:
                self._hooks.tell(hook, partial(dict, values))

    def _enter(self, isolation: Isolation, function: Callable[..., Any], call: Call) -> None:
        def begin() -> Generator[None, Any, None]:
            generator: Generator[None, Any, None] = function(call=_told_call(call))
            next(generator)
            return generator

        failures = isolation.failures
        generator = isolation.run("procvision_around_call", begin, slow_fails=True, whole=False)
        if generator is not None:
            self._open.append((isolation, generator, isolation.failures == failures))

    def _leave(self, answer: AnyMessage, elapsed_ms: float) -> None:
        opened, self._open = self._open, []
        for isolation, generator, began_well in reversed(opened):

            def finish(generator: Generator[None, Any, None] = generator) -> None:
                try:
                    generator.send({"answer": msgspec.to_builtins(answer), "elapsed_ms": elapsed_ms})
                except StopIteration:
                    return
                generator.close()
                raise RuntimeError("it yielded more than once")

            isolation.run("procvision_around_call", finish, slow_fails=True, whole=began_well)

    def _tell_call(self, call: Call, answer: AnyMessage, elapsed_ms: float) -> None:
        # Taken here: the observers' threads may come to it late.
        ended_at_ns = time_ns()

        def arguments() -> dict[str, Any]:
            return {
                "call": _told_call(call),
                "answer": msgspec.to_builtins(answer),
                "elapsed_ms": elapsed_ms,
                "ended_at_ns": ended_at_ns,
            }

        tell = self._hooks.tell
        tell("procvision_call_finished", arguments)
        if getattr(answer, "status", None) != "OK":
            tell("procvision_call_failed", arguments)
        debug = getattr(answer, "data", {}).get("debug") if hasattr(answer, "phase") else None
        if debug and len(debug) > 1:
            tell(
                "procvision_diagnostics_published",
                lambda: {
                    "call": _told_call(call),
                    "diagnostics": msgspec.to_builtins(debug),
                    "ended_at_ns": ended_at_ns,
                },
            )


def _told_call(call: Call) -> dict[str, Any]:
    session = call.session
    return {
        "phase": call.phase,
        "step_index": call.step_index,
        "pid": call.pid,
        "request_id": call.request_id,
        "session_id": session.id if session else None,
        "context": msgspec.to_builtins(session.context) if session else {},
        "final": bool(session and session.final),
    }


class ObservedSessions:
    """Sessions whose openings, savings and ends are noted for observers."""

    def __init__(self, sessions: Sessions, note: Callable[[tuple[str, dict[str, Any]]], None]) -> None:
        self._sessions = sessions
        self._note = note
        self._met: OrderedDict[str, None] = OrderedDict()

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


class LogTeller(logging.Handler):
    """Tells observers of log records, but not of what they log themselves."""

    def __init__(self, hooks: Hooks, algorithm: str, context: LogContext) -> None:
        super().__init__()
        self._hooks = hooks
        self._algorithm = algorithm
        self._context = context
        self._busy = False

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises and never blocks."""
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
        """Listens to the root logger and to the host's own, which has no parent."""
        logging.getLogger().addHandler(self)
        logging.getLogger(HOST_LOGGER).addHandler(self)
