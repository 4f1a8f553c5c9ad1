"""What a vendor's wheels may put into an environment, found from their directories: nothing of them is unpacked.

A wheel installs modules, metadata and programs. It may bring none that Python runs by itself, none that are ours or
the interpreter's, nothing outside the folder of modules and that of programs, and no file that is another wheel's.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath

import packaging.utils
from attrs import frozen

from procvision_tools.bundling.archives import opened_archive, read_entry
from procvision_tools.bundling.wheels import OUR_DISTRIBUTION, Wheel

OUR_PACKAGES = frozenset(
    f"procvision_{part}" for part in ("sdk", "host", "runner", "testing", "tools", "station")
)  # fmt: skip
MAX_ENTRY_POINTS_BYTES = 1 << 20
_PYTHON_RUNS = frozenset({"sitecustomize", "usercustomize", "_virtualenv", "__editable__"})
"""Modules that Python, or the environment's own .pth file, imports at its start."""
_PROGRAMS = re.compile(
    r"(?:procvision(?:-host)?|python[\d.]*[a-z]*|pip[\d.]*|uvx?|activate.*|deactivate.*|pydoc.*)(?:\.\w+)?"
)
_PROGRAM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")


class _EntryPoints(configparser.ConfigParser):
    """Names keep their case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@frozen
class Installed:
    """A file that a wheel brings, and where it would lie."""

    place: str
    """Below the environment: `site/…` for modules and metadata, `bin/…` for programs."""
    entry: str | None
    """The wheel's entry; None for a program that an installer makes from an entry point."""


def problems(wheels: Sequence[Wheel]) -> Iterator[str]:
    """Say what the wheels would install and must not; one line each, the wheel's name first."""
    owners: dict[str, tuple[Wheel, Installed]] = {}
    all_files = {wheel.path.name: [*_files(wheel)] for wheel in wheels}
    for wheel in wheels:
        yield from _identity(wheel)
        for file in all_files[wheel.path.name]:
            why = _refused(file.place)
            if why is not None:
                yield f"{wheel.path.name}: {file.entry or file.place}: {why}"
                continue
            key = file.place.casefold()
            owner = owners.setdefault(key, (wheel, file))
            if owner[0] is not wheel and not _same(owner, (wheel, file)):
                yield f"{wheel.path.name}: {file.entry or file.place}: {owner[0].path.name} has one of that name, too"
    yield from _shadowed(owners)


def _files(wheel: Wheel) -> Iterator[Installed]:
    with opened_archive(wheel.path) as archive:
        data = f"{_escaped(wheel)}.data/"
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            top, _, rest = name.partition("/")
            if not top.endswith(".data"):
                yield Installed(f"site/{name}", name)
                continue
            scheme, _, below = rest.partition("/")
            kind = {"purelib": "site", "platlib": "site", "scripts": "bin"}.get(scheme)
            known = name.startswith(data) and kind is not None and below
            yield Installed(f"{kind}/{below}" if known else f"elsewhere/{rest}", name)
        for program in _programs(archive):
            yield Installed(f"bin/{program}", None)


def _programs(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        if name.count("/") != 1 or not name.endswith(".dist-info/entry_points.txt"):
            continue
        parser = _EntryPoints(delimiters=("=",), interpolation=None, strict=False)
        try:
            parser.read_string(read_entry(archive, name, MAX_ENTRY_POINTS_BYTES).decode("utf-8"))
        except (configparser.Error, UnicodeDecodeError):
            yield "(an entry_points.txt that can't be read)"
            continue
        for section in ("console_scripts", "gui_scripts"):
            if parser.has_section(section):
                yield from parser.options(section)


def _refused(place: str) -> str | None:
    where, _, rest = place.partition("/")
    path = PurePosixPath(rest)
    top = path.parts[0].partition(".")[0] if path.parts else ""
    if where == "elsewhere":
        return "it would lie outside the folders of modules and programs"
    if where == "bin":
        if _PROGRAM_NAME.fullmatch(rest) is None:
            return "it is no name of a program"
        return "a program of that name is ProcVision's or the interpreter's" if _PROGRAMS.fullmatch(rest) else None
    if path.suffix.lower() in (".pth", ".egg-link") and len(path.parts) == 1:
        return "Python runs what stands in a .pth file at every start"
    if top.casefold() in _PYTHON_RUNS:
        return "Python imports it at every start"
    if top.casefold() in OUR_PACKAGES:
        return "it is ProcVision's own, which the station supplies"
    if path.parts[0].casefold().endswith((".dist-info", ".egg-info")):
        name = packaging.utils.canonicalize_name(path.parts[0].rpartition(".")[0].partition("-")[0])
        return "it is ProcVision's own metadata" if name == OUR_DISTRIBUTION else None
    return None


def _identity(wheel: Wheel) -> Iterator[str]:
    """Yield a wheel is one distribution's: its metadata folder is called as its file is."""
    if wheel.name == OUR_DISTRIBUTION:
        yield f"{wheel.path.name}: ProcVision is the station's own; hint: package it again with this version"
    with opened_archive(wheel.path) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    folders = sorted(top for top in tops if top.casefold().endswith((".dist-info", ".egg-info")))
    if len(folders) != 1 or _key(folders[0].rpartition(".")[0]) != _key(_escaped(wheel)):
        places = ", ".join(folders) or "no folder"
        yield f"{wheel.path.name}: its metadata lies in {places}: it is one folder, called as the wheel"


def _escaped(wheel: Wheel) -> str:
    return "-".join(wheel.path.name.split("-")[:2])


def _key(name_version: str) -> tuple[str, str]:
    name, _, version = name_version.partition("-")
    return packaging.utils.canonicalize_name(name), packaging.utils.canonicalize_version(version)


def _same(one: tuple[Wheel, Installed], other: tuple[Wheel, Installed]) -> bool:
    """Tell whether two wheels bring the same bytes, as for the `__init__.py` of a namespace."""
    digests = [_digest(wheel, file.entry) for wheel, file in (one, other) if file.entry is not None]
    return len(digests) == 2 and digests[0] == digests[1] and one[1].place == other[1].place


def _digest(wheel: Wheel, entry: str) -> str:
    digest = hashlib.sha256()
    with opened_archive(wheel.path) as archive, archive.open(entry) as file:
        for piece in iter(partial(file.read, 1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _shadowed(owners: dict[str, tuple[Wheel, Installed]]) -> Iterator[str]:
    """A module `a/b.py` of one wheel and a package `a/b/` of another: which of them is imported is left to chance."""
    packages: dict[str, set[str]] = {}
    for place, (wheel, _) in owners.items():
        for above in PurePosixPath(place).parents:
            packages.setdefault(str(above), set()).add(wheel.name)
    for place, (wheel, file) in owners.items():
        path = PurePosixPath(place)
        if path.parts[0] == "site" and path.suffix in _MODULE_SUFFIXES:
            name = path.name.partition(".")[0]
            others = packages.get(str(path.with_name(name)), set()) - {wheel.name} if name else set()
            if others:
                yield f"{wheel.path.name}: {file.entry}: {', '.join(sorted(others))} has a package of that name, too"
