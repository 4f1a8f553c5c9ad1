"""Data sets with ground truth, read into `Dataset`: one module a layout.

A reader has `LAYOUT`, its name; `recognise(files)`, cheap; and `read(files)`, which raises DatasetError and accounts
for every file of the folder. What no layout differs in, such as whether truths lie on their pictures, is checked here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

import attrs

from procvision_tools.datasets import coco, frames
from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import FolderFiles

__all__ = ["LAYOUTS", "Dataset", "DatasetError", "Sample", "Truth", "open_dataset"]

LAYOUTS: Mapping[str, str] = MappingProxyType(
    {
        "deeppcb": "procvision_tools.datasets.deeppcb",
        "mvtec": "procvision_tools.datasets.mvtec",
        "coco": "procvision_tools.datasets.coco",
        "yolo": "procvision_tools.datasets.yolo",
    }
)
"""A layout's name -> its reader's module; in the order in which they are tried."""
_SHAPES = """\
deeppcb: GROUP/ID_test.jpg, ID_temp.jpg and ID.txt
mvtec: test/good/, test/KIND/ and ground_truth/KIND/NAME_mask.png
coco: a JSON file with images, annotations and categories, beside the pictures or in annotations/
yolo: images/, labels/ and classes.txt or a *.yaml with names"""
"""How each looks on a disk, a line a layout."""


class Reader(Protocol):
    """What a layout's module offers."""

    LAYOUT: str

    def recognise(self, files: FolderFiles, /) -> bool:
        """Return whether a folder's files look like such a data set."""

    def read(self, files: FolderFiles, /) -> Dataset:
        """Read it, and account for every file. Raises DatasetError."""


def open_dataset(path: Path, layout: str | None = None) -> Dataset:
    """Read a data set; without a ``layout`` the one is taken that recognises it.

    Raises DatasetError where none does, or several do, where it is damaged or holds no picture.
    """
    if not path.exists():
        raise DatasetError(f"{shown(path)} does not exist\nhint: a folder with pictures and ground truth is needed")
    try:
        named = None if path.is_dir() else path
        files = FolderFiles(path if named is None else coco.home_of(path), named)
        reader = _reader(layout) if layout is not None else _recognised(path, files)
        if named is not None and reader.LAYOUT != coco.LAYOUT:
            raise DatasetError(f"{shown(path)} is a file: {reader.LAYOUT} is a folder's layout\nhint: name the folder")
        dataset = reader.read(files)
    except OSError as error:
        raise DatasetError(f"{shown(error.filename or path)} can't be read: {error.strerror or error}") from error
    if not dataset.samples:
        raise DatasetError(
            "\n".join([f"{shown(path)} holds no picture in the layout {reader.LAYOUT}", *dataset.notes])
            + "\nhint: is it the right folder?"
        )
    return attrs.evolve(dataset, notes=(*dataset.notes, *frames.check(dataset)))


def _reader(layout: str) -> Reader:
    return cast("Reader", importlib.import_module(LAYOUTS[layout]))


def _recognised(path: Path, files: FolderFiles) -> Reader:
    possible = LAYOUTS if files.named is None else (coco.LAYOUT,)
    fitting = [reader for reader in map(_reader, possible) if reader.recognise(files)]
    if not fitting:
        raise DatasetError(f"{shown(path)} is in none of the known layouts: {', '.join(LAYOUTS)}\nhint: {_SHAPES}")
    if len(fitting) > 1:
        names = " and ".join(reader.LAYOUT for reader in fitting)
        raise DatasetError(f"{shown(path)} could be read as {names}\nhint: --layout says which")
    return fitting[0]
