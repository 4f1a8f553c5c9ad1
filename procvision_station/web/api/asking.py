"""What every question to the projection has: bounded parameters, a span of time, and an answer when it is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, SkipValidation

from procvision_station.projection.answers import Span
from procvision_station.projection.database import ProjectionError
from procvision_station.projection.queries import ReadModel
from procvision_station.web.accounts import Identity
from procvision_station.web.problems import RequestRefusedError

MAX_SPAN = timedelta(days=400)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
CLEAN = r"^[^\x00-\x1f]*$"
"""No control characters."""

Here = Request[Identity, None, Any]
ModelHere = NamedDependency[SkipValidation[ReadModel]]
LineName = FromPath[Annotated[str, msgspec.Meta(max_length=64, pattern=CLEAN)]]
Key = FromPath[Annotated[str, msgspec.Meta(max_length=128, pattern=CLEAN)]]
Word = FromQuery[Annotated[str, msgspec.Meta(max_length=256, pattern=CLEAN)] | None]
Moment = FromQuery[datetime | None]
Limit = FromQuery[Annotated[int, msgspec.Meta(ge=1, le=500)]]
VerdictWord = FromQuery[Literal["OK", "NG", "ERROR"] | None]


@contextmanager
def asked() -> Iterator[None]:
    """Tell in words what the projection can't answer."""
    try:
        yield
    except ProjectionError as error:
        raise RequestRefusedError(503, "projection", problem=str(error).partition("\n")[0][:300]) from error
    except ValueError as error:
        raise RequestRefusedError(400, "invalid", where="after", problem=str(error)[:300]) from error


def moment(value: datetime | None, name: str) -> datetime | None:
    """Return a time in UTC, of the centuries that there are stations in."""
    if value is None:
        return None
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if not EARLIEST <= aware <= LATEST:
        bound = f"{EARLIEST.date()}..{LATEST.date()}"
        raise RequestRefusedError(400, "moment", where=name, bound=bound, value=value.isoformat())
    return aware.astimezone(UTC)


def span(
    since: datetime | None,
    until: datetime | None,
    line: str | None = None,
    recipe: str | None = None,
    recipe_version: str | None = None,
    versions: str | None = None,
) -> Span:
    """Return what is counted: the last day where nothing else is asked for."""
    end = moment(until, "until") or datetime.now(UTC)
    begin = moment(since, "since") or end - timedelta(days=1)
    if not timedelta(0) < end - begin <= MAX_SPAN:
        raise RequestRefusedError(400, "span", where="since", bound=MAX_SPAN.days, value=str(end - begin))
    return Span(since=begin, until=end, line=line, recipe=recipe, recipe_version=recipe_version, versions=versions)
