"""Installs `tests/peers/chaos_algorithm` into a folder, in as many versions as a swap needs, some of them broken."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.peers import peer_plugins

PEERS = Path(__file__).parent
ROOT = PEERS.parents[1]
ALGORITHM = "chaos"
VERSIONS = ("1.0", "2.0")

_BROKEN = {
    # version: what stands at the end of its module
    "3.0": "raise RuntimeError('this version is broken')\n",
    "4.0": (
        "class Chaos(Chaos):\n"
        "    def execute(self, *call):\n"
        "        data = super().execute(*call)['data']\n"
        "        if data['result_status'] == 'NG':\n"
        "            return {'status': 'OK', 'data': {'result_status': 'OK'}}\n"
        "        box = {'x': 0, 'y': 0, 'width': 1, 'height': 1, 'label': 'x', 'score': 1.0}\n"
        "        return {'status': 'OK', 'data':"
        " {'result_status': 'NG', 'ng_reason': 'turned round', 'defect_rects': [box]}}\n"
    ),
}
"""3.0 doesn't load; 4.0 says OK where it should say NG, and the other way round."""


def named(version: str) -> str:
    """How a version is asked for: each is of a distribution of its own, so that a host finds all of them."""
    return f"{ALGORITHM}@{_package(version)}=={version}"


def _package(version: str) -> str:
    return f"chaos_algorithm_{version.partition('.')[0]}"


def install(folder: Path) -> dict[str, str]:
    """Puts every version into `folder`; returns what a host's environment needs to find them."""
    for version in (*VERSIONS, *_BROKEN):
        _install_one(folder, version)
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _install_one(folder: Path, version: str) -> None:
    package = _package(version)
    target = folder / package
    shutil.copytree(PEERS / "chaos_algorithm", target, ignore=shutil.ignore_patterns("__pycache__"))
    module = target / "__init__.py"
    module.write_text(module.read_text() + "\n\n" + _BROKEN.get(version, ""))
    manifest = json.loads((target / "manifest.json").read_text())
    manifest |= {"version": version, "entry_point": f"{package}:Chaos"}
    (target / "manifest.json").write_text(json.dumps(manifest))
    peer_plugins.install(folder, package, {"procvision.algorithms": {ALGORITHM: f"{package}:Chaos"}}, version)
