"""What a page asks a projection, and what it is answered: plain values, as REST has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

Verdict = Literal["OK", "NG", "ERROR"]
Row = TypeVar("Row")


# --- what is asked ------------------------------------------------------------------------------------------


class HistoryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which products: each field that is given must hold."""

    line: str | None = None
    since: datetime | None = None
    """Triggered then or later."""
    until: datetime | None = None
    """Triggered before."""
    told: Verdict | None = None
    overruled: Verdict | Literal["any"] | None = None
    label: str | None = None
    """Has a defect with this label."""
    recipe: str | None = None
    recipe_version: str | None = None
    versions: str | None = None
    """The algorithms and their versions, as a product's row has them."""
    product: str | None = None
    serial: str | None = None
    key: str | None = None


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: each field that is given must hold."""

    line: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    event: str | None = None
    user: str | None = None
    key: str | None = None
    by_users: bool = False
    """Only what a user did."""


ALL_PRODUCTS = HistoryFilter()
ALL_EVENTS = EventFilter()


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted. Times are rounded down to 15 minutes."""

    since: datetime
    until: datetime
    line: str | None = None
    recipe: str | None = None
    recipe_version: str | None = None
    versions: str | None = None


# --- what is answered ---------------------------------------------------------------------------------------


class Page(msgspec.Struct, Generic[Row], frozen=True, kw_only=True):
    """A part of a list."""

    rows: list[Row]
    after: str | None
    """What to ask with for the next part; None where there is none."""


class ProductRow(msgspec.Struct, frozen=True, kw_only=True):
    """A product in a list."""

    line: str
    sequence: int
    key: str
    product: str
    serial: str | None
    recipe: str
    recipe_version: str
    versions: str
    triggered_at: datetime
    recorded_at: datetime
    elapsed_ms: float
    """From trigger to verdict."""
    found: Verdict
    """What the inspection came to."""
    told: Verdict
    """What was told to the line at last."""
    reason: str
    file: str | None
    overruled: Verdict | None
    """A person's verdict beside it, the latest."""
    pinned: bool
    notes: int
    picture: str | None
    """The file of its first picture that is there, below the folder of pictures."""


class DefectRow(msgspec.Struct, frozen=True, kw_only=True):
    """A labelled rect, in pixels of the step's picture."""

    label: str
    x: float
    y: float
    width: float
    height: float
    score: float | None


class MeasurementRow(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value, and its limits where the algorithm told them."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str | None


class PictureRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step's picture."""

    file: str | None
    """Below the folder of pictures."""
    bytes: int | None
    state: Literal["there", "lost", "deleted"]
    reason: str | None
    at: datetime


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a product."""

    step: int
    """Counted from 0."""
    camera: str
    algorithm: str
    version: str
    distribution: str | None
    """Of the installed version that gave the verdict; None where the algorithm came from the station's environment."""
    package: str | None
    """The SHA-256 of its `bundle.json`, which has the hash of every file."""
    manifest_step: int | None
    parameters: dict[str, Any]
    verdict: Verdict
    message: str
    ng_reason: str
    error_code: str | None
    answered_ms: float | None
    picture_said: str
    """What the record says of the picture: kept, not kept, too many wait."""
    picture: PictureRow | None
    """None where none was kept, or it is not written yet."""
    defects: list[DefectRow]
    measurements: list[MeasurementRow]
    debug: dict[str, Any] | None


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the ledger."""

    line: str
    sequence: int
    at: datetime
    event: str
    user: str | None
    key: str | None
    """Of the product that it is about."""
    text: str | None
    content: dict[str, Any]


class ProductDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One product, whole."""

    row: ProductRow
    steps: list[StepRow]
    events: list[EventRow]
    """Overrules, notes, and whatever else the ledger says of it, in their order."""
    newer: str | None
    """The key of the line's next product."""
    older: str | None
    """The key of the one before."""


class LineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line, as far as its journal was read."""

    line: str
    station: str | None
    running: bool
    """Whether its last start was followed by no stop; a line that was killed runs, by its journal."""
    since: datetime | None
    run: str | None
    recipe: str | None
    recipe_version: str | None
    hosts: dict[str, Any]
    sequence: int
    chain: str
    problem: str | None
    """Where its journal is damaged: what stood there, and perhaps all behind it, is not shown."""
    last: ProductRow | None


class CountRow(msgspec.Struct, frozen=True, kw_only=True):
    """Products of one group: a shift, a recipe, a version, 15 minutes, or all."""

    group: str
    since: datetime | None
    """Where the group is a span of time."""
    until: datetime | None
    ok: int
    ng: int
    error: int
    elapsed_ms: float
    """The mean time from trigger to verdict."""

    @property
    def total(self) -> int:
        """All products."""
        return self.ok + self.ng + self.error

    @property
    def share(self) -> float | None:
        """The yield: OK among all; None where there is none."""
        return self.ok / self.total if self.total else None


class ParetoRow(msgspec.Struct, frozen=True, kw_only=True):
    """A label, and how often it was found."""

    label: str
    products: int
    defects: int
    share: float
    """Of all defects."""
    cumulative: float
    """Of all defects, with the labels before it."""


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value over 15 minutes."""

    at: datetime
    count: int
    mean: float
    lowest: float
    highest: float
    low: float | None
    high: float | None


class MeasureName(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was measured somewhere in a span."""

    line: str
    recipe: str
    step: int
    name: str


class RecipeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a recipe that a line took on."""

    line: str
    sequence: int
    recipe: str
    version: str
    at: datetime
    user: str | None
    why: str | None
    product: str
    text: str | None
    """Its file; None where it was taken on at a start, and the ledger has the parameters alone."""
    steps: list[dict[str, Any]]


Grouping = Literal["all", "shift", "recipe", "version", "line", "quarter"]
