"""What is launched when an algorithm is named: ours, of this environment, or an error that says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from peer_plugins import PEERS, ROOT, environment, install, install_algorithm
from supervising import wait_until

import procvision_host
from procvision_runner import LaunchError, Runner, RunnerOptions
from procvision_runner.connection.launch import own_host
from procvision_runner.process.host_process import missing_interpreter

ALGORITHM = """
from procvision_sdk import BaseAlgorithm, Ok

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok()
"""


@pytest.mark.parametrize(
    ("executable", "frozen", "said"),
    [
        ("", False, "doesn't know its"),
        ("/opt/line/station", True, "/opt/line/station"),
        ("/usr/sbin/uwsgi", False, "uwsgi"),
    ],
)
def test_a_program_that_is_no_python_is_not_launched_again(
    executable: str, frozen: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would start itself, for ever; the error names what to say instead."""
    monkeypatch.setattr(sys, "executable", executable)
    if frozen:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(LaunchError, match="command=") as caught:
        Runner("any")
    assert said in str(caught.value)


def test_a_moved_environment_is_launched_by_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its script names an interpreter that is gone; the script by its own name is an error that says so."""
    script = tmp_path / "procvision-host"
    script.write_text(f"#!{tmp_path}/old/bin/python\nraise SystemExit\n")
    script.chmod(0o755)
    (tmp_path / "python3").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert missing_interpreter(script) == f"{tmp_path}/old/bin/python"
    program = str(Path(procvision_host.__file__).with_name("launched.py"))
    assert own_host() == (str(tmp_path / "python3"), "-I", "-S", program)
    with pytest.raises(LaunchError, match="old/bin/python is gone; hint: the environment was moved"):
        Runner(command=[str(script), "--algo", "any"]).start()


@pytest.mark.parametrize("line", ["#!/bin/sh\n", "#!/usr/bin/env python3\n", "no script", ""])
def test_other_scripts_miss_no_interpreter(line: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(line)
    assert missing_interpreter(tmp_path / "script") is None
    assert missing_interpreter(tmp_path / "nothing") is None


def test_a_file_beside_the_program_is_no_module_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host is launched as a module."""
    for name in ("types", "json", "procvision_sdk"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the line')\n")
    (tmp_path / "python3").symlink_to(sys.executable)
    installed = install_algorithm(tmp_path / "installed", "plain", ALGORITHM)
    options = RunnerOptions(environment=environment(installed))
    command = [sys.executable, *_as_module(tmp_path / "python3", monkeypatch)[1:], "--algo", "plain"]
    monkeypatch.chdir(tmp_path)
    with Runner(command=command, options=options) as runner:
        assert runner.execute(None, pid="A").verdict == "OK"


def _as_module(executable: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    with monkeypatch.context() as changed:
        changed.setattr(sys, "executable", str(executable))
        return own_host()


@pytest.mark.parametrize("text", ["company proxy settings loaded", "x", "Grüße vom Proxy", "two\nlines"])
def test_text_that_comes_instead_of_frames_is_shown(text: str, tmp_path: Path) -> None:
    """Of a sitecustomize, of a shell's profile: before the hello, with a hint."""
    shell = shutil.which("sh")
    assert shell is not None
    with pytest.raises(LaunchError) as caught:
        Runner(command=[shell, "-c", 'printf %s "$0"; exec sleep 1', f"{text} and more, to be longer"]).start()
    assert text.split("\n", maxsplit=1)[0] in str(caught.value)
    assert "hint: something else writes to the protocol's pipe" in str(caught.value)


def test_doctor_shows_the_text_that_came_instead_of_json(tmp_path: Path) -> None:
    """What is installed can't be listed then; the other checks go on."""
    (tmp_path / "sitecustomize.py").write_text('print("company proxy settings loaded")\n')
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "procvision_tools", "doctor", "--json"], capture_output=True, text=True, env=env,
        timeout=100,
    )  # fmt: skip
    told = json.loads(done.stdout[done.stdout.index("{") :])
    failed = [row for row in told["findings"] if row["level"] == "failed"]
    assert any("is no JSON, it begins with 'company proxy settings loaded'" in row["detail"] for row in failed)


def marking(mark: Path) -> str:
    return f"import os; open({str(mark)!r}, 'a').write(f'{{os.getpid()}} ')\n"


@pytest.fixture
def environment_of_strangers(tmp_path: Path) -> tuple[Path, Path]:
    """A virtual environment in which a package's code runs at every start, and where that code leaves marks."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    mark = tmp_path / "mark"
    folders = [ROOT, PEERS, *(path for path in sys.path if path.endswith("-packages"))]
    (site / "edited.pth").write_text("\n".join(map(str, folders)) + "\n")
    (site / "stranger.pth").write_text(marking(mark))
    (site / "sitecustomize.py").write_text(marking(mark))
    install_algorithm(site, "plain", ALGORITHM)
    install(site, "peer-hooks", {"procvision.hooks": {"watching": "peer_hooks.watching:Watching"}})
    return tmp_path / "venv" / "bin" / "python", mark


@pytest.mark.parametrize("hooked", [False, True])
def test_code_of_a_package_that_runs_at_every_start_runs_in_the_cell_alone(
    environment_of_strangers: tuple[Path, Path], tmp_path: Path, hooked: bool
) -> None:
    """`.pth` files and sitecustomize; a hook plugin that is named is found all the same."""
    python, mark = environment_of_strangers
    program = Path(procvision_host.__file__).with_name("launched.py")
    told = ("--hook-option", f"watching.path={tmp_path / 'told'}") if hooked else ()
    command = [str(python), "-I", "-S", str(program), "--algo", "plain", *told]
    options = RunnerOptions(environment={"PATH": "/bin", "HOME": str(tmp_path)})
    with Runner(command=command, options=options) as runner:
        assert runner.execute(None, pid="A").verdict == "OK"
        cell = runner.process_id
    assert {int(number) for number in mark.read_text().split()} == {cell}
    assert (tmp_path / "told").exists() is hooked


def test_such_code_is_shut_in_as_the_algorithm_is(environment_of_strangers: tuple[Path, Path]) -> None:
    """It runs when rights are given up, not before."""
    python, mark = environment_of_strangers
    program = Path(procvision_host.__file__).with_name("launched.py")
    command = [str(python), "-I", "-S", str(program), "--algo", "plain", "--isolation", "strict"]
    with Runner(command=command, options=RunnerOptions(environment={"PATH": "/bin"})) as runner:
        assert runner.execute(None, pid="A").verdict == "OK"
        # It ran, and was refused: what Python says of it comes by another way than the answer.
        assert wait_until(lambda: any("Error in sitecustomize" in record["message"] for record in runner.logs)), (
            runner.logs
        )
    assert not mark.exists()


INTERPRETERS = sorted({os.path.realpath(sys.executable), *map(str, Path("/usr/bin").glob("python3.1[1-9]"))})
"""Distributions change where their Python has packages; in a virtual environment they don't."""


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_the_packages_of_an_environment_are_found_whosever_its_interpreter_is(interpreter: str, tmp_path: Path) -> None:
    subprocess.run([interpreter, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from procvision_host.process.packages import add_folders; print(add_folders())"
    )
    python = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    assert str(site) in done.stdout


def test_the_program_lists_what_its_environment_has(environment_of_strangers: tuple[Path, Path]) -> None:
    """Its other commands run as any program's."""
    python, _ = environment_of_strangers
    program = Path(procvision_host.__file__).with_name("launched.py")
    done = subprocess.run([str(python), "-I", "-S", str(program), "list", "--json"], capture_output=True, timeout=60)
    assert "plain" in {row["name"] for row in json.loads(done.stdout)}, done.stderr
