"""`procvision demo`: what a newcomer sees first."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

pytest.importorskip("procvision_pcb", reason="plugins/procvision-pcb is not installed")
pytest.importorskip("PIL", reason="Pillow writes the pictures")
pytest.importorskip("jinja2", reason="jinja2 makes the page")

PROCVISION = (sys.executable, "-m", "procvision_tools.cli.main")


def procvision(*arguments, folder, **more):
    return subprocess.run([*PROCVISION, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, **more)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo folder")
    return folder, procvision("demo", folder=folder)


def test_it_shows_an_ok_and_an_ng_product(shown):
    _, done = shown
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line.split()[0] for line in done.stdout.splitlines() if re.match(r"  (OK|NG|ERROR) ", line)]
    assert verdicts == ["OK", "NG"]
    assert "6 of the 6 defects" in done.stdout


def test_it_leaves_one_page_with_both(shown):
    folder, done = shown
    assert "procvision-demo/demo.html" in done.stdout
    page = (folder / "procvision-demo" / "demo.html").read_text()
    assert page.count('<section class="inspection"') == 2
    assert page.count('class="edge"') >= 6
    assert "What to try next" in page


def test_the_commands_that_it_suggests_work(shown):
    folder, done = shown
    suggested = [line.strip() for line in done.stdout.splitlines() if re.match(r"    procvision run .*board-bad", line)]
    assert len(suggested) == 3
    for command in suggested:
        again = procvision(*shlex.split(command)[1:], folder=folder)
        assert again.returncode == 1, command + again.stderr
    assert (folder / "procvision-demo" / "boxes.png").exists()


def test_another_seed_and_folder_can_be_chosen(tmp_path):
    done = procvision("demo", "--seed", "3", "--out", "there", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "board-bad.png", "board-good.png", "demo.html", "reference.png",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    done = procvision("demo", "--out", "file/folder", folder=tmp_path)
    assert done.returncode in (2, 64)
    assert done.stderr.startswith("error: ")


def test_without_the_algorithm_it_says_how_to_get_it(tmp_path):
    """The entry points of an empty environment: none."""
    (tmp_path / "sitecustomize.py").write_text(
        "from procvision_sdk import installed\ninstalled.declared = lambda *_: []\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = procvision("demo", folder=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    assert done.returncode == 2, done.stdout
    assert "no algorithm 'pcb-compare' is installed" in done.stderr
    assert done.stderr.endswith("hint: pip install procvision-pcb; in a clone: pip install ./plugins/procvision-pcb\n")
