"""A small algorithm, installed as any vendor's is: a package, its manifest, its entry point."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALGORITHM = "conformance"

_SOURCE = """
from procvision_sdk.algorithm import BaseAlgorithm

class Conformance(BaseAlgorithm):
    def get_info(self):
        return {"made_for": "conformance"}
    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {}}
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {"result_status": "OK"}}
"""

_MANIFEST = {
    "name": ALGORITHM,
    "version": "1.0.0",
    "entry_point": "conformance_algorithm:Conformance",
    "description": "Answers OK.",
    "supported_pids": ["A01"],
    "steps": [{"index": 1, "name": "only", "description": "the only step", "params": []}],
    "required_assets": {},
    "default_config": {},
}


@pytest.fixture(scope="session")
def host_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a host that finds the algorithm `conformance`."""
    folder = tmp_path_factory.mktemp("installed")
    package = folder / "conformance_algorithm"
    package.mkdir()
    (package / "__init__.py").write_text(_SOURCE)
    (package / "manifest.json").write_text(json.dumps(_MANIFEST))
    metadata = folder / "conformance_algorithm-1.0.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: conformance-algorithm\nVersion: 1.0.0\n")
    (metadata / "entry_points.txt").write_text(f"[procvision.algorithms]\n{ALGORITHM} = {_MANIFEST['entry_point']}\n")
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
