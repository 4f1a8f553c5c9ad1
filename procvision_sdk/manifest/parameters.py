"""The typed parameters of a step, which a user interface can draw and a host can check.

Each kind is a class of its own with the method `problem(value, size)`: None if the value is allowed, otherwise
what is wrong with it, with the bound and the value.
"""

# No `from __future__ import annotations`: msgspec would compile every annotation of these classes at every start.

import copy
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from procvision_sdk.errors import CallRefusedError, ErrorCode

Size: TypeAlias = "tuple[int, int] | None"
"""A picture's (width, height) in pixels; None where a call has none."""


class Parameter(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """What every parameter has. One with neither `default` nor `required` is optional and absent by default."""

    key: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=64, description="The name in user_params")]
    description: Annotated[str, Meta(description="What an operator reads")] = ""
    required: Annotated[bool, Meta(description="Whether every call must give it")] = False

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        raise NotImplementedError  # pragma: no cover - every kind has its own


def _is_number(value: Any) -> bool:
    """Return whether it is a finite one; an integer beyond any float's reach is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def _range_problem(value: float, low: float | None, high: float | None, unit: str) -> str | None:
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"{'-inf' if low is None else low}..{'inf' if high is None else high}"
        return f"is {value}, allowed is {bounds} {unit}".rstrip()
    return None


class IntParameter(Parameter, kw_only=True, frozen=True, tag="int"):
    """A whole number between `min` and `max`, both included."""

    default: int | UnsetType = UNSET
    min: int | None = None
    max: int | None = None
    unit: str = ""

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        if isinstance(value, bool) or not isinstance(value, int):
            return f"is {value!r:.60}, a whole number is asked for"
        return _range_problem(value, self.min, self.max, self.unit)


class FloatParameter(Parameter, kw_only=True, frozen=True, tag="float"):
    """A finite number between `min` and `max`, both included."""

    default: float | UnsetType = UNSET
    min: float | None = None
    max: float | None = None
    unit: str = ""

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        if not _is_number(value):
            return f"is {value!r:.60}, a number is asked for"
        return _range_problem(value, self.min, self.max, self.unit)


class BoolParameter(Parameter, kw_only=True, frozen=True, tag="bool"):
    """true or false."""

    default: bool | UnsetType = UNSET

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        return None if isinstance(value, bool) else f"is {value!r:.60}, true or false is asked for"


class PatternError(ValueError):
    """A pattern is no regular expression, or takes what can't be matched in linear time."""


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """Return a matcher that takes time in proportion to the text, whatever the pattern is. Raises PatternError.

    RE2's: a pattern is a vendor's and a text is a caller's, and Python's own matcher may take years over the two.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        text = error.args[0] if error.args else ""
        told = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        raise PatternError(
            f"{pattern!r:.80} is no regular expression of RE2: {told}; "
            "hint: look-around, back references and counts over 1000 are left out"
        ) from None


class StringParameter(Parameter, kw_only=True, frozen=True, tag="string"):
    """A text; `pattern` is a regular expression of RE2 that must match the whole of it."""

    default: str | UnsetType = UNSET
    min_length: Annotated[int, Meta(ge=0)] = 0
    max_length: Annotated[int, Meta(ge=0)] | None = None
    pattern: str | None = None

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        if not isinstance(value, str):
            return f"is {value!r:.60}, a text is asked for"
        if len(value) < self.min_length or (self.max_length is not None and len(value) > self.max_length):
            most = "any" if self.max_length is None else self.max_length
            return f"has {len(value)} characters, allowed are {self.min_length}..{most}"
        if self.pattern is not None:
            try:
                found = _compiled(self.pattern).fullmatch(value)
            except (PatternError, UnicodeEncodeError) as error:
                return f"is {value!r:.60}, which can't be held against its pattern: {error}"
            if found is None:
                return f"is {value!r:.60}, which doesn't match {self.pattern!r:.80}"
        return None


class EnumParameter(Parameter, kw_only=True, frozen=True, tag="enum"):
    """One of `choices`."""

    choices: Annotated[list[str], Meta(min_length=1)]
    default: str | UnsetType = UNSET

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        return None if value in self.choices else f"is {value!r:.60}, allowed are {', '.join(self.choices)}"


class RectParameter(Parameter, kw_only=True, frozen=True, tag="rect"):
    """A rectangle in pixels, inside the picture."""

    default: dict[str, float] | UnsetType = UNSET

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        keys = ("x", "y", "width", "height")
        if not isinstance(value, Mapping) or set(value) != set(keys):
            return f"is {value!r:.60}, a rect with {', '.join(keys)} is asked for"
        for key in keys:
            number = value[key]
            if not _is_number(number):
                return f"has {key} = {number!r:.60}, a number is asked for"
        x, y, width, height = (value[key] for key in keys)
        if x < 0 or y < 0 or width <= 0 or height <= 0:
            return f"is x={x}, y={y}, width={width}, height={height}: it has an area and no negative corner"
        if size is not None and (x + width > size[0] or y + height > size[1]):
            return f"reaches to ({x + width}, {y + height}), the picture is {size[0]} x {size[1]}"
        return None


class ListParameter(Parameter, kw_only=True, frozen=True, tag="list"):
    """A list of values of one kind, `of`; further fields are that kind's and hold for each value."""

    of: Annotated[Literal["int", "float", "bool", "string", "enum"], Meta(description="The kind of its values")]
    default: list[Any] | UnsetType = UNSET
    min_items: Annotated[int, Meta(ge=0)] = 0
    max_items: Annotated[int, Meta(ge=0)] | None = None
    min: float | None = None
    max: float | None = None
    unit: str = ""
    min_length: Annotated[int, Meta(ge=0)] = 0
    max_length: Annotated[int, Meta(ge=0)] | None = None
    pattern: str | None = None
    choices: list[str] | None = None

    @property
    def item(self) -> Parameter:
        """What each value is held against."""
        if self.of == "int":
            return IntParameter(key=self.key, min=_whole(self.min, up=True), max=_whole(self.max, up=False))
        if self.of == "float":
            return FloatParameter(key=self.key, min=self.min, max=self.max, unit=self.unit)
        if self.of == "string":
            return StringParameter(
                key=self.key, min_length=self.min_length, max_length=self.max_length, pattern=self.pattern
            )
        if self.of == "enum":
            return EnumParameter(key=self.key, choices=self.choices or [])
        return BoolParameter(key=self.key)

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        if not isinstance(value, (list, tuple)):
            return f"is {value!r:.60}, a list is asked for"
        if len(value) < self.min_items or (self.max_items is not None and len(value) > self.max_items):
            most = "any" if self.max_items is None else self.max_items
            return f"has {len(value)} values, allowed are {self.min_items}..{most}"
        item = self.item
        for place, one in enumerate(value, 1):
            problem = item.problem(one, size)
            if problem is not None:
                return f"has at place {place} what {problem}"
        return None


def _whole(bound: float | None, *, up: bool) -> int | None:
    if bound is None:
        return None
    return -int(-bound // 1) if up else int(bound // 1)


class ObjectParameter(Parameter, kw_only=True, frozen=True, tag="object"):
    """Any JSON object: what it holds the algorithm checks itself."""

    default: dict[str, Any] | UnsetType = UNSET

    def problem(self, value: Any, size: Size) -> str | None:
        """Return what is wrong with a value."""
        return None if isinstance(value, Mapping) else f"is {value!r:.60}, an object is asked for"


AnyParameter: TypeAlias = (
    IntParameter
    | FloatParameter
    | BoolParameter
    | StringParameter
    | EnumParameter
    | RectParameter
    | ListParameter
    | ObjectParameter
)
_FIELDS_OF: Mapping[str, frozenset[str]] = {
    "int": frozenset({"min", "max", "unit"}),
    "float": frozenset({"min", "max", "unit"}),
    "string": frozenset({"min_length", "max_length", "pattern"}),
    "enum": frozenset({"choices"}),
    "bool": frozenset(),
}


class ParameterSchema:
    """The parameters of one step, ready to check a call's `user_params`."""

    __slots__ = ("_by_key", "_deep_defaults", "_defaults", "_required", "_step")

    def __init__(self, step_index: int, parameters: Sequence[AnyParameter]) -> None:
        self._step = step_index
        self._by_key = {parameter.key: parameter for parameter in parameters}
        self._defaults = {p.key: p.default for p in parameters if p.default is not UNSET}
        self._deep_defaults = {p.key: p.default for p in parameters if isinstance(p.default, (dict, list))}
        self._required = tuple(p.key for p in parameters if p.required and p.default is UNSET)

    def completed(self, given: Mapping[str, Any] | None, size: Size) -> dict[str, Any]:
        """`given`, None for nothing, with the defaults filled in.

        Raises CallRefusedError (1006, kind `bad_parameter`) naming the parameter, the bound and the value.
        """
        completed = self._defaults.copy()
        for key, default in self._deep_defaults.items():
            completed[key] = copy.deepcopy(default)  # what an algorithm does to it is not the next call's affair
        if given:
            for key, value in given.items():
                parameter = self._by_key.get(key)
                if parameter is None:
                    raise self._refused(
                        key, f"is not a parameter of this step; known are {', '.join(self._by_key) or 'none'}"
                    )
                problem = parameter.problem(value, size)
                if problem is not None:
                    raise self._refused(key, problem)
                completed[key] = value
        for key in self._required:
            if key not in completed:
                raise self._refused(key, "is required and missing")
        return completed

    def _refused(self, key: str, text: str) -> CallRefusedError:
        return CallRefusedError(
            ErrorCode.INVALID_PARAMS, "bad_parameter", f"step {self._step}: parameter {key!r:.80} {text}"
        )


def _list_problems(parameter: ListParameter) -> list[str]:
    problems: list[str] = []
    theirs = frozenset().union(*_FIELDS_OF.values()) - _FIELDS_OF[parameter.of]
    given = {
        name
        for name, field in zip(parameter.__struct_fields__, msgspec.structs.fields(parameter), strict=True)
        if getattr(parameter, name) != field.default
    }
    problems += [f"{name} is not for a list of {parameter.of}" for name in sorted(given & theirs)]
    if parameter.of == "enum" and not parameter.choices:
        problems.append("a list of enum needs choices")
    if parameter.max_items is not None and parameter.min_items > parameter.max_items:
        problems.append(f"min_items {parameter.min_items} is above max_items {parameter.max_items}")
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        problems.append(f"min {parameter.min} is above max {parameter.max}")
    return problems


def own_problems(parameter: AnyParameter) -> list[str]:
    """What contradicts itself in a parameter's declaration: bounds the wrong way round, a default out of bounds."""
    problems: list[str] = []
    if isinstance(parameter, (IntParameter, FloatParameter)):
        if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
            problems.append(f"min {parameter.min} is above max {parameter.max}")
    elif isinstance(parameter, ListParameter):
        problems += _list_problems(parameter)
    if isinstance(parameter, (StringParameter, ListParameter)) and parameter.pattern is not None:
        try:
            _compiled(parameter.pattern)
        except PatternError as error:
            return [f"pattern {error}"]
    if problems:
        return problems
    if parameter.default is not UNSET:
        default = msgspec.to_builtins(parameter.default)
        problem = parameter.problem(default, None)
        if problem is not None:
            problems.append(f"its default {problem}")
    return problems
