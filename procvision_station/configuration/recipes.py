"""Recipes: each held to its keys, to the cameras of its line and to what is installed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from attrs import field, frozen

from procvision_sdk.errors import ManifestError, ProcVisionError
from procvision_sdk.manifest.model import Manifest
from procvision_sdk.manifest.parameters import AnyParameter
from procvision_station.configuration.checking import Located, Problem, check, dotted
from procvision_station.configuration.files import (
    RECIPES,
    STATION_FILE,
    ConfigurationError,
    TomlFile,
    is_there,
    read_chosen,
)
from procvision_station.configuration.model import DeploymentsSection, RecipeFile
from procvision_station.configuration.places import Path as KeyPath
from procvision_tools.hints import split_hint


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


def read_recipe(folder: Path, name: str, line: str, cameras: Collection[str], content: bytes | None = None) -> Recipe:
    """Check a recipe for a line with its cameras, as its file is, or as `content` would be.

    Raises ConfigurationError.
    """
    shown = f"{RECIPES}/{name}.toml"
    found: list[Problem] = []
    recipes = {name: TomlFile(folder / shown, shown, content)} if content is not None else {}
    recipe = recipe_of_line(folder, name, cameras, recipes, found, ("lines", line, "recipe"))
    if recipe is None:
        problems = [Located(STATION_FILE, None, each.message, each.hint) for each in found]
        raise ConfigurationError([*problems, *(located for file in recipes.values() for located in file.problems)])
    return recipe


def look_at_recipe(folder: Path, name: str, text: str | None = None) -> RecipeReading:
    """Read one recipe, or hold `text` to what it would be in its place. Nothing is raised: what is wrong is told."""
    shown = f"{RECIPES}/{name}.toml"
    station = TomlFile(folder / STATION_FILE, STATION_FILE)
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
    file = TomlFile(folder / shown, shown, content)
    # A recipe that no line uses is held to the cameras of all.
    for place, (line, cameras) in enumerate((using or {"": list(everywhere)}).items()):
        recipe = _checked_recipe(folder, name, file, cameras, line, fresh=place == 0)
    recipe = None if file.problems else recipe
    declared = []
    for step in recipe.steps if recipe is not None else ():
        manifest = manifest_of(folder, step.algorithm, recipe.product, (), []) if recipe is not None else None
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


def recipe_of_line(
    folder: Path,
    name: str,
    cameras: Collection[str],
    recipes: dict[str, TomlFile],
    found: list[Problem],
    at: KeyPath,
) -> Recipe | None:
    """Return the recipe that a line names at `at`. `recipes` has the files that were read, with their problems."""
    shown = f"{RECIPES}/{name}.toml"
    file = recipes.get(name)
    fresh = file is None
    if file is None:
        if not is_there(folder / shown, Path.is_file):
            there = recipe_names(folder)
            close = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(there) or 'none'}"
            found.append(Problem(at, f"{dotted(at)}: there is no {shown}", hint))
            return None
        file = recipes[name] = TomlFile(folder / shown, shown)
    return _checked_recipe(folder, name, file, cameras, at[1], fresh=fresh)


def _checked_recipe(
    folder: Path, name: str, file: TomlFile, cameras: Collection[str], line: str | int, *, fresh: bool
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
            manifest = manifest_of(folder, each.algorithm, recipe.product, (*at_step, "algorithm"), wrong)
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
            known = ", ".join(each.key for each in step.params) or "none"
            wrong.append(Problem((*at, "parameters"), f"{dotted(at)}.parameters: {error}", f"known: {known}"))
    plain: dict[str, Any] = msgspec.to_builtins(complete)
    return plain


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
        wrong.append(Problem(at, f"{dotted(at)}: {message}", hint or "a picture's file beside station.toml, or below"))
        return None
    return path


def deployments_section(folder: Path) -> DeploymentsSection | None:
    """Return a station's table of installed versions; None where there is none, or not rightly."""
    written = (TomlFile(folder / STATION_FILE, STATION_FILE).data or {}).get("deployments")
    section: DeploymentsSection | None = None
    if written is not None:
        section = check(written, DeploymentsSection, ("deployments",), [])
    return section


def deployments_root(folder: Path) -> Path | None:
    """Return where a station's versions lie, by its file; None where it names none, or not rightly."""
    section = deployments_section(folder)
    return folder / section.root if section is not None else None


def manifest_of(folder: Path, requirement: str, product: str, at: KeyPath, wrong: list[Problem]) -> Manifest | None:
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
        wrong.append(Problem(at, f"{dotted(at)}: {error}", "NAME, NAME==VERSION or NAME@DISTRIBUTION"))
        return None
    points = [point for point in entry_points(group=ALGORITHM_GROUP) if point.name == name]
    if distribution is not None:
        points = [point for point in points if point.dist is not None and point.dist.name == distribution]
    if not points:
        known = entry_points(group=ALGORITHM_GROUP).names
        close = difflib.get_close_matches(name, known, n=1)
        there = f"installed are {', '.join(sorted(known)) or 'none'}"
        hint = f"did you mean {close[0]}?" if close else f"pip install the distribution that brings it; {there}"
        wrong.append(Problem(at, f"{dotted(at)}: no algorithm {text!r:.60} is installed", hint))
        return None
    try:
        manifest = read_manifest(manifest_folder(points[0].value) / MANIFEST_FILE)
    except ManifestError as error:
        wrong.append(
            Problem(at, f"{dotted(at)}: {name} is installed but broken: {error}", f"procvision validate {name}")
        )
        return None
    if version and manifest.version != version:
        message = f"{dotted(at)}: {name} is installed in version {manifest.version}, asked for is {version}"
        wrong.append(Problem(at, message, f"{name}=={manifest.version}"))
        return None
    return manifest
