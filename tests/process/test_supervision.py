"""A supervised host over its whole life: restarts and their end, room and turns, limits, what is kept of a crash."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from supervising import (
    PICTURE,
    QUICK,
    echo,
    marked,
    nothing_left,
    ready_again,
    supervised,
    wait_until,
    with_runner,
)

from procvision_runner.errors import (
    BrokenError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    RunnerStoppedError,
    SessionLostError,
)
from procvision_runner.supervision import events as kinds
from procvision_runner.supervision.limits import ResourceLimits
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor

PATIENT = with_runner(QUICK, execute_timeout_s=20.0, pre_timeout_s=20.0)
TWICE = attrs.evolve(PATIENT, restart=RestartPolicy(max_restarts=2, first_delay_s=0.01))
MISBEHAVE = {"misbehave": True}
_turns = itertools.count()


def crash(supervisor: Supervisor) -> None:
    """Make a host end, each time with another picture: one that ends two hosts is not tried again."""
    with pytest.raises(HostDiedError):
        supervisor.execute(np.roll(PICTURE, next(_turns)), pid="A", user_params=MISBEHAVE)


# --- restarts, and their end ------------------------------------------------------------------------------------


def test_intensity_limit_breaks_the_supervisor_and_reset_mends_it() -> None:
    heard: list[kinds.Event] = []
    with supervised("exit", "--asked", options=TWICE, listeners=[heard.append]) as supervisor:
        for _ in range(3):
            crash(supervisor)
        assert wait_until(lambda: supervisor.state is SupervisorState.BROKEN)
        with pytest.raises(BrokenError, match="2 restarts within 60 s, no more than 2 are allowed") as caught:
            echo(supervisor, 1)
        assert "the licence server is gone" in caught.value.last_lines
        assert caught.value.facts is not None
        assert caught.value.facts.attempts == 0
        assert isinstance(supervisor.submit("execute", pid="A").exception(10), BrokenError)
        supervisor.recover()
        assert supervisor.state is SupervisorState.READY
        assert supervisor.broken_because is None
        assert echo(supervisor, 2) == 2
        crash(supervisor)
        assert echo(supervisor, 3) == 3
    names = [event.NAME for event in heard]
    assert names.index("broken") < names.index("recovering")
    assert names.count("host_restarted") == 3


def test_calls_that_wait_for_a_host_end_when_it_is_given_up(tmp_path: Path) -> None:
    """Not by a timeout, and with the reason."""
    arguments = ("crash", "--asked", "--first", str(tmp_path / "first"), "--setup-fails", "hang")
    options = attrs.evolve(TWICE, restart=RestartPolicy(max_failed_launches=1, first_delay_s=0.01))
    with supervised(*arguments, options=with_runner(options, ready_timeout_s=1.0)) as supervisor:
        crash(supervisor)
        waiting = [supervisor.submit("execute", PICTURE, pid="A") for _ in range(4)]
        for future in waiting:
            assert isinstance(future.exception(20), BrokenError)


def test_host_that_no_longer_becomes_ready_is_not_restarted_in_a_loop(tmp_path: Path) -> None:
    """A second try for a machine that was busy, then it is broken, whatever the intensity limit would allow."""
    heard: list[kinds.Event] = []
    arguments = ("crash", "--asked", "--first", str(tmp_path / "first"), "--setup-fails", "error")
    with supervised(*arguments, options=PATIENT, listeners=[heard.append]) as supervisor:
        crash(supervisor)
        assert wait_until(lambda: supervisor.state is SupervisorState.BROKEN)
        assert supervisor.broken_because == "the host did not become ready 2 times in a row"
        with pytest.raises(LaunchError, match="no weights"):
            supervisor.recover()
        assert supervisor.state is SupervisorState.BROKEN
        assert "no weights" in str(supervisor.broken_because)
    assert [event.NAME for event in heard].count("host_starting") == 1 + 2 + 1


def test_stop_interrupts_a_restart_and_ends_the_calls_that_wait_for_it() -> None:
    options = attrs.evolve(PATIENT, restart=RestartPolicy(first_delay_s=60.0, max_delay_s=60.0))
    with supervised("crash", "--asked", options=options) as supervisor:
        crash(supervisor)
        assert supervisor.state is SupervisorState.RESTARTING
        waiting = supervisor.submit("execute", PICTURE, pid="A")
        began = time.monotonic()
        supervisor.stop()
        assert time.monotonic() - began < 10.0
        assert isinstance(waiting.exception(1), RunnerStoppedError)


def test_call_waits_no_longer_for_a_host_than_its_options_say() -> None:
    options = attrs.evolve(PATIENT, restart=RestartPolicy(first_delay_s=60.0, max_delay_s=60.0), queue_timeout_s=0.2)
    with supervised("crash", "--asked", options=options) as supervisor:
        crash(supervisor)
        with pytest.raises(CallTimeoutError, match=r"no host had room for this call within 0\.2 s"):
            echo(supervisor, 1)
        assert isinstance(supervisor.submit("execute", PICTURE, pid="A").exception(10), CallTimeoutError)


def test_session_of_a_lost_host_is_told_and_never_continued_elsewhere() -> None:
    with supervised("crash", "--asked", options=PATIENT) as supervisor:
        session = supervisor.session({"product": 1})
        supervisor.pre_execute(PICTURE, pid="A", session=session)
        crash(supervisor)
        with pytest.raises(SessionLostError, match="SIGSEGV"):
            supervisor.execute(PICTURE, pid="A", session=session)
        assert echo(supervisor, 1, session=supervisor.session()) == 1


# --- room and turns ---------------------------------------------------------------------------------------------


def test_fifty_callers_get_their_own_answers() -> None:
    """Blocking and submitted, in sessions and without: on one host."""
    with supervised(options=PATIENT) as supervisor, ThreadPoolExecutor(50) as threads:

        def call(caller: int) -> bool:
            session = supervisor.session() if caller % 5 == 0 else None
            for number in range(10):
                mine = caller * 1000 + number
                if caller % 2:
                    params = {"number": mine}
                    future = supervisor.submit("execute", PICTURE, pid="A", user_params=params, session=session)
                    if future.result(60).debug["echo"]["number"] != mine:
                        return False
                elif echo(supervisor, mine, session=session) != mine:
                    return False
            return True

        assert all(threads.map(call, range(50)))
        counters = supervisor.snapshot().counters
        assert counters["calls"] == counters["calls_OK"] == 500


def test_next_call_is_in_the_pipe_while_the_last_is_executed_and_no_more_than_depth_are() -> None:
    with supervised(options=PATIENT) as supervisor:
        most = 0

        def call(number: int) -> Any:
            return supervisor.submit("execute", PICTURE, pid="A", user_params={"takes": 0.1, "number": number})

        futures = [call(number) for number in range(6)]
        while not all(future.done() for future in futures):
            most = max(most, supervisor.admission.in_host)
            time.sleep(0.001)
        results = [future.result() for future in futures]
        assert [result.debug["echo"]["number"] for result in results] == list(range(6))
        assert most == supervisor.options.depth == 2
        assert sum(result.debug["next_waits"] for result in results[:-1]) >= 4


def test_pictures_are_written_ahead_and_their_slots_come_back() -> None:
    """While one call is executed, the pictures of those that wait lie in slots already."""
    with supervised(options=PATIENT) as supervisor:
        futures = [supervisor.submit("execute", PICTURE, pid="A", user_params={"takes": 0.2}) for _ in range(4)]
        assert supervisor.slots.leased == 4
        for future in futures:
            future.result(10)
        assert wait_until(lambda: supervisor.slots.leased == 0)


# --- what a host may use and see --------------------------------------------------------------------------------


def test_limits_are_set_and_core_dumps_are_off() -> None:
    limits = ResourceLimits(memory_bytes=1 << 30, cpu_s=1000, open_files=77, processes=500)
    with supervised(options=attrs.evolve(PATIENT, limits=limits)) as supervisor:
        told = supervisor.execute(pid="A", user_params={"tell": "limits"}).debug["told"]
    assert told == {"DATA": 1 << 30, "CPU": 1000, "NOFILE": 77, "NPROC": 500, "CORE": 0}


@pytest.mark.parametrize(
    ("misbehaviour", "limits", "text"),
    [
        ("burn", ResourceLimits(cpu_s=1), "SIGXCPU: it has used up its CPU time"),
        ("open-files", ResourceLimits(open_files=50), "status 3"),
    ],
    ids=["cpu", "files"],
)
def test_limit_ends_the_host_and_the_cause_is_told(misbehaviour: str, limits: ResourceLimits, text: str) -> None:
    with supervised(misbehaviour, "--asked", options=attrs.evolve(PATIENT, limits=limits)) as supervisor:
        with pytest.raises(HostDiedError, match=text) as caught:
            supervisor.execute(PICTURE, pid="A", user_params=MISBEHAVE)
        assert misbehaviour == "burn" or "Too many open files" in caught.value.last_lines
        assert ready_again(supervisor)


def test_secrets_of_the_platform_do_not_reach_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_DATABASE_PASSWORD", "swordfish")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072")
    with supervised() as supervisor:
        told = supervisor.execute(pid="A", user_params={"tell": "environment"}).debug["told"]
    assert "PLATFORM_DATABASE_PASSWORD" not in told
    assert "swordfish" not in str(told)
    assert told["OMP_NUM_THREADS"] == "1"
    assert told["GLIBC_TUNABLES"] == "glibc.malloc.mmap_threshold=131072"
    assert told["PATH"] == os.environ["PATH"]


def test_memory_and_cpu_of_the_tree_are_measured() -> None:
    """With what the host started, wherever that went."""
    heard: list[kinds.Event] = []
    options = attrs.evolve(PATIENT, measure_interval_s=0.1)
    with supervised("--fork-child", options=options, listeners=[heard.append]) as supervisor:
        assert wait_until(lambda: (usage := supervisor.snapshot().usage) is not None and usage.processes == 2)
        usage = supervisor.snapshot().usage
        assert usage is not None
        assert 1_000_000 < usage.memory_bytes < 200_000_000
        assert usage.cpu_s > 0
        assert wait_until(lambda: any(isinstance(event, kinds.Measured) for event in heard))


# --- the real host ----------------------------------------------------------------------------------------------

REAL = attrs.evolve(PATIENT, runner=attrs.evolve(PATIENT.runner, handshake_timeout_s=30.0, ready_timeout_s=30.0))


def real(options: SupervisorOptions, mark: str, environment: dict[str, str], **more: Any) -> Supervisor:
    return Supervisor("misbehaving", options=marked(options, mark, environment), **more)


@pytest.mark.parametrize("deed", ["hang", "hang-and-print"])
def test_crash_report_of_a_hung_algorithm_shows_where_it_hung(
    deed: str, peer_environment: dict[str, str], tmp_path: Path
) -> None:
    """Stacks by faulthandler before the kill, the frames, the log, the manifest and the versions."""
    options = attrs.evolve(with_runner(REAL, execute_timeout_s=1.0), crash_folder=tmp_path, dump_timeout_s=3.0)
    heard: list[kinds.Event] = []
    more: dict[str, Any] = {"listeners": [heard.append], "name": "line/3"}
    with nothing_left() as mark, real(options, mark, peer_environment, **more) as supervisor:
        host = supervisor.process_id
        params = {"does": deed}
        with pytest.raises(CallTimeoutError) as caught:
            supervisor.execute(PICTURE, pid="A", user_params=params)
        assert caught.value.facts is not None
        assert caught.value.facts.process_id == host
        assert wait_until(lambda: any(isinstance(event, kinds.CrashReported) for event in heard), 30.0)
        assert wait_until(lambda: supervisor.state is SupervisorState.READY, 30.0)
    folder = Path(next(event.folder for event in heard if isinstance(event, kinds.CrashReported)))
    assert folder.parent == tmp_path
    cause = json.loads((folder / "cause.json").read_text())
    assert (cause["source"], cause["cause"], cause["what"]) == ("line/3", "timeout", "ended")
    assert "did not end execute within its 1 s, nor within 0.2 s of its cancel" in cause["text"]
    assert cause["process_id"] == host
    assert {"algorithm", "runner", "protocol", "runner_python"} <= set(cause["versions"])
    stacks = (folder / "stacks.txt").read_text()
    assert "most recent call first" in stacks
    assert f"in {deed.replace('-', '_')}" in stacks
    assert "\x1b" not in stacks
    frames = [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]
    assert any(frame["direction"] == "out" and '"call"' in frame["bytes"] for frame in frames)
    assert any(frame["direction"] == "in" and '"1005"' in frame["bytes"] for frame in frames)
    assert any(frame["direction"] == "out" and '"execute"' in frame["bytes"] for frame in frames)
    assert json.loads((folder / "manifest.json").read_text())["name"] == "misbehaving"
    assert (folder / "log.jsonl").read_text()


def test_crash_report_of_a_crash_has_the_trace_in_its_log(peer_environment: dict[str, str], tmp_path: Path) -> None:
    options = attrs.evolve(REAL, crash_folder=tmp_path, max_crash_reports=1, retry=RetryPolicy(retries=1))
    with nothing_left() as mark, real(options, mark, peer_environment) as supervisor:
        params = {"does": "segfault"}
        with pytest.raises(HostDiedError, match="SIGSEGV") as caught:
            supervisor.execute(PICTURE, pid="A", user_params=params)
        facts = caught.value.facts
        assert facts is not None
        assert (facts.attempts, facts.earlier_causes) == (2, ("crashed",))
        assert wait_until(lambda: supervisor.snapshot().counters.get("crash_reports") == 2)
    (folder,) = tmp_path.iterdir()  # two incidents, the newest is kept
    assert json.loads((folder / "cause.json").read_text())["signal"] == "SIGSEGV"
    assert "in segfault" in (folder / "log.jsonl").read_text()


def test_crash_report_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file where a folder should be")
    options = attrs.evolve(PATIENT, crash_folder=tmp_path / "full")
    with supervised("crash", "--asked", options=options) as supervisor:
        crash(supervisor)
        assert echo(supervisor, 1) == 1
        assert "crash_reports" not in supervisor.snapshot().counters


@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_crash_report_keeps_no_secret_and_is_its_owners(umask: int, tmp_path: Path) -> None:
    """Neither of the command line nor of the frames; who wants no frames kept says so."""
    heard: list[kinds.Event] = []
    before = os.umask(umask)
    try:
        options = attrs.evolve(PATIENT, crash_folder=tmp_path / "incidents", crash_frames=umask == 0)
        with supervised(
            "crash",
            "--asked",
            "--trace",
            str(tmp_path / "password=geheim"),
            options=options,
            listeners=[heard.append],
        ) as supervisor:
            session = supervisor.session({"broker": {"password": "geheim"}, "order": "4711"})
            with pytest.raises(HostDiedError) as caught:
                supervisor.execute(None, pid="A", session=session, user_params=MISBEHAVE | {"api_key": "geheim"})
            assert wait_until(lambda: supervisor.snapshot().counters.get("crash_reports", 0) >= 1)
    finally:
        os.umask(before)
    assert "geheim" not in str(caught.value)
    assert wait_until(lambda: any(isinstance(event, kinds.HostStarting) for event in heard))
    assert "geheim" not in str([event.as_dict() for event in heard])
    folder, *_ = sorted((tmp_path / "incidents").iterdir())
    files = list(folder.iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
    assert not [path for path in files if "geheim" in path.read_text()]
    kept = [path for path in files if "4711" in path.read_text()]
    assert bool(kept) == (umask == 0)


def test_algorithm_that_asks_to_be_replaced_is_and_its_call_is_not_made_again(peer_environment: dict[str, str]) -> None:
    """FatalError: the call's answer is that error, the host exits with status 70, and another follows."""
    heard: list[kinds.Event] = []
    options = attrs.evolve(REAL, retry=RetryPolicy(retries=2))
    with nothing_left() as mark, real(options, mark, peer_environment, listeners=[heard.append]) as supervisor:
        before = supervisor.process_id
        with pytest.raises(CallFailedError, match="the camera's driver is gone") as caught:
            supervisor.execute(PICTURE, pid="A", user_params={"does": "raise-fatal"})
        assert caught.value.cause == "fatal"
        assert caught.value.facts is not None
        assert caught.value.facts.attempts == 1
        # The next call may still meet the old host, as it leaves.
        assert supervisor.execute(PICTURE, pid="A", user_params={"does": "nothing"}).verdict == "OK"
        assert supervisor.process_id != before
    ended = next(event for event in heard if isinstance(event, kinds.HostEnded))
    assert (ended.cause, ended.exit_status) == ("exited", 70)


def test_algorithm_that_heeds_its_cancel_keeps_its_host(peer_environment: dict[str, str]) -> None:
    """Within the grace: the call has timed out, the process with its model stays."""
    options = attrs.evolve(with_runner(REAL, execute_timeout_s=0.5), cancel_grace_s=20.0)
    with nothing_left() as mark, real(options, mark, peer_environment) as supervisor:
        before = supervisor.process_id
        with pytest.raises(CallTimeoutError):
            params = {"does": "wait-for-cancel"}
            supervisor.execute(PICTURE, pid="A", user_params=params)
        fine = {"does": "nothing"}
        assert supervisor.execute(PICTURE, pid="A", user_params=fine, timeout_s=20.0).verdict == "OK"
        assert supervisor.process_id == before
        # The host's own answer, on a busy machine late; never the algorithm's beside it.
        assert supervisor.unexpected_answers <= 1


def test_what_the_environment_policy_holds_back_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and never by value, in the log of the first host, so that a variable that is missed is found."""
    monkeypatch.setenv("PGPASSFILE", "s3cret-value")
    heard: list[Any] = []
    with supervised(options=PATIENT, on_log=heard.append) as supervisor:
        told = [record["message"] for record in supervisor.logs if "PGPASSFILE" in record["message"]]
        first = supervisor.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: supervisor.process_id not in {first, None})
        assert not any("PGPASSFILE" in record["message"] for record in supervisor.logs)
    assert len(told) == 1
    assert "s3cret-value" not in told[0]
    assert [record["message"] for record in heard if "PGPASSFILE" in record["message"]] == told
