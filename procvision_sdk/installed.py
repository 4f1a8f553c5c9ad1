"""What installed distributions declare, read from their folders: entry points of a group, names and versions.

As `importlib.metadata` finds them, along the path, the first of each name. That takes a fifth of a host's start, and of
a command's help, since it reads them with a parser of mails; where something else than folders is on the path, or gives
distributions, it is asked all the same. The files are a vendor's: regular and bounded, or not read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import reduce
from importlib import import_module
from typing import Any

import msgspec

from procvision_sdk.distributions import canonical
from procvision_sdk.regular_files import opened_regular, read_start

MAX_METADATA_BYTES = 1024 * 1024
"""Of one file: the largest that are made have some kilobytes of entry points, and begin with name and version."""
_KINDS = (".dist-info", ".egg-info")
_ENTRY_POINTS = "entry_points.txt"
_METADATA = ("METADATA", "PKG-INFO")
_PYTHONS_OWN = frozenset({"_frozen_importlib_external", "importlib_metadata"})
"""Whose finders of distributions look where this does."""


class Declared(msgspec.Struct, frozen=True):
    """An entry point, and whose it is."""

    name: str
    value: str
    """module:attribute"""
    distribution: str | None
    distribution_version: str | None

    def load(self) -> Any:
        """Import what it names; extras behind it don't count. Raises what foreign code raises."""
        module, _, attribute = self.value.partition("[")[0].partition(":")
        return reduce(getattr, filter(None, attribute.strip().split(".")), import_module(module.strip()))


def declared(group: str, name: str | None = None) -> list[Declared]:
    """Return the entry points of a group, or those of one name. Of a distribution that can't be read there are none."""
    if not _folders_only():
        return _asked(group, name)
    found: list[Declared] = []
    for folders in _metadata_folders().values():
        folder = _counting(folders)
        points = _points(folder, group)
        if name is not None:
            points = [point for point in points if point[0] == name]
        if points:
            distribution, version = _named(folder)
            found += [Declared(*point, distribution, version) for point in points]
    return found


def version_of(distribution: str, folders: Sequence[str] | None = None) -> str | None:
    """Return the version of a distribution that is installed in one of `folders`, without them on the path, or None."""
    if folders is None and not _folders_only():
        from importlib_metadata import PackageNotFoundError, version

        try:
            return version(distribution)
        except PackageNotFoundError:
            return None
    found = _metadata_folders(folders, distribution).get(canonical(distribution))
    return _named(_counting(found))[1] if found else None


def _folders_only() -> bool:
    """Tell whether all that is on the path is a folder, and nobody but Python's own finder gives distributions."""
    for finder in sys.meta_path:
        kind = finder if isinstance(finder, type) else type(finder)
        if hasattr(finder, "find_distributions") and kind.__module__ not in _PYTHONS_OWN:
            return False
    return not any(entry.endswith(".egg") or os.path.isfile(entry) for entry in sys.path)  # noqa: PTH113 - texts


def _metadata_folders(places: Sequence[str] | None = None, only: str = "") -> dict[str, list[str]]:
    """Return the folders by the canonical name of their distribution, in the order of `places`, or of the path.

    `only` says which distribution is looked for.
    """
    first = only[:1].lower()
    found: dict[str, list[str]] = {}
    for entry in dict.fromkeys(sys.path if places is None else places):
        try:
            names = os.listdir(entry or ".")  # noqa: PTH208 - texts, as the path has them
        except OSError:
            continue
        for name in names:
            if name.lower().startswith(first) and name.lower().endswith(_KINDS):
                stem = name.rpartition(".")[0].partition("-")[0]
                found.setdefault(canonical(stem), []).append(f"{entry or '.'}/{name}")
    return found


def _counting(folders: list[str]) -> str:
    """Return the first that has metadata: one without is what an installer left behind."""
    if len(folders) > 1:
        for folder in folders:
            if any(os.path.exists(f"{folder}/{name}") for name in _METADATA):  # noqa: PTH110 - texts
                return folder
    return folders[0]


def _points(folder: str, group: str) -> list[tuple[str, str]]:
    """Return name and value of the entry points of a group (packaging.python.org, "Entry points specification")."""
    text = _text(f"{folder}/{_ENTRY_POINTS}")
    points: list[tuple[str, str]] = []
    section = ""
    for line in map(str.strip, text.splitlines() if group in text else ()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and not line.startswith("#") and section == group:
            name, _, value = line.partition("=")
            points.append((name.strip(), value.strip()))
    return points


def _named(folder: str) -> tuple[str | None, str | None]:
    """Return name and version as the metadata's head has them."""
    text = next(filter(None, (_text(f"{folder}/{name}") for name in _METADATA)), "")
    head: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon:
            head.setdefault(key.lower(), value.strip())
    return head.get("name"), head.get("version")


def _text(file: str) -> str:
    """Return the beginning of a file; "" where there is none."""
    try:
        with opened_regular(file) as (descriptor, _):
            return read_start(descriptor, MAX_METADATA_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _asked(group: str, name: str | None) -> list[Declared]:
    from importlib_metadata import entry_points

    points = entry_points(group=group) if name is None else entry_points(group=group, name=name)
    rows = []
    for point in points:
        whose = (None, None) if point.dist is None else (point.dist.metadata["Name"], point.dist.version)
        rows.append(Declared(point.name, point.value, *whose))
    return rows
