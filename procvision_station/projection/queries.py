"""What a page asks a projection: read only, typed, and bounded, so that a week at a product a second stays quick.

    model = ReadModel(Database(station.file.projection.database, station.data_folder), station.shifts)
    page = model.history(HistoryFilter(line="main", told="NG"), limit=50)
    page = model.history(HistoryFilter(line="main", told="NG"), limit=50, after=page.after)

Every list is paged by a key of its order, never by an offset, and no total is counted. Every method raises
ProjectionError where the database can't be asked at the moment.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, false, func, literal, or_, select, union_all
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.expression import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from procvision_station.projection import tables as t
from procvision_station.projection.answers import (
    ALL_EVENTS,
    ALL_PRODUCTS,
    CountRow,
    DefectRow,
    EventFilter,
    EventRow,
    Grouping,
    HistoryFilter,
    LineRow,
    MeasurementRow,
    MeasureName,
    Page,
    ParetoRow,
    PictureRow,
    ProductDetail,
    ProductRow,
    RecipeRow,
    Row,
    Span,
    StepRow,
    TrendPoint,
)
from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.rows import BINNED_BY, bucket
from procvision_station.shifts import Shifts

MAX_LIMIT = 500
DEFAULT_LIMIT = 50
MAX_POINTS = 5000
"""Of a trend or a yield by 15 minutes: seven weeks."""
BINS_AT_ONCE, MAX_BINS_AT_ONCE = 8, 64
"""Looked into by the first statement, and at most: one version of a recipe has some eight of them."""
MAX_DETAILS = 10_000
"""Defects, and measured values, of one product."""

Fields: TypeAlias = Mapping[Any, Any]
"""A row of a table, by the names of its columns."""


class ReadModel:
    """A projection, read. Any thread may call."""

    def __init__(self, database: Database, shifts: Shifts | None = None) -> None:
        self._database = database
        self._shifts = shifts if shifts is not None else Shifts(UTC)

    def close(self) -> None:
        """Let go of the connections."""
        self._database.close()

    # --- now ------------------------------------------------------------------------------------------------

    def lines(self) -> list[LineRow]:
        """Return all lines, by name, each with its last product."""

        def ask(connection: Connection) -> list[LineRow]:
            rows = connection.execute(select(t.lines).order_by(t.lines.c.line)).mappings().all()
            return [self._line_row(connection, row) for row in rows]

        return self._asked(ask)

    def live(self, line: str) -> ProductDetail | None:
        """Return a line's last product, whole; None where it has none."""

        def ask(connection: Connection) -> ProductDetail | None:
            of = select(t.lines.c.last_product).where(t.lines.c.line == line)
            sequence = connection.execute(of).scalar()
            return self._detail(connection, t.products.c.sequence == sequence, line) if sequence is not None else None

        return self._asked(ask)

    def last_sequences(self) -> dict[str, int]:
        """Return how far each line's journal was read: cheap to ask often, and changed whenever anything did."""

        def ask(connection: Connection) -> dict[str, int]:
            rows = connection.execute(select(t.lines.c.line, t.lines.c.sequence)).all()
            return {row.line: row.sequence for row in rows}

        return self._asked(ask)

    # --- history --------------------------------------------------------------------------------------------

    def history(
        self, wanted: HistoryFilter = ALL_PRODUCTS, *, limit: int = DEFAULT_LIMIT, after: str | None = None
    ) -> Page[ProductRow]:
        """Return products, the latest first. Raises ValueError for an `after` that no page gave."""
        p, o = t.products.c, t.products.c
        binned = {name: value for name in BINNED_BY if (value := getattr(wanted, name)) is not None}
        query = select(t.products)
        if wanted.key is not None or wanted.serial is not None:
            query = query.where(*self._of_few(wanted, binned))
        elif binned:
            return self._asked(lambda connection: self._of_bins(connection, wanted, binned, limit, after))
        else:
            if wanted.label is not None:
                # A rare label is looked for among its own products, not in each product.
                o = t.labels.c
                query = query.join(t.labels, and_(o.line == p.line, o.sequence == p.sequence))
                query = query.where(o.label == wanted.label)
            if wanted.line is not None:
                query = query.where(o.line == wanted.line)
        query = query.where(*_within(o.triggered_ms, wanted.since, wanted.until))
        order = (o.triggered_ms, o.line, o.sequence)
        return self._page(query, order, limit, after, self._product_rows, ("triggered_ms", "line", "sequence"))

    def _of_few(self, wanted: HistoryFilter, binned: Mapping[str, str]) -> list[ColumnElement[bool]]:
        """Return what holds for a key's product, or a serial number's few: what else is asked for is in their rows."""
        p, of = t.products.c, t.labels.c
        by = "key" if wanted.key is not None else "serial"
        rest = {"line": wanted.line, "serial": wanted.serial, **binned}
        found = [p[by] == getattr(wanted, by)]
        found += [
            self._as_it_is(p[name]) == value
            for name, value in rest.items()
            if value is not None and name != by and (name, value) != ("overruled", "any")
        ]
        if wanted.overruled == "any":
            found.append(p.overruled.is_not(None))
        if wanted.label is not None:
            same = (of.line == p.line, of.sequence == p.sequence, self._as_it_is(of.label) == wanted.label)
            found.append(select(of.label).where(*same).exists())
        return found

    def _of_bins(
        self,
        connection: Connection,
        wanted: HistoryFilter,
        binned: Mapping[str, str],
        limit: int,
        after: str | None,
    ) -> Page[ProductRow]:
        """Return a part of the products of some bins. The bins are looked into from the latest on, until it is full."""
        b, p = t.bins.c, t.products.c
        limit = max(1, min(limit, MAX_LIMIT))
        place = _opened(after) if after is not None else None
        since_ms = _ms(wanted.since) if wanted.since is not None else -(2**63)
        until_ms = _ms(wanted.until) if wanted.until is not None else 2**63 - 1
        before_ms = until_ms if place is None else min(until_ms, place[0] + 1)
        equal = [b[name] == value for name, value in binned.items() if (name, value) != ("overruled", "any")]
        if wanted.overruled == "any":
            equal.append(b.overruled.is_not(None))
        if wanted.line is not None:
            equal.append(b.line == wanted.line)
        query = select(b.bin, b.line, b.last_ms).where(*equal, b.last_ms >= since_ms, b.first_ms < before_ms)
        bins = sorted((min(row.last_ms, before_ms - 1), row.line, row.bin) for row in connection.execute(query))
        found: list[tuple[int, str, int]] = []
        at_once = BINS_AT_ONCE
        while bins and (len(found) <= limit or found[limit][0] <= bins[-1][0]):
            some, bins = bins[-at_once:], bins[:-at_once]
            at_once = min(2 * at_once, MAX_BINS_AT_ONCE)
            parts = [
                _of_bin(number, line, wanted.label, since_ms, before_ms, place, limit + 1) for _, line, number in some
            ]
            found += [(row.triggered_ms, row.line, row.sequence) for row in connection.execute(union_all(*parts))]
            found.sort(reverse=True)
        shown, rows = found[:limit], {}
        for line in {line for _, line, _ in shown}:
            of_line = [sequence for _, its, sequence in shown if its == line]
            query = select(t.products).where(p.line == line, t.one_of(p.sequence, of_line))
            rows.update({(line, row["sequence"]): row for row in connection.execute(query).mappings()})
        ordered = [row for _, line, sequence in shown if (row := rows.get((line, sequence))) is not None]
        closed = _closed(list(shown[-1])) if len(found) > limit else None
        return Page(rows=list(self._product_rows(connection, ordered)), after=closed)

    def _as_it_is(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column that SQLite takes no index of; PostgreSQL knows by itself how rare a value is."""
        return UnaryExpression(column, operator=custom_op("+")) if self._database.is_sqlite else column

    def product(self, line: str, key: str) -> ProductDetail | None:
        """Return one product, whole; None where there is none."""
        return self._asked(lambda connection: self._detail(connection, t.products.c.key == key, line))

    def events(
        self, wanted: EventFilter = ALL_EVENTS, *, limit: int = DEFAULT_LIMIT, after: str | None = None
    ) -> Page[EventRow]:
        """Return events, the latest first: the audit's list. Raises ValueError for an `after` that no page gave."""
        e = t.events.c
        equal = [(e.line, wanted.line), (e.event, wanted.event), (e.user, wanted.user), (e.key, wanted.key)]
        query = select(t.events).where(*(column == value for column, value in equal if value is not None))
        if wanted.by_users:
            query = query.where(e.user.is_not(None))
        query = query.where(*_within(e.at_ms, wanted.since, wanted.until))
        order = (e.at_ms, e.line, e.sequence)
        return self._page(query, order, limit, after, lambda _, rows: map(_event, rows), ("at_ms", "line", "sequence"))

    def labels(self, line: str | None = None) -> list[str]:
        """Return the labels that defects ever had, sorted; at most `MAX_LIMIT`."""
        of = () if line is None else (t.label_rollups.c.line == line,)
        query = select(t.label_rollups.c.label).where(*of).distinct().order_by("label").limit(MAX_LIMIT)
        return self._asked(lambda connection: list(connection.execute(query).scalars()))

    # --- statistics -----------------------------------------------------------------------------------------

    def counts(self, span: Span, by: Grouping = "all") -> list[CountRow]:
        """Return how many were OK, NG and ERROR: the yield, by a group. Groups of time come in their order."""
        r = t.verdict_rollups.c
        named: dict[str, ColumnElement[Any]] = {"recipe": r.recipe, "line": r.line, "version": r.versions}
        group: ColumnElement[Any] = named.get(by, r.bucket_ms)
        summed = [r.told, func.sum(r.products).label("products"), func.sum(r.elapsed_us).label("elapsed_us")]
        if by == "all":
            query = select(*summed).where(*_counted(r, span)).group_by(r.told)
        else:
            query = select(group.label("group"), *summed).where(*_counted(r, span)).group_by(group, r.told)
        rows = self._asked(lambda connection: connection.execute(query).mappings().all())
        groups: dict[Any, dict[str, int]] = {}
        if by == "shift":
            groups = {shift: {} for shift in self._shifts.between(*_ends(span))[-MAX_POINTS:]}
        for row in rows:
            name: Any = row["group"] if by != "all" else "all"
            if by == "shift":
                name = self._shifts.at(_moment(name))
            elif by == "quarter":
                name = _moment(name)
            sums = groups.setdefault(name, {})
            sums[row["told"]] = sums.get(row["told"], 0) + int(row["products"])
            sums["elapsed_us"] = sums.get("elapsed_us", 0) + int(row["elapsed_us"])
        made = [_count(name, sums) for name, sums in groups.items()]
        timed = by in ("shift", "quarter")
        made.sort(key=lambda each: (each.since or datetime.min.replace(tzinfo=UTC)) if timed else each.group)
        return made[-MAX_POINTS:]

    def pareto(self, span: Span) -> list[ParetoRow]:
        """Return the labels of defects, the most frequent first; at most `MAX_LIMIT`."""
        r = t.label_rollups.c
        query = (
            select(r.label, func.sum(r.products).label("products"), func.sum(r.defects).label("defects"))
            .where(*_counted(r, span))
            .group_by(r.label)
        )
        rows = self._asked(lambda connection: connection.execute(query).mappings().all())
        ordered = sorted(rows, key=lambda row: (-row["defects"], row["label"]))
        total = sum(int(row["defects"]) for row in ordered)
        made, before = [], 0
        for row in ordered[:MAX_LIMIT]:
            defects = int(row["defects"])
            before += defects
            made.append(
                ParetoRow(
                    label=row["label"],
                    products=int(row["products"]),
                    defects=defects,
                    share=defects / total,
                    cumulative=before / total,
                )
            )
        return made

    def measures(self, span: Span) -> list[MeasureName]:
        """Return what was measured in a span; at most `MAX_LIMIT`."""
        r = t.measurement_rollups.c
        names = (r.line, r.recipe, r.step, r.name)
        query = select(*names).where(*_counted(r, span)).distinct().order_by(*names).limit(MAX_LIMIT)
        rows = self._asked(lambda connection: connection.execute(query).mappings().all())
        return [MeasureName(**row) for row in rows]

    def trend(self, span: Span, step: int, name: str) -> list[TrendPoint]:
        """Return a measured value's way through a span, by 15 minutes; the latest `MAX_POINTS`."""
        r = t.measurement_rollups.c
        query = (
            select(
                r.bucket_ms,
                func.sum(r["count"]).label("count"),
                func.sum(r.total).label("total"),
                func.min(r.lowest).label("lowest"),
                func.max(r.highest).label("highest"),
                func.max(r.low).label("low"),
                func.min(r.high).label("high"),
            )
            .where(*_counted(r, span), r.step == step, r.name == name)
            .group_by(r.bucket_ms)
            .order_by(r.bucket_ms.desc())
            .limit(MAX_POINTS)
        )
        rows = self._asked(lambda connection: connection.execute(query).mappings().all())
        return [
            TrendPoint(
                at=_moment(row["bucket_ms"]),
                count=int(row["count"]),
                mean=row["total"] / row["count"],
                lowest=row["lowest"],
                highest=row["highest"],
                low=row["low"],
                high=row["high"],
            )
            for row in reversed(rows)
        ]

    # --- recipes --------------------------------------------------------------------------------------------

    def recipes(
        self, recipe: str | None = None, *, line: str | None = None, limit: int = DEFAULT_LIMIT,
        after: str | None = None,
    ) -> Page[RecipeRow]:  # fmt: skip
        """Return the versions of recipes that lines took on, the latest first."""
        c = t.recipe_versions.c
        query = select(t.recipe_versions)
        query = query.where(*(column == value for column, value in ((c.recipe, recipe), (c.line, line)) if value))
        order = (c.at_ms, c.line, c.sequence)
        return self._page(query, order, limit, after, lambda _, rows: map(_recipe, rows), ("at_ms", "line", "sequence"))

    # --- how ------------------------------------------------------------------------------------------------

    def _asked(self, ask: Callable[[Connection], Row]) -> Row:
        try:
            with self._database.reading() as connection:
                return ask(connection)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise ProjectionError(f"{self._database} can't be asked: {said[0] if said else error!r}") from error

    def _page(
        self,
        query: Select[Any],
        order: tuple[ColumnElement[Any], ...],
        limit: int,
        after: str | None,
        made: Callable[[Connection, Sequence[Fields]], Iterable[Row]],
        names: tuple[str, ...],
    ) -> Page[Row]:
        limit = max(1, min(limit, MAX_LIMIT))
        if after is not None:
            query = query.where(_behind(order, _opened(after)))
        query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)

        def ask(connection: Connection) -> Page[Row]:
            rows = connection.execute(query).mappings().all()
            last = rows[limit - 1] if len(rows) > limit else None
            closed = _closed([last[name] for name in names]) if last is not None else None
            return Page(rows=list(made(connection, rows[:limit])), after=closed)

        return self._asked(ask)

    def _product_rows(self, connection: Connection, rows: Sequence[Fields]) -> list[ProductRow]:
        shown: dict[tuple[str, str], str] = {}
        keys: dict[str, list[str]] = {}
        for row in rows:
            keys.setdefault(row["line"], []).append(row["key"])
        for line, of_line in keys.items():
            c = t.pictures.c
            query = select(c.key, c.file).where(c.line == line, t.one_of(c.key, of_line), c.state == "there")
            for found in connection.execute(query.order_by(c.step.desc())):
                shown[line, found.key] = found.file
        return [_product(row, shown.get((row["line"], row["key"]))) for row in rows]

    def _line_row(self, connection: Connection, row: Fields) -> LineRow:
        last = None
        if row["last_product"] is not None:
            of = and_(t.products.c.line == row["line"], t.products.c.sequence == row["last_product"])
            found = connection.execute(select(t.products).where(of)).mappings().all()
            last = next(iter(self._product_rows(connection, found)), None)
        names = ("line", "station", "running", "run", "recipe", "recipe_version", "sequence", "chain", "problem")
        return LineRow(
            **{name: row[name] for name in names},
            since=_moment(row["since_ms"]) if row["since_ms"] is not None else None,
            hosts=_object(row["hosts"]),
            last=last,
        )

    def _detail(self, connection: Connection, which: ColumnElement[bool], line: str) -> ProductDetail | None:
        p = t.products.c
        found = connection.execute(select(t.products).where(p.line == line, which)).mappings().all()
        if not found:
            return None
        (row,) = self._product_rows(connection, found)

        def of(table: Any, *order: str) -> Sequence[Fields]:
            query = select(table).where(table.c.line == line, table.c.sequence == row.sequence)
            return (
                connection.execute(query.order_by(*(table.c[name] for name in order)).limit(MAX_DETAILS))
                .mappings()
                .all()
            )

        pictures = {
            each["step"]: _picture(each)
            for each in connection.execute(
                select(t.pictures).where(t.pictures.c.line == line, t.pictures.c.key == row.key)
            ).mappings()
        }
        defects, measured = of(t.defects, "step", "place"), of(t.measurements, "step", "name")
        remarks = (
            select(t.events).where(t.events.c.line == line, t.events.c.key == row.key).order_by(t.events.c.sequence)
        )
        neighbours = [
            connection.execute(select(p.key).where(p.line == line, side).order_by(order).limit(1)).scalar()
            for side, order in (
                (p.sequence > row.sequence, p.sequence),
                (p.sequence < row.sequence, p.sequence.desc()),
            )
        ]
        return ProductDetail(
            row=row,
            steps=[_step(each, pictures.get(each["step"]), defects, measured) for each in of(t.steps, "step")],
            events=[_event(each) for each in connection.execute(remarks.limit(MAX_LIMIT)).mappings()],
            newer=neighbours[0],
            older=neighbours[1],
        )


def _of_bin(
    number: int, line: str, label: str | None, since_ms: int, before_ms: int, place: tuple[int, str, int] | None,
    most: int,
) -> Select[Any]:  # fmt: skip
    """Return the question for a bin's latest products: where they stand, from an index alone."""
    o = t.labels.c if label is not None else t.products.c
    query = select(literal(line).label("line"), o.sequence, o.triggered_ms).where(
        o.bin == number, o.triggered_ms >= since_ms, o.triggered_ms < before_ms
    )
    if label is not None:
        query = query.where(o.label == label)
    if place is not None and line >= place[1]:
        same = o.sequence < place[2] if line == place[1] else false()
        query = query.where(or_(o.triggered_ms < place[0], same))
    latest = query.order_by(o.triggered_ms.desc(), o.sequence.desc()).limit(most).subquery()
    return select(latest.c.line, latest.c.sequence, latest.c.triggered_ms)


def _behind(order: tuple[ColumnElement[Any], ...], values: tuple[Any, ...]) -> ColumnElement[bool]:
    """Return what holds for the rows that come later in a list whose every column goes down."""
    time, line, sequence = order
    # The first condition alone lets an index begin at the right place.
    return and_(
        time <= values[0],
        or_(time < values[0], line < values[1], and_(line == values[1], sequence < values[2])),
    )


def _closed(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def _opened(after: str) -> tuple[int, str, int]:
    try:
        data = base64.urlsafe_b64decode(after + "=" * (-len(after) % 4))
        values = msgspec.json.decode(data, type=tuple[int, str, int])
    except (binascii.Error, ValueError) as error:  # msgspec's errors are ValueErrors
        raise ValueError(f"after: {after[:80]!r} is no place in a list") from error
    if max(abs(values[0]), abs(values[2])) >= 2**63 or "\x00" in values[1]:
        raise ValueError(f"after: {after[:80]!r} is no place in a list")
    return values


def _ms(moment: datetime) -> int:
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _moment(ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)  # a clock that said nonsense; the order is the sequence's


def _ends(span: Span) -> tuple[datetime, datetime]:
    return _moment(bucket(_ms(span.since))), _moment(_ms(span.until))


def _within(column: ColumnElement[Any], since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    return [
        *([column >= _ms(since)] if since is not None else []),
        *([column < _ms(until)] if until is not None else []),
    ]


def _counted(columns: Any, span: Span) -> list[ColumnElement[bool]]:
    equal = [
        columns[name] == value
        for name in ("line", "recipe", "recipe_version", "versions")
        if (value := getattr(span, name)) is not None
    ]
    return [columns.bucket_ms >= bucket(_ms(span.since)), columns.bucket_ms < _ms(span.until), *equal]


def _count(name: Any, sums: Mapping[str, int]) -> CountRow:
    since = until = None
    group = name
    if isinstance(name, datetime):
        since, until = name, _moment(_ms(name) + t.BUCKET_MS)
        group = name.isoformat()
    elif not isinstance(name, str):
        since, until, group = name.start, name.end, f"{name.day.isoformat()} {name.name}"
    ok, ng, error = (sums.get(verdict, 0) for verdict in ("OK", "NG", "ERROR"))
    total = ok + ng + error
    elapsed_ms = sums.get("elapsed_us", 0) / 1000 / total if total else 0.0
    return CountRow(group=group, since=since, until=until, ok=ok, ng=ng, error=error, elapsed_ms=elapsed_ms)


def _object(text: str | None) -> dict[str, Any]:
    found: Any = msgspec.json.decode(text) if text else {}
    return found if isinstance(found, dict) else {}


def _product(row: Fields, picture: str | None) -> ProductRow:
    names = (
        "line", "sequence", "key", "product", "serial", "recipe", "recipe_version", "versions", "elapsed_ms", "found",
        "told", "reason", "file", "overruled", "pinned", "notes",
    )  # fmt: skip
    return ProductRow(
        **{name: row[name] for name in names},
        triggered_at=_moment(row["triggered_ms"]),
        recorded_at=_moment(row["recorded_ms"]),
        picture=picture,
    )


def _picture(row: Fields) -> PictureRow:
    names = ("file", "bytes", "state", "reason")
    return PictureRow(**{name: row[name] for name in names}, at=_moment(row["at_ms"]))


def _step(
    row: Fields,
    picture: PictureRow | None,
    defects: Sequence[Fields],
    measured: Sequence[Fields],
) -> StepRow:
    names = (
        "step", "camera", "algorithm", "version", "distribution", "package", "manifest_step", "verdict", "message",
        "ng_reason", "error_code", "answered_ms",
    )  # fmt: skip
    return StepRow(
        **{name: row[name] for name in names},
        parameters=_object(row["parameters"]),
        picture_said=row["picture"],
        picture=picture,
        defects=[_of(DefectRow, each) for each in defects if each["step"] == row["step"]],
        measurements=[_of(MeasurementRow, each) for each in measured if each["step"] == row["step"]],
        debug=_object(row["debug"]) if row["debug"] else None,
    )


def _of(cls: type[Row], row: Fields) -> Row:
    return cls(**{name: row[name] for name in cls.__struct_fields__})  # type: ignore[attr-defined]


def _event(row: Fields) -> EventRow:
    names = ("line", "sequence", "event", "user", "key", "text")
    return EventRow(**{name: row[name] for name in names}, at=_moment(row["at_ms"]), content=_object(row["content"]))


def _recipe(row: Fields) -> RecipeRow:
    names = ("line", "sequence", "recipe", "version", "user", "why", "product", "text")
    steps: Any = msgspec.json.decode(row["steps"])
    return RecipeRow(
        **{name: row[name] for name in names}, at=_moment(row["at_ms"]), steps=[s for s in steps if isinstance(s, dict)]
    )
