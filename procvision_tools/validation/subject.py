"""What is validated: a project's folder, a wheel, a bundle or something installed, each made findable for a host.

A host finds algorithms by the metadata of distributions. A folder that isn't installed gets metadata in a temporary
folder, made from its pyproject.toml; a wheel is unpacked; a bundle is installed into an environment of its own, which
is what it is for. Nothing is built, and nothing is left behind.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.manifest.model import ALGORITHM_GROUP
from procvision_sdk.regular_files import MAX_TEXT_BYTES, read_regular
from procvision_testing import Finding
from procvision_tools.declared import declared_algorithms
from procvision_tools.extras import need
from procvision_tools.hints import split_hint
from procvision_tools.scratch import NoScratchError, scratch_folder, temporary_folder

_EXAMPLE = '[project.entry-points."procvision.algorithms"]\n  weld-check = "weld_check.algorithm:WeldCheck"'


class NoSubjectError(ProcVisionError):
    """There is nothing to validate. The text ends with a hint."""


@frozen
class Subject:
    """The algorithms' names, the environment in which a host finds them, and what was seen on the way."""

    names: tuple[str, ...]
    environment: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    python: str = sys.executable
    """The interpreter of that environment."""


@contextmanager
def opened(what: str, keys: Path | None = None, *, allow_unsigned: bool = False) -> Iterator[Subject]:
    """The subject that a path or a name means. Raises NoSubjectError.

    ``keys`` is the store of the keys whose signatures of bundles count, None for this user's.
    """
    path = Path(what)
    if not path.exists() and os.sep not in what and not what.endswith((".whl", ".zip")):
        yield Subject((what,), os.environ, tuple(_no_scratch()))
        return
    with scratch_folder() as folder:
        if path.is_dir():
            yield _project(path, folder)
        elif path.is_file() and _is_bundle(path):
            yield _bundle(path, folder, keys, allow_unsigned)
        elif path.is_file():
            yield _wheel(path, folder)
        else:
            raise NoSubjectError(
                f"{what} is not there; hint: a project's folder, a wheel, a bundle, or an installed name"
            )


def _no_scratch() -> Iterator[Finding]:
    """Give a finding where an algorithm would find no folder for temporary files."""
    try:
        temporary_folder()
    except NoScratchError as error:
        yield Finding("temporary files", "failed", *split_hint(str(error)))


def _project(folder: Path, site: Path) -> Subject:
    file = folder / "pyproject.toml"
    try:
        declared = tomllib.loads(read_regular(file, MAX_TEXT_BYTES).decode())
    except OSError as error:
        raise NoSubjectError(
            f"{file} can't be read: {error.strerror}; hint: procvision validate FOLDER with a pyproject.toml in it"
        ) from error
    except ValueError as error:
        raise NoSubjectError(f"{file} is no TOML: {error}; hint: mend that line") from error
    project = declared.get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise NoSubjectError(f"{file} has no [project] with a name; hint: procvision init makes one to look at")
    points = _table(_table(project, "entry-points"), ALGORITHM_GROUP)
    if not points:
        hint = f"the entry point is how a host finds it:\n  {_EXAMPLE}"
        return Subject((), os.environ, (Finding("an algorithm is declared", "failed", f"{file} names none", hint),))
    findings = [Finding("an algorithm is declared", detail=", ".join(sorted(points)))]
    findings += _dependencies(project)
    version = project.get("version")
    if not isinstance(version, str):
        version = _manifest_version(folder, points)
        detail = "the version is made when it is built: that it will be the manifest's can't be seen here"
        findings.append(Finding("the version is stated", "warning", detail, "state it, or validate the wheel"))
    _write_metadata(site, project["name"], version, points)
    roots = {root for point in points.values() if (root := _source_root(folder, str(point))) is not None}
    return Subject(tuple(sorted(points)), _environment([site, *sorted(roots)]), tuple(findings))


def _is_bundle(path: Path) -> bool:
    """Say yes also for what says so by its name, so that a damaged one is called by its name."""
    if path.suffix == ".whl":
        return False
    need("packaging.tags", "packaging", "a bundle")
    from procvision_tools.bundling.bundle import is_bundle

    return path.suffix == ".zip" or is_bundle(path)


def _bundle(path: Path, folder: Path, keys: Path | None, allow_unsigned: bool) -> Subject:
    """Install nothing of a bundle that nobody who is trusted has signed, unless that is allowed."""
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.bundling.examining import examined
    from procvision_tools.bundling.installing import clean_environment, install
    from procvision_tools.bundling.target import Target
    from procvision_tools.bundling.trust_store import TrustStore, store_path

    store = TrustStore.read(store_path(keys))
    seen = examined(path, folder / "bundle", store, allow_unsigned=allow_unsigned)
    findings, bundle = list(seen.findings), seen.bundle
    title = "it can be installed without a network"
    if bundle is None or seen.refusal is not None:
        findings.append(Finding(title, "skipped", "nothing of it is run"))
        return Subject((), os.environ, tuple(findings))
    if not bundle.target.is_here:
        detail = f"it is for {bundle.target}; this is {Target.of()}"
        findings.append(Finding(title, "skipped", detail, "validate it on such a machine, too"))
        return Subject((), os.environ, tuple(findings))
    try:
        python = install(bundle, folder / "environment")
    except BundleError as error:
        message, hint = split_hint(str(error))
        findings.append(Finding(title, "failed", f"[{error.error_code}] {message}", hint))
        return Subject((), os.environ, tuple(findings))
    findings.append(Finding(title, detail="into an environment of its own, from its wheels alone"))
    names = tuple(algorithm.name for algorithm in bundle.index.algorithms)
    return Subject(names, clean_environment(), tuple(findings), str(python))


def _wheel(path: Path, site: Path) -> Subject:
    need("packaging.metadata", "packaging", "a wheel")
    from procvision_tools.bundling.archives import opened_archive
    from procvision_tools.bundling.errors import BundleError
    from procvision_tools.bundling.wheel_rules import problems
    from procvision_tools.bundling.wheels import Wheel

    try:
        bad = list(problems([Wheel.read(path)]))
        if bad:
            return Subject((), os.environ, (Finding("it brings what a station takes", "failed", "\n".join(bad)),))
        with opened_archive(path) as wheel:
            wheel.extractall(site)
    except BundleError as error:
        raise NoSubjectError(f"{path} is no wheel: {error}; hint: pip wheel --no-deps . makes one") from error
    names: list[str] = []
    for file in site.glob("*.dist-info/entry_points.txt"):
        names += declared_algorithms(read_regular(file, MAX_TEXT_BYTES).decode())
    if not names:
        detail = f"{path.name} has no entry point in the group {ALGORITHM_GROUP}"
        return Subject((), os.environ, (Finding("an algorithm is declared", "failed", detail, _EXAMPLE),))
    return Subject(tuple(names), _environment([site]), (Finding("an algorithm is declared", detail=", ".join(names)),))


def _table(within: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = within.get(key)
    return found if isinstance(found, Mapping) else {}


def _dependencies(project: Mapping[str, Any]) -> Iterator[Finding]:
    names = {re.split(r"[^A-Za-z0-9._-]", str(text).strip(), maxsplit=1)[0] for text in project.get("dependencies", ())}
    if "procvision" not in names and "dependencies" not in project.get("dynamic", ()):
        hint = 'dependencies = ["procvision>=0.1", ...]'
        yield Finding("it depends on procvision", "warning", "pyproject.toml doesn't say so", hint)


def _write_metadata(site: Path, name: str, version: str, points: Mapping[str, Any]) -> None:
    folder = site / f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{ALGORITHM_GROUP}]", *lines, ""]), "utf-8")


def _source_root(folder: Path, point: str) -> Path | None:
    """Return the folder from which the entry point's package is imported."""
    top = re.split(r"[.:]", point, maxsplit=1)[0]
    for root in (folder / "src", folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        if (root / top).is_dir() or (root / f"{top}.py").is_file():
            return root
    return None


def _manifest_version(folder: Path, points: Mapping[str, Any]) -> str:
    import json

    for point in points.values():
        root = _source_root(folder, str(point))
        if root is None:
            continue
        for path in (root / re.split(r"[.:]", str(point), maxsplit=1)[0]).glob("manifest.json"):
            try:
                return str(json.loads(read_regular(path, MAX_TEXT_BYTES))["version"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
    return "0"


def _environment(paths: list[Path]) -> dict[str, str]:
    texts = [str(path.resolve()) for path in paths] + [text for text in [os.environ.get("PYTHONPATH")] if text]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(texts)}
