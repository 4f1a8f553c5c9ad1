"""Through a real host and the platform's runner."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import pytest
from code_pictures import MANIFEST, code, placed

from procvision_runner import CallFailedError, Runner, RunnerOptions

GS1_TEXT = "(01)09501101020917(17)271231(21)SN42"
PARAMS = {"syntax": "GS1", "match": "exact", "field": "21", "expected_from": "serial", "duplicates_are_ng": True}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """A host with `code-reader`, as it is installed, shut in."""
    assert version("procvision-codes") == MANIFEST["version"]
    with Runner("code-reader", options=RunnerOptions(isolation="strict")) as running:
        yield running


def test_an_inspection_of_two_steps(runner: Runner) -> None:
    """pre, OK, and a duplicate in the second step, by the state that the host keeps."""
    picture = placed(code("DataMatrix", GS1_TEXT, gs1=True))
    session = runner.session({"serial": "SN42"})
    assert runner.pre_execute(picture, pid="A", session=session, user_params=PARAMS).status == "OK"
    first = runner.execute(picture, pid="A", session=session, user_params=PARAMS)
    assert first.verdict == "OK"
    assert first.data["position_rects"][0]["label"] == "DataMatrix"
    assert first.debug["codes"][0]["elements"][2] == {"identifier": "21", "value": "SN42", "title": "SERIAL"}
    again = runner.execute(picture, pid="A", session=session, user_params=PARAMS, step_index=2, final=True)
    assert again.verdict == "NG"
    assert again.ng_reason is not None and "was read in step 1 already" in again.ng_reason
    assert [defect.label for defect in again.defects] == ["duplicate"]


def test_a_missing_picture_is_never_ok(runner: Runner) -> None:
    """No picture is an error, a blank one NG."""
    with pytest.raises(CallFailedError) as raised:
        runner.execute(None, pid="A")
    assert raised.value.error_code == "1002"
    for blank in (np.zeros((480, 640), np.uint8), np.full((480, 640, 3), 255, np.uint8), np.zeros((1, 1), np.uint8)):
        result = runner.execute(blank, pid="A")
        assert result.verdict == "NG"
        assert [defect.label for defect in result.defects] == ["missing"]


def test_a_context_without_the_key_is_an_error(runner: Runner) -> None:
    """1006 from the algorithm; an unknown parameter and a region outside are refused by the host."""
    picture = placed(code("DataMatrix", GS1_TEXT, gs1=True))
    result = runner.execute(picture, pid="A", user_params=PARAMS)
    assert (result.status, result.error_code, result.verdict) == ("ERROR", "1006", None)
    assert "context doesn't have" in result.message
    for params in ({"symbology": "QR"}, {"region": {"x": 600, "y": 0, "width": 100, "height": 10}}):
        with pytest.raises(CallFailedError) as raised:
            runner.execute(picture, pid="A", user_params=params)
        assert raised.value.error_code == "1006"
