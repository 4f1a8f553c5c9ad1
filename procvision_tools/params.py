"""`--param key=value`, read as the manifest's step declares the parameter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from procvision_sdk.errors import ErrorCode, ProcVisionError

if TYPE_CHECKING:
    from procvision_sdk.manifest.model import Manifest
    from procvision_sdk.manifest.parameters import Parameter

_WORDS = MappingProxyType(
    {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
)
_RECT_SIDES = ("x", "y", "width", "height")


class ParamTextError(ProcVisionError):
    """A ``key=value`` that no parameter takes."""

    error_code = ErrorCode.INVALID_PARAMS

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


def parse_params(manifest: Manifest, step_index: int, pairs: Iterable[str], size: tuple[int, int]) -> dict[str, Any]:
    """Give user_params from ``key=value`` texts, checked as the host will, for a picture of ``size`` pixels.

    Raises ParamTextError naming the parameter, the bound and the value.
    """
    step = manifest.step(step_index)
    if step is None:
        known = ", ".join(str(step.index) for step in manifest.steps)
        raise ParamTextError(f"{manifest.name} has no step {step_index}", f"it has {known}")
    return read_params(step.params, pairs, f"{manifest.name} has no such parameter in step {step_index}", size)


def read_params(
    parameters: Iterable[Parameter], pairs: Iterable[str], unknown: str, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Give values from ``key=value`` texts, held against their parameters; ``unknown`` says that there is none.

    Raises ParamTextError naming the parameter, the bound and the value.
    """
    by_key = {parameter.key: parameter for parameter in parameters}
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ParamTextError(f"--param {pair!r} has no value", "--param key=value")
        parameter = by_key.get(key)
        if parameter is None:
            raise ParamTextError(f"--param {key}: {unknown}", f"it has {', '.join(by_key) or 'none'}")
        kind = str(parameter.__struct_config__.tag)
        value = _READERS[kind](text)
        problem = parameter.problem(value, size)
        if problem is not None:
            raise ParamTextError(f"--param {key} {problem}", parameter.description)
        params[key] = value
    return params


def parse_step_params(
    manifest: Manifest, steps: Sequence[int], pairs: Iterable[str], size: tuple[int, int]
) -> dict[int, dict[str, Any]]:
    """Give user_params for each of several steps: a parameter goes to every step that has it.

    Raises ParamTextError as `parse_params` does, and where no step has it.
    """
    if len(steps) == 1:
        return {steps[0]: parse_params(manifest, steps[0], pairs, size)}
    keys = {step.index: {parameter.key for parameter in step.params} for step in manifest.steps if step.index in steps}
    pairs = tuple(pairs)
    for pair in pairs:
        key, equals, _ = pair.partition("=")
        if equals and not any(key in of_step for of_step in keys.values()):
            there = ", ".join(dict.fromkeys(key for of_step in keys.values() for key in sorted(of_step)))
            raise ParamTextError(f"--param {key}: {manifest.name} has no such parameter", f"it has {there or 'none'}")
    return {
        index: parse_params(
            manifest, index, [pair for pair in pairs if "=" not in pair or pair.partition("=")[0] in keys[index]], size
        )
        for index in steps
    }


def _int(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def _float(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _bool(text: str) -> Any:
    return _WORDS.get(text.lower(), text)


def _rect(text: str) -> Any:
    """Read ``x,y,width,height``, or the same as a JSON object."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    numbers = [_float(part) for part in text.split(",")]
    return dict(zip(_RECT_SIDES, numbers, strict=True)) if len(numbers) == len(_RECT_SIDES) else text


def _json(text: str) -> Any:
    """Read a JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _list(text: str) -> Any:
    """Read a JSON array, or values with commas between them."""
    if text.lstrip().startswith("["):
        return _json(text)
    return [_json(part) if _is_json_scalar(part) else part for part in text.split(",")] if text else []


def _is_json_scalar(text: str) -> bool:
    return text in {"true", "false"} or not isinstance(_float(text), str)


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "int": _int,
        "float": _float,
        "bool": _bool,
        "string": str,
        "enum": str,
        "rect": _rect,
        "list": _list,
        "object": _json,
    }
)
"""A parameter's type -> how its text is read; what can't be read stays text, and the parameter says what is wrong."""
