"""What befalls a station from outside: signals, what runs out, forks, interrupts, foreign code in its threads."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from supervising import (
    MARK,
    PICTURE,
    QUICK,
    echo,
    marked,
    nothing_left,
    peer,
    processes_with,
    ready_again,
    segments,
    supervised,
    wait_until,
    with_runner,
)

from procvision_runner.errors import (
    CallError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    RunnerStoppedError,
    SlotsExhaustedError,
)
from procvision_runner.images.segments import remove_leftovers
from procvision_runner.images.slots import SlotPool
from procvision_runner.runner import Runner
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

PATIENT = with_runner(QUICK, execute_timeout_s=30.0, pre_timeout_s=30.0)
REAL = with_runner(PATIENT, handshake_timeout_s=30.0, ready_timeout_s=30.0, shutdown_timeout_s=1.0)
HEARTBEAT = HeartbeatPolicy(interval_s=0.3, grace_s=3.0, misses_allowed=1)
"""A grace that a busy machine keeps, one miss that a stopped process can't avoid."""
NOTHING = {"does": "nothing"}


@contextmanager
def real(environment: dict[str, str], options: Any = REAL) -> Iterator[Supervisor]:
    with nothing_left() as mark, Supervisor("misbehaving", options=marked(options, mark, environment)) as supervisor:
        yield supervisor


def guardian_of(supervisor: Supervisor) -> int:
    host = supervisor.admission.current
    assert host is not None
    assert host.process.process_id != host.process_id
    return host.process.process_id


def fine(supervisor: Supervisor) -> bool:
    return supervisor.execute(PICTURE, pid="A", user_params=NOTHING).verdict == "OK"


# --- signals ----------------------------------------------------------------------------------------------------


def test_stopped_guardian_stops_no_call_and_nothing_is_left_of_it(peer_environment: dict[str, str]) -> None:
    """It is not on a call's way."""
    with real(peer_environment) as supervisor:
        os.kill(guardian_of(supervisor), signal.SIGSTOP)
        before = supervisor.process_id
        assert all(fine(supervisor) for _ in range(20))
        assert supervisor.process_id == before


def test_stopped_guardian_of_an_algorithm_that_prints_without_end_goes_with_its_host(
    peer_environment: dict[str, str],
) -> None:
    """What nobody reads fills its pipe, so the call times out like any that hangs, and another pair follows."""
    with real(peer_environment, with_runner(REAL, terminate_timeout_s=0.2)) as supervisor:
        before = guardian_of(supervisor)
        os.kill(before, signal.SIGSTOP)
        with pytest.raises(CallTimeoutError):
            params = {"does": "flood", "count": 100_000}
            supervisor.execute(PICTURE, pid="A", user_params=params, timeout_s=2.0)
        assert fine(supervisor)
        assert guardian_of(supervisor) != before


@pytest.mark.parametrize("victim", ["guardian", "host"])
def test_either_of_the_two_processes_killed_is_a_crash_and_another_pair_follows(
    victim: str, peer_environment: dict[str, str]
) -> None:
    with real(peer_environment) as supervisor:
        before = {guardian_of(supervisor), supervisor.process_id}
        hanging = supervisor.submit("execute", PICTURE, pid="A", user_params={"does": "hang"})
        assert wait_until(lambda: supervisor.admission.in_host == 1)
        target = guardian_of(supervisor) if victim == "guardian" else supervisor.process_id
        assert target is not None
        os.kill(target, signal.SIGKILL)
        error = hanging.exception(20)
        assert isinstance(error, HostDiedError)
        assert (error.cause, error.signal) == ("crashed", "SIGKILL")
        assert fine(supervisor)
        assert not before & {guardian_of(supervisor), supervisor.process_id}


def test_stopped_host_is_unresponsive_and_replaced(peer_environment: dict[str, str]) -> None:
    with real(peer_environment, with_runner(REAL, heartbeat=HEARTBEAT)) as supervisor:
        before = supervisor.process_id
        assert before is not None
        hanging = supervisor.submit("execute", PICTURE, pid="A", user_params={"does": "hang"})
        assert wait_until(lambda: supervisor.admission.in_host == 1)
        os.kill(before, signal.SIGSTOP)
        error = hanging.exception(25)
        assert isinstance(error, HostDiedError)
        assert error.cause == "unresponsive"
        assert wait_until(lambda: supervisor.process_id not in {None, before}, 30.0)
        assert fine(supervisor)


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"shutdown","status":"OK"}',
        '{"type":"result","request_id":"call-3","phase":"execute","step_index":1,"status":"OK","data":{}}',
        '{"type":"error","message":"x","error_code":"9999"}',
    ],
    ids=["the last word", "another call's answer", "an error of no call"],
)
def test_frames_that_an_algorithm_writes_itself_hold_up_no_line(frame: str, peer_environment: dict[str, str]) -> None:
    """It may say what it likes of its own call; the calls after it are answered, by another host where need be."""
    with real(peer_environment) as supervisor:
        assert fine(supervisor)
        with contextlib.suppress(CallError):
            params = {"does": "write-frames-of-its-own", "text": frame}
            supervisor.execute(PICTURE, pid="A", user_params=params, timeout_s=10.0)

        def answered() -> bool:
            with contextlib.suppress(HostDiedError):  # no call is made again here
                return fine(supervisor)
            return False

        assert wait_until(answered, 20.0)
        assert fine(supervisor)


# --- what runs out ----------------------------------------------------------------------------------------------


def test_runner_without_descriptors_says_so_and_is_well_again_with_some() -> None:
    """No host can be started and no slot be made: typed errors, and the host that runs goes on."""
    with supervised(options=attrs.evolve(PATIENT, measure_interval_s=0.05)) as supervisor:
        assert echo(supervisor, 1) == 1
        before = supervisor.process_id
        with no_descriptors():
            assert echo(supervisor, 2) == 2
            with pytest.raises(SlotsExhaustedError, match="Too many open files"):
                SlotPool(1).lease((64, 64, "RGB"), 1.0)
            with pytest.raises(LaunchError, match="Too many open files"):
                Supervisor(command=peer(), options=QUICK).start()
            time.sleep(0.2)  # some measurements, which fail
        assert supervisor.state is SupervisorState.READY
        assert supervisor.process_id == before
        assert echo(supervisor, 3) == 3


def test_runner_without_descriptors_can_still_stop() -> None:
    with supervised("--ignore-shutdown", "--ignore-sigterm", options=PATIENT) as supervisor:
        assert echo(supervisor, 1) == 1
        with no_descriptors():
            supervisor.stop()
            assert supervisor.state is SupervisorState.STOPPED


@pytest.mark.parametrize("left", range(8))
def test_start_with_few_descriptors_left_leaves_nothing(left: int) -> None:
    """Wherever it fails: at a pipe, at the process's descriptor, at the client's own."""
    with nothing_left() as mark, no_descriptors(besides=left), pytest.raises(LaunchError):
        Supervisor(command=peer(), options=marked(QUICK, mark)).start()


@contextmanager
def no_descriptors(besides: int = 0) -> Iterator[None]:
    """Takes all that this process may have, but so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 256), hard))
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(besides):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def script(text: str, *, before: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a station in a process of its own."""
    paths = os.pathsep.join(sys.path)
    return subprocess.run(
        [*before, sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def may_unshare() -> bool:
    command = ["unshare", "-m", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="a /dev/shm of its own takes the right to unshare mounts")
def test_full_shared_memory_is_an_error_of_its_call_and_what_fits_goes_on() -> None:
    """Never a SIGBUS, never a picture that isn't all there."""
    ended = script(
        """
        import subprocess, sys
        import numpy as np
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", "/dev/shm"], check=True)
        from procvision_runner import SlotsExhaustedError, Supervisor
        from supervising import QUICK, peer
        with Supervisor(command=peer(), options=QUICK) as station:
            small, large = np.zeros((64, 64, 3), np.uint8), np.zeros((1024, 1024, 3), np.uint8)
            assert station.execute(small, pid="A", timeout_s=20).verdict == "OK"
            for _ in range(3):
                try:
                    station.execute(large, pid="A")
                except SlotsExhaustedError as error:
                    assert "--shm-size" in str(error), error
                else:
                    sys.exit("the large picture should not have fitted")
            assert station.execute(small, pid="A", timeout_s=20).verdict == "OK"
            assert station.slots.leased == 0
        import os
        assert os.listdir("/dev/shm") == []
        """,
        before=("unshare", "-m"),
    )
    assert ended.returncode == 0, ended.stderr


# --- the runner's own process -----------------------------------------------------------------------------------


def test_stop_from_several_threads_at_once_is_one_stop() -> None:
    with supervised("--ignore-shutdown", options=PATIENT) as supervisor, ThreadPoolExecutor(8) as threads:
        pending = supervisor.submit("execute", PICTURE, pid="A", user_params={"takes": 20.0})
        stops = [threads.submit(supervisor.stop) for _ in range(8)]
        assert len({stop.result(20) for stop in stops}) == 1
        assert isinstance(pending.exception(1), RunnerStoppedError)
        assert supervisor.state is SupervisorState.STOPPED


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit])
def test_foreign_code_that_raises_costs_nothing_but_a_line_in_the_log(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Listeners, readers of the log and Futures' callbacks, each on a thread that others depend on."""

    def bad(*_: object) -> None:
        raise raised("a listener's own fault")

    heard: list[str] = []
    listeners = [bad, lambda event: heard.append(event.NAME)]
    with supervised("--log", "hello", options=PATIENT, listeners=listeners, on_log=bad) as supervisor:
        for number in range(5):
            future = supervisor.submit("execute", PICTURE, pid="A", user_params={"number": number})
            with contextlib.suppress(raised):  # a Future that is done already calls it here
                future.add_done_callback(bad)
            assert future.result(10).debug["echo"]["number"] == number
        assert echo(supervisor, 6) == 6
    assert heard[-1] == "stopped"
    assert "a listener's own fault" in caplog.text


def test_foreign_code_that_blocks_holds_up_neither_calls_nor_heartbeat() -> None:
    """A listener and a reader of the log that never return, beside a host that logs without end."""
    gate = threading.Event()

    def block(_: object) -> None:
        gate.wait(60)

    options = attrs.evolve(with_runner(PATIENT, heartbeat=HEARTBEAT))
    with supervised("--flood-stderr", options=options, listeners=[block], on_log=block) as supervisor:
        before = supervisor.process_id
        deadline = time.monotonic() + HEARTBEAT.interval_s + HEARTBEAT.grace_s + 1.0
        while time.monotonic() < deadline:
            future = supervisor.submit("execute", PICTURE, pid="A", user_params={"number": 1, "takes": 0.05})
            assert future.result(20).debug["echo"]["number"] == 1
        assert supervisor.process_id == before
        gate.set()


def test_stop_from_a_futures_callback_ends_the_station() -> None:
    """On the thread that reads the answers."""
    with supervised(options=PATIENT) as supervisor:
        stopped = threading.Event()
        future = supervisor.submit("execute", PICTURE, pid="A", user_params={"takes": 0.1})
        future.add_done_callback(lambda _: (supervisor.stop(), stopped.set()))
        assert stopped.wait(20)
        assert supervisor.state is SupervisorState.STOPPED


def test_stop_from_a_listener_ends_the_station() -> None:
    stopped = threading.Event()
    stations: list[Supervisor] = []

    def on_event(event: Any) -> None:
        if event.NAME == "call_ended":
            stations[0].stop()
            stopped.set()

    with supervised(options=PATIENT, listeners=[on_event]) as supervisor:
        stations.append(supervisor)
        assert echo(supervisor, 1) == 1
        assert stopped.wait(20)
        assert supervisor.state is SupervisorState.STOPPED


def test_fork_of_the_runner_can_neither_call_nor_clean_up() -> None:
    """Its frames would be torn by the parent's, and its end would take the parent's pictures away."""
    ended = script(
        """
        import os, sys, warnings
        import numpy as np
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        from procvision_runner import Runner, RunnerStoppedError, Supervisor
        from supervising import QUICK, QUICK_RUNNER, peer, segments
        picture = np.zeros((8, 8, 3), np.uint8)
        bare = Runner(command=peer(), options=QUICK_RUNNER)
        with Supervisor(command=peer(), options=QUICK) as station, bare as runner:
            for one in (station, runner):
                one.execute(picture, pid="A", timeout_s=20)
            before = segments()
            assert len(before) == 2, before
            child = os.fork()
            if child == 0:
                refused = 0
                for one in (station, runner):
                    try:
                        one.execute(picture, pid="A")
                    except RunnerStoppedError as error:
                        refused += "fork" in str(error)
                    one.stop()
                sys.exit(10 + refused)  # through every finalizer and exit handler
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 12, status
            assert segments() == before
            for one in (station, runner):
                assert one.execute(picture, pid="A", timeout_s=20).verdict == "OK"
        """
    )
    assert ended.returncode == 0, ended.stderr


def test_interrupted_caller_gets_its_interrupt_and_the_station_goes_on() -> None:
    """Ctrl-C in a blocking call: the call is cancelled, its slot comes back when the host is done with it."""
    ended = script(
        """
        import os, signal, threading, time
        import numpy as np
        from procvision_runner import Supervisor
        from supervising import QUICK, peer, wait_until, with_runner
        picture = np.zeros((8, 8, 3), np.uint8)
        with Supervisor(command=peer(), options=with_runner(QUICK, execute_timeout_s=30.0)) as station:
            for waiting in (False, True):
                if waiting:
                    others = [station.submit("execute", picture, pid="A", user_params={"takes": 1}) for _ in range(2)]
                began = time.monotonic()
                threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
                try:
                    station.execute(picture, pid="A", user_params={"takes": 1.0 if not waiting else 0.0})
                except KeyboardInterrupt:
                    pass
                else:
                    raise SystemExit("there was no interrupt")
                assert station.execute(picture, pid="A", user_params={"number": 7}).debug["echo"]["number"] == 7
            assert [other.result(20).verdict for other in others] == ["OK", "OK"]
            assert wait_until(lambda: station.slots.leased == 0)
            assert wait_until(lambda: station.admission.in_host == 0)
            assert station.snapshot().counters["calls_OK"] == 4
        """
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "raise RuntimeError", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_runner_that_ends_without_a_stop_leaves_no_host(end: str, peer_environment: dict[str, str]) -> None:
    """And, unless it was killed, no shared memory; what a killed one leaves, the next runner removes."""
    mark = f"ends-{os.getpid()}-{abs(hash(end))}"
    ended = script(
        f"""
        import os, sys
        import numpy as np
        from procvision_runner import RunnerOptions, Supervisor, SupervisorOptions
        station = Supervisor("misbehaving", options=SupervisorOptions()).start()
        named = Supervisor("misbehaving", options=SupervisorOptions(runner=RunnerOptions(arena_bytes=0))).start()
        picture = np.zeros((8, 8, 3), np.uint8)
        for one in (station, named):
            one.execute(picture, pid="A")
        print(os.getpid(), flush=True)
        {end}
        """,
        **peer_environment,
        **{MARK: mark},
    )
    assert wait_until(lambda: processes_with(mark) == [], 20.0)
    left = list(Path("/dev/shm").glob(f"pv-{int(ended.stdout)}-*"))
    if end.startswith("os."):
        assert len(left) == 1
        remove_leftovers()
        left = [path for path in left if path.exists()]
    assert left == []


def test_bare_runner_survives_an_interrupt_too() -> None:
    """The same without a supervisor."""
    with nothing_left() as mark:
        options = attrs.evolve(PATIENT.runner, environment={**os.environ, MARK: mark})
        with Runner(command=peer(), options=options) as runner:
            threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
            with pytest.raises(KeyboardInterrupt):
                runner.execute(PICTURE, pid="A", user_params={"takes": 1.0})
            assert runner.execute(PICTURE, pid="A").verdict == "OK"
    assert segments() == set()


def test_call_that_ends_at_its_deadline_is_told_once() -> None:
    """The answer and the timeout race, a hundred times: each call has one end, and the next its own answer."""
    options = attrs.evolve(PATIENT, cancel_grace_s=5.0)
    with supervised(options=options) as supervisor:
        outcomes: list[object] = []
        for number in range(60):
            params = {"takes": 0.02, "number": number}
            try:
                result = supervisor.execute(PICTURE, pid="A", user_params=params, timeout_s=0.02)
            except CallTimeoutError as error:
                outcomes.append(error)
            else:
                assert result.debug["echo"]["number"] == number
                outcomes.append(result)
        counters = supervisor.snapshot().counters
        timeouts = counters.get("calls_timeout", 0)
        assert counters["calls"] == len(outcomes) == 60
        assert wait_until(lambda: supervisor.unexpected_answers == timeouts)
        assert ready_again(supervisor)
