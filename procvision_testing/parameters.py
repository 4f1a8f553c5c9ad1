"""Values for a step's parameters, for calls that nobody wrote by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.manifest.parameters import (
    AnyParameter,
    BoolParameter,
    EnumParameter,
    FloatParameter,
    IntParameter,
    ListParameter,
    ObjectParameter,
    Parameter,
    RectParameter,
    StringParameter,
)


class UnknownValueError(ProcVisionError):
    """A parameter is required, has no default, and its declaration gives no value away."""


def sample_params(parameters: Sequence[AnyParameter], size: tuple[int, int]) -> dict[str, Any]:
    """Return a value for each parameter that must be given, for a picture of ``size``. Raises UnknownValueError."""
    return {p.key: _sample(p, size) for p in parameters if p.required and p.default is UNSET}


def bounds(parameters: Sequence[AnyParameter]) -> Iterator[tuple[str, Any]]:
    """Yield every bound of every parameter that has some, as (key, value); the default is left out."""
    for parameter in parameters:
        values: list[Any] = []
        if isinstance(parameter, (IntParameter, FloatParameter)):
            values = [bound for bound in (parameter.min, parameter.max) if bound is not None]
        elif isinstance(parameter, BoolParameter):
            values = [False, True]
        elif isinstance(parameter, EnumParameter):
            values = list(parameter.choices)
        default = None if parameter.default is UNSET else msgspec.to_builtins(parameter.default)
        yield from ((parameter.key, value) for value in values if value != default)


def _sample(parameter: Parameter, size: tuple[int, int]) -> Any:
    value: Any = None
    if isinstance(parameter, (IntParameter, FloatParameter)):
        known = [bound for bound in (parameter.min, parameter.max) if bound is not None]
        value = known[0] if known else 0
    elif isinstance(parameter, BoolParameter):
        value = False
    elif isinstance(parameter, EnumParameter):
        value = parameter.choices[0]
    elif isinstance(parameter, RectParameter):
        value = {"x": 0, "y": 0, "width": size[0], "height": size[1]}
    elif isinstance(parameter, StringParameter):
        value = "x" * max(1, parameter.min_length)
    elif isinstance(parameter, ListParameter):
        value = [_sample(parameter.item, size)] * parameter.min_items
    elif isinstance(parameter, ObjectParameter):
        value = {}
    problem = parameter.problem(value, size)
    if problem is not None:
        raise UnknownValueError(f"parameter {parameter.key!r} is required, has no default, and {value!r:.40} {problem}")
    return value
