"""Where an installed algorithm's code lies, and whether files have changed. Nothing of the algorithm is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TypeAlias

from importlib_metadata import entry_points

from procvision_sdk.manifest.model import ALGORITHM_GROUP

Look: TypeAlias = Mapping[Path, tuple[int, int]]
"""How files look: size in bytes and time of change in nanoseconds."""
MAX_FILES = 5000
"""Of a package, so many files are looked at: a look takes some milliseconds then."""
_SUFFIXES = frozenset({".py", ".json", ".toml", ".yaml", ".yml", ".so", ".onnx", ".npz"})
"""What an algorithm is made of: code, manifest, settings, models."""


def code_roots(algorithm: str) -> list[Path]:
    """Give the folder, or the file, of the top-level package that an algorithm's entry point names; [] for none.

    ``algorithm`` is NAME[@DISTRIBUTION][==VERSION], or SCHEME:PATH, which is that path.
    """
    scheme, colon, rest = algorithm.partition(":")
    if colon and scheme:
        return [Path(rest)] if Path(rest).exists() else []
    name = algorithm.partition("==")[0].partition("@")[0]
    roots = []
    for entry_point in entry_points(group=ALGORITHM_GROUP, name=name):
        spec = PathFinder.find_spec(entry_point.module.partition(".")[0])
        if spec is not None and spec.submodule_search_locations:
            roots += [Path(place) for place in spec.submodule_search_locations]
        elif spec is not None and spec.origin:
            roots.append(Path(spec.origin))
    return list(dict.fromkeys(roots))


def look_at(roots: Iterable[Path]) -> Look:
    """Give size and time of change of the files named and of those of an algorithm's kinds below the folders named."""
    looks: dict[Path, tuple[int, int]] = {}
    for root in roots:
        below = (path for path in sorted(root.rglob("*")) if path.suffix in _SUFFIXES) if root.is_dir() else [root]
        for path in below:
            if len(looks) >= MAX_FILES:
                return looks
            try:
                told = path.stat()
            except OSError:
                continue
            looks[path] = told.st_size, told.st_mtime_ns
    return looks
