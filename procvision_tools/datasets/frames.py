"""Whether a data set's truths lie on its pictures: what any layout's reader can't see of one file alone."""

from __future__ import annotations

from collections.abc import Sequence

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth
from procvision_tools.names import shown
from procvision_tools.sources.picture_files import Header, PictureFileError, look

OVERHANG_PX = 1.0
"""Corners are rounded, and counted from 0 or from 1: a box may reach beyond its picture by so much without a word."""
_NAMED = 3


def check(dataset: Dataset) -> tuple[str, ...]:
    """Hold every truth against its picture's frame, and give notes. Raises DatasetError.

    A box whose centre lies off its picture is an error: it is of another picture, or in another scale. One that reaches
    beyond the edge is taken as it is, with a note.
    """
    _check_names(dataset.samples)
    over: list[str] = []
    turned: list[str] = []
    for sample in dataset.samples:
        try:
            header = look(sample.image)
        except PictureFileError as error:
            raise DatasetError(str(error)) from error
        if header.orientation != 1:
            turned.append(f"{sample.name} ({header.orientation})")
        over += [
            _told(truth, sample) for truth in (*sample.truths, *sample.crowds) if _overhangs(truth, header, sample)
        ]
    notes = []
    if over:
        notes.append(f"{_count(over, 'box reaches', 'boxes reach')} beyond the picture: {_first(over)}")
    if turned:
        notes.append(
            f"{_count(turned, 'picture has', 'pictures have')} an EXIF orientation, which is not applied: truths must"
            f" be in the pixels as the camera saw them: {_first(turned)}"
        )
    return tuple(notes)


def _check_names(samples: Sequence[Sample]) -> None:
    known: dict[str, Sample] = {}
    for sample in samples:
        other = known.setdefault(sample.name, sample)
        if other is not sample:
            raise DatasetError(
                f"two pictures have the id {sample.name}: {shown(other.image)} and {shown(sample.image)}"
            )


def _overhangs(truth: Truth, header: Header, sample: Sample) -> bool:
    x, y = truth.x + truth.width / 2, truth.y + truth.height / 2
    if not (0 <= x <= header.width and 0 <= y <= header.height):
        turned = header.orientation in range(5, 9)
        hint = (
            f"the picture has the EXIF orientation {header.orientation}: is the box in the turned one?"
            if turned
            else ("is it of another picture, or in another scale?")
        )
        raise DatasetError(
            f"{_told(truth, sample)}: the box {truth.width:g} x {truth.height:g} at {truth.x:g},{truth.y:g} lies off"
            f" {shown(sample.image)}, which has {header.width} x {header.height} pixels\nhint: {hint}"
        )
    return (
        min(truth.x, truth.y) < -OVERHANG_PX
        or truth.x + truth.width > header.width + OVERHANG_PX
        or truth.y + truth.height > header.height + OVERHANG_PX
    )


def _told(truth: Truth, sample: Sample) -> str:
    return truth.place or sample.name


def _count(found: Sequence[str], one: str, many: str) -> str:
    return f"1 {one}" if len(found) == 1 else f"{len(found)} {many}"


def _first(found: Sequence[str]) -> str:
    return ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
