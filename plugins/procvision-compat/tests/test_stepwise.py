"""An algorithm of SDK 0.0.x in a real host, unchanged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_runner import CallFailedError, LaunchError, Picture, Runner, RunnerOptions
from procvision_sdk.wire.messages import Call

BRIGHT = np.full((24, 32, 3), 200, np.uint8)
DARK = np.full((24, 32, 3), (10, 20, 30), np.uint8)


@pytest.fixture(scope="module")
def runner(stepwise_package: Path) -> Iterator[Runner]:
    """A host with the package, shut in."""
    with Runner(f"legacy:{stepwise_package}", options=RunnerOptions(isolation="strict")) as running:
        yield running


def test_it_inspects_what_lies_in_shared_memory(runner: Runner) -> None:
    """OK and NG with its reason; the rect without label and score, which the field allows, gets both."""
    good = runner.execute(BRIGHT, pid="p001")
    assert good.verdict == "OK"
    assert good.debug["shape"] == [24, 32, 3]
    bad = runner.execute(DARK, pid="p001", user_params={"threshold": 0.9})
    assert (bad.verdict, bad.ng_reason) == ("NG", "too dark")
    assert [(d.label, d.score, d.width) for d in bad.defects] == [("", 1.0, 1)]
    assert bad.debug["first"] == [10, 20, 30]


def test_a_picture_reaches_it_without_a_copy(runner: Runner) -> None:
    """Two pictures in one slot lie at one address of its memory, which it can't write to."""
    seen = []
    for value in (1, 2):
        lease = runner.lend(64, 48)
        lease.array[...] = value
        answer = runner.execute(lease, pid="p001")
        assert answer.debug["first"] == [value] * 3
        seen.append(answer.debug["address"])
        assert answer.debug["writable"] is False
    assert seen[0] == seen[1]
    with pytest.raises(CallFailedError, match="read-only"):
        runner.execute(BRIGHT, pid="p001", user_params={"act": "draw"})


def test_one_that_draws_into_its_picture_may_be_given_a_copy(stepwise_package: Path) -> None:
    """By the environment; the slot itself stays as it was."""
    options = RunnerOptions(environment={**os.environ, "PROCVISION_COMPAT_COPY_PICTURES": "1"})
    with Runner(f"legacy:{stepwise_package}", options=options) as runner:
        assert runner.execute(BRIGHT, pid="p001", user_params={"act": "draw"}).verdict == "OK"


def test_bgr_and_grey_arrive_as_rgb(runner: Runner) -> None:
    """As the field's SDK gives them."""
    flipped = runner.execute(Picture.of(DARK[..., ::-1].copy(), "BGR"), pid="p001")
    assert flipped.debug["first"] == [10, 20, 30]
    grey = runner.execute(DARK[..., 0].copy(), pid="p001")
    assert (grey.debug["first"], grey.debug["shape"]) == ([10, 10, 10], [24, 32, 3])


def test_the_session_lives_from_pre_to_execute(runner: Runner) -> None:
    """What the field's adapter loses; and it ends with the session."""
    session = runner.session({"trace_id": "t-1", "operator": "dev"})
    prepared = runner.pre_execute(BRIGHT, pid="p002", session=session)
    assert (prepared.status, prepared.message, prepared.debug["mean"]) == ("OK", "ready", 200.0)
    done = runner.execute(DARK, pid="p002", session=session, final=True)
    assert done.debug["of_pre"] == 200.0
    assert done.debug["context"] == {"trace_id": "t-1", "operator": "dev"}
    assert runner.execute(DARK, pid="p002", session=session, final=True).debug["of_pre"] is None


def test_its_life_cycle_is_kept(stepwise_package: Path) -> None:
    """setup once, the step hooks around each phase with the product and the trace, reset; teardown once."""
    with Runner(f"legacy:{stepwise_package}") as runner:
        session = runner.session({"trace_id": "t-2"})
        runner.pre_execute(BRIGHT, pid="p001", session=session)
        runner.execute(BRIGHT, pid="p001", session=session)
        runner.reset(session)
        # runner.info() is what the host told at its start.
        told, _ = runner._running().call(Call(phase="info"), 10)
        events = told.data["info"]["events"]
    assert events == ["setup", *["start p001 t-2", "finish OK"] * 2, f"reset {session.id}"]
    assert sum("teardown was called" in str(record.get("message")) for record in runner.logs) == 1


def test_published_values_go_out_and_what_json_can_t_carry_is_left_out(runner: Runner) -> None:
    """The field's SDK takes any value, and never tells it."""
    answer = runner.execute(BRIGHT, pid="p001")
    assert answer.debug["mean"] == 200.0
    assert "array" not in answer.debug


@pytest.mark.parametrize(
    ("act", "text"),
    [
        ("no_status", "status is missing"),
        ("no_verdict", "result_status is missing"),
        ("ok_with_defects", "which is it"),
        ("ng_without_reason", "ng_reason"),
        ("outside", "outside the picture"),
        ("not_a_dict", "it returned str"),
        ("other", "can't read 'dev-shm:other'"),
        ("raise", "the lamp flickered, 3"),
        ("exit", "SystemExit"),
    ],
)
def test_what_is_missing_or_malformed_is_an_error(runner: Runner, act: str, text: str) -> None:
    """None of these is an OK, and the next call is answered."""
    with pytest.raises(CallFailedError, match=text) as raised:
        runner.execute(BRIGHT, pid="p001", user_params={"act": act})
    assert raised.value.retryable == (act == "raise")
    assert runner.execute(BRIGHT, pid="p001", user_params={"act": "print"}).verdict == "OK"


def test_its_own_error_keeps_its_code(runner: Runner) -> None:
    """The field's adapter drops it."""
    answer = runner.execute(BRIGHT, pid="p001", user_params={"act": "error"})
    assert (answer.status, answer.error_code, answer.verdict) == ("ERROR", "1003", None)


def test_no_picture_an_unknown_product_and_wrong_parameters_are_errors(runner: Runner) -> None:
    """The first is what the field's SDK makes a black picture of."""
    for code, call in {
        "1002": {"image": None, "pid": "p001"},
        "1001": {"image": BRIGHT, "pid": "p009"},
        "1006": {"image": BRIGHT, "pid": "p001", "user_params": {"threshold": 1.5}},
    }.items():
        with pytest.raises(CallFailedError) as raised:
            runner.execute(**call)
        assert raised.value.error_code == code


def test_it_finds_its_files_where_the_field_s_runners_start_it(stepwise_package: Path, tmp_path: Path) -> None:
    """Its folder is the working directory."""
    package = tmp_path / "moved"
    shutil.copytree(stepwise_package, package)
    (package / "table.txt").write_text("42")
    with Runner(f"legacy:{package}") as runner:
        assert runner.execute(BRIGHT, pid="p001").debug["table"] == "42"


def test_a_failed_setup_is_a_failed_start(stepwise_package: Path) -> None:
    """The field's adapter goes on without it."""
    options = RunnerOptions(environment={**os.environ, "FIELD_SETUP_FAILS": "1"})
    with (
        pytest.raises(LaunchError, match="no licence") as raised,
        Runner(f"legacy:{stepwise_package}", options=options),
    ):
        pass
    assert raised.value.exit_status == 70
