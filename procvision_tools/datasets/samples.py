"""A data set as a measurement sees it: pictures, and the truth about each."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.regular_files import MAX_TEXT_BYTES, read_regular
from procvision_tools.names import shown
from procvision_tools.sources.folder_files import FolderFiles


class DatasetError(ProcVisionError):
    """A folder holds no data set of the layout that was asked for, or a damaged one. The text ends with a hint."""


@frozen
class Truth:
    """A defect that is there: its box in pixels (x, y the upper left corner) and its label."""

    x: float
    y: float
    width: float
    height: float
    label: str
    place: str = field(default="", eq=False)
    """Where it is written: a file, with its line or entry."""


@frozen(kw_only=True)
class Sample:
    """A picture, and what is known of it."""

    name: str
    """Unlike any other's of the data set: a path below its folder."""
    group: str = ""
    """What it was taken with or of, where figures of its own make sense; "" for none."""
    image: Path
    reference: Path | None = None
    """The defect-free product that belongs to it, for `pre`."""
    truths: tuple[Truth, ...] = ()
    crowds: tuple[Truth, ...] = ()
    """Places with many defects that nobody marked one by one: a finding there is neither right nor wrong."""
    defective: bool
    """Whether the product is bad. It may be so without a box that says where."""


@frozen(kw_only=True)
class Dataset:
    """Samples, in the order of their names."""

    layout: str
    folder: Path
    samples: tuple[Sample, ...]
    min_iou: float = 0.5
    """A finding is right when it overlaps a truth by more: what those who measure on such data sets have agreed on."""
    notes: tuple[str, ...] = ()
    """What the reader left out, for people."""
    labels: tuple[str, ...] = field(init=False)

    @labels.default
    def _labels_that_occur(self) -> tuple[str, ...]:
        return tuple(sorted({truth.label for sample in self.samples for truth in (*sample.truths, *sample.crowds)}))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that occur; empty where all samples are of one."""
        found = tuple(sorted({sample.group for sample in self.samples}))
        return found if len(found) > 1 else ()


def check_truths(files: FolderFiles, folder: str) -> None:
    """Refuse a folder of truths that has names behind which nothing can be read: without them products would be good.

    Raises DatasetError.
    """
    for path, reason in files.unreadable():
        if folder in files.below(path)[:2]:
            raise DatasetError(
                f"{shown(path)} can't be read: it is {reason}"
                "\nhint: it may hold truths: put them there, or take it away"
            )


def text_of(path: Path) -> str:
    """Return a text file's content. Raises DatasetError."""
    try:
        return read_regular(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{shown(path)} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{shown(path)} is no UTF-8 text: {error}\nhint: save it as UTF-8") from error
