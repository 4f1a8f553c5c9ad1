"""`counting`: an installed algorithm that counts the calls of its session, in a store that outlives hosts."""

from __future__ import annotations

from pathlib import Path

import attrs
from peer_plugins import environment, install_algorithm
from supervising import marked, with_runner

from procvision_runner.supervision.options import SupervisorOptions

ALGORITHM = """
import os
from procvision_sdk import BaseAlgorithm, Ok

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("calls", session.get("calls", 0) + 1)
        return Ok(debug={"calls": session.get("calls"), "process_id": os.getpid()})
"""


def counting(options: SupervisorOptions, mark: str, folder: Path) -> SupervisorOptions:
    """Options with which its real host is found and started, with SQLite in that folder."""
    found_in = environment(install_algorithm(folder / "installed", "counting", ALGORITHM, reads_picture=False))
    arguments = ("--sessions", f"sqlite:{folder / 'sessions.db'}")
    patient = with_runner(options, handshake_timeout_s=30.0, ready_timeout_s=30.0, host_arguments=arguments)
    return marked(attrs.evolve(patient, sessions_outlive_host=True), mark, found_in)
