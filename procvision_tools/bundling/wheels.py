"""Wheels as a bundle sees them: names, what they need on a target, and whether a set of them is enough."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import packaging.metadata
import packaging.requirements
import packaging.specifiers
import packaging.tags
import packaging.utils
import packaging.version
from attrs import frozen

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.archives import opened_archive, read_entry
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.target import Target

Requirement = packaging.requirements.Requirement
MAX_METADATA_BYTES = 4 << 20
"""A README is part of it."""
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
OUR_DISTRIBUTION = "procvision"
_READ_BYTES = 1 << 20


@frozen
class Wheel:
    """What a wheel's file name and metadata say."""

    path: Path
    name: str
    """Canonical: lower case, words joined by `-`."""
    version: packaging.version.Version
    tags: frozenset[packaging.tags.Tag]
    requirements: tuple[Requirement, ...]
    requires_python: packaging.specifiers.SpecifierSet

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read a wheel. Raises BundleError 2001."""
        try:
            name, version, _, tags = packaging.utils.parse_wheel_filename(path.name)
            with opened_archive(path) as archive:
                file = next((entry for entry in archive.namelist() if _METADATA.fullmatch(entry)), None)
                if file is None:
                    raise ValueError("it has no METADATA")  # noqa: TRY301
                raw, _ = packaging.metadata.parse_email(read_entry(archive, file, MAX_METADATA_BYTES))
            return cls(
                path,
                str(name),
                version,
                tags,
                tuple(Requirement(text) for text in raw.get("requires_dist", ())),
                packaging.specifiers.SpecifierSet(raw.get("requires_python", "")),
            )
        except (BundleError, ValueError) as error:
            said = str(error).removeprefix(f"{path.name} can't be read: ")
            raise BundleError(ErrorCode.INVALID_PACKAGE, f"{path.name} is no wheel that can be read: {said}") from error

    def needs(self, target: Target, extras: Iterable[str] = ()) -> list[Requirement]:
        """Return what it needs there, by markers that are evaluated for the target."""
        wanted = [*extras, ""]
        return [
            requirement
            for requirement in self.requirements
            if requirement.marker is None
            or any(requirement.marker.evaluate(target.environment | {"extra": extra}) for extra in wanted)
        ]

    def misfit(self, target: Target) -> BundleError | None:
        """Return why it can't be installed there."""
        version = target.environment["python_full_version"]
        if not self.requires_python.contains(version, prereleases=True):
            text = f"{self.path.name} needs Python {self.requires_python}, the target has {target.python}"
            return BundleError(ErrorCode.INCOMPATIBLE_PYTHON, text)
        if not self.tags & target.tags:
            return BundleError(ErrorCode.WHEELS_MISSING, f"{self.path.name} doesn't fit {target}")
        return None


def sha256(path: Path) -> str:
    """Give a file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.hexdigest()


def by_name(wheels: Iterable[Wheel]) -> dict[str, Wheel]:
    """Give the wheels by name. Raises BundleError 2006 where there are two of one name."""
    found: dict[str, Wheel] = {}
    for wheel in wheels:
        if wheel.name in found:
            both = f"{found[wheel.name].version} and {wheel.version}"
            raise BundleError(
                ErrorCode.ACTIVATION_CONFLICT, f"{wheel.name} is there in versions {both}; one can be used"
            )
        found[wheel.name] = wheel
    return found


def demands(
    roots: Iterable[tuple[str, str]], wheels: Mapping[str, Wheel], target: Target
) -> dict[str, list[tuple[str, Requirement]]]:
    """Give everything that is needed, directly or not: name -> who asks, and what for.

    ``roots`` are names with an extra, or "". What a missing wheel needs is not known.
    """
    asked: dict[str, list[tuple[str, Requirement]]] = {}
    seen: set[tuple[str, str]] = set()
    queue: list[tuple[str, str]] = list(roots)
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen or name not in wheels:
            continue
        seen.add((name, extra))
        for requirement in wheels[name].needs(target, [extra] if extra else []):
            needed = str(packaging.utils.canonicalize_name(requirement.name))
            if (name, requirement) not in asked.setdefault(needed, []):
                asked[needed].append((name, requirement))
            queue += [(needed, wanted) for wanted in ("", *requirement.extras)]
    return asked


def check_complete(roots: Sequence[tuple[str, str]], wheels: Mapping[str, Wheel], target: Target) -> None:
    """Raise BundleError unless every wheel fits the target and everything that is needed is there.

    2003 for another Python, 2004 for a wheel that is missing or of another platform or version.
    """
    for wheel in wheels.values():
        misfit = wheel.misfit(target)
        if misfit is not None:
            raise misfit
    for name, asked in demands(roots, wheels, target).items():
        for who, requirement in asked:
            if name not in wheels and who == OUR_DISTRIBUTION:
                continue  # the station has what its ProcVision needs
            if name not in wheels:
                raise BundleError(ErrorCode.WHEELS_MISSING, f"there is no wheel of {name}, which {who} needs")
            if not requirement.specifier.contains(wheels[name].version, prereleases=True):
                text = f"{who} needs {requirement}, there is {name} {wheels[name].version}"
                raise BundleError(ErrorCode.WHEELS_MISSING, text)
