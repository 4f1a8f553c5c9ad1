"""The gateway between our runners and adapters that misbehave: real processes on either side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from procvision_runner import (
    CallError,
    CallFailedError,
    CallTimeoutError,
    HostDiedError,
    LaunchError,
    Picture,
    Pool,
    Runner,
    RunnerOptions,
    Supervisor,
    SupervisorOptions,
)
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

SUPPORT = Path(__file__).parent / "support"
GATEWAY = [sys.executable, "-m", "procvision_compat.gateway", "--"]
PICTURE = np.full((24, 32, 3), 200, np.uint8)


def odd(*arguments: str) -> list[str]:
    """The command line of a gateway before an adapter that misbehaves as these arguments say."""
    return [*GATEWAY, sys.executable, str(SUPPORT / "odd_adapter.py"), *arguments]


def runner_of(*arguments: str, **options: object) -> Runner:
    return Runner(command=odd(*arguments), options=RunnerOptions(**options))  # type: ignore[arg-type]


def comes_true(claim: Callable[[], bool], patience_s: float = 30) -> bool:
    deadline = time.monotonic() + patience_s
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.02)
    return claim()


def folder_of(adapter: int | None) -> Path:
    """Where the gateway of an adapter puts its pictures."""
    assert adapter is not None
    folder = Path(psutil.Process(adapter).environ()["PROC_SHM_DIR"])
    assert folder.parent == Path("/dev/shm")
    assert folder.is_dir()
    return folder


def is_gone(process_id: int) -> bool:
    """Whether nothing of this id runs; a zombie is for its parent to collect."""
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- what an adapter does to a call -----------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["no_json", "nan", "pre"])
def test_an_answer_that_can_t_be_read_fails_its_call_at_once(act: str) -> None:
    """And no other: the adapter is not asked anew, and the next call is answered."""
    with runner_of() as runner:
        with pytest.raises(CallFailedError):
            runner.execute(PICTURE, pid="p", user_params={"act": act}, timeout_s=60)
        assert runner.execute(PICTURE, pid="p").verdict == "OK"


@pytest.mark.parametrize("act", ["other_id", "twice"])
def test_an_answer_that_no_call_waits_for_is_nobody_s(act: str) -> None:
    """Dropped, with a word in the log."""
    with runner_of() as runner:
        first = runner.execute(PICTURE, pid="p", user_params={"act": act})
        second = runner.execute(PICTURE, pid="p", step_index=2)
        assert [answer.debug["call"]["step_index"] for answer in (first, second)] == [1, 2]
        # A log line comes by another pipe than the answer.
        end = time.monotonic() + 20
        while not any("no call waits for" in record["message"] for record in runner.logs):
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("act", "status", "text"),
    [
        ("exit", 7, "adapter exited with status 7 while it executed call"),
        ("crash", -signal.SIGSEGV, "adapter was ended by SIGSEGV while it executed call"),
        ("half_a_frame", os.EX_SOFTWARE, "adapter exited with status 0 while it executed call"),
        ("text", os.EX_SOFTWARE, "announces a frame of"),
        ("closed", os.EX_SOFTWARE, "has closed its stdout"),
        ("flood", os.EX_SOFTWARE, "in a row that nobody asked for"),
        ("empty_frames", os.EX_SOFTWARE, "in a row that nobody asked for"),
    ],
)
def test_an_adapter_that_ends_or_can_t_be_followed_ends_its_call_with_the_cause(
    act: str, status: int, text: str
) -> None:
    """By its own exit status or signal where it has one."""
    if act == "empty_frames":  # Each of them is an answer to the running call first.
        error: type[CallError] = CallFailedError
    else:
        error = HostDiedError
    with runner_of() as runner:
        assert runner.process_id is not None
        folder = folder_of(runner.process_id)
        with pytest.raises(error) as raised:
            runner.execute(PICTURE, pid="p", user_params={"act": act})
        assert comes_true(lambda: not runner.alive)
        assert is_gone(runner.process_id)
        said = [record["message"] for record in runner.logs]
    if isinstance(raised.value, HostDiedError):
        assert raised.value.exit_status == status
        assert text in str(raised.value)
    else:
        assert any(text in message for message in said)
    assert not folder.exists()


def test_a_hanging_adapter_answers_no_call_and_the_gateway_every_ping() -> None:
    """The call ends by its time; until the adapter is back no other is begun."""
    heartbeat = HeartbeatPolicy(interval_s=0.1, grace_s=0.4)
    with runner_of(heartbeat=heartbeat) as runner:
        assert runner.execute(PICTURE, pid="p", user_params={"act": "slow"}).verdict == "OK"
        with pytest.raises(CallTimeoutError):
            runner.execute(PICTURE, pid="p", user_params={"act": "slow"}, timeout_s=0.3)
        assert runner.execute(PICTURE, pid="p", step_index=2, timeout_s=60).debug["call"]["step_index"] == 2


def test_a_runner_that_leaves_a_hanging_adapter_leaves_nothing_behind() -> None:
    """The gateway kills what doesn't leave, and removes the pictures."""
    with runner_of() as runner:
        adapter = runner.process_id
        folder = folder_of(adapter)
        with pytest.raises(CallTimeoutError):
            runner.execute(PICTURE, pid="p", user_params={"act": "hang"}, timeout_s=2)
        assert list(folder.iterdir())
    assert adapter is not None
    assert is_gone(adapter)
    assert not folder.exists()


def test_a_flood_on_stderr_delays_nobody_and_is_a_log_of_json() -> None:
    """Lines that are records pass; text is gathered and cut, what is too much is counted."""
    with runner_of(log_records=20_000) as runner:
        assert runner.execute(PICTURE, pid="p", user_params={"act": "stderr"}, timeout_s=60).verdict == "OK"
        assert comes_true(lambda: any("y" * 100 in record["message"] for record in runner.logs))
        told = [record for record in runner.logs if record["message"] == "a record"]
        text = [record for record in runner.logs if record.get("logger") == "stderr"]
    assert told
    assert text
    assert all(len(record["message"]) < 5000 for record in text)


def test_the_runner_s_parameters_step_and_session_reach_the_adapter() -> None:
    """With names of files in place of slots, and under an id of the gateway's own."""
    with runner_of() as runner:
        session = runner.session({"operator": "dev"})
        grey = runner.execute(PICTURE[..., 0].copy(), pid="p7", session=session, step_index=3, camera_id="top")
        call = grey.debug["call"]
    assert (call["pid"], call["step_index"], call["phase"]) == ("p7", 3, "execute")
    assert call["session"] == {"id": session.id, "context": {"operator": "dev"}}
    assert call["shared_mem_id"].startswith("dev-shm:")
    assert {key: call["image_meta"][key] for key in ("width", "height", "color_space", "camera_id")} == {
        "width": 32,
        "height": 24,
        "color_space": "MONO",
        "camera_id": "top",
    }
    assert grey.latency_ms is not None


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Picture.elsewhere("file:/etc/hostname", 32, 24), "bad_image_id"),
        (Picture.elsewhere("shm:procvision-no-such-segment:2", 32, 24), "no_such_image"),
        (Picture.elsewhere("shm:../etc:2", 32, 24), "bad_image_id"),
        (Picture.elsewhere("arena:65536000000000:70000:2", 32, 24), "no_such_image"),
        (Picture.elsewhere("arena:7:70000:2", 32, 24), "no_such_image"),
        (Picture.elsewhere("arena:0:70000:999", 32, 24), "bad_slot"),
        (Picture.elsewhere("arena:0:2", 32, 24), "bad_image_id"),
        (Picture.of(np.full((24, 32), 1024, np.uint16), bits=10), "image_mismatch"),
        (Picture.encoded(b"\xff\xd8 no picture", 32, 24), "image_damaged"),
    ],
)
def test_a_picture_that_can_t_be_read_is_refused(picture: Picture, kind: str) -> None:
    """Before the adapter hears of it, which would inspect a black one."""
    with runner_of() as runner:
        with pytest.raises(CallFailedError) as raised:
            runner.execute(picture, pid="p")
        assert (raised.value.error_code, raised.value.kind) == ("1002", kind)
        assert runner.execute(PICTURE, pid="p").verdict == "OK"


def test_a_folder_without_room_is_an_error(tmp_path: Path) -> None:
    """And none that kills anybody."""
    blocked = tmp_path / "shm"
    environment = {**os.environ, "PROC_SHM_DIR": str(blocked)}
    with runner_of(environment=environment) as runner:
        assert runner.execute(PICTURE, pid="p").verdict == "OK"
        assert comes_true(lambda: not list(blocked.iterdir()))
        blocked.rmdir()
        with pytest.raises(CallFailedError, match="can't be written") as raised:
            runner.execute(PICTURE, pid="p")
        assert (raised.value.kind, raised.value.retryable) == ("no_room", True)
        blocked.mkdir()
        assert runner.execute(PICTURE, pid="p").verdict == "OK"


# --- start and end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--version", "1.0"), "sdk_version '1.0'"),
        (("--version", "0.1.0"), "sdk_version '0.1.0'"),
        (("--version", "unknown"), "sdk_version 'unknown'"),
        (("--first", '{"type": "pong", "request_id": "x"}'), "sends pong before its hello"),
        (("--dies-at-start", "3"), "exited with status 3"),
        (("--dies-at-start", "0"), "exited with status 0"),
    ],
)
def test_an_adapter_that_is_none_fails_the_launch_with_the_reason(arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(LaunchError, match=text) as raised, runner_of(*arguments):
        pass
    if "--dies-at-start" in arguments:
        assert any("no licence" in record["message"] for record in raised.value.logs)


def test_a_command_that_is_none_fails_the_launch_with_the_reason() -> None:
    command = [*GATEWAY, "/no/such/python"]
    with pytest.raises(LaunchError, match="can't be started: No such file"), Runner(command=command):
        pass


def test_an_adapter_that_says_nothing_is_waited_for_and_then_ended() -> None:
    """For as long as the runner waits for `setup()`."""
    with pytest.raises(LaunchError) as raised, runner_of("--mute", ready_timeout_s=1.0):
        pass
    (said,) = [record["message"] for record in raised.value.logs if "hello is awaited" in record["message"]]
    assert is_gone(int(said.split()[5].rstrip(",")))


def test_it_leaves_with_0_and_after_an_adapter_that_stays_with_70() -> None:
    runner = runner_of().start()
    assert runner.stop() == 0
    runner = runner_of("--stays").start()
    adapter = runner.process_id
    assert adapter is not None
    assert runner.stop() == os.EX_SOFTWARE
    assert is_gone(adapter)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_gateway(number: signal.Signals) -> None:
    """However it is ended, with an adapter that hangs."""
    with runner_of() as runner:
        adapter = runner.process_id
        assert adapter is not None
        waiting = runner.submit("execute", PICTURE, pid="p", user_params={"act": "hang"})
        gateway = psutil.Process(adapter).parent()
        assert gateway is not None
        gateway.send_signal(number)
        with pytest.raises(CallError):
            waiting.result(30)
        assert comes_true(lambda: is_gone(adapter))


def test_nothing_outlives_a_killed_runner(tmp_path: Path) -> None:
    """Neither gateway nor adapter, nor what that has started in a session of its own, nor a picture."""
    program = tmp_path / "runner.py"
    program.write_text(
        "import sys, time\n"
        "import numpy as np\n"
        "from procvision_runner import Runner\n"
        "picture = np.zeros((4, 4, 3), np.uint8)\n"
        "with Runner(command=sys.argv[1:]) as runner:\n"
        "    debug = runner.execute(picture, pid='p', user_params={'act': 'offspring'}).debug\n"
        "    runner.submit('execute', picture, pid='p', user_params={'act': 'hang'})\n"
        "    print(debug['process'], debug['offspring'], flush=True)\n"
        "    time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, str(program), *odd()], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        adapter, offspring = map(int, process.stdout.readline().split())
        gateway = psutil.Process(adapter).ppid()
        folder = folder_of(adapter)
        process.kill()
    for process_id in (adapter, offspring, gateway):
        assert comes_true(lambda process_id=process_id: is_gone(process_id))  # type: ignore[misc]
    assert comes_true(lambda: not folder.exists())


# --- the protocol -----------------------------------------------------------------------------------------------

GATEWAYS_ROWS = [
    *("hello-first", "ping-before-hello", "end-before-hello", "shutdown-before-hello", "major-version"),
    *("ping-tells-ready", "ping-tells-starting", "ping-tells-draining", "versions-with-the-first-pong"),
    *("info", "info-data", "unknown-phase", "fields-inside-data", "ids-to-the-letter", "call-without-id"),
    *("four-calls-in-one-write", "every-call-one-answer", "cancel-unknown", "cancel-one-answer"),
    *("step-index-0", "no-session", "no-pid", "zero-timeout", "endless-timeout", "long-session-id"),
    *("picture-unknown-backend", "picture-empty-id", "meta-without-picture", "picture-without-meta", "slot-stale"),
    *("reset", "reset-without-session", "shutdown", "shutdown-twice", "end-right-after-call", "text-instead-of-frames"),
    *("call-after-shutdown", "sigterm", "sigint", "sigterm-before-hello"),
]
BROKEN_ROWS = ["unknown-pid", "unknown-parameter", "step-index-too-high"]
"""An adapter takes any: what there is to know of products and steps the algorithm knows alone."""


def test_it_is_a_host_by_the_protocol_but_for_what_an_adapter_doesn_t_tell(stepwise_package: Path) -> None:
    """The paragraphs that are the gateway's own doing; the rest is the wire's, which has its own tests."""
    rows = GATEWAYS_ROWS + BROKEN_ROWS
    chosen = [word for row in rows for word in ("--row", row)]
    command = [str(Path(sys.executable).with_name("procvision")), "conformance", "--jobs", "4", "--json", *chosen]
    done = subprocess.run(
        [*command, "--", *odd()],
        cwd=stepwise_package,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    broken = {row["id"] for row in json.loads(done.stdout)["rows"] if row["level"] != "ok"}
    assert broken == set(BROKEN_ROWS)


# --- what keeps them alive --------------------------------------------------------------------------------------


def test_a_supervisor_restarts_a_killed_adapter() -> None:
    """The call that it had is made again."""
    with Supervisor(command=odd()) as supervisor:
        first = supervisor.execute(PICTURE, pid="p").debug["process"]
        os.kill(first, signal.SIGKILL)
        second = supervisor.execute(PICTURE, pid="p").debug["process"]
        assert second != first
        assert supervisor.info()["info"] == {"name": "odd"}


def test_a_supervisor_replaces_an_adapter_that_hangs() -> None:
    """By the call's time alone: the gateway goes on answering pings."""
    options = SupervisorOptions(cancel_grace_s=0.5)
    with Supervisor(command=odd(), options=options) as supervisor:
        first = supervisor.execute(PICTURE, pid="p").debug["process"]
        with pytest.raises(CallError):
            supervisor.execute(PICTURE, pid="p", user_params={"act": "hang"}, timeout_s=0.5)
        assert supervisor.execute(PICTURE, pid="p", timeout_s=60).debug["process"] != first
        assert comes_true(lambda: is_gone(first))


def test_a_pool_runs_two_adapters() -> None:
    """At once, and one's death is none of the other's."""
    with Pool(command=odd(), hosts=2) as pool:
        slow = [pool.submit("execute", PICTURE, pid="p", user_params={"act": "slow"}) for _ in range(2)]
        processes = {future.result(60).debug["process"] for future in slow}
        assert len(processes) == 2
        os.kill(processes.pop(), signal.SIGKILL)
        answers = [pool.execute(PICTURE, pid="p") for _ in range(6)]
        assert {answer.verdict for answer in answers} == {"OK"}


def test_a_pool_sends_a_session_to_the_adapter_that_has_its_guide() -> None:
    """0.3.x: the picture of `pre` lies with one gateway."""
    with Pool(command=odd("--version", "0.3.2"), hosts=2) as pool:
        sessions = [pool.session() for _ in range(6)]
        for session in sessions:
            assert pool.pre_execute(PICTURE, pid="p", session=session).message == "guide picture kept"
        for session in sessions:
            call = pool.execute(PICTURE, pid="p", session=session).debug["call"]
            assert call["guide_image_meta"]["width"] == 32
