"""Where an installed algorithm's manifest lies. Nothing of the algorithm is imported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from os.path import isfile
from typing import TYPE_CHECKING

from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.model import MANIFEST_FILE

if TYPE_CHECKING:
    from pathlib import Path


def _found(name: str) -> ModuleSpec | None:
    """Find a package at the top as Python would: by its finders, those of editable installations among them."""
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a finder that is broken, or a module that was made by hand
        return PathFinder.find_spec(name)


def manifest_folder(entry_point: str, within: Sequence[str] | None = None) -> Path:
    """Return `manifest_place` as a path. Raises ManifestError."""
    from pathlib import Path

    return Path(manifest_place(entry_point, within))


def manifest_place(entry_point: str, within: Sequence[str] | None = None) -> str:
    """Return the innermost package of an entry point's module that has a manifest. Raises ManifestError.

    It is looked for on Python's path, or `within` the folders of packages of another environment.

    ``entry_point`` is `module:Class`. A package at the top is found without importing anything; those below it are
    looked for in its folders, since Python's finders would import what lies above them.
    """
    module = entry_point.partition(":")[0].strip()
    parts = module.split(".")
    search: list[str] | None = None if within is None else list(within)
    candidates: list[str] = []
    for depth, part in enumerate(parts, 1):
        spec = _found(part) if search is None else PathFinder.find_spec(part, search)
        if spec is None:
            raise ManifestError(
                f"its entry point {entry_point!r} names {'.'.join(parts[:depth])!r}, which isn't there; "
                "hint: reinstall the plugin"
            )
        if spec.submodule_search_locations is None:
            break
        search = list(spec.submodule_search_locations)
        candidates = search + candidates
    for folder in candidates:
        if isfile(f"{folder}/{MANIFEST_FILE}"):  # noqa: PTH113 - `pathlib` takes longer than all of this
            return folder
    looked = ", ".join(candidates) or "no package"
    raise ManifestError(
        f"there is no {MANIFEST_FILE} beside {module!r} (looked in {looked}); "
        "hint: put it into the package and into the wheel"
    )
