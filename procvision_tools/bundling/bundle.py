"""The bundle's form: a zip with `bundle.json` first, its signature, the manifests of its algorithms, and wheels.

Nothing in it depends on when or where it was made. What a stranger made is looked at from the outside in: the zip's
directory, the index, every hash, every wheel's directory, and only then what the wheels say.
"""

from __future__ import annotations

import errno
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
from attrs import frozen

from procvision_sdk.errors import ErrorCode, ManifestError
from procvision_sdk.hookspecs import ENTRY_POINT_GROUP
from procvision_sdk.manifest.model import ALGORITHM_GROUP, MANIFEST_FILE, Manifest
from procvision_sdk.manifest.reading import MAX_MANIFEST_BYTES, parse_manifest
from procvision_sdk.private_files import check_replaceable
from procvision_tools.bundling.archives import opened_archive, read_entry
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.native import misfits
from procvision_tools.bundling.own_wheel import own_wheel
from procvision_tools.bundling.target import NoTargetError, Target
from procvision_tools.bundling.wheel_rules import MAX_ENTRY_POINTS_BYTES, problems
from procvision_tools.bundling.wheels import OUR_DISTRIBUTION, Wheel, by_name, check_complete, sha256
from procvision_tools.bundling.zip_form import MAX_BYTES, Part, archive_blocks, has_form
from procvision_tools.declared import declared_algorithms, declared_in

FORMAT = 1
INDEX = "bundle.json"
SIGNATURE = "bundle.sig"
MAX_INDEX_BYTES = 4 << 20
MAX_SIGNATURE_BYTES = 4096
MAX_BUNDLE_FILES = 2000
"""An environment has a hundred distributions, a large one three hundred."""
MAX_PROBLEMS_SHOWN = 20
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,98}[a-z0-9])?")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!]{0,99}")
_SAFE_NAME = re.compile(r"manifests/[A-Za-z0-9][A-Za-z0-9._+!-]*\.json|wheels/[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")


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


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`bundle.json`: what is in the bundle, and for whom."""

    format: int
    distribution: str
    version: str
    target: TargetNames
    algorithms: list[Algorithm]
    files: list[File]
    also: list[str] = []
    """Distributions that nothing needs and that are installed, too, such as hook plugins: NAME==VERSION."""

    @property
    def label(self) -> str:
        """NAME==VERSION."""
        return f"{self.distribution}=={self.version}"


@frozen
class Bundle:
    """A bundle that was unpacked and found sound."""

    index: Index
    target: Target
    wheels: Mapping[str, Wheel]
    folder: Path
    own: Wheel
    """The ProcVision that runs, which no bundle brings."""
    index_bytes: bytes
    """`bundle.json` as it is: what is signed."""
    signature: bytes | None
    """`bundle.sig` as it is; None where there is none."""

    @property
    def digest(self) -> str:
        """The SHA-256 of `bundle.json`: it holds every other hash, so it stands for the whole."""
        return hashlib.sha256(self.index_bytes).hexdigest()

    @property
    def wheel_folder(self) -> Path:
        """Where its wheels lie: what `pip install --find-links` takes."""
        return self.folder / "wheels"


def manifests_in(wheel: Wheel) -> dict[str, bytes]:
    """Give the manifest of each algorithm of a wheel, as it is; none for hook plugins.

    Raises BundleError 2001 or 2002.
    """
    with opened_archive(wheel.path) as archive:
        files = set(archive.namelist())
        points = next((name for name in files if name.endswith(".dist-info/entry_points.txt")), None)
        text = read_entry(archive, points, MAX_ENTRY_POINTS_BYTES).decode("utf-8") if points else ""
        declared = declared_algorithms(text)
        if not declared and not declared_in(text, ENTRY_POINT_GROUP):
            groups = f"{ALGORITHM_GROUP}, nor in {ENTRY_POINT_GROUP}"
            raise BundleError(ErrorCode.INVALID_PACKAGE, f"{wheel.path.name} has no entry point in the group {groups}")
        found = {}
        for name, point in declared.items():
            module = point.partition(":")[0]
            parts = module.split(".")
            candidates = ("/".join([*parts[:depth], MANIFEST_FILE]) for depth in range(len(parts), 0, -1))
            path = next((candidate for candidate in candidates if candidate in files), None)
            if path is None:
                text = f"{wheel.path.name} has no {MANIFEST_FILE} in the package of {module}"
                raise BundleError(ErrorCode.MANIFEST_INVALID, text)
            found[name] = read_entry(archive, path, MAX_MANIFEST_BYTES)
            _check_manifest(name, found[name], wheel)
    return found


def write(
    path: Path,
    root: Wheel,
    wheels: Mapping[str, Wheel],
    target: Target,
    also: Sequence[str] = (),
    sign: Callable[[bytes], bytes] | None = None,
) -> Index:
    """Write a bundle; the same wheels give the same bytes.

    ``also`` are names of wheels that are installed although nothing needs them. ``sign`` gives the signature file of
    `bundle.json`. Raises BundleError 2001 or 2002, and OSError.
    """
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
        [f"{name}=={wheels[name].version}" for name in sorted(also)],
    )
    data = msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n"
    sources = {f"wheels/{wheel.path.name}": wheel.path for wheel in wheels.values()}
    parts = _parts(index, data, sign(data) if sign is not None else None, {**manifests, **sources})
    check_replaceable(path)
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("wb") as archive:
            for block in archive_blocks(parts):
                archive.write(block)
        unfinished.replace(path)
    except ValueError as error:
        raise BundleError(ErrorCode.INVALID_PACKAGE, str(error)) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return index


def is_bundle(path: Path) -> bool:
    """Return whether a file is meant to be a bundle, and no wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            return INDEX in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def read_signed(path: Path) -> tuple[bytes, bytes | None, Index]:
    """Read `bundle.json`, its signature file and what it says. Raises BundleError 2001."""
    with opened_archive(path, MAX_BUNDLE_FILES) as archive:
        data, signature, index = _index(archive)
        _check_names(archive, index)
        return data, signature, index


def unpack(path: Path, into: Path) -> Bundle:
    """Unpack a bundle and look at everything that can be seen without running it.

    Raises BundleError: 2001 for what is no bundle, was changed, or would hurt; 2002 for a manifest, 2003 and 2004 for
    wheels that don't fit the target or are missing, 2006 for two versions of one distribution.
    """
    data, signature, index = _unpack_files(path, into)
    try:
        target = Target.of(index.target.platform, index.target.python, index.target.abi)
    except NoTargetError as error:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {error}") from error
    wheels = by_name(Wheel.read(file) for file in sorted((into / "wheels").glob("*.whl")))
    root = wheels.get(index.distribution)
    if root is None or str(root.version) != index.version:
        text = f"there is no wheel of {index.distribution} {index.version}, which the bundle is for"
        raise BundleError(ErrorCode.WHEELS_MISSING, text)
    _check_manifests(index, root, into)
    own = own_wheel(into / "own")
    check(root, [text.partition("==")[0] for text in index.also], {**wheels, OUR_DISTRIBUTION: own}, target)
    return Bundle(index, target, wheels, into, own, data, signature)


def check(root: Wheel, also: Sequence[str], wheels: Mapping[str, Wheel], target: Target) -> None:
    """Check that wheels, ours among them, harm nothing, fit the target and are all that is needed there.

    Raises BundleError 2001, 2003 or 2004.
    """
    bad = list(problems([wheel for name, wheel in wheels.items() if name != OUR_DISTRIBUTION]))
    if bad:
        raise _harmful(bad)
    check_complete([(name, "") for name in (root.name, *also, OUR_DISTRIBUTION)], wheels, target)
    for wheel in wheels.values():
        for misfit in misfits(wheel, target):
            raise misfit


def _harmful(bad: Sequence[str]) -> BundleError:
    more = [f"and {len(bad) - MAX_PROBLEMS_SHOWN} more"] if len(bad) > MAX_PROBLEMS_SHOWN else []
    lines = ["its wheels bring what a station doesn't take", *bad[:MAX_PROBLEMS_SHOWN], *more]
    return BundleError(ErrorCode.INVALID_PACKAGE, "\n".join(lines))


def _parts(index: Index, data: bytes, signature: bytes | None, sources: Mapping[str, bytes | Path]) -> list[Part]:
    """Give a bundle's files in their order."""
    signed = [] if signature is None else [Part(SIGNATURE, signature)]
    return [Part(INDEX, data), *signed, *(Part(file.path, sources[file.path]) for file in index.files)]


def _unpack_files(path: Path, into: Path) -> tuple[bytes, bytes | None, Index]:
    with opened_archive(path, MAX_BUNDLE_FILES) as archive:
        data, signature, index = _index(archive)
        _check_names(archive, index)
        for file in index.files:
            _unpack_file(archive, file, into)
    if signature is not None:
        sources = {file.path: into / file.path for file in index.files}
        if not has_form(path, _parts(index, data, signature, sources)):
            text = f"{path.name} is signed, and its zip is not the one that belongs to its files"
            raise BundleError(ErrorCode.INVALID_PACKAGE, f"{text}; hint: procvision package writes it whole")
    return data, signature, index


def _check_manifests(index: Index, root: Wheel, into: Path) -> None:
    found = manifests_in(root)
    for name, data in found.items():
        beside = into / "manifests" / f"{name}.json"
        if not beside.is_file() or beside.read_bytes() != data:
            text = f"manifests/{name}.json is not the manifest in {root.path.name}"
            raise BundleError(ErrorCode.MANIFEST_INVALID, text)
    listed = {(algorithm.name, algorithm.version, algorithm.manifest) for algorithm in index.algorithms}
    if listed != {(name, index.version, f"manifests/{name}.json") for name in found}:
        text = f"{INDEX} lists other algorithms than {root.path.name} has: {', '.join(found) or 'none'}"
        raise BundleError(ErrorCode.MANIFEST_INVALID, text)


def _check_manifest(name: str, data: bytes, wheel: Wheel) -> None:
    try:
        manifest: Manifest = parse_manifest(data, f"{MANIFEST_FILE} in {wheel.path.name}")
    except ManifestError as error:
        raise BundleError(ErrorCode.MANIFEST_INVALID, str(error)) from error
    if (manifest.name, manifest.version) != (name, str(wheel.version)):
        said, stated = f"{manifest.name} {manifest.version}", f"{name} {wheel.version}"
        raise BundleError(ErrorCode.MANIFEST_INVALID, f"the manifest says {said}, {wheel.path.name} says {stated}")


def _index(archive: zipfile.ZipFile) -> tuple[bytes, bytes | None, Index]:
    names = archive.namelist()
    if INDEX not in names:
        raise BundleError(
            ErrorCode.INVALID_PACKAGE, f"there is no {INDEX} in it; hint: procvision package makes bundles"
        )
    data = read_entry(archive, INDEX, MAX_INDEX_BYTES)
    signature = read_entry(archive, SIGNATURE, MAX_SIGNATURE_BYTES) if SIGNATURE in names else None
    try:
        index = msgspec.json.decode(data, type=Index)
    except ValueError as error:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {error}") from error
    if index.format != FORMAT:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX} has format {index.format}, this reads {FORMAT}")
    if _NAME.fullmatch(index.distribution) is None or _VERSION.fullmatch(index.version) is None:
        text = f"{index.distribution[:60]!r} {index.version[:60]!r} is no distribution's name and version"
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {text}")
    if sum(file.bytes for file in index.files) > MAX_BYTES:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: its files have more than {MAX_BYTES} bytes")
    return data, signature, index


def _check_names(archive: zipfile.ZipFile, index: Index) -> None:
    listed = [file.path for file in index.files]
    there = [name for name in archive.namelist() if name not in (INDEX, SIGNATURE)]
    strange = sorted(name for name in {*listed, *there} if _SAFE_NAME.fullmatch(name) is None)
    if strange:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{strange[0][:120]!r} is no name of a file in a bundle")
    if len(set(there)) != len(there) or len(set(listed)) != len(listed):
        raise BundleError(ErrorCode.INVALID_PACKAGE, "a file is there, or listed, twice")
    different = sorted(set(there) ^ set(listed))
    if different:
        where = "not listed in it" if different[0] in there else "listed and not there"
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"{INDEX}: {different[0]} is {where}")


@contextmanager
def _written(goal: Path) -> Iterator[IO[bytes]]:
    """Open a file to write; what the disk refuses is no fault of the bundle's. Raises BundleError 2005."""
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with goal.open("wb") as sink:
            yield sink
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise
        text = f"{goal.parent} can't be written: {error.strerror}; hint: make room, or rights to write there"
        raise BundleError(ErrorCode.INSTALL_FAILED, text) from error


def _unpack_file(archive: zipfile.ZipFile, file: File, into: Path) -> None:
    """Unpack at most as many bytes as are stated, and refuse what differs."""
    goal = into / PurePosixPath(file.path)
    digest, length = hashlib.sha256(), 0
    with archive.open(file.path) as source, _written(goal) as sink:
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
