"""Which hook plugins a host uses and with which values, and what `procvision-host hooks` says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hooking import BROKEN, GROUP, UNUSABLE, WATCHING
from launching import Launch
from peer_plugins import environment, install
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


def test_hooks_lists_what_is_there(installed_hooks: Installed, tmp_path: Path) -> None:
    """What is used and what each implements; what is only installed is a row that says so."""
    env = environment() | installed_hooks(WATCHING | BROKEN)
    found = rows(env, "--hook-option", f"watching.path={tmp_path / 'told'}")
    assert found["memory-sessions"]["active"]
    assert found["memory-sessions"]["implements"][-1] == "procvision_session_stores"
    assert found["raises-always"]["distribution"] == "peer-hooks"
    for name in BROKEN:
        assert (found[name]["active"], found[name]["error"]) == (False, None), name
        assert f"nobody names it; hint: --hook {name}" in found[name]["reason"]
    watching = found["watching"]
    assert watching["active"]
    assert len(watching["implements"]) == 14
    assert {option["key"] for option in watching["options"]} == {"path", "colour", "count"}


MARKS = """
import os
open(os.environ["MARK"], "a").write(f"{__name__} ")
class Plugin:
    pass
"""


@pytest.mark.parametrize("more", [{}, {"PROCVISION_HOOK_MARKING_PATH": "/x"}, {"PROCVISION_HOOKS": "-marking"}])
def test_what_is_only_installed_is_never_imported(
    launch: Launch, installed_hooks: Installed, tmp_path: Path, more: dict[str, str]
) -> None:
    """Neither by a host nor by the list: a package may bring a hook plugin that nobody asked for."""
    mark, code = tmp_path / "mark", tmp_path / "code"
    code.mkdir()
    (code / "marking_plugin.py").write_text(MARKS)
    added = installed_hooks({"marking": "marking_plugin:Plugin"}, MARK=str(mark), **more)
    added["PYTHONPATH"] += f":{code}:{launch.environment['PYTHONPATH']}"
    assert not rows(environment() | added)["marking"]["active"]
    host = launch("misbehaving", environment=added)
    assert host.call()["status"] == "OK"
    assert host.shut_down() == 0
    assert not mark.exists()
    rows(environment() | added, "--hook", "marking")
    assert mark.read_text() == "marking_plugin "


def test_a_named_plugin_needs_its_required_value(installed_hooks: Installed) -> None:
    """Asking for it by name makes the value a must."""
    env = environment() | installed_hooks(WATCHING)
    assert not rows(env)["watching"]["active"]
    status, told = listed(env, "--hook", "watching")
    assert status == 78
    assert "watching.path=" in told["error"]


@pytest.mark.parametrize(
    ("options", "config"),
    [
        (["--hook", "twin"], ""),
        (["--hook-option", "twin.slow_ms=5"], ""),
        ([], "[hooks.twin]\n"),
        (["--hook", "twin@third"], ""),
        (["--hook", "twin@"], ""),
        (["--hook", "json-lines@first"], ""),
        ([], "[hooks.twin]\ndistribution = 3\n"),
    ],
)
def test_a_name_in_two_distributions_is_refused(two: dict[str, str], options: list[str], config: str) -> None:
    """Which of them is found first is chance, or a stranger's doing."""
    Path(two["CONFIG"]).write_text(config)
    status, told = listed(two, "--config", two["CONFIG"], *options)
    assert status == 78
    assert "twin" in told["error"] or "json-lines" in told["error"]


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize("way", ["option", "file", "environment"])
def test_a_named_distribution_is_the_one_that_is_used(two: dict[str, str], name: str, way: str) -> None:
    """Whatever comes first on the path; nothing of the other's is imported."""
    options = ["--hook", f"twin@{name.upper()}"] if way == "option" else []
    Path(two["CONFIG"]).write_text(f'[hooks.twin]\ndistribution = "{name}"\n' if way == "file" else "")
    variables = {"PROCVISION_HOOKS": f"twin@{name}"} if way == "environment" else {}
    status, found = listed(two | variables, "--config", two["CONFIG"], *options)
    assert status == 0
    assert {row["distribution"]: row["active"] for row in found if row["name"] == "twin"} == {
        "first": name == "first",
        "second": name == "second",
    }
    assert Path(two["MARK"]).read_text() == f"twin_of_{name} "


@pytest.fixture
def two(tmp_path: Path) -> dict[str, str]:
    """The environment of two distributions with a hook plugin of one name."""
    places = []
    for name in ("first", "second"):
        places.append(install(tmp_path / name, name, {GROUP: {"twin": f"twin_of_{name}:Plugin"}}))
        (places[-1] / f"twin_of_{name}.py").write_text(MARKS)
    return environment(*places, MARK=str(tmp_path / "mark"), CONFIG=str(tmp_path / "procvision.toml"))


@pytest.mark.parametrize("name", sorted({*UNUSABLE, "not-installed"}))
def test_a_broken_plugin_that_was_asked_for_stops_the_host(start: Callable[..., WireClient], name: str) -> None:
    """With 78, its name and what is at fault, the plugin or the configuration: an operator wants to know."""
    host = start(BROKEN, "misbehaving", "--hook", name)
    error = host.receive()
    assert name in error["message"]
    code = "1010" if name == "not-installed" else "1009"
    assert (error["error_code"], error["data"]["kind"]) == (code, "configuration")
    assert host.wait() == 78


@pytest.mark.parametrize(
    "options",
    [
        ("--hook-option", "json-lines.max_files"),
        ("--hook-option", "json-lines.max_files=0"),
        ("--hook-option", "json-lines.shape=round"),
        ("--config", "/nowhere.toml"),
    ],
)
def test_a_wrong_configuration_stops_the_host(launch: Launch, tmp_path: Path, options: tuple[str, ...]) -> None:
    """With a code of its own, also where it is a plugin's value that is wrong."""
    usable = ("--hook", "json-lines", "--hook-option", f"json-lines.directory={tmp_path}")
    assert launch("misbehaving", *usable).call()["status"] == "OK"
    host = launch("misbehaving", *usable, *options)
    assert host.receive()["error_code"] == "1010"
    assert host.wait() == 78


def test_a_plugin_that_logs_what_is_malformed_is_used_and_heard(launch: Launch, installed_hooks: Installed) -> None:
    """As the list shows it, and as the host's log does."""
    added = installed_hooks({"logs-malformed": BROKEN["logs-malformed"]})
    row = rows(environment() | added, "--hook", "logs-malformed")["logs-malformed"]
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
    assert "has 'hook', it may have hooks, sessions, grants" in told["error"]


def test_no_hooks_leaves_out_what_only_file_and_environment_name(installed_hooks: Installed, tmp_path: Path) -> None:
    """`--no-hooks --hook NAME`: only that one, and the box."""
    config = tmp_path / "procvision.toml"
    config.write_text("[hooks.bad-signature]\n[hooks.json-lines]\ndirectory = '/x'\n")
    env = environment() | installed_hooks({**BROKEN, "good": "peer_hooks.broken:HoldsCallsUp"})
    env["PROCVISION_HOOKS"] = "import-error"
    found = rows(env, "--no-hooks", "--hook", "good", "--config", str(config))
    assert found["good"]["active"]
    assert found["posix-images"]["active"]
    assert found["json-lines"]["active"]
    assert not [name for name in BROKEN if found[name]["active"]]


def test_a_scheme_of_a_plugin_that_nobody_names_is_nobodys(start: Callable[..., WireClient]) -> None:
    """Installed, it answers for nothing and stops no host."""
    assert start({"twin": "peer_hooks.broken:SameScheme"}, "misbehaving").call()["status"] == "OK"


def test_two_named_plugins_with_one_scheme_stop_the_host(start: Callable[..., WireClient]) -> None:
    """The one in the box was there first, but that is no reason."""
    host = start({"twin": "peer_hooks.broken:SameScheme"}, "misbehaving", "--hook", "twin")
    error = host.receive()
    assert "--no-hook twin" in error["message"]
    assert error["error_code"] == "1010"
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
    assert any(line.startswith("json-lines") and "not used: it needs a value for directory" in line for line in lines)
    assert any(line.startswith("watching") and "not used: it is installed, and nobody" in line for line in lines)
    assert any(line.strip().startswith("busy_ms = 77") for line in lines)
