"""What the comparison finds, on boards drawn here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from procvision_pcb.binarise import threshold_globally, to_gray
from procvision_pcb.compare import Finding, Reference
from procvision_pcb.errors import NotComparableError
from procvision_pcb.topology import LABELS
from procvision_testing.boards import DEFECT_KINDS, make_board, with_defects

Gray = NDArray[np.uint8]
COPPER, SUBSTRATE = 25, 230


def found(reference: Gray, picture: Gray, **options: Any) -> list[Finding]:
    return [f for f in Reference(reference, **options).compare(picture).findings if f.score >= 0.5]


def holds(finding: Finding, x: int, y: int) -> bool:
    left, top, width, height = finding.box
    return left <= x < left + width and top <= y < top + height


def cut_a_track(picture: Gray) -> tuple[int, int]:
    cv2.line(picture, (240, 75), (240, 105), SUBSTRATE, 5)
    return 240, 90


def bridge_two_tracks(picture: Gray) -> tuple[int, int]:
    cv2.line(picture, (240, 93), (240, 117), COPPER, 4)
    return 240, 105


def bite_an_edge(picture: Gray) -> tuple[int, int]:
    cv2.circle(picture, (330, 300), 7, SUBSTRATE, cv2.FILLED)
    return 327, 300


def grow_a_spur(picture: Gray) -> tuple[int, int]:
    cv2.circle(picture, (334, 300), 6, COPPER, cv2.FILLED)
    return 336, 300


def leave_copper(picture: Gray) -> tuple[int, int]:
    cv2.circle(picture, (380, 200), 5, COPPER, cv2.FILLED)
    return 380, 200


def prick_a_hole(picture: Gray) -> tuple[int, int]:
    cv2.circle(picture, (120, 300), 4, SUBSTRATE, cv2.FILLED)
    return 120, 300


DAMAGE: dict[str, Callable[[Gray], tuple[int, int]]] = {
    "open": cut_a_track,
    "short": bridge_two_tracks,
    "mousebite": bite_an_edge,
    "spur": grow_a_spur,
    "copper": leave_copper,
    "pin-hole": prick_a_hole,
}


def seen_plainly(picture: Gray) -> Gray:
    return picture


def seen_shifted(picture: Gray) -> Gray:
    return seen_moved(picture, 0.0, 1.0, 9.3, -6.6)


def seen_turned(picture: Gray) -> Gray:
    return seen_moved(picture, 1.2, 1.0, 0.0, 0.0)


def seen_larger(picture: Gray) -> Gray:
    return seen_moved(picture, 0.0, 1.012, 3.0, 2.0)


def seen_darker(picture: Gray) -> Gray:
    return (picture * 0.35 + 12).astype(np.uint8)


def seen_noisy(picture: Gray) -> Gray:
    noise = np.random.default_rng(1).normal(0, 8, picture.shape)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8) + noise, 0, 255).astype(np.uint8)


def seen_in_uneven_light(picture: Gray) -> Gray:
    light = np.linspace(0.45, 1.0, picture.shape[1]) * np.linspace(1.0, 0.8, picture.shape[0])[:, None]
    return (picture * light).astype(np.uint8)


def seen_moved(picture: Gray, degrees: float, scale: float, dx: float, dy: float) -> Gray:
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += (dx, dy)
    moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


VIEWS = [
    seen_plainly,
    seen_shifted,
    seen_turned,
    seen_larger,
    seen_darker,
    seen_noisy,
    seen_in_uneven_light,
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("label", LABELS)
def test_each_defect_is_found_once_with_its_name_however_it_is_seen(
    board: Gray, label: str, view: Callable[[Gray], Gray]
) -> None:
    """One finding, of the right name, where the damage is (give or take what the view moved)."""
    picture = board.copy()
    x, y = DAMAGE[label](picture)
    findings = found(board, view(picture))
    assert [f.label for f in findings] == [label]
    left, top, width, height = findings[0].box
    assert abs(left + width / 2 - x) < 20
    assert abs(top + height / 2 - y) < 20


@pytest.mark.parametrize("view", VIEWS)
def test_a_good_board_gives_no_findings_however_it_is_seen(board: Gray, view: Callable[[Gray], Gray]) -> None:
    """Shift, rotation, scale, exposure, noise and uneven light are no defects."""
    assert found(board, view(board)) == []


def test_bright_copper_is_the_same_with_the_polarity_named(board: Gray) -> None:
    """The inverted board, read as bright copper, has the same findings."""
    picture = board.copy()
    for damage in DAMAGE.values():
        damage(picture)
    dark = found(board, picture)
    bright = found(255 - board, 255 - picture, copper="bright")
    assert [(f.box, f.label) for f in bright] == [(f.box, f.label) for f in dark]


def test_colour_and_monochrome_pictures_give_the_same(board: Gray) -> None:
    """A grey RGB picture, a broadcast view, a reversed view and the plain array are one."""
    picture = board.copy()
    grow_a_spur(picture)
    rgb = np.dstack([picture] * 3)
    for same in (rgb, rgb[:, :, ::-1], np.broadcast_to(picture[:, :, None], rgb.shape)):
        assert found(board, same) == found(board, picture)


def test_a_view_of_bgr_pixels_has_the_brightness_of_its_rgb_copy() -> None:
    """The eye's weights go to the right channels."""
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    view = np.ascontiguousarray(rgb[:, :, ::-1])[:, :, ::-1]
    assert np.array_equal(to_gray(view, "picture"), to_gray(rgb, "picture"))


def test_a_spur_that_nearly_reaches_the_next_track_is_a_spur(board: Gray) -> None:
    """One pixel of substrate is no connection."""
    board = np.full_like(board, SUBSTRATE)
    board[100:120, 50:600] = board[150:170, 50:600] = COPPER
    picture = board.copy()
    picture[120:149, 300:308] = COPPER
    assert [f.label for f in found(board, picture)] == ["spur"]
    picture[149, 300:308] = COPPER
    assert [f.label for f in found(board, picture)] == ["short"]


def test_a_bite_that_leaves_a_thread_is_a_mousebite(board: Gray) -> None:
    """One pixel of copper still conducts."""
    board = np.full_like(board, SUBSTRATE)
    board[100:120, 50:600] = board[300:420, 200:300] = COPPER
    picture = board.copy()
    picture[100:119, 300:308] = SUBSTRATE
    assert [f.label for f in found(board, picture)] == ["mousebite"]
    picture[119, 300:308] = SUBSTRATE
    assert [f.label for f in found(board, picture)] == ["open"]


def test_a_short_between_two_arms_of_one_track_is_a_short(board: Gray) -> None:
    """What the blob connects is looked at near it, not over the whole board."""
    board = np.full_like(board, SUBSTRATE)
    board[100:110, 100:400] = board[160:170, 100:400] = board[100:170, 100:110] = COPPER
    board[300:420, 200:300] = COPPER
    picture = board.copy()
    picture[105:165, 350:356] = COPPER
    assert [f.label for f in found(board, picture)] == ["short"]


@pytest.mark.parametrize("covered_from", range(100, 640, 60))
def test_a_covered_lens_is_never_a_good_board(board: Gray, covered_from: int) -> None:
    """A hand in front of the camera is a difference like any other, or too much of one to compare."""
    picture = board.copy()
    picture[:, covered_from:] = COPPER
    try:
        assert found(board, picture)
    except NotComparableError:
        assert covered_from < 560


def test_edge_tolerance_decides_how_wide_a_sliver_may_be(board: Gray) -> None:
    """A field's edge that lies five pixels off is a difference at the default and none at six."""
    picture = board.copy()
    picture[260:300, 331:336] = COPPER
    assert found(board, picture)
    assert found(board, picture, edge_tolerance_px=6) == []


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kinds=st.lists(st.sampled_from(DEFECT_KINDS), min_size=1, max_size=6))
def test_findings_are_inside_the_picture_ranked_and_scored_from_zero_to_one(seed: int, kinds: list[str]) -> None:
    """Whatever the board and its defects."""
    made = make_board(320, 256, seed=seed)
    try:
        picture, _ = with_defects(made, kinds, seed=seed)
    except ValueError:
        return  # no room for all of them on this board
    findings = Reference(made.picture).compare(picture).findings
    assert findings or set(kinds) <= {"mousebite", "spur"}  # theirs may lie within the edge tolerance
    assert [f.score for f in findings] == sorted((f.score for f in findings), reverse=True)
    for finding in findings:
        x, y, width, height = finding.box
        assert all(isinstance(value, int) for value in finding.box)
        assert 0 <= x < x + width <= 320 and 0 <= y < y + height <= 256
        assert 0 <= finding.score <= 1


@functools.cache
def _board_of_blots() -> Gray:
    return make_board(640, 480, seed=5).picture


@settings(max_examples=40, deadline=None)
@given(x=st.integers(40, 600), y=st.integers(40, 440), side=st.integers(12, 30), dx=st.integers(-6, 6))
def test_a_solid_blot_is_found_wherever_it_is(x: int, y: int, side: int, dx: int) -> None:
    """A square of the other material, however the board is shifted."""
    made = _board_of_blots()
    picture = made.copy()
    window = picture[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2]
    window[:] = 0 if np.mean(window > 127) > 0.5 else 255
    changed = np.count_nonzero((picture > 127) != (made > 127))
    assume(changed > 0.8 * side * side)
    findings = found(made, np.roll(picture, dx, axis=1))
    assert any(holds(f, x + dx, y) for f in findings)


@pytest.mark.parametrize("gap", [3, 4, 5, 6])
def test_a_short_across_a_gap_narrower_than_the_tolerances_is_found(board: Gray, gap: int) -> None:
    """Everything in such a gap is near an edge; what joins is a defect all the same."""
    board = np.full_like(board, SUBSTRATE)
    board[100:120, 50:600] = board[120 + gap : 140 + gap, 50:600] = COPPER
    picture = board.copy()
    picture[120 : 120 + gap, 300:304] = COPPER
    assert [f.label for f in found(board, picture)] == ["short"]


@pytest.mark.parametrize("width", [3, 4, 5, 6])
def test_a_cut_through_a_track_narrower_than_the_tolerances_is_found(board: Gray, width: int) -> None:
    """The same for copper."""
    board = np.full_like(board, SUBSTRATE)
    board[100 : 100 + width, 50:600] = board[300:420, 200:300] = COPPER
    picture = board.copy()
    picture[100 : 100 + width, 300:304] = SUBSTRATE
    assert [f.label for f in found(board, picture)] == ["open"]


def test_a_narrow_gap_with_trembling_edges_is_no_short(board: Gray) -> None:
    """As long as one pixel of it is left."""
    board = np.full_like(board, SUBSTRATE)
    board[100:120, 50:600] = board[125:145, 50:600] = COPPER
    picture = board.copy()
    picture[120:122, 60:600:3] = picture[123:125, 61:600:4] = COPPER
    assert found(board, picture) == []


def test_a_material_that_is_rare_is_not_overlooked() -> None:
    """Rows are left out of the histogram, but not where they may hold all there is of one material."""
    picture = np.full((640, 640), SUBSTRATE, np.uint8)
    for row in (101, 302, 503):
        picture[row, 100:150] = 120
    mask, _ = threshold_globally(picture, "dark", "picture")
    np.testing.assert_array_equal(mask > 0, picture == 120)
