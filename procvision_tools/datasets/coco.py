"""COCO's layout: one JSON file with `images`, `annotations` and `categories`, and the pictures it names.

`bbox` is x, y, width, height in pixels. Pictures are looked for beside the file, in `images/` there, and in the folders
of that file's own name (`instances_val.json`: `val/`, `images/val/`). Annotations of crowds mark no single defect and
are left out, with a note.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth

LAYOUT = "coco"
_Id = int | str


class _Image(Struct):
    id: _Id
    file_name: str


class _Annotation(Struct):
    image_id: _Id
    category_id: _Id
    bbox: Annotated[list[float], Meta(min_length=4, max_length=4)]
    iscrowd: int = 0


class _Category(Struct):
    id: _Id
    name: str


class _File(Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def recognise(folder: Path) -> bool:
    """Whether a folder, or a file, looks like one."""
    return bool(_candidates(folder))


def read(folder: Path) -> Dataset:
    """Read the annotations of a folder, or of the JSON file that is given. Raises DatasetError."""
    candidates = _candidates(folder)
    if not candidates:
        raise DatasetError(f"{folder} holds no annotations in COCO's form: no *.json with images and annotations")
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise DatasetError(
            f"{folder} holds several files of annotations: {names}\nhint: name one instead of the folder"
        )
    path = candidates[0]
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_File)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{path} is not in COCO's form: {error}") from error
    home = folder if folder.is_dir() else folder.parent
    labels = {category.id: category.name for category in told.categories}
    truths, crowds = _truths(told, labels, path)
    samples = [
        Sample(
            name=image.file_name,
            image=_picture(home, path, image.file_name),
            truths=tuple(truths[image.id]),
            defective=bool(truths[image.id]),
        )
        for image in told.images
    ]
    notes = (f"{crowds} annotations of crowds were left out",) if crowds else ()
    return Dataset(
        layout=LAYOUT, folder=home, samples=tuple(sorted(samples, key=lambda sample: sample.name)), notes=notes
    )


def _candidates(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder] if folder.suffix.lower() == ".json" else []
    places = [*folder.glob("*.json"), *folder.glob("annotations/*.json")]
    return [path for path in sorted(places) if _has_annotations(path)]


def _has_annotations(path: Path) -> bool:
    try:
        told: Any = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return False
    return isinstance(told, dict) and {"images", "annotations", "categories"} <= told.keys()


def _truths(told: _File, labels: Mapping[_Id, str], path: Path) -> tuple[Mapping[_Id, list[Truth]], int]:
    known = {image.id for image in told.images}
    truths: defaultdict[_Id, list[Truth]] = defaultdict(list)
    crowds = 0
    for number, annotation in enumerate(told.annotations):
        place = f"{path}: annotations[{number}]"
        if annotation.image_id not in known:
            raise DatasetError(f"{place}: there is no image {annotation.image_id!r}")
        if annotation.category_id not in labels:
            raise DatasetError(f"{place}: there is no category {annotation.category_id!r}")
        x, y, width, height = annotation.bbox
        if width <= 0 or height <= 0:
            raise DatasetError(f"{place}: the bbox {annotation.bbox} has no area")
        if annotation.iscrowd:
            crowds += 1
            continue
        truths[annotation.image_id].append(Truth(x, y, width, height, labels[annotation.category_id]))
    return truths, crowds


def _picture(home: Path, path: Path, name: str) -> Path:
    split = path.stem.rsplit("_", 1)[-1]
    roots = (home, path.parent, path.parent.parent)
    below = ("", "images", split, f"images/{split}")
    for place in (root / folder / name for root in roots for folder in below):
        if place.is_file():
            return place
    raise DatasetError(
        f"{path} names the picture {name}, which is neither in {home} nor in its images/\nhint: put the pictures there"
    )
