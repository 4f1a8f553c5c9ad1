"""Yield, Pareto and trends, as numbers and as SVG."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get
from litestar.params import FromQuery

from procvision_station.projection.answers import CountRow, MeasureName, ParetoRow, TrendPoint
from procvision_station.web import charts
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import Here, ModelHere, Moment, Word, asked, span
from procvision_station.web.doors import needs
from procvision_station.web.pages import SiteHere
from procvision_station.web.texts import chosen

By = FromQuery[Literal["all", "shift", "recipe", "version", "line", "quarter"]]
Step = FromQuery[Annotated[int, msgspec.Meta(ge=0, le=1000)]]
Name = FromQuery[Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]*$")]]
SVG = "image/svg+xml"


@get("/statistics/counts", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True)
def counts(
    model: ModelHere, by: By = "all", line: Word = None, since: Moment = None, until: Moment = None,
    recipe: Word = None, recipe_version: Word = None, versions: Word = None,
) -> list[CountRow]:  # fmt: skip
    """Count OK, NG and ERROR, by shift, recipe, version, line or 15 minutes."""
    with asked():
        return model.counts(span(since, until, line, recipe, recipe_version, versions), by)


@get("/statistics/pareto", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True)
def pareto(
    model: ModelHere, line: Word = None, since: Moment = None, until: Moment = None, recipe: Word = None,
    recipe_version: Word = None, versions: Word = None,
) -> list[ParetoRow]:  # fmt: skip
    """Count the labels of defects, the most frequent first."""
    with asked():
        return model.pareto(span(since, until, line, recipe, recipe_version, versions))


@get("/statistics/measures", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True)
def measures(
    model: ModelHere, line: Word = None, since: Moment = None, until: Moment = None, recipe: Word = None,
    recipe_version: Word = None, versions: Word = None,
) -> list[MeasureName]:  # fmt: skip
    """List what was measured."""
    with asked():
        return model.measures(span(since, until, line, recipe, recipe_version, versions))


@get("/statistics/trend", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True)
def trend(
    model: ModelHere, step: Step, name: Name, line: Word = None, since: Moment = None, until: Moment = None,
    recipe: Word = None, recipe_version: Word = None, versions: Word = None,
) -> list[TrendPoint]:  # fmt: skip
    """Return a measured value's way through a span, by 15 minutes, with its limits."""
    with asked():
        return model.trend(span(since, until, line, recipe, recipe_version, versions), step, name)


@get("/statistics/yield.svg", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True, media_type=SVG)
def yield_svg(
    request: Here, model: ModelHere, site: SiteHere, by: By = "quarter", line: Word = None, since: Moment = None,
    until: Moment = None, recipe: Word = None, recipe_version: Word = None, versions: Word = None,
) -> Response[str]:  # fmt: skip
    """Draw OK, NG and ERROR over time, or by group."""
    with asked():
        rows = model.counts(span(since, until, line, recipe, recipe_version, versions), by)
    text = chosen(request.headers.get("accept-language", ""))
    return _drawn(charts.stacked(rows, text, ZoneInfo(site.zone)))


@get("/statistics/pareto.svg", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True, media_type=SVG)
def pareto_svg(
    request: Here, model: ModelHere, line: Word = None, since: Moment = None, until: Moment = None,
    recipe: Word = None, recipe_version: Word = None, versions: Word = None,
) -> Response[str]:  # fmt: skip
    """Draw the labels of defects, the most frequent first, and their sum."""
    with asked():
        rows = model.pareto(span(since, until, line, recipe, recipe_version, versions))
    return _drawn(charts.pareto(rows, chosen(request.headers.get("accept-language", ""))))


@get("/statistics/trend.svg", opt=needs(Role.VIEWER), tags=["statistics"], sync_to_thread=True, media_type=SVG)
def trend_svg(
    request: Here, model: ModelHere, site: SiteHere, step: Step, name: Name, line: Word = None, since: Moment = None,
    until: Moment = None, recipe: Word = None, recipe_version: Word = None, versions: Word = None,
) -> Response[str]:  # fmt: skip
    """Draw a measured value's way between its limits."""
    with asked():
        points = model.trend(span(since, until, line, recipe, recipe_version, versions), step, name)
    text = chosen(request.headers.get("accept-language", ""))
    return _drawn(charts.trend(points, name, text, ZoneInfo(site.zone)))


ROUTES = (counts, pareto, measures, trend, yield_svg, pareto_svg, trend_svg)


def _drawn(svg: str) -> Response[str]:
    return Response(svg, media_type=SVG)
