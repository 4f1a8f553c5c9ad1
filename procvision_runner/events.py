"""What an operator sees: events as typed objects to listeners, and as JSON lines.

Events are delivered in their order by one thread, so a listener that is slow or raises holds nothing up. What a
listener doesn't take in time is dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, TextIO, TypeAlias

import attrs

_log = logging.getLogger("procvision.runner")

MAX_BACKLOG = 10_000
"""Events that wait for slow listeners: some seconds of a line at full speed."""


@attrs.frozen(kw_only=True)
class Event:
    """Something happened. `source` is the supervisor's name."""

    NAME: ClassVar[str] = "event"

    timestamp_ms: int = attrs.field(factory=lambda: time.time_ns() // 1_000_000)
    source: str = ""

    def __init_subclass__(cls) -> None:
        cls.NAME = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"event": self.NAME, **attrs.asdict(self)}


@attrs.frozen(kw_only=True)
class HostEvent(Event):
    """Something of one host; `host` counts the hosts of a supervisor from 1."""

    host: int


@attrs.frozen(kw_only=True)
class HostStarting(HostEvent):
    """A process was launched."""

    command: tuple[str, ...]
    process_id: int


@attrs.frozen(kw_only=True)
class HostReady(HostEvent):
    """Its algorithm is set up."""

    process_id: int | None
    start_s: float
    version: str | None


@attrs.frozen(kw_only=True)
class LaunchFailed(HostEvent):
    """It never became ready."""

    reason: str


@attrs.frozen(kw_only=True)
class Executing(HostEvent):
    """A call was given to the host."""

    phase: str
    session_id: str | None


@attrs.frozen(kw_only=True)
class CallEnded(Event):
    """A call has ended: `outcome` is OK, NG, ERROR, or the cause of a failure."""

    phase: str
    session_id: str | None
    outcome: str
    elapsed_ms: float
    attempts: int


@attrs.frozen(kw_only=True)
class CallRetried(Event):
    """An attempt failed and the call is made again."""

    phase: str
    session_id: str | None
    cause: str
    attempt: int


@attrs.frozen(kw_only=True)
class PongMissed(HostEvent):
    """A ping was not answered in time, `misses` in a row."""

    misses: int


@attrs.frozen(kw_only=True)
class ProtocolViolated(HostEvent):
    """The host broke a rule of the wire."""

    kind: str
    message: str


@attrs.frozen(kw_only=True)
class UnexpectedAnswer(HostEvent):
    """A late, doubled or invented answer was put on record."""

    request_id: str | None
    type: str


@attrs.frozen(kw_only=True)
class HostPutDown(HostEvent):
    """The supervisor ends a host that can't be used any more."""

    cause: str
    reason: str


@attrs.frozen(kw_only=True)
class HostEnded(HostEvent):
    """It is gone."""

    cause: str
    reason: str
    exit_status: int | None


@attrs.frozen(kw_only=True)
class HostRestarted(HostEvent):
    """Another host is ready in place of one that ended, `down_s` after it."""

    down_s: float


@attrs.frozen(kw_only=True)
class SessionsLost(HostEvent):
    """So many sessions were begun on a host that is gone."""

    count: int


@attrs.frozen(kw_only=True)
class Broken(Event):
    """No host is started any more until `reset()`."""

    reason: str


@attrs.frozen(kw_only=True)
class WasReset(Event):
    """Somebody has looked: a host is started again."""


@attrs.frozen(kw_only=True)
class Swapped(HostEvent):
    """New sessions go to another version from here on."""

    old: str
    new: str


@attrs.frozen(kw_only=True)
class SwapFailed(Event):
    """The old version serves on."""

    new: str
    reason: str


@attrs.frozen(kw_only=True)
class HostDrained(HostEvent):
    """The last session of the old version has ended, or its time was over with `sessions_cut` still open."""

    sessions_cut: int


@attrs.frozen(kw_only=True)
class CrashReported(HostEvent):
    """A folder with what is known of an incident was written."""

    folder: str


@attrs.frozen(kw_only=True)
class Measured(HostEvent):
    """Memory and CPU of a host and all that it started."""

    processes: int
    memory_bytes: int
    cpu_percent: float


@attrs.frozen(kw_only=True)
class Stopped(Event):
    """The supervisor has stopped."""


Listener: TypeAlias = Callable[[Event], None]


class EventBus:
    """From whatever thread an event happens on to the listeners, on one thread that starts with the first of them."""

    def __init__(self, listeners: tuple[Listener, ...] = ()) -> None:
        self.dropped = 0
        self._listeners = listeners
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def heard(self) -> bool:
        """Whether there is anybody to make an event for."""
        return bool(self._listeners)

    def add(self, listener: Listener) -> None:
        """From now on it is told."""
        with self._changed:
            self._listeners = (*self._listeners, listener)

    def emit(self, event: Event) -> None:
        """Never blocks, never raises."""
        if not self._listeners:
            return
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= MAX_BACKLOG:
                self.dropped += 1
                return
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, name="procvision-events", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                event = self._waiting.popleft()
            for listener in self._listeners:
                try:
                    listener(event)
                except BaseException:  # noqa: BLE001 - foreign code: not even its SystemExit ends this thread
                    _log.exception("a listener raised at %s", event.NAME)

    def close(self, timeout_s: float = 2.0) -> None:
        """Delivers what waits, then ends the thread; a listener that blocks is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)


class JsonLines:
    """A listener that writes each event as one line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Writes it at once, so that whoever follows the file sees it."""
        with contextlib.suppress(ValueError):  # a stream that was closed meanwhile
            self._stream.write(json.dumps(event.as_dict()) + "\n")
            self._stream.flush()
