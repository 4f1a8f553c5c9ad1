"""`procvision doctor`: what it sees on this machine, what it makes of others, and what it never touches."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from hooking import BROKEN
from peer_plugins import environment

from procvision_runner.images.segments import SHM_FOLDER
from procvision_runner.images.slots import SlotPool
from procvision_sdk.compiled import compiled
from procvision_tools import diagnosis as doctoring
from procvision_tools.cli.main import status_of
from procvision_tools.scratch import MIN_AGE_S, abandoned, scratch_folder

PROCVISION = (sys.executable, "-m", "procvision_tools.cli.main")
Usage = namedtuple("Usage", "total used free")


def doctor(*arguments, **more):
    return subprocess.run([*PROCVISION, "doctor", *arguments], capture_output=True, text=True, timeout=100, **more)


def test_this_machine_is_looked_at():
    done = doctor()
    assert done.returncode == 0, done.stdout
    for words in (
        "sealed memory: hosts can only read",
        "shared memory: ",
        "open files: at most",
        f"Python: {sys.version.split()[0]}",
        "JPEG decoder: simplejpeg",
    ):
        assert words in done.stdout
    told = json.loads(doctor("--json").stdout)
    assert told["ok"] is True
    assert {finding["level"] for finding in told["findings"]} <= {"ok", "warning"}
    assert {"title", "level", "detail", "hint"} == set(told["findings"][0])


def test_a_hook_plugin_that_is_broken_is_a_warning_and_one_that_every_host_stumbles_over_a_failure(installed_hooks):
    """As the hosts that are started from here would meet it."""
    env = environment() | installed_hooks({"import-error": BROKEN["import-error"]})
    done = doctor(env=env | {"PROCVISION_HOOK_SQLITE_SESSIONS_BUSY_MS": "soon"})
    assert done.returncode == 0
    assert " warning  hook plugin sqlite-sessions: PROCVISION_HOOK_SQLITE_SESSIONS_BUSY_MS: " in done.stdout
    assert "named by nobody: import-error" in done.stdout
    done = doctor(env=env | {"PROCVISION_HOOKS": "unheard-of"})
    assert done.returncode == 1
    assert "  FAILED  hook plugins: " in done.stdout
    assert "hint: procvision-host hooks shows what is there" in done.stdout


def test_a_small_limit_is_a_warning_with_a_hint():
    """As a shell's `ulimit -n 200` makes it."""
    done = doctor(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
    assert done.returncode == 0
    assert " warning  open files: at most 200" in done.stdout
    assert "hint: ulimit -n 4096" in done.stdout


def test_a_living_runners_pictures_are_never_removed():
    pool = SlotPool(2, 0)
    try:
        with pool.lease((64, 64, "RGB"), 1.0) as lease:
            lease.array[...] = np.uint8(7)
            mine = {path for path in SHM_FOLDER.iterdir() if path.name.startswith(f"pv-{os.getpid()}-")}
            assert mine
            assert doctor("--clean").returncode == 0
            assert mine <= set(SHM_FOLDER.iterdir())
    finally:
        pool.close()


def test_what_is_missing_for_sealed_memory_is_told(tmp_path):
    (finding,) = doctoring.sealed_memory("memfd_create: Operation not permitted")
    assert finding.level == "warning"
    assert "memfd_create: Operation not permitted" in finding.detail
    (without,) = doctoring.shared_memory(tmp_path / "none")
    (beside,) = doctoring.shared_memory(tmp_path / "none", sealed=True)
    assert (without.level, beside.level) == ("failed", "warning")


def test_what_dead_runners_left_is_told_and_then_removed(tmp_path):
    (tmp_path / "pv-1-dead").write_bytes(b"x" * 1_500_000)
    (tmp_path / "pv-2-alive").write_bytes(b"x")
    (tmp_path / "somebody-elses").write_bytes(b"x")
    with (tmp_path / "pv-2-alive").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (finding,) = doctoring.shared_memory_leftovers(tmp_path)
        assert (finding.level, finding.hint) == ("warning", "procvision doctor --clean")
        assert finding.detail == "1 segments of dead runners, 1.5 MB"
        (finding,) = doctoring.shared_memory_leftovers(tmp_path, clean=True)
        assert finding.detail.startswith("removed: 1 segments")
        assert {path.name for path in tmp_path.iterdir()} == {"pv-2-alive", "somebody-elses"}
        assert next(iter(doctoring.shared_memory_leftovers(tmp_path))).detail == "none"


def test_folders_of_killed_commands_are_found_and_those_in_use_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long_ago = MIN_AGE_S * 2
    dead = tmp_path / "procvision-dead"
    dead.mkdir()
    (dead / "file").touch()
    (tmp_path / "procvision-new").mkdir()
    (tmp_path / "procvision-link").symlink_to("/")
    with scratch_folder() as living:
        for path in (dead, living):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - long_ago))
        assert abandoned(tmp_path) == [dead]
        (finding,) = doctoring.folder_leftovers(tmp_path, clean=True)
        assert finding.detail == f"removed: {dead}"
        assert living.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"procvision-new", "procvision-link"}


@pytest.mark.parametrize(
    ("total", "free", "level"), [(64, 64, "warning"), (64, 4, "failed"), (2000, 100, "warning"), (2000, 1900, "ok")]
)
def test_shared_memory_is_measured_in_pictures(total, free, level, tmp_path, monkeypatch):
    """64 MB is what a container has unless it is asked for more."""
    usage = Usage(total * 1_000_000, (total - free) * 1_000_000, free * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    (finding,) = doctoring.shared_memory(tmp_path)
    assert finding.level == level
    assert f"{free} of {total} MB free" in finding.detail
    assert ("--shm-size" in finding.hint) is (level != "ok")


def test_a_machine_without_shared_memory_fails(tmp_path):
    (finding,) = doctoring.shared_memory(tmp_path / "absent")
    assert finding.level == "failed"


def test_a_system_call_that_is_forbidden_makes_the_status_1(monkeypatch, capsys):
    def forbidden(_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    assert status_of(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAILED  pidfd_open: a runner waits for its host by it: Operation not permitted" in out
    assert "hint: Linux 5.3, or a seccomp profile" in out


def test_modules_that_every_start_would_compile_anew_are_a_warning(tmp_path, monkeypatch):
    """Images of containers tell Python to keep no bytecode: then each host takes a second more to start."""
    package = tmp_path / "freshly_installed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = doctoring.bytecode(["freshly_installed"], kept=False)
    assert (finding.level, str(package) in finding.hint) == ("warning", True)
    (finding,) = doctoring.bytecode(["freshly_installed"], kept=True)
    assert finding.level == "ok"
    subprocess.run(finding_command(doctoring.bytecode(["freshly_installed"], kept=False)), check=True)
    (finding,) = doctoring.bytecode(["freshly_installed"], kept=False)
    assert finding.level == "ok"


def finding_command(findings):
    """The command that a hint begins with."""
    (finding,) = findings
    return finding.hint.partition(";")[0].split()


def test_a_missing_decoder_is_named(monkeypatch):
    monkeypatch.setattr(doctoring, "find_spec", lambda _: None)
    assert [(finding.title, finding.level) for finding in doctoring.decoders()] == [
        ("JPEG decoder", "warning"), ("PNG decoder", "warning"),
    ]  # fmt: skip


def test_a_library_of_a_wrong_version_fails(monkeypatch):
    import importlib_metadata

    known = importlib_metadata.version
    monkeypatch.setattr(importlib_metadata, "version", lambda name: "0.1" if name == "msgspec" else known(name))
    (python, ours) = doctoring.versions()
    assert python.level == "ok"
    assert ours.level == "failed"
    assert "msgspec>=" in ours.detail
    assert "0.1 is installed" in ours.detail


def test_a_host_that_lost_its_runner_is_named_and_left_alone(tmp_path):
    """A made-up /proc: an orphan, one with its runner, and something else."""
    for number, words, parent in (
        ("1", ["/sbin/init"], 0),
        ("70", ["/venv/bin/python", "-m", "procvision_host", "--algo", "x"], 1),
        ("71", ["/venv/bin/python", "/venv/bin/procvision-host", "--algo", "x"], 500),
        ("72", ["/usr/bin/vim", "notes"], 1),
    ):
        process = tmp_path / number
        process.mkdir()
        (process / "cmdline").write_bytes("\0".join(words).encode())
        (process / "stat").write_text(f"{number} (a (b) c) S {parent} 0 0")
    (finding,) = doctoring.orphans(tmp_path)
    assert (finding.level, finding.detail, finding.hint) == ("warning", "processes 70", "kill 70")
    (tmp_path / "1/cmdline").write_bytes(b"/usr/bin/python3\0runner.py")
    (finding,) = doctoring.orphans(tmp_path)
    assert finding.level == "ok"


def test_a_broken_algorithm_is_a_warning(monkeypatch, peer_environment):
    monkeypatch.setattr(os, "environ", peer_environment)
    found = {finding.title: finding for finding in doctoring.algorithms()}
    assert "misbehaving" in found["installed algorithms"].detail
    assert found["algorithm bad-manifest"].level == "warning"
    assert found["algorithm bad-manifest"].hint == "procvision validate bad-manifest"


@pytest.mark.parametrize("arguments", [["more"], ["--cleaner"]])
def test_a_wrong_command_line_is_64(arguments, capsys):
    assert status_of(["doctor", *arguments]) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hint: procvision doctor --help" in captured.err


def test_doctor_says_what_runs_the_steady_calls() -> None:
    """Compiled code where it is built for this Python, Python where it isn't or is turned off."""
    (finding,) = doctoring.steady_cores({})
    for side, name in doctoring.STEADY_CORES.items():
        assert f"{side}: {'compiled' if compiled(name) else 'Python'}" in finding.detail
    (finding,) = doctoring.steady_cores({"PROCVISION_COMPILED": "0"})
    assert finding.detail == "Python, since PROCVISION_COMPILED is 0"
