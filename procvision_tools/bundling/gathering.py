"""The wheels of a bundle: built from the project, and fetched for the target.

The strategy: uv, where it is installed, resolves for the target; without it requirements are followed wheel by wheel,
with markers that are evaluated here, since `pip download` evaluates them for the machine it runs on. pip fetches in
either case, one wheel for each name and nothing by its own choice. What comes of it is checked like a foreign bundle.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import packaging.specifiers
import packaging.utils
from attrs import frozen

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.target import Target
from procvision_tools.bundling.tools import find_uv, pip, run
from procvision_tools.bundling.wheels import Wheel, by_name, check_complete, demands

SOURCE_DATE_EPOCH = "315532800"
"""1980-01-01, the first day that a zip can tell: a build takes it for now, and comes out the same every time."""
MAX_ROUNDS = 30
"""A requirement of a requirement is a round; nothing nests so deep."""


@frozen
class Sources:
    """Where wheels come from."""

    find_links: tuple[Path, ...] = ()
    no_index: bool = False
    build_isolation: bool = True

    @property
    def flags(self) -> list[str]:
        """The same for pip and for uv."""
        links = [word for folder in self.find_links for word in ("--find-links", str(folder.resolve()))]
        return [*(["--no-index"] if self.no_index else []), *links]


def build(project: Path, into: Path, sources: Sources) -> Wheel:
    """Build a project's wheel, or copy one that is built. Raises BundleError 2001."""
    if project.is_file():
        return Wheel.read(Path(shutil.copy2(project, into)))
    isolation = [] if sources.build_isolation else ["--no-build-isolation"]
    uv = find_uv()
    if uv is not None:
        python = ["--python", sys.executable]
        command = [uv, "build", "--wheel", "--quiet", *python, "--out-dir", str(into), *isolation, *sources.flags]
    else:
        command = [*pip(), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(into), *isolation, *sources.flags]
    _run([*command, str(project.resolve())], ErrorCode.INVALID_PACKAGE, f"{project} can't be built")
    wheels = list(into.glob("*.whl"))
    if len(wheels) != 1:
        raise BundleError(ErrorCode.INVALID_PACKAGE, f"building {project} gave {len(wheels)} wheels, expected one")
    return Wheel.read(wheels[0])


def gather(root: Wheel, into: Path, target: Target, sources: Sources) -> dict[str, Wheel]:
    """Fetch what a wheel needs on the target, beside it; give all by name.

    Raises BundleError: 2003 for another Python, 2004 where there are no wheels that fit.
    """
    misfit = root.misfit(target)
    if misfit is not None:
        raise misfit
    uv = find_uv()
    if uv is not None and target.uv_platform is not None:
        _fetch(_resolved(uv, root, into, target, sources), into, target, sources)
    else:
        _follow(root, into, target, sources)
    wheels = by_name(Wheel.read(path) for path in sorted(into.glob("*.whl")))
    check_complete(root.name, wheels, target)
    return wheels


def _resolved(uv: str, root: Wheel, into: Path, target: Target, sources: Sources) -> list[str]:
    """Pins of everything but the root, by uv's resolver."""
    wanted = into / "wanted.in"
    wanted.write_text(f"{root.name} @ {root.path.resolve().as_uri()}\n", "utf-8")
    assert target.uv_platform is not None
    command = [
        uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
        "--python",
        sys.executable,  # to build metadata with; without it uv looks for, and downloads, the target's
        "--python-platform", target.uv_platform, "--python-version", target.python, *sources.flags, str(wanted),
    ]  # fmt: skip
    said = _run(command, ErrorCode.WHEELS_MISSING, f"there are no wheels for {target} that fit together")
    wanted.unlink()
    lines = (line.partition(";")[0].strip() for line in said.splitlines())
    return [line for line in lines if "==" in line and " @ " not in line]


def _follow(root: Wheel, into: Path, target: Target, sources: Sources) -> None:
    """Without a resolver: fetch what is asked for, look what that asks for, until nothing is new.

    It takes the newest version that all who ask agree on and never goes back; where that fails, uv knows better.
    """
    for _ in range(MAX_ROUNDS):
        wheels = by_name(Wheel.read(path) for path in into.glob("*.whl"))
        wanted = []
        for name, asked in demands(root.name, wheels, target).items():
            specifier = packaging.specifiers.SpecifierSet()
            for _, requirement in asked:
                specifier &= requirement.specifier
            there = wheels.get(name)
            if there is not None and specifier.contains(there.version, prereleases=True):
                continue
            if there is not None:
                there.path.unlink()
            wanted.append(f"{name}{specifier}")
        if not wanted:
            return
        _fetch(wanted, into, target, sources)
    raise BundleError(ErrorCode.WHEELS_MISSING, f"requirements don't settle in {MAX_ROUNDS} rounds; hint: install uv")


def _fetch(requirements: Sequence[str], into: Path, target: Target, sources: Sources) -> None:
    if not requirements:
        return
    command = [*pip(), "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(into)]
    command += ["--implementation", "cp", "--python-version", target.python]
    command += _repeated("--abi", target.abis) + _repeated("--platform", target.platforms)
    what = f"there are no wheels for {target} of {', '.join(requirements)}"
    _run([*command, *sources.flags, *requirements], ErrorCode.WHEELS_MISSING, what)


def _repeated(flag: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]


def _run(command: Sequence[str], code: ErrorCode, what: str) -> str:
    return run(command, {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, **os.environ}, code, what)
