"""Generated circuit boards with defects whose places are known."""

from __future__ import annotations

from procvision_testing.boards.board import Board
from procvision_testing.boards.defects import DEFECT_KINDS, PlacedDefect
from procvision_testing.boards.layout import Track
from procvision_testing.boards.make import MIN_SIZE_PX, make_board, with_defects
from procvision_testing.boards.sensor import photograph

__all__ = [
    "DEFECT_KINDS",
    "MIN_SIZE_PX",
    "Board",
    "PlacedDefect",
    "Track",
    "make_board",
    "photograph",
    "with_defects",
]
