"""Pairs that are worn otherwise keep their truths where the defects are."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from procvision_testing.boards import DEFECT_KINDS, make_board, with_defects
from procvision_tools.datasets import Truth

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def worn() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import worn as module
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


@pytest.fixture(scope="module")
def pair(worn: ModuleType):  # type: ignore[no-untyped-def]  # of a type that the script has
    board = make_board(640, 480, seed=21)
    picture, placed = with_defects(board, DEFECT_KINDS, seed=21, margin_px=worn.BOX_MARGIN_PX)
    truths = tuple(Truth(p.x, p.y, p.width, p.height, p.label) for p in placed)
    return worn.Pair(board.picture, picture, truths)


def test_turned_over_and_zoomed_boards_differ_inside_their_truths_alone(worn: ModuleType, pair) -> None:  # type: ignore[no-untyped-def]
    """Each truth holds a difference, and nothing differs elsewhere."""
    for mirror in (False, True):
        for factor in (0.7, 1.0, 1.3):
            seen = worn.zoomed(worn.turned_over(pair, mirror=mirror, transpose=True), factor)
            different = (seen.reference > 127) != (seen.picture > 127)
            assert len(seen.truths) == len(pair.truths)
            for truth in seen.truths:
                x, y = round(truth.x), round(truth.y)
                part = different[max(0, y) : y + round(truth.height) + 1, max(0, x) : x + round(truth.width) + 1]
                assert part.any()
                part[:] = False
            assert np.count_nonzero(different) < 20  # edges that fell otherwise


def test_every_way_of_wear_changes_the_pair_and_the_same_seed_the_same(worn: ModuleType, pair) -> None:  # type: ignore[no-untyped-def]
    """Edges of both pictures, or the product's picture alone."""
    for kind in worn.KINDS:
        one, other = (worn.wear(pair, kind, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.reference, other.reference)
        assert np.array_equal(one.picture, pair.picture) == (kind == worn.AS_IT_IS)
        assert np.array_equal(one.reference, pair.reference) == (kind not in worn.EDGES and kind != "mixed")


def test_edges_are_displaced_by_as_much_as_was_asked(worn: ModuleType) -> None:
    """The standard deviation of where a straight edge lies, in pixels."""
    picture = np.full((400, 400), 255, np.uint8)
    picture[:, :200] = 0
    seen = worn.ragged(picture, 1.5, 3.0, np.random.default_rng(1))
    ends = np.count_nonzero(seen < 128, axis=1)
    assert np.std(ends) == pytest.approx(1.5, rel=0.25)
    assert np.count_nonzero(worn.etched(picture, 3.0)[200] < 128) == 197
