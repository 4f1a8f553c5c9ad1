"""Synthetic circuit boards with known defects, made with numpy alone and repeatable by their seed.

    board = make_board(640, 640, seed=7)
    picture, placed = with_defects(board, ["open", "short"], seed=1)

Copper is dark (0), substrate bright (255), as in line-scan pictures of bare boards. Every net is a tree of traces
between pads, and each defect is what its label says:

==========  ==================================================================
open        a cut through a trace: its net falls into two
short       a bridge between two nets: they become one
mousebite   a bite out of an edge: nothing is separated
spur        an outgrowth of an edge: nothing is joined
copper      an island of copper that touches nothing
pin-hole    a hole inside copper that reaches no edge
==========  ==================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import numpy as np
from numpy.typing import NDArray

from procvision_testing.boards.board import Board
from procvision_testing.boards.canvas import Canvas
from procvision_testing.boards.defects import PlacedDefect, place_defects
from procvision_testing.boards.layout import plan

MIN_SIZE_PX = 160
"""Below that there is no room for a part and a trace."""


def make_board(width: int = 640, height: int = 640, seed: int = 0, *, antialias: bool = True) -> Board:
    """Make a board: pads with holes, vias, footprints, a filled area, and traces with bends of 45 and 90 degrees.

    The same arguments give the same board. ``antialias=False`` gives nothing but 0 and 255.
    Raises ValueError where a side is shorter than `MIN_SIZE_PX`.
    """
    if min(width, height) < MIN_SIZE_PX:
        raise ValueError(f"a board needs at least {MIN_SIZE_PX} x {MIN_SIZE_PX} pixels, got {width} x {height}")
    layout = plan(width, height, Random(seed))
    canvas = Canvas(height, width)
    for shape, net in layout.copper:
        canvas.add(shape, net)
    for shape in layout.clearances:
        canvas.remove(shape)
    for shape, net in layout.islands:
        canvas.add(shape, net)
    for shape in layout.holes:
        canvas.remove(shape)
    picture = picture_of(canvas.copper, antialias=antialias)
    nets = np.where(picture < 128, canvas.nets, 0).astype(np.int32)
    picture.setflags(write=False)
    nets.setflags(write=False)
    return Board(picture, nets, tuple(layout.tracks), seed, antialias)


def picture_of(copper: NDArray[np.float32], *, antialias: bool) -> NDArray[np.uint8]:
    """Turn each pixel's share of copper (H x W, 0 to 1) into a picture (H x W uint8, copper dark)."""
    if not antialias:
        copper = (copper >= 0.5).astype(np.float32)
    return np.rint(255 * (1 - copper)).astype(np.uint8)


def with_defects(
    board: Board, kinds: Iterable[str], seed: int = 0, *, margin_px: int = 0
) -> tuple[NDArray[np.uint8], list[PlacedDefect]]:
    """Damage a copy of a board: one defect for each of ``kinds`` (of `DEFECT_KINDS`), at places drawn by ``seed``.

    Gives the picture (H x W uint8) and the defects in the order asked for; a defect's box holds every pixel that it
    changed, widened by ``margin_px``. Defects lie apart from each other, and no net takes part in two opens or
    shorts, so that each keeps its effect. Raises ValueError for an unknown kind, and where there is no room left.
    """
    copper = np.subtract(1, board.picture / np.float32(255), dtype=np.float32)
    placed = place_defects(board, copper, kinds, seed, margin_px)
    return picture_of(copper, antialias=board.antialias), placed
