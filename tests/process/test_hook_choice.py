"""Which hook plugins a host uses and with which values, and what `procvision-host hooks` says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hooking import BROKEN, WATCHING
from launching import Launch
from peer_plugins import environment
from wire_client import WireClient

Installed = Callable[..., dict[str, str]]


def listed(environment_: dict[str, str], *options: str) -> tuple[int, Any]:
    """What `procvision-host hooks --json` says."""
    done = subprocess.run(
        [sys.executable, "-m", "procvision_host", "hooks", "--json", *options],
        env=environment_,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def rows(environment_: dict[str, str], *options: str) -> dict[str, dict[str, Any]]:
    """The same by name."""
    status, found = listed(environment_, *options)
    assert status == 0
    return {row["name"]: row for row in found}


def test_hooks_lists_what_is_there(installed_hooks: Installed) -> None:
    """What is used, what each implements, what is broken and why."""
    found = rows(environment() | installed_hooks(WATCHING | BROKEN))
    assert found["memory-sessions"]["active"]
    assert found["memory-sessions"]["implements"][-1] == "procvision_session_stores"
    assert found["raises-always"]["distribution"] == "peer-hooks"
    assert "a_library_that_is_not_installed" in found["import-error"]["error"]
    assert "kall" in found["bad-signature"]["error"]
    assert "procvision_call_finnished" in found["misspelt"]["error"]
    assert not found["misspelt"]["active"]
    watching = found["watching"]
    assert not watching["active"]
    assert "path" in watching["reason"]
    assert len(watching["implements"]) == 14
    assert {option["key"] for option in watching["options"]} == {"path", "colour", "count"}


def test_a_plugin_without_its_required_value_stays_unused(installed_hooks: Installed) -> None:
    """Installing is no harm; asking for it by name makes the value a must."""
    env = environment() | installed_hooks(WATCHING)
    assert not rows(env)["watching"]["active"]
    status, told = listed(env, "--hook", "watching")
    assert status == 78
    assert "watching.path=" in told["error"]


@pytest.mark.parametrize("name", ["import-error", "bad-signature", "raises-in-configure", "not-installed"])
def test_a_broken_plugin_that_was_asked_for_stops_the_host(start: Callable[..., WireClient], name: str) -> None:
    """With 78 and its name: an operator who asked for it wants to know."""
    host = start(BROKEN, "misbehaving", "--hook", name)
    assert name in host.receive()["message"]
    assert host.wait() == 78


def test_a_plugin_that_logs_what_is_malformed_is_used_and_heard(launch: Launch, installed_hooks: Installed) -> None:
    """As the list shows it, and as the host's log does."""
    added = installed_hooks({"logs-malformed": BROKEN["logs-malformed"]})
    row = rows(environment() | added)["logs-malformed"]
    assert (row["active"], row["error"]) == (True, None)
    unshown = "(Untellable, which can't be shown: ValueError)"
    assert row["warnings"] == ["it is %s of %s", unshown, "and this is ?"]
    path = f"{added['PYTHONPATH']}:{launch.environment['PYTHONPATH']}"
    host = launch("misbehaving", "--hook", "logs-malformed", environment={"PYTHONPATH": path})
    assert host.call()["status"] == "OK"
    host.log("its text is 'it is %s of %s'", logger="vendor")
    host.log(f'its text is "{unshown}"', logger="vendor")
    host.log("and this is ?", logger="vendor")
    assert host.shut_down() == 0


def test_the_command_line_is_stronger_than_the_file_and_that_than_the_environment(
    installed_hooks: Installed, tmp_path: Path
) -> None:
    """For values and for the choice."""
    env = environment() | installed_hooks(
        WATCHING,
        PROCVISION_HOOKS="watching",
        PROCVISION_HOOK_WATCHING_PATH="/of/environment",
        PROCVISION_HOOK_WATCHING_COUNT="4",
        PROCVISION_HOOK_WATCHING_COLOUR="blue",
    )
    config = tmp_path / "procvision.toml"
    config.write_text('[hooks.watching]\npath = "/of/file"\ncount = 5\n')

    def values(*options: str) -> dict[str, Any]:
        return {option["key"]: option["value"] for option in rows(env, *options)["watching"]["options"]}

    # Nothing is written: `configure` alone can't, and a plugin that can't is broken; so look at what was chosen.
    status, told = listed(env)
    assert (status, "/of/environment" in told["error"]) == (78, True)
    status, told = listed(env, "--config", str(config))
    assert (status, "/of/file" in told["error"]) == (78, True)
    path = str(tmp_path / "told")
    assert values("--config", str(config), "--hook-option", f"watching.path={path}") == {
        "path": path,
        "colour": "blue",
        "count": 5,
    }
    off = rows(env, "--config", str(config), "--no-hook", "watching")["watching"]
    assert not off["active"]
    config.write_text("[hooks.watching]\nenabled = false\n")
    assert rows(env, "--config", str(config))["watching"]["chosen_by"] == "[hooks.watching]"
    config.write_text(f'[hooks.watching]\nenabled = false\npath = "{path}"\n')
    on = rows(env, "--config", str(config), "--hook", "watching", "--no-hook", "watching")["watching"]
    assert on["active"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--hook-option", "watching.count=many"], "watching.count"),
        (["--hook-option", "watching.count=0"], "at least 1"),
        (["--hook-option", "watching.colour=green"], "red, blue"),
        (["--hook-option", "watching.shape=round"], "no such option"),
        (["--hook-option", "nothing"], "NAME.KEY=VALUE"),
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    installed_hooks: Installed, tmp_path: Path, options: list[str], text: str
) -> None:
    """What, where, the bound and the value."""
    env = environment() | installed_hooks(WATCHING)
    given = ["--hook", "watching", "--hook-option", f"watching.path={tmp_path / 'told'}"]
    status, told = listed(env, *given, *options)
    assert status == 78
    assert text in told["error"]


def test_a_table_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    """`[hook.watching]` for `[hooks.watching]`: the plugin would be left out, and nobody told."""
    config = tmp_path / "procvision.toml"
    config.write_text('[hook.watching]\npath = "/tmp"\n')
    status, told = listed(environment(), "--config", str(config))
    assert status == 78
    assert "has 'hook', it may have hooks and sessions" in told["error"]


def test_no_hooks_leaves_the_installed_out_but_for_those_asked_for(installed_hooks: Installed) -> None:
    """`--no-hooks --hook NAME`: only that one, and the box."""
    env = environment() | installed_hooks({**BROKEN, "good": "peer_hooks.broken:HoldsCallsUp"})
    found = rows(env, "--no-hooks", "--hook", "good")
    assert "good" in found
    assert "posix-images" in found
    assert not set(BROKEN) & set(found)


def test_two_plugins_with_one_scheme_are_a_wrong_configuration(start: Callable[..., WireClient]) -> None:
    """Which of them would answer is not left to chance."""
    host = start({"twin": "peer_hooks.broken:SameScheme"}, "misbehaving")
    assert "--no-hook twin" in host.receive()["message"]
    assert host.wait() == 78


def test_hooks_is_for_people_too(installed_hooks: Installed) -> None:
    """One line of state each, what it implements, and its options with their values."""
    env = environment() | installed_hooks({**WATCHING, "import-error": BROKEN["import-error"]})
    done = subprocess.run(
        [sys.executable, "-m", "procvision_host", "hooks", "--hook-option", "sqlite-sessions.busy_ms=77"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert any(line.startswith("memory-sessions") and "used  (in the box" not in line for line in lines)
    assert any(line.startswith("import-error") and "broken: ModuleNotFoundError" in line for line in lines)
    assert any(line.startswith("watching") and "not used: it needs a value for path" in line for line in lines)
    assert any(line.strip().startswith("busy_ms = 77") for line in lines)
