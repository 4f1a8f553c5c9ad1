"""Ctrl-C and SIGTERM: whatever a command of `procvision` was at, nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_wheels import MANIFEST
from supervising import MARK, processes_with, wait_until

pytest.importorskip("packaging.metadata", reason="packaging reads wheels")
PROCVISION = (sys.executable, "-m", "procvision_tools.cli.main")
HANGING = """
import os, subprocess, sys, time
from pathlib import Path
from procvision_sdk import BaseAlgorithm

class Check(BaseAlgorithm):
    def setup(self):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "{mark}"])
        Path("{reached}").touch()
        time.sleep(600)
    def get_info(self): return {}
    def execute(self, *_): raise AssertionError
"""
BACKEND = """
import os, subprocess, sys, time
from pathlib import Path

def build_wheel(*_, **__):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["REACHED"]).touch()
    child.wait()
"""
PROJECT = """
[build-system]
requires = []
build-backend = "slow_backend"
backend-path = ["."]
[project]
name = "seam-check"
version = "1.0"
dependencies = ["procvision"]
[project.entry-points."procvision.algorithms"]
seam-check = "seam_check:Check"
"""


@pytest.fixture
def project(tmp_path):
    """An algorithm that never is set up, in a project that never is built."""
    folder = tmp_path / "project"
    (folder / "seam_check").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "slow_backend.py").write_text(BACKEND)
    (folder / "seam_check/manifest.json").write_text(json.dumps(MANIFEST))
    return folder


def processes_of(mark: str) -> set[int]:
    """Those with the mark in their environment, and those that an algorithm started with it as an argument."""
    found = set(processes_with(mark))
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["validate", "package"])
def test_a_command_that_is_ended_leaves_nothing(command, number, status, project, tmp_path):
    """No process, however deep, no folder, no half a bundle."""
    mark, reached, scratch = secrets.token_hex(8), tmp_path / "reached", tmp_path / "scratch"
    scratch.mkdir()
    environment = os.environ | {MARK: mark, "REACHED": str(reached), "TMPDIR": str(scratch)}
    # An algorithm is given nothing of this environment, and strict would keep it from this file.
    hanging = HANGING.replace("{mark}", mark).replace("{reached}", str(reached))
    (project / "seam_check/__init__.py").write_text(hanging)
    loosely = ("--isolation", "off") if command == "validate" else ()
    with subprocess.Popen(
        [*PROCVISION, command, *loosely, "."], cwd=project, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as run:  # fmt: skip
        try:
            assert wait_until(lambda: reached.exists() or run.poll() is not None, 60)
            assert reached.exists(), run.communicate()
            assert len(processes_of(mark)) >= 3
            run.send_signal(number)
            assert run.wait(60) == status
        finally:
            run.kill()
    assert wait_until(lambda: not processes_of(mark)), processes_of(mark)
    assert [path.name for path in scratch.iterdir() if path.name.startswith("procvision-")] == []
    assert not (project / "dist").exists()
