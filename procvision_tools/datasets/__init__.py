"""Data sets with ground truth, read into `Dataset`: one module a layout.

A reader has `LAYOUT`, its name; `recognise(path)`, cheap and without an exception; and `read(path)`, which raises
DatasetError.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

from procvision_tools.datasets.samples import Dataset, DatasetError, Sample, Truth

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

    def recognise(self, folder: Path, /) -> bool:
        """Whether a path looks like such a data set."""

    def read(self, folder: Path, /) -> Dataset:
        """Read it. Raises DatasetError."""


def open_dataset(path: Path, layout: str | None = None) -> Dataset:
    """Read a data set; without a ``layout`` the one is taken that recognises it.

    Raises DatasetError where none does, or several do, where it is damaged or holds no picture.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist\nhint: a folder with pictures and ground truth is needed")
    reader = _reader(layout) if layout is not None else _recognised(path)
    dataset = reader.read(path)
    if not dataset.samples:
        raise DatasetError(f"{path} holds no picture in the layout {reader.LAYOUT}\nhint: is it the right folder?")
    return dataset


def _reader(layout: str) -> Reader:
    return cast("Reader", importlib.import_module(LAYOUTS[layout]))


def _recognised(path: Path) -> Reader:
    fitting = [reader for reader in map(_reader, LAYOUTS) if reader.recognise(path)]
    if not fitting:
        raise DatasetError(f"{path} is in none of the known layouts: {', '.join(LAYOUTS)}\nhint: {_SHAPES}")
    if len(fitting) > 1:
        names = " and ".join(reader.LAYOUT for reader in fitting)
        raise DatasetError(f"{path} could be read as {names}\nhint: --layout says which")
    return fitting[0]
