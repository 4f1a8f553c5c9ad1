"""Products and events as the ledger has them: history, one product, audit, recipes that were taken on, exports."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from litestar import get
from litestar.params import FromQuery
from litestar.response import Stream

from procvision_station.dataset import Box, Labelled, Overruling, coco, overruling_of, product_pictures
from procvision_station.exporting import plain_cell
from procvision_station.projection.answers import EventFilter, EventRow, HistoryFilter, Page, ProductDetail, ProductRow
from procvision_station.projection.queries import ReadModel
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import (
    Key,
    Limit,
    LineName,
    ModelHere,
    Moment,
    VerdictWord,
    Word,
    asked,
    moment,
)
from procvision_station.web.api.pictures import Pictures, PicturesHere
from procvision_station.web.doors import needs
from procvision_station.web.problems import RequestRefusedError
from procvision_tools.report.palette import colour_of, text_on

EXPORT_ROWS = 100_000
"""Of one export: a day of a product a second."""
_FIRST_PAGE, _EXPORT_PAGE = 50, 500
"""Rows that are asked for at once: the first of an export come soon, the others with fewer questions."""


class Colour(msgspec.Struct, frozen=True, kw_only=True):
    """What a label is drawn in, as in reports."""

    edge: str
    ink: str
    """Of letters on it."""


class ProductBody(msgspec.Struct, frozen=True, kw_only=True):
    """One product, whole."""

    product: ProductDetail
    colours: dict[str, Colour]
    """By label."""
    pictures: list[str | None]
    """Where each step's picture is asked for; None where none was kept."""


def body_of(product: ProductDetail, pictures: Pictures) -> ProductBody:
    """Return a product with its labels' colours, and where its pictures are."""
    overruling = overruling_in(product)
    labels = {defect.label for step in product.steps for defect in step.defects}
    for boxes in ((overruling.drawn if overruling is not None else None) or {}).values():
        labels |= {box.label for box in boxes}
    colours = {label: Colour(edge=colour_of(label), ink=text_on(colour_of(label))) for label in sorted(labels)}
    row = product.row
    return ProductBody(
        product=product,
        colours=colours,
        pictures=[pictures.address(row.line, row.key, step) for step in product.steps],
    )


@get("/products", opt=needs(Role.VIEWER), tags=["history"], sync_to_thread=True)
def history(
    model: ModelHere,
    line: Word = None,
    since: Moment = None,
    until: Moment = None,
    told: VerdictWord = None,
    overruled: FromQuery[Literal["OK", "NG", "ERROR", "any"] | None] = None,
    label: Word = None,
    recipe: Word = None,
    recipe_version: Word = None,
    versions: Word = None,
    product: Word = None,
    serial: Word = None,
    key: Word = None,
    after: Word = None,
    limit: Limit = 50,
) -> Page[ProductRow]:
    """List products, the latest first. `after` of an answer asks for the next part."""
    wanted = HistoryFilter(
        line=line, since=moment(since, "since"), until=moment(until, "until"), told=told, overruled=overruled,
        label=label, recipe=recipe, recipe_version=recipe_version, versions=versions, product=product, serial=serial,
        key=key,
    )  # fmt: skip
    with asked():
        return model.history(wanted, limit=limit, after=after)


@get("/lines/{line:str}/products/{key:str}", opt=needs(Role.VIEWER), tags=["history"], sync_to_thread=True)
def product(model: ModelHere, pictures: PicturesHere, line: LineName, key: Key) -> ProductBody:
    """Return one product with its steps, defects, measured values, and what people said of it."""
    with asked():
        found = model.product(line, key)
    if found is None:
        raise RequestRefusedError(404, "product", where=key)
    return body_of(found, pictures)


@get("/labels", opt=needs(Role.VIEWER), tags=["history"], sync_to_thread=True)
def labels(model: ModelHere, line: Word = None) -> list[str]:
    """List the labels that defects ever had."""
    with asked():
        return model.labels(line)


@get("/events", opt=needs(Role.ENGINEER), tags=["audit"], sync_to_thread=True)
def events(
    model: ModelHere,
    line: Word = None,
    since: Moment = None,
    until: Moment = None,
    event: Word = None,
    user: Word = None,
    key: Word = None,
    by_users: FromQuery[bool] = False,
    after: Word = None,
    limit: Limit = 50,
) -> Page[EventRow]:
    """List the ledger's events, the latest first: who did what, and what went wrong."""
    wanted = EventFilter(
        line=line, since=moment(since, "since"), until=moment(until, "until"), event=event, user=user, key=key,
        by_users=by_users,
    )  # fmt: skip
    with asked():
        return model.events(wanted, limit=limit, after=after)


@get("/export/products.csv", opt=needs(Role.VIEWER), tags=["export"], sync_to_thread=False, media_type="text/csv")
def export_csv(
    model: ModelHere, line: Word = None, since: Moment = None, until: Moment = None, told: VerdictWord = None,
    overruled: FromQuery[Literal["OK", "NG", "ERROR", "any"] | None] = None, label: Word = None,
    recipe: Word = None, recipe_version: Word = None, versions: Word = None, product: Word = None, serial: Word = None,
    key: Word = None,
) -> Stream:  # fmt: skip
    """Export products as CSV, the latest first."""
    wanted = _wanted(line, since, until, told, overruled, label, recipe, recipe_version, versions, product, serial, key)
    return _download(_csv(model, wanted), "products.csv", "text/csv; charset=utf-8")


@get("/export/products.json", opt=needs(Role.VIEWER), tags=["export"], sync_to_thread=False)
def export_json(
    model: ModelHere, line: Word = None, since: Moment = None, until: Moment = None, told: VerdictWord = None,
    overruled: FromQuery[Literal["OK", "NG", "ERROR", "any"] | None] = None, label: Word = None,
    recipe: Word = None, recipe_version: Word = None, versions: Word = None, product: Word = None, serial: Word = None,
    key: Word = None,
) -> Stream:  # fmt: skip
    """Export products as JSON lines, each whole, the latest first."""
    wanted = _wanted(line, since, until, told, overruled, label, recipe, recipe_version, versions, product, serial, key)
    lines = (msgspec.json.encode(each) + b"\n" for each in _details(model, wanted))
    return _download(lines, "products.jsonl", "application/x-ndjson")


@get("/export/coco.json", opt=needs(Role.VIEWER), tags=["export"], sync_to_thread=False)
def export_coco(
    model: ModelHere, pictures: PicturesHere,
    line: Word = None, since: Moment = None, until: Moment = None, told: VerdictWord = None,
    overruled: FromQuery[Literal["OK", "NG", "ERROR", "any"] | None] = None, label: Word = None,
    recipe: Word = None, recipe_version: Word = None, versions: Word = None, product: Word = None, serial: Word = None,
    key: Word = None,
) -> Stream:  # fmt: skip
    """Export the kept pictures' boxes as COCO, with overrules as truth: an overruled OK has none, drawn ones count."""
    wanted = _wanted(line, since, until, told, overruled, label, recipe, recipe_version, versions, product, serial, key)
    return _download(_coco(model, pictures, wanted), "coco.json", "application/json")


ROUTES = (history, product, labels, events, export_csv, export_json, export_coco)


def _wanted(
    line: Any, since: Any, until: Any, told: Any, overruled: Any, label: Any, recipe: Any, recipe_version: Any,
    versions: Any, product: Any, serial: Any, key: Any,
) -> HistoryFilter:  # fmt: skip
    return HistoryFilter(
        line=line, since=moment(since, "since"), until=moment(until, "until"), told=told, overruled=overruled,
        label=label, recipe=recipe, recipe_version=recipe_version, versions=versions, product=product, serial=serial,
        key=key,
    )  # fmt: skip


def _pages(model: ReadModel, wanted: HistoryFilter) -> Iterator[list[ProductRow]]:
    after, left, most = None, EXPORT_ROWS, _FIRST_PAGE
    while left > 0:
        page = model.history(wanted, limit=min(most, left), after=after)
        yield page.rows
        left, after, most = left - len(page.rows), page.after, _EXPORT_PAGE
        if after is None:
            return


def _rows(model: ReadModel, wanted: HistoryFilter) -> Iterator[ProductRow]:
    for rows in _pages(model, wanted):
        yield from rows


def _details(model: ReadModel, wanted: HistoryFilter) -> Iterator[ProductDetail]:
    for row in _rows(model, wanted):
        found = model.product(row.line, row.key)
        if found is not None:
            yield found


def _csv(model: ReadModel, wanted: HistoryFilter) -> Iterator[bytes]:
    names = [name for name in ProductRow.__struct_fields__ if name != "sequence"]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for rows in _pages(model, wanted):
        writer.writerows([plain_cell(_text(getattr(row, name))) for name in names] for row in rows)
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()


def _text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else "" if value is None else value


def _download(content: Iterator[bytes], name: str, kind: str) -> Stream:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Stream(content, media_type=kind, headers=disposition)


def _coco(model: ReadModel, pictures: Pictures, wanted: HistoryFilter) -> Iterator[bytes]:
    """Yield one COCO document: pictures and boxes are gathered, since categories come of them."""
    yield msgspec.json.encode(coco(_labelled(model, wanted), pictures.folder))


def _labelled(model: ReadModel, wanted: HistoryFilter) -> Iterator[Labelled]:
    for found in _details(model, wanted):
        kept = {
            step.step: (
                step.picture.file,
                [Box(each.label, each.x, each.y, each.width, each.height) for each in step.defects],
            )
            for step in found.steps
            if step.picture is not None and step.picture.file is not None and step.picture.state == "there"
        }
        row = found.row
        yield from product_pictures(row.line, row.key, row.told, kept, overruling_in(found))


def overruling_in(found: ProductDetail) -> Overruling | None:
    """Return what a person said last of a product."""
    said = [each for each in found.events if each.event == "overruled"]
    last = max(said, key=lambda each: each.sequence, default=None)
    return overruling_of(last.content) if last is not None else None
