"""`procvision-host list`, `show`, `check` and `hooks`, for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

BROKEN = {"no-manifest": "manifest.json", "bad-manifest": "steps"}


class Command:
    """Runs `procvision-host` to its end."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "procvision_host", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *arguments: str, status: int = 0) -> Any:
        """What it says to a program, which must be one JSON value and nothing else."""
        done = self(*arguments, "--json")
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def command(peer_environment: dict[str, str]) -> Command:
    """`procvision-host` where the peer algorithms are installed."""
    return Command(peer_environment)


def test_list_tells_the_broken_beside_the_others(command: Command) -> None:
    """A broken package is a row with its reason, whatever it would do if it were imported."""
    rows = {row["name"]: row for row in command.json("list")}
    assert {"misbehaving", "steps", "crash-in-import", "exit-in-import", "no-manifest", "bad-manifest"} <= set(rows)
    steps = rows["steps"]
    assert (steps["version"], steps["distribution"], steps["error"]) == ("1.2.3", "peer-algorithms", None)
    assert steps["manifest"]["steps"][0]["params"][0]["key"] == "threshold"
    for name, text in BROKEN.items():
        assert text in rows[name]["error"]
        assert rows[name]["manifest"] is None


def test_list_for_people_names_each_and_says_why(command: Command) -> None:
    """A line each."""
    done = command("list")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "ok" in lines["steps"].split()
    assert "broken: " in lines["bad-manifest"]
    assert "steps" in lines["bad-manifest"]


def test_show_tells_the_steps_and_their_parameters(command: Command) -> None:
    """The manifest, as a person reads it and as it is."""
    shown = command.json("show", "steps")
    assert shown["manifest"]["supported_pids"] == ["A", "B"]
    text = command("show", "steps==1.2.3").stdout
    for part in ("steps 1.2.3", "products: A, B", "step 1: position", "threshold (int", "min=0", "max=255"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "unheard-of"), "no algorithm 'unheard-of' is installed"),
        (("show", "stpes"), "hint: did you mean steps? If not, pip install"),
        (("show", "bad-manifest"), "broken"),
        (("show", "steps==2"), "is installed in version 1.2.3, asked for is 2"),
        (("check", "unheard-of"), "hint: "),
    ],
    ids=str,
)
def test_what_is_not_there_is_78_with_a_reason(command: Command, arguments: tuple[str, ...], text: str) -> None:
    """On stderr, without a traceback."""
    done = command(*arguments)
    assert done.returncode == 78
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_check_runs_the_algorithms_setup(command: Command) -> None:
    """And says so; what it prints meanwhile isn't part of the answer."""
    assert command.json("check", "steps") == {"name": "steps", "version": "1.2.3", "ok": True, "error": None}
    assert "ok" in command("check", "steps").stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("crash-in-import", "RuntimeError: the model library is not there ("),
        ("exit-in-import", "SystemExit: 3"),
        ("raise-in-setup", "GPUOutOfMemoryError: the model takes 12 GiB"),
        ("raise-in-teardown", "SystemExit"),
        ("no-algorithm", "not a subclass"),
        ("no-super", "super().__init__()"),
        ("missing-asset", "files are missing"),
    ],
)
def test_check_tells_what_would_fail_in_production(command: Command, name: str, text: str) -> None:
    """Status 70, and the exception in words."""
    told = command.json("check", name, status=70)
    assert told["ok"] is False
    assert text in told["error"]
    assert text in command("check", name).stderr


def test_hooks_tells_what_is_used(command: Command) -> None:
    """What comes in the box at the least; what isn't used says why."""
    rows = {row["name"]: row for row in command.json("hooks")}
    assert [row["error"] for row in rows.values() if row["chosen_by"] == "in the box" and row["error"]] == []
    assert all(row["active"] or row["reason"] or row["error"] for row in rows.values())
    assert any("procvision_image_backends" in row["implements"] for row in rows.values())
    assert any("procvision_session_stores" in row["implements"] for row in rows.values())
    for name in rows:
        assert name in command("hooks").stdout


def test_hook_plugin_that_is_not_there_is_78(command: Command) -> None:
    """As it would be for a host with these options."""
    assert "unheard-of" in command.json("hooks", "--hook", "unheard-of", status=78)["error"]


@pytest.mark.parametrize("arguments", [(), ("--unheard-of",), ("show",), ("dance",)], ids=str)
def test_wrong_command_line_is_64_with_a_hint(command: Command, arguments: tuple[str, ...]) -> None:
    """And no traceback."""
    done = command(*arguments)
    assert done.returncode == 64
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert "\nhint: " in done.stderr


def test_version_and_help_are_answered(command: Command) -> None:
    """Also where an algorithm is named beside them."""
    assert command("--version").stdout.startswith("procvision-host ")
    assert "Exit statuses" in command("--algo", "steps", "--help").stdout
