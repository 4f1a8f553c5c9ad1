"""`procvision init`: for a script, for a person on a terminal, and wrongly asked for. Its projects pass their tests."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="jinja2 makes the project")

from procvision_sdk.manifest.reading import read_manifest
from procvision_tools.scaffold.names import NameProblemError, Names

ROOT = Path(__file__).parents[2]
PROCVISION = (sys.executable, "-m", "procvision_tools.cli.main")


def init(*arguments, folder, env=None):
    return subprocess.run(
        [*PROCVISION, "init", *map(str, arguments)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_without_a_terminal_a_name_is_enough(tmp_path):
    done = init("weld-check", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "weld-check"
    manifest = read_manifest(project / "src/weld_check/manifest.json")
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert (manifest.name, manifest.version) == (declared["name"], declared["version"])
    assert declared["entry-points"]["procvision.algorithms"] == {"weld-check": manifest.entry_point}
    assert (project / ".github/workflows/tests.yml").read_text().startswith("name: tests\n")
    assert not (project / ".gitlab-ci.yml").exists()
    assert "pytest" in done.stdout


@pytest.mark.parametrize("name", ["weld-check", "a", "x" + "y" * 63])
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_project_is_clean_by_its_own_lint(name, ci, tmp_path):
    """As its CI file runs it; short names and the longest."""
    assert init(name, "--ci", ci, "--into", "p", folder=tmp_path).returncode == 0
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", "."], cwd=tmp_path / "p",
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stdout
    file = tmp_path / "p" / (".github/workflows/tests.yml" if ci == "github" else ".gitlab-ci.yml")
    jobs = pytest.importorskip("yaml").safe_load(file.read_text())
    if ci == "github":
        steps = [step["run"] for step in jobs["jobs"]["tests"]["steps"] if "run" in step]
        assert jobs["jobs"]["tests"]["steps"][1]["with"]["python-version"] == "${{ matrix.python }}"
    else:
        steps = jobs["tests"]["script"]
    assert steps[1:] == ["ruff check . && ruff format --check .", "pytest", "procvision validate ."]


def test_letters_of_every_script_stand_in_the_files_as_they_were_given(tmp_path):
    given = "划痕 größer 😀"
    done = init("weld-check", "--description", given, "--author", given, "--pids", given, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "weld-check"
    declared = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert (declared["description"], declared["authors"]) == (given, [{"name": given}])
    for file in ("pyproject.toml", "src/weld_check/manifest.json", "tests/test_algorithm.py"):
        assert given in (project / file).read_text("utf-8"), file


def test_every_option_lands_where_it_belongs(tmp_path):
    done = init("seam.check", "--description", 'Finds "seams" & <gaps>', "--author", "Ä\\B", "--pids", "A-1, B 2",
                "--ci", "gitlab", "--into", "x/y", folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    project = tmp_path / "x/y"
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert declared["description"] == 'Finds "seams" & <gaps>'
    assert declared["authors"] == [{"name": "Ä\\B"}]
    manifest = json.loads((project / "src/seam_check/manifest.json").read_text())
    assert manifest["supported_pids"] == ["A-1", "B 2"]
    assert manifest["description"] == 'Finds "seams" & <gaps>'
    assert (project / ".gitlab-ci.yml").exists()
    assert not (project / ".github").exists()
    for path in project.rglob("*.py"):
        compile(path.read_text(), path, "exec")


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        ([], "no name is given", "procvision init weld-check"),
        (["Weld Check"], "'Weld Check' is no algorithm's name", "weld-check"),
        (["../up"], "is no algorithm's name", "up"),
        (["json"], "would hide", "json-check"),
        (["weld", "--pids", " , "], "names no product", "A-100"),
        (["weld", "--author", "a\nb"], "not printable", "one line"),
        (["weld", "--ci", "jenkins"], "'jenkins' is not one of", "--help"),
        (["weld", "--into", "full"], "is there and not empty", "--into ANOTHER"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(arguments, text, hint, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/kept.txt").write_text("mine")
    done = init(*arguments, folder=tmp_path)
    assert done.returncode == 64
    assert text in done.stderr
    assert hint in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "kept.txt"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    done = init("weld", "--into", "file/below", folder=tmp_path)
    assert done.returncode == 2
    assert "can't be written" in done.stderr


def on_a_terminal(answers, *arguments, folder):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROCVISION, "init", *arguments], cwd=folder, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.close(follower)
    os.write(leader, answers.encode())
    out, _ = process.communicate(timeout=60)
    os.close(leader)
    return process.returncode, out.decode()


def test_on_a_terminal_it_asks_for_what_no_option_gave(tmp_path):
    status, out = on_a_terminal("seam\nSees seams\n\nA,B\nnone\n", folder=tmp_path)
    assert status == 0, out
    manifest = json.loads((tmp_path / "seam/src/seam/manifest.json").read_text())
    assert (manifest["description"], manifest["supported_pids"]) == ("Sees seams", ["A", "B"])
    assert not (tmp_path / "seam/.github").exists()
    status, out = on_a_terminal("", "weld", "--defaults", folder=tmp_path)
    assert status == 0, out
    assert "Author" not in out


def test_on_a_terminal_it_asks_again_after_an_answer_that_cannot_be_used(tmp_path):
    """Whatever is asked; the reason stands above the question. Without a terminal it is an error."""
    status, out = on_a_terminal("Weld Check\n\nseam\nSees\tseams\nSees seams\n\n,\nA\ncircle\nnone\n", folder=tmp_path)
    assert status == 0, out
    assert "hint: weld-check" in out
    assert "names no product" in out
    assert "it is one of" in out
    manifest = json.loads((tmp_path / "seam/src/seam/manifest.json").read_text())
    assert (manifest["description"], manifest["supported_pids"]) == ("Sees seams", ["A"])
    status, out = on_a_terminal("", "Weld Check", "--defaults", folder=tmp_path)
    assert status == 64, out


def test_ctrl_c_at_a_question_leaves_nothing(tmp_path):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROCVISION, "init", "weld"], cwd=tmp_path, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),  # noqa: PLW1509
    )  # fmt: skip
    os.close(follower)
    assert process.stdout is not None
    process.stdout.read(4)
    # A signal in the instant before Python's read begins is seen only after it: a person presses the keys again.
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        os.write(leader, b"\x03")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    _, err = process.communicate(timeout=10)
    os.close(leader)
    assert process.returncode == 130, err
    assert list(tmp_path.iterdir()) == []


def test_names_are_spelt_for_each_place():
    assert Names.of("weld-check2.b") == Names("weld-check2.b", "weld_check2_b", "WeldCheck2B")
    for wrong in ("", "-a", "a-", "a--b", "9a", "é", "a" * 65, "class", "numpy", "tests"):
        with pytest.raises(NameProblemError, match="hint: "):
            Names.of(wrong)
