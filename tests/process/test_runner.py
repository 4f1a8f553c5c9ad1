"""`Runner` with real hosts: everyone gets their own answer, slots come back, and stopping leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from supervising import HOST_PROGRAM, MARK, QUICK_RUNNER, marked, nothing_left, peer, processes_with
from wire_client import eventually, lives

from procvision_runner import Pool, Runner, Supervisor, SupervisorOptions
from procvision_runner.errors import (
    CallError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    RunnerStoppedError,
    SlotsExhaustedError,
)
from procvision_runner.options import RunnerOptions
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

OPTIONS = RunnerOptions(shutdown_timeout_s=2.0, terminate_timeout_s=1.0)


@contextmanager
def running(
    environment: Mapping[str, str], name: str = "misbehaving", options: RunnerOptions = OPTIONS
) -> Iterator[Runner]:
    """A runner of which nothing is left afterwards: no process, descriptor, thread or segment."""
    with nothing_left() as mark:
        options = attrs.evolve(options, environment={**environment, MARK: mark})
        with Runner(name, options=options) as runner:
            yield runner


def picture(level: int, width: int = 40, height: int = 30) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One that can be told from others."""
    return np.full((height, width, 3), level, np.uint8)


def read(runner: Runner, level: int, **more: Any) -> int:
    """The level that the algorithm saw."""
    result = runner.execute(picture(level), pid="A", user_params={"does": "read"}, **more)
    first: int = result.debug["first"][0]
    assert result.debug["last"][0] == first
    return first


def test_info_is_there_when_it_has_started(peer_environment: dict[str, str]) -> None:
    """Manifest, the algorithm's own words, and the versions."""
    with running(peer_environment, "steps") as runner:
        info = runner.info()
        assert info["info"] == {"model": "line-finder 7"}
        assert info["manifest"]["name"] == "steps"
        assert runner.alive
        assert runner.process_id is not None


def test_session_goes_from_pre_to_execute(peer_environment: dict[str, str]) -> None:
    """And its context with it; `reset` empties it."""
    with running(peer_environment, "steps") as runner:
        session = runner.session({"lot": 7})
        assert runner.pre_execute(pid="A", session=session).verdict is None
        result = runner.execute(pid="A", session=session, user_params={"threshold": 3})
        assert result.verdict == "OK"
        assert (result.debug["reference"], result.debug["context"]) == ({"step": 1, "pid": "A"}, {"lot": 7})
        assert result.debug["params"]["threshold"] == 3
        runner.reset(session)
        assert runner.execute(pid="A", session=session).debug["counted"] == 1


def test_concurrent_callers_get_their_own_answers(peer_environment: dict[str, str]) -> None:
    """Twelve threads, each with pictures that no other has."""
    with running(peer_environment) as runner, ThreadPoolExecutor(12) as threads:

        def caller(number: int) -> list[int]:
            return [read(runner, number * 10 + turn) for turn in range(10)]

        answers = list(threads.map(caller, range(12)))
        assert answers == [[number * 10 + turn for turn in range(10)] for number in range(12)]
        assert runner.unexpected_answers == 0


def test_submitted_calls_give_futures_in_their_own_time(peer_environment: dict[str, str]) -> None:
    """More than may wait at the host; callers in between get theirs."""
    with running(peer_environment) as runner:
        futures = [
            runner.submit("execute", picture(level), pid="A", user_params={"does": "read"}) for level in range(20)
        ]
        assert read(runner, 99) == 99
        assert [future.result(30).debug["first"][0] for future in futures] == list(range(20))
        failing = runner.submit("execute", pid="A", user_params={"does": "raise-plain"})
        with pytest.raises(CallFailedError, match="KeyError"):
            failing.result(30)


def test_lent_slot_is_written_in_place_and_read_without_a_copy(peer_environment: dict[str, str]) -> None:
    """As a camera does it; the lease is the call's from then on."""
    with running(peer_environment) as runner:
        for level in (10, 20):
            lease = runner.lend(40, 30)
            lease.array[:] = level
            result = runner.execute(lease, pid="A", user_params={"does": "read"})
            assert result.debug["first"] == [level] * 3
            with pytest.raises(ValueError, match="given back"):
                _ = lease.array
        mono = runner.lend(40, 30, "MONO")
        mono.array[:] = 5
        assert runner.execute(mono, pid="A", user_params={"does": "read"}).debug["first"] == [5, 5, 5]


def test_slots_come_back_whatever_becomes_of_the_call(peer_environment: dict[str, str]) -> None:
    """Refused, raised, returned malformed, unfit: two slots are enough for all of them."""
    options = attrs.evolve(OPTIONS, max_slots=2, slot_timeout_s=5.0)
    with running(peer_environment, options=options) as runner:
        for deed in ("raise-plain", "return-none", "return-rect-outside", "write-picture") * 3:
            with pytest.raises(CallFailedError):
                runner.execute(picture(1), pid="A", user_params={"does": deed})
        for _ in range(3):
            with pytest.raises(CallFailedError):
                runner.execute(picture(1), pid="unknown")
            with pytest.raises(TypeError):
                runner.execute(picture(1).astype(np.uint16), pid="A")
            with pytest.raises(Exception, match="finite"):
                runner.execute(picture(1), pid="A", user_params={"does": "nothing", "text": float("nan")})
        leases = [runner.lend(8, 8), runner.lend(8, 8)]
        short = attrs.evolve(options, slot_timeout_s=0.05)
        runner.options = short
        with pytest.raises(SlotsExhaustedError):
            runner.lend(8, 8)
        for lease in leases:
            lease.release()
        assert read(runner, 7) == 7


def test_call_that_times_out_keeps_its_slot_until_the_host_is_done_with_it(
    peer_environment: dict[str, str], tmp_path: Any
) -> None:
    """A late look at the picture never sees another's."""
    gate = tmp_path / "gate"
    options = attrs.evolve(OPTIONS, max_slots=1, slot_timeout_s=0.1)
    with running(peer_environment, options=options) as runner:
        with pytest.raises(CallTimeoutError):
            runner.execute(
                picture(50), pid="A", user_params={"does": "read-while-waiting", "text": str(gate)}, timeout_s=0.2
            )
        with pytest.raises(SlotsExhaustedError):
            runner.lend(40, 30)
        gate.touch()
        eventually(lambda: _lent(runner), "the slot")
        assert runner.execute(pid="A", user_params={"does": "nothing"}).verdict == "OK"


@pytest.mark.parametrize("way", ["call", "submit"])
def test_a_host_answers_a_call_that_times_out_before_its_runner_gives_up(
    peer_environment: dict[str, str], way: str
) -> None:
    """Its runner tells it the call's time; the algorithm, which is asked to stop, does, and nothing more comes."""
    with running(peer_environment) as runner:
        asked: dict[str, Any] = {"user_params": {"does": "wait-for-cancel"}, "timeout_s": 1.0}
        with pytest.raises(CallTimeoutError, match=r"no answer to execute within 1\.0 s") as caught:
            if way == "call":
                runner.execute(pid="A", **asked)
            else:
                runner.submit("execute", pid="A", **asked).result(20)
        assert (caught.value.cause, caught.value.error_code) == ("timeout", "1005")
        eventually(lambda: any("came too late" in r["message"] for r in runner.logs), "the host dropped its answer")
        assert runner.execute(pid="A", user_params={"does": "nothing"}).verdict == "OK"
        # The host's own answer may be late on a busy machine; the algorithm's never comes.
        assert runner.unexpected_answers <= 1


def _lent(runner: Runner) -> bool:
    try:
        runner.lend(40, 30).release()
    except SlotsExhaustedError:
        return False
    return True


@pytest.mark.parametrize("deed", ["fork-sleeper", "start-daemon", "start-program", "start-daemonic-process"])
def test_stop_takes_the_whole_tree(peer_environment: dict[str, str], deed: str) -> None:
    """A host that goes by itself."""
    with running(peer_environment) as runner:
        child = runner.execute(pid="A", user_params={"does": deed}).debug["child"]
        assert lives(child)
        assert runner.stop() == 0
        assert not lives(child)


@pytest.mark.parametrize("deed", ["hang", "hang-with-lock", "hang-uninterruptibly"])
def test_stop_ladder_ends_a_host_that_does_not_go(peer_environment: dict[str, str], deed: str) -> None:
    """Shutdown, SIGTERM, SIGKILL, by its own deadlines; the call on its way ends with the cause, the tree is gone."""
    options = attrs.evolve(OPTIONS, shutdown_timeout_s=0.5, terminate_timeout_s=0.5)
    with running(peer_environment, options=options) as runner:
        daemon = runner.execute(pid="A", user_params={"does": "start-daemon"}).debug["child"]
        hung = runner.submit("execute", picture(1), pid="A", user_params={"does": deed})
        began = time.monotonic()
        runner.stop()
        assert time.monotonic() - began < 15
        with pytest.raises((RunnerStoppedError, CallFailedError)):
            hung.result(1)
        assert not lives(daemon)
        with pytest.raises(RunnerStoppedError):
            runner.execute(pid="A")
        assert runner.stop() is None


def test_crash_is_told_with_its_signal_and_log(peer_environment: dict[str, str]) -> None:
    """Every call on its way ends with it, and the next ones say that the host is gone."""
    with running(peer_environment) as runner:
        runner.execute(pid="A", user_params={"does": "start-daemon"})
        futures = [runner.submit("execute", pid="A", user_params={"does": deed}) for deed in ("segfault", "nothing")]
        for future in futures:
            with pytest.raises(HostDiedError, match="SIGSEGV"):
                future.result(30)
        with pytest.raises(HostDiedError, match="gone"):
            runner.execute(pid="A")
        assert not runner.alive
        eventually(lambda: any("Fatal Python error" in r["message"] for r in runner.logs), "the trace")


@pytest.mark.parametrize("kind", [Runner, Supervisor, partial(Pool, hosts=2)], ids=["Runner", "Supervisor", "Pool"])
@pytest.mark.parametrize("somebody_waits", [False, True])
def test_a_callback_may_stop_what_calls_it(
    kind: Callable[..., Any], somebody_waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that reads runs the callbacks: nothing waits for it, be it the reader thread or a caller's."""
    # A wait for itself would last this long: beyond the test's own patience.
    monkeypatch.setattr("procvision_runner.connection.client._EXIT_PATIENCE_S", 100.0)
    with nothing_left() as mark:
        options = attrs.evolve(OPTIONS, environment={**os.environ, MARK: mark})
        options = options if kind is Runner else SupervisorOptions(runner=options)
        runner = kind(command=peer("--takes", "0.3"), options=options).start()
        stopped: Future[Any] = Future()

        def stop(_: object) -> None:
            try:
                stopped.set_result(runner.stop())
            except BaseException as error:
                stopped.set_exception(error)

        submitted = runner.submit("execute", pid="A")
        submitted.add_done_callback(stop)
        if somebody_waits:
            with contextlib.suppress(RunnerStoppedError):
                runner.execute(pid="A")
        assert submitted.result(60).verdict == "OK"
        assert stopped.result(60) in (0, None)
        runner.stop()


@pytest.mark.parametrize("somebody_waits", [False, True])
def test_a_callback_may_make_calls_and_wait_for_them(somebody_waits: bool) -> None:
    """It runs on the thread that reads, which goes on reading for the call within."""
    with nothing_left() as mark:
        options = attrs.evolve(QUICK_RUNNER, environment={**os.environ, MARK: mark})
        with Runner(command=peer("--takes", "0.1"), options=options) as runner:
            within: Future[Any] = Future()

            def call(_: object) -> None:
                try:
                    within.set_result([runner.execute(pid="A").verdict for _ in range(2)])
                except BaseException as error:
                    within.set_exception(error)

            first = runner.submit("execute", pid="A")
            first.add_done_callback(call)
            others = [runner.submit("execute", pid="A") for _ in range(2)]
            if somebody_waits:
                assert runner.execute(pid="A").verdict == "OK"
            assert within.result(10) == ["OK", "OK"]
            assert [other.result(10).verdict for other in others] == ["OK", "OK"]
            assert runner.execute(pid="A").verdict == "OK"


def test_a_callback_that_wants_to_leave_ends_no_other_call() -> None:
    """SystemExit is caught by nothing in a Future; the thread that reads goes on."""

    def leave(_: object) -> None:
        raise SystemExit(3)

    with nothing_left() as mark:
        options = attrs.evolve(QUICK_RUNNER, environment={**os.environ, MARK: mark})
        with Runner(command=peer("--takes", "0.1"), options=options) as runner:
            for _ in range(2):
                first = runner.submit("execute", pid="A")
                first.add_done_callback(leave)
                assert first.result(10).verdict == "OK"
            assert runner.execute(pid="A").verdict == "OK"


def test_a_callback_whose_own_call_timed_out_may_still_stop() -> None:
    """One callback within another's reach: the thread is in one until the outermost has returned."""
    with nothing_left() as mark:
        options = attrs.evolve(OPTIONS, environment={**os.environ, MARK: mark})
        runner = Runner(command=peer("hang", "--after", "1"), options=options).start()
        stopped: Future[Any] = Future()

        def call_and_stop(_: object) -> None:
            try:
                with contextlib.suppress(CallTimeoutError):
                    runner.execute(pid="A", timeout_s=0.2)
                stopped.set_result(runner.stop())
            except BaseException as error:
                stopped.set_exception(error)

        runner.submit("execute", pid="A").add_done_callback(call_and_stop)
        stopped.result(30)
        assert not runner.alive


def test_a_submitted_call_ends_in_time_while_a_caller_reads() -> None:
    """Its time begins when the call before it has its answer; who reads that need not be who ends it."""
    with nothing_left() as mark:
        options = attrs.evolve(OPTIONS, environment={**os.environ, MARK: mark}, heartbeat=None)
        with Runner(command=peer("hang", "--after", "1", "--takes", "0.5"), options=options) as runner:
            client = runner._client
            assert client is not None
            first = runner.submit("execute", pid="A", timeout_s=60.0)
            hung = runner.submit("execute", pid="A", timeout_s=0.2)
            with ThreadPoolExecutor(1) as threads:
                waits = threads.submit(runner.execute, pid="A", timeout_s=20.0)
                eventually(lambda: len(client.table.calls) == 3, "three calls on their way")
                client._reader_thread.wake()  # whatever makes it look: it hands the reading to the caller that waits
                assert first.result(10).verdict == "OK"
                with pytest.raises(CallTimeoutError):
                    hung.result(10)
                runner.stop()
                assert isinstance(waits.exception(10), CallError)


ANSWERS_BEFORE_ITS_PONG = """
import json, os, struct, time
def send(message):
    data = json.dumps(message).encode()
    os.write(1, struct.pack(">I", len(data)) + data)
def receive():
    length = struct.unpack(">I", os.read(0, 4))[0]
    return json.loads(os.read(0, length))
send({"type": "hello", "sdk_version": "1.0", "capabilities": []})
receive()
call = None
while True:
    message = receive()
    if message["type"] == "call":
        call = message
    elif message["type"] == "ping":
        if call:
            answer = {key: call[key] for key in ("request_id", "phase", "step_index")}
            data = {"result_status": "OK", "debug": {"latency_ms": 1.0}}
            send({"type": "result", "status": "OK", "message": "", "data": data, **answer})
            call = None
            time.sleep(0.05)
        send({"type": "pong", "request_id": message["request_id"], "state": "ready"})
    elif message["type"] == "shutdown":
        send({"type": "shutdown", "status": "OK"})
        break
"""


def test_a_pong_that_comes_after_the_last_caller_has_left_is_read() -> None:
    """A caller that reads has its answer and goes; the pong that it asked for is nobody's miss."""
    heartbeat = HeartbeatPolicy(interval_s=0.2, grace_s=0.4, misses_allowed=1)
    options = attrs.evolve(OPTIONS, heartbeat=heartbeat)
    with Runner(command=[sys.executable, "-S", "-c", ANSWERS_BEFORE_ITS_PONG], options=options) as runner:
        for _ in range(3):
            assert runner.execute(pid="A").verdict == "OK"
            time.sleep(0.7)  # longer than a pong may take
            assert runner.alive


def test_any_command_line_can_be_a_host() -> None:
    """One that shares nothing with ours but the wire."""
    with nothing_left() as mark:
        options = attrs.evolve(QUICK_RUNNER, environment={**os.environ, MARK: mark})
        with Runner(command=[sys.executable, "-S", HOST_PROGRAM], options=options) as runner:
            assert runner.execute(pid="A", user_params={"number": 5}).debug["echo"] == {"number": 5}


def test_host_without_capabilities_gets_one_call_at_a_time_and_no_cancel(tmp_path: Path) -> None:
    """A runner sends nothing that a hello doesn't show to be understood."""
    trace = tmp_path / "trace"
    with nothing_left() as mark:
        options = attrs.evolve(QUICK_RUNNER, environment={**os.environ, MARK: mark})
        command = [sys.executable, "-S", HOST_PROGRAM, "--outline", "--trace", str(trace)]
        with Runner(command=command, options=options) as runner:
            calls = [{"number": number, "takes": 0.05} for number in range(3)]
            futures = [runner.submit("execute", pid="A", user_params=params) for params in calls]
            assert [future.result(20).debug["next_waits"] for future in futures] == [False] * 3
            with pytest.raises(CallTimeoutError):
                runner.execute(pid="A", user_params={"takes": 0.5}, timeout_s=0.1)
            eventually(lambda: not runner.alive, "the end of the host")
    heard = [
        bytes.fromhex(line["heard"]) for line in map(json.loads, trace.read_text().splitlines()) if "heard" in line
    ]
    kinds = [json.loads(payload[payload.index(b"{") :])["type"] for payload in heard]
    assert kinds.count("call") == 4
    assert "cancel" not in kinds


def outline_host(*arguments: str) -> list[str]:
    """A host that knows no more than the outline of the protocol: nothing that it sends has an id."""
    return [sys.executable, "-S", HOST_PROGRAM, "--outline", *arguments]


def test_host_without_ids_is_used_like_any_other() -> None:
    """One call at a time; it pings, it answers NG, errors and OK, and it leaves when it is asked to."""
    heartbeat = HeartbeatPolicy(interval_s=0.1, grace_s=2.0, misses_allowed=1)
    options = attrs.evolve(OPTIONS, heartbeat=heartbeat)
    with Runner(command=outline_host("program", "--asked", "--verdict", "NG"), options=options) as runner:
        assert runner.execute(picture(7), pid="A").verdict == "NG"
        time.sleep(0.4)  # some pings
        with pytest.raises(CallFailedError, match="a program error") as failed:
            runner.execute(pid="A", user_params={"misbehave": True})
        assert (failed.value.error_code, failed.value.kind) == ("9999", "program")
        futures = [runner.submit("execute", pid="A", user_params={"number": number}) for number in range(5)]
        assert [future.result(20).debug["echo"]["number"] for future in futures] == list(range(5))
        assert runner.unexpected_answers == 0
        assert runner.stop() == 0


def test_host_without_ids_is_ended_after_a_timeout() -> None:
    """Its late answer would be taken for the next call's."""
    with Runner(command=outline_host("late", "--late", "0.5", "--after", "1"), options=OPTIONS) as runner:
        assert runner.execute(pid="A").verdict == "OK"
        with pytest.raises(CallTimeoutError):
            runner.execute(pid="A", timeout_s=0.1)
        with pytest.raises(HostDiedError, match="no ids to tell a late one by"):
            runner.execute(pid="A")


@pytest.mark.parametrize("misbehaviour", ["double", "program-and-result"])
def test_host_without_ids_that_answers_nothing_is_ended(misbehaviour: str) -> None:
    """What it says while no call waits could stand in the next one's place."""
    with Runner(command=outline_host(misbehaviour, "--after", "1"), options=OPTIONS) as runner:
        assert runner.execute(pid="A").verdict == "OK"
        with contextlib.suppress(CallFailedError):  # the first of its two answers
            assert runner.execute(pid="A", user_params={"number": 1}).debug["echo"] == {"number": 1}
        eventually(lambda: not runner.alive, "the end of the host")
        with pytest.raises(CallError, match="while no call waited"):
            runner.execute(pid="A", user_params={"number": 2})


def test_supervised_host_without_ids_is_replaced_after_a_timeout() -> None:
    """The next product is inspected by another host; no answer of the old one is taken for its."""
    command = outline_host("late", "--late", "0.4", "--asked")
    with nothing_left() as mark:
        options = marked(SupervisorOptions(runner=OPTIONS), mark)
        with Supervisor(command=command, options=options) as supervisor:
            first = supervisor.process_id
            with pytest.raises(CallTimeoutError):
                supervisor.execute(pid="A", user_params={"number": 1, "misbehave": True}, timeout_s=0.1)
            result = supervisor.execute(pid="A", user_params={"number": 2})
            assert result.debug["echo"] == {"number": 2}
            assert supervisor.process_id != first


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["/nonexistent/host"], "can't be started"),
        (["/bin/true"], "status 0"),
        (["/bin/sh", "-c", "echo 'no such library' >&2; exit 3"], "status 3"),
        (["/bin/echo", "Usage: something else entirely, not a host at all"], "broke the protocol"),
        (["/bin/sh", "-c", "kill -9 $$"], "SIGKILL"),
        (["/bin/sleep", "60"], "no hello came within 0.3 s"),
    ],
    ids=str,
)
def test_command_that_is_no_host_is_told_with_its_end(command: list[str], text: str) -> None:
    """At once, by its exit status or what it said; nothing of it stays."""
    with nothing_left() as mark:
        options = attrs.evolve(QUICK_RUNNER, handshake_timeout_s=0.3, environment={**os.environ, MARK: mark})
        if "sleep" not in command[0]:
            options = attrs.evolve(options, handshake_timeout_s=20.0)
        with pytest.raises(LaunchError, match=text):
            Runner(command=command, options=options).start()
        assert not processes_with(mark)


def test_algorithm_that_cannot_be_loaded_is_a_launch_error(peer_environment: dict[str, str]) -> None:
    """With the host's own words and code."""
    with nothing_left():
        options = attrs.evolve(OPTIONS, environment=peer_environment)
        with pytest.raises(LaunchError, match="the model takes 12 GiB") as caught:
            Runner("raise-in-setup", options=options).start()
        assert (caught.value.error_code, caught.value.exit_status) == ("1004", 70)
        with pytest.raises(LaunchError, match="no algorithm 'unheard-of'") as caught:
            Runner("unheard-of", options=options).start()
        assert caught.value.exit_status == 78


def test_log_records_come_as_they_are_written(peer_environment: dict[str, str]) -> None:
    """With their call's id, on a thread of the runner's; a listener that raises costs nothing."""
    records: list[Mapping[str, Any]] = []

    def listen(record: Mapping[str, Any]) -> None:
        records.append(record)
        raise RuntimeError("a listener's own fault")

    with nothing_left() as mark:
        options = attrs.evolve(OPTIONS, environment={**peer_environment, MARK: mark})
        with Runner("misbehaving", options=options, on_log=listen) as runner:
            for _ in range(2):
                runner.execute(pid="A", user_params={"does": "print-text", "text": "hello"})
            eventually(lambda: sum("hello" in r["message"] for r in records) == 2, "both records")
    assert threading.current_thread() is threading.main_thread()


def test_runner_that_is_dropped_warns_and_leaves_nothing(peer_environment: dict[str, str]) -> None:
    """A resource is a context manager; forgetting that is told."""
    with nothing_left() as mark:
        runner = Runner("misbehaving", options=attrs.evolve(OPTIONS, environment={**peer_environment, MARK: mark}))
        runner.start()
        with pytest.warns(ResourceWarning, match="was dropped while it ran"):
            del runner


def test_stop_in_a_time_of_its_own(peer_environment: dict[str, str]) -> None:
    """The host is told it, ends what doesn't end, and leaves its stacks in the log before the runner would kill it."""
    options = attrs.evolve(OPTIONS, environment=peer_environment, shutdown_timeout_s=60.0, terminate_timeout_s=60.0)
    runner = Runner("hang-in-teardown", options=options).start()
    with pytest.raises(ValueError, match="timeout_s is 0"):
        runner.stop(0)
    assert runner.alive
    assert runner.stop(1.2) == 70
    assert any("may take 0.95 s from when it began" in record["message"] for record in runner.logs)
    assert any("most recent call first" in record["message"] for record in runner.logs)


@pytest.mark.parametrize("kind", [Supervisor, partial(Pool, hosts=1)], ids=["Supervisor", "Pool"])
def test_stop_of_what_supervises_takes_a_time_too(
    peer_environment: dict[str, str], kind: Callable[..., Supervisor | Pool]
) -> None:
    """It is each host's; the default would be two minutes."""
    options = attrs.evolve(OPTIONS, shutdown_timeout_s=60.0, terminate_timeout_s=60.0)
    with nothing_left() as mark:
        logs: list[Mapping[str, Any]] = []
        supervised = kind(
            "hang-in-teardown",
            options=marked(SupervisorOptions(runner=options), mark, peer_environment),
            on_log=logs.append,
        ).start()
        supervised.stop(timeout_s=0.8)
        eventually(lambda: any("may take 0.6 s" in record["message"] for record in logs), "the watchdog's word")
