"""Puts defects on a board, each one checked to be what its label says before it is kept.

A shape is proposed by lot; it, and the same a little thicker and a little thinner, must change the number of
separate areas round it as `EFFECTS` says, and may touch only the nets that it is meant to touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, evolve, field, frozen

from procvision_testing.boards.canvas import Field, coverage_in, coverage_of
from procvision_testing.boards.components import count_components
from procvision_testing.boards.proposals import PROPOSERS, Proposal, Surface

if TYPE_CHECKING:
    from procvision_testing.boards.board import Board

Window = tuple[slice, slice]

EFFECTS: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {
        "open": (+1, None),
        "short": (-1, None),
        "mousebite": (0, 0),
        "spur": (0, 0),
        "copper": (+1, 0),
        "pin-hole": (0, +1),
    }
)
"""Label -> how the number of areas of copper, and of substrate, changes nearby (None: either way)."""
DEFECT_KINDS: tuple[str, ...] = tuple(EFFECTS)
TRIES = 800
"""So many places are tried for a defect before the board is said to have no room."""
SURROUNDINGS_PX = 9
"""So far round a defect its effect is checked, and nothing else changes."""
TOLERANCES_PX = (0.0, 0.8, -0.8)
"""A defect stays what it is when its edge moves by so much."""


@frozen
class PlacedDefect:
    """A defect on a picture: its label, and the box of what it changed (upper left corner and size, pixels)."""

    label: str
    x: int
    y: int
    width: int
    height: int


@define
class Site:
    """A board being damaged."""

    surface: Surface
    copper: Field
    placed: list[PlacedDefect] = field(factory=list)
    rewired: set[int] = field(factory=set)


def place_defects(board: Board, copper: Field, kinds: Iterable[str], seed: int, margin_px: int) -> list[PlacedDefect]:
    """Damage ``copper`` (H x W, share of each pixel) in place, one defect a kind, and tell where.

    Raises ValueError for an unknown kind, and where there is no room left.
    """
    site = Site(Surface(board, Random(seed)), copper)
    for kind in kinds:
        if kind not in PROPOSERS:
            raise ValueError(f"unknown kind of defect {kind!r}\nhint: one of {', '.join(DEFECT_KINDS)}")
        if not any(_place(site, kind) for _ in range(TRIES)):
            raise ValueError(
                f"no room for defect {len(site.placed) + 1} ({kind}) on a board of"
                f" {board.width} x {board.height} pixels\nhint: fewer defects, a larger board or another seed"
            )
    return [_widened(defect, margin_px, board) for defect in site.placed]


def _place(site: Site, kind: str) -> bool:
    """Try one place; say whether the defect is there now."""
    proposal = PROPOSERS[kind](site.surface)
    if proposal is None or (proposal.rewires and proposal.nets & site.rewired):
        return False
    covered = coverage_of(proposal.shape, *site.copper.shape)
    if covered is None:
        return False
    window, share = covered
    before = site.copper[window]
    after = _changed(before, share, proposal)
    found = _box_of(kind, window, before, after, antialias=site.surface.board.antialias)
    if found is None or not _has_room(site, found):
        return False
    if not _touches_only_its_nets(site, proposal) or not _has_its_effect(site, proposal, found):
        return False
    site.copper[window] = after
    site.placed.append(found)
    if proposal.rewires:
        site.rewired |= proposal.nets
    return True


def _changed(copper: Field, share: Field, proposal: Proposal) -> Field:
    return np.maximum(copper, share) if proposal.adds else np.minimum(copper, 1 - share)


def _box_of(kind: str, window: Window, before: Field, after: Field, *, antialias: bool) -> PlacedDefect | None:
    changed = np.rint(255 * before) != np.rint(255 * after) if antialias else (before >= 0.5) != (after >= 0.5)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if len(rows) < 3 or len(columns) < 3:
        return None
    left, top, right, bottom = int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
    return PlacedDefect(kind, window[1].start + left, window[0].start + top, right - left + 1, bottom - top + 1)


def _has_room(site: Site, found: PlacedDefect) -> bool:
    """Say whether a defect lies well inside the picture, and apart from the others."""
    gap = SURROUNDINGS_PX
    board = site.surface.board
    inside = gap <= found.x <= board.width - gap - found.width and gap <= found.y <= board.height - gap - found.height
    return inside and all(
        found.x > other.x + other.width + gap
        or other.x > found.x + found.width + gap
        or found.y > other.y + other.height + gap
        or other.y > found.y + found.height + gap
        for other in site.placed
    )


def _touches_only_its_nets(site: Site, proposal: Proposal) -> bool:
    left, top, right, bottom = proposal.shape.bounds
    reach = proposal.reach_px
    height, width = site.copper.shape
    window = (
        slice(max(0, int(top - reach) - 1), min(height, int(bottom + reach) + 2)),
        slice(max(0, int(left - reach) - 1), min(width, int(right + reach) + 2)),
    )
    within = coverage_in(window, proposal.shape, reach) >= 0.5
    touched = set(np.unique(site.surface.board.nets[window][within]).tolist())
    if proposal.inside:
        return touched == proposal.nets
    return touched - {0} == proposal.nets


def _has_its_effect(site: Site, proposal: Proposal, found: PlacedDefect) -> bool:
    gap = SURROUNDINGS_PX
    around = (
        slice(found.y - gap, found.y + found.height + gap),
        slice(found.x - gap, found.x + found.width + gap),
    )
    before = site.copper[around]
    copper_areas, substrate_areas = _areas(before)
    wanted_copper, wanted_substrate = EFFECTS[found.label]
    for tolerance in TOLERANCES_PX:
        after = _areas(_changed(before, coverage_in(around, proposal.shape, tolerance), proposal))
        if after[0] - copper_areas != wanted_copper:
            return False
        if wanted_substrate is not None and after[1] - substrate_areas != wanted_substrate:
            return False
    return True


def _areas(copper: Field) -> tuple[int, int]:
    mask = copper >= 0.5
    return count_components(mask, diagonal=True), count_components(~mask, diagonal=False)


def _widened(defect: PlacedDefect, by: int, board: Board) -> PlacedDefect:
    x, y = max(0, defect.x - by), max(0, defect.y - by)
    right, bottom = min(board.width, defect.x + defect.width + by), min(board.height, defect.y + defect.height + by)
    return evolve(defect, x=x, y=y, width=right - x, height=bottom - y)
