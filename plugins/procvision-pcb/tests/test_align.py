"""Registration: motions that are known come out, and what they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from procvision_pcb.align import ReferencePyramid
from procvision_pcb.binarise import threshold_by_reference, threshold_globally
from procvision_pcb.motion import Alignment, rescaled
from procvision_testing.boards import make_board

BOARD = make_board(640, 480, seed=11).picture
COPPER = threshold_globally(BOARD, "dark", "board")[0]
CORNERS = np.array([[40.0, 40.0], [600.0, 40.0], [40.0, 440.0], [600.0, 440.0]])


def motion(degrees: float, scale: float, dx: float, dy: float) -> NDArray[np.float64]:
    matrix = cv2.getRotationMatrix2D((319.5, 239.5), degrees, scale)
    matrix[:, 2] += (dx, dy)
    return np.asarray(matrix, dtype=np.float64)


def seen(matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    moved = cv2.warpAffine(COPPER, matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    return np.where(np.asarray(moved) > 127, np.uint8(255), np.uint8(0))


@settings(max_examples=40, deadline=None)
@given(
    degrees=st.floats(-2.5, 2.5),
    scale=st.floats(0.98, 1.02),
    dx=st.floats(-25, 25),
    dy=st.floats(-25, 25),
)
def test_shift_rotation_and_scale_come_out_to_a_pixel(degrees: float, scale: float, dx: float, dy: float) -> None:
    """The affine part and the local field together, at four places of the board."""
    matrix = motion(degrees, scale, dx, dy)
    found = ReferencePyramid(COPPER).align(seen(matrix))
    expected = CORNERS @ matrix[:, :2].T + matrix[:, 2]
    local = np.array([found.local(x, y) for x, y in CORNERS])
    assert np.abs(found.moved(CORNERS) + local - expected).max() < 1.5
    assert found.correlation > 0.9


def test_a_large_shift_is_found_by_phase_correlation() -> None:
    """Far beyond what descending from no motion can reach."""
    found = ReferencePyramid(COPPER).align(seen(motion(0, 1, 100, -70)))
    assert np.abs(found.matrix[:, 2] - (100, -70)).max() < 2


def test_the_same_picture_isn_t_moved() -> None:
    """And is handed back as it is, without a copy."""
    found = ReferencePyramid(COPPER).align(COPPER)
    assert not found.moves
    assert found.apply(COPPER) is COPPER


def test_a_large_defect_doesn_t_pull() -> None:
    """The picture stays where it is with a twentieth of it covered."""
    picture = COPPER.copy()
    picture[200:330, 250:370] = 255 - picture[200:330, 250:370]
    found = ReferencePyramid(COPPER).align(picture)
    assert found.shift_px < 1.0


def test_a_distortion_is_taken_up_by_the_local_field() -> None:
    """A wave of two pixels, which no affine motion follows, is gone after it."""
    y, x = np.mgrid[0:480, 0:640].astype(np.float32)
    wave = 2 * np.sin(x / 640 * 2 * np.pi)
    bent = cv2.remap(COPPER, x, y + np.asarray(wave, np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bent = np.where(np.asarray(bent) > 127, np.uint8(255), np.uint8(0))
    lying = ReferencePyramid(COPPER).align(bent).apply(bent) > 127
    before, after = np.mean((bent > 127) != (COPPER > 0)), np.mean(lying != (COPPER > 0))
    assert after < before / 3


def test_one_motion_after_the_other_is_both() -> None:
    """`followed_by` composes in the order in which they were found."""
    first = Alignment(motion(1, 1, 5, 0), (480, 640), None, 1.0)
    rest = Alignment(motion(0, 1.01, 0, 3), (480, 640), None, 1.0)
    both = first.followed_by(rest)
    assert np.allclose(both.moved(CORNERS), first.moved(rest.moved(CORNERS)))


def test_inverse_undoes_moved() -> None:
    """To rounding."""
    found = Alignment(motion(2, 1.02, 5, -7), (480, 640), None, 1.0)
    assert np.allclose(found.inverse(found.moved(CORNERS)), CORNERS)


@given(factor=st.sampled_from([2.0, 4.0, 0.5]), degrees=st.floats(-5, 5), dx=st.floats(-9, 9))
def test_a_rescaled_motion_moves_the_rescaled_points(factor: float, degrees: float, dx: float) -> None:
    """Pixel centres are integers on every level: (x + 1/2) scales, not x."""
    matrix = motion(degrees, 1.0, dx, 0)

    def up(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points + 0.5) * factor - 0.5

    moved = CORNERS @ matrix[:, :2].T + matrix[:, 2]
    large = rescaled(matrix, factor)
    assert np.allclose(up(CORNERS) @ large[:, :2].T + large[:, 2], up(moved))


@pytest.mark.parametrize("lowest", [0.35, 0.6, 1.0])
def test_the_reference_s_threshold_follows_the_light(lowest: float) -> None:
    """A mask in uneven light is the mask in even light, but for the mixed pixels along edges."""
    light = np.linspace(lowest, 1.0, 640) * np.linspace(1.0, 0.8, 480)[:, None]
    picture = ((40 + BOARD * 0.7) * light).astype(np.uint8)
    mask = threshold_by_reference(picture, COPPER, "dark")
    edges = cv2.morphologyEx(COPPER, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    assert not ((mask != COPPER) & ~edges).any()


def test_the_reference_s_threshold_sees_what_is_missing() -> None:
    """A region whose copper is all gone is substrate, not copper in strong light."""
    picture = BOARD.copy()
    picture[100:300, 200:400] = 255
    mask = threshold_by_reference(picture, COPPER, "dark")
    assert not mask[110:290, 210:390].any()
