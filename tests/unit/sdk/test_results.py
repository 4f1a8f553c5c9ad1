"""What may be an answer: the builders, and the check that nothing malformed passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_sdk import Defect, Failed, Ng, Ok, Prepared, Rect
from procvision_sdk.answers import MAX_COORDINATE, MAX_DEFECT_RECTS, check_answer, check_returned
from procvision_sdk.errors import CallRefusedError

SIZE = (100, 80)
RECT = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "scratch", "score": 0.5}


def ng(*rects: Any, **data: Any) -> dict[str, Any]:
    """An NG as an algorithm may return it."""
    whole = {"result_status": "NG", "ng_reason": "scratch", "defect_rects": list(rects), **data}
    return {"status": "OK", "data": whole}


def ok(**data: Any) -> dict[str, Any]:
    """An OK as an algorithm may return it."""
    return {"status": "OK", "data": {"result_status": "OK", **data}}


def code_of(value: Any, phase: str = "execute", size: tuple[int, int] | None = SIZE) -> str | None:
    """The code by which it is refused; None if it passes."""
    try:
        check_returned(value, phase, size)
    except CallRefusedError as refusal:
        return str(refusal.error_code)
    return None


# --- builders -----------------------------------------------------------------------------------------------------


def test_builders_make_what_a_dict_would() -> None:
    """Each is a plain dict in the end."""
    assert Ok(debug={"n": 1}).to_dict() == {**ok(debug={"n": 1}), "message": ""}
    assert Ng("scratch", [RECT]).to_dict() == {**ng(RECT), "message": ""}
    assert Ng("scratch", [Defect(1, 2, 3, 4, "scratch", 0.5)]).to_dict() == {**ng(RECT), "message": ""}
    assert Prepared().to_dict() == {"status": "OK", "message": "", "data": {}}
    assert Failed("V-17", "no lamp").to_dict() == {
        "status": "ERROR",
        "message": "no lamp",
        "error_code": "V-17",
        "data": {},
    }


@pytest.mark.parametrize(
    ("value", "phase"),
    [
        (Ok(), "execute"),
        (Ok(position_rects=[Rect(0, 0, 1, 1)]), "execute"),
        (Ng("why", []), "execute"),
        (Ng("why", [RECT], position_rects=[RECT]), "execute"),
        (Prepared(), "pre"),
        (Prepared(calibration_rects=[Rect(0, 0, 100, 80)]), "pre"),
        (Failed("1003", "no template"), "execute"),
        (Failed("1003", "no template", debug={"n": 1}), "pre"),
    ],
)
def test_what_the_builders_make_passes(value: Any, phase: str) -> None:
    """Of both phases."""
    assert code_of(value, phase) is None


def test_rect_takes_numpy_scalars_and_no_others() -> None:
    """What an algorithm computes is what it may give; NaN and texts are refused where they are made."""
    rect = Rect(np.int64(1), np.uint8(2), np.float32(3), np.float64(4), score=np.float16(0.5))
    assert [type(value) for value in (rect.x, rect.y, rect.width, rect.height, rect.score)] == [
        int,
        int,
        float,
        float,
        float,
    ]
    for wrong in (float("nan"), "1", None, True, np.bool_(True), np.zeros(1)):
        with pytest.raises((ValueError, TypeError)):
            Rect(wrong, 0, 1, 1)  # type: ignore[arg-type]


# --- the form -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        "OK",
        True,
        [],
        {},
        {"status": "OK"},
        {"status": "OK", "data": {}},
        {"status": "OK", "data": {"result_status": None}},
        {"status": "OK", "data": {"result_status": True}},
        {"status": "OK", "data": {"result_status": "ok"}},
        {"status": "OK", "data": {"result_status": "OK "}},
        {"status": "OK", "data": ["OK"]},
        {"status": "ok", "data": {"result_status": "OK"}},
        {"status": None, "data": {"result_status": "OK"}},
        {"status": "OK", "message": 7, "data": {"result_status": "OK"}},
        {"status": "ERROR", "data": {"result_status": "OK"}},
        {"status": "ERROR", "error_code": 7},
        {"result_status": "OK"},
        ok(debug=[1]),
        ok(debug=None),
        ok(defect_rects=[RECT]),
        ok(defect_rects=5),
        ok(defect_rects=0),
        ok(defect_rects=False),
        ok(defect_rects={}),
        ok(defect_rects=""),
        ok(ng_reason="scratch"),
        ok(ng_reason=0),
        ok(position_rects=None),
        ok(position_rects=[{"x": 1}]),
        ng(RECT, ng_reason=None),
        ng(RECT, ng_reason=""),
        ng(RECT, ng_reason=" \n"),
        ng(RECT, ng_reason=7),
        ng(RECT, defect_rects=None),
        ng(RECT, defect_rects={}),
        ng(RECT, defect_rects="none"),
        ng("rect"),
        ng([1, 2, 3, 4]),
        *(ng({key: value for key, value in RECT.items() if key != missing}) for missing in RECT),
        *(ng({**RECT, key: wrong}) for key in ("x", "width", "score") for wrong in (None, "1", True, [1])),
        ng({**RECT, "label": 7}),
        ng({**RECT, "score": 1.001}),
        ng({**RECT, "score": -0.001}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_malformed_answer_is_refused(value: Any) -> None:
    """1006: nothing missing or malformed becomes an OK."""
    assert code_of(value) == "1006"


@pytest.mark.parametrize(
    "value",
    [
        ok(),
        ok(defect_rects=[]),
        ok(defect_rects=None),
        ok(ng_reason=None),
        ok(ng_reason=""),
        ok(debug={}),
        ok(a_vendors_own={"x": [1]}),
        ok(position_rects=[{"x": 1, "y": 1, "width": 1, "height": 1}]),
        ng(),
        ng(RECT),
        ng({**RECT, "score": 0}),
        ng({**RECT, "score": 1}),
        ng({**RECT, "color": "red"}),
        {"status": "ERROR"},
        {"status": "ERROR", "message": "no lamp", "error_code": "V-17", "data": {"debug": {"lamp": 3}}},
    ],
    ids=lambda value: str(value)[:60],
)
def test_well_formed_answer_passes(value: Any) -> None:
    """What the protocol allows is allowed."""
    assert code_of(value) is None


def test_error_without_a_code_has_the_unknown_one() -> None:
    """A runner always has something to go by."""
    assert check_returned({"status": "ERROR"}, "execute", None).error_code == "9999"


@pytest.mark.parametrize("data", [{"result_status": "OK"}, {"result_status": "NG"}, {"result_status": None}])
def test_pre_has_no_verdict(data: dict[str, Any]) -> None:
    """Not even an empty one."""
    assert code_of({"status": "OK", "data": data}, "pre") == "1006"


# --- rects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rect",
    [
        {"x": -1},
        {"y": -0.001},
        {"width": 0},
        {"height": 0},
        {"width": -3},
        {"x": 98},
        {"y": 77},
        {"width": 99.001},
        {"x": 10**400},
        {"x": 1e308, "width": 1e308},
        {"width": 2**31 + 1},
    ],
    ids=lambda value: str(value)[:60],
)
def test_rect_outside_of_the_picture_is_refused(rect: dict[str, Any]) -> None:
    """1007, partly outside included; where nobody knows the size the bound is a picture's largest."""
    assert code_of(ng({**RECT, **rect})) == "1007"
    assert code_of(ok(position_rects=[{**RECT, **rect}])) == "1007"
    assert code_of({"status": "OK", "data": {"calibration_rects": [{**RECT, **rect}]}}, "pre") == "1007"


@pytest.mark.parametrize("rect", [{"x": 0, "y": 0}, {"x": 97, "y": 76}, {"x": 0, "y": 0, "width": 100, "height": 80}])
def test_rect_that_touches_the_edge_is_inside(rect: dict[str, Any]) -> None:
    """The bound itself is allowed."""
    assert code_of(ng({**RECT, **rect})) is None


def test_rect_of_a_call_without_a_picture_has_a_bound_too() -> None:
    """What no picture holds is no finding."""
    assert code_of(ng({**RECT, "x": 5_000}), size=None) is None
    assert code_of(ng({**RECT, "x": -1}), size=None) == "1007"
    assert code_of(ng({**RECT, "x": MAX_COORDINATE + 1}), size=None) == "1007"


@given(scores=st.lists(st.floats(0, 1), min_size=0, max_size=60))
def test_twenty_best_are_kept_in_their_order(scores: list[float]) -> None:
    """And debug says how many there were."""
    rects = [{**RECT, "x": place, "score": score} for place, score in enumerate(scores)]
    answer = check_returned(ng(*rects), "execute", None)
    kept = answer.data["defect_rects"]
    assert len(kept) == min(len(scores), MAX_DEFECT_RECTS)
    assert [rect["x"] for rect in kept] == sorted(rect["x"] for rect in kept)
    dropped = sorted(scores, reverse=True)[MAX_DEFECT_RECTS:]
    assert not dropped or min(rect["score"] for rect in kept) >= max(dropped)
    assert answer.truncated == (len(scores) if dropped else None)
    assert answer.data.get("debug", {}).get("truncated") == answer.truncated


WORDS = ("status", "data", "result_status", "ng_reason", "defect_rects", "x", "y", "width", "height", "score", "label")
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    ATOMS | st.sampled_from(["OK", "NG", "ERROR"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=12,
)


@given(value=JSON, phase=st.sampled_from(["pre", "execute"]))
def test_whatever_is_returned_is_an_answer_or_refused(value: Any, phase: str) -> None:
    """No other exception, and an OK only where it says so and nothing speaks against it."""
    try:
        answer = check_returned(value, phase, SIZE)
    except CallRefusedError as refusal:
        assert refusal.error_code in {"1006", "1007"}
        return
    assert answer.status == value["status"]
    if phase == "execute" and answer.status == "OK":
        assert answer.data["result_status"] in {"OK", "NG"}
        assert answer.data["result_status"] == value["data"]["result_status"]
        if answer.data["result_status"] == "OK":
            assert not answer.data.get("defect_rects")


def test_runner_applies_the_same_check() -> None:
    """To values as they come from the wire."""
    with pytest.raises(CallRefusedError):
        check_answer("execute", "OK", "", None, {"result_status": "OK", "defect_rects": 5}, None)
    with pytest.raises(CallRefusedError):
        check_answer("execute", "OK", "", None, {}, None)
