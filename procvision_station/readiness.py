"""Says before a start what would stop it: libraries that are missing, and what triggers, cameras and outputs lack."""

from __future__ import annotations

from collections.abc import Iterator

from procvision_station.configuration.files import STATION_FILE
from procvision_station.configuration.model import Kinded
from procvision_station.configuration.reading import StationConfiguration
from procvision_station.kinds import KindError, Kinds, look_at
from procvision_station.parts import StationError
from procvision_tools.extras import MissingExtraError, look_for


def hold_installed(station: StationConfiguration, *, page: bool = True) -> None:
    """Raise StationError for each extra that the station's own processes lack: none of them would ever start."""
    missing: dict[str, str] = {}
    for package, distribution, purpose, extra in _libraries(station, page=page):
        try:
            look_for(package, distribution, purpose, extra)
        except MissingExtraError as error:
            missing.setdefault(extra, str(error))
    if missing:
        raise StationError("\n".join(missing.values()))


def _libraries(station: StationConfiguration, *, page: bool) -> Iterator[tuple[str, str, str, str]]:
    yield "sqlalchemy", "SQLAlchemy", "a station's history", "station"
    yield "alembic", "alembic", "a station's history", "station"
    yield "PIL", "Pillow", "keeping pictures", "station"
    if station.file.projection.database != "sqlite":
        yield "psycopg", "psycopg[binary]", "a projection in PostgreSQL", "postgres"
    if page and station.file.web is not None:
        yield "litestar", "litestar", "the station's page", "station"
        yield "uvicorn", "uvicorn", "the station's page", "station"
        yield "jinja2", "jinja2", "the station's page", "station"
        yield "simplejpeg", "simplejpeg", "a picture on the page", "station"
        yield "argon2", "argon2-cffi", "a list of users", "station"
    if station.file.heads is not None:
        yield "cryptography", "cryptography", "a signature", "sign"


def hold_ready(station: StationConfiguration, kinds: Kinds | None = None) -> None:
    """Raise StationError with all that a start would stop at, as far as it is seen without opening anything."""
    hold_installed(station)
    kinds = kinds if kinds is not None else Kinds.installed()
    problems = [str(problem) for problem in _problems(station, kinds)]
    if problems:
        raise StationError("\n".join(problems))


def _problems(station: StationConfiguration, kinds: Kinds) -> Iterator[str]:
    for name, line in station.lines.items():
        wanted: list[tuple[str, str, Kinded]] = [("trigger", "trigger", line.trigger)]
        wanted += [("camera", f"cameras.{camera}", each) for camera, each in line.cameras.items()]
        wanted += [("output", f"outputs[{place}]", each) for place, each in enumerate(line.outputs)]
        for sort, at, each in wanted:
            try:
                look_at(kinds.load(sort, each.kind), each.options, station.folder)
            except KindError as error:
                yield f"{STATION_FILE}: lines.{name}.{at}: {error}"
            except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises is a reason
                yield f"{STATION_FILE}: lines.{name}.{at}: {each.kind} can't look: {type(error).__name__}: {error}"
