"""Writes records into a projection's tables: a batch of one line's records in one transaction.

Roll-ups are read, changed and written whole, in the order of the records: a sum of the same numbers in the same order
is the same to the last bit, whatever batches they came in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import ReadRecord
from procvision_station.projection import tables as t
from procvision_station.projection.rows import (
    BINNED_BY,
    ProductRows,
    as_json,
    bin_of,
    bucket,
    key_of,
    product_rows,
    text,
    verdict,
    whole_number,
)

MICROSECONDS = 1000
REMARKS = ("overruled", "note", "pinned", "unpinned")
"""Events that change what is shown of a product."""
_KEYS_AT_ONCE = 500
"""Looked for by one statement: SQLite takes some hundred values at least."""
_ERASED_ALONE = (*REMARKS, "not_told", "trigger_failed", "user", "signed_in", "sign_in_failed", "signed_out")
"""Events that can be taken out of the tables by themselves; others change more than their own row."""


class RebuildNeededError(Exception):
    """What a record takes back can't be taken back in the tables."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"record {sequence} was erased")
        self.sequence = sequence


class Batch:
    """Takes the records of one line in, and writes their rows at `finish`."""

    def __init__(self, connection: Connection, line: str, left: Collection[int] = ()) -> None:
        self._connection, self._line = connection, line
        self._left = left
        """Erased records for which the line was computed anew already: their bodies may still be there."""
        self._products: dict[str, ProductRows] = {}
        self._events: list[dict[str, Any]] = []
        self._gaps: list[int] = []
        self._recipes: list[dict[str, Any]] = []
        self._pictures: dict[tuple[str, int], dict[str, Any]] = {}
        self._rollups: dict[Table, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self._of_line: dict[str, Any] = {}
        self._entered: list[Mapping[str, Any]] = []
        """Products that came into their bins."""
        self._left_bins: set[int] = set()
        """Bins that a product was taken out of."""
        self._written: set[str] = set()
        """Those keys of the batch's products that stand in the tables."""

    def take(self, records: Sequence[ReadRecord]) -> None:
        """Take records in. Raises RebuildNeededError, and SQLAlchemyError."""
        contents = [record.content() for record in records]
        keys = [
            key_of(record.sequence, content)
            for record, content in zip(records, contents, strict=True)
            if record.header.kind == Kind.PRODUCT
        ]
        c = t.products.c
        for place in range(0, len(keys), _KEYS_AT_ONCE):
            of = and_(c.line == self._line, t.one_of(c.key, keys[place : place + _KEYS_AT_ONCE]))
            self._written.update(self._connection.execute(select(c.key).where(of)).scalars())
        for record, content in zip(records, contents, strict=True):
            self._take(record, content)

    def _take(self, record: ReadRecord, content: Mapping[str, Any]) -> None:
        if record.body is None:
            self._gaps.append(record.sequence)
            if record.damage is not None:
                self._of_line["problem"] = str(record.damage)
            return
        recorded_ms = record.header.time_ns // 1_000_000
        if record.header.kind == Kind.PRODUCT:
            self._product(record.sequence, recorded_ms, content)
        elif record.header.kind == Kind.TOLD:
            self._told(content)
        else:
            self._event(record.sequence, recorded_ms, content)

    def finish(self) -> dict[str, Any]:
        """Write what was taken in. Return what the line's row gets. Raises SQLAlchemyError."""
        pending, self._products = list(self._products.values()), {}
        self._written.update(each.product["key"] for each in pending)
        self._insert(t.products, [each.product for each in pending])
        self._entered += [each.product for each in pending]
        for table, name in ((t.steps, "steps"), (t.defects, "defects"), (t.labels, "labels")):
            self._insert(table, [row for each in pending for row in getattr(each, name)])
        self._insert(t.measurements, [row for each in pending for row in each.measurements])
        self._insert(t.events, self._events)
        self._insert(t.recipe_versions, self._recipes)
        self._insert(t.gaps, [{"line": self._line, "sequence": sequence} for sequence in self._gaps])
        self._upsert(t.pictures, self._pictures.values())
        for table, rows in self._rollups.items():
            counted = next(name for name in ("products", "count") if name in table.c)
            self._upsert(table, [row for row in rows.values() if row[counted] > 0])
            for row in rows.values():
                if row[counted] <= 0:
                    self._connection.execute(delete(table).where(self._same(table, row)))
        self._write_bins()
        self._events, self._recipes, self._gaps, self._pictures, self._rollups = [], [], [], {}, {}
        of_line, self._of_line = self._of_line, {}
        return of_line

    # --- products -------------------------------------------------------------------------------------------

    def _product(self, sequence: int, recorded_ms: int, content: Mapping[str, Any]) -> None:
        rows = product_rows(self._line, sequence, recorded_ms, content)
        key = rows.product["key"]
        if key in self._products or key in self._written:
            rows.product["key"] = key = f"{key[:100]}#{sequence}"
        self._products[key] = rows
        self._count(rows, 1)
        self._of_line["last_product"] = sequence

    def _known(self, key: str) -> dict[str, Any] | None:
        """Return a product's row as it stands, or waits to be written."""
        if key in self._products:
            return self._products[key].product
        found = self._connection.execute(
            select(t.products).where(t.products.c.line == self._line, t.products.c.key == key)
        ).mappings()
        row = found.first()
        return dict(row) if row is not None else None

    def _change(self, product: Mapping[str, Any], **changed: Any) -> None:
        now = {**product, **changed}
        changed["bin"] = now["bin"] = bin_of(now)
        waiting = self._products.get(product["key"])
        if waiting is not None:
            waiting.product.update(changed)
            for label in waiting.labels:
                label["bin"] = now["bin"]
            return
        self._connection.execute(update(t.products).where(self._of(t.products, product)).values(changed))
        if now["bin"] != product["bin"]:
            self._connection.execute(update(t.labels).where(self._of(t.labels, product)).values(bin=now["bin"]))
            self._left_bins.add(product["bin"])
            self._entered.append(now)

    def _told(self, content: Mapping[str, Any]) -> None:
        product = self._known(text(content.get("key"), 128))
        if product is None:
            return
        told = verdict(content.get("told"))
        elapsed_us = _microseconds(product)
        for verdict_then, sign in ((product["told"], -1), (told, 1)):
            row = self._rollup(t.verdict_rollups, product, told=verdict_then)
            row["products"] += sign
            row["elapsed_us"] += sign * elapsed_us
        self._change(product, told=told, reason=text(content.get("reason")))

    @staticmethod
    def _of(table: Table, product: Mapping[str, Any]) -> Any:
        return and_(table.c.line == product["line"], table.c.sequence == product["sequence"])

    def _write_bins(self) -> None:
        """Let the bins say from when to when they have products."""
        b, p = t.bins.c, t.products.c
        rows: dict[int, dict[str, Any]] = {}
        for product in self._entered:
            at = product["triggered_ms"]
            of = {name: product[name] for name in ("line", "bin", *BINNED_BY)}
            row = rows.setdefault(product["bin"], {**of, "first_ms": at, "last_ms": at})
            row["first_ms"], row["last_ms"] = min(row["first_ms"], at), max(row["last_ms"], at)
        of_line = b.line == self._line
        if rows:
            for stored in (
                self._connection.execute(select(t.bins).where(of_line, t.one_of(b.bin, rows))).mappings().all()
            ):
                row = rows[stored["bin"]]
                row["first_ms"] = min(row["first_ms"], stored["first_ms"])
                row["last_ms"] = max(row["last_ms"], stored["last_ms"])
            self._upsert(t.bins, rows.values())
        for number in sorted(self._left_bins):
            ends = [
                self._connection.execute(
                    select(p.triggered_ms).where(p.bin == number).order_by(order).limit(1)
                ).scalar()
                for order in (p.triggered_ms, p.triggered_ms.desc())
            ]
            this = and_(of_line, b.bin == number)
            if None in ends:
                self._connection.execute(delete(t.bins).where(this))
            else:
                first, last = ends
                self._connection.execute(update(t.bins).where(this).values(first_ms=first, last_ms=last))
        self._entered, self._left_bins = [], set()

    # --- roll-ups -------------------------------------------------------------------------------------------

    def _count(self, rows: ProductRows, sign: int) -> None:
        product = rows.product
        row = self._rollup(t.verdict_rollups, product, told=product["told"])
        row["products"] += sign
        row["elapsed_us"] += sign * _microseconds(product)
        for label in rows.labels:
            row = self._rollup(t.label_rollups, product, label=label["label"])
            row["products"] += sign
            row["defects"] += sign * label["defects"]
        for each in rows.measurements:
            row = self._rollup(t.measurement_rollups, product, step=each["step"], name=each["name"])
            if row["count"] == 0:
                row["lowest"] = row["highest"] = each["value"]
            row["count"] += 1
            row["total"] += each["value"]
            row["lowest"] = min(row["lowest"], each["value"])
            row["highest"] = max(row["highest"], each["value"])
            row["low"], row["high"] = each["low"], each["high"]

    def _rollup(self, table: Table, product: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Return the row that a product counts in, which `finish` writes."""
        names = ("recipe", "recipe_version", "versions")
        where = {"line": self._line, "bucket_ms": bucket(product["triggered_ms"])}
        where |= {name: product[name] for name in names} | more
        rows = self._rollups.setdefault(table, {})
        found = rows.get(tuple(where.values()))
        if found is None:
            stored = self._connection.execute(select(table).where(self._same(table, where))).mappings().first()
            numbers = {c.name: None if c.nullable else 0 for c in table.c if not c.primary_key}
            found = rows[tuple(where.values())] = dict(stored) if stored is not None else {**where, **numbers}
        return found

    @staticmethod
    def _same(table: Table, row: Mapping[str, Any]) -> Any:
        return and_(*(column == row[column.name] for column in table.primary_key))

    # --- events ---------------------------------------------------------------------------------------------

    def _event(self, sequence: int, recorded_ms: int, content: Mapping[str, Any]) -> None:
        event = text(content.get("event"), 64)
        if event == "picture":
            self._picture(recorded_ms, content, "there")
            return
        if event == "picture_lost":
            self._picture(recorded_ms, content, "lost")
        elif event == "pictures_deleted":
            self._deleted(content)
        elif event == "erased":
            self._erased(content)
        shown = next((content[name] for name in ("why", "text", "reason") if content.get(name)), None)
        row: dict[str, Any] = {
            "line": self._line,
            "sequence": sequence,
            "at_ms": recorded_ms,
            "event": event,
            "user": text(content.get("user"), 64) or None,
            "key": text(content.get("key"), 128) or None,
            "text": text(shown) or None,
            "content": as_json(content),
        }
        self._events.append(row)
        if event in ("started", "recipe"):
            self._recipe(row, content)
        if event in ("started", "stopped"):
            self._of_line |= {"running": event == "started", "since_ms": recorded_ms}
        if event == "started":
            self._of_line |= {"run": text(content.get("run"), 64), "station": text(content.get("station"), 64)}
            self._of_line |= {"hosts": as_json(content.get("hosts") or {})}
        if event in REMARKS and row["key"] is not None:
            self._remark(row["key"])

    def _recipe(self, event: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        named = {"recipe": text(content.get("recipe"), 64), "version": text(content.get("recipe_version"), 64)}
        self._of_line |= {"recipe": named["recipe"], "recipe_version": named["version"]}
        self._recipes.append(
            {
                **{name: event[name] for name in ("line", "sequence", "at_ms", "user")},
                **named,
                "why": text(content.get("why")) or None,
                "product": text(content.get("product"), 256),
                "text": text(content.get("text"), 2**20) or None,
                "steps": as_json(content.get("steps") or []),
            }
        )

    def _remark(self, key: str) -> None:
        """Show a product as the remarks on it say, in their order."""
        product = self._known(key)
        if product is None:
            return
        self._insert(t.events, self._events)
        self._events = []
        of = and_(t.events.c.line == self._line, t.events.c.key == key, t.events.c.event.in_(REMARKS))
        found = self._connection.execute(
            select(t.events.c.event, t.events.c.content).where(of).order_by(t.events.c.sequence)
        ).all()
        shown: dict[str, Any] = {"overruled": None, "pinned": False, "notes": 0}
        for event, content in found:
            if event == "overruled":
                given = msgspec.json.decode(content).get("verdict")
                shown["overruled"] = given if given in ("OK", "NG") else None
            elif event == "note":
                shown["notes"] += 1
            else:
                shown["pinned"] = event == "pinned"
        self._change(product, **shown)

    # --- pictures -------------------------------------------------------------------------------------------

    def _picture(self, at_ms: int, content: Mapping[str, Any], state: str) -> None:
        key, step = text(content.get("key"), 128), content.get("step")
        if not key or not isinstance(step, int) or not 0 <= step < 10_000:
            return
        self._pictures[key, step] = {
            "line": self._line,
            "key": key,
            "step": step,
            "file": text(content.get("file"), 128) or None,
            "bytes": whole_number(content.get("bytes")),
            "state": state,
            "reason": text(content.get("reason")) or None,
            "at_ms": at_ms,
        }

    def _deleted(self, content: Mapping[str, Any]) -> None:
        given = content.get("files")
        files = [text(file, 128) for file in given] if isinstance(given, list) else []
        self._upsert(t.pictures, self._pictures.values())
        self._pictures = {}
        for place in range(0, len(files), 500):
            of = and_(t.pictures.c.line == self._line, t.one_of(t.pictures.c.file, files[place : place + 500]))
            self._connection.execute(update(t.pictures).where(of).values(state="deleted"))

    # --- erasures -------------------------------------------------------------------------------------------

    def _erased(self, content: Mapping[str, Any]) -> None:
        """Take a record out, so that the tables are what they would be without its body."""
        sequence = content.get("sequence")
        if not isinstance(sequence, int) or whole_number(sequence) is None:
            return
        self._of_line |= self.finish()
        of = {table: and_(table.c.line == self._line, table.c.sequence == sequence) for table in _OF_RECORD}
        if self._connection.execute(select(t.gaps).where(of[t.gaps])).first() is not None:
            self._mend(sequence)
            return
        product = self._connection.execute(select(t.products).where(of[t.products])).mappings().first()
        event = self._connection.execute(select(t.events).where(of[t.events])).mappings().first()
        if product is None and (event is None or event["event"] not in _ERASED_ALONE):
            if sequence in self._left:
                return
            raise RebuildNeededError(sequence)
        for table in _OF_RECORD:
            self._connection.execute(delete(table).where(of[table]))
        self._gaps.append(sequence)
        if product is not None:
            self._written.discard(product["key"])
            self._left_bins.add(product["bin"])
            self._recount(bucket(product["triggered_ms"]))
            newest = select(func.max(t.products.c.sequence)).where(t.products.c.line == self._line)
            self._of_line["last_product"] = self._connection.execute(newest).scalar()
        elif event is not None and event["event"] in REMARKS and event["key"] is not None:
            self._remark(event["key"])

    def _mend(self, sequence: int) -> None:
        """Forget what was wrong with a record: a power cut had stopped its erasure."""
        of = select(t.lines.c.problem).where(t.lines.c.line == self._line)
        problem = self._of_line.get("problem") or self._connection.execute(of).scalar()
        if problem and f": record {sequence}: " in problem:
            self._of_line["problem"] = None

    def _recount(self, bucket_ms: int) -> None:
        """Count the products of 15 minutes anew."""
        for table in (t.verdict_rollups, t.label_rollups, t.measurement_rollups):
            of = and_(table.c.line == self._line, table.c.bucket_ms == bucket_ms)
            self._connection.execute(delete(table).where(of))
        within = t.products.c.triggered_ms.between(bucket_ms, bucket_ms + t.BUCKET_MS - 1)
        of_line = select(t.products).where(t.products.c.line == self._line, within).order_by(t.products.c.sequence)
        for product in self._connection.execute(of_line).mappings().all():
            sequence = product["sequence"]
            labels, measured = (
                [
                    dict(row)
                    for row in self._connection.execute(
                        select(table).where(table.c.line == self._line, table.c.sequence == sequence)
                    ).mappings()
                ]
                for table in (t.labels, t.measurements)
            )
            self._count(ProductRows(dict(product), [], [], labels, measured), 1)

    # --- statements -----------------------------------------------------------------------------------------

    def _insert(self, table: Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._connection.execute(insert(table), rows)

    def _upsert(self, table: Table, rows: Iterable[dict[str, Any]]) -> None:
        given = list(rows)
        if given:
            self._connection.execute(upsert(self._connection, table), given)


def upsert(connection: Connection, table: Table) -> Any:
    """Return the statement that inserts a row, or replaces the one with its primary key."""
    made: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    names = [column.name for column in table.c if not column.primary_key]
    return made.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key], set_={name: made.excluded[name] for name in names}
    )


def _microseconds(product: Mapping[str, Any]) -> int:
    return round(float(product["elapsed_ms"]) * MICROSECONDS)


_OF_RECORD = (t.products, t.steps, t.defects, t.labels, t.measurements, t.events, t.gaps)
