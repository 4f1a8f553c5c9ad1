"""One end of the wire as a state machine: bytes in, events out; messages in, bytes out.

It knows no file, no thread and no clock: `now`, in monotonic seconds, is an argument wherever time matters. What
the peer sends never raises out of it; it becomes an event. What our own side asks for against the rules raises
LocalProtocolError, and nothing goes out. The rules themselves are the tables of `wire.tables`.
Warning: not thread-safe; threads that share a Connection hold a lock around every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, get_args

from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import Codec, error_for
from procvision_sdk.wire.errors import REFUSALS, LocalProtocolError, RemoteProtocolError
from procvision_sdk.wire.events import (
    Event,
    HandshakeExpired,
    PeerClosed,
    PingDue,
    PongMissed,
    UnexpectedAnswer,
    Violation,
)
from procvision_sdk.wire.frames import (
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_PENDING,
    FrameSplitter,
    frame,
    quoted_text,
)
from procvision_sdk.wire.greeting import HEADER_BYTES, PROTOCOL_VERSION
from procvision_sdk.wire.messages import (
    MESSAGE_TYPES,
    AnyMessage,
    Call,
    Error,
    HostHello,
    Ping,
    Pong,
    Result,
    RunnerHello,
)
from procvision_sdk.wire.tables import TRANSITIONS, Act, ConnectionState, Direction, Role

if TYPE_CHECKING:
    from procvision_sdk.wire.heartbeat import Heartbeat, HeartbeatPolicy

DEFAULT_HANDSHAKE_TIMEOUT_S = 2.0
"""The seed's bound: the runner answers the host's hello within 2 s."""


_SHOWN_BYTES = 40
"""So much is shown of what is neither a frame nor text."""
_BEFORE_OPEN = (ConnectionState.STARTING, ConnectionState.HANDSHAKING)

_Legal: TypeAlias = Mapping[type[AnyMessage], ConnectionState]


def _by_class(acts: Mapping[Act, ConnectionState], direction: Direction) -> _Legal:
    """Return one direction of a state's table by message class: what a frame is looked up in."""
    return {kind: acts[direction, kind.TYPE] for kind in get_args(AnyMessage) if (direction, kind.TYPE) in acts}


_SENDABLE: Mapping[Role, Mapping[ConnectionState, _Legal]] = {
    role: {state: _by_class(acts, "send") for state, acts in table.items()} for role, table in TRANSITIONS.items()
}
_RECEIVABLE: Mapping[Role, Mapping[ConnectionState, _Legal]] = {
    role: {state: _by_class(acts, "receive") for state, acts in table.items()} for role, table in TRANSITIONS.items()
}


def major(version: str) -> str:
    """Return the part of a protocol version that both sides must share."""
    return version.split(".", 1)[0]


def _is_refusal(answer: Result | Error) -> bool:
    """Return whether this answers a frame that the wire itself refused, and no call that was taken."""
    return (
        type(answer) is Error
        and answer.error_code == ErrorCode.PROTOCOL
        and answer.data is not None
        and answer.data.kind in REFUSALS
    )


class Connection:
    """The wire as `role` sees it.

    `handshake_timeout_s` of 0 waits for ever. `heartbeat` is the runner's policy; a host has none.
    """

    __slots__ = (
        "_codec",
        "_handshake_deadline",
        "_heartbeat",
        "_heartbeat_policy",
        "_outline_host",
        "_pings",
        "_receivable",
        "_sendable",
        "_table",
        "anonymous",
        "answers_without_ids",
        "handshake_timeout_s",
        "max_frame_bytes",
        "max_pending",
        "peer_hello",
        "pending_ids",
        "role",
        "splitter",
        "state",
    )

    def __init__(
        self,
        role: Role,
        *,
        now: float,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
        max_pending: int = DEFAULT_MAX_PENDING,
        handshake_timeout_s: float = DEFAULT_HANDSHAKE_TIMEOUT_S,
        heartbeat: HeartbeatPolicy | None = None,
    ) -> None:
        self.role = role
        self.state = ConnectionState.STARTING
        self._sendable = _SENDABLE[role][self.state]
        self._receivable = _RECEIVABLE[role][self.state]
        self.max_frame_bytes = max_frame_bytes
        self.max_pending = max_pending
        self.handshake_timeout_s = handshake_timeout_s
        self.peer_hello: HostHello | RunnerHello | None = None
        self._table: Mapping[ConnectionState, Mapping[Act, ConnectionState]] = TRANSITIONS[role]
        self._codec = Codec(role)
        self.splitter = FrameSplitter(max_frame_bytes)
        self.pending_ids: set[str] = set()
        """The ids of the calls that wait for their answer. Steady calls are put in and taken out directly."""
        self.anonymous = 0
        """How many calls without an id wait."""
        self._outline_host = False
        self.answers_without_ids = False
        """Whether a host's answers need no id: its hello shows no `pending`, and it has not sent an answer with one.

        A late answer of such a host can't be told from the next call's, nor one that was sent twice.
        """
        self._handshake_deadline = now + handshake_timeout_s if handshake_timeout_s else None
        self._heartbeat_policy = heartbeat
        self._heartbeat: Heartbeat | None = None
        self._pings = 0

    @property
    def pending(self) -> int:
        """How many calls wait for their answer."""
        return len(self.pending_ids) + self.anonymous

    # --- what we send ---------------------------------------------------------------------------------------

    def send(self, message: AnyMessage, now: float = 0.0, *, checked: bool = False) -> bytes:
        """Return the frame to write, whole. `checked`: its values have been through `plain` already.

        Raises LocalProtocolError, with nothing changed, where the tables, the frame limit or JSON forbid it.
        """
        target = self._sendable.get(type(message))
        if target is None:
            raise LocalProtocolError(
                f"a {self.role} may not send {message.TYPE} while its connection is {self.state}; "
                f"it may send {self._legal('send')}"
            )
        call_id = self._own_call_id(message) if type(message) is Call else None
        payload = self._codec.encode(message, checked=checked)
        if len(payload) > self.max_frame_bytes:
            raise LocalProtocolError(
                f"this {message.TYPE} takes {len(payload)} bytes, a frame holds at most {self.max_frame_bytes}; "
                "hint: pictures travel in shared memory, large findings in files that the answer names"
            )
        if type(message) is Result or type(message) is Error:
            self._settle_own_answer(message)
        elif call_id is not None:
            self.pending_ids.add(call_id)
        elif type(message) is Ping and self._heartbeat is not None and message.request_id is not None:
            self._heartbeat.sent(message.request_id, now)
        elif message.TYPE == "hello" and target is ConnectionState.OPEN:
            self._opened(now)
        if target is not self.state:
            self._enter(target)
        return frame(payload)

    def _enter(self, state: ConnectionState) -> None:
        self.state = state
        self._sendable = _SENDABLE[self.role][state]
        self._receivable = _RECEIVABLE[self.role][state]

    def hello_was_written(self) -> None:
        """The host's hello went out by `greeting`, before this object could be made."""
        target = self._table[self.state].get(("send", "hello"))
        if target is None:
            raise LocalProtocolError(f"a {self.role} may not send hello while its connection is {self.state}")
        self._enter(target)

    def drain(self) -> None:
        """A host's own decision to leave: from now on it takes no new call."""
        self._enter(self._table[self.state].get(("local", "drain"), self.state))

    def _own_call_id(self, call: Call) -> str:
        if call.request_id is None:
            raise LocalProtocolError("a call needs a request_id: without it its answer can't be told from another's")
        if call.request_id in self.pending_ids:
            raise LocalProtocolError(f"a call with request_id {call.request_id!r} is still waiting for its answer")
        return call.request_id

    def _settle_own_answer(self, answer: Result | Error) -> None:
        # Only a host has taken calls; a runner's `error` frames answer no call of its own.
        if self.role is Role.HOST:
            if answer.request_id is not None:
                self.pending_ids.discard(answer.request_id)
            elif self.anonymous and not _is_refusal(answer):
                self.anonymous -= 1

    # --- what comes in --------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float = 0.0) -> list[Event]:
        """Return the events that these bytes complete. Never raises for what the peer sent."""
        if self.splitter.is_one_frame(data):
            return [self._event(data[HEADER_BYTES:], now)]
        events: list[Event] = []
        for payload in self.splitter.feed(data):
            events.append(self._event(payload, now))
            if self.state is ConnectionState.FAILED:
                return events
        overrun = self.splitter.overrun
        if overrun is not None and self.state not in (ConnectionState.FAILED, ConnectionState.CLOSED):
            text = quoted_text(self.splitter.overrun_start)
            told = (
                f"text came where a frame was expected: {text}; hint: something else writes to the protocol's pipe"
                if text
                else f"a frame of {overrun} bytes was announced, the limit is {self.max_frame_bytes}; "
                f"it begins with {self.splitter.overrun_start[:_SHOWN_BYTES]!r}"
            )
            events.append(self._fatal("frame_too_large", told))
        return events

    def receive_end(self) -> list[Event]:
        """Return the peer's stream ended."""
        if self.splitter.inside_frame and ("receive", "garbage") in self._table[self.state]:
            text = quoted_text(self.splitter.kept)
            told = f", of which this came: {text}" if text else ""
            return [self._fatal("cut_frame", f"the stream ended inside a frame{told}")]
        self._enter(self._table[self.state].get(("receive", "end"), self.state))
        return [PeerClosed()]

    def _event(self, payload: bytes, now: float) -> Event:
        try:
            message = self._codec.decode(payload)
            target = self._receivable.get(type(message))
            if target is None:
                raise self._illegal(message)
            # Calls and results come in their thousands.
            event: Event
            if type(message) is Result:
                event = self._taken_answer(message)
            elif type(message) is Call:
                self._take_call(message)
                event = message
            else:
                event = self._accepted(message, now)
        except RemoteProtocolError as violation:
            if violation.fatal:
                return self._fatal(violation.kind, str(violation))
            return self._refused(violation)
        if target is not self.state:
            self._enter(target)
        return event

    def _accepted(self, message: AnyMessage, now: float) -> Event:
        if isinstance(message, Error):
            if self.role is Role.RUNNER and (message.request_id is not None or self._the_only_call() is not None):
                return self._taken_answer(message)
        elif isinstance(message, Pong):
            self._take_pong(message)
            if self._heartbeat is not None and not self._heartbeat.answered(message.request_id, now):
                return UnexpectedAnswer(message)
        elif isinstance(message, (HostHello, RunnerHello)):
            self._take_hello(message, now)
        return message

    def _taken_answer(self, answer: Result | Error) -> Event:
        if self.answers_without_ids:
            if answer.request_id is None:
                answer.request_id = self._the_only_call()
            elif answer.request_id in self.pending_ids:
                self.answers_without_ids = False
        if answer.request_id not in self.pending_ids:
            return UnexpectedAnswer(answer)
        self.pending_ids.remove(answer.request_id)
        return answer

    def _the_only_call(self) -> str | None:
        """Return the one call that waits, where a host's answers need no id: an answer without one is its."""
        if self.answers_without_ids and len(self.pending_ids) == 1:
            return next(iter(self.pending_ids))
        return None

    def _take_pong(self, pong: Pong) -> None:
        """Hold a pong against the tables. The outline of the protocol names neither its id nor its state."""
        if not self._outline_host:
            if not pong.state:
                raise RemoteProtocolError(
                    "bad_field",
                    "in this pong: Object missing required field `state`",
                    request_id=pong.request_id,
                    message_type=pong.TYPE,
                )
        elif pong.request_id is None and self._heartbeat is not None:
            pong.request_id = self._heartbeat.oldest

    def _take_call(self, call: Call) -> None:
        request_id, pending = call.request_id, self.pending_ids
        if request_id in pending:
            raise RemoteProtocolError(
                "duplicate_request_id", f"a call with request_id {request_id!r} waits already", request_id=request_id
            )
        if len(pending) + self.anonymous >= self.max_pending:
            raise RemoteProtocolError(
                "busy",
                f"{self.pending} calls wait already, at most {self.max_pending} may; "
                "hint: send the next when an answer has come",
                request_id=request_id,
                retryable=True,
            )
        if request_id is None:
            self.anonymous += 1
        else:
            pending.add(request_id)

    def _take_hello(self, hello: HostHello | RunnerHello, now: float) -> None:
        version = hello.sdk_version if isinstance(hello, HostHello) else hello.runner_version
        if major(version) != major(PROTOCOL_VERSION):
            raise RemoteProtocolError(
                "incompatible_version",
                f"the peer speaks protocol {version[:40]!r}, this {self.role} speaks {PROTOCOL_VERSION}; "
                "hint: the major versions must be the same, upgrade the older of the two",
                fatal=True,
            )
        self.peer_hello = hello
        # Such a host may know no more than the outline of the protocol, in which nothing has an id.
        self._outline_host = isinstance(hello, HostHello) and "pending" not in hello.capabilities
        self.answers_without_ids = self._outline_host
        self._handshake_deadline = None
        if self.role is Role.HOST:
            self._opened(now)

    def _opened(self, now: float) -> None:
        if self._heartbeat_policy is not None:
            from procvision_sdk.wire.heartbeat import Heartbeat  # a runner's alone

            self._heartbeat = Heartbeat(self._heartbeat_policy, now)

    # --- time -----------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """The next instant at which `tick` has something to say."""
        if self._handshake_deadline is not None and self.state in _BEFORE_OPEN:
            return self._handshake_deadline
        if self._heartbeat is None or ("send", "ping") not in self._table[self.state]:
            return None
        return self._heartbeat.deadline

    def tick(self, now: float) -> list[Event]:
        """Return what the passing of time brings: an expired handshake, a missed pong, a ping that is due."""
        if self._handshake_deadline is not None and self.state in _BEFORE_OPEN:
            if now < self._handshake_deadline:
                return []
            self._handshake_deadline = None
            return [HandshakeExpired(self.handshake_timeout_s)]
        heartbeat = self._heartbeat
        if heartbeat is None or ("send", "ping") not in self._table[self.state]:
            return []
        events: list[Event] = []
        if heartbeat.missed(now):
            events.append(PongMissed(heartbeat.misses, heartbeat.unresponsive))
        if heartbeat.ping_due(now):
            self._pings += 1
            events.append(PingDue(Ping(request_id=f"ping-{self._pings}")))
        return events

    def late_pong(self, now: float) -> tuple[float, float] | None:
        """Return for how long a pong is late, and how long it may take, in seconds; None if none is late."""
        heartbeat = self._heartbeat
        late_s = heartbeat.late_s(now) if heartbeat is not None else None
        return None if heartbeat is None or late_s is None else (late_s, heartbeat.policy.grace_s)

    def put_off_pong(self, now: float) -> None:
        """Give a late pong its time once more, as the policy allows it where the machine holds the host up."""
        if self._heartbeat is not None:
            self._heartbeat.put_off(now)

    # --- refusals -------------------------------------------------------------------------------------------

    def _legal(self, direction: str) -> str:
        names = (name for way, name in self._table[self.state] if way == direction and name in MESSAGE_TYPES)
        return ", ".join(names) or "nothing"

    def _illegal(self, message: AnyMessage) -> RemoteProtocolError:
        # The one refusal that is no fault of the peer: a call that crossed the host's decision to leave.
        too_late = message.TYPE == "call" and self.role is Role.HOST and self.state is ConnectionState.DRAINING
        return RemoteProtocolError(
            "draining" if too_late else "illegal_in_state",
            f"{message.TYPE} is not legal while the {self.role}'s connection is {self.state}; "
            f"legal are {self._legal('receive')}",
            request_id=message.request_id,
            message_type=message.TYPE,
            retryable=message.TYPE == "call" and self.role is Role.HOST,
        )

    def _refused(self, violation: RemoteProtocolError) -> Violation:
        request_id = violation.request_id
        if self.role is Role.HOST and request_id in self.pending_ids:
            # With the id the refusal would be taken for the answer of the call that still waits.
            request_id = violation.request_id = None
        reply = self._reply(violation)
        if self.role is Role.RUNNER and request_id is None and violation.message_type in ("result", "error"):
            request_id = self._the_only_call()
        if self.role is Role.RUNNER and request_id is not None:
            if violation.message_type in ("result", "error"):
                self.pending_ids.discard(request_id)
            else:
                # It answers no call; an unknown message of a newer host may well name one that goes on.
                request_id = None
        return Violation(violation.kind, str(violation), fatal=False, reply=reply, request_id=request_id)

    def _reply(self, violation: RemoteProtocolError) -> Error | None:
        # An `error` is never answered with an `error`: two sides at odds would do nothing else any more.
        if violation.message_type == "error" or ("send", "error") not in self._table[self.state]:
            return None
        return error_for(violation)

    def _fatal(self, kind: str, text: str) -> Violation:
        violation = RemoteProtocolError(kind, text, fatal=True)
        reply = self._reply(violation)
        self._enter(self._table[self.state].get(("receive", "garbage"), ConnectionState.FAILED))
        self.splitter.close()
        return Violation(kind, text, fatal=True, reply=reply)
