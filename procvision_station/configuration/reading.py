"""Reads a station's folder. What is wrong anywhere is told at once, with file, line, column and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from procvision_runner.options import RunnerOptions
from procvision_sdk.manifest.model import ANY_PID
from procvision_station.configuration.checking import Problem, check, dotted
from procvision_station.configuration.files import (
    DATA,
    JOURNALS,
    PICTURES,
    STATION_FILE,
    ConfigurationError,
    TomlFile,
    is_there,
    read_chosen,
)
from procvision_station.configuration.model import (
    Kinded,
    LineSection,
    PicturesSection,
    ProjectionSection,
    StationFile,
)
from procvision_station.configuration.page import shifts_of, web_problems, zone_problems
from procvision_station.configuration.places import Path as KeyPath
from procvision_station.configuration.recipes import Recipe, manifest_of, recipe_of_line
from procvision_station.kinds import Kinds
from procvision_station.shifts import Shifts


@frozen
class LineConfiguration:
    """One line, ready to run."""

    name: str
    recipe: Recipe
    deadline_s: float
    grab_within_s: float
    max_products: int
    trigger: Kinded
    cameras: Mapping[str, Kinded]
    outputs: tuple[Kinded, ...]
    shut_in: Mapping[str, RunnerOptions] = field(factory=dict)
    """How the hosts of algorithms are launched, by the algorithm's name; of those that the file says something of."""


@frozen
class StationConfiguration:
    """A station's folder."""

    folder: Path
    file: StationFile
    lines: Mapping[str, LineConfiguration]

    @property
    def data_folder(self) -> Path:
        """Where what the station writes lies."""
        return self.folder / DATA

    @property
    def journals_folder(self) -> Path:
        """Where the journals of all lines lie."""
        return self.folder / DATA / JOURNALS

    @property
    def shifts(self) -> Shifts:
        """The plant's shifts."""
        return shifts_of(self.file.station)

    @property
    def deployments_root(self) -> Path | None:
        """Where the versions lie that its lines run; None where algorithms come from the station's environment."""
        section = self.file.deployments
        return self.folder / section.root if section is not None else None

    def journal_folder(self, line: str) -> Path:
        """Return where a line's journal lies."""
        return self.journals_folder / line

    @property
    def pictures_folder(self) -> Path:
        """Where the pictures lie."""
        return self.folder / DATA / PICTURES


def read_station(folder: Path, kinds: Kinds | None = None) -> StationConfiguration:
    """Read and check a station's folder. Raises ConfigurationError with everything that is wrong."""
    kinds = kinds if kinds is not None else Kinds.installed()
    file = TomlFile(folder / STATION_FILE, STATION_FILE)
    found: list[Problem] = []
    station: StationFile | None = check(file.data, StationFile, (), found) if file.data is not None else None
    lines: dict[str, LineConfiguration] = {}
    recipes: dict[str, TomlFile] = {}
    if station is not None:
        found.extend(zone_problems(station.station))
        found.extend(_missing_files(folder, station))
        if station.web is not None:
            found.extend(web_problems(folder, station.web))
    chosen = read_chosen(folder)
    # A mistake elsewhere in the file hides none of a line that can be read.
    written = file.data.get("lines") if file.data is not None else None
    for name, table in written.items() if isinstance(written, dict) else ():
        section: LineSection | None = check(table, LineSection, ("lines", name), [])
        if section is not None:
            line = _line(name, section, kinds, found)
            wanted = chosen.get(name, section.recipe)
            recipe = recipe_of_line(folder, wanted, section.cameras, recipes, found, ("lines", name, "recipe"))
            product = recipe.product if recipe is not None else ANY_PID
            shut_in = _shut_in(folder, section, product, ("lines", name, "algorithms"), found)
            if line is not None and recipe is not None:
                lines[name] = evolve(line, recipe=recipe, shut_in=shut_in)
    for problem in found:
        file.add(problem)
    problems = file.sorted_problems()
    for each in recipes.values():
        problems += each.sorted_problems()
    if problems or station is None:
        raise ConfigurationError(problems)
    return StationConfiguration(folder, station, lines)


def read_projection(folder: Path) -> tuple[PicturesSection, ProjectionSection]:
    """Read what a projection needs of a station's file: a mistake elsewhere keeps nobody from the history.

    Raises ConfigurationError.
    """
    file = TomlFile(folder / STATION_FILE, STATION_FILE)
    data = file.data or {}
    found: list[Problem] = []
    pictures = check(data.get("pictures", {}), PicturesSection, ("pictures",), found)
    projection = check(data.get("projection", {}), ProjectionSection, ("projection",), found)
    for problem in found if file.data is not None else ():
        file.add(problem)
    if file.problems or pictures is None or projection is None:
        raise ConfigurationError(file.sorted_problems())
    return pictures, projection


def _missing_files(folder: Path, station: StationFile) -> Iterator[Problem]:
    """Yield files and folders that the file names, and that must be there before the station starts."""
    named = [("heads", "key", False)] if station.heads is not None else []
    named += [("deployments", key, key != "keys") for key in ("keys", "golden", "bundles")]
    for table, key, is_folder in named:
        given = getattr(getattr(station, table), key, None)
        if given is None:
            continue
        if not is_there(folder / given, Path.is_dir if is_folder else Path.is_file):
            what = "folder" if is_folder else "file"
            yield Problem((table, key), f"{table}.{key}: there is no {what} {given!r:.60}", "relative to station.toml")


def _line(name: str, section: LineSection, kinds: Kinds, found: list[Problem]) -> LineConfiguration | None:
    at = ("lines", name)
    before = len(found)
    trigger = _kinded("trigger", section.trigger, (*at, "trigger"), kinds, found)
    cameras = {
        camera: _kinded("camera", table, (*at, "cameras", camera), kinds, found)
        for camera, table in section.cameras.items()
    }
    outputs = [
        _kinded("output", table, (*at, "outputs", place), kinds, found) for place, table in enumerate(section.outputs)
    ]
    if len(found) > before:
        return None
    assert trigger is not None
    return LineConfiguration(
        name=name,
        recipe=Recipe(section.recipe, "", (), ""),
        deadline_s=section.deadline_ms / 1000,
        grab_within_s=(section.grab_within_ms or section.deadline_ms) / 1000,
        max_products=section.max_products,
        trigger=trigger,
        cameras={camera: each for camera, each in cameras.items() if each is not None},
        outputs=tuple(each for each in outputs if each is not None),
    )


def _shut_in(
    folder: Path, section: LineSection, product: str, at: KeyPath, found: list[Problem]
) -> dict[str, RunnerOptions]:
    """Hold what algorithms get to what their manifests ask for. Of an algorithm with a mistake there are no options."""
    from procvision_sdk.manifest.needs import parse_need, parse_needs

    options: dict[str, RunnerOptions] = {}
    for name, wanted in section.algorithms.items():
        here = (*at, name)
        before = len(found)
        manifest = manifest_of(folder, name, product, here, found)
        asked = parse_needs(manifest.needs) if manifest is not None else ()
        for place, text in enumerate(wanted.grants):
            key = (*here, "grants", place)
            try:
                need = parse_need(text)
            except ValueError as error:
                message, _, hint = str(error).partition("; hint: ")
                found.append(Problem(key, f"{dotted(key)}: {message}", hint))
                continue
            if manifest is not None and need not in asked:
                known = ", ".join(map(str, asked)) or "nothing"
                found.append(
                    Problem(key, f"{dotted(key)}: {name} doesn't ask for {need}", f"its manifest needs {known}")
                )
        for place, given in enumerate(wanted.readable):
            key = (*here, "readable", place)
            if not is_there(folder / given, Path.exists):
                found.append(Problem(key, f"{dotted(key)}: there is no {given:.60}", "relative to station.toml"))
        extra = next((key for key in ("grants", "readable") if getattr(wanted, key)), None)
        if extra is not None and wanted.isolation not in (None, "strict"):
            message = f"{dotted((*here, extra))}: they count under strict alone, isolation is {wanted.isolation}"
            found.append(Problem((*here, "isolation"), message, 'isolation = "strict"'))
        if len(found) == before:
            options[name] = RunnerOptions(
                isolation=wanted.isolation or ("strict" if extra is not None else None),
                grants=tuple(wanted.grants),
                readable=tuple((folder / given).absolute() for given in wanted.readable),
            )
    return options


def _kinded(sort: str, table: Mapping[str, Any], at: KeyPath, kinds: Kinds, found: list[Problem]) -> Kinded | None:
    """Check a table by the options of its kind."""
    known = kinds.of(sort)
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in known:
        close = difflib.get_close_matches(str(kind), known, n=1)
        said = f"there is no {sort} of the kind {kind!r:.60}" if "kind" in table else "kind is missing"
        hint = (f"did you mean {close[0]}? " if close else "") + f"there are {', '.join(sorted(known))}"
        found.append(Problem((*at, "kind"), f"{dotted(at)}: {said}", hint))
        return None
    loaded = kinds.load(sort, kind)
    if isinstance(loaded, str):
        found.append(
            Problem(
                (*at, "kind"),
                f"{dotted(at)}: the {sort} {kind} is installed but broken: {loaded}",
                "install its distribution anew",
            )
        )
        return None
    before = len(found)
    options = check({key: value for key, value in table.items() if key != "kind"}, loaded.options, at, found)
    return Kinded(kind=kind, options=options) if len(found) == before else None
