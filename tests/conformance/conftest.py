"""A small algorithm, installed as any vendor's is."""

from __future__ import annotations

import pytest
from peer_plugins import environment, install_algorithm

ALGORITHM = """
from procvision_sdk import BaseAlgorithm, Ok

class Vendor(BaseAlgorithm):
    def execute(self, *call):
        return Ok()
"""


@pytest.fixture(scope="session")
def host_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a host that finds the algorithm `conformance`."""
    folder = tmp_path_factory.mktemp("installed")
    return environment(install_algorithm(folder, "conformance", ALGORITHM, supported_pids=["A01"]))
