"""Exit status 1 means NG, whatever happens to the output, the names, the encoding or the interpreter."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli_program import PROCVISION
from peer_plugins import environment, install_algorithm

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

ALGORITHM = """
from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        if read_image_from_shared_memory(shared_mem_id, image_meta).mean() > 100:
            return Ng("zu hell, \u4eae", [Defect(0, 0, 2, 2, "spot", 0.5)])
        return Ok(message="gut, \u597d")
"""
ENTRY = f"{sys.executable} -m procvision_tools"
RUN = " ".join(PROCVISION) + " run bright"


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """The environment of an algorithm whose words are no ASCII."""
    return environment(install_algorithm(tmp_path_factory.mktemp("installed"), "bright", ALGORITHM))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with a good and a bad picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, level in (("good", 10), ("bad", 200)):
        Image.new("L", (40, 30), level).save(folder / f"{name}.png")
    return folder


def shell(line, folder, env):
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=folder, env=env, timeout=100)


@pytest.mark.parametrize("picture", ["good.png", "bad.png", "good.png bad.png"])
@pytest.mark.parametrize(
    ("output", "said"),
    [
        (">&-", "stdout is closed"),
        (">/dev/full", "stdout can't be written: No space left on device"),
        ("--json >/dev/full", "stdout can't be written: No space left on device"),
    ],
)
def test_a_verdict_that_is_not_told_is_none(output, said, picture, bright, pictures):
    """One line says why, and the status is 2."""
    done = shell(f"{RUN} {picture} {output}", pictures, bright)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sum("error:" in line for line in done.stderr.splitlines()) == 1


def test_a_reader_that_has_left_is_no_ng(bright, pictures):
    done = shell(f"{RUN} bad.png | true; exit ${{PIPESTATUS[0]}}", pictures, bright)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("picture", "status"), [("good.png", 0), ("bad.png", 1)])
def test_an_encoding_that_lacks_the_words_tells_the_verdict(picture, status, bright, pictures):
    """What it can't show is shown by escapes."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell(f"{RUN} {picture}", pictures, bright | ascii_only)
    assert done.returncode == status, done.stderr
    assert "\\u" in done.stdout


def test_an_argument_that_is_no_text_is_a_wrong_command_line(bright, pictures):
    line = f"{RUN} good.png --param $'x=\\xff'"
    for more in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = shell(line, pictures, bright | more)
        assert done.returncode == 64, done.stderr
        assert "Traceback" not in done.stderr


def test_an_environment_that_is_not_whole_gives_no_verdict(tmp_path, pictures):
    """click is missing, or is something else."""
    (tmp_path / "click.py").write_text("raise ImportError('half an upgrade')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "procvision_tools", "run", "x", "good.png"], capture_output=True, text=True, env=env,
        cwd=pictures, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "half an upgrade" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_folder_for_temporary_files_the_other_checks_go_on(bright):
    """A finding, of doctor and of validate alike."""
    broken = (
        "import errno, sys, tempfile\n"
        "def none(*_): raise FileNotFoundError(errno.ENOENT, 'No usable temporary directory found')\n"
        "tempfile._get_default_tempdir = none\n"
        "from procvision_tools.cli.main import main\n"
    )
    for command, least in (("doctor", 10), ("validate bright", 2)):
        program = f"{broken}main({[*command.split(), '--json']!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=bright, timeout=100)
        assert "Traceback" not in done.stderr
        told = json.loads(done.stdout)
        findings = told["findings"] if command == "doctor" else told["algorithms"][0]["findings"]
        assert done.returncode == 1
        assert len(findings) > least
        assert any("no folder for temporary files" in row["detail"] for row in findings if row["level"] == "failed")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: apt-get install bubblewrap")
def test_on_a_read_only_system_doctor_says_what_is_wrong():
    command = [
        "bwrap",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--tmpfs",
        "/dev/shm",
        "--proc",
        "/proc",
        "--chdir",
        "/",
    ]
    done = subprocess.run([*command, *PROCVISION, "doctor"], capture_output=True, text=True, timeout=100)
    assert "no folder for temporary files" in done.stdout
    assert "Traceback" not in done.stderr
    assert Path("/tmp").exists()


@pytest.mark.parametrize("output", [">/dev/full 2>/dev/full", ">out.txt 2>err.txt", ">&- 2>&-"])
@pytest.mark.parametrize("picture", ["good.png", "bad.png"])
def test_an_error_that_nobody_takes_is_no_ng(output, picture, bright, tmp_path, pictures):
    """Neither stdout nor stderr can be written: the status alone says that there is no verdict."""
    shutil.copy(pictures / picture, tmp_path)
    program = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    program += "os.execvp(sys.argv[1], sys.argv[1:])"
    limited = f"{sys.executable} -c '{program}' " if "out.txt" in output else ""
    assert shell(f"{limited}{RUN} {picture} {output}", tmp_path, bright).returncode == 2


@pytest.mark.parametrize(("picture", "status"), [("good.png", 0), ("bad.png", 1)])
def test_an_interpreter_that_would_ask_for_more_tells_the_verdict(picture, status, bright, pictures):
    """PYTHONINSPECT has Python go on at its end, and end with a status of its own."""
    done = shell(f"PYTHONINSPECT=1 {ENTRY} run bright {picture} </dev/null", pictures, bright)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["list", "list --json", "show bright", "hooks", "--version", "isolation"])
def test_a_host_command_whose_output_is_lost_says_so(command, bright):
    """With a status of its own, and one line."""
    host = f"{sys.executable} -m procvision_host {command} >/dev/full"
    done = shell(host, None, bright)
    assert done.returncode == os.EX_IOERR
    assert done.stderr.splitlines()[-1] == "error: No space left on device: what was found could not be told"


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    """Root could put a model in the place of /dev/null."""
    os.mkfifo(tmp_path / "model.pvm")
    folder = tmp_path / "good"
    folder.mkdir()
    done = shell(f"{' '.join(PROCVISION)} train surface-anomaly {folder} --out {tmp_path / 'model.pvm'}", None, None)
    assert done.returncode == 2
    assert "it is a device or a pipe, and no file" in done.stderr
    assert stat.S_ISFIFO((tmp_path / "model.pvm").stat().st_mode)
