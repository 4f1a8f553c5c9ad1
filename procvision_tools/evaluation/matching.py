"""Which finding is right, by DeepPCB's protocol.

Findings are taken best score first. Each takes, of the truths that are still free (and, unless any label will do, have
its label), the one that it overlaps most; it is right when their intersection over union is *over* the bound. So each
truth is found once at the most, and a second finding of it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen


class Box(Protocol):
    """A labelled rectangle in pixels, x and y its upper left corner."""

    @property
    def x(self) -> float:
        """Left."""

    @property
    def y(self) -> float:
        """Top."""

    @property
    def width(self) -> float:
        """In pixels."""

    @property
    def height(self) -> float:
        """In pixels."""

    @property
    def label(self) -> str:
        """What it is called."""


class Scored(Box, Protocol):
    """A finding."""

    @property
    def score(self) -> float:
        """How sure it is."""


@frozen
class Pair:
    """A finding, by its place in the list that was matched, and the truth that it takes; None where it is wrong."""

    finding: int
    truth: int | None
    iou: float
    """With that truth; 0 for none."""


def iou(one: Box, other: Box) -> float:
    """Return the area that two boxes share over the area that they cover together, 0 to 1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    if width <= 0:
        return 0.0
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if height <= 0:
        return 0.0
    both = width * height
    return both / (one.width * one.height + other.width * other.height - both)


def covered(one: Box, other: Box) -> float:
    """Give the share of one box's area that lies in the other, 0 to 1."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return width * height / (one.width * one.height) if width > 0 and height > 0 else 0.0


def match(
    findings: Sequence[Scored],
    truths: Sequence[Box],
    min_iou: float,
    *,
    any_label: bool = False,
    crowds: Sequence[Box] = (),
) -> list[Pair]:
    """Give a pair for each finding, best score first; of equal scores the earlier one goes first.

    A finding that takes no truth and lies in a crowd, by more than ``min_iou`` of its own area, has no pair: it is
    neither right nor wrong, as pycocotools has it.
    """
    free = list(range(len(truths)))
    pairs = []
    for at in sorted(range(len(findings)), key=lambda index: -findings[index].score):
        finding = findings[at]
        fitting = [
            (iou(finding, truths[index]), -index) for index in free if any_label or truths[index].label == finding.label
        ]
        overlap, negative = max(fitting, default=(0.0, 0))
        if overlap > min_iou:
            free.remove(-negative)
            pairs.append(Pair(at, -negative, overlap))
        elif not any(
            covered(finding, crowd) > min_iou for crowd in crowds if any_label or crowd.label == finding.label
        ):
            pairs.append(Pair(at, None, 0.0))
    return pairs
