"""Kept pictures with what is true of them, as COCO: a person's verdict and boxes where there are some.

The truth of a product is what a person said last, else what was told. A product that is OK has no boxes. One that a
person calls NG has the boxes that they drew, and the algorithm's where they drew none. Where nobody said where it is
NG, its pictures are a crowd as a whole, in COCO's words: no finding there is right or wrong, and none is taken for
good. An ERROR that nobody overruled says nothing of the product, and is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from attrs import frozen

from procvision_sdk.private_files import make_private_folder, write_private
from procvision_station.exporting import ExportError, records

COCO_FILE = "coco.json"
WHOLE = "somewhere"
"""The label of a picture that is NG, nobody said where."""
_SIDES = ("x", "y", "width", "height")


@frozen
class Box:
    """A labelled rect in pixels."""

    label: str
    x: float
    y: float
    width: float
    height: float


@frozen
class Overruling:
    """What a person said of a product: a verdict, and by step the boxes that they drew; None where they drew none."""

    verdict: Literal["OK", "NG"]
    drawn: Mapping[int, Sequence[Box]] | None = None


@frozen
class Labelled:
    """One kept picture with what was told of it and found on it."""

    file: str
    """Below the folder of pictures."""
    line: str
    key: str
    step: int
    told: str
    found: Sequence[Box]
    overruling: Overruling | None = None
    somewhere: bool = True
    """Whether a box of the product says where it is NG, on this picture or on another step's."""

    @property
    def truth(self) -> str:
        """OK or NG; ERROR where nobody knows."""
        return self.overruling.verdict if self.overruling is not None else self.told

    @property
    def boxes(self) -> Sequence[Box]:
        """Where the defects are in truth."""
        if self.truth != "NG":
            return ()
        drawn = self.overruling.drawn if self.overruling is not None else None
        return self.found if drawn is None else drawn.get(self.step, ())


def overruling_of(content: Mapping[str, Any]) -> Overruling | None:
    """Return what an event `overruled` says; None where it is no verdict."""
    verdict, given = content.get("verdict"), content.get("defects")
    if verdict not in ("OK", "NG"):
        return None
    if not isinstance(given, list):
        return Overruling(verdict)
    drawn: dict[int, list[Box]] = {}
    for each in given:
        box = _box(each)
        if box is not None:
            drawn.setdefault(int(each.get("step", 0)), []).append(box)
    return Overruling(verdict, drawn)


def product_pictures(
    line: str, key: str, told: str, pictures: Mapping[int, tuple[str, Sequence[Box]]], overruling: Overruling | None
) -> Iterator[Labelled]:
    """Yield a product's pictures; `pictures` has file and found boxes by step."""
    drawn = overruling.drawn if overruling is not None else None
    boxes = [found for _, found in pictures.values()] if drawn is None else list(drawn.values())
    for step, (file, found) in pictures.items():
        yield Labelled(file, line, key, step, told, found, overruling, any(boxes))


def coco(labelled: Iterable[Labelled], pictures: Path) -> dict[str, Any]:
    """Return COCO's document of pictures in a folder. A label is a category."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    for each in labelled:
        whole = each.truth == "NG" and not each.somewhere
        size = _size(pictures / each.file) if whole else None
        if each.truth == "ERROR" or (whole and size is None):
            continue
        images.append(
            {
                "id": len(images) + 1, "file_name": each.file, "line": each.line, "key": each.key, "step": each.step,
                "verdict": each.truth, "overruled": each.overruling is not None,
            }
        )  # fmt: skip
        boxes = each.boxes if size is None else [Box(WHOLE, 0, 0, *size)]
        for box in boxes:
            category = categories.setdefault(box.label, len(categories) + 1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": len(images), "category_id": category,
                    "bbox": [box.x, box.y, box.width, box.height], "area": box.width * box.height,
                    "iscrowd": int(whole),
                }
            )  # fmt: skip
    named = [{"id": number, "name": name} for name, number in categories.items()]
    return {"images": images, "annotations": annotations, "categories": named}


def write_dataset(
    journals: Mapping[str, Path], pictures: Path, target: Path, *, only_overruled: bool = False
) -> dict[str, Any]:
    """Copy the kept pictures of journals into a new folder, with their truth beside them; the document is returned.

    Raises ExportError and OSError.
    """
    if target.exists() and any(target.iterdir()):
        raise ExportError(f"{target} is not empty\nhint: name a folder that there is not yet")
    wanted = [
        each
        for line, folder in journals.items()
        for each in _of_journal(line, folder)
        if (pictures / each.file).is_file() and (each.overruling is not None or not only_overruled)
    ]
    document = coco(wanted, pictures)
    make_private_folder(target)
    for image in document["images"]:
        kept = pictures / image["file_name"]
        # Two products may share a picture: in a data set each has its own.
        image["file_name"] = f"{image['id']:06d}{kept.suffix}"
        shutil.copyfile(kept, target / image["file_name"])
    write_private(target / COCO_FILE, msgspec.json.format(msgspec.json.encode(document), indent=1))
    return document


def _of_journal(line: str, folder: Path) -> Iterator[Labelled]:
    products: dict[str, dict[str, Any]] = {}
    told: dict[str, str] = {}
    overruled: dict[str, Overruling | None] = {}
    files: dict[tuple[str, int], str] = {}
    for record in records(line, folder):
        key = str(record.get("key"))
        if record["kind"] == "product":
            products[key] = record
        elif record["kind"] == "told":
            told[key] = str(record.get("told"))
        elif record.get("event") == "overruled":
            overruled[key] = overruling_of(record)
        elif record.get("event") == "picture":
            files[key, int(record.get("step", 0))] = str(record.get("file"))
    for key, record in products.items():
        kept = {
            step: (files[key, step], [box for each in answer.get("defect_rects") or () if (box := _box(each))])
            for answer in record.get("steps", ())
            if (key, step := int(answer.get("step", 0))) in files
        }
        yield from product_pictures(line, key, told.get(key, str(record.get("told"))), kept, overruled.get(key))


def _size(path: Path) -> tuple[int, int] | None:
    """Return a picture's width and height; None where it is gone, or can't be read."""
    from procvision_tools.sources.picture_files import PictureFileError, look

    try:
        header = look(path)
    except PictureFileError:
        return None
    return header.width, header.height


def _box(rect: Any) -> Box | None:
    if not isinstance(rect, Mapping) or not all(isinstance(rect.get(side), (int, float)) for side in _SIDES):
        return None
    x, y, width, height = (float(rect[side]) for side in _SIDES)
    return Box(str(rect.get("label") or "defect"), x, y, width, height)
