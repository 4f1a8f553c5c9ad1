"""YOLO's layout: pictures in `images/…`, for each a text of the same name in `labels/…`, and the classes' names.

A line of a text is `class x y width height`, the box's centre and size as fractions of the picture's; what follows (a
segment, a confidence) is not read. Names come from `data.yaml` (any `*.yaml` with `names`) or `classes.txt`. A picture
without a text, or with an empty one, is a good product. Splits (`images/train`, `images/val`) are the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from procvision_tools.datasets.samples import PICTURE_SUFFIXES, Dataset, DatasetError, Sample, Truth, text_of
from procvision_tools.extras import need

LAYOUT = "yolo"


def recognise(folder: Path) -> bool:
    """Whether a folder looks like one."""
    return folder.is_dir() and any(_label_folders(folder)) and bool(_images(folder))


def read(folder: Path) -> Dataset:
    """Read all pictures of a folder. Raises DatasetError, and MissingExtraError without Pillow or PyYAML."""
    names = _names(folder)
    samples = [_sample(folder, image, names) for image in _images(folder)]
    if not samples:
        raise DatasetError(f"{folder} has no pictures in YOLO's layout: none below images/")
    return Dataset(layout=LAYOUT, folder=folder, samples=tuple(samples))


def _label_folders(folder: Path) -> list[Path]:
    return [path for path in (folder / "labels", *folder.glob("*/labels")) if path.is_dir()]


def _images(folder: Path) -> list[Path]:
    """Below images/, and below the splits' own (`train/images`)."""
    return sorted(
        path
        for home in (folder / "images", *folder.glob("*/images"))
        for path in home.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
    )


def _names(folder: Path) -> Sequence[str]:
    classes = folder / "classes.txt"
    if classes.is_file():
        return [line.strip() for line in text_of(classes).splitlines() if line.strip()]
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        yaml = need("yaml", "PyYAML", "reading YOLO's data.yaml")
        try:
            told: Any = yaml.safe_load(text_of(path))
        except yaml.YAMLError as error:
            raise DatasetError(f"{path} is no YAML: {error}") from error
        names = told.get("names") if isinstance(told, dict) else None
        if isinstance(names, dict) and sorted(names) == list(range(len(names))):
            return [str(names[number]) for number in range(len(names))]
        if isinstance(names, list):
            return [str(name) for name in names]
    raise DatasetError(
        f"{folder} doesn't name its classes: neither classes.txt nor a *.yaml with `names`"
        "\nhint: write their names into classes.txt, one a line, class 0 first"
    )


def _sample(folder: Path, image: Path, names: Sequence[str]) -> Sample:
    parts = list(image.relative_to(folder).parts)
    at = parts.index("images")
    text = folder.joinpath(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")
    truths = _truths(text, names, _size(image)) if text.is_file() else ()
    group = parts[at + 1] if len(parts) > at + 2 else (parts[0] if at else "")
    return Sample(name=str(image.relative_to(folder)), group=group, image=image, truths=truths, defective=bool(truths))


def _size(image: Path) -> tuple[int, int]:
    try:
        with need("PIL.Image", "Pillow", "reading a picture's size").open(image) as picture:
            width, height = picture.size
            return width, height
    except OSError as error:
        raise DatasetError(f"{image} is no picture, so its boxes have no size in pixels: {error}") from error


def _truths(path: Path, names: Sequence[str], size: tuple[int, int]) -> tuple[Truth, ...]:
    truths = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            kind = int(words[0])
            x, y, width, height = map(float, words[1:5])
        except ValueError as error:
            raise DatasetError(f"{path}:{number} is {line!r:.60}: expected was `class x y width height`") from error
        if not 0 <= kind < len(names):
            raise DatasetError(f"{path}:{number}: class is {kind}, it is 0..{len(names) - 1}")
        if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
            raise DatasetError(f"{path}:{number} is {line!r:.60}: centre and size are fractions of the picture, 0..1")
        truths.append(
            Truth((x - width / 2) * size[0], (y - height / 2) * size[1], width * size[0], height * size[1], names[kind])
        )
    return tuple(truths)
