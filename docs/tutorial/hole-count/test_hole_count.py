"""The algorithm as a line uses it: installed, in a host of its own, pictures through shared memory."""

import numpy as np
import pytest
from plates import plate
from procvision_runner import CallFailedError, Runner


@pytest.fixture(scope="module")
def runner():
    with Runner("hole-count") as running:
        yield running


def test_good_plate_is_ok(runner):
    assert runner.execute(plate(), pid="plate-6").verdict == "OK"


def test_small_hole_is_ng_and_has_a_box(runner):
    result = runner.execute(plate((40, 40, 12, 40, 40, 40)), pid="plate-6")
    assert result.verdict == "NG"
    [defect] = result.defects
    assert defect.label == "small-hole"
    assert abs(defect.x + defect.width / 2 - 520) < 3


def test_missing_hole_is_ng(runner):
    assert runner.execute(plate((40, 40, 40, 40, 40, 0)), pid="plate-6").verdict == "NG"


def test_dark_picture_is_an_error_and_never_ok(runner):
    result = runner.execute(np.full((480, 640, 3), 3, np.uint8), pid="plate-6")
    assert (result.status, result.verdict) == ("ERROR", None)


def test_parameter_out_of_bounds_never_reaches_the_algorithm(runner):
    with pytest.raises(CallFailedError, match="holes"):
        runner.execute(plate(), pid="plate-6", user_params={"holes": 0})
