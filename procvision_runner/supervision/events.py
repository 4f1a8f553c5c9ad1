"""What an operator sees: events as typed objects for listeners, and as JSON lines."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TextIO, TypeAlias

import attrs

from procvision_runner.delivery import Delivery
from procvision_sdk.jsontext import json_text
from procvision_sdk.masking import masked_command


def _masked(command: Iterable[str]) -> tuple[str, ...]:
    return tuple(masked_command(command))


@attrs.frozen(kw_only=True)
class Event:
    """Something happened. `source` is the supervisor's name."""

    NAME: ClassVar[str] = "event"

    timestamp_ms: int = attrs.field(factory=lambda: time.time_ns() // 1_000_000)
    source: str = ""

    def __init_subclass__(cls) -> None:
        cls.NAME = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {"event": self.NAME, **attrs.asdict(self)}


@attrs.frozen(kw_only=True)
class HostEvent(Event):
    """Something of one host; `host` counts the hosts of a supervisor from 1."""

    host: int


@attrs.frozen(kw_only=True)
class HostStarting(HostEvent):
    """A process was launched; secrets in its command are masked."""

    command: tuple[str, ...] = attrs.field(converter=_masked)
    process_id: int


@attrs.frozen(kw_only=True)
class HostReady(HostEvent):
    """Its algorithm is set up."""

    process_id: int | None
    start_s: float
    version: str | None


@attrs.frozen(kw_only=True)
class LaunchFailed(HostEvent):
    """It never became ready; `retryable` says that the cause passes."""

    reason: str
    retryable: bool = False


@attrs.frozen(kw_only=True)
class Executing(HostEvent):
    """A call was given to the host."""

    phase: str
    session_id: str | None


@attrs.frozen(kw_only=True)
class CallEnded(Event):
    """A call has ended: `outcome` is OK, NG, ERROR, the cause of a failure, or NONE for a phase without a verdict."""

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
    """An answer that came late, came twice or answers no call was recorded."""

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
    """Another host is ready in place of one that ended, `down_s` after it; a spare before `host_ended` is told."""

    down_s: float


@attrs.frozen(kw_only=True)
class SpareTookOver(HostEvent):
    """The spare host, ready already, has the calls from here on; it is the supervisor's `host` now."""

    spare: int
    process_id: int
    version: str | None


@attrs.frozen(kw_only=True)
class SpareGivenUp(Event):
    """No spare host is started until a host becomes ready again, or until a `recover()` or a swap."""

    reason: str


@attrs.frozen(kw_only=True)
class SessionsLost(HostEvent):
    """So many sessions were begun on a host that is gone."""

    count: int


@attrs.frozen(kw_only=True)
class WaitingForHost(Event):
    """What a host needs is away, such as its session store: hosts are tried until one is ready. Told once a reason."""

    reason: str


@attrs.frozen(kw_only=True)
class Broken(Event):
    """No host is started any more until `recover()`."""

    reason: str


@attrs.frozen(kw_only=True)
class Recovering(Event):
    """`recover()` was called: a host is started again."""


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
class PictureSuspected(HostEvent):
    """A picture ended two hosts in a row: it is not tried again. `digest` is BLAKE2b of its bytes."""

    digest: str
    phase: str
    step_index: int | None
    pid: str | None
    session_id: str | None
    camera_id: str | None
    picture_timestamp_ms: int | None
    cause: str


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


@attrs.frozen
class Only:
    """A listener that hears events of some kinds alone. One that hears no call's costs calls nothing."""

    listener: Listener
    kinds: tuple[type[Event], ...]

    def __call__(self, event: Event) -> None:
        """Tell the event if it is of these kinds."""
        if isinstance(event, self.kinds):
            self.listener(event)


class EventBus(Delivery[Event]):
    """Takes events from any thread to the listeners."""

    __slots__ = ("calls_heard",)

    def __init__(self, listeners: tuple[Listener, ...] = ()) -> None:
        super().__init__(listeners, "procvision-events")
        self.calls_heard = any(map(_hears_calls, listeners))
        """Whether any listener hears the events of each call."""

    def add(self, listener: Listener) -> None:
        """Tell this listener, too, from now on."""
        super().add(listener)
        self.calls_heard = self.calls_heard or _hears_calls(listener)


def _hears_calls(listener: Listener) -> bool:
    kinds = listener.kinds if isinstance(listener, Only) else (Event,)
    return any(issubclass(call, kinds) or issubclass(kind, call) for call in _CALLS for kind in kinds)


_CALLS = (Executing, CallEnded, CallRetried)


class JsonLines:
    """A listener that writes each event as one line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write the event at once, for those who follow the file."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with contextlib.suppress(ValueError):  # a stream that was closed meanwhile
            self._stream.write(json_text(event.as_dict(), encoding=encoding) + "\n")
            self._stream.flush()
