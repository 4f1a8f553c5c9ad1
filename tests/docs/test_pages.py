"""What the documents tell somebody to do works, as it is written there."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from following import DOCS, blocks, follow, own_environment

BIN = Path(sys.executable).parent


def test_the_tutorial_works_from_nothing(tmp_path: Path) -> None:
    """In a fresh environment beside a clone: ten minutes of a newcomer, in seconds."""
    (tmp_path / "procvision").symlink_to(DOCS.parent)
    folder = tmp_path / "hole-count"
    folder.mkdir()
    (folder / "hole_count").mkdir()
    (folder / "hole_count" / "__init__.py").touch()
    assert follow("tutorial/first-algorithm.md", folder, own_environment(BIN)) == 8


HOW_TOS = (
    "asyncio",
    "camera",
    "check-your-package",
    "evaluate",
    "hot-swap",
    "images-from-elsewhere",
    "keep-ng-pictures",
    "keep-sessions",
    "keep-the-ledger",
    "log",
    "log-results",
    "metrics",
    "run-a-line",
    "requalify",
    "run-pictures",
    "session-state",
    "supervise",
    "test-your-host",
    "traces",
    "write-a-hook-plugin",
    "write-a-plc-driver",
    "write-a-session-store",
)


@pytest.mark.parametrize("page", HOW_TOS)
def test_a_how_to_works(page: str, tmp_path: Path) -> None:
    """Its files are written, its commands run, and print what it says."""
    assert follow(f"how-to/{page}.md", tmp_path, own_environment(BIN)) >= 1


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or platform.machine() != "x86_64", reason="the page's station is another machine"
)
@pytest.mark.timeout(400)
def test_the_how_to_of_packages_works(tmp_path: Path) -> None:
    """From a new project to the station that has it, beside a clone."""
    (tmp_path / "procvision").symlink_to(DOCS.parent)
    assert follow("how-to/ship-a-package.md", tmp_path, own_environment(BIN)) == 5


@pytest.mark.timeout(400)
def test_the_how_to_of_versions_works(tmp_path: Path) -> None:
    """Two versions from the vendor's project to the station that goes from one to the other and back."""
    assert follow("how-to/run-versions.md", tmp_path, own_environment(BIN)) == 7


@pytest.mark.skipif(os.environ.get("PROCVISION_KILLS") != "all", reason="long: nox -s versions")
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes a network namespace of its own")
@pytest.mark.timeout(400)
def test_the_how_to_of_a_machine_without_a_network_works(tmp_path: Path) -> None:
    """What stands below "At the station" runs without a network interface, with the system's own Python in an empty
    environment.
    """
    (tmp_path / "procvision").symlink_to(DOCS.parent)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(Path(sys.executable).resolve())  # of the version for which the folder is made
    bare = ("unshare", "--net", "env", "-i", f"HOME={tmp_path}", f"PATH={programs}:/usr/bin:/bin")
    page = "how-to/install-without-a-network.md"
    assert follow(page, tmp_path, own_environment(BIN), lambda number: bare if number == 2 else ()) == 3


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto isn't installed: apt-get install mosquitto")
def test_the_how_to_of_mqtt_works(tmp_path: Path) -> None:
    """With a broker on a port that nobody else has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = tmp_path / "mqtt.md"
    page.write_text((DOCS / "how-to" / "mqtt.md").read_text("utf-8").replace("127.0.0.1:1883", f"127.0.0.1:{port}"))
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL) as broker:
        try:
            while broker.poll() is None and not _listens(port):
                time.sleep(0.05)
            assert follow(str(page), tmp_path, own_environment(BIN)) == 1
        finally:
            broker.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="Chromium is not installed; hint: apt-get install chromium"
)
@pytest.mark.timeout(400)
def test_the_tutorial_of_a_running_line_works(tmp_path: Path) -> None:
    """Its commands in terminals, and what it says to do in a browser by its own words.

    What it installs is what README says, which is this environment.
    """
    from browsing import LinePage

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (DOCS / "tutorial" / "running-line.md").read_text("utf-8")
    install, rest = text.split("\n## 2. ", 1)
    commands = [line for line in install.splitlines() if "pip install" in line]
    assert commands == ['.venv/bin/pip install -q ".[cli,images,station]" ./plugins/procvision-pcb']
    page = tmp_path / "running-line.md"
    rest = rest.replace("8700", str(port))
    page.write_text(f"## 2. {rest}")
    with LinePage(rest, f"http://127.0.0.1:{port}/") as browser:
        doing = {"4. Look at it": browser.look, "5. Say that a verdict is wrong": browser.overrule}
        assert follow(str(page), tmp_path, own_environment(BIN), doing=doing) == 8


def _titled(page: str, title: str) -> str:
    return next(block.body for block in blocks(page) if block.title == title)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd isn't installed: apt-get install systemd")
def test_the_unit_of_a_service_is_what_systemd_takes(tmp_path: Path) -> None:
    """As it stands on the page, with this environment's program in place of an installed one."""
    unit = _titled("how-to/run-as-a-service.md", "procvision-line-3.service")
    path = tmp_path / "procvision-line-3.service"
    path.write_text(unit.replace("/opt/procvision/bin/procvision", str(BIN / "procvision")))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SuccessExitStatus=143\n" in unit  # what `run` ends with on SIGTERM
    wrong = path.with_name("wrong.service")
    wrong.write_text(unit.replace("KillMode=mixed", "KilMode=mixed"))
    done = subprocess.run(["systemd-analyze", "verify", wrong], capture_output=True, text=True, timeout=60, check=False)
    assert "KilMode" in done.stderr


def test_the_container_installs_what_there_is_and_starts_a_command_that_there_is() -> None:
    """The page's file against the project's own names: a builder and a base image are not asked for."""
    file = _titled("how-to/run-as-a-service.md", "Containerfile").replace("\\\n", " ")
    lines = dict(line.split(" ", 1) for line in file.splitlines())
    distribution, extras = re.search(r"'(\w+)\[([\w,]+)\]'", lines["RUN"]).groups()
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert distribution == project["name"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert (DOCS.parent / "plugins" / re.search(r"procvision-\w+", lines["RUN"])[0]).is_dir()
    command = [*json.loads(lines["ENTRYPOINT"]), *json.loads(lines["CMD"])]
    assert command[-1] == lines["VOLUME"]
    shown = subprocess.run([BIN / command[0], *command[1:-1], "--help"], capture_output=True, timeout=60, check=False)
    assert shown.returncode == 0
