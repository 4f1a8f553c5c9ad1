"""A runner's connection talks to a host's, in any order: every call gets exactly one answer."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from procvision_sdk.errors import ErrorCode
from procvision_sdk.wire.codec import error_message
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.events import UnexpectedAnswer, Violation
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.greeting import hello_frame
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from procvision_sdk.wire.messages import Call, Cancel, Error, Message, Ping, Pong, Result, RunnerHello, Shutdown
from procvision_sdk.wire.tables import ConnectionState, Role

FOREIGN = st.sampled_from(
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"type":"new","request_id":"0"}',
        b'{"type":"call","request_id":"0","step_index":"x"}',
        b'{"type":"result","request_id":"stranger","phase":"pre","status":"OK"}',
    ]
)
"""What either side must refuse or pass over; some of it under the id of the first call."""


class Conversation(RuleBasedStateMachine):
    """Both ends, the bytes on their way, and what each call has been answered."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = Connection(Role.RUNNER, now=0.0, heartbeat=HeartbeatPolicy())
        self.host = Connection(Role.HOST, now=0.0)
        self.host.hello_was_written()
        self.to_runner = hello_frame("x", 1)
        self.to_host = b""
        self.queue: list[Call] = []
        self.sent: list[str] = []
        self.answers: dict[str, int] = {}
        self.foreign_errors = 0

    # --- the runner -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.runner.state is ConnectionState.OPEN)
    @rule()
    def call(self) -> None:
        request_id = str(len(self.sent))
        self.to_host += self.runner.send(Call(request_id=request_id, phase="info"))
        self.sent.append(request_id)

    @precondition(lambda self: self.runner.state is ConnectionState.OPEN and self.sent)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        self.to_host += self.runner.send(Cancel(request_id=self.sent[which % len(self.sent)]))

    @precondition(lambda self: self.runner.state in (ConnectionState.OPEN, ConnectionState.DRAINING))
    @rule()
    def ping(self) -> None:
        self.to_host += self.runner.send(Ping(request_id="p"), 0.0)

    @precondition(lambda self: self.runner.state is ConnectionState.OPEN and len(self.sent) > 5)
    @rule()
    def shut_down(self) -> None:
        self.to_host += self.runner.send(Shutdown())

    @precondition(
        lambda self: self.runner.state is ConnectionState.OPEN and self.host.pending and "0" not in self.answers
    )
    @rule(payload=FOREIGN)
    def say_what_the_host_refuses(self, payload: bytes) -> None:
        self.to_host += frame(payload)

    @precondition(lambda self: self.host.state is ConnectionState.OPEN)
    @rule(payload=FOREIGN)
    def say_what_the_runner_refuses(self, payload: bytes) -> None:
        self.to_runner += frame(payload)

    # --- the pipes ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.to_host)
    @rule(share=st.floats(0.1, 1))
    def host_reads(self, share: float) -> None:
        count = max(1, int(len(self.to_host) * share))
        data, self.to_host = self.to_host[:count], self.to_host[count:]
        for event in self.host.receive(data):
            if isinstance(event, Call):
                self.queue.append(event)
            elif isinstance(event, Ping):
                self.to_runner += self.host.send(Pong(request_id=event.request_id, state="ready"))
            elif isinstance(event, Cancel):
                for call in [call for call in self.queue if call.request_id == event.request_id]:
                    self.queue.remove(call)
                    answer = error_message(ErrorCode.CANCELLED, "cancelled", "", request_id=call.request_id)
                    self.to_runner += self.host.send(answer)
            elif isinstance(event, Violation) and event.reply is not None:
                self.to_runner += self.host.send(event.reply)

    @precondition(lambda self: self.to_runner)
    @rule(share=st.floats(0.1, 1))
    def runner_reads(self, share: float) -> None:
        count = max(1, int(len(self.to_runner) * share))
        data, self.to_runner = self.to_runner[:count], self.to_runner[count:]
        for event in self.runner.receive(data):
            if isinstance(event, UnexpectedAnswer) and isinstance(event.message, Result):
                assert event.message.request_id == "stranger"
            if isinstance(event, (Result, Error)) and event.request_id is not None:
                self.answers[event.request_id] = self.answers.get(event.request_id, 0) + 1
            elif isinstance(event, Violation):
                assert event.request_id is None
                if event.reply is not None:
                    self.to_host += self.runner.send(event.reply)
            elif isinstance(event, Message) and event.TYPE == "hello":
                self.to_host += self.runner.send(RunnerHello(runner_version="1.0"))

    # --- the host -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.queue)
    @rule(fails=st.booleans())
    def answer(self, fails: bool) -> None:
        call = self.queue.pop(0)
        answer: Result | Error = Result(request_id=call.request_id, phase=call.phase, status="OK")
        if fails:
            answer = error_message(ErrorCode.UNKNOWN, "program", "boom", request_id=call.request_id)
        self.to_runner += self.host.send(answer)

    # --- what always holds ----------------------------------------------------------------------------------

    @invariant()
    def no_call_is_answered_twice(self) -> None:
        assert all(count == 1 for count in self.answers.values())
        assert set(self.answers) <= set(self.sent)

    @invariant()
    def both_sides_count_what_waits(self) -> None:
        assert self.host.pending == len(self.queue) <= self.host.max_pending
        assert self.runner.pending == len(self.sent) - len(self.answers)

    def teardown(self) -> None:
        """Let everything arrive: now each call has had its one answer."""
        while self.to_host or self.queue or self.to_runner:
            if self.to_host:
                self.host_reads(1.0)
            if self.queue:
                self.answer(False)
            if self.to_runner:
                self.runner_reads(1.0)
        assert self.answers == dict.fromkeys(self.sent, 1)
        assert self.host.pending == self.runner.pending == 0


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
