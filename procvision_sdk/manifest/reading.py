"""Reading a manifest: the file's bytes to a checked `Manifest`, or an error that says where and how to mend it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from procvision_sdk.errors import ManifestError
from procvision_sdk.manifest.model import MANIFEST_FILE, Manifest
from procvision_sdk.manifest.parameters import own_problems

MAX_MANIFEST_BYTES = 1024 * 1024
"""A manifest is a page of text; a larger file is something else."""


def read_manifest(path: Path) -> Manifest:
    """The manifest in this file. Raises ManifestError."""
    try:
        size = path.stat().st_size
        if size > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{path} has {size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(
            f"{path} can't be read: {error.strerror}; hint: {MANIFEST_FILE} lies in the algorithm's package "
            "and is part of its wheel"
        ) from error
    return parse_manifest(data, str(path))


def parse_manifest(data: bytes, where: str = MANIFEST_FILE) -> Manifest:
    """The manifest in these bytes; `where` names it in errors. Raises ManifestError with every problem found."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: {error}") from None
    problems = _problems(manifest)
    if problems:
        raise ManifestError(f"{where}: " + "; ".join(problems))
    return manifest


def _problems(manifest: Manifest) -> list[str]:
    """What no schema can say."""
    problems: list[str] = []
    indexes = [step.index for step in manifest.steps]
    if sorted(indexes) != list(range(1, len(indexes) + 1)):
        problems.append(f"steps are numbered {indexes}: they count from 1 without gaps")
    for step in manifest.steps:
        keys = [parameter.key for parameter in step.params]
        problems += [
            f"step {step.index}: parameter {key!r} is declared twice" for key in {k for k in keys if keys.count(k) > 1}
        ]
        for parameter in step.params:
            problems += [f"step {step.index}, parameter {parameter.key!r}: {text}" for text in own_problems(parameter)]
    for pid, assets in manifest.required_assets.items():
        if not manifest.supports(pid):
            problems.append(f"required_assets name the product id {pid!r}, which supported_pids don't")
        for asset in assets:
            path = PurePosixPath(asset)
            if not asset or path.is_absolute() or ".." in path.parts:
                problems.append(f"required_assets of {pid!r}: {asset!r} is not a path below the package")
    return problems
