"""Routes traces over a grid of cells, as a board's designer would: straight, with bends of 45 and 90 degrees.

An A* search over (cell, direction). No cell is used twice, no two diagonals cross, no diagonal cuts the corner of
a pad, and a route joins two nets that were separate: every net is a tree, so a cut anywhere on a trace separates it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from itertools import pairwise

Cell = tuple[int, int]
"""Column, row."""

DIRECTIONS: tuple[Cell, ...] = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
BEND_COSTS = (0.0, 0.5, 1.5)
"""Straight on, 45 degrees, 90 degrees; sharper turns are not made. In cells."""
MAX_STEPS = 4000
"""A search that has looked at so many cells gives up: boards stay quick to make, whatever their size."""


class Grid:
    """Which net holds which cell."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.owners: dict[Cell, int] = {}
        self.solid: set[Cell] = set()
        self._diagonals: set[tuple[Cell, Cell]] = set()

    def is_free(self, cell: Cell) -> bool:
        """Say whether the cell lies on the board and nothing is on it."""
        return 0 <= cell[0] < self.columns and 0 <= cell[1] < self.rows and cell not in self.owners

    def claim(self, cells: Iterable[Cell], net: int, *, solid: bool) -> None:
        """Give cells to a net; ``solid`` ones hold more than a trace, so no diagonal passes their corner."""
        for cell in cells:
            self.owners[cell] = net
            if solid:
                self.solid.add(cell)

    def merge(self, net: int, into: int) -> None:
        """Make all cells of one net another's."""
        self.owners.update({cell: into for cell, owner in self.owners.items() if owner == net})

    def lay(self, path: list[Cell], net: int) -> None:
        """Claim a route's free cells and remember its diagonals."""
        self.claim((cell for cell in path if cell not in self.owners), net, solid=False)
        self._diagonals.update(pairwise(path))

    def route(self, starts: Iterable[Cell], goals: set[Cell]) -> list[Cell] | None:
        """Find the cheapest way from any start to any goal over free cells, both ends included."""
        left, right = min(c for c, _ in goals), max(c for c, _ in goals)
        top, bottom = min(r for _, r in goals), max(r for _, r in goals)

        def remaining(cell: Cell) -> float:
            dx = max(left - cell[0], 0, cell[0] - right)
            dy = max(top - cell[1], 0, cell[1] - bottom)
            return max(dx, dy) + (math.sqrt(2) - 1) * min(dx, dy)

        came_from: dict[tuple[Cell, int], tuple[Cell, int] | None] = {}
        queue: list[tuple[float, float, Cell, int, tuple[Cell, int] | None]] = [
            (remaining(cell), 0.0, cell, -1, None) for cell in starts
        ]
        heapq.heapify(queue)
        while queue and len(came_from) < MAX_STEPS:
            _, cost, cell, heading, before = heapq.heappop(queue)
            here = (cell, heading)
            if here in came_from:
                continue
            came_from[here] = before
            if cell in goals and before is not None:
                return self._walk_back(here, came_from)
            for direction in range(8):
                bend = self._bend(heading, direction)
                step = DIRECTIONS[direction]
                target = (cell[0] + step[0], cell[1] + step[1])
                if bend is None or (target, direction) in came_from or not self._may_step(cell, target, goals):
                    continue
                further = cost + math.hypot(*step) + bend
                heapq.heappush(queue, (further + remaining(target), further, target, direction, here))
        return None

    @staticmethod
    def _walk_back(end: tuple[Cell, int], came_from: dict[tuple[Cell, int], tuple[Cell, int] | None]) -> list[Cell]:
        path = []
        here: tuple[Cell, int] | None = end
        while here is not None:
            path.append(here[0])
            here = came_from[here]
        return path[::-1]

    @staticmethod
    def _bend(heading: int, direction: int) -> float | None:
        if heading < 0:
            return 0.0
        turn = abs(heading - direction) % 8
        turn = min(turn, 8 - turn)
        return BEND_COSTS[turn] if turn < len(BEND_COSTS) else None

    def _may_step(self, cell: Cell, target: Cell, goals: set[Cell]) -> bool:
        if target not in goals and not self.is_free(target):
            return False
        if cell[0] == target[0] or cell[1] == target[1]:
            return True
        corners = ((cell[0], target[1]), (target[0], cell[1]))
        if corners[0] in self.solid or corners[1] in self.solid:
            return False
        return corners not in self._diagonals and corners[::-1] not in self._diagonals
