"""Good boards that are seen badly: OK or refused with what differs, never NG."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_pcb.compare import Reference
from procvision_pcb.condition import MAX_BLUR_PX, sharpness
from procvision_pcb.errors import NotComparableError
from procvision_testing.boards import make_board

Gray = NDArray[np.uint8]
SEEDS = range(300, 312)
SQUARE = np.ones((3, 3), np.uint8)


@functools.cache
def boards() -> list[Gray]:
    return [make_board(640, 640, seed=seed).picture for seed in SEEDS]


def blurred(picture: Gray, px: float) -> Gray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), px), dtype=np.uint8)


def noisy(picture: Gray, levels: float) -> Gray:
    noise = np.random.default_rng(4).normal(0, levels, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def eroded(picture: Gray, px: int) -> Gray:
    return np.asarray(cv2.dilate(picture, SQUARE, iterations=px), dtype=np.uint8)


def dilated(picture: Gray, px: int) -> Gray:
    return np.asarray(cv2.erode(picture, SQUARE, iterations=px), dtype=np.uint8)


def answer(reference: Gray, picture: Gray) -> str:
    """OK, NG, or the reason of a refusal."""
    try:
        findings = Reference(reference).compare(picture).findings
    except NotComparableError as error:
        return error.reason
    return "NG" if any(finding.score >= 0.5 for finding in findings) else "OK"


@pytest.mark.parametrize(
    "disturb",
    [
        lambda picture: picture,
        lambda picture: blurred(picture, 1.5),
        lambda picture: noisy(picture, 20),
        lambda picture: eroded(picture, 1),
        lambda picture: dilated(picture, 1),
    ],
    ids=["as it is", "blur 1.5", "noise 20", "eroded", "dilated"],
)
def test_a_good_board_seen_a_little_badly_is_never_ng(disturb: Callable[[Gray], Gray]) -> None:
    """Boards that nothing was tuned to."""
    assert "NG" not in {answer(board, disturb(board)) for board in boards()}


@pytest.mark.parametrize(
    ("disturb", "reasons"),
    [
        (lambda picture: blurred(picture, 4), {"blur"}),
        (lambda picture: blurred(picture, 6), {"blur"}),
        (lambda picture: noisy(picture, 60), {"noise"}),
        (lambda picture: noisy(picture, 90), {"noise"}),
        (lambda picture: eroded(picture, 2), {"edges", "blur"}),  # what is left of thin tracks is grey
        (lambda picture: dilated(picture, 2), {"edges", "blur"}),
    ],
    ids=["blur 4", "blur 6", "noise 60", "noise 90", "eroded", "dilated"],
)
def test_a_good_board_seen_too_badly_is_refused_with_what_differs(
    disturb: Callable[[Gray], Gray], reasons: set[str]
) -> None:
    """Not called NG, and not OK either."""
    assert {answer(board, disturb(board)) for board in boards()} <= reasons


@pytest.mark.parametrize(
    "turn",
    [
        lambda picture: picture[:, ::-1],
        lambda picture: picture[::-1],
        lambda picture: picture[::-1, ::-1],
        np.rot90,
        lambda picture: picture.T,
    ],
    ids=["mirrored", "upside down", "turned by 180", "turned by 90", "transposed"],
)
def test_a_board_that_lies_wrong_is_always_refused(turn: Callable[[Gray], Gray]) -> None:
    """Whatever it has in common with itself."""
    assert {answer(board, np.ascontiguousarray(turn(board))) for board in boards()} <= {
        "agreement",
        "area",
        "astray",
        "shift",
    }


@pytest.mark.parametrize(("period", "reason"), [(14, "area"), (70, "astray")])
def test_a_board_that_correlates_by_its_large_areas_alone_is_refused(period: int, reason: str) -> None:
    """Two products of one panel have the same frame and other tracks, many or few."""
    frame = np.full((480, 640), 255, np.uint8)
    frame[:, :200] = frame[:, 440:] = 0
    one, other = frame.copy(), frame.copy()
    for x in range(220, 430, period):
        one[20:460, x : x + 6] = 0
    for y in range(30, 450, period):
        other[y : y + 6, 215:425] = 0
    assert answer(one, other) == reason
    assert answer(one, one) == "OK"


def test_a_camera_that_blurs_the_reference_as_much_is_no_reason_to_refuse() -> None:
    """What counts is what differs."""
    board = boards()[0]
    with pytest.raises(NotComparableError):
        Reference(board).compare(blurred(board, MAX_BLUR_PX + 0.8))
    soft = blurred(board, MAX_BLUR_PX + 0.8)
    assert answer(soft, soft) == "OK"


@pytest.mark.parametrize("px", [1.0, 2.0, 3.0])
def test_blur_is_measured_in_pixels(px: float) -> None:
    """Of a board with long straight edges, to a tenth; noise doesn't change it."""
    stripes = np.full((480, 640), 230, np.uint8)
    for x in range(40, 600, 60):
        stripes[40:440, x : x + 30] = 20
    copper = np.where(stripes < 100, np.uint8(255), np.uint8(0))
    for noise in (0, 15):
        seen = noisy(blurred(stripes, px), noise)
        assert sharpness(seen, seen, copper).blur_px == pytest.approx(px, abs=0.15)


@pytest.mark.parametrize("levels", [5, 15, 30])
@pytest.mark.parametrize("black_and_white", [False, True])
def test_noise_is_measured_in_parts_of_the_contrast(levels: int, black_and_white: bool) -> None:
    """Also where half of it is cut off at black and at white."""
    copper = np.zeros((480, 640), np.uint8)
    copper[100:400, 100:500] = 255
    dark, bright = (0, 255) if black_and_white else (70, 190)
    plain = np.where(copper > 0, np.uint8(dark), np.uint8(bright))
    seen = noisy(plain, levels)
    assert sharpness(seen, seen, copper).noise == pytest.approx(levels / (bright - dark), rel=0.15)
