"""An algorithm of SDK 0.3.x in a real host, unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_compat.guides import Guides
from procvision_runner import CallFailedError, Runner, RunnerOptions

LIKE = np.full((24, 32, 3), 100, np.uint8)
UNLIKE = np.full((24, 32, 3), 200, np.uint8)
GUIDE_INFO = [{"label": "screw", "posList": [{"x": 1, "y": 2, "width": 3, "height": 4}]}]


@pytest.fixture(scope="module")
def runner(guided_package: Path) -> Iterator[Runner]:
    """A host with the package, shut in."""
    with Runner(f"legacy:{guided_package}", options=RunnerOptions(isolation="strict")) as running:
        yield running


def test_pre_brings_the_guide_and_execute_the_current_picture(runner: Runner) -> None:
    """OK where they are alike, NG where not; guide_info travels as JSON text."""
    session = runner.session()
    assert runner.pre_execute(LIKE[:12], pid="any", session=session).status == "OK"
    good = runner.execute(LIKE, pid="any", session=session, user_params={"guide_info": json.dumps(GUIDE_INFO)})
    assert good.verdict == "OK"
    assert good.debug["guide"] == [[12, 32, 3], 100.0]
    assert good.debug["labels"] == ["screw"]
    bad = runner.execute(UNLIKE, pid="any", session=session, user_params={"step_desc": "tighten"})
    assert (bad.verdict, bad.debug["desc"], bad.debug["current"]) == ("NG", "tighten", [[24, 32, 3], 200.0])
    assert [(d.label, d.score) for d in bad.defects] == [("unlike", 1.0)]


def test_each_step_has_its_guide_and_one_without_uses_the_last(runner: Runner) -> None:
    """Within one session."""
    session = runner.session()
    for step, picture in ((1, LIKE), (2, UNLIKE)):
        runner.pre_execute(picture, pid="any", session=session, step_index=step)
    means = [runner.execute(LIKE, pid="any", session=session, step_index=s).debug["guide"][1] for s in (1, 2, 3)]
    assert means == [100.0, 200.0, 200.0]


def test_without_a_guide_there_is_no_verdict(runner: Runner) -> None:
    """Neither in a session that never had one, nor under the id of one that has ended."""
    assert runner.execute(LIKE, pid="any").error_code == "1003"
    session = runner.session()
    runner.pre_execute(LIKE, pid="any", session=session)
    assert runner.execute(LIKE, pid="any", session=session, final=True).verdict == "OK"
    again = runner.execute(LIKE, pid="any", session=session)
    assert (again.status, again.error_code) == ("ERROR", "1003")
    other = runner.session()
    runner.pre_execute(LIKE, pid="any", session=other)
    runner.reset(other)
    assert runner.execute(LIKE, pid="any", session=other).error_code == "1003"


def test_a_missing_picture_or_verdict_is_an_error(runner: Runner) -> None:
    """Whichever of the two pictures it is."""
    session = runner.session()
    with pytest.raises(CallFailedError) as raised:
        runner.pre_execute(None, pid="any", session=session)
    assert raised.value.error_code == "1002"
    runner.pre_execute(LIKE, pid="any", session=session)
    with pytest.raises(CallFailedError) as raised:
        runner.execute(None, pid="any", session=session)
    assert raised.value.error_code == "1002"
    for description in ("no status", "no verdict"):
        with pytest.raises(CallFailedError, match="is missing or None"):
            runner.execute(LIKE, pid="any", session=session, user_params={"step_desc": description})


def test_guide_info_that_is_no_list_is_an_error(runner: Runner) -> None:
    """1006, with what it is."""
    session = runner.session()
    runner.pre_execute(LIKE, pid="any", session=session)
    for text, told in (("{}", "holds dict"), ("[", "not JSON")):
        answer = runner.execute(LIKE, pid="any", session=session, user_params={"guide_info": text})
        assert (answer.error_code, told in answer.message) == ("1006", True)


def test_guides_are_bounded() -> None:
    """The one used longest ago goes first; a kept one is a copy that nobody can change."""
    guides = Guides(max_kept_bytes=2 * LIKE.nbytes)
    picture = LIKE.copy()
    first, second = guides.keep(picture), guides.keep(UNLIKE)
    picture[...] = 0
    kept = guides.get(first)
    assert kept is not None
    assert int(kept[0, 0, 0]) == 100
    assert not kept.flags.writeable
    third = guides.keep(LIKE)
    assert [guides.get(token) is not None for token in (first, second, third)] == [True, False, True]
