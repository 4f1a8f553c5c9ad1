"""DeepPCB's layout: `<id>_test.jpg`, its reference `<id>_temp.jpg`, and `<id>.txt` with a defect a line.

A line is `x1 y1 x2 y2 type`, pixels, the corners included, separated by blanks or commas. The folder of a pair, below
the data set's, is its board group. The published layout has the texts in a sibling `<group>_not`: they are found there.
"""

from __future__ import annotations

from pathlib import Path

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth, text_of

LAYOUT = "deeppcb"
LABELS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
"""In the order of the types from 1, named as the data set's page names them."""
MIN_IOU = 0.33
"""The data set's own protocol."""
_PRODUCT, _REFERENCE = "_test.jpg", "_temp.jpg"


def recognise(folder: Path) -> bool:
    """Whether a folder looks like one."""
    return next(folder.rglob(f"*{_PRODUCT}"), None) is not None


def read(folder: Path) -> Dataset:
    """Read all pairs below a folder. Raises DatasetError for a missing reference or text, or a line that is none."""
    return Dataset(
        layout=LAYOUT,
        folder=folder,
        samples=tuple(_sample(folder, path) for path in sorted(folder.rglob(f"*{_PRODUCT}"))),
        min_iou=MIN_IOU,
    )


def _sample(folder: Path, image: Path) -> Sample:
    number = image.name.removesuffix(_PRODUCT)
    reference = image.with_name(number + _REFERENCE)
    if not reference.is_file():
        raise DatasetError(f"{image} has no reference: {reference.name} is missing beside it")
    truths = _truths(_text_beside(image, number))
    group = image.parent.name if image.parent != folder else ""
    return Sample(
        name=str(image.relative_to(folder).with_name(number)),
        group=group,
        image=image,
        reference=reference,
        truths=truths,
        defective=bool(truths),
    )


def _text_beside(image: Path, number: str) -> Path:
    home = image.parent
    places = [home / f"{number}.txt", home.with_name(f"{home.name}_not") / f"{number}.txt"]
    for place in places:
        if place.is_file():
            return place
    raise DatasetError(f"{image} has no truth: neither {' nor '.join(map(str, places))} exists")


def _truths(path: Path) -> tuple[Truth, ...]:
    truths = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            x1, y1, x2, y2, kind = map(int, line.replace(",", " ").split())
        except ValueError as error:
            raise DatasetError(
                f"{path}:{number} is {line!r:.60}: five integers were expected, x1 y1 x2 y2 type"
            ) from error
        if not 1 <= kind <= len(LABELS):
            raise DatasetError(f"{path}:{number}: type is {kind}, it is 1..{len(LABELS)}")
        if x2 < x1 or y2 < y1:
            raise DatasetError(f"{path}:{number}: the box {x1},{y1} to {x2},{y2} has no area")
        truths.append(Truth(x1, y1, x2 - x1 + 1, y2 - y1 + 1, LABELS[kind - 1]))
    return tuple(truths)
