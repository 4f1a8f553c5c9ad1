"""What a data set is to whoever measures on it: pictures, and the truth about each."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from procvision_sdk.errors import ProcVisionError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""What the host decodes; the suffix is compared in lower case."""


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
        return tuple(sorted({truth.label for sample in self.samples for truth in sample.truths}))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that occur; empty where all samples are of one."""
        found = tuple(sorted({sample.group for sample in self.samples}))
        return found if len(found) > 1 else ()


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, not of those below it, in the order of their names."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())


def text_of(path: Path) -> str:
    """A text file's content. Raises DatasetError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no UTF-8 text: {error}\nhint: save it as UTF-8") from error
