"""What the page needs of a station's file. A mistake in a line keeps nobody from the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from attrs import frozen

from procvision_station.configuration.checking import Problem, check
from procvision_station.configuration.files import DATA, STATION_FILE, ConfigurationError, TomlFile, is_there
from procvision_station.configuration.model import ProjectionSection, StationSection, WebSection
from procvision_station.shifts import Shifts, parsed_starts


@frozen
class PageConfiguration:
    """What a page needs of a station's folder."""

    folder: Path
    station: StationSection
    web: WebSection
    projection: ProjectionSection
    lines: tuple[str, ...]

    @property
    def data_folder(self) -> Path:
        """Where what the station writes lies."""
        return self.folder / DATA

    @property
    def shifts(self) -> Shifts:
        """The plant's shifts."""
        return shifts_of(self.station)


def read_web(folder: Path, instead: Mapping[str, Any]) -> PageConfiguration:
    """Read what a page needs of a station's file; `instead` replaces keys of `[web]`.

    A mistake in a line keeps nobody from the page. Raises ConfigurationError.
    """
    file = TomlFile(folder / STATION_FILE, STATION_FILE)
    data = file.data or {}
    found: list[Problem] = []
    station = check(data.get("station", {}), StationSection, ("station",), found)
    written = data.get("web", {})
    table = {**written, **instead} if isinstance(written, dict) else written
    web = check(table, WebSection, ("web",), found)
    if web is not None:
        found.extend(web_problems(folder, web))
    projection = check(data.get("projection", {}), ProjectionSection, ("projection",), found)
    if station is not None:
        found.extend(zone_problems(station))
    lines = data.get("lines")
    for problem in found if file.data is not None else ():
        file.add(problem)
    if file.problems or station is None or web is None or projection is None:
        raise ConfigurationError(file.sorted_problems())
    return PageConfiguration(folder, station, web, projection, tuple(lines) if isinstance(lines, dict) else ())


def web_problems(folder: Path, section: WebSection) -> Iterator[Problem]:
    """Yield what is wrong with the page's table as a whole."""
    for name, other in (("certificate", "key"), ("key", "certificate")):
        given = getattr(section, name)
        if given is None:
            continue
        if getattr(section, other) is None:
            yield Problem(("web", name), f"web.{name} is given without {other}", "TLS needs both files")
        elif not is_there(folder / given, Path.is_file):
            yield Problem(("web", name), f"web.{name}: there is no file {given}", "relative to station.toml")
    if section.certificate is None and not section.plain and not is_loopback(section.host):
        message = f"web.host: {section.host!r:.60} is reached from elsewhere, and passwords would travel in the clear"
        yield Problem(("web", "host"), message, "certificate and key; or plain = true behind a proxy")


def is_loopback(host: str) -> bool:
    """Return whether nobody but this machine gets to an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shifts_of(section: StationSection) -> Shifts:
    """Return the plant's shifts."""
    return Shifts(ZoneInfo(section.time_zone), parsed_starts(section.shifts))


def zone_problems(section: StationSection) -> Iterator[Problem]:
    """Yield what is wrong with the plant's time zone."""
    try:
        ZoneInfo(section.time_zone)
    except (OSError, ValueError, KeyError):  # of another form, of a file that is none, or not there
        message = f"station.time_zone: {section.time_zone!r:.60} is no time zone"
        yield Problem(("station", "time_zone"), message, "such as Europe/Berlin")
