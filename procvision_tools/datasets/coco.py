"""COCO's layout: one JSON file with `images`, `annotations` and `categories`, and the pictures it names.

`bbox` is x, y, width, height in pixels. Pictures are looked for beside the file, in `images/` there, and in the folders
of that file's own name (`instances_val.json`: `val/`, `images/val/`); a name that leads out of the data set's folder is
refused. An annotation with `iscrowd` marks a place with many defects, where a finding is neither right nor wrong, as
pycocotools has it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from procvision_sdk.regular_files import read_regular
from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import NOT_READ, FolderFiles, is_picture
from procvision_tools.sources.picture_files import PictureFileError, look

LAYOUT = "coco"
MAX_JSON_BYTES = 1 << 30
"""COCO's own training file has half of that."""
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_Id = int | str | float


class _Image(Struct):
    id: _Id
    file_name: str
    width: int | float | None = None
    height: int | float | None = None


class _Annotation(Struct):
    image_id: _Id
    category_id: _Id
    bbox: Annotated[list[float], Meta(min_length=4, max_length=4)]
    id: _Id | None = None
    iscrowd: int | None = 0


class _Category(Struct):
    id: _Id
    name: str


class _File(Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def recognise(files: FolderFiles) -> bool:
    """Return whether a folder, or a file, looks like one."""
    return bool(_candidates(files))


def home_of(file: Path) -> Path:
    """Give the data set's folder of a file of annotations."""
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def read(files: FolderFiles) -> Dataset:
    """Read the annotations of a folder, or of the JSON file that is given. Raises DatasetError."""
    folder = files.folder
    candidates = _candidates(files)
    if not candidates:
        raise DatasetError(
            f"{shown(folder)} holds no annotations in COCO's form: no *.json with images and annotations"
            "\nhint: --layout says another, or leave it out"
        )
    if len(candidates) > 1:
        names = ", ".join(shown(path.name) for path in candidates)
        raise DatasetError(
            f"{shown(folder)} holds several files of annotations: {names}\nhint: name one instead of the folder"
        )
    path = candidates[0]
    told, notes = _told(path)
    labels = _labels(told, path)
    _check_images(told, path)
    truths, crowds = _truths(told, labels, path)
    samples = []
    for image in told.images:
        picture = _picture(files, path, image.file_name)
        if not is_picture(picture):
            files.leave_out(NOT_READ, picture)
            continue
        files.take(picture)
        _check_frame(image, picture, path)
        samples.append(
            Sample(
                name=shown(image.file_name),
                image=picture,
                truths=tuple(truths[image.id]),
                crowds=tuple(crowds[image.id]),
                defective=bool(truths[image.id] or crowds[image.id]),
            )
        )
    files.take(path)
    if marked := sum(map(len, crowds.values())):
        notes.append(f"annotations of crowds, where findings are neither right nor wrong: {marked}")
    files.leave_out(f"{shown(path.name)} doesn't name them", *(path for path in files.left() if is_picture(path)))
    return Dataset(
        layout=LAYOUT,
        folder=folder,
        samples=tuple(sorted(samples, key=lambda sample: sample.name)),
        notes=(*notes, *files.notes()),
    )


def _candidates(files: FolderFiles) -> list[Path]:
    if files.named is not None:
        return [files.named] if files.named.suffix.lower() == ".json" else []
    places = [
        path
        for path in files.files
        if path.suffix.lower() == ".json" and files.below(path)[:-1] in ((), ("annotations",))
    ]
    return [path for path in places if _has_annotations(path)]


def _has_annotations(path: Path) -> bool:
    """Return whether a file is meant to be one, also where it is none: why not, the reader says."""
    try:
        data = read_regular(path, MAX_JSON_BYTES)
    except OSError:
        return False
    return b'"images"' in data.replace(b"\0", b"") and b'"annotations"' in data.replace(b"\0", b"")


def _told(path: Path) -> tuple[_File, list[str]]:
    """Read the file, and give notes. Raises DatasetError with the place of what is wrong."""
    try:
        data = read_regular(path, MAX_JSON_BYTES)
    except OSError as error:
        raise DatasetError(f"{shown(path)} can't be read: {error.strerror or error}") from error
    notes = []
    if data.startswith(_UTF16_MARKS):
        raise DatasetError(f"{shown(path)} is UTF-16, JSON is UTF-8\nhint: save it as UTF-8")
    if data.startswith(_UTF8_MARK):
        data = data.removeprefix(_UTF8_MARK)
        notes.append(f"{shown(path.name)} begins with a byte order mark, which JSON has none of: it was skipped")
    try:
        told = msgspec.json.decode(data, type=_File)
        json.loads(data, object_pairs_hook=_check_keys)
    except _DoubledKeyError as error:
        raise DatasetError(f"{shown(path)}: the key {error.args[0]!r} stands twice in one object") from error
    except (ValueError, RecursionError) as error:  # msgspec's, json's and the codec's errors are ValueErrors
        raise DatasetError(f"{shown(path)} is not in COCO's form: {_why(data, error)}") from error
    return told, notes


class _DoubledKeyError(ValueError):
    """Of two values of a key one would be lost."""


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    """Check an object's keys; nothing of it is kept."""
    if len({key for key, _ in pairs}) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DoubledKeyError(next(key for key in keys if keys.count(key) > 1))


def _why(data: bytes, error: Exception) -> str:
    """Say what keeps a file from being read, and where."""
    if isinstance(error, msgspec.ValidationError):
        return str(error)
    try:
        place = _not_finite(json.loads(data), "$")
    except (ValueError, RecursionError) as reason:
        return str(reason)
    return f"{place}, which is no number in JSON" if place else str(error)


def _not_finite(value: Any, place: str) -> str:
    """Give the place of the first number that is none; "" where there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{place} is {value}"
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        if found := _not_finite(part, f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}"):
            return found
    return ""


def _labels(told: _File, path: Path) -> Mapping[_Id, str]:
    labels: dict[_Id, str] = {}
    for category in told.categories:
        if category.id in labels:
            raise DatasetError(
                f"{shown(path)}: two categories have the id {category.id!r}: {labels[category.id]} and {category.name}"
            )
        for other, name in labels.items():
            if name == category.name:
                raise DatasetError(
                    f"{shown(path)}: the categories {other!r} and {category.id!r} are both called {name}"
                )
        labels[category.id] = category.name
    return labels


def _check_images(told: _File, path: Path) -> None:
    by_id: dict[_Id, str] = {}
    by_name: dict[str, _Id] = {}
    for image in told.images:
        if image.id in by_id:
            raise DatasetError(
                f"{shown(path)}: two images have the id {image.id!r}: {by_id[image.id]} and {image.file_name}"
            )
        if image.file_name in by_name:
            raise DatasetError(
                f"{shown(path)}: the images {by_name[image.file_name]!r} and {image.id!r} are both {image.file_name}"
            )
        by_id[image.id], by_name[image.file_name] = image.file_name, image.id


def _truths(
    told: _File, labels: Mapping[_Id, str], path: Path
) -> tuple[Mapping[_Id, Sequence[Truth]], Mapping[_Id, Sequence[Truth]]]:
    """Give the truths and the crowds of each image."""
    known = {image.id for image in told.images}
    truths: defaultdict[_Id, list[Truth]] = defaultdict(list)
    crowds: defaultdict[_Id, list[Truth]] = defaultdict(list)
    numbers: dict[_Id, int] = {}
    for number, annotation in enumerate(told.annotations):
        place = f"{shown(path)}: annotations[{number}]"
        if annotation.id is not None and numbers.setdefault(annotation.id, number) != number:
            raise DatasetError(
                f"{shown(path)}: two annotations have the id {annotation.id!r}:"
                f" annotations[{numbers[annotation.id]}] and annotations[{number}]"
            )
        if annotation.image_id not in known:
            raise DatasetError(f"{place}: there is no image {annotation.image_id!r}")
        if annotation.category_id not in labels:
            raise DatasetError(f"{place}: there is no category {annotation.category_id!r}")
        x, y, width, height = annotation.bbox
        if not all(map(math.isfinite, annotation.bbox)) or width <= 0 or height <= 0:
            raise DatasetError(f"{place}: the bbox {annotation.bbox} has no area")
        kind = crowds if annotation.iscrowd else truths
        kind[annotation.image_id].append(Truth(x, y, width, height, labels[annotation.category_id], place))
    return truths, crowds


def _picture(files: FolderFiles, path: Path, name: str) -> Path:
    """Find a picture that the file names. Raises DatasetError where it isn't there, or might be two."""
    split = path.stem.rsplit("_", 1)[-1]
    roots = dict.fromkeys((files.folder, path.parent))
    found: list[Path] = []
    for spelt in dict.fromkeys((name, name.replace("\\", "/"))):
        parts = PurePosixPath(spelt)
        if parts.is_absolute() or ".." in parts.parts or "\0" in spelt:
            raise DatasetError(
                f"{shown(path)} names the picture {name!r:.200}, which leads out of the data set's folder"
                "\nhint: a file_name is a path below the folder of the pictures"
            )
        places = [root / below / parts for root in roots for below in ("", "images", split, f"images/{split}")]
        found = [place for place in dict.fromkeys(places) if place.is_file()]
        if found:
            break
    if not found:
        raise DatasetError(
            f"{shown(path)} names the picture {shown(name)},"
            f" which is neither in {shown(files.folder)} nor in its images/"
            "\nhint: put the pictures there"
        )
    if any(not found[0].samefile(other) for other in found[1:]):
        raise DatasetError(
            f"{shown(path)} names the picture {shown(name)}, and there are two: {shown(found[0])} and {shown(found[1])}"
        )
    return found[0]


def _check_frame(image: _Image, picture: Path, path: Path) -> None:
    """Refuse a picture of another size than its truths were drawn on. Raises DatasetError."""
    try:
        found = look(picture)
    except PictureFileError as error:
        raise DatasetError(str(error)) from error
    said = (image.width or found.width, image.height or found.height)
    if said != (found.width, found.height):
        turned = found.orientation in range(5, 9) and said == (found.height, found.width)
        raise DatasetError(
            f"{shown(path)}: the image {image.id!r} is {said[0]:g} x {said[1]:g} there, {shown(picture)} has"
            f" {found.width} x {found.height} pixels\nhint: "
            + (
                f"it has the EXIF orientation {found.orientation}, which is not applied"
                if turned
                else "its boxes are in another scale"
            )
        )
