"""Reading a manifest: the file's bytes to a checked `Manifest`, or an error that says where and how to mend it."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping
from os import PathLike, fspath
from types import MappingProxyType
from typing import Any, get_args

import msgspec

from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.model import ANY_PID, MANIFEST_FILE, Diagnostic, Manifest, Step
from procvision_sdk.manifest.parameters import AnyParameter, own_problems
from procvision_sdk.regular_files import read_regular

MAX_MANIFEST_BYTES = 1024 * 1024
"""A manifest is a page of text; a larger file is something else."""
_MAX_TYPE_CHARACTERS = 40
"""Of a type that there is not, so much is compared with those that there are."""
_BYTE = r"\s*\(byte (\d+)\)"
"""How msgspec says where it stopped."""

_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyParameter))
_MEANT: Mapping[str, str] = MappingProxyType(
    {
        "number": "float",
        "double": "float",
        "real": "float",
        "str": "string",
        "text": "string",
        "choice": "enum",
        "select": "enum",
        "roi": "rect",
        "bbox": "rect",
        "array": "list",
        "dict": "object",
        "json": "object",
        "any": "object",
    }
)
"""What others call a type, where the name isn't near ours."""


_MEANT_KEYS: Mapping[str, str] = MappingProxyType(
    {"minimum": "min", "maximum": "max", "name": "key", "id": "key", "title": "description", "values": "choices"}
)
"""What others call a key, where the name isn't near ours."""
_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "name": "a-z and 0-9, with . _ - between them, such as weld-check",
        "version": 'a text, such as "1.0.0"',
        "entry_point": "module:Class, such as weld_check.algorithm:WeldCheck",
        "supported_pids": '["A-100", "A-200"], or ["*"] for any product',
        "required_assets": '{"*": ["model.onnx"]}, paths below the package, by product id',
        "needs": '{"network:10.0.0.5:502": "asks the controller"}',
    }
)
"""How a key's value looks."""
_PLACE_IN = re.compile(r"(.*?)(?: - at `(.*)`)?", re.DOTALL)
_FIELD = re.compile(r"(?:unknown|required) field `([^`]*)`")
"""How msgspec says where a value stands, and which key is wrong or missing."""


class _AnyParam(msgspec.Struct):
    type: Any = None
    key: Any = "?"


class _AnyStep(msgspec.Struct):
    params: list[_AnyParam] = []


class _AnySteps(msgspec.Struct):
    """As much of a manifest as it takes to find its parameters."""

    steps: list[_AnyStep]


def read_manifest(path: str | PathLike[str]) -> Manifest:
    """Return the manifest in this file. Raises ManifestError."""
    try:
        data = read_regular(path, MAX_MANIFEST_BYTES)
    except OSError as error:
        raise ManifestError(
            f"{path} can't be read: {error.strerror}; hint: {MANIFEST_FILE} lies in the algorithm's package "
            "and is part of its wheel"
        ) from error
    return parse_manifest(data, fspath(path))


def parse_manifest(data: bytes, where: str = MANIFEST_FILE) -> Manifest:
    """Return the manifest in these bytes; `where` names it in errors. Raises ManifestError with every problem found.

    A byte order mark, which some editors write, is no part of it.
    """
    data = data.removeprefix(BOM_UTF8)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"{where}: {_wrong_syntax(data, error) or _wrong_types(data) or _wrong_form(data, error)}"
        ) from None
    problems = _problems(manifest)
    if problems:
        raise ManifestError(f"{where}: " + "; ".join(problems))
    return manifest


def ignored_keys(data: bytes) -> dict[str, str | None]:
    """Return the keys of a manifest that was read which nobody reads, each with the one that was probably meant.

    What is an editor's, `$schema`, and what begins with `x-` is meant for others.
    """
    import difflib

    known = [field.encode_name for field in msgspec.structs.fields(Manifest)]
    given = msgspec.json.decode(data.removeprefix(BOM_UTF8), type=dict[str, msgspec.Raw])
    others = [key for key in given if key not in known and key != "$schema" and not key.startswith("x-")]
    return {key: next(iter(difflib.get_close_matches(key, known, n=1)), None) for key in others}


def _wrong_syntax(data: bytes, error: Exception) -> str:
    """Return what is wrong where these bytes are no JSON, with line and column; "" where they are JSON."""
    import json

    try:
        json.loads(data.decode("utf-8"))
    except json.JSONDecodeError as wrong:
        return f"line {wrong.lineno}, column {wrong.colno}: this is no JSON: {wrong.msg}"
    except UnicodeDecodeError as wrong:
        return f"{_place(data, wrong.start)}: this is no UTF-8; hint: save the file as UTF-8"
    except RecursionError:
        return "it is nested too deeply"
    found = re.search(_BYTE, str(error))  # such as NaN, which Python's own reader takes
    return f"{_place(data, int(found[1]))}: this is no JSON: {str(error)[: found.start()]}" if found else ""


def _place(data: bytes, offset: int) -> str:
    lines = data[:offset].split(b"\n")
    return f"line {len(lines)}, column {len(lines[-1].decode('utf-8', 'replace')) + 1}"


def _wrong_types(data: bytes) -> str:
    """Return every parameter of a type that there is not; "" where that is not what is wrong."""
    try:
        steps = msgspec.json.decode(data, type=_AnySteps).steps
    except (ValueError, RecursionError):
        return ""
    wrong = [
        (f"step {number}, parameter {param.key!r:.80}", param.type)
        for number, step in enumerate(steps, 1)
        for param in step.params
        if param.type not in _TYPES
    ]
    if not wrong:
        return ""
    problems = [f"{where}: its type is {'missing' if given is None else f'{given!r:.60}'}" for where, given in wrong]
    meant = {given: close for _, given in wrong if isinstance(given, str) and (close := _meant(given))}
    asked = [f"did you mean {close} for {given!r:.60}?" for given, close in meant.items()]
    return "; ".join(problems) + "; hint: " + " ".join([*asked, f"allowed are {', '.join(_TYPES)}"])


def _meant(given: str) -> str | None:
    import difflib

    word = given[:_MAX_TYPE_CHARACTERS].lower()
    # "integer" is as near to "int" as the default allows; "number" is to "enum", too, and so stands in the table.
    return _MEANT.get(word) or next(iter(difflib.get_close_matches(word, _TYPES, n=1)), None)


def _wrong_form(data: bytes, error: Exception) -> str:
    """Return what msgspec says, with the value that stands there and the key that was probably meant."""
    import difflib
    import json

    told = _PLACE_IN.fullmatch(str(error))
    said, path = (told[1], told[2] or "$") if told is not None else (str(error), "$")
    place = path.removeprefix("$").removeprefix(".")
    text = (f"{place}: " if place else "") + said
    try:
        found, exact = _at(json.loads(data), path)
    except (ValueError, LookupError, TypeError):  # a key that looks like a path, a number of thousands of digits
        found, exact = None, False
    named = _FIELD.search(said)
    if named is None:
        form = _FORMS.get(place.partition(".")[0].partition("[")[0])
        return (
            text
            + (f", this is {json.dumps(found, ensure_ascii=False):.60}" if exact else "")
            + (f"; hint: {form}" if form is not None else "")
        )
    known = sorted(_known_keys())
    given = [key for key in found if key not in known] if isinstance(found, dict) else []
    if "unknown" in said:
        close = difflib.get_close_matches(_MEANT_KEYS.get(named[1], named[1]), known, n=1)
        return f"{text}; hint: did you mean {close[0]!r}?" if close else text
    close = difflib.get_close_matches(named[1], given, n=1)
    return f"{text}; hint: {close[0]!r} is there: did you mean it?" if close else text


def _at(value: Any, path: str) -> tuple[Any, bool]:
    """Return what stands at msgspec's path; False where it doesn't say which item of an object it means."""
    for key, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            return None, False
        value = value[int(index)] if index else value[key]
    return value, True


def _known_keys() -> set[str]:
    kinds = (Manifest, Step, Diagnostic, *get_args(AnyParameter))
    return {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)} | {"type"}


def _problems(manifest: Manifest) -> list[str]:
    """Return what no schema can say."""
    problems: list[str] = []
    indexes = [step.index for step in manifest.steps]
    if sorted(indexes) != list(range(1, len(indexes) + 1)):
        problems.append(f"steps are numbered {indexes}: they count from 1 without gaps")
    for step in manifest.steps:
        keys = Counter(parameter.key for parameter in step.params)
        problems += [f"step {step.index}: parameter {key!r} is declared twice" for key in keys if keys[key] > 1]
        for parameter in step.params:
            problems += [f"step {step.index}, parameter {parameter.key!r}: {text}" for text in own_problems(parameter)]
    for name, diagnostic in manifest.diagnostics.items():
        if diagnostic.min is not None and diagnostic.max is not None and diagnostic.min > diagnostic.max:
            problems.append(f"diagnostic {name!r:.80}: min {diagnostic.min} is above max {diagnostic.max}")
    if manifest.needs:
        problems += _wrong_needs(manifest.needs)
    supported = set(manifest.supported_pids)
    for pid, assets in manifest.required_assets.items():
        if pid not in supported and ANY_PID not in supported:
            problems.append(f"required_assets name the product id {pid!r}, which supported_pids don't")
        for asset in assets:
            if not asset or asset.startswith("/") or ".." in asset.split("/"):
                problems.append(f"required_assets of {pid!r}: {asset!r} is not a path below the package")
    return problems


def _wrong_needs(needs: Mapping[str, str]) -> list[str]:
    from procvision_sdk.manifest.needs import parse_need

    problems: list[str] = []
    met: dict[str, str] = {}
    for text in needs:
        try:
            name = str(parse_need(text))
        except ValueError as error:
            problems.append(f"needs: {error}")
            continue
        if met.setdefault(name, text) != text:
            problems.append(f"needs: {met[name]!r:.200} and {text!r:.200} are one need")
    return problems
