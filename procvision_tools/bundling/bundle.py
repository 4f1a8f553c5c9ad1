"""The bundle's form: a zip with `bundle.json` first, the manifests of its algorithms, and wheels.

Nothing in it depends on when or where it was made: entries are in order, all of one date and mode. Wheels are stored as
they are, since they are compressed already.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec
from attrs import frozen

from procvision_sdk.errors import ErrorCode, ManifestError
from procvision_sdk.manifest.model import ALGORITHM_GROUP, MANIFEST_FILE, Manifest
from procvision_sdk.manifest.reading import parse_manifest
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.target import NoTargetError, Target
from procvision_tools.bundling.wheels import Wheel, by_name, check_complete, sha256
from procvision_tools.declared import declared_algorithms

FORMAT = 1
INDEX = "bundle.json"
MAX_INDEX_BYTES = 4 << 20
_DATE = (1980, 1, 1, 0, 0, 0)
_SAFE_NAME = re.compile(r"(?:manifests|wheels)/[A-Za-z0-9][A-Za-z0-9._+!-]*")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle."""

    path: str
    sha256: str
    bytes: int


class Algorithm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One algorithm of a bundle."""

    name: str
    version: str
    manifest: str
    """The path of its manifest in the bundle."""


class TargetNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The target's three names."""

    platform: str
    python: str
    abi: str


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`bundle.json`: what is in the bundle, and for whom."""

    format: int
    distribution: str
    version: str
    target: TargetNames
    algorithms: list[Algorithm]
    files: list[File]


@frozen
class Bundle:
    """A bundle that was unpacked and found sound."""

    index: Index
    target: Target
    wheels: Mapping[str, Wheel]
    folder: Path

    @property
    def wheel_folder(self) -> Path:
        """Where its wheels lie: what `pip install --find-links` takes."""
        return self.folder / "wheels"


def manifests_in(wheel: Wheel) -> dict[str, bytes]:
    """Give the manifest of each algorithm of a wheel, as it is. Raises BundleError 2001 or 2002."""
    with zipfile.ZipFile(wheel.path) as archive:
        files = set(archive.namelist())
        points = next((name for name in files if name.endswith(".dist-info/entry_points.txt")), None)
        declared = declared_algorithms(archive.read(points).decode()) if points else {}
        if not declared:
            raise BundleError(
                ErrorCode.INVALID_PACKAGE, f"{wheel.path.name} has no entry point in the group {ALGORITHM_GROUP}"
            )
        found = {}
        for name, point in declared.items():
            module = point.partition(":")[0]
            parts = module.split(".")
            candidates = ("/".join([*parts[:depth], MANIFEST_FILE]) for depth in range(len(parts), 0, -1))
            path = next((candidate for candidate in candidates if candidate in files), None)
            if path is None:
                text = f"{wheel.path.name} has no {MANIFEST_FILE} in the package of {module}"
                raise BundleError(ErrorCode.MANIFEST_INVALID, text)
            found[name] = archive.read(path)
            _check_manifest(name, found[name], wheel)
    return found


def write(path: Path, root: Wheel, wheels: Mapping[str, Wheel], target: Target) -> Index:
    """Write a bundle; the same wheels give the same bytes. Raises BundleError 2001 or 2002, and OSError."""
    manifests = {f"manifests/{name}.json": data for name, data in manifests_in(root).items()}
    files = [
        File(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in manifests.items()
    ] + [
        File(f"wheels/{wheel.path.name}", sha256(wheel.path), wheel.path.stat().st_size) for wheel in wheels.values()
    ]  # fmt: skip
    index = Index(
        FORMAT,
        root.name,
        str(root.version),
        TargetNames(target.platform, target.python, target.abi),
        [Algorithm(Path(name).stem, str(root.version), name) for name in sorted(manifests)],
        sorted(files, key=lambda file: file.path),
    )
    data = msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n"
    unfinished = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            archive.writestr(_entry(INDEX), data, zipfile.ZIP_DEFLATED)
            for name in sorted(manifests):
                archive.writestr(_entry(name), manifests[name], zipfile.ZIP_DEFLATED)
            for wheel in sorted(wheels.values(), key=lambda wheel: wheel.path.name):
                with wheel.path.open("rb") as source, archive.open(_entry(f"wheels/{wheel.path.name}"), "w") as goal:
                    while piece := source.read(1 << 20):
                        goal.write(piece)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return index


def is_bundle(path: Path) -> bool:
    """Whether a file is meant to be a bundle, and no wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            return INDEX in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def unpack(path: Path, into: Path) -> Bundle:
    """Unpack a bundle and look at everything that can be seen without running it.

    Raises BundleError: 2001 for what is no bundle or was changed, 2002 for a manifest, 2003 and 2004 for wheels that
    don't fit the target or are missing, 2006 for two versions of one distribution.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            index = _index(archive)
            _check_names(archive, index)
            for file in index.files:
                _unpack_file(archive, file, into)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        # zipfile: RuntimeError for what is encrypted, NotImplementedError for a compression it doesn't know
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{path} can't be read: {error}") from error
    try:
        target = Target.of(index.target.platform, index.target.python, index.target.abi)
    except NoTargetError as error:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {error}") from error
    wheels = by_name(Wheel.read(file) for file in sorted((into / "wheels").glob("*.whl")))
    root = wheels.get(index.distribution)
    if root is None or str(root.version) != index.version:
        text = f"there is no wheel of {index.distribution} {index.version}, which the bundle is for"
        raise BundleError(ErrorCode.WHEELS_MISSING, text)
    for name, data in manifests_in(root).items():
        beside = into / "manifests" / f"{name}.json"
        if not beside.is_file() or beside.read_bytes() != data:
            text = f"manifests/{name}.json is not the manifest in {root.path.name}"
            raise BundleError(ErrorCode.MANIFEST_INVALID, text)
    check_complete(root.name, wheels, target)
    return Bundle(index, target, wheels, into)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o100644 << 16
    entry.create_system = 3
    return entry


def _check_manifest(name: str, data: bytes, wheel: Wheel) -> None:
    try:
        manifest: Manifest = parse_manifest(data, f"{MANIFEST_FILE} in {wheel.path.name}")
    except ManifestError as error:
        raise BundleError(ErrorCode.MANIFEST_INVALID, str(error)) from error
    if (manifest.name, manifest.version) != (name, str(wheel.version)):
        said, stated = f"{manifest.name} {manifest.version}", f"{name} {wheel.version}"
        raise BundleError(ErrorCode.MANIFEST_INVALID, f"the manifest says {said}, {wheel.path.name} says {stated}")


def _index(archive: zipfile.ZipFile) -> Index:
    if INDEX not in archive.namelist():
        raise BundleError(
            ErrorCode.INVALID_PACKAGE, f"there is no {INDEX} in it; hint: procvision package makes bundles"
        )
    if archive.getinfo(INDEX).file_size > MAX_INDEX_BYTES:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX} is larger than {MAX_INDEX_BYTES} bytes")
    try:
        index = msgspec.json.decode(archive.read(INDEX), type=Index)
    except ValueError as error:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {error}") from error
    if index.format != FORMAT:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX} has format {index.format}, this reads {FORMAT}")
    return index


def _check_names(archive: zipfile.ZipFile, index: Index) -> None:
    listed = [file.path for file in index.files]
    there = [name for name in archive.namelist() if name != INDEX]
    strange = sorted(name for name in {*listed, *there} if _SAFE_NAME.fullmatch(name) is None)
    if strange:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{strange[0][:120]!r} is no name of a file in a bundle")
    if len(set(there)) != len(there) or len(set(listed)) != len(listed):
        raise BundleError(ErrorCode.INVALID_PACKAGE, "a file is there, or listed, twice")
    different = sorted(set(there) ^ set(listed))
    if different:
        where = "not listed in it" if different[0] in there else "listed and not there"
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {different[0]} is {where}")


def _unpack_file(archive: zipfile.ZipFile, file: File, into: Path) -> None:
    """Unpack at most as many bytes as are stated, and refuse what differs."""
    goal = into / PurePosixPath(file.path)
    goal.parent.mkdir(parents=True, exist_ok=True)
    digest, length = hashlib.sha256(), 0
    with archive.open(file.path) as source, goal.open("wb") as sink:
        while piece := source.read(1 << 20):
            length += len(piece)
            if length > file.bytes:
                break
            digest.update(piece)
            sink.write(piece)
    if length != file.bytes or digest.hexdigest() != file.sha256:
        raise BundleError(
            ErrorCode.INVALID_PACKAGE, f"{file.path} is not the file that {INDEX} lists: its hash differs"
        )
