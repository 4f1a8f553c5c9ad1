"""The projection's tables. Times are Unix milliseconds, UTC; a product is named by its line and its record's sequence.

Everything that stands here is computed from one line's journal alone, in the order of its sequence. So a projection
that was interrupted, and one that is made anew, come out the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ColumnElement, Float, Index, Integer, MetaData, String, Table, Text

BUCKET_MS = 15 * 60 * 1000
"""A roll-up's length: shifts begin at half hours, and some time zones at quarters."""

metadata = MetaData()


def _line() -> Column[str]:
    return Column("line", String(64), primary_key=True)


def _sequence() -> Column[int]:
    return Column("sequence", BigInteger, primary_key=True, autoincrement=False)


lines = Table(
    "lines",
    metadata,
    _line(),
    # How far the journal was read: what commits with the rows, so that no record counts twice.
    Column("sequence", BigInteger, nullable=False),
    Column("chain", String(64), nullable=False),
    Column("segment", String(64), nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("problem", Text),
    # What the journal says of the line itself.
    Column("run", String(64)),
    Column("running", Boolean, nullable=False),
    Column("since_ms", BigInteger),
    Column("station", String(64)),
    Column("recipe", String(64)),
    Column("recipe_version", String(64)),
    Column("hosts", Text),
    Column("last_product", BigInteger),
)
"""One row a line."""

products = Table(
    "products",
    metadata,
    _line(),
    _sequence(),
    Column("key", String(128), nullable=False),
    Column("product", String(256), nullable=False),
    Column("serial", String(256)),
    Column("recipe", String(64), nullable=False),
    Column("recipe_version", String(64), nullable=False),
    Column("versions", String(256), nullable=False),
    Column("triggered_ms", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("elapsed_ms", Float, nullable=False),
    Column("found", String(8), nullable=False),
    Column("told", String(8), nullable=False),
    Column("reason", Text, nullable=False),
    Column("file", Text),
    Column("overruled", String(8)),
    Column("pinned", Boolean, nullable=False),
    Column("notes", Integer, nullable=False),
    Index("products_by_key", "key", "line", unique=True),
    Index("products_by_time", "line", "triggered_ms", "sequence"),
    Index("products_of_all_lines", "triggered_ms", "line", "sequence"),
    Column("bin", BigInteger, nullable=False),
    Index("products_by_bin", "bin", "triggered_ms", "sequence"),
    Index("products_by_serial", "serial", "triggered_ms", "line", "sequence"),
)
"""One row a product; `told` is what was told at last."""

bins = Table(
    "bins",
    metadata,
    _line(),
    Column("bin", BigInteger, primary_key=True, autoincrement=False),
    Column("recipe", String(64), nullable=False),
    Column("recipe_version", String(64), nullable=False),
    Column("versions", String(256), nullable=False),
    Column("product", String(256), nullable=False),
    Column("told", String(8), nullable=False),
    Column("overruled", String(8)),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)
"""The products that a history's filters treat alike, and from when to when there were some.

They are few, and each has its products in the order of time. So a history of any filters together is a part of some of
them, and reads no product that it doesn't show.
"""

steps = Table(
    "steps",
    metadata,
    _line(),
    _sequence(),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("camera", String(64), nullable=False),
    Column("algorithm", String(256), nullable=False),
    Column("version", String(64), nullable=False),
    Column("distribution", String(128)),
    Column("package", String(64)),
    Column("manifest_step", Integer),
    Column("parameters", Text, nullable=False),
    Column("verdict", String(8), nullable=False),
    Column("message", Text, nullable=False),
    Column("ng_reason", Text, nullable=False),
    Column("error_code", String(64)),
    Column("answered_ms", Float),
    Column("picture", String(64), nullable=False),
    Column("debug", Text),
)
"""One row an answered step of a product."""

defects = Table(
    "defects",
    metadata,
    _line(),
    _sequence(),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("label", String(128), nullable=False),
    Column("x", Float, nullable=False),
    Column("y", Float, nullable=False),
    Column("width", Float, nullable=False),
    Column("height", Float, nullable=False),
    Column("score", Float),
)
"""The defects of a step, in the answer's order; in pixels."""

labels = Table(
    "labels",
    metadata,
    _line(),
    Column("label", String(128), primary_key=True),
    Column("triggered_ms", BigInteger, primary_key=True, autoincrement=False),
    _sequence(),
    Column("defects", Integer, nullable=False),
    Column("bin", BigInteger, nullable=False),
    Index("labels_by_bin", "label", "bin", "triggered_ms", "sequence"),
    Index("labels_of_all_lines", "label", "triggered_ms", "line", "sequence"),
    Index("labels_by_product", "line", "sequence"),
)
"""Which products have a defect of a label, in the order of a history page."""

measurements = Table(
    "measurements",
    metadata,
    _line(),
    _sequence(),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("name", String(128), primary_key=True),
    Column("value", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("unit", String(32)),
)
"""The measured values of a step: the numbers in an answer's `debug`."""

pictures = Table(
    "pictures",
    metadata,
    _line(),
    Column("key", String(128), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("file", String(128)),
    Column("bytes", BigInteger),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("at_ms", BigInteger, nullable=False),
    Index("pictures_by_file", "file"),
    Index("pictures_by_age", "state", "at_ms"),
)
"""A picture that was to be kept: `there`, `lost` or `deleted`. Two products may have one file."""

events = Table(
    "events",
    metadata,
    _line(),
    _sequence(),
    Column("at_ms", BigInteger, nullable=False),
    Column("event", String(64), nullable=False),
    Column("user", String(64)),
    Column("key", String(128)),
    Column("text", Text),
    Column("content", Text, nullable=False),
    Index("events_by_time", "at_ms", "line", "sequence"),
    Index("events_by_line", "line", "at_ms", "sequence"),
    Index("events_by_kind", "event", "at_ms", "line", "sequence"),
    Index("events_by_user", "user", "at_ms", "line", "sequence"),
    Index("events_by_product", "key", "line", "sequence"),
)
"""Every event: overrules, notes, a user's actions, starts and stops, what went wrong. `text` is what is shown of it."""

recipe_versions = Table(
    "recipe_versions",
    metadata,
    _line(),
    _sequence(),
    Column("recipe", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("user", String(64)),
    Column("why", Text),
    Column("product", String(256), nullable=False),
    Column("text", Text),
    Column("steps", Text, nullable=False),
    Index("recipe_versions_by_recipe", "recipe", "version"),
)
"""Each time that a line took on a version of a recipe."""

gaps = Table("gaps", metadata, _line(), _sequence())
"""Records whose body was erased: nothing of them stands in another table."""

verdict_rollups = Table(
    "verdict_rollups",
    metadata,
    _line(),
    Column("bucket_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("recipe", String(64), primary_key=True),
    Column("recipe_version", String(64), primary_key=True),
    Column("versions", String(256), primary_key=True),
    Column("told", String(8), primary_key=True),
    Column("products", Integer, nullable=False),
    Column("elapsed_us", BigInteger, nullable=False),
)
"""Products by 15 minutes and what was told; `elapsed_us` is the sum of their microseconds, exact in any order."""

label_rollups = Table(
    "label_rollups",
    metadata,
    _line(),
    Column("bucket_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("recipe", String(64), primary_key=True),
    Column("recipe_version", String(64), primary_key=True),
    Column("versions", String(256), primary_key=True),
    Column("label", String(128), primary_key=True),
    Column("products", Integer, nullable=False),
    Column("defects", Integer, nullable=False),
)
"""Defects by 15 minutes and label."""

measurement_rollups = Table(
    "measurement_rollups",
    metadata,
    _line(),
    Column("bucket_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("recipe", String(64), primary_key=True),
    Column("recipe_version", String(64), primary_key=True),
    Column("versions", String(256), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("name", String(128), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("total", Float, nullable=False),
    Column("lowest", Float, nullable=False),
    Column("highest", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
)
"""Measured values by 15 minutes: their number, sum, extremes, and the last limits."""


def one_of(column: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values.

    Filled up to a power of two by one of them: a connection keeps the last 128 statements prepared, and one of each
    length would take 0.3 kB a value in SQLite.
    """
    given = list(values)
    wanted = 1 << (len(given) - 1).bit_length() if given else 0
    return column.in_(given + given[-1:] * (wanted - len(given)))
