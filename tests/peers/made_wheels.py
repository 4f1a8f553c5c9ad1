"""Wheels made by hand: what a packaging test needs, without a build and without a network."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MANIFEST = {
    "name": "seam-check",
    "version": "1.0",
    "entry_point": "seam_check:Check",
    "supported_pids": ["*"],
    "steps": [{"index": 1, "name": "only"}],
}
ENTRY_POINTS = "[procvision.algorithms]\nseam-check = seam_check:Check\n"


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    python: str = "",
    tag: str = "py3-none-any",
    files: Mapping[str, str | bytes] | None = None,
    entry_points: str = "",
) -> Path:
    """Writes a wheel that pip and uv take for one."""
    spelt = name.replace("-", "_")
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Python: {python}"] if python else []
    metadata += [f"Requires-Dist: {text}" for text in requires]
    info = f"{spelt}-{version}.dist-info"
    held: dict[str, str | bytes] = {f"{spelt}/__init__.py": "", **(files or {})}
    held[f"{info}/METADATA"] = "\n".join(metadata) + "\n"
    held[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if entry_points:
        held[f"{info}/entry_points.txt"] = entry_points
    held[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*held, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{spelt}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in held.items():
            wheel.writestr(file, text)
    return path


def algorithm_wheel(folder: Path, requires: Sequence[str] = (), *, python: str = "", **files: str | bytes) -> Path:
    """An algorithm's; ``files`` lie in its package, by their names with `__` for `.`."""
    held: dict[str, str | bytes] = {"seam_check/manifest.json": json.dumps(MANIFEST)}
    held |= {f"seam_check/{name.replace('__', '.')}": data for name, data in files.items()}
    return make_wheel(folder, "seam-check", requires=requires, python=python, files=held, entry_points=ENTRY_POINTS)
