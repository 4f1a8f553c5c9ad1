"""Installs plugins without an installer: a folder with `*.dist-info`, to be put on a host's PYTHONPATH."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

PEERS = Path(__file__).parent
ROOT = PEERS.parents[1]
VERSION = "1.2.3"

ALGORITHMS: Mapping[str, str] = {
    "misbehaving": "algorithms.misbehaving:Misbehaving",
    "steps": "algorithms.steps:Steps",
    "crash-in-import": "algorithms.crash_in_import:Crashing",
    "exit-in-import": "algorithms.exit_in_import:Exiting",
    "raise-in-setup": "algorithms.raise_in_setup:Raising",
    "fork-in-setup": "algorithms.fork_in_setup:Forking",
    "close-in-setup": "algorithms.close_in_setup:Closing",
    "hang-in-import": "algorithms.hang_in_import:Hanging",
    "slow-setup": "algorithms.slow_setup:Slow",
    "hang-in-setup": "algorithms.hang_in_setup:Hanging",
    "hang-in-teardown": "algorithms.hang_in_teardown:Hanging",
    "raise-in-teardown": "algorithms.raise_in_teardown:Raising",
    "slow-teardown": "algorithms.slow_teardown:Slow",
    "no-algorithm": "algorithms.no_algorithm:Stranger",
    "no-super": "algorithms.no_super:Forgetful",
    "no-manifest": "algorithms.no_manifest:Undeclared",
    "bad-manifest": "algorithms.bad_manifest:Misdeclared",
    "missing-asset": "algorithms.missing_asset:Incomplete",
}
"""Entry points by name. Every package has a manifest of the version above, unless its name says otherwise."""


def install(folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], version: str = VERSION) -> Path:
    """Writes one distribution's metadata into `folder`, as an installer would have."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines: list[str] = []
    for group, members in entry_points.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in members.items()), ""]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return folder


def install_algorithm(folder: Path, name: str, source: str, **manifest: object) -> Path:
    """A whole package of one algorithm, whose class is `Vendor`, with its manifest and metadata."""
    module = f"vendor_{name.replace('-', '_')}"
    package = folder / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    entry_point = f"{module}:Vendor"
    declared = {
        "name": name,
        "version": VERSION,
        "entry_point": entry_point,
        "supported_pids": ["A"],
        "steps": [{"index": 1, "name": "only"}],
        **manifest,
    }
    (package / "manifest.json").write_text(json.dumps(declared))
    return install(folder, name, {"procvision.algorithms": {name: entry_point}})


def environment(*folders: Path, **more: str) -> dict[str, str]:
    """The environment of a process that finds what was installed into these folders."""
    paths = [*map(str, folders), str(PEERS), str(ROOT), os.environ.get("PYTHONPATH", "")]
    # Byte code is kept, outside of the checkout: a vendor's packages are compiled when they are installed.
    kept = {
        key: value for key, value in os.environ.items() if key not in {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}


def host_command(name: str, *options: str) -> list[str]:
    """The command line of a host."""
    return [sys.executable, "-m", "procvision_host", "--algo", name, "--env", "PEER_*", *options]
