"""Sample pictures are what they say, and results can be kept and compared."""

from __future__ import annotations

import numpy as np
import pytest

from procvision_sdk.call_result import CallResult
from procvision_testing import SamplePictures, make_plate, snapshot, with_marks


def test_marks_are_dark_and_lie_exactly_in_their_boxes():
    plate = make_plate(seed=3)
    picture, marks = with_marks(plate, ["spot", "scratch", "spot", "scratch"], seed=5)
    changed = (picture != plate).any(axis=2)
    for mark in marks:
        inside = changed[mark.y : mark.y + mark.height, mark.x : mark.x + mark.width]
        assert inside.any(axis=0)[[0, -1]].all()
        assert inside.any(axis=1)[[0, -1]].all()
        changed[mark.y : mark.y + mark.height, mark.x : mark.x + mark.width] = False
    assert not changed.any()
    assert picture[(picture != plate).any(axis=2)].max() < 80
    assert plate.min() >= 150
    assert [mark.label for mark in marks] == ["spot", "scratch", "spot", "scratch"]


def test_the_same_seed_gives_the_same_pictures():
    assert np.array_equal(make_plate(seed=1), make_plate(seed=1))
    assert not np.array_equal(make_plate(seed=1), make_plate(seed=2))
    assert np.array_equal(SamplePictures().bad, SamplePictures().bad)


@pytest.mark.parametrize(("kinds", "text"), [(["hole"], "not 'hole'"), (["spot"] * 900, "no room for another spot")])
def test_marks_that_cannot_be_made_are_refused(kinds, text):
    with pytest.raises(ValueError, match=text):
        with_marks(make_plate(200, 200), kinds)


def test_the_fixtures_are_found_by_pytest(sample_pictures, inspection_session, in_memory_runner, real_runner):
    """By their entry points: this file imports none of them."""
    assert sample_pictures.bad.shape == sample_pictures.good.shape == sample_pictures.black.shape == (480, 640, 3)
    assert sample_pictures.mono.shape == (480, 640)
    assert len(sample_pictures.defects) == 3
    inspection_session.set("a", 1)
    assert inspection_session.context["product_code"] == "TEST"
    assert callable(in_memory_runner)
    assert callable(real_runner)


def result(**debug):
    rects = [
        {"x": 9.00049, "y": 5, "width": 1, "height": 1, "label": "b", "score": 0.12345},
        {"x": 1, "y": 2, "width": 1, "height": 1, "label": "a", "score": 1.0},
    ]
    data = {"result_status": "NG", "ng_reason": "x", "defect_rects": rects, "debug": debug}
    return CallResult(phase="execute", step_index=1, status="OK", message="m", error_code=None, data=data,
                      request_id="r", elapsed_ms=12.3)  # fmt: skip


def test_a_snapshot_leaves_out_what_differs_between_runs():
    one, other = snapshot(result(latency_ms=3.2, mean=1.23456)), snapshot(result(latency_ms=9.9, mean=1.23461))
    assert one == other
    assert one["data"]["debug"] == {"mean": 1.235}
    assert [rect["label"] for rect in one["data"]["defect_rects"]] == ["a", "b"]
    assert one["data"]["defect_rects"][1]["x"] == 9.0
    assert "request_id" not in one
    assert (
        snapshot(result(latency_ms=1.0, mean=2), without=frozenset({"latency_ms", "mean"}))["data"].get("debug") is None
    )
