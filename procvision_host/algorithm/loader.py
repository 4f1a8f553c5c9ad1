"""Makes an algorithm from a discovered row: import, check, construct."""

from __future__ import annotations

import math
from collections.abc import Callable
from os.path import isfile, join
from types import CodeType
from typing import Any

from procvision_host.algorithm.discovery import AlgorithmRow
from procvision_sdk.algorithm import BaseAlgorithm
from procvision_sdk.errors import ErrorCode, ProcVisionError
from procvision_sdk.manifest.model import ANY_PID, Manifest

ARGUMENTS = ("step_index", "pid", "session", "user_params", "shared_mem_id", "image_meta")
"""What `pre_execute` and `execute` are called with, by position."""
_TAKES_ANY = 0x04
"""CO_VARARGS: a function with *args, such as a wrapper."""


class LoadError(ProcVisionError):
    """The algorithm can't be used; `error_code` is what goes out with it."""

    def __init__(self, message: str, error_code: str = ErrorCode.INVALID_PACKAGE) -> None:
        super().__init__(message)
        self.error_code = error_code


def load(row: AlgorithmRow, imported: Callable[[], object] | None = None) -> tuple[BaseAlgorithm, Manifest]:
    """Import the class, check it and make an algorithm; return it with its manifest.

    Raises LoadError, and what the vendor's code raises. `imported` is called between import and construction;
    a source does both in one, after it.
    """
    check_assets(row)
    target = None if row.make is not None else _imported(row)
    if imported is not None:
        imported()
    if row.make is not None:
        return row.make()
    assert row.manifest is not None
    return made(target, row.entry_point), row.manifest


def made(target: Any, entry_point: str) -> BaseAlgorithm:
    """Make an algorithm of what an entry point names. Raises LoadError, and what the vendor's code raises."""
    if not (isinstance(target, type) and issubclass(target, BaseAlgorithm)):
        raise LoadError(
            f"{entry_point} is not a subclass of procvision_sdk.BaseAlgorithm; "
            "hint: the entry point names the class, module:Class"
        )
    missing = sorted(getattr(target, "__abstractmethods__", ()))
    if missing:
        raise LoadError(f"{entry_point} doesn't implement {', '.join(missing)}")
    for phase in ("pre_execute", "execute"):
        _check_arguments(target, phase, entry_point)
    algorithm: BaseAlgorithm = target()
    for name in ("logger", "diagnostics", "cancellation"):
        if not hasattr(algorithm, name):
            raise LoadError(f"{entry_point}.__init__ doesn't call super().__init__(): it has no {name}")
    return algorithm


def _check_arguments(target: type[BaseAlgorithm], phase: str, entry_point: str) -> None:
    """Raise LoadError where a phase can't be called with what every call has. `inspect` would cost a start too much."""
    function = getattr(target, phase)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return
    kept = next((vars(kind)[phase] for kind in target.__mro__ if phase in vars(kind)), None)
    first = 0 if isinstance(kept, staticmethod) else 1
    taken = code.co_varnames[first : code.co_argcount]
    needed = len(taken) - len(getattr(function, "__defaults__", None) or ())
    keywords = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    extra = [name for name in keywords if name not in (getattr(function, "__kwdefaults__", None) or {})]
    most = math.inf if code.co_flags & _TAKES_ANY else len(taken)
    if extra or not needed <= len(ARGUMENTS) <= most:
        raise LoadError(
            f"{entry_point}.{phase} takes ({', '.join([*code.co_varnames[:first], *taken, *extra])}), a host calls it "
            f"with {len(ARGUMENTS)} arguments; hint: def {phase}(self, {', '.join(ARGUMENTS)})"
        )


def _imported(row: AlgorithmRow) -> Any:
    import importlib

    module_name, _, attribute = row.entry_point.partition(":")
    value: Any = importlib.import_module(module_name)
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise LoadError(
                f"the module {module_name} has no {attribute!r}; hint: see the entry point in pyproject.toml"
            )
        value = getattr(value, name)
    return value


def check_assets(row: AlgorithmRow) -> None:
    """Check that every file is there that the manifest requires. Raises LoadError (1003) naming those that are not."""
    assert row.manifest is not None
    assert row.package_folder is not None
    missing = [
        f"{asset} (for {'any product' if pid == ANY_PID else pid})"
        for pid, assets in row.manifest.required_assets.items()
        for asset in assets
        if not isfile(join(row.package_folder, asset))  # noqa: PTH113, PTH118 - `pathlib` takes its time
    ]
    if missing:
        raise LoadError(
            f"files are missing in {row.package_folder}: {', '.join(missing)}; hint: they belong into the wheel",
            ErrorCode.ASSET_NOT_FOUND,
        )
