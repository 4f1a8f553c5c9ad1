"""The wheels of a bundle: built from the project, and fetched for the target.

The strategy: uv resolves for the target, since `pip download` evaluates markers for the machine that it runs on; pip
fetches, one wheel for each name and nothing by its own choice. The ProcVision that runs here takes part in resolving,
so that what it needs comes along; its own wheel stays behind. What comes of it is checked like a foreign bundle.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import packaging.requirements
import packaging.utils
from attrs import frozen

from procvision_sdk.errors import ErrorCode
from procvision_tools.bundling.bundle import check
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.own_wheel import own_wheel
from procvision_tools.bundling.target import Target
from procvision_tools.bundling.tools import find_uv, need_uv, pip, run
from procvision_tools.bundling.wheels import OUR_DISTRIBUTION, Wheel, by_name
from procvision_tools.scratch import scratch_folder

SOURCE_DATE_EPOCH = "315532800"
"""1980-01-01, the first day that a zip can tell: a build takes it for now, and comes out the same every time."""


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


def gather(
    root: Wheel, into: Path, target: Target, sources: Sources, also: Sequence[str] = ()
) -> tuple[dict[str, Wheel], list[str]]:
    """Fetch what a wheel needs on the target, beside it. Give all by name, and the names of those that ``also`` wants.

    ``also`` are requirements, or paths of projects and wheels. Raises BundleError: 2003 for another Python, 2004 where
    there are no wheels that fit, 2001 for those that a station doesn't take.
    """
    misfit = root.misfit(target)
    if misfit is not None:
        raise misfit
    with scratch_folder() as folder:
        own = own_wheel(folder)
        built = [_built(Path(text), folder / str(number), into, sources) if Path(text).exists() else None
                 for number, text in enumerate(also)]  # fmt: skip
        lines = [
            f"{root.name} @ {root.path.resolve().as_uri()}",
            *(text if wheel is None else f"{wheel.name} @ {wheel.path.resolve().as_uri()}"
              for text, wheel in zip(also, built, strict=True)),
        ]  # fmt: skip
        names = [_name(text) if wheel is None else wheel.name for text, wheel in zip(also, built, strict=True)]
        limits = f"{own.name} @ {own.path.resolve().as_uri()}"
        _fetch(_resolved(lines, limits, folder, target, sources), into, target, sources)
        wheels = by_name(Wheel.read(path) for path in sorted(into.glob("*.whl")))
        check(root, names, {**wheels, OUR_DISTRIBUTION: own}, target)
    return wheels, names


def _built(project: Path, folder: Path, into: Path, sources: Sources) -> Wheel:
    folder.mkdir()
    wheel = build(project, folder, sources)
    return Wheel.read(Path(shutil.copy2(wheel.path, into)))


def _name(requirement: str) -> str:
    try:
        return str(packaging.utils.canonicalize_name(packaging.requirements.Requirement(requirement).name))
    except packaging.requirements.InvalidRequirement as error:
        text = f"{requirement[:80]!r} is neither a path nor a requirement; hint: procvision-mqtt>=0.1"
        raise BundleError(ErrorCode.WHEELS_MISSING, text) from error


def _resolved(lines: Sequence[str], limits: str, folder: Path, target: Target, sources: Sources) -> list[str]:
    """Pin of everything that isn't there as a file, by uv's resolver."""
    if target.uv_platform is None:
        text = f"uv finds no versions for {target.platform}; hint: manylinux_2_17 and later, x86_64 or aarch64"
        raise BundleError(ErrorCode.WHEELS_MISSING, text)
    wanted = folder / "wanted.in"
    wanted.write_text("\n".join([*lines, ""]), "utf-8")
    constraints = folder / "constraints.txt"
    constraints.write_text(f"{limits}\n", "utf-8")
    command = [
        need_uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
        "--python",
        sys.executable,  # to build metadata with; without it uv looks for, and downloads, the target's
        "--python-platform", target.uv_platform, "--python-version", target.python, *sources.flags,
        "--constraint", str(constraints), str(wanted),
    ]  # fmt: skip
    said = _run(command, ErrorCode.WHEELS_MISSING, f"there are no wheels for {target} that fit together")
    pins = (line.partition(";")[0].strip() for line in said.splitlines())
    return [pin for pin in pins if "==" in pin and " @ " not in pin]


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
