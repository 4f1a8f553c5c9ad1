"""A client and a host that the test plays: who reads, who waits, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from scripted_host import PATIENCE_S, ScriptedProcess, error, eventually, hello, in_thread, result

from procvision_runner.connection.client import Client
from procvision_runner.connection.leadership import Reading
from procvision_runner.connection.observer import Observer
from procvision_runner.errors import (
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    ProtocolViolationError,
    RunnerStoppedError,
)
from procvision_runner.exit_causes import EndKind
from procvision_runner.options import RunnerOptions
from procvision_runner.process.host_log import HostLog
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Call, Cancel, Error, Ping, Pong, RunnerHello, Shutdown

OPTIONS = RunnerOptions(
    handshake_timeout_s=PATIENCE_S, heartbeat=None, shutdown_timeout_s=PATIENCE_S, terminate_timeout_s=PATIENCE_S
)


class Rig(Observer):
    """A client with its host."""

    def __init__(self, options: RunnerOptions) -> None:
        self.host = ScriptedProcess()
        self.timed_out_calls: list[str | None] = []
        log = HostLog(self.host.stderr, 20, None)
        self.client = Client(self.host, options, log, self)  # type: ignore[arg-type]
        self.stopped = False

    def open(self, *capabilities: str) -> None:
        """Shake hands."""
        shaking = in_thread(self.client.shake_hands)
        self.host.say(hello(*capabilities))
        self.host.hear(RunnerHello)
        shaking.result()

    def call(self, timeout_s: float = PATIENCE_S, on_freed: Callable[[], None] | None = None, **fields: Any) -> Any:
        """A caller on a thread of its own."""
        return in_thread(self.client.call, Call(phase="execute", **fields), timeout_s, on_freed)

    def submit(self, timeout_s: float = PATIENCE_S, on_freed: Callable[[], None] | None = None) -> Future[Any]:
        """A submitted call."""
        return self.client.submit(Call(phase="execute"), timeout_s, on_freed)

    def timed_out(self, pending: Any) -> None:
        self.timed_out_calls.append(pending.call.request_id)

    @property
    def reading(self) -> Reading:
        """Who reads."""
        return self.client._leadership.state

    def stop(self) -> int | None:
        """Stop the client; the host leaves when it hears of it."""
        self.stopped = True
        return self.client.stop()


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    """Rigs that have shaken hands, and are gone afterwards."""
    made: list[Rig] = []

    def opened(*capabilities: str, shake_hands: bool = True, **more: Any) -> Rig:
        made.append(Rig(attrs.evolve(OPTIONS, **more)))
        if shake_hands:
            made[-1].open(*capabilities)
        return made[-1]

    yield opened
    for rig in made:
        rig.host.end(0)
        if not rig.stopped:
            rig.stop()


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


# --- the handshake ----------------------------------------------------------------------------------------------


def test_a_host_that_says_no_hello_is_a_launch_error(make: Callable[..., Rig]) -> None:
    """In time, and with the bound."""
    rig = make(shake_hands=False, handshake_timeout_s=0.05)
    with pytest.raises(LaunchError, match=r"no hello came within 0\.05 s"):
        rig.client.shake_hands()
    assert rig.reading is Reading.NOBODY


def test_a_host_that_leaves_instead_is_told_with_its_own_words(make: Callable[..., Rig]) -> None:
    """With its error's code, its exit status and its log."""
    rig = make(shake_hands=False)
    shaking = in_thread(rig.client.shake_hands)
    rig.host.log("the manifest is gone")
    rig.host.say(hello(), Error(message="no manifest", error_code="2002"))
    rig.host.hear(RunnerHello)
    shaking.result()
    rig.host.end(78)
    eventually(lambda: rig.client.end is not None, "the end is known")
    told = rig.client.launch_error("it is not ready")
    assert (told.error_code, told.exit_status) == ("2002", 78)
    assert "no manifest" in str(told)
    assert told.logs[0]["message"] == "the manifest is gone"


# --- who reads --------------------------------------------------------------------------------------------------


def test_a_caller_reads_its_own_answer(rig: Rig) -> None:
    """No other thread has a part in it."""
    calling = rig.call()
    call = rig.host.hear(Call)
    assert rig.reading is Reading.CALLER
    rig.host.say(result(call))
    answer, took_s = calling.result()
    assert (answer.request_id, took_s > 0) == (call.request_id, True)
    assert rig.reading is Reading.NOBODY


def test_every_call_tells_the_host_a_little_less_than_its_time(rig: Rig) -> None:
    """Also one without a picture or a product."""
    calling = rig.call(10.0)
    call = rig.host.hear(Call)
    assert call.timeout_ms == 9750
    rig.host.say(result(call))
    calling.result()


def test_the_reader_thread_reads_for_submitted_calls(rig: Rig) -> None:
    """And stops when they have their answers."""
    futures = [rig.submit() for _ in range(3)]
    calls = [rig.host.hear(Call) for _ in futures]
    eventually(lambda: rig.reading is Reading.READER_THREAD, "it reads")
    rig.host.say(*(result(call) for call in calls))
    assert [future.result(PATIENCE_S)[0].request_id for future in futures] == [call.request_id for call in calls]
    eventually(lambda: rig.reading is Reading.NOBODY, "nobody reads")


def test_callers_hand_over_to_each_other(rig: Rig) -> None:
    """Each gets its own answer, no matter which thread read it."""
    first = rig.call(user_params={"number": 1})
    calls = [rig.host.hear(Call)]
    others = [rig.call(user_params={"number": number}) for number in (2, 3)]
    calls += [rig.host.hear(Call) for _ in others]
    rig.host.say(result(calls[0]))
    assert first.result()[0].request_id == calls[0].request_id
    eventually(lambda: rig.reading is Reading.CALLER, "another leads")
    rig.host.say(result(calls[1]), result(calls[2]))
    answered = {other.result()[0].request_id for other in others}
    assert answered == {call.request_id for call in calls[1:]}


def test_a_caller_takes_over_from_the_reader_thread_and_back(rig: Rig) -> None:
    """While a caller waits the reader thread sleeps; it goes on when the caller is done."""
    submitted = rig.submit()
    kept = rig.host.hear(Call)
    calling = rig.call()
    call = rig.host.hear(Call)
    rig.host.say(result(kept))
    submitted.result(PATIENCE_S)
    eventually(lambda: rig.reading is Reading.CALLER, "the caller leads")
    behind = rig.submit()
    last = rig.host.hear(Call)
    rig.host.say(result(call))
    calling.result()
    eventually(lambda: rig.reading is Reading.READER_THREAD, "the reader thread leads")
    rig.host.say(result(last))
    behind.result(PATIENCE_S)


def test_a_callback_makes_calls_on_the_thread_that_reads(rig: Rig) -> None:
    """Which goes on reading for them."""
    within: Future[Any] = Future()

    def call_again(_: object) -> None:
        within.set_result((rig.client.call(Call(phase="pre"), PATIENCE_S)[0], threading.current_thread().name))

    first = rig.submit()
    first.add_done_callback(call_again)
    rig.host.say(result(rig.host.hear(Call)))
    rig.host.say(result(rig.host.hear(Call)))
    answer, thread = within.result(PATIENCE_S)
    assert (answer.phase, thread) == ("pre", "procvision-reader")
    eventually(lambda: not rig.client._leadership.callbacks, "the callback is over")


def test_a_host_that_takes_one_call_at_a_time_gets_one(make: Callable[..., Rig]) -> None:
    """Its hello doesn't show `pending`: the next waits for the answer."""
    rig = make("info")
    first, second = rig.call(), None
    call = rig.host.hear(Call)
    second = rig.call()
    assert rig.host.hears_nothing(Call)
    rig.host.say(result(call))
    first.result()
    rig.host.say(result(rig.host.hear(Call)))
    second.result()


# --- calls whose time is over -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["call", "submit"])
def test_a_call_that_is_not_answered_is_cancelled(rig: Rig, way: str) -> None:
    """Its picture is the host's until the late answer, which is nobody's."""
    freed = threading.Event()
    made = rig.call(0.05, freed.set) if way == "call" else rig.submit(0.05, freed.set)
    call = rig.host.hear(Call)
    with pytest.raises(CallTimeoutError, match=r"no answer to execute within 0\.\d s"):
        made.result(PATIENCE_S)
    assert rig.host.hear(Cancel).request_id == call.request_id
    assert rig.timed_out_calls == [call.request_id]
    assert not freed.is_set()
    rig.host.say(result(call))
    assert freed.wait(PATIENCE_S)
    assert [answer.request_id for answer in rig.client.unexpected] == [call.request_id]


@pytest.mark.parametrize("way", ["call", "submit"])
def test_a_call_that_the_host_gives_up_keeps_its_picture_until_a_pong_frees_it(rig: Rig, way: str) -> None:
    """The host is asked until the algorithm has returned; no cancel is needed, and nothing is unexpected."""
    freed = threading.Event()
    made = rig.call(PATIENCE_S, freed.set) if way == "call" else rig.submit(PATIENCE_S, freed.set)
    call = rig.host.hear(Call)
    rig.host.say(error(call, "1005", "timeout", retryable=True))
    with pytest.raises(CallTimeoutError):
        made.result(PATIENCE_S)
    assert rig.timed_out_calls == [call.request_id]
    for _ in range(2):
        rig.host.say(Pong(request_id=rig.host.hear(Ping).request_id, state="executing"))
        assert not freed.is_set()
    rig.host.say(Pong(request_id=rig.host.hear(Ping).request_id, state="ready"))
    assert freed.wait(PATIENCE_S)
    assert rig.host.hears_nothing(Cancel)
    assert rig.client.unexpected == []


def test_an_interrupted_caller_leaves_its_call_to_the_reader_thread(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cancelled; its picture is free when its answer comes."""
    freed = threading.Event()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rig.client, "exchange", SimpleNamespace(carry=lambda pending: False))
    monkeypatch.setattr(rig.client, "wait_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rig.client.call(Call(phase="execute"), PATIENCE_S, freed.set)
    call = rig.host.hear(Call)
    assert rig.host.hear(Cancel).request_id == call.request_id
    rig.host.say(error(call, "1008", "cancelled"))
    assert freed.wait(PATIENCE_S)


# --- the end ----------------------------------------------------------------------------------------------------


def test_the_end_of_the_host_ends_all_calls_with_its_cause(rig: Rig) -> None:
    """Callers' and submitted ones', and those that come later."""
    calling, submitted = rig.call(), rig.submit()
    for _ in range(2):
        rig.host.hear(Call)
    rig.host.end(-11)
    for made in (calling, submitted):
        with pytest.raises(HostDiedError, match="was ended by SIGSEGV while execute was on its way"):
            made.result(PATIENCE_S)
    assert rig.client.end is not None
    assert (rig.client.end.kind, rig.reading) == (EndKind.CRASHED, Reading.ENDED)
    with pytest.raises(HostDiedError, match="the host is gone"):
        rig.submit()


def test_what_the_host_wrote_before_its_end_still_counts(rig: Rig) -> None:
    """The answer was out: the call has it."""
    calling = rig.call()
    rig.host.say(result(rig.host.hear(Call)))
    rig.host.end(1)
    assert calling.result()[0].status == "OK"


def test_a_host_that_closes_its_stdout_and_lives_on_is_killed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't answer any more, and must not read a slot that is leased again."""
    monkeypatch.setattr("procvision_runner.connection.client._EXIT_PATIENCE_S", 0.01)
    calling = rig.call()
    rig.host.hear(Call)
    rig.host.close_stdout()
    with pytest.raises(HostDiedError):
        calling.result()
    assert rig.host.signals == ["kill"]


def test_a_host_whose_frames_cannot_be_followed_is_killed(rig: Rig) -> None:
    """No call gets a verdict from it."""
    calling = rig.call()
    rig.host.hear(Call)
    rig.host.write(b"Traceback (most recent call last)")
    with pytest.raises(ProtocolViolationError):
        calling.result()
    assert rig.host.signals == ["kill"]


def test_a_host_that_does_not_take_a_call_is_killed(rig: Rig) -> None:
    """A frame that is cut can be followed by no other."""
    with pytest.raises(HostDiedError, match="did not read its stdin and was ended") as caught:
        rig.client.call(Call(phase="execute", user_params={"text": "x" * 1_000_000}), 0.1)
    assert caught.value.cause == "not_reading"


def test_the_first_cause_of_an_end_is_the_one_that_is_told(rig: Rig) -> None:
    """What follows from it is no cause."""
    assert rig.client.condemn(EndKind.TIMEOUT, "did not end a call")
    assert not rig.client.condemn(EndKind.UNRESPONSIVE, "did not answer pings")
    submitted = rig.submit()
    rig.host.end(-9)
    with pytest.raises(HostDiedError, match="did not end a call and was ended"):
        submitted.result(PATIENCE_S)


def test_a_polite_stop_asks_and_waits(rig: Rig) -> None:
    """A host that goes by itself is sent no signal; the call that it had is told that the runner was stopped."""
    submitted = rig.submit()
    rig.host.hear(Call)
    stopping = in_thread(rig.stop)
    rig.host.hear(Shutdown)
    rig.host.say(Shutdown(status="OK"))
    rig.host.end(0)
    assert stopping.result() == 0
    assert rig.host.signals == []
    assert rig.client.acknowledged
    with pytest.raises(RunnerStoppedError):
        submitted.result(PATIENCE_S)
    assert not rig.client.alive


def test_a_host_that_says_that_it_leaves_and_stays_is_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked it to: a frame of an algorithm's own may say so. It takes no call, and would hold up a line."""
    monkeypatch.setattr("procvision_runner.connection.client._EXIT_PATIENCE_S", 0.05)
    rig.host.write(frame(b'{"type":"shutdown","status":"OK"}'))
    submitted = rig.submit()
    with pytest.raises((HostDiedError, ProtocolViolationError)):
        submitted.result(PATIENCE_S)
    eventually(lambda: rig.client.end is not None, "its end")
    assert rig.client.end is not None
    assert rig.client.end.kind is EndKind.PROTOCOL_VIOLATION
    assert "said that it leaves, and was there" in rig.client.end.text
    assert rig.host.signals == ["kill"]


def test_a_host_that_leaves_unasked_has_time_to_do_so(rig: Rig) -> None:
    """As one does that was sent SIGTERM by somebody else."""
    rig.host.write(frame(b'{"type":"shutdown","status":"OK"}'))
    submitted = rig.submit()
    rig.host.end(0)
    with pytest.raises(HostDiedError, match="status 0"):
        submitted.result(PATIENCE_S)
    assert rig.client.end is not None
    assert rig.client.end.kind is not EndKind.PROTOCOL_VIOLATION


@pytest.mark.parametrize(("ends_at", "signals"), [("terminate", ["terminate"]), ("kill", ["terminate", "kill"])])
def test_a_host_that_does_not_go_is_ended_step_by_step(
    make: Callable[..., Rig], ends_at: str, signals: list[str]
) -> None:
    """SIGTERM after the time for a shutdown, SIGKILL after that."""
    rig = make(shutdown_timeout_s=0.02, terminate_timeout_s=0.02)
    rig.host.ends_at = ends_at
    assert rig.stop() == {"terminate": -15, "kill": -9}[ends_at]
    assert rig.host.signals == signals


def test_a_stop_that_is_not_polite_begins_with_the_signal(rig: Rig) -> None:
    """For a host that has shown that it doesn't answer: nothing more is written to it."""
    rig.host.ends_at = "terminate"
    rig.stopped = True
    assert rig.client.stop(politely=False) == -15
    assert rig.host.signals == ["terminate"]


@pytest.mark.parametrize("somebody_waits", [False, True])
def test_a_callback_may_stop_the_client_that_called_it(rig: Rig, somebody_waits: bool) -> None:
    """The thread that reads is held up in it: another reads the host's last frames."""
    stopped: Future[int | None] = Future()
    first = rig.submit()
    first.add_done_callback(lambda _: stopped.set_result(rig.stop()))
    call = rig.host.hear(Call)
    waiting = rig.call() if somebody_waits else None
    if somebody_waits:
        rig.host.hear(Call)
    rig.host.say(result(call))
    rig.host.hear(Shutdown)
    rig.host.say(Shutdown(status="OK"))
    rig.host.end(0)
    assert stopped.result(PATIENCE_S) == 0
    assert rig.client.acknowledged
    if waiting is not None:
        with pytest.raises(RunnerStoppedError):
            waiting.result()


def test_a_failed_call_costs_the_host_nothing(rig: Rig) -> None:
    """The next one is answered."""
    calling = rig.call()
    rig.host.say(error(rig.host.hear(Call), "9999", "program"))
    with pytest.raises(CallFailedError):
        calling.result()
    calling = rig.call()
    rig.host.say(result(rig.host.hear(Call)))
    assert calling.result()[1] < time.monotonic()
