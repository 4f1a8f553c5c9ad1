"""Pictures that can't be compared are errors, never an OK."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from procvision_pcb.compare import Reference
from procvision_pcb.difference import MAX_BLOBS
from procvision_pcb.errors import NotComparableError
from procvision_testing.boards import make_board

Gray = NDArray[np.uint8]
NOISE = np.random.default_rng(3).integers(0, 256, (480, 640), dtype=np.uint8)
BLANK = {
    "black": np.zeros((480, 640), np.uint8),
    "white": np.full((480, 640), 255, np.uint8),
    "grey": np.full((480, 640), 119, np.uint8),
    "faint noise": (120 + NOISE // 32).astype(np.uint8),
    "a few dead pixels": np.where(np.arange(480 * 640).reshape(480, 640) % 9001 == 0, 0, 200).astype(np.uint8),
}


@pytest.mark.parametrize("name", BLANK)
def test_a_reference_without_structure_is_refused(name: str) -> None:
    """Nothing could be compared with it."""
    with pytest.raises(NotComparableError, match=r"reference: .*; hint: "):
        Reference(BLANK[name])


@pytest.mark.parametrize("name", BLANK)
def test_a_picture_without_structure_is_refused(board: Gray, name: str) -> None:
    """A covered lens or a dead lamp is an error."""
    with pytest.raises(NotComparableError, match=r"picture: .*; hint: "):
        Reference(board).compare(BLANK[name])


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (np.zeros((1, 1), np.uint8), "1 x 1 px"),
        (np.zeros((1, 1, 3), np.uint8), "1 x 1 px"),
        (np.zeros((31, 4000), np.uint8), "at least 32 px"),
        (np.zeros((64, 64), np.uint16), "got uint16 64x64"),
        (np.zeros((64, 64, 4), np.uint8), "got uint8 64x64x4"),
        (np.zeros(64, np.uint8), "got uint8 64"),
        (np.zeros((0, 0, 3), np.uint8), "0 x 0 px"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_shape(picture: NDArray[np.uint8], text: str) -> None:
    """The message names the bound and the value."""
    with pytest.raises(NotComparableError, match=text):
        Reference(picture)


@pytest.mark.parametrize("shape", [(480, 639), (479, 640), (640, 480), (1, 1)])
def test_a_picture_of_another_size_is_refused_with_both_sizes(board: Gray, shape: tuple[int, int]) -> None:
    """Nothing is scaled to fit."""
    with pytest.raises(NotComparableError, match=f"{shape[1]} x {shape[0]} px, but the reference is 640 x 480 px"):
        Reference(board).compare(np.full(shape, 200, np.uint8))


def test_noise_is_refused(board: Gray) -> None:
    """It has as much contrast as one could wish for."""
    with pytest.raises(NotComparableError, match="agrees with the reference's by"):
        Reference(board).compare(NOISE)


def test_the_negative_is_refused(board: Gray) -> None:
    """The wrong polarity of a whole picture is no board full of defects."""
    with pytest.raises(NotComparableError):
        Reference(board).compare(255 - board)


@pytest.mark.parametrize("turned", [1, 2])
def test_the_wrong_way_round_is_refused(turned: int) -> None:
    """A board that lies rotated or upside down."""
    made = make_board(480, 480, seed=2).picture
    with pytest.raises(NotComparableError):
        Reference(made).compare(np.rot90(made, turned).copy())


def test_another_product_is_never_without_findings() -> None:
    """It is refused as a rule, and NG where the two boards happen to look alike."""
    boards = [make_board(480, 480, seed=seed).picture for seed in range(8)]
    refused = 0
    for at, reference in enumerate(boards):
        for other in boards[:at] + boards[at + 1 :]:
            try:
                assert any(f.score >= 0.5 for f in Reference(reference).compare(other).findings)
            except NotComparableError:
                refused += 1
    assert refused > 45  # of 56


def test_a_board_that_lies_too_far_off_is_refused_with_how_far(board: Gray) -> None:
    """The bound is the operator's; what is within it is compared."""
    reference = Reference(board)
    moved = np.roll(board, 30, axis=1)
    with pytest.raises(NotComparableError, match=r"lies 30 px .* at most 10 px"):
        reference.compare(moved, max_shift_px=10)
    assert reference.compare(moved, max_shift_px=40).alignment.shift_px == pytest.approx(30, abs=1)


def test_twenty_megapixels_are_compared() -> None:
    """With one defect in a corner of it."""
    tile = make_board(912, 912, seed=1).picture
    large = np.tile(tile, (4, 6))
    picture = large.copy()
    picture[3400:3420, 5200:5220] = 255 - picture[3400:3420, 5200:5220]
    findings = [f for f in Reference(large).compare(picture).findings if f.score >= 0.5]
    assert findings
    for finding in findings:
        x, y, width, height = finding.box
        assert x > 5170 and x + width < 5250 and y > 3370 and y + height < 3450


def test_any_number_of_differences_takes_a_bounded_number_of_blobs() -> None:
    """Of five thousand specks the largest thousand are told of."""
    reference = np.full((1200, 1200), 255, np.uint8)
    reference[:, 600:] = 0
    picture = reference.copy()
    for offset in range(4):
        picture[6 + offset : 1190 : 14, 6:590:14] = picture[6 + offset : 1190 : 14, 7:590:14] = 0
        picture[6 + offset : 1190 : 14, 8:590:14] = 0
    findings = Reference(reference).compare(picture).findings
    assert len(findings) == MAX_BLOBS
    assert {f.label for f in findings} == {"copper"}


@settings(max_examples=60, deadline=None)
@given(
    picture=arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))),
    other=arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))),
)
def test_no_pair_of_pictures_raises_anything_else(picture: Gray, other: Gray) -> None:
    """Whatever arrays: a comparison or NotComparableError."""
    try:
        Reference(picture).compare(other)
    except NotComparableError as error:
        assert "; hint: " in str(error)
