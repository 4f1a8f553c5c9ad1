"""Recipes: the files as they are, their parameters with bounds, what was taken on when, and what differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from attrs import frozen
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, SkipValidation

from procvision_sdk.manifest.parameters import AnyParameter
from procvision_station.configuration.editing import with_parameters
from procvision_station.configuration.recipes import look_at_recipe, recipe_names
from procvision_station.projection.answers import Page, RecipeRow
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import Limit, ModelHere, Word, asked
from procvision_station.web.doors import needs
from procvision_station.web.problems import FieldProblem, RequestRefusedError

RecipeName = FromPath[Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]]
Version = FromQuery[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{12}$")]]


class ParameterBody(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a step, as the algorithm's manifest declares it."""

    key: str
    type: str
    value: Any
    """As it counts: the recipe's, or the manifest's default."""
    given: bool
    """Whether the recipe says it."""
    bounds: str
    description: str
    declared: dict[str, Any]
    """The manifest's own declaration: `min`, `max`, `unit`, `choices`, `default`, `required` and others, by type."""


class RecipeStepBody(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a recipe."""

    camera: str
    algorithm: str
    version: str
    step: int
    parameters: list[ParameterBody]


class RecipeBody(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe, as its file is now."""

    name: str
    version: str
    text: str
    product: str | None
    lines: list[str]
    """Lines that name it in station.toml."""
    steps: list[RecipeStepBody]
    problems: list[str]
    """What is wrong, each with file, line and column."""


class DifferenceBody(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of two versions: ` ` of both, `-` of the old one, `+` of the new one."""

    lines: list[str]
    whole: bool
    """Whether files are compared; else the parameters that the ledger has."""


@frozen
class Recipes:
    """The station's recipes, read."""

    folder: Path

    def names(self) -> list[str]:
        """Return the recipes' names."""
        return recipe_names(self.folder)

    def problems(self, name: str, text: str) -> list[str]:
        """Return what would be wrong with a text in a recipe's place."""
        return [str(problem) for problem in look_at_recipe(self.folder, name, text).problems]

    def with_parameters(self, name: str, values: Sequence[Mapping[str, Any]]) -> str:
        """Return a recipe's text with parameters set; None leaves one to its default.

        Raises RequestRefusedError with each value that its declaration doesn't take, and EditError.
        """
        found = look_at_recipe(self.folder, name)
        if found.recipe is None or len(values) != len(found.recipe.steps):
            steps = len(found.recipe.steps) if found.recipe is not None else 0
            raise RequestRefusedError(409, "recipe_steps", where=name, bound=steps, value=len(values))
        wrong = [
            FieldProblem(step=place, key=key, problem=problem)
            for place, (declared, step) in enumerate(zip(found.declared, values, strict=True))
            for key, value in step.items()
            if (problem := _problem({each.key: each for each in declared}, key, value)) is not None
        ]
        if wrong:
            raise RequestRefusedError(400, "parameters", where=wrong[0].key, problem=wrong[0].problem, fields=wrong)
        return with_parameters(found.text, values)

    def body(self, name: str) -> RecipeBody:
        """Return a recipe. Raises RequestRefusedError."""
        if name not in self.names():
            raise RequestRefusedError(404, "recipe", where=name, bound=", ".join(self.names()[:20]))
        found = look_at_recipe(self.folder, name)
        return RecipeBody(
            name=name,
            version=found.version,
            text=found.text,
            product=found.recipe.product if found.recipe is not None else None,
            lines=list(found.lines),
            steps=[
                RecipeStepBody(
                    camera=step.camera, algorithm=step.algorithm, version=step.version, step=step.step,
                    parameters=[_parameter(each, step.parameters, step.given) for each in declared],
                )
                for step, declared in zip(found.recipe.steps, found.declared, strict=True)
            ]
            if found.recipe is not None
            else [],
            problems=[str(problem) for problem in found.problems],
        )  # fmt: skip


RecipesHere = NamedDependency[SkipValidation[Recipes]]


@get("/recipes", opt=needs(Role.VIEWER), tags=["recipes"], sync_to_thread=True)
def recipes(recipes: RecipesHere) -> list[RecipeBody]:
    """List the recipes as their files are now."""
    return [recipes.body(name) for name in recipes.names()]


@get("/recipes/{name:str}", opt=needs(Role.VIEWER), tags=["recipes"], sync_to_thread=True)
def recipe(name: RecipeName, recipes: RecipesHere) -> RecipeBody:
    """Return one recipe, its parameters with their bounds, and what is wrong with it."""
    return recipes.body(name)


@get("/recipes/{name:str}/versions", opt=needs(Role.VIEWER), tags=["recipes"], sync_to_thread=True)
def versions(name: RecipeName, model: ModelHere, after: Word = None, limit: Limit = 50) -> Page[RecipeRow]:
    """List the versions that lines took on, the latest first: when, by whom, and why."""
    with asked():
        return model.recipes(name, limit=limit, after=after)


@get("/recipes/{name:str}/difference", opt=needs(Role.VIEWER), tags=["recipes"], sync_to_thread=True)
def difference(
    name: RecipeName, old: Version, recipes: RecipesHere, model: ModelHere, new: FromQuery[str | None] = None
) -> DifferenceBody:
    """Compare a version with another one, or with the file as it is now."""
    before = _taken(model, name, old)
    now = recipes.body(name)
    after = _taken(model, name, new) if new is not None and new != now.version else None
    if before.text is not None and (after is None or after.text is not None):
        texts = (before.text, after.text if after is not None and after.text is not None else now.text)
        return DifferenceBody(lines=_lines(*texts), whole=True)
    plain = [
        {"camera": step.camera, "algorithm": step.algorithm, "step": step.step,
         "parameters": {each.key: each.value for each in step.parameters}}
        for step in now.steps
    ]  # fmt: skip
    shown = [_shown(before.steps), _shown(after.steps if after is not None else plain)]
    return DifferenceBody(lines=_lines(*shown), whole=False)


ROUTES = (recipes, recipe, versions, difference)


def _taken(model: ModelHere, name: str, version: str) -> RecipeRow:
    after = None
    with asked():
        while True:
            page = model.recipes(name, limit=500, after=after)
            for row in page.rows:
                if row.version == version:
                    return row
            after = page.after
            if after is None:
                raise RequestRefusedError(404, "recipe_version", where=version[:80])


def _shown(steps: list[dict[str, Any]]) -> str:
    names = ("camera", "algorithm", "step", "parameters")
    return json.dumps([{name: step.get(name) for name in names} for step in steps], indent=2, sort_keys=True)


def _lines(old: str, new: str) -> list[str]:
    return [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if not line.startswith("?")]


def _parameter(declared: AnyParameter, complete: Any, given: Any) -> ParameterBody:
    return ParameterBody(
        key=declared.key,
        type=str(declared.__struct_config__.tag),
        value=complete.get(declared.key),
        given=declared.key in given,
        bounds=_bounds(declared),
        description=declared.description,
        declared=msgspec.to_builtins(declared),
    )


def _problem(declared: Mapping[str, AnyParameter], key: str, value: Any) -> str | None:
    """Return what is wrong with a parameter's value; None takes it out, so that its default counts."""
    if key not in declared:
        return f"there is no such parameter; there are {', '.join(declared) or 'none'}"
    if value is None:
        return "is required" if declared[key].required else None
    return declared[key].problem(value, None)


def _bounds(declared: AnyParameter) -> str:
    """Return what limits a parameter's value, as a person writes it."""
    low, high = (getattr(declared, name, None) for name in ("min", "max"))
    words = []
    if low is not None or high is not None:
        words.append(f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}".strip())
    choices = getattr(declared, "choices", None)
    words += [", ".join(choices)] if choices else []
    words += [unit] if (unit := getattr(declared, "unit", "")) else []
    return " ".join(words)
