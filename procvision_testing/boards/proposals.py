"""Where a defect could be, by lot: one function a kind. Whether it is one there, `_defects` checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from procvision_testing.boards.canvas import Shape, blob, capsule, union

if TYPE_CHECKING:
    from procvision_testing.boards.board import Board
    from procvision_testing.boards.layout import Track

END_PX = 16.0
"""A cut or a bridge stays so far from the ends of a straight piece of a trace."""
SHORT_PX = (5, 34)
"""How wide a gap a bridge crosses."""


@frozen
class Proposal:
    """A shape to lay (``adds``) or to take away, and what it may touch."""

    shape: Shape
    adds: bool
    nets: frozenset[int]
    """The nets within ``reach_px`` of the shape: these, and no other."""
    reach_px: float
    inside: bool = False
    """Whether everything within reach must be copper."""
    rewires: bool = False
    """Whether it changes how nets hang together; no net takes part in two such defects."""


@define
class Surface:
    """A board as the proposals look at it."""

    board: Board
    rng: Random
    metal: NDArray[np.intp] = field(init=False)
    edges: NDArray[np.intp] = field(init=False)

    def __attrs_post_init__(self) -> None:
        mask = self.board.nets > 0
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        self.metal = np.flatnonzero(mask)
        self.edges = np.flatnonzero(mask & ~inner)

    def net_at(self, x: float, y: float) -> int | None:
        """Give the net at a point in pixels, 0 for substrate, None outside the picture."""
        column, row = round(x), round(y)
        if not (0 <= column < self.board.width and 0 <= row < self.board.height):
            return None
        return int(self.board.nets[row, column])

    def pick(self, pixels: NDArray[np.intp]) -> tuple[int, int]:
        """Draw one of the pixels (their positions in the flattened picture), as x and y."""
        row, column = divmod(int(pixels[self.rng.randrange(len(pixels))]), self.board.width)
        return column, row

    def walk(self, x: float, y: float, direction: tuple[float, float], most: int) -> tuple[int, int | None]:
        """Walk until the net changes: how many pixels (at most ``most``), and the net that is there."""
        start = here = self.net_at(x, y)
        for step in range(1, most + 1):
            here = self.net_at(x + step * direction[0], y + step * direction[1])
            if here != start:
                return step, here
        return most, here

    def pick_track(self) -> tuple[Track, float, float, tuple[float, float]] | None:
        """Draw a place on a straight trace: the piece, the point on its axis, and the unit vector along it."""
        tracks = self.board.tracks
        if not tracks:
            return None
        track = tracks[self.rng.randrange(len(tracks))]
        length = math.hypot(track.x2 - track.x1, track.y2 - track.y1)
        if length < 2 * END_PX:
            return None
        along = ((track.x2 - track.x1) / length, (track.y2 - track.y1) / length)
        at = self.rng.uniform(END_PX, length - END_PX)
        return track, track.x1 + at * along[0], track.y1 + at * along[1], along

    def pick_edge(self) -> tuple[int, int, tuple[float, float]] | None:
        """Draw a pixel on an edge of copper, with the unit vector that points to the substrate."""
        if not len(self.edges):
            return None
        x, y = self.pick(self.edges)
        around = self.board.nets[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
        if around.shape != (7, 7):
            return None
        rows, columns = np.nonzero(around == 0)
        dx, dy = float(columns.mean()) - 3, float(rows.mean()) - 3
        length = math.hypot(dx, dy)
        return (x, y, (dx / length, dy / length)) if length > 0.5 else None

    def waves(self) -> list[tuple[int, float, float]]:
        """Draw how a blob's edge wavers."""
        return [(count, self.rng.uniform(0.03, 0.13), self.rng.uniform(0, math.tau)) for count in (2, 3, 5)]


def _open(surface: Surface) -> Proposal | None:
    place = surface.pick_track()
    if place is None:
        return None
    track, x, y, along = place
    rng = surface.rng
    slant = rng.uniform(-0.4, 0.4)
    across = (-along[1] + slant * along[0], along[0] + slant * along[1])
    gap = rng.uniform(3.5, 8.0)
    half = track.width / 2 + 1.5
    cut = capsule(x - half * across[0], y - half * across[1], x + half * across[0], y + half * across[1], gap)
    ragged = blob(x, y, gap * 0.7, surface.waves())
    return Proposal(union([cut, ragged]), False, frozenset({track.net}), 2.0, rewires=True)


def _short(surface: Surface) -> Proposal | None:
    place = surface.pick_track()
    if place is None:
        return None
    track, x, y, along = place
    rng = surface.rng
    side = rng.choice((-1, 1))
    across = (-along[1] * side, along[0] * side)
    start = track.width / 2 + 1
    gap, other = surface.walk(x + start * across[0], y + start * across[1], across, SHORT_PX[1])
    if gap < SHORT_PX[0] or not other or other == track.net:
        return None
    width = rng.uniform(2.6, 4.6)
    length = start + gap + 2.0
    stops = (start - 3, start + gap * 0.3, start + gap * 0.65, length)
    sway = (0.0, rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5), 0.0)
    points = [
        (x + at * across[0] + off * along[0], y + at * across[1] + off * along[1])
        for at, off in zip(stops, sway, strict=True)
    ]
    strokes = [capsule(*a, *b, width) for a, b in pairwise(points)]
    return Proposal(union(strokes), True, frozenset({track.net, other}), 2.5, rewires=True)


def _mousebite(surface: Surface) -> Proposal | None:
    place = surface.pick_edge()
    if place is None:
        return None
    x, y, outward = place
    rng = surface.rng
    thickness, _ = surface.walk(x, y, (-outward[0], -outward[1]), 24)
    deepest = min(8.0, thickness - max(2.8, 0.35 * thickness))
    if deepest < 2.4:
        return None
    depth = rng.uniform(2.4, deepest)
    radius = rng.uniform(max(2.4, depth * 0.6), 5.0)
    inset = depth - radius
    bite = blob(x - inset * outward[0], y - inset * outward[1], radius, surface.waves())
    net = surface.net_at(x, y)
    return Proposal(bite, False, frozenset({net or 0}), 2.0)


def _spur(surface: Surface) -> Proposal | None:
    place = surface.pick_edge()
    if place is None:
        return None
    x, y, outward = place
    rng = surface.rng
    room, _ = surface.walk(x + outward[0] * 1.5, y + outward[1] * 1.5, outward, 16)
    if room < 8:
        return None
    length = rng.uniform(4.0, min(11.0, room - 3.5))
    slant = rng.uniform(-0.35, 0.35)
    lean = (outward[0] - slant * outward[1], outward[1] + slant * outward[0])
    width = rng.uniform(2.6, 5.0)
    tip = (x + length * lean[0], y + length * lean[1])
    stem = capsule(x - 2 * outward[0], y - 2 * outward[1], *tip, width)
    knob = blob(*tip, width * 0.62, surface.waves())
    net = surface.net_at(x, y)
    return Proposal(union([stem, knob]), True, frozenset({net or 0}), 2.5)


def _copper(surface: Surface) -> Proposal | None:
    rng = surface.rng
    x, y = rng.uniform(0, surface.board.width - 1), rng.uniform(0, surface.board.height - 1)
    stretch = rng.uniform(1.0, 1.9)
    island = blob(x, y, rng.uniform(2.6, 5.0), surface.waves(), stretch, rng.uniform(0, math.pi))
    return Proposal(island, True, frozenset(), 3.5)


def _pin_hole(surface: Surface) -> Proposal | None:
    if not len(surface.metal):
        return None
    x, y = surface.pick(surface.metal)
    hole = blob(x, y, surface.rng.uniform(1.8, 3.4), surface.waves(), surface.rng.uniform(1.0, 1.5))
    net = surface.net_at(x, y)
    return Proposal(hole, False, frozenset({net or 0}), 2.0, inside=True)


PROPOSERS: Mapping[str, Callable[[Surface], Proposal | None]] = MappingProxyType(
    {
        "open": _open,
        "short": _short,
        "mousebite": _mousebite,
        "spur": _spur,
        "copper": _copper,
        "pin-hole": _pin_hole,
    }
)
"""Label -> the function that proposes one."""
