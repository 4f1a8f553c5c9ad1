"""What a user changes, handed to the line's process: it is done when it stands in the ledger, with who did it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from attrs import frozen
from litestar import post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from procvision_sdk.errors import ProcVisionError
from procvision_station.configuration.editing import EditError
from procvision_station.control import (
    ANSWER_WITHIN_S,
    Answer,
    ChangeRecipe,
    ChooseRecipe,
    Command,
    ControlError,
    Note,
    NotRunningError,
    Overrule,
    Pin,
    send,
)
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import CLEAN, Here, Key, LineName, ModelHere, asked
from procvision_station.web.api.recipes import RecipeName, Recipes, RecipesHere
from procvision_station.web.doors import needs
from procvision_station.web.problems import RequestRefusedError


@frozen
class Changes:
    """The way to the line's process."""

    data_folder: Path

    def send(self, command: Command, timeout_s: float = ANSWER_WITHIN_S) -> Recorded:
        """Return where a command is recorded. Raises RequestRefusedError."""
        try:
            answer: Answer = send(self.data_folder, command, timeout_s)
        except NotRunningError as error:
            raise RequestRefusedError(503, "not_running") from error
        except ControlError as error:
            raise _refused(error) from error
        return Recorded(line=answer.line or "", sequence=answer.sequence or 0)


def _refused(error: ProcVisionError) -> RequestRefusedError:
    problem, _, advice = str(error).partition("\nhint: ")
    return RequestRefusedError(409, "command", problem=problem[:500], advice=advice[:500])


ChangesHere = NamedDependency[SkipValidation[Changes]]


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the ledger a change stands."""

    line: str
    sequence: int


Pixels = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Side = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class DrawnBox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A defect that a person sees, in pixels of the step's picture."""

    step: Annotated[int, msgspec.Meta(ge=0, lt=10_000)]
    """Counted from 0."""
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=CLEAN)]
    x: Pixels
    y: Pixels
    width: Side
    height: Side


class OverruleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's verdict beside the algorithm's, and why."""

    verdict: Literal["OK", "NG"]
    why: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
    defects: Annotated[list[DrawnBox], msgspec.Meta(max_length=500)] | None = None
    """Where the defects are, all of them; left out, the algorithm's boxes stand. Of an NG alone."""


class NoteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's words on a product."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class PinBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a product's pictures are kept whatever the policy says."""

    pinned: bool
    why: Annotated[str, msgspec.Meta(max_length=4000)] = ""


RecipeFileText = Annotated[str, msgspec.Meta(min_length=1, max_length=128 * 1024)]
Why = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{12}$")]
ParameterKey = Annotated[str, msgspec.Meta(max_length=64)]


class RecipeText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recipe's file."""

    text: RecipeFileText


class RecipeProblems(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, each with file, line and column; none where nothing is."""

    problems: list[str]


class RecipeChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recipe's file as it shall be."""

    text: RecipeFileText
    was: Version | None
    """The version that was changed: another one since then refuses it. None makes a recipe."""
    why: Why


class RecipeParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values of a recipe's parameters, by step. One that isn't named stays as it is."""

    steps: Annotated[list[dict[ParameterKey, Any]], msgspec.Meta(max_length=256)]
    """A table for each step. null takes a value out: the manifest's default counts then."""
    was: Version
    """The version that was changed: another one since then refuses it."""
    why: Why


class RecipeChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which recipe, and why."""

    recipe: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    why: Why


@post("/lines/{line:str}/products/{key:str}/overrule", opt=needs(Role.OPERATOR), tags=["changes"], sync_to_thread=True)
def overrule(
    request: Here, line: LineName, key: Key, data: JSONBody[OverruleBody], model: ModelHere, changes: ChangesHere
) -> Recorded:
    """Overrule a product's verdict. What the algorithm said stays; both are shown and exported."""
    steps = _known(model, line, key)
    if data.defects and (data.verdict == "OK" or not {each.step for each in data.defects} <= steps):
        raise RequestRefusedError(400, "drawn", where="defects", bound=", ".join(map(str, sorted(steps))))
    drawn = [msgspec.to_builtins(each) for each in data.defects] if data.defects is not None else None
    command = Overrule(
        user=request.user.user.id, line=line, key=key, verdict=data.verdict, why=data.why, defects=drawn
    )  # fmt: skip
    return changes.send(command)


@post("/lines/{line:str}/products/{key:str}/notes", opt=needs(Role.OPERATOR), tags=["changes"], sync_to_thread=True)
def note(
    request: Here, line: LineName, key: Key, data: JSONBody[NoteBody], model: ModelHere, changes: ChangesHere
) -> Recorded:
    """Add a note to a product."""
    _known(model, line, key)
    return changes.send(Note(user=request.user.user.id, line=line, key=key, text=data.text))


@post("/lines/{line:str}/products/{key:str}/pin", opt=needs(Role.OPERATOR), tags=["changes"], sync_to_thread=True)
def pin(
    request: Here, line: LineName, key: Key, data: JSONBody[PinBody], model: ModelHere, changes: ChangesHere
) -> Recorded:
    """Keep a product's pictures, or let retention have them again."""
    _known(model, line, key)
    return changes.send(Pin(user=request.user.user.id, line=line, key=key, pinned=data.pinned, why=data.why))


@put("/recipes/{name:str}", opt=needs(Role.ENGINEER), tags=["changes"], sync_to_thread=True)
def change_recipe(
    request: Here, name: RecipeName, data: JSONBody[RecipeChange], recipes: RecipesHere, changes: ChangesHere
) -> Recorded:
    """Give a recipe another text: the lines that run it take it on between two products.

    It is tried on its references first. The text of an earlier version takes a change back.
    """
    return _changed(request, recipes, changes, data, name)


@put("/recipes/{name:str}/parameters", opt=needs(Role.ENGINEER), tags=["changes"], sync_to_thread=True)
def change_parameters(
    request: Here, name: RecipeName, data: JSONBody[RecipeParameters], recipes: RecipesHere, changes: ChangesHere
) -> Recorded:
    """Set parameters of a recipe, held to the manifest's declarations; the rest of its file stays as it is.

    What is wrong is told for each value in `fields`. The lines take it on as they take another text.
    """
    try:
        text = recipes.with_parameters(name, data.steps)
    except EditError as error:
        raise _refused(error) from error
    return _changed(request, recipes, changes, RecipeChange(text=text, was=data.was, why=data.why), name)


def _changed(request: Here, recipes: Recipes, changes: Changes, wanted: RecipeChange, name: str) -> Recorded:
    problems = recipes.problems(name, wanted.text)
    if problems:
        where, _, problem = problems[0].partition(": ")
        raise RequestRefusedError(400, "invalid", where=where, problem=problem.partition("\n")[0][:500])
    command = ChangeRecipe(user=request.user.user.id, recipe=name, text=wanted.text, base=wanted.was, why=wanted.why)
    return changes.send(command)


@post("/recipes/{name:str}/check", opt=needs(Role.ENGINEER), status_code=200, tags=["recipes"], sync_to_thread=True)
def check_recipe(name: RecipeName, data: JSONBody[RecipeText], recipes: RecipesHere) -> RecipeProblems:
    """Say what would be wrong with a recipe's text, with line and column. Nothing is changed."""
    return RecipeProblems(problems=recipes.problems(name, data.text))


@post("/lines/{line:str}/recipe", opt=needs(Role.ENGINEER), tags=["changes"], sync_to_thread=True)
def choose_recipe(request: Here, line: LineName, data: JSONBody[RecipeChoice], changes: ChangesHere) -> Recorded:
    """Let a line inspect by another recipe from the next product on."""
    command = ChooseRecipe(user=request.user.user.id, line=line, recipe=data.recipe, why=data.why)
    return changes.send(command)


ROUTES = (overrule, note, pin, change_recipe, change_parameters, check_recipe, choose_recipe)


def _known(model: ModelHere, line: str, key: str) -> set[int]:
    """Return the steps of a product. Raises RequestRefusedError where there is none."""
    with asked():
        found = model.product(line, key)
    if found is None:
        raise RequestRefusedError(404, "product", where=key)
    return {step.step for step in found.steps}
