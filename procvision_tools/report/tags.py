"""Where the tag of a box goes: beside it, over no other box or tag where there is room."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen


@frozen
class Frame:
    """A rectangle in pixels: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def within(self, width: float, height: float) -> Frame:
        """Give the part that lies in a picture of width x height: an edge outside of it would be drawn nowhere."""
        left, top = min(max(self.x, 0.0), width), min(max(self.y, 0.0), height)
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        return Frame(left, top, max(0.0, right - left), max(0.0, bottom - top))

    def overlap(self, other: Frame) -> float:
        """Give the area in common with another, in pixels."""
        wide = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        high = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return wide * high if wide > 0 and high > 0 else 0.0


def place_tags(boxes: Sequence[Frame], sizes: Sequence[tuple[float, float]], width: float, height: float,
               gap: float = 0.0) -> list[Frame]:  # fmt: skip
    """Give a tag's place for each box, ``sizes`` being the tags' widths and heights.

    All tags lie inside a picture of width x height (where they fit at all), ``gap`` pixels from their boxes.
    """
    placed: list[Frame] = []
    for box, (wide, high) in zip(boxes, sizes, strict=True):
        others = [other for other in boxes if other is not box] + placed
        candidates = [
            Frame(min(max(x, 0.0), max(0.0, width - wide)), min(max(y, 0.0), max(0.0, height - high)), wide, high)
            for x, y in _around(box, wide, high, gap)
        ]
        placed.append(min(candidates, key=lambda tag: sum(tag.overlap(other) for other in [box, *others])))
    return placed


def _around(box: Frame, wide: float, high: float, gap: float) -> list[tuple[float, float]]:
    """Give the places to try, best first."""
    left, right = box.x - wide - gap, box.x + box.width + gap
    above, below = box.y - high - gap, box.y + box.height + gap
    flush_right, middle = box.x + box.width - wide, box.y + (box.height - high) / 2
    return [
        (box.x, above),
        (flush_right, above),
        (box.x, below),
        (flush_right, below),
        (right, middle),
        (left, middle),
        (right, above),
        (left, above),
        (right, below),
        (left, below),
        (right + wide / 2, middle),
        (box.x, above - high),
        (box.x, below + high),
    ]
