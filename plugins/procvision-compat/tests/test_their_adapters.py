"""The field's adapters, from the package index and as they are, driven by our runners through the gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from procvision_runner import (
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

ADAPTER = "procvision_algorithm_sdk.adapter"
BRIGHT = np.full((24, 32, 3), 200, np.uint8)
DARK = np.full((24, 32, 3), (10, 20, 30), np.uint8)


def command(python: Path) -> list[str]:
    """The gateway's command line, with `python -m procvision_algorithm_sdk.adapter` behind it."""
    return [sys.executable, "-m", "procvision_compat.gateway", "--", str(python), "-m", ADAPTER]


def options(package: Path, heartbeat: HeartbeatPolicy | None = None, **environment: str) -> RunnerOptions:
    """Tells an adapter its package as the field's runners do."""
    told = {**os.environ, "PROC_ALGO_ROOT": str(package), "PYTHONPATH": str(package), **environment}
    return RunnerOptions(environment=told, execute_timeout_s=20, heartbeat=heartbeat or HeartbeatPolicy())


def adapter(python: Path, package: Path, **environment: str) -> Runner:
    """A runner of an adapter."""
    return Runner(command=command(python), options=options(package, **environment))


@pytest.fixture(scope="module")
def stepwise(stepwise_python: Path, stepwise_package: Path) -> Iterator[Runner]:
    """The adapter of SDK 0.0.7."""
    with adapter(stepwise_python, stepwise_package) as running:
        yield running


@pytest.fixture(scope="module")
def guided(guided_python: Path, guided_package: Path) -> Iterator[Runner]:
    """The adapter of SDK 0.3.2."""
    with adapter(guided_python, guided_package) as running:
        yield running


def test_0_0_x_inspects_the_picture_that_it_was_given(stepwise: Runner) -> None:
    """RGB, BGR, grey, a lent slot, an encoded one: each arrives as it would in our host."""
    assert stepwise.info()["info"]["name"] == "Field Stepwise"
    for image in (DARK, Picture.of(DARK[..., ::-1].copy(), "BGR")):
        answer = stepwise.execute(image, pid="p001", user_params={"threshold": 0.9})
        assert (answer.verdict, answer.debug["first"]) == ("NG", [10, 20, 30])
    grey = stepwise.execute(BRIGHT[..., 0].copy(), pid="p001")
    assert (grey.verdict, grey.debug["first"], grey.step_index) == ("OK", [200] * 3, 1)
    lease = stepwise.lend(8, 6)
    lease.array[...] = 250
    assert stepwise.execute(lease, pid="p001").debug["shape"] == [6, 8, 3]
    import simplejpeg

    jpeg = Picture.encoded(simplejpeg.encode_jpeg(BRIGHT), 32, 24)
    assert stepwise.execute(jpeg, pid="p001").debug["first"] == [200] * 3


def test_0_0_x_gets_what_else_a_call_has(stepwise: Runner) -> None:
    """Phase, product, step, session and parameters stand where it looks for them."""
    session = stepwise.session({"operator": "dev"})
    prepared = stepwise.pre_execute(BRIGHT, pid="p002", session=session)
    assert (prepared.status, prepared.message) == ("OK", "ready")
    refused = stepwise.pre_execute(BRIGHT, pid="p009", session=session)
    assert (refused.status, refused.message) == ("ERROR", "unknown product p009")
    done = stepwise.submit("execute", BRIGHT, pid="p002", session=session, step_index=3).result()
    assert (done.verdict, done.debug["step"], done.debug["context"]) == ("OK", 3, {"operator": "dev"})
    stepwise.reset(session)


def test_0_3_x_gets_both_pictures(guided: Runner) -> None:
    """The guide by `pre`, as in our host."""
    session = guided.session()
    assert guided.pre_execute(DARK, pid="any", session=session).status == "OK"
    bad = guided.execute(
        BRIGHT,
        pid="any",
        session=session,
        step_index=2,
        user_params={"step_desc": "tighten", "guide_info": '[{"label": "screw"}]'},
    )
    assert (bad.verdict, bad.ng_reason) == ("NG", "unlike the guide")
    debug = bad.debug
    assert (debug["step"], debug["desc"], debug["labels"]) == (2, "tighten", ["screw"])
    assert (debug["current"], debug["guide"]) == ([[24, 32, 3], 200.0], [[24, 32, 3], 20.0])
    assert guided.execute(DARK, pid="any", session=session, final=True).verdict == "OK"
    with pytest.raises(CallFailedError, match="no guide picture"):
        guided.execute(DARK, pid="any", session=session)


@pytest.mark.parametrize("which", ["stepwise", "guided"])
def test_a_call_without_a_picture_is_not_sent(which: str, request: pytest.FixtureRequest) -> None:
    """The adapter would make a black one of it, and an OK of that."""
    runner: Runner = request.getfixturevalue(which)
    session = runner.session()
    runner.pre_execute(DARK, pid="p001", session=session)
    for call in (runner.execute, runner.pre_execute):
        with pytest.raises(CallFailedError) as raised:
            call(None, pid="p001", session=session)
        assert (raised.value.error_code, raised.value.kind) == ("1002", "no_picture")


def test_a_damaged_or_16_bit_picture_is_not_sent(stepwise: Runner) -> None:
    """The adapter would make a black one of the first and wrap the second."""
    import simplejpeg

    damaged = Picture.encoded(simplejpeg.encode_jpeg(BRIGHT)[:-40], 32, 24)
    with pytest.raises(CallFailedError) as raised:
        stepwise.execute(damaged, pid="p001")
    assert (raised.value.error_code, raised.value.kind) == ("1002", "image_damaged")
    with pytest.raises(TypeError, match="uint16"):
        stepwise.execute(BRIGHT.astype(np.uint16), pid="p001")


def test_an_ok_of_a_picture_that_got_lost_is_an_error(stepwise: Runner) -> None:
    """No matter who cleans the folder up: here the algorithm itself."""
    with pytest.raises(CallFailedError, match="black picture") as raised:
        stepwise.execute(BRIGHT, pid="p001", user_params={"act": "lose_pictures"})
    assert raised.value.kind == "picture_lost"
    assert stepwise.execute(BRIGHT, pid="p001").verdict == "OK"


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        ("no_verdict", "bad_result"),
        ("ok_with_defects", "bad_result"),
        ("ng_without_reason", "bad_result"),
        ("outside", "rect_outside"),
        ("not_a_dict", "program"),
        ("raise", "program"),
    ],
)
def test_what_their_adapter_lets_through_is_an_error_here(stepwise: Runner, act: str, kind: str) -> None:
    """Of the kind that it would have in our host; nothing malformed is read as a verdict, the next call is answered."""
    with pytest.raises(CallFailedError) as raised:
        stepwise.execute(BRIGHT, pid="p001", user_params={"act": act})
    assert raised.value.kind == kind
    assert raised.value.error_code not in ("1009", "1010")  # What the adapter says and what we mean by it differ.
    assert stepwise.execute(BRIGHT, pid="p001").verdict == "OK"


def test_a_verdict_missing_from_0_3_x_is_an_error(guided: Runner) -> None:
    """Its adapter makes the missing status an OK; the verdict is looked for."""
    session = guided.session()
    guided.pre_execute(DARK, pid="any", session=session)
    with pytest.raises(CallFailedError, match="result_status"):
        guided.execute(DARK, pid="any", session=session, user_params={"step_desc": "no verdict"})


def test_its_prints_are_never_read_as_an_answer(stepwise_python: Path, stepwise_package: Path) -> None:
    """The adapter of 0.0.7 lets them into its frames: the call fails, the host is of no use any more."""
    with adapter(stepwise_python, stepwise_package) as runner:
        with pytest.raises(HostDiedError, match="an algorithm that prints"):
            runner.execute(BRIGHT, pid="p001", user_params={"act": "print"})
        assert not runner.alive


def test_its_end_is_a_call_that_failed(stepwise_python: Path, stepwise_package: Path) -> None:
    """SystemExit takes the adapter away, with exit status 3."""
    with adapter(stepwise_python, stepwise_package) as runner, pytest.raises(HostDiedError) as raised:
        runner.execute(BRIGHT, pid="p001", user_params={"act": "exit"})
    assert raised.value.exit_status == 3


def test_a_long_call_is_not_taken_for_a_hang(stepwise_python: Path, tmp_path: Path) -> None:
    """The gateway gives the pongs, its own would wait. A time-out ends a call, and its late answer harms no other."""
    package = tmp_path / "slow"
    (package / "slow").mkdir(parents=True)
    (package / "manifest.json").write_text('{"name": "slow", "version": "1", "entry_point": "slow.main:Slow"}')
    (package / "slow" / "main.py").write_text(
        "import time\n"
        "class Slow:\n"
        "    def setup(self): pass\n"
        "    def teardown(self): pass\n"
        "    def get_info(self): return {}\n"
        "    def on_step_start(self, *told): pass\n"
        "    on_step_finish = on_step_start\n"
        "    def execute(self, step, pid, session, params, id, meta):\n"
        "        time.sleep(params.get('s', 0))\n"
        "        return {'status': 'OK', 'data': {'result_status': 'OK'}}\n"
    )
    heartbeat = HeartbeatPolicy(interval_s=0.1, grace_s=0.3)
    with Runner(command=command(stepwise_python), options=options(package, heartbeat)) as runner:
        assert runner.execute(BRIGHT, pid="p", user_params={"s": 1.0}).verdict == "OK"
        with pytest.raises(CallTimeoutError):
            runner.execute(BRIGHT, pid="p", user_params={"s": 1.0}, timeout_s=0.2)
        assert runner.execute(BRIGHT, pid="p", timeout_s=20).verdict == "OK"


@pytest.mark.parametrize("which", ["stepwise", "guided"])
def test_an_entry_point_that_is_not_there_fails_the_launch(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With what the adapter says: it says hello first, and a ping shows whether it is ready."""
    python: Path = request.getfixturevalue(f"{which}_python")
    with pytest.raises(LaunchError, match="entry_point not found"), adapter(python, tmp_path):
        pass


@pytest.mark.parametrize(
    ("which", "sdk", "version", "name"),
    [("stepwise", "0.0.7", "1.2.0", "Field Stepwise"), ("guided", "0.3.2", "2.0.0", None)],
)
def test_its_package_is_told(
    which: str, sdk: str, version: str, name: str | None, request: pytest.FixtureRequest
) -> None:
    """As a host of ours tells it: manifest, versions, and what the algorithm tells of itself."""
    runner: Runner = request.getfixturevalue(which)
    told = runner.info()
    assert told["manifest"]["entry_point"].startswith(f"field_{which}.")
    assert told["versions"]["procvision_algorithm_sdk"] == sdk
    assert told["versions"]["algorithm"] == told["manifest"]["version"] == version
    assert told["info"].get("name") == name


def test_nothing_is_left_in_shared_memory(stepwise_python: Path, stepwise_package: Path) -> None:
    """Each picture goes with its answer, the folder with the runner."""
    with adapter(stepwise_python, stepwise_package) as runner:
        runner.execute(BRIGHT, pid="p001")
        answer = runner.execute(BRIGHT, pid="p001")
        assert len(answer.debug["files"]) == 1
        assert runner.process_id is not None
        folder = Path(psutil.Process(runner.process_id).environ()["PROC_SHM_DIR"])
        deadline = time.monotonic() + 10
        while list(folder.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(folder.iterdir()) == []
    assert not folder.exists()


def test_a_folder_that_the_environment_names_is_used_and_kept(
    stepwise_python: Path, stepwise_package: Path, tmp_path: Path
) -> None:
    """It may be shared with others."""
    folder = tmp_path / "shm"
    with adapter(stepwise_python, stepwise_package, PROC_SHM_DIR=str(folder)) as runner:
        assert runner.execute(BRIGHT, pid="p001").verdict == "OK"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", [Runner, Supervisor])
def test_no_runner_of_ours_takes_them_without_the_gateway(
    kind: type[Runner] | type[Supervisor], stepwise_python: Path
) -> None:
    """It would send slots, of which the adapter makes black pictures."""
    alone = [str(stepwise_python), "-m", ADAPTER]
    with pytest.raises(LaunchError, match=r"speaks protocol '0\.0\.7'"), kind(command=alone):
        pass


def test_a_supervisor_keeps_one_alive_and_a_pool_two(
    stepwise_python: Path, stepwise_package: Path, guided_python: Path, guided_package: Path
) -> None:
    """One that was killed is replaced; each session of 0.3.x goes to the adapter that has its guide."""
    supervised = SupervisorOptions(runner=options(stepwise_package))
    with Supervisor(command=command(stepwise_python), options=supervised) as supervisor:
        assert supervisor.execute(BRIGHT, pid="p001").verdict == "OK"
        killed = supervisor.process_id
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert supervisor.execute(DARK, pid="p001").verdict == "NG"
        assert supervisor.process_id != killed
    pooled = SupervisorOptions(runner=options(guided_package))
    with Pool(command=command(guided_python), hosts=2, options=pooled) as pool:
        sessions = [pool.session() for _ in range(4)]
        for session in sessions:
            assert pool.pre_execute(DARK, pid="any", session=session).status == "OK"
        for session in sessions:
            assert pool.execute(BRIGHT, pid="any", session=session).verdict == "NG"
            assert pool.execute(DARK, pid="any", session=session, final=True).verdict == "OK"


@pytest.mark.parametrize("which", ["stepwise", "guided"])
def test_an_adapter_and_our_host_say_the_same(which: str, request: pytest.FixtureRequest) -> None:
    """The same package, the same pictures, the same verdicts and places."""
    theirs: Runner = request.getfixturevalue(which)
    package: Path = request.getfixturevalue(f"{which}_package")
    with Runner(f"legacy:{package}") as ours:
        for picture in (DARK, BRIGHT, np.zeros((5, 7, 3), np.uint8)):
            answers = []
            for runner in (theirs, ours):
                session = runner.session()
                runner.pre_execute(DARK, pid="p001", session=session)
                answers.append(runner.execute(picture, pid="p001", session=session))
            first, second = answers
            assert first.verdict == second.verdict
            assert first.ng_reason == second.ng_reason
            assert [defect.x for defect in first.defects] == [defect.x for defect in second.defects]


@pytest.mark.parametrize("which", ["stepwise", "guided"])
def test_what_their_own_tool_writes_runs_in_our_host(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`procvision-cli init`, nothing changed: pre and execute, by step and by parameters where it has some."""
    python: Path = request.getfixturevalue(f"{which}_python")
    project = tmp_path / "weld"
    more = ["--pids", "p001,p002"] if which == "stepwise" else []
    subprocess.run(
        [
            str(python),
            "-c",
            "from procvision_algorithm_sdk.cli import main; main()",
            "init",
            "weld",
            "-d",
            str(project),
            *more,
        ],
        check=True,
        capture_output=True,
    )
    with Runner(f"legacy:{project}") as runner:
        session = runner.session()
        assert runner.pre_execute(BRIGHT, pid="p001", session=session).status == "OK"
        assert runner.execute(BRIGHT, pid="p001", session=session).verdict == "OK"
        if which == "stepwise":
            bad = runner.execute(BRIGHT, pid="p001", session=session, user_params={"threshold": 0.1})
            assert (bad.verdict, bad.ng_reason) == ("NG", "threshold too low")
        else:
            described = runner.execute(
                BRIGHT, pid="p001", session=session, step_index=7, user_params={"step_desc": "tighten"}
            )
            assert (described.debug["step_index"], described.debug["step_desc"]) == (7, "tighten")
