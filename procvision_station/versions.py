"""Installed versions in a station: whose manifest counts for a recipe, and what activates and takes back.

An activation is the command `procvision activate`, in a process of its own: its gate hashes files and runs hosts, which
would disturb a line. The lines' supervisors follow the folder by themselves, and go on with the version between two
products.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from procvision_runner.deployments import ANY_PID, Deployment, active_deployment, active_version, read_deployment
from procvision_sdk.errors import ManifestError, ProcVisionError
from procvision_sdk.manifest.model import ALGORITHM_GROUP, MANIFEST_FILE, Manifest
from procvision_station.configuration.checking import Problem
from procvision_station.configuration.model import DeploymentsSection
from procvision_station.configuration.recipes import Recipe, complete_parameters
from procvision_station.control import ActivateVersion, ControlError, InstallVersion, TakeBackVersion
from procvision_tools.hints import split_hint

UPLOADS = "uploads"
"""Below the station's data: bundles that the page was given, until they are installed or refused."""
COMMAND_WITHIN_S = 900.0
"""A gate launches hosts, and inspects all golden pictures."""


class NoVersionError(ProcVisionError):
    """A recipe names what no folder of deployments can give. The text ends with a hint."""


def active_manifest(root: Path, algorithm: str, product: str) -> Manifest:
    """Return the manifest of the version that is active for a product. Raises ProcVisionError.

    Nothing of the version is imported.
    """
    if "==" in algorithm or "@" in algorithm:
        name = algorithm.partition("==")[0].partition("@")[0]
        raise NoVersionError(
            f"{algorithm} says which version runs, and with [deployments] what is active says so; hint: {name}, and "
            f"procvision activate {name}==VERSION"
        )
    return manifest_of(active_deployment(root, algorithm, product), algorithm)


def manifest_of(deployment: Deployment, algorithm: str) -> Manifest:
    """Return an algorithm's manifest of an installed version. Raises ProcVisionError."""
    from importlib_metadata import distributions

    from procvision_sdk.manifest.finding import manifest_folder
    from procvision_sdk.manifest.reading import read_manifest

    folders = [str(path) for path in sorted(deployment.folder.glob("lib/python3*/site-packages"))]
    for distribution in distributions(name=deployment.name, path=folders):
        for point in distribution.entry_points.select(group=ALGORITHM_GROUP, name=algorithm):
            return read_manifest(manifest_folder(point.value, folders) / MANIFEST_FILE)
    raise ManifestError(f"{deployment.folder} has no algorithm {algorithm!r}; hint: procvision versions")


@frozen
class Versions:
    """The folder of deployments of a station, to be changed."""

    folder: Path
    """The station's."""
    section: DeploymentsSection

    @property
    def root(self) -> Path:
        """Where versions lie."""
        return self.folder / self.section.root

    def activate(self, command: ActivateVersion, recipes: Iterable[Recipe]) -> dict[str, Any]:
        """Let a version pass the gate and give products to it. Return what is recorded. Raises ProcVisionError.

        A version whose manifest doesn't take the parameters of a recipe that would get it is refused before.
        """
        deployment = read_deployment(self.root / command.name / command.version)
        self._hold_to_recipes(deployment, command.pids, recipes)
        words = ["activate", f"{command.name}=={command.version}", "--json", *_each("--grant", command.grants)]
        golden = self.folder / self.section.golden / command.name if self.section.golden is not None else None
        if golden is not None and golden.is_dir():
            words += ["--golden", str(golden)]
        status, out, err = self._run(words, command)
        try:
            outcome = json.loads(out) if out.strip() else {}
        except ValueError:
            outcome = {}
        gate = [{key: row.get(key) for key in ("title", "level", "detail")} for row in outcome.get("findings", ())]
        done = {"gate": gate, "bundle": deployment.facts.get("bundle"), "grants": list(command.grants)}
        if status == 0 and outcome.get("active"):
            return {"event": "version_activated", **done}
        failed = next((row for row in gate if row["level"] == "failed"), None)
        if failed is None:
            raise _refused(err or f"procvision activate ended with {status}")
        return {"event": "version_refused", **done, "reason": f"{failed['title']}: {failed['detail']}"}

    def take_back(self, command: TakeBackVersion) -> dict[str, Any]:
        """Activate the version before again. Return what is recorded. Raises ControlError."""
        words = ["rollback", command.name, *(["--allow-revoked"] if command.allow_revoked else [])]
        status, out, err = self._run(words, command)
        if status != 0:
            raise _refused(err or f"procvision rollback ended with {status}")
        now = [active_version(self.root / command.name, pid) for pid in command.pids]
        return {
            "event": "version_taken_back",
            "version": ", ".join(dict.fromkeys(each.version for each in now if each is not None)),
            "allow_revoked": command.allow_revoked,
            "said": " ".join(out.split()),
        }

    def install(self, command: InstallVersion, uploads: Path) -> dict[str, Any]:
        """Install a bundle's version. Return what is recorded, also of one that is refused. Raises ControlError."""
        if not command.uploaded and self.section.bundles is None:
            raise ControlError(
                "there is no folder of bundles\nhint: bundles in the table [deployments] of station.toml names one"
            )
        folder = uploads if command.uploaded else self.folder / (self.section.bundles or "")
        path = folder / command.file
        if not path.is_file():
            raise ControlError(f"there is no bundle {command.file}\nhint: load the page anew")
        unsigned = ["--allow-unsigned"] if self.section.unsigned else []
        said = {"file": command.file, "uploaded": command.uploaded, "unsigned_allowed": self.section.unsigned}
        try:
            status, out, err = self._run(["install", str(path), "--json", *unsigned], command)
        except ControlError as error:  # it took too long
            return {"event": "version_not_installed", **said, "reason": str(error)}
        if status != 0:
            return {"event": "version_not_installed", **said, "reason": str(_refused(err or "it ended without a word"))}
        row = json.loads(out)
        signed_by = (row["signed_by"] or {}).get("name")
        kept = {"name": row["name"], "version": row["version"], "bundle": row["bundle"], "signed_by": signed_by}
        return {"event": "version_installed", **said, **kept}

    def _hold_to_recipes(self, deployment: Deployment, pids: Iterable[str], recipes: Iterable[Recipe]) -> None:
        for recipe in recipes:
            now = active_version(deployment.folder.parent, recipe.product)
            concerned = recipe.product in pids or (ANY_PID in pids and (now is None or now.pid == ANY_PID))
            for place, step in enumerate(recipe.steps if concerned else ()):
                if step.algorithm not in deployment.algorithms:
                    continue
                wrong: list[Problem] = []
                manifest = manifest_of(deployment, step.algorithm)
                complete_parameters(manifest, recipe.product, step.step, step.given, ("steps", place), wrong)
                if wrong:
                    which = f"{deployment.name}=={deployment.version}"
                    text = f"{which} can't run the recipe {recipe.name}: {wrong[0].message}"
                    raise ControlError(f"{text}\nhint: change the recipe first; {wrong[0].hint}")

    def _run(
        self, words: list[str], command: ActivateVersion | TakeBackVersion | InstallVersion
    ) -> tuple[int, str, str]:
        """Run a command of deployments. Return its exit status, and what it said."""
        from procvision_tools.subprocesses import run_tool

        pids = () if isinstance(command, InstallVersion) else command.pids
        said = [f"--why={command.why}", f"--for-user={command.user}", *_each("--pid", pids)]
        keys = ["--keys", str(self.folder / self.section.keys)] if self.section.keys is not None else []
        whole = [sys.executable, "-m", "procvision_tools", *words, *said, "--root", str(self.root), *keys]
        try:
            done = run_tool(whole, os.environ, COMMAND_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise ControlError(
                f"procvision {words[0]} took more than {COMMAND_WITHIN_S:g} s, and was ended\nhint: try it by hand"
            ) from error
        return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def _each(option: str, values: Iterable[str]) -> list[str]:
    """Return an option for each value, which no value can be taken for."""
    return [f"{option}={value}" for value in values]


def _refused(said: str) -> ControlError:
    """Return what a command said as an error: without its beginning, on two lines."""
    message, hint = split_hint(said.strip().removeprefix("error: "))
    text = " ".join(message.split())[:500]
    return ControlError(f"{text}\nhint: {' '.join(hint.split())[:500]}" if hint else text)


def told_version(deployment: Mapping[str, str] | None) -> dict[str, str]:
    """Return what a record has of the installed version that gave a verdict; nothing where it is of none."""
    if deployment is None:
        return {}
    return {
        "version": deployment["version"],
        "distribution": deployment["name"],
        "package": deployment["bundle"],
        "installation": deployment["id"],
    }
