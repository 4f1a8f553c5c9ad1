"""What goes into a line and what comes out of it: events and commands.

A product is named by its `key`, which no other product of the line ever has. Steps are counted from 0.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from attrs import frozen


class Verdict(StrEnum):
    """What is said of a product. ERROR: it was not judged, and is treated like NG."""

    OK = "OK"
    NG = "NG"
    ERROR = "ERROR"


class RecordKind(StrEnum):
    """What a record of a product is."""

    PRODUCT = "product"
    """The product's one record: what was found, and what is told."""
    TOLD = "told"
    """A correction: the product's record is on the disk, and in its place ERROR was told at the deadline."""


# --- events ---------------------------------------------------------------------------------------------------


@frozen
class Triggered:
    """A product has come, with so many steps to inspect."""

    key: str
    steps: int


@frozen
class PictureTaken:
    """The camera gave the picture of a step."""

    key: str
    step: int


@frozen
class PictureFailed:
    """The camera gave no picture for a step."""

    key: str
    step: int
    reason: str


@frozen
class Answered:
    """A step was judged. A `verdict` that is none of the three words counts as ERROR."""

    key: str
    step: int
    verdict: str
    reason: str = ""


@frozen
class Recorded:
    """The last record that was commanded for a product is on the disk."""

    key: str


@frozen
class RecordFailed:
    """The last record that was commanded for a product is not on the disk."""

    key: str
    reason: str


@frozen
class TimePassed:
    """Nothing came; deadlines and retries are looked at."""


LineEvent: TypeAlias = Triggered | PictureTaken | PictureFailed | Answered | Recorded | RecordFailed | TimePassed

# --- commands -------------------------------------------------------------------------------------------------


@frozen
class Grab:
    """Take the picture of a step; answer with `PictureTaken` or `PictureFailed`."""

    key: str
    step: int


@frozen
class Call:
    """Ask the algorithm of a step; answer with `Answered`."""

    key: str
    step: int
    deadline: float
    """The product's, in the seconds of the line's clock."""


@frozen
class Record:
    """Write a record; answer with `Recorded` once it is on the disk, or with `RecordFailed`."""

    key: str
    kind: RecordKind
    found: Verdict
    """What the inspection came to."""
    told: Verdict
    """What is told to the line once this is recorded, or was told at the deadline."""
    reason: str
    """Why it is no OK."""
    lost_before: int = 0
    """So many products were told ERROR before, and have no record of their own."""


@frozen
class Tell:
    """Tell a product's verdict to the line. It is commanded once a product."""

    key: str
    verdict: Verdict
    reason: str


LineCommand: TypeAlias = Grab | Call | Record | Tell
