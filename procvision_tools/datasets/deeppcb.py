"""DeepPCB's layout: `<id>_test.jpg`, its reference `<id>_temp.jpg`, and `<id>.txt` with a defect a line.

A line is `x1 y1 x2 y2 type`, pixels, the corners included, separated by blanks or commas. The folder of a pair, below
the data set's, is its board group. The published layout has the texts in a sibling `<group>_not`: they are found there.
"""

from __future__ import annotations

import re
from pathlib import Path

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth, text_of
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import NOT_READ, OTHER_PICTURES, FolderFiles, is_picture

LAYOUT = "deeppcb"
LABELS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
"""In the order of the types from 1, named as the data set's page names them."""
MIN_IOU = 0.33
"""The data set's own protocol."""
_NAME = re.compile(r"(?P<id>.+)_(?P<part>test|temp)", re.IGNORECASE)
_TEXTS = "_not"
_LINE = re.compile(r"\s*-?\d+(?:[\s,]+-?\d+){4}\s*", re.ASCII)

_Key = tuple[Path, str]
"""A folder, and an id in it."""


def recognise(files: FolderFiles) -> bool:
    """Return whether a folder looks like one."""
    return any(name["part"].lower() == "test" for path in files.pictures() if (name := _NAME.fullmatch(path.stem)))


def read(files: FolderFiles) -> Dataset:
    """Read all pairs below a folder. Raises DatasetError for what has no partner, or a line that is none."""
    found: dict[str, dict[_Key, Path]] = {"test": {}, "temp": {}, "text": {}}
    unread: dict[_Key, Path] = {}
    for path in files.files:
        name = _NAME.fullmatch(path.stem)
        if path.suffix.lower() == ".txt":
            _put(found["text"], (path.parent, path.stem), path)
        elif name is not None and is_picture(path):
            _put(found[name["part"].lower()], (path.parent, name["id"]), path)
        elif name is not None and name["part"].lower() == "test" and path.suffix.lower() in OTHER_PICTURES:
            unread[path.parent, name["id"]] = path
    samples = [_sample(files, key, image, found) for key, image in found["test"].items()]
    for key, path in unread.items():
        _check_alone(key, path, found["test"])
        partners = [found["temp"].get(key), *_texts(key, found["text"])]
        files.leave_out(NOT_READ, path)
        files.leave_out("of a picture that is not read", *(partner for partner in partners if partner is not None))
    _check_left(files, found)
    return Dataset(
        layout=LAYOUT,
        folder=files.folder,
        samples=tuple(sorted(samples, key=lambda sample: sample.image)),
        min_iou=MIN_IOU,
        notes=files.notes(),
    )


def _put(known: dict[_Key, Path], key: _Key, path: Path) -> None:
    _check_alone(key, path, known)
    known[key] = path


def _check_alone(key: _Key, path: Path, known: dict[_Key, Path]) -> None:
    if key in known:
        raise DatasetError(f"two files have the id {shown(key[1])}: {shown(known[key])} and {shown(path)}")


def _sample(files: FolderFiles, key: _Key, image: Path, found: dict[str, dict[_Key, Path]]) -> Sample:
    reference = found["temp"].get(key)
    home, number = key
    if reference is None:
        raise DatasetError(f"{shown(image)} has no reference: {shown(number)}_temp{image.suffix} is missing beside it")
    texts = _texts(key, found["text"])
    if not texts:
        places = f"{shown(home / number)}.txt nor {shown(home)}{_TEXTS}/{shown(number)}.txt"
        raise DatasetError(f"{shown(image)} has no truth: neither {places} exists")
    if len(texts) > 1:
        raise DatasetError(f"{shown(image)} has two truths: {shown(texts[0])} and {shown(texts[1])}")
    files.take(image, reference, texts[0])
    truths = _truths(texts[0])
    return Sample(
        name=shown(image.relative_to(files.folder).with_name(number)),
        group=shown(home.name) if home != files.folder else "",
        image=image,
        reference=reference,
        truths=truths,
        defective=bool(truths),
    )


def _texts(key: _Key, texts: dict[_Key, Path]) -> list[Path]:
    """Give the texts of an id: beside it, and in the sibling folder, which may lie outside the data set's."""
    home, number = key
    sibling = home.with_name(f"{home.name}{_TEXTS}")
    places = [texts.get(key), texts.get((sibling, number), sibling / f"{number}.txt")]
    return [place for place in places if place is not None and place.is_file()]


def _check_left(files: FolderFiles, found: dict[str, dict[_Key, Path]]) -> None:
    """Refuse a truth whose picture is missing. A text of another kind, such as a list of files, is left out."""
    homes = {home for home, _ in found["test"]}
    homes |= {home.with_name(f"{home.name}{_TEXTS}") for home in homes}
    left = set(files.left())
    for (home, number), path in found["text"].items():
        if path not in left:
            continue
        content = text_of(path)
        first = next((line for line in content.splitlines() if line.strip()), "")
        if _LINE.fullmatch(first) or (home in homes and not first):
            raise DatasetError(
                f"{shown(path)} has no picture: there is no {shown(number)}_test.jpg for it"
                "\nhint: put the picture there, or take the text away"
            )
        files.leave_out("no truth, and of no picture", path)
    files.leave_out("a reference without its product", *(path for path in found["temp"].values() if path in left))


def _truths(path: Path) -> tuple[Truth, ...]:
    truths = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip():
            continue
        place = f"{shown(path)}:{number}"
        try:
            x1, y1, x2, y2, kind = map(int, line.replace(",", " ").split())
        except ValueError as error:
            raise DatasetError(f"{place} is {line!r:.60}: five integers were expected, x1 y1 x2 y2 type") from error
        if not 1 <= kind <= len(LABELS):
            raise DatasetError(f"{place}: type is {kind}, it is 1..{len(LABELS)}")
        if x2 < x1 or y2 < y1:
            raise DatasetError(f"{place}: the box {x1},{y1} to {x2},{y2} has no area")
        truths.append(Truth(x1, y1, x2 - x1 + 1, y2 - y1 + 1, LABELS[kind - 1], place))
    return tuple(truths)
