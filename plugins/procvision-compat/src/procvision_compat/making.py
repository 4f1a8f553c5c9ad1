"""From a field package to an algorithm of the host's: imports the class, sees which generation it is of, wraps it."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

from procvision_compat import field_sdk
from procvision_compat.errors import FieldPackageError
from procvision_compat.guided import GuidedAlgorithm
from procvision_compat.package import ROOT_VARIABLE, FieldPackage
from procvision_compat.stepwise import StepwiseAlgorithm
from procvision_sdk.algorithm import BaseAlgorithm
from procvision_sdk.sources import Made

_STEPWISE = ("step_index", "pid", "session", "user_params", "shared_mem_id", "image_meta")
_GUIDED = ("step_index", "step_desc", "cur_image", "guide_image", "guide_info")


def made(package: FieldPackage) -> Made:
    """Import and construct the package's class. Raises FieldPackageError, or whatever the vendor's code raises.

    As the field's adapter is started, so is the algorithm here: its folder is the working directory, first on the
    import path and named by PROC_ALGO_ROOT.
    """
    field_sdk.install()
    os.chdir(package.folder)
    os.environ[ROOT_VARIABLE] = str(package.folder)
    sys.path.insert(0, str(package.folder))
    inner = _class(package)()
    guided = is_guided(inner, package.entry_point)
    algorithm: BaseAlgorithm = GuidedAlgorithm(inner) if guided else StepwiseAlgorithm(inner)
    return Made(algorithm, package.manifest(guided=guided, info=_info(inner, package, guided=guided)))


def is_guided(inner: Any, entry_point: str) -> bool:
    """Whether `execute` is that of 0.3.x (two pictures) and not that of 0.0.x. Raises FieldPackageError."""
    execute = getattr(inner, "execute", None)
    if not callable(execute):
        raise FieldPackageError(f"{entry_point} has no method execute")
    names = tuple(inspect.signature(execute).parameters)
    for known, guided in ((_GUIDED, True), (_STEPWISE, False)):
        if names == known:
            return guided
    # Renamed arguments: the field's adapters pass them by position.
    kinds = {parameter.kind for parameter in inspect.signature(execute).parameters.values()}
    if kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY}:
        if len(names) == len(_GUIDED):
            return True
        if len(names) == len(_STEPWISE):
            return False
    raise FieldPackageError(
        f"execute of {entry_point} takes ({', '.join(names)}): known are ({', '.join(_STEPWISE)}) of SDK 0.0.x "
        f"and ({', '.join(_GUIDED)}) of SDK 0.3.x"
    )


def _class(package: FieldPackage) -> type[Any]:
    module_name, _, attribute = package.entry_point.partition(":")
    value: Any = importlib.import_module(module_name)
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise FieldPackageError(
                f"the module {module_name} has no {attribute!r}; hint: see entry_point in manifest.json"
            )
        value = getattr(value, name)
    if not inspect.isclass(value):
        raise FieldPackageError(f"{package.entry_point} is {type(value).__name__}, an entry point names a class")
    return value


def _info(inner: Any, package: FieldPackage, *, guided: bool) -> Mapping[str, Any]:
    """What `get_info()` tells, asked only for what the manifest leaves out."""
    if guided or (package.fields.get("steps") and package.fields.get("supported_pids")):
        return {}
    told = inner.get_info() if hasattr(inner, "get_info") else {}
    return told if isinstance(told, Mapping) else {}
