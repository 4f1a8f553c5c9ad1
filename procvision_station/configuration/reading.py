"""Reads a station's folder. What is wrong anywhere is told at once, with file, line, column and a hint."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from attrs import evolve, field, frozen

from procvision_runner.options import RunnerOptions
from procvision_sdk.errors import ManifestError, ProcVisionError
from procvision_sdk.manifest.model import ANY_PID, Manifest
from procvision_sdk.manifest.parameters import AnyParameter
from procvision_station.configuration.checking import Located, Problem, check, dotted
from procvision_station.configuration.model import (
    DeploymentsSection,
    Kinded,
    LineSection,
    PicturesSection,
    ProjectionSection,
    RecipeFile,
    StationFile,
    StationSection,
    WebSection,
)
from procvision_station.configuration.places import Path as KeyPath
from procvision_station.configuration.places import Place, places_of
from procvision_station.kinds import Kinds
from procvision_station.shifts import Shifts, parsed_starts
from procvision_tools.hints import split_hint

STATION_FILE = "station.toml"
RECIPES = "recipes"
DATA = "data"
JOURNALS, PICTURES = "journal", "pictures"
"""Below `data`."""
CHOSEN_FILE = "chosen-recipes.json"
"""Below `data`: a line's recipe that was chosen while it ran."""
MAX_FILE_BYTES = 256 * 1024
"""A file that a person writes has a thousandth of it."""
_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END = " (at end of document)"


class ConfigurationError(ProcVisionError):
    """A station's folder can't be run. `problems` is what is wrong, in the order of files and lines."""

    def __init__(self, problems: list[Located]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@frozen
class Recipe:
    """A recipe, and which version of its file it is."""

    name: str
    product: str
    steps: tuple[RecipeStepOf, ...]
    version: str
    """The first digits of the SHA-256 of its file."""


@frozen
class RecipeStepOf:
    """A step of a recipe, with what its algorithm declares."""

    camera: str
    algorithm: str
    version: str
    """The algorithm's, as it is installed."""
    step: int
    parameters: Mapping[str, Any]
    """Complete: those of the recipe, and the manifest's defaults."""
    reference: Path | None
    given: Mapping[str, Any] = field(factory=dict)
    """Those of the recipe alone, as they are sent."""


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


class _File:
    """A TOML file, and its problems with their places."""

    def __init__(self, path: Path, name: str, content: bytes | None = None) -> None:
        """Read the file, or take `content` in its place."""
        self.path, self.name, self.content = path, name, content
        self.problems: list[Located] = []
        self.places: Mapping[KeyPath, Place] = {}
        self.version = ""
        self.data: dict[str, Any] | None = self._read()

    def _read(self) -> dict[str, Any] | None:
        content = self.content
        if content is None:
            try:
                with self.path.open("rb") as file:
                    content = file.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                hint = "procvision station new FOLDER makes one" if self.name == STATION_FILE else ""
                self._add(None, f"it can't be read: {error.strerror or error}", hint)
                return None
        if len(content) > MAX_FILE_BYTES:
            self._add(None, f"it has more than {MAX_FILE_BYTES} bytes")
            return None
        self.content = content
        self.version = version_of(content)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            before = content[: error.start]
            place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
            self._add(place, "it is no UTF-8 from here on", "save it as UTF-8")
            return None
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._add(*_told_by_toml(str(error), text))
            return None
        except (RecursionError, ValueError) as error:
            self._add(None, f"it can't be read: {error}")
            return None
        self.places = places_of(text)
        return data

    def add(self, problem: Problem) -> None:
        """Add a problem at its key, or at the nearest one above it that is written down."""
        path = problem.path
        while path not in self.places and path:
            path = path[:-1]
        self._add(self.places.get(path), problem.message, problem.hint)

    def _add(self, place: Place | None, message: str, hint: str = "") -> None:
        self.problems.append(Located(self.name, place, message, hint))

    def sorted_problems(self) -> list[Located]:
        """Return the problems in the order of the lines."""
        return sorted(self.problems, key=lambda each: each.place or Place(0, 0))


def version_of(content: bytes) -> str:
    """Return a recipe's version: the first digits of the SHA-256 of its file."""
    return hashlib.sha256(content).hexdigest()[:12]


def _told_by_toml(message: str, text: str) -> tuple[Place, str, str]:
    match = _AT.search(message)
    if match is not None:
        place = Place(int(match[1]), int(match[2]))
        message = message[: match.start()]
    else:
        place = Place(text.count("\n") + 1, len(text) - text.rfind("\n"))
        message = message.removesuffix(_AT_END)
    return place, f"it is no TOML here: {message[:1].lower()}{message[1:]}", "toml.io has the rules"


def deployments_root(folder: Path) -> Path | None:
    """Return where a station's versions lie, by its file; None where it names none, or not rightly."""
    written = (_File(folder / STATION_FILE, STATION_FILE).data or {}).get("deployments")
    section = check(written, DeploymentsSection, ("deployments",), []) if written is not None else None
    return folder / section.root if section is not None else None


def read_station(folder: Path, kinds: Kinds | None = None) -> StationConfiguration:
    """Read and check a station's folder. Raises ConfigurationError with everything that is wrong."""
    kinds = kinds if kinds is not None else Kinds.installed()
    file = _File(folder / STATION_FILE, STATION_FILE)
    found: list[Problem] = []
    station: StationFile | None = check(file.data, StationFile, (), found) if file.data is not None else None
    lines: dict[str, LineConfiguration] = {}
    recipes: dict[str, _File] = {}
    if station is not None:
        found.extend(_zone_problems(station.station))
        if station.web is not None:
            found.extend(_web(folder, station.web))
    chosen = read_chosen(folder)
    # A mistake elsewhere in the file hides none of a line that can be read.
    written = file.data.get("lines") if file.data is not None else None
    for name, table in written.items() if isinstance(written, dict) else ():
        section: LineSection | None = check(table, LineSection, ("lines", name), [])
        if section is not None:
            line = _line(name, section, kinds, found)
            wanted = chosen.get(name, section.recipe)
            recipe = _recipe(folder, wanted, section.cameras, recipes, found, ("lines", name, "recipe"))
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


def read_chosen(folder: Path) -> dict[str, str]:
    """Return the recipes that lines were given while they ran, by the line's name; station.toml has the others."""
    try:
        return msgspec.json.decode((folder / DATA / CHOSEN_FILE).read_bytes(), type=dict[str, str])
    except (OSError, ValueError):
        return {}


def read_recipe(folder: Path, name: str, line: LineConfiguration, content: bytes | None = None) -> Recipe:
    """Check a recipe for a line, as its file is, or as `content` would be. Raises ConfigurationError."""
    shown = f"{RECIPES}/{name}.toml"
    found: list[Problem] = []
    recipes = {name: _File(folder / shown, shown, content)} if content is not None else {}
    recipe = _recipe(folder, name, line.cameras, recipes, found, ("lines", line.name, "recipe"))
    if recipe is None:
        problems = [Located(STATION_FILE, None, each.message, each.hint) for each in found]
        raise ConfigurationError([*problems, *(located for file in recipes.values() for located in file.problems)])
    return recipe


def read_projection(folder: Path) -> tuple[PicturesSection, ProjectionSection]:
    """Read what a projection needs of a station's file: a mistake elsewhere keeps nobody from the history.

    Raises ConfigurationError.
    """
    file = _File(folder / STATION_FILE, STATION_FILE)
    data = file.data or {}
    found: list[Problem] = []
    pictures = check(data.get("pictures", {}), PicturesSection, ("pictures",), found)
    projection = check(data.get("projection", {}), ProjectionSection, ("projection",), found)
    for problem in found if file.data is not None else ():
        file.add(problem)
    if file.problems or pictures is None or projection is None:
        raise ConfigurationError(file.sorted_problems())
    return pictures, projection


@frozen
class RecipeReading:
    """A recipe's file, whether or not it can be run."""

    text: str
    version: str
    recipe: Recipe | None
    """None where something is wrong."""
    declared: tuple[Sequence[AnyParameter], ...]
    """What the manifests declare, a step each."""
    lines: tuple[str, ...]
    """Those that run it."""
    problems: list[Located]


def recipe_names(folder: Path) -> list[str]:
    """Return the recipes that there is a file of."""
    return sorted(path.stem for path in (folder / RECIPES).glob("*.toml"))


def look_at_recipe(folder: Path, name: str, text: str | None = None) -> RecipeReading:
    """Read one recipe, or hold `text` to what it would be in its place. Nothing is raised: what is wrong is told."""
    shown = f"{RECIPES}/{name}.toml"
    station = _File(folder / STATION_FILE, STATION_FILE)
    written = (station.data or {}).get("lines")
    chosen = read_chosen(folder)
    using: dict[str, Collection[str]] = {}
    everywhere: dict[str, None] = {}
    for line, table in written.items() if isinstance(written, dict) else ():
        cameras = table.get("cameras") if isinstance(table, dict) else None
        if isinstance(cameras, dict):
            everywhere.update(dict.fromkeys(cameras))
            if chosen.get(line, table.get("recipe")) == name:
                using[line] = list(cameras)
    content = text.encode("utf-8", "surrogatepass") if text is not None else None
    recipe: Recipe | None = None
    file = _File(folder / shown, shown, content)
    # A recipe that no line uses is held to the cameras of all.
    for place, (line, cameras) in enumerate((using or {"": list(everywhere)}).items()):
        recipe = _checked_recipe(folder, name, file, cameras, line, fresh=place == 0)
    recipe = None if file.problems else recipe
    declared = []
    for step in recipe.steps if recipe is not None else ():
        manifest = _manifest(folder, step.algorithm, recipe.product, (), []) if recipe is not None else None
        declared_step = manifest.step(step.step) if manifest is not None else None
        declared.append(declared_step.params if declared_step is not None else ())
    return RecipeReading(
        text=(file.content or b"").decode("utf-8", "replace"),
        version=file.version,
        recipe=recipe,
        declared=tuple(declared),
        lines=tuple(using),
        problems=file.sorted_problems(),
    )


@frozen
class PageConfiguration:
    """What a page needs of a station's folder."""

    folder: Path
    station: StationSection
    web: WebSection
    projection: ProjectionSection
    lines: tuple[str, ...]

    @property
    def deployments_root(self) -> Path:
        """Where installed versions lie, also where no line runs them."""
        return deployments_root(self.folder) or self.folder / DeploymentsSection().root

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
    file = _File(folder / STATION_FILE, STATION_FILE)
    data = file.data or {}
    found: list[Problem] = []
    station = check(data.get("station", {}), StationSection, ("station",), found)
    written = data.get("web", {})
    table = {**written, **instead} if isinstance(written, dict) else written
    web = check(table, WebSection, ("web",), found)
    if web is not None:
        found.extend(_web(folder, web))
    projection = check(data.get("projection", {}), ProjectionSection, ("projection",), found)
    if station is not None:
        found.extend(_zone_problems(station))
    lines = data.get("lines")
    for problem in found if file.data is not None else ():
        file.add(problem)
    if file.problems or station is None or web is None or projection is None:
        raise ConfigurationError(file.sorted_problems())
    return PageConfiguration(folder, station, web, projection, tuple(lines) if isinstance(lines, dict) else ())


def shifts_of(section: StationSection) -> Shifts:
    """Return the plant's shifts."""
    return Shifts(ZoneInfo(section.time_zone), parsed_starts(section.shifts))


def _zone_problems(section: StationSection) -> Iterator[Problem]:
    try:
        ZoneInfo(section.time_zone)
    except (OSError, ValueError, KeyError):  # of another form, of a file that is none, or not there
        message = f"station.time_zone: {section.time_zone!r:.60} is no time zone"
        yield Problem(("station", "time_zone"), message, "such as Europe/Berlin")


def _web(folder: Path, section: WebSection) -> Iterator[Problem]:
    """Yield what is wrong with the page's table as a whole."""
    for name, other in (("certificate", "key"), ("key", "certificate")):
        given = getattr(section, name)
        if given is None:
            continue
        if getattr(section, other) is None:
            yield Problem(("web", name), f"web.{name} is given without {other}", "TLS needs both files")
        elif not (folder / given).is_file():
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
        manifest = _manifest(folder, name, product, here, found)
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
            if not (folder / given).exists():
                found.append(Problem(key, f"{dotted(key)}: there is no {given}", "relative to station.toml"))
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
        found.append(Problem((*at, "kind"), f"{dotted(at)}: the {sort} {kind} is installed but broken: {loaded}"))
        return None
    before = len(found)
    options = check({key: value for key, value in table.items() if key != "kind"}, loaded.options, at, found)
    return Kinded(kind=kind, options=options) if len(found) == before else None


def _recipe(
    folder: Path,
    name: str,
    cameras: Mapping[str, Any],
    recipes: dict[str, _File],
    found: list[Problem],
    at: KeyPath,
) -> Recipe | None:
    shown = f"{RECIPES}/{name}.toml"
    file = recipes.get(name)
    fresh = file is None
    if file is None:
        if not (folder / shown).is_file():
            there = recipe_names(folder)
            close = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(there) or 'none'}"
            found.append(Problem(at, f"{dotted(at)}: there is no {shown}", hint))
            return None
        file = recipes[name] = _File(folder / shown, shown)
    return _checked_recipe(folder, name, file, cameras, at[1], fresh=fresh)


def _checked_recipe(
    folder: Path, name: str, file: _File, cameras: Collection[str], line: str | int, *, fresh: bool
) -> Recipe | None:
    """Hold a recipe's file to its keys, to a line's cameras and to what is installed."""
    if file.data is None:
        return None
    wrong: list[Problem] = []
    recipe: RecipeFile | None = check(file.data, RecipeFile, (), wrong)
    steps: list[RecipeStepOf] = []
    if recipe is not None:
        for place, each in enumerate(recipe.steps):
            at_step: KeyPath = ("steps", place)
            if each.camera not in cameras:
                message = f"steps[{place}].camera: the line {line} has no camera {each.camera}"
                wrong.append(Problem((*at_step, "camera"), message, f"it has {', '.join(cameras)}"))
            manifest = _manifest(folder, each.algorithm, recipe.product, (*at_step, "algorithm"), wrong)
            reference = _reference(folder, each.reference, (*at_step, "reference"), wrong)
            if manifest is None:
                continue
            parameters = complete_parameters(manifest, recipe.product, each.step, each.parameters, at_step, wrong)
            steps.append(
                RecipeStepOf(
                    camera=each.camera,
                    algorithm=each.algorithm,
                    version=manifest.version,
                    step=each.step,
                    parameters=parameters,
                    reference=reference,
                    given=each.parameters,
                )
            )
    for problem in wrong:
        located = len(file.problems)
        file.add(problem)
        if not fresh and file.problems[located] in file.problems[:located]:
            del file.problems[located]  # two lines have one recipe, and one mistake
    if wrong or recipe is None:
        return None
    return Recipe(name, recipe.product, tuple(steps), file.version)


def _manifest(folder: Path, requirement: str, product: str, at: KeyPath, wrong: list[Problem]) -> Manifest | None:
    """Return the manifest of the algorithm that inspects a product. Nothing of the algorithm is imported."""
    root = deployments_root(folder)
    if root is None:
        return _manifest_here(requirement, at, wrong)
    from procvision_station.versions import active_manifest

    try:
        return active_manifest(root, requirement, product)
    except ProcVisionError as error:
        message, hint = split_hint(str(error))
        wrong.append(Problem(at, f"{dotted(at)}: {message}", hint))
        return None


def _manifest_here(requirement: str, at: KeyPath, wrong: list[Problem]) -> Manifest | None:
    """Return the manifest of an algorithm of the station's own environment."""
    from importlib_metadata import entry_points

    from procvision_sdk.distributions import split
    from procvision_sdk.manifest.finding import manifest_folder
    from procvision_sdk.manifest.model import ALGORITHM_GROUP, MANIFEST_FILE
    from procvision_sdk.manifest.reading import read_manifest

    text, _, version = requirement.partition("==")
    try:
        name, distribution = split(text)
    except ValueError as error:
        wrong.append(Problem(at, f"{dotted(at)}: {error}"))
        return None
    points = [point for point in entry_points(group=ALGORITHM_GROUP) if point.name == name]
    if distribution is not None:
        points = [point for point in points if point.dist is not None and point.dist.name == distribution]
    if not points:
        known = entry_points(group=ALGORITHM_GROUP).names
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"installed are {', '.join(sorted(known)) or 'none'}"
        wrong.append(Problem(at, f"{dotted(at)}: no algorithm {text!r:.60} is installed", hint))
        return None
    try:
        manifest = read_manifest(manifest_folder(points[0].value) / MANIFEST_FILE)
    except ManifestError as error:
        wrong.append(Problem(at, f"{dotted(at)}: {name} is installed but broken: {error}"))
        return None
    if version and manifest.version != version:
        message = f"{dotted(at)}: {name} is installed in version {manifest.version}, asked for is {version}"
        wrong.append(Problem(at, message, f"{name}=={manifest.version}"))
        return None
    return manifest


def _reference(folder: Path, given: str | None, at: KeyPath, wrong: list[Problem]) -> Path | None:
    from procvision_tools.sources.picture_files import PictureFileError, look

    if given is None:
        return None
    path = folder / given
    if not path.resolve().is_relative_to(folder.resolve()):
        wrong.append(
            Problem(at, f"{dotted(at)}: {given} is outside of the station's folder", "copy it into the folder")
        )
        return None
    try:
        look(path)
    except PictureFileError as error:
        message, _, hint = str(error).partition("\nhint: ")
        wrong.append(Problem(at, f"{dotted(at)}: {message}", hint))
        return None
    return path


def complete_parameters(
    manifest: Manifest, product: str, index: int, given: Mapping[str, Any], at: KeyPath, wrong: list[Problem]
) -> Mapping[str, Any]:
    """Return a step's parameters with the manifest's defaults; what the manifest doesn't take is added to `wrong`."""
    from procvision_sdk.errors import CallRefusedError
    from procvision_sdk.manifest.parameters import ParameterSchema

    if not manifest.supports(product):
        message = f"product: {manifest.name} does not inspect {product!r:.60}"
        wrong.append(Problem(("product",), message, f"it takes {', '.join(manifest.supported_pids)}"))
    step = manifest.step(index)
    if step is None:
        known = ", ".join(str(each.index) for each in manifest.steps)
        message = f"{dotted((*at, 'step'))}: {manifest.name} has no step {index}"
        wrong.append(Problem((*at, "step"), message, f"it has {known}"))
        return {}
    complete: dict[str, Any] = {}
    for key in given:
        try:
            ParameterSchema(index, [each for each in step.params if each.key == key]).completed({key: given[key]}, None)
        except CallRefusedError as error:
            known = ", ".join(each.key for each in step.params) or "none"
            wrong.append(
                Problem((*at, "parameters", key), f"{dotted((*at, 'parameters', key))}: {error}", f"known: {known}")
            )
    try:
        complete = ParameterSchema(index, step.params).completed(given, None)
    except CallRefusedError as error:
        if not any(problem.path[: len(at) + 1] == (*at, "parameters") for problem in wrong):
            wrong.append(Problem((*at, "parameters"), f"{dotted(at)}.parameters: {error}"))
    plain: dict[str, Any] = msgspec.to_builtins(complete)
    return plain
