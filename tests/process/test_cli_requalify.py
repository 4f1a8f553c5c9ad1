"""`procvision requalify`: real hosts of two versions, killed and started again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_program import PROCVISION, descendants, procvision, wait_until_gone
from peer_plugins import environment, install_algorithm

from procvision_tools.cli.main import status_of
from procvision_tools.cli.requalifying import Comparing
from procvision_tools.requalification.archive import UNREAD, Product, Shot, stored
from procvision_tools.requalification.subjects import Subject, SubjectError, check_same, resolve

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
pytest.importorskip("pyarrow", reason="results are Parquet: the extra `requalify` is not installed")

KILLS = int(os.environ.get("PROCVISION_REQUALIFY_KILLS", "2"))
"""`nox -s requalification` kills 50 times, on every engine."""
SEED = int(os.environ.get("PROCVISION_REQUALIFY_SEED", "17"))
"""Of the times at which it kills: several runs of a few kills are as good as one of many."""
ENGINES = ("local", "dask") if "PROCVISION_REQUALIFY_KILLS" in os.environ else ("local",)
ALGORITHM = '''
"""Calls a picture NG whose middle is brighter than LEVEL; a corner pixel says how else to behave."""
import os, time
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)[:, :, 0]
        time.sleep(PAUSE)
        match int(picture[0, 0]) if NEW else 0:
            case 1: os._exit(3)
            case 2: return Failed("4711", "too dark to see")
            case 3: time.sleep(60)
        brightness = int(picture[12, 16])
        self.diagnostics.publish("brightness", brightness + 0.5 * NEW)
        self.diagnostics.publish("threads", int(os.environ.get("OMP_NUM_THREADS", "0")))
        if brightness <= LEVEL:
            return Ok()
        return Ng("bright", [Defect(10, 8, 12 + NEW, 8, "spot", brightness / 255)])
'''


def picture(path: Path, brightness: int, corner: int = 0) -> None:
    pixels = np.zeros((24, 32), np.uint8)
    pixels[8:16, 10:22] = brightness
    pixels[0, 0] = corner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment in which an old and a new version are installed."""
    folder = tmp_path_factory.mktemp("installed")
    for name, level, new, pause in (("spots-old", 100, 0, 0), ("spots-new", 120, 1, 0), ("spots-slow", 120, 1, 0.05)):
        source = f"LEVEL, NEW, PAUSE = {level}, {new}, {pause}\n{ALGORITHM}"
        install_algorithm(folder, name, source)
    return environment(folder, PYTHONPYCACHEPREFIX=str(tmp_path_factory.mktemp("compiled")))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty products: good ones are dark. Of three levels, the middle one is where the versions differ."""
    folder = tmp_path_factory.mktemp("archive")
    for at in range(15):
        picture(folder / "ok" / f"a{at:02d}.png", 110 if at == 4 else 20 + at)
        picture(folder / "ng" / f"b{at:02d}.png", 115 if at == 7 else 200 + at)
    return folder


def run(env: dict[str, str], archive: Path, *more: object) -> tuple[int, dict[str, Any], str]:
    done = procvision("requalify", "spots-new", archive, "--against", "spots-old", "--json", "-", *more, env=env)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_what_differs_is_told_with_its_truth(env: dict[str, str], archive: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    status, report, told = run(env, archive, "--out", out, "--html", page, "--require", "new_escapes<=0")
    assert status == 1, told
    assert [(flip["name"], flip["truth"]) for flip in report["flips"]] == [
        ("ng/b07.png", "defective"), ("ok/a04.png", "good"),
    ]  # fmt: skip
    figures = report["figures"][""]
    assert (figures["escapes"], figures["false_alarms"]) == ({"old": 0, "new": 1}, {"old": 1, "new": 0})
    assert {bound["text"]: bound["holds"] for bound in report["bounds"]} == {
        "new_escapes<=0": False, "errors<=baseline": True, "unstable<=0": True,
    }  # fmt: skip
    assert not report["kept"]
    assert report["values"] == [
        {"name": "brightness", "products": 30, "old_median": 113.0 - 0.5, "new_median": 113.0, "median_change": 0.5,
         "changed": 30, "distance": pytest.approx(1 / 30, rel=1e-4), "p": 1.0},
        # A worker takes one core, whatever its hosts' libraries would take.
        {"name": "threads", "products": 30, "old_median": 1.0, "new_median": 1.0, "median_change": 0.0,
         "changed": 0, "distance": 0.0, "p": 1.0},
    ]  # fmt: skip
    assert (report["old"]["name"], report["new"]["name"]) == ("spots-old", "spots-new")
    assert json.loads((out / "report.json").read_text()) == report
    took = json.loads((out / "times.json").read_text())
    assert took["execute"]["old"]["calls"] == 30
    assert "times" not in report
    text = page.read_text()
    assert "New escape" in text
    assert text.count("<figure") == 4


def test_a_result_that_is_there_is_not_made_again(env: dict[str, str], archive: Path, tmp_path: Path) -> None:
    here = tmp_path / "archive"
    shutil.copytree(archive, here)
    _, first, _ = run(env, here, "--out", tmp_path / "out")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    assert len(made) > 1
    picture(here / "ok" / "a00.png", 250)
    _, second, told = run(env, here, "--out", tmp_path / "out")
    kept = {path for path, at in made.items() if path.stat().st_mtime_ns == at}
    assert kept == set(made), "what was there was written again"
    assert len(list((tmp_path / "out" / "results").iterdir())) == len(made) + 1
    assert "products are there already" in told
    assert second["figures"][""]["ng"]["new"] == first["figures"][""]["ng"]["new"] + 1


def test_crashes_time_outs_and_errors_are_told_apart(env: dict[str, str], tmp_path: Path) -> None:
    """A picture that ends two hosts is a finding; what takes too long is unstable, not a flip."""
    for at, corner in enumerate((0, 1, 2, 3, 0)):
        picture(tmp_path / "in" / f"{at}.png", 20, corner)
    (tmp_path / "in" / "5.png").write_bytes(b"no picture")
    status, report, _ = run(env, tmp_path / "in", "--timeout-s", "2", "--require", "errors<=3")
    assert report["killers"] == ["1.png"]
    assert [(flip["name"], flip["new"]["failure"]) for flip in report["flips"]] == [
        ("1.png", "exited 9999"), ("2.png", "answered ERROR 4711"),
    ]  # fmt: skip
    assert [each["name"] for each in report["unstable"]] == ["3.png"]
    assert report["unstable"][0]["new"].startswith("timeout")
    assert status == 1, "unstable products are allowed only where somebody says so"
    assert report["figures"][""]["errors"] == {"old": 1, "new": 3}


def test_a_picture_that_is_gone_or_another_one_is_unstable(
    env: dict[str, str], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no finding of either version, and no product's verdict is another picture's."""
    monkeypatch.setenv("PYTHONPATH", env["PYTHONPATH"])
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", env["PYTHONPYCACHEPREFIX"])
    shutil.copytree(archive / "ok", tmp_path / "in")
    gone, changed, there = (stored(path) for path in sorted((tmp_path / "in").iterdir())[:3])
    Path(gone.place).unlink()
    picture(Path(changed.place), 250)
    products = [Product(name, (Shot(one),)) for name, one in (("a", gone), ("b", changed), ("c", there))]
    with Comparing(new=Subject("spots-new", "algorithm", algorithm="spots-new"), old=None).open() as worked:
        said = [row.new for row in worked(products, lambda: False)]
    assert [(each.verdict, each.failure) for each in said] == [("UNSTABLE", UNREAD), ("UNSTABLE", UNREAD), ("OK", "")]
    assert "No such file" in said[0].message
    assert "was changed after" in said[1].message


def test_a_version_that_changed_under_the_command_ends_it(tmp_path: Path) -> None:
    """Its results would be kept as another version's."""
    program = tmp_path / "host"
    program.write_text("#!/bin/sh\n")
    subject = resolve(str(program), None, tmp_path, None)
    check_same(subject)
    program.write_text("#!/bin/bash\n")
    with pytest.raises(SubjectError, match=r"was changed while it inspected\nhint: again"):
        check_same(subject)


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_random_it_ends_with_the_same_report(
    env: dict[str, str], archive: Path, tmp_path: Path, engine: str
) -> None:
    """SIGKILL for the command alone: its workers see that it is gone."""
    words = ["requalify", "spots-slow", str(archive), "--against", "spots-old", "--engine", engine, "--jobs", "2"]
    began = time.monotonic()
    undisturbed = procvision(*words, "--out", tmp_path / "whole", env=env)
    whole_s = time.monotonic() - began
    assert undisturbed.returncode == 0, undisturbed.stderr
    chance, out, killed = random.Random(SEED), tmp_path / "killed", 0
    while killed < KILLS:
        with subprocess.Popen([*PROCVISION, *words, "--out", str(out)], env=env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:  # fmt: skip
            began = time.monotonic()
            try:
                process.wait(chance.uniform(0, whole_s))
                whole_s = min(whole_s, time.monotonic() - began)  # the machine was busier before
            except subprocess.TimeoutExpired:
                below = descendants(process.pid)
                process.kill()
                killed += process.wait() == -signal.SIGKILL
                wait_until_gone(below, timeout_s=120)
        if len(list((out / "results").glob("*.parquet"))) >= 3:
            for path in sorted((out / "results").glob("*.parquet"))[1:]:
                path.unlink()  # so that there is always something left to be killed in
    print(f"killed {killed} times, engine {engine}, seed {SEED}")
    done = procvision(*words, "--out", out, env=env)
    assert done.returncode == 0, done.stderr
    assert (out / "report.json").read_bytes() == (tmp_path / "whole" / "report.json").read_bytes()
    results = [{path.name for path in (folder / "results").iterdir()} for folder in (out, tmp_path / "whole")]
    assert results[0] == results[1], "a result stands there twice, or half"


def test_what_cannot_be_is_told(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a host is launched, with what was given and what is taken; nothing is written."""
    os.mkfifo(pipe := tmp_path / "pipe")
    (half := tmp_path / "half.png").write_bytes(b"no picture")
    named = ("spots-new", archive, "--against", "spots-old")
    before = sorted(tmp_path.rglob("*"))
    for option, value, told in (
        ("--timeout-s", "1e-9", "'1e-9' is no number in the range 0.001<=x<=86400"),
        ("--timeout-s", "1e300", "in the range 0.001<=x<=86400"),
        ("--timeout-s", "1_0", "is no number"),
        ("--jobs", "1e400", "'1e400' is no whole number in the range 1<=x<=1024"),
        ("--sample", "1_0", "is no whole number in the range x>=1"),
        ("--engine", "dask://", "has no address"),
        ("--engine", "local://", "has no address"),
        ("--out", archive / "out", "lies within the archive"),
        ("--out", f"{pipe}/x", "is no folder"),
        ("--out", "/proc/x", "can't be written"),
        ("--out", "x" * 300, "File name too long"),
        ("--json", "/proc/x.json", "can't be written"),
        ("--html", "x" * 300, "File name too long"),
        ("--reference", pipe, "is a device or a pipe"),
        ("--reference", "/dev/zero", "is a device or a pipe"),
        ("--reference", half, "is no picture"),
        ("--require", "flips<=1e999", "1e999 is no finite number"),
        ("--json", next(archive.glob("ok/*.png")), "is a file of"),
        ("--html", "-", "it isn't written to stdout"),
    ):
        assert status_of(["requalify", *map(str, (*named, option, value))]) in (2, 64)
        error = capsys.readouterr().err
        assert told in error
        assert "\nhint: " in error
    for words, told in (
        ((*named, "--json", tmp_path / "x", "--html", tmp_path / "." / "x"), "--json and --html are both"),
        (("spots-new", pipe, "--against", "spots-old"), "is a device or a pipe"),
        (("spots-new", "x" * 300, "--against", "spots-old"), "File name too long"),
        (("x" * 300, archive, "--against", "spots-old"), "is no algorithm's name"),
        (("spots-new", tmp_path / "none", "--against", "spots-old"), "does not exist"),
        (("spots-new", archive, "--against", "spots-old", "--engine", "abacus"), "there is no engine 'abacus'"),
        (("spots-new", archive, "--against", "spots-old", "--require", "f_score>=1"), "there is no figure 'f_score'"),
        (("recorded", archive, "--against", "spots-old"), "the new version can't be what is recorded"),
        (("spots-new", archive, "--against", "spots-old", "--engine", "dask://127.0.0.1"), "is no address"),
        (("spots-new", archive, "--against", "spots-old", "--timeout-s", "nan"), "nan is no finite number"),
        (("spots-new", archive, "--against", "spots-old", "--out", ""), "a folder has a name"),
        (("spots-new", archive, "--against", "spots-old", "--json", ""), "a file has a name"),
        (("spots-new", "", "--against", "spots-old"), "the archive has no name"),
        ((" ", archive, "--against", "spots-old"), "a version has no name"),
        (("spots==1", archive, "--against", "spots-old", "--root", tmp_path), "has no spots==1"),
    ):
        assert status_of(["requalify", *map(str, words)]) in (2, 64)
        assert told in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_is_of_one_comparison(env: dict[str, str], archive: Path, tmp_path: Path) -> None:
    """Another version, archive or option is refused with what differs, and so is another ProcVision."""
    out = tmp_path / "out"
    few = ("--sample", "4", "--out", out)
    assert run(env, archive, *few)[0] == 0
    report = (out / "report.json").read_bytes()
    status, _, told = run(env, archive, *few, "--timeout-s", "5")
    assert (status, "timeout_s was null, and is 5.0" in told) == (2, True), told
    assert run(env, archive, *few, "--require", "flips[group=1]<=0")[0] == 64, "a part that no product is of"
    assert run(env, archive, *few, "--param", "none=1")[0] == 64, "before the folder is looked at"
    noted = out / "comparison.json"
    noted.write_text(noted.read_text().replace('"ProcVision": "', '"ProcVision": "0.0.'))
    status, _, told = run(env, archive, *few)
    assert (status, "ProcVision was" in told, "hint: another --out" in told) == (2, True, True), told
    noted.unlink()
    status, _, told = run(env, archive, *few)
    assert (status, "of an older ProcVision" in told) == (2, True), told
    assert (out / "report.json").read_bytes() == report


@pytest.mark.skipif("DEEPPCB_DIR" not in os.environ, reason="DEEPPCB_DIR names a copy of DeepPCB")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_version_says_the_same_as_itself(engine: str, tmp_path: Path) -> None:
    sample = ("--sample", "6") if "PROCVISION_REQUALIFY_KILLS" not in os.environ else ()
    done = procvision(
        "requalify", "pcb-compare", Path(os.environ["DEEPPCB_DIR"], "pairs"), "--against", "pcb-compare",
        "--engine", engine, "--jobs", "2", "--json", "-", *sample, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["figures"][""]["flips"]["new"] == 0
    assert report["judgement"]["outcome"] == "same"
    assert all(value["changed"] == 0 for value in report["values"])
