"""The ProcVision that runs, as a wheel: what every environment of a vendor's algorithm gets, and no bundle brings.

It is made from the files that this process imports, with the metadata of their installation. So it is the same thing
whether ProcVision was installed from a wheel, lies in a clone (an editable installation) or on a path. What it needs
and a bundle doesn't bring is taken from the same installation, as its records list it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import importlib_metadata

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.target import Target
from procvision_tools.bundling.wheel_rules import OUR_PACKAGES
from procvision_tools.bundling.wheels import OUR_DISTRIBUTION, Wheel, demands

_DATE = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: procvision\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_OF_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_OF_ONE_MACHINE = (".pyc", ".so")
"""Files compiled for this Python and machine. Everything runs without them, and a launched host has its own."""
_EXTRA_OF_HOSTS = "images"
"""A host reads the pictures that a camera or a folder gives."""


def own_wheel(into: Path) -> Wheel:
    """Write the wheel into a folder. Raises BundleError 2005 where this ProcVision isn't installed."""
    try:
        installed = importlib_metadata.distribution(OUR_DISTRIBUTION)
    except importlib_metadata.PackageNotFoundError as error:
        text = "this ProcVision is a source tree that is not installed; hint: pip install -e ."
        raise BundleError(ErrorCode.INSTALL_FAILED, text) from error
    info = f"{OUR_DISTRIBUTION}-{installed.version}.dist-info"
    files = {
        f"{info}/METADATA": (installed.read_text("METADATA") or "").encode(),
        f"{info}/WHEEL": _WHEEL.encode(),
        f"{info}/entry_points.txt": (installed.read_text("entry_points.txt") or "").encode(),
    }
    for package in sorted(OUR_PACKAGES):
        files |= _package(package)
    path = into / f"{OUR_DISTRIBUTION}-{installed.version}-py3-none-any.whl"
    _write(path, info, files)
    return Wheel.read(path)


def supplied(bundled: Mapping[str, Wheel], own: Wheel, target: Target, into: Path) -> str:
    """Write wheels of what ProcVision needs and a bundle doesn't bring, from what is installed here.

    Return the requirement of ProcVision that can be installed then: with the extra by which hosts read pictures where
    that is installed here. Raises BundleError 2004 for what is in neither.
    """
    wheels = {**bundled, OUR_DISTRIBUTION: own}
    for extra in ("", _EXTRA_OF_HOSTS):
        while True:
            asked = demands([(OUR_DISTRIBUTION, ""), (OUR_DISTRIBUTION, extra)], wheels, target)
            missing = sorted(set(asked) - set(wheels))
            if not missing:
                break
            try:
                wheels |= {name: repacked(name, into) for name in missing}
            except BundleError:
                if not extra:
                    raise
                return f"{OUR_DISTRIBUTION}=={own.version}"
    return f"{OUR_DISTRIBUTION}[{_EXTRA_OF_HOSTS}]=={own.version}"


def repacked(name: str, into: Path) -> Wheel:
    """Write a wheel of a distribution that is installed here. Raises BundleError 2004."""
    try:
        installed = importlib_metadata.distribution(name)
        text = installed.read_text("WHEEL") or ""
        names = [str(path) for path in installed.files or () if _belongs(PurePosixPath(str(path)))]
        files = {name: Path(str(installed.locate_file(name))).read_bytes() for name in names}
    except (importlib_metadata.PackageNotFoundError, OSError) as error:
        raise _not_here(name, str(error)) from error
    tags = [tag.split("-") for tag in re.findall(r"^Tag: *(\S+)$", text, re.MULTILINE)]
    if not tags or not any(path.endswith("/METADATA") for path in files):
        raise _not_here(name, "its files are not on record")
    parts = (".".join(dict.fromkeys(tag[part] for tag in tags)) for part in range(3))
    spelt = re.sub(r"[-_.]+", "_", name)
    path = into / f"{spelt}-{installed.version}-{'-'.join(parts)}.whl"
    _write(path, next(name.partition("/")[0] for name in files if name.endswith(".dist-info/METADATA")), files)
    return Wheel.read(path)


def _belongs(path: PurePosixPath) -> bool:
    kept = path.parts[0] not in ("..", "/") and path.suffix != ".pyc" and "__pycache__" not in path.parts
    of_installer = path.parent.name.endswith(".dist-info") and path.name in _OF_INSTALLER
    return kept and not of_installer


def _not_here(name: str, why: str) -> BundleError:
    text = f"there is no wheel of {name}, which procvision needs, and it can't be taken from here: {why}"
    return BundleError(ErrorCode.WHEELS_MISSING, f"{text}; hint: procvision package --with {name}")


def _write(path: Path, info: str, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in {**files, f"{info}/RECORD": "\n".join([*record, f"{info}/RECORD,,", ""]).encode()}.items():
            wheel.writestr(zipfile.ZipInfo(name, _DATE), data)


def _package(name: str) -> dict[str, bytes]:
    spec = find_spec(name)
    found: dict[str, bytes] = {}
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        root = Path(place)
        for path in sorted(root.rglob("*")):
            below = path.relative_to(root)
            if path.is_file() and "__pycache__" not in below.parts and path.suffix not in _OF_ONE_MACHINE:
                found.setdefault(f"{name}/{below.as_posix()}", path.read_bytes())
    return found


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
