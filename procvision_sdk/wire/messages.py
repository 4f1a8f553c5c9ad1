"""The messages as classes, decoded in one step by their `type`.

The field names are the wire's. What the protocol lets a peer leave out has a default and is left out when it is
sent. A field of a wrong type is refused by the decoder; what a field *means* (is this a known product, does the
rect lie inside the picture) is checked by those who can tell, not here.
"""

# No `from __future__ import annotations`: msgspec would compile every annotation of these classes at every start.

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta, Struct, field

Phase: TypeAlias = Literal["pre", "execute", "info", "reset"]
PHASES: tuple[Phase, ...] = ("pre", "execute", "info", "reset")

MAX_REQUEST_ID_CHARS = 256
"""A bound, so that an answer, which repeats the `request_id`, always fits into a frame."""


class Message(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every message may carry; an answer repeats the `request_id` of what it answers."""

    TYPE: ClassVar[str] = ""

    request_id: Annotated[str, Meta(max_length=MAX_REQUEST_ID_CHARS)] | None = None
    timestamp_ms: int | None = None


class AlgorithmName(Struct, kw_only=True, omit_defaults=True):
    """The algorithm's name as it was asked for; its version once it is known."""

    name: str
    version: str | None = None


class HostHello(Message, kw_only=True, tag="hello"):
    """The host's first frame, written before it imports the algorithm."""

    TYPE: ClassVar[str] = "hello"

    sdk_version: str
    capabilities: list[str] = []
    algorithm: AlgorithmName | None = None
    process_id: int | None = None
    drain_timeout_ms: int | None = None


class RunnerHello(Message, kw_only=True, tag="hello"):
    """The runner's answer to the host's hello."""

    TYPE: ClassVar[str] = "hello"

    runner_version: str
    capabilities: list[str] = []
    heartbeat_interval_ms: int | None = None
    heartbeat_grace_ms: int | None = None


class SessionRef(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The session a call belongs to; `final` ends it after the call."""

    id: str
    context: dict[str, Any] = {}
    final: bool = False


class CallFields(Struct, kw_only=True, omit_defaults=True):
    """What may also stand inside a call's `data`, where hosts in the field look for it."""

    phase: str | None = None
    step_index: int | None = None
    pid: str | None = None
    session: SessionRef | None = None
    user_params: dict[str, Any] | None = None
    shared_mem_id: str | None = None
    image_meta: dict[str, Any] | None = None
    timeout_ms: int | None = None


class Call(Message, kw_only=True, tag="call", gc=False):
    """One request to the algorithm. `phase` is one of `PHASES`."""

    TYPE: ClassVar[str] = "call"

    phase: str = ""
    step_index: int | None = None
    pid: str | None = None
    session: SessionRef | None = None
    user_params: dict[str, Any] | None = None
    shared_mem_id: str | None = None
    image_meta: dict[str, Any] | None = None
    timeout_ms: int | None = None
    data: CallFields | None = None

    def flattened(self) -> "Call":
        """Return this call with what stands in `data` lifted to the top; a field at the top wins."""
        inner = self.data
        if inner is not None:
            self.data = None
            for name in inner.__struct_fields__:
                value = getattr(inner, name)
                # "" is the phase of a call that has none at the top.
                if value is not None and getattr(self, name) in (None, ""):
                    setattr(self, name, value)
        return self


class Cancel(Message, kw_only=True, tag="cancel"):
    """Takes the call `request_id` out of the queue, or sets its cancellation flag."""

    TYPE: ClassVar[str] = "cancel"


class Ping(Message, kw_only=True, tag="ping"):
    """Are you there? Answered in every state."""

    TYPE: ClassVar[str] = "ping"


class InFlight(Struct, kw_only=True, omit_defaults=True):
    """The call a host is executing, as told in its pong."""

    request_id: str | None = None
    elapsed_ms: int


class Pong(Message, kw_only=True, tag="pong"):
    """The answer to a ping: `state` is the host's status, `executing` the call in flight.

    Without `state` it is refused, unless it is of a host that knows no more than the outline of the protocol.
    """

    TYPE: ClassVar[str] = "pong"

    state: str = ""
    executing: InFlight | None = None
    algorithm: AlgorithmName | None = None
    host_version: str | None = None


class Shutdown(Message, kw_only=True, tag="shutdown"):
    """From the runner the request to leave, within `timeout_ms`; from the host, with `status`, its last frame."""

    TYPE: ClassVar[str] = "shutdown"

    status: str | None = None
    timeout_ms: Annotated[int, Meta(ge=1)] | None = None


class Result(Message, kw_only=True, tag="result", gc=False):
    """The outcome of a call that ran to its end."""

    TYPE: ClassVar[str] = "result"

    phase: str
    step_index: int | None = None
    status: Literal["OK", "ERROR"]
    message: str = ""
    error_code: str | None = None
    data: dict[str, Any] = {}


class ErrorData(Struct, kw_only=True, omit_defaults=True):
    """What an `error` frame says to a program: a word for the kind, and whether to try again."""

    kind: str = field(default_factory=lambda: "unknown")
    retryable: bool = field(default_factory=bool)
    detail: Any = None


class Error(Message, kw_only=True, tag="error"):
    """A call that did not run to its end, or, without `request_id`, something that concerns the whole connection."""

    TYPE: ClassVar[str] = "error"

    # Factories, since a plain default would be left out of the frame.
    status: Literal["ERROR"] = field(default_factory=lambda: "ERROR")
    message: str = field(default_factory=str)
    error_code: str = field(default_factory=lambda: "9999")
    data: ErrorData | None = None


ToHost: TypeAlias = RunnerHello | Call | Cancel | Ping | Shutdown | Error | Result | Pong
"""What a host can parse. The last two are never legal: they are parsed so that the refusal can say so."""
ToRunner: TypeAlias = HostHello | Result | Pong | Error | Shutdown | Call | Cancel | Ping
"""What a runner can parse; the last three are never legal."""
AnyMessage: TypeAlias = HostHello | ToHost

MESSAGE_TYPES: tuple[str, ...] = ("hello", "call", "cancel", "ping", "pong", "result", "error", "shutdown")
