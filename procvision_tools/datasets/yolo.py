"""YOLO's layout: pictures in `images/…`, for each a text of the same name in `labels/…`, and the classes' names.

A line of a text is, by the number of its words, `class x y width height` (5; 6 with a confidence, which is not read),
the box's centre and size as fractions of the picture's; or `class x1 y1 x2 y2 …`, the corners of a segment or a turned
box (9 and more, an even number of coordinates), whose bounding box is taken. Where a `*.yaml` has `kpt_shape`, what
follows the box are key points. Names come from a `*.yaml` with `names`, `classes.txt` or `obj.names`. A picture without
a text, or with an empty one, is a good product. Splits (`images/train`, `images/val`) are the groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from attrs import frozen

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth, check_truths, text_of
from procvision_tools.extras import need
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import NOT_READ, OTHER_PICTURES, FolderFiles, is_picture
from procvision_tools.sources.picture_files import PictureFileError, look

LAYOUT = "yolo"
_NAMES = frozenset({"classes.txt", "obj.names"})
_ROUNDING = 1e-3
"""A fraction may be above 1 by so much: writers round."""


@frozen
class _Classes:
    names: Sequence[str]
    key_points: int
    """How many words of a line belong to them; 0 where the data set has none."""


def recognise(files: FolderFiles) -> bool:
    """Return whether a folder looks like one."""
    roots = [files.folder, *{files.folder / files.below(path)[0] for path in files.files if len(files.below(path)) > 1}]
    return any((root / "labels").is_dir() for root in roots) and any(_at(files, path, "images") is not None
                                                                     for path in files.pictures())  # fmt: skip


_OTHER_TRUTHS = frozenset({".json", ".xml", ".csv", ".jsonl", ".npy", ".npz", ".mat", ".pkl"})
"""Suffixes under which other tools keep truths: LabelMe, Pascal VOC, tables, masks as arrays."""


def read(files: FolderFiles) -> Dataset:
    """Read all pictures of a folder. Raises DatasetError, and MissingExtraError without PyYAML."""
    check_truths(files, "labels")
    images: dict[PurePath, Path] = {}
    texts: dict[PurePath, Path] = {}
    others: dict[PurePath, Path] = {}
    for path in files.files:
        if is_picture(path) or path.suffix.lower() in OTHER_PICTURES:
            _put(images, _key(files, path, "images"), path)
        elif path.suffix.lower() == ".txt" and path.name.lower() not in _NAMES:
            _put(texts, _key(files, path, "labels") or _key(files, path, "images"), path)
        elif path.suffix.lower() in _OTHER_TRUTHS:
            _put(others, _key(files, path, "labels") or _key(files, path, "images"), path)
    for key in others.keys() & images.keys() - texts.keys():
        raise DatasetError(
            f"{shown(others[key])} has the name of {shown(images[key])}, which has no text: as a good product it would "
            f"count\nhint: truths are read from *.txt; convert {shown(others[key].name)}, or take it away"
        )
    classes = _classes(files)
    samples, without, twice = [], 0, 0
    for key, image in images.items():
        text = texts.pop(key, None)
        if not is_picture(image):
            files.leave_out(NOT_READ, image)
            if text is not None:
                files.leave_out("of a picture that is not read", text)
            continue
        files.take(image, *([text] if text is not None else []))
        without += text is None
        found = _truths(text, classes, image) if text is not None else []
        truths = tuple(dict.fromkeys(found))
        twice += len(found) - len(truths)
        samples.append(
            Sample(
                name=files.name(image), group=_group(files, image), image=image, truths=truths, defective=bool(truths)
            )
        )
    for key, text in texts.items():
        raise DatasetError(
            f"{shown(text)} has no picture: there is no {shown(key)} with a picture's suffix in images/"
            "\nhint: a picture and its text have the same name, in images/ and in labels/"
        )
    notes = []
    if without:
        notes.append(f"{_pictures(without)} no text in labels/: good products, by this layout's rule")
    if twice:
        notes.append(f"lines that stand there twice count once: {twice}")
    return Dataset(
        layout=LAYOUT,
        folder=files.folder,
        samples=tuple(sorted(samples, key=lambda sample: sample.image)),
        notes=(*notes, *files.notes()),
    )


def _pictures(count: int) -> str:
    return "1 picture has" if count == 1 else f"{count} pictures have"


def _at(files: FolderFiles, path: Path, folder: str) -> int | None:
    """Return where `images` or `labels` stands in a path: first, or below a split's folder."""
    parts = files.below(path)
    return next((at for at in (0, 1) if len(parts) > at + 1 and parts[at] == folder), None)


def _key(files: FolderFiles, path: Path, folder: str) -> PurePath | None:
    """Give what a picture and its text have in common."""
    at = _at(files, path, folder)
    if at is None:
        return None
    parts = files.below(path)
    return PurePath(*parts[:at], "images", *parts[at + 1 :]).with_suffix("")


def _put(known: dict[PurePath, Path], key: PurePath | None, path: Path) -> None:
    if key is None:
        return
    if key in known:
        raise DatasetError(f"two files have the id {shown(key)}: {shown(known[key])} and {shown(path)}")
    known[key] = path


def _group(files: FolderFiles, image: Path) -> str:
    parts, at = files.below(image), _at(files, image, "images")
    assert at is not None
    return shown(parts[at + 1] if len(parts) > at + 2 else (parts[0] if at else ""))


def _classes(files: FolderFiles) -> _Classes:
    """Find the names. Raises DatasetError where there are none, or two files disagree."""
    found: dict[Path, Sequence[str]] = {}
    key_points = 0
    for path in files.files:
        beside = len(files.below(path)) == 1
        if path.name.lower() in _NAMES and (beside or _at(files, path, "labels") is not None):
            lines = [line.strip() for line in text_of(path).rstrip().splitlines()]
            if "" in lines:
                raise DatasetError(f"{shown(path)}:{lines.index('') + 1} is empty: which class has no name?")
            found[path] = lines
        elif beside and path.suffix.lower() in (".yaml", ".yml"):
            told = _yaml(path)
            names = told.get("names")
            if isinstance(names, dict) and sorted(names) == list(range(len(names))):
                found[path] = [str(names[number]) for number in range(len(names))]
            elif isinstance(names, list):
                found[path] = [str(name) for name in names]
            if path in found and isinstance(told.get("kpt_shape"), list):
                key_points = math.prod(number for number in told["kpt_shape"] if isinstance(number, int))
    files.take(*found)
    if not found:
        raise DatasetError(
            f"{shown(files.folder)} doesn't name its classes: neither classes.txt nor a *.yaml with `names`"
            "\nhint: write their names into classes.txt, one a line, class 0 first"
        )
    first, names = next(iter(found.items()))
    for path, others in found.items():
        if list(others) != list(names):
            raise DatasetError(f"{shown(first)} and {shown(path)} name the classes differently")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DatasetError(f"{shown(first)}: the classes {names.index(name)} and {number} are both called {name}")
    return _Classes(names, key_points)


def _yaml(path: Path) -> dict[str, Any]:
    yaml = need("yaml", "PyYAML", "reading YOLO's data.yaml")
    try:
        told: Any = yaml.safe_load(text_of(path))
    except yaml.YAMLError as error:
        raise DatasetError(f"{shown(path)} is no YAML: {error}") from error
    return told if isinstance(told, dict) else {}


def _truths(path: Path, classes: _Classes, image: Path) -> list[Truth]:
    try:
        size = look(image)
    except PictureFileError as error:
        raise DatasetError(f"{error}; so its boxes have no size in pixels") from error
    truths = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        place = f"{shown(path)}:{number}"
        try:
            given = float(words[0])
            numbers = list(map(float, words[1:]))
        except ValueError as error:
            raise DatasetError(f"{place} is {line!r:.60}: expected was `class x y width height`") from error
        if not (given.is_integer() and 0 <= given < len(classes.names)):
            raise DatasetError(f"{place}: class is {words[0]}, it is 0..{len(classes.names) - 1}")
        x, y, width, height = _box(numbers, classes.key_points, f"{place} is {line!r:.60}")
        box = ((x - width / 2) * size.width, (y - height / 2) * size.height, width * size.width, height * size.height)
        truths.append(Truth(*box, classes.names[int(given)], place))
    return truths


def _box(numbers: Sequence[float], key_points: int, place: str) -> tuple[float, float, float, float]:
    """Give centre and size, as fractions, of a line's numbers. Raises DatasetError."""
    boxed = len(numbers) in (4, 5) or (key_points and len(numbers) == 4 + key_points)
    corners = not boxed and len(numbers) >= 8 and len(numbers) % 2 == 0
    if not boxed and not corners:
        raise DatasetError(
            f"{place}, {len(numbers) + 1} words: expected was `class x y width height`, or the class and an even number"
            " of coordinates, at least 8"
        )
    if not all(0 <= number <= 1 + _ROUNDING for number in (numbers[:4] if boxed else numbers)):
        raise DatasetError(f"{place}: {'centre and size' if boxed else 'corners'} are fractions of the picture, 0..1")
    if boxed:
        x, y, width, height = numbers[:4]
    else:
        left, top, right, bottom = min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
        x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    if not (width > 0 and height > 0):
        raise DatasetError(f"{place}: the box has no area, and its size is a fraction of the picture's, fractions 0..1")
    return x, y, width, height
