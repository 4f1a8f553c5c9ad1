"""Places the parts of a board on a grid and wires them: what `boards.make_board` draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random

from attrs import define, field, frozen

from procvision_testing.boards.canvas import Shape, box, capsule, chamfered, disc
from procvision_testing.boards.routing import Cell, Grid

PITCH = 20
"""Pixels between two neighbouring traces, centre to centre."""
TRACE_WIDTHS = (8.0, 8.0, 9.0, 12.0)
"""Pixels; one is drawn by lot for each net. The narrowest gap on a board is that of two diagonals: 14.1 - 12."""


@frozen
class Track:
    """A straight piece of a trace, in pixels."""

    net: int
    x1: float
    y1: float
    x2: float
    y2: float
    width: float


@frozen
class Terminal:
    """A pad where traces may end, and the part it belongs to: traces join different parts."""

    net: int
    part: int
    cells: tuple[Cell, ...]


@define
class Layout:
    """What lies on a board: copper in drawing order, then holes; traces apart, since defects are placed on them."""

    grid: Grid
    origin: tuple[float, float]
    copper: list[tuple[Shape, int]] = field(factory=list)
    clearances: list[Shape] = field(factory=list)
    islands: list[tuple[Shape, int]] = field(factory=list)
    holes: list[Shape] = field(factory=list)
    tracks: list[Track] = field(factory=list)
    terminals: list[Terminal] = field(factory=list)
    _nets: int = 0
    _parts: int = 0

    def new_net(self) -> int:
        """Number a net, from 1."""
        self._nets += 1
        return self._nets

    def at(self, cell: tuple[float, float]) -> tuple[float, float]:
        """Give a cell's centre in pixels."""
        return self.origin[0] + cell[0] * PITCH, self.origin[1] + cell[1] * PITCH

    def free(self, column: int, row: int, columns: int, rows: int, margin: int = 1) -> bool:
        """Say whether a rectangle of cells and a margin round it are empty."""
        return all(
            self.grid.is_free((c, r))
            for c in range(column - margin, column + columns + margin)
            for r in range(row - margin, row + rows + margin)
        )

    def pad(self, shape: Shape, cells: tuple[Cell, ...]) -> int:
        """Lay a pad that traces may end on, as a net of its own."""
        net = self.new_net()
        self.copper.append((shape, net))
        self.grid.claim(cells, net, solid=True)
        self.terminals.append(Terminal(net, self._parts, cells))
        return net

    def next_part(self) -> None:
        """Say that the pads that follow belong to another part."""
        self._parts += 1


Place = Callable[[Layout, int, int, Random], bool]
"""Puts a part at a column and row, or says that there is no room."""


def plan(width: int, height: int, rng: Random) -> Layout:
    """Lay out a board of width x height pixels."""
    columns, rows = (width - 16) // PITCH, (height - 16) // PITCH
    origin = ((width - (columns - 1) * PITCH) / 2, (height - (rows - 1) * PITCH) / 2)
    layout = Layout(Grid(columns, rows), origin)
    blocks = max(1.0, columns * rows / 900)
    _pour(layout, width, height, rng)
    for place, count in (
        (_mounting_hole, rng.choice((0, 1, 1)) * blocks),
        (_integrated_circuit, blocks * rng.choice((1, 2, 2))),
        (_header, blocks),
        (_chip, 6 * blocks),
        (_via, 12 * blocks),
    ):
        for _ in range(round(count)):
            _try_place(layout, place, rng)
    _ports(layout, rng)
    _wire(layout, rng)
    return layout


def _try_place(layout: Layout, place: Place, rng: Random) -> None:
    layout.next_part()
    for _ in range(40):
        if place(layout, rng.randrange(layout.grid.columns), rng.randrange(layout.grid.rows), rng):
            return


def _pour(layout: Layout, width: int, height: int, rng: Random) -> None:
    """Fill a corner with copper, in which drilled holes and insulated rings stand."""
    columns, rows = layout.grid.columns, layout.grid.rows
    wide, high = rng.randint(columns // 4, columns // 2), rng.randint(rows // 8, max(rows // 8, rows // 4))
    at_right, at_bottom = rng.random() < 0.5, rng.random() < 0.5
    cells = [
        (c if not at_right else columns - 1 - c, r if not at_bottom else rows - 1 - r)
        for c in range(wide)
        for r in range(high)
    ]
    net = layout.new_net()
    layout.grid.claim(cells, net, solid=True)
    edge_x, edge_y = layout.at((wide - 1, high - 1))
    right, bottom = edge_x + 6, edge_y + 6
    beyond = 4 * PITCH
    left, top = float(-beyond), float(-beyond)
    if at_right:
        left, right = width - 1 - right, width - 1.0 + beyond
    if at_bottom:
        top, bottom = height - 1 - bottom, height - 1.0 + beyond
    layout.copper.append((chamfered(left, top, right, bottom, 14), net))
    inner = [(c, r) for c, r in cells if {(c + i, r + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} <= set(cells)]
    rng.shuffle(inner)
    taken: list[Cell] = []
    for number, cell in enumerate(inner):
        if any(math.dist(cell, other) < 3 for other in taken):
            continue
        taken.append(cell)
        x, y = layout.at(cell)
        if number % 3 == 0:
            layout.clearances.append(disc(x, y, 15))
            layout.islands.append((disc(x, y, 9.5), layout.new_net()))
        layout.holes.append(disc(x, y, 4))
        if len(taken) > len(cells) // 24:
            break


def _mounting_hole(layout: Layout, column: int, row: int, _: Random) -> bool:
    if not layout.free(column - 2, row - 2, 5, 5, margin=0):
        return False
    x, y = layout.at((column, row))
    net = layout.new_net()
    layout.copper.append((disc(x, y, 38), net))
    layout.holes.append(disc(x, y, 23))
    near = [(column + i, row + j) for i in range(-2, 3) for j in range(-2, 3) if abs(i * j) < 4]
    layout.grid.claim(near, net, solid=True)
    return True


def _integrated_circuit(layout: Layout, column: int, row: int, rng: Random) -> bool:
    pins, gap = rng.randint(4, 7), rng.randint(3, 4)
    if not layout.free(column, row, gap + 4, pins, margin=2):
        return False
    for pin in range(pins):
        for c in (column, column + gap + 2):
            x, y = layout.at((c + 0.5, row + pin))
            layout.pad(box(x, y, PITCH + 14, 11, corner=1.5), ((c, row + pin), (c + 1, row + pin)))
    return True


def _header(layout: Layout, column: int, row: int, rng: Random) -> bool:
    pins = rng.randint(4, 6)
    upright = rng.random() < 0.5
    columns, rows = (3, 2 * pins - 1) if upright else (2 * pins - 1, 3)
    if not layout.free(column, row, columns, rows):
        return False
    for c in range(column, column + columns, 2):
        for r in range(row, row + rows, 2):
            x, y = layout.at((c, r))
            first = (c, r) == (column, row)
            layout.pad(box(x, y, 22, 22) if first else disc(x, y, 11), ((c, r),))
            layout.holes.append(disc(x, y, 5))
    return True


def _chip(layout: Layout, column: int, row: int, rng: Random) -> bool:
    upright = rng.random() < 0.5
    columns, rows = (1, 3) if upright else (3, 1)
    if not layout.free(column, row, columns, rows):
        return False
    for end in (0, 2):
        c, r = (column, row + end) if upright else (column + end, row)
        x, y = layout.at((c, r))
        layout.pad(box(x, y, 22 if upright else 17, 17 if upright else 22), ((c, r),))
    return True


def _via(layout: Layout, column: int, row: int, _: Random) -> bool:
    if not layout.free(column, row, 1, 1):
        return False
    x, y = layout.at((column, row))
    layout.pad(disc(x, y, 8.5), ((column, row),))
    layout.holes.append(disc(x, y, 3.5))
    return True


def _ports(layout: Layout, rng: Random) -> None:
    """Let bundles of traces leave the picture at its edges, as they do where it shows a part of a board."""
    columns, rows = layout.grid.columns, layout.grid.rows
    sides: list[tuple[list[Cell], Cell]] = [
        ([(c, 0) for c in range(1, columns - 1)], (0, -2)),
        ([(c, rows - 1) for c in range(1, columns - 1)], (0, 2)),
        ([(0, r) for r in range(1, rows - 1)], (-2, 0)),
        ([(columns - 1, r) for r in range(1, rows - 1)], (2, 0)),
    ]
    for cells, away in sides:
        layout.next_part()
        start = rng.randrange(max(1, len(cells) - 4))
        for cell in cells[start : start + rng.randint(2, 4)]:
            if layout.grid.is_free(cell):
                outside = (cell[0] + away[0], cell[1] + away[1])
                layout.pad(capsule(*layout.at(cell), *layout.at(outside), 8), (cell,))


def _wire(layout: Layout, rng: Random) -> None:
    """Join terminals to near ones of other nets, shortest first, at most two routes a terminal."""
    terminals = layout.terminals
    pairs = []
    for index, terminal in enumerate(terminals):
        others = sorted(
            (math.dist(terminal.cells[0], other.cells[0]) + rng.random() * 6, number)
            for number, other in enumerate(terminals)
            if other.part != terminal.part and math.dist(terminal.cells[0], other.cells[0]) > 3
        )
        pairs += [(length, index, number) for length, number in others[:6]]
    routes = [0] * len(terminals)
    nets = [terminal.net for terminal in terminals]
    for _, start, goal in sorted(pairs):
        if nets[start] == nets[goal] or routes[start] > 0 or routes[goal] > 1:
            continue
        path = layout.grid.route(terminals[start].cells, set(terminals[goal].cells))
        if path is None or len(path) < 3:
            continue
        layout.grid.lay(path, nets[start])
        routes[start] += 1
        routes[goal] += 1
        _join(layout, nets, nets[goal], nets[start])
        _draw(layout, path, nets[start], rng.choice(TRACE_WIDTHS))


def _join(layout: Layout, nets: list[int], net: int, into: int) -> None:
    """Make one net another's, in the grid and in what was drawn."""
    layout.grid.merge(net, into)
    nets[:] = [into if number == net else number for number in nets]
    layout.copper[:] = [(shape, into if number == net else number) for shape, number in layout.copper]
    layout.tracks[:] = [Track(into, t.x1, t.y1, t.x2, t.y2, t.width) if t.net == net else t for t in layout.tracks]


def _draw(layout: Layout, path: list[Cell], net: int, width: float) -> None:
    corners = [path[0]]
    for before, here, after in zip(path, path[1:], path[2:], strict=False):
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1]):
            corners.append(here)
    corners.append(path[-1])
    for start, end in pairwise(corners):
        x1, y1 = layout.at(start)
        x2, y2 = layout.at(end)
        layout.copper.append((capsule(x1, y1, x2, y2, width), net))
        layout.tracks.append(Track(net, x1, y1, x2, y2, width))
