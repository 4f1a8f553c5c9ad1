"""`procvision evaluate`, as a person or a CI starts it: real hosts from end to end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time

import numpy as np
import pytest
from cli_program import PROCVISION, descendants, procvision, shared_memory_of, wait_until_gone
from peer_plugins import environment, install_algorithm

from procvision_tools.cli.main import status_of

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

PARAMS = [
    {"type": "int", "key": "level", "default": 100, "min": 1, "max": 255},
    {"type": "enum", "key": "scored", "choices": ["yes", "no", "badly"], "default": "yes"},
]
ALGORITHM = '''
"""Finds the one spot brighter than `level`; a corner pixel says how else to behave."""
import os, time
import numpy as np
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)[:, :, 0]
        match int(picture[0, 0]):
            case 1: os._exit(3)
            case 2: raise ValueError("not this one")
            case 3: return Failed("4711", "too dark to see")
            case 4: time.sleep(600)
        if user_params["scored"] != "no":
            self.diagnostics.publish("darkness", 1.5 if user_params["scored"] == "yes" else "high")
        rows, columns = np.nonzero(picture > user_params["level"])
        if not len(rows):
            return Ok()
        x, y = int(columns.min()), int(rows.min())
        size = int(columns.max()) + 1 - x, int(rows.max()) + 1 - y
        return Ng("a spot", [Defect(x, y, *size, "spot", float(picture.max()) / 255)])
'''


@pytest.fixture(scope="module")
def spots_env(tmp_path_factory):
    """Give the environment in which the algorithm is installed."""
    folder = tmp_path_factory.mktemp("installed")
    steps = [{"index": 1, "name": "only", "params": PARAMS}]
    return environment(install_algorithm(folder, "bright-spots", ALGORITHM, steps=steps, supported_pids=["A"]))


def spot(path, level=0, place=(20, 10), corner=0):
    """A dark picture with an 8 x 6 spot of that level."""
    picture = np.zeros((48, 64), np.uint8)
    x, y = place
    picture[y : y + 6, x : x + 8] = level
    picture[0, 0] = corner
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def annotated(folder, truths):
    """COCO's file for `{picture: whether a spot is at (20, 10)}`."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(truths, 1)]
    boxes = [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [20, 10, 8, 6]}
        for number, there in enumerate(truths.values(), 1) if there
    ]  # fmt: skip
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "spot"}]}
    (folder / "truth.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """Six pictures: two hits, a faint defect, a hit in the wrong place, a good one, and one with a faint spot."""
    folder = tmp_path_factory.mktemp("spots")
    spot(folder / "1 hit.png", 255)
    spot(folder / "2 hit.png", 200)
    spot(folder / "3 faint.png", 90)
    spot(folder / "4 elsewhere.png", 240, place=(40, 30))
    spot(folder / "5 good.png")
    spot(folder / "6 good, faint.png", 120)
    annotated(folder, {"1 hit.png": True, "2 hit.png": True, "3 faint.png": True, "4 elsewhere.png": True,
                       "5 good.png": False, "6 good, faint.png": False})  # fmt: skip
    return folder


def evaluate(*arguments, env, folder=None):
    return procvision("evaluate", *arguments, env=env, folder=folder)


def record_of(*arguments, env, folder=None):
    done = evaluate(*arguments, "--json", "-", env=env, folder=folder)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_figures_are_those_worked_out_by_hand(spots, spots_env):
    status, record = record_of("bright-spots", spots, "--jobs", 2, env=spots_env)
    assert status == 0
    figures = record["figures"]
    # 4 findings: two right, one elsewhere, one on a good product. 4 truths: two found.
    assert (figures["truths"], figures["findings"]) == (4, 4)
    assert (figures["precision"], figures["recall"], figures["f_score"]) == (0.5, 0.5, 0.5)
    # By score: right, wrong (240), right, wrong: precision 1 to recall 1/4, then 2/3 to 1/2.
    assert figures["mean_average_precision"] == pytest.approx(0.25 + 0.25 * 2 / 3, abs=1e-6)
    assert (figures["escapes"], figures["false_alarms"], figures["failures"]) == (1, 1, 0)
    assert figures["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    # Defective ones score 255, 200, 0, 240, good ones 0 and 120: 6 pairs in order, 1 tied, of 8.
    assert figures["auroc"] == pytest.approx(6.5 / 8)
    assert [picture["name"] for picture in record["pictures"] if picture["mistakes"]] == [
        "3 faint.png", "4 elsewhere.png", "6 good, faint.png",
    ]  # fmt: skip
    assert record["confusion"] == [
        {"is": "-", "called": "spot", "count": 2}, {"is": "spot", "called": "-", "count": 2},
        {"is": "spot", "called": "spot", "count": 2},
    ]  # fmt: skip
    assert record["user_params"] == {"level": 100, "scored": "yes"}


def deeppcb_of(folder):
    for number, (level, there) in enumerate(((255, True), (200, True), (0, False))):
        spot(folder / f"{number}_test.jpg", level)
        spot(folder / f"{number}_temp.jpg")
        (folder / f"{number}.txt").write_text("20 10 27 15 1\n" if there else "")


def yolo_of(folder):
    (folder / "labels").mkdir(parents=True)
    (folder / "classes.txt").write_text("spot\n")
    for name, level in (("a", 255), ("b", 200), ("c", 0)):
        spot(folder / "images" / f"{name}.png", level)
        if level:
            (folder / "labels" / f"{name}.txt").write_text(f"0 {24 / 64} {13 / 48} {8 / 64} {6 / 48}\n")


def mvtec_of(folder):
    for kind, name, level in (("spot", "a", 255), ("spot", "b", 200), ("good", "c", 0)):
        spot(folder / "test" / kind / f"{name}.png", level)
        if level:
            spot(folder / "ground_truth" / kind / f"{name}_mask.png", 255)


@pytest.mark.parametrize(("make", "label"), [(deeppcb_of, "open"), (yolo_of, "spot"), (mvtec_of, "spot")])
def test_the_same_pictures_give_the_same_figures_in_every_layout(make, label, spots_env, tmp_path):
    make(tmp_path / "set")
    # JPEG spreads the spot by a pixel or two, and DeepPCB has labels of its own.
    status, record = record_of("bright-spots", tmp_path / "set", "--any-label", env=spots_env)
    assert status == 0
    assert record["dataset"]["labels"] == [label]
    figures = record["figures"]
    assert (figures["truths"], figures["findings"], figures["f_score"]) == (2, 2, 1.0)
    assert (figures["escapes"], figures["false_alarms"], figures["auroc"]) == (0, 0, 1.0)


def test_a_parameter_a_threshold_and_a_score_of_the_algorithms_change_what_they_should(spots, spots_env):
    _, faint = record_of("bright-spots", spots, "--param", "level=80", env=spots_env)
    assert faint["figures"]["recall"] == 0.75
    _, sure = record_of("bright-spots", spots, "--threshold", "0.9", env=spots_env)
    assert (sure["figures"]["findings"], sure["figures"]["recall"]) == (2, 0.25)
    assert sure["figures"]["mean_average_precision"] == pytest.approx(0.25 + 0.25 * 2 / 3, abs=1e-6)
    _, published = record_of("bright-spots", spots, "--score", "darkness", env=spots_env)
    assert published["figures"]["auroc"] == 0.5
    assert {picture["score"] for picture in published["pictures"]} == {1.5}


def test_the_diagnostic_that_the_manifest_names_is_the_pictures_score(tmp_path_factory, tmp_path):
    """So that an algorithm whose OK pictures differ too has its AUROC; --score still names another."""
    steps = [{"index": 1, "name": "only", "params": PARAMS}]
    algorithm = ALGORITHM.replace("1.5 if", "float(picture.mean()) if")
    folder = install_algorithm(
        tmp_path_factory.mktemp("installed"), "ranked", algorithm, steps=steps, supported_pids=["A"],
        picture_score="darkness",
    )  # fmt: skip
    env = environment(folder)
    for name, level in (("a.png", 60), ("b.png", 50), ("c.png", 40), ("d.png", 0)):
        spot(tmp_path / name, level)
    annotated(tmp_path, {"a.png": True, "b.png": False, "c.png": True, "d.png": False})
    status, record = record_of("ranked", tmp_path, env=env)
    assert status == 0
    # All four are OK: by findings alone nothing would tell them apart.
    assert {picture["verdict"] for picture in record["pictures"]} == {"OK"}
    assert (record["picture_score"], record["figures"]["auroc"]) == ("darkness", 0.75)
    assert "pictures ranked by darkness" in evaluate("ranked", tmp_path, env=env).stdout
    status, record = record_of("ranked", tmp_path, "--param", "scored=no", env=env)
    assert (status, record["failures"]) == (1, {"no score": 4})
    _, record = record_of("ranked", tmp_path, "--score", "latency_ms", env=env)
    assert record["picture_score"] == "latency_ms"


def test_a_parameter_is_swept_by_inspecting_again(spots, spots_env):
    _, record = record_of("bright-spots", spots, "--sweep", "level=80:220:70", env=spots_env)
    assert [(row["value"], row["figures"]["findings"]) for row in record["sweep"]["rows"]] == [
        ("80", 5), ("150", 3), ("220", 2),
    ]  # fmt: skip
    assert record["sweep"]["best"] == "80"
    _, record = record_of("bright-spots", spots, "--sweep", "threshold=0.4:1:0.3", env=spots_env)
    assert [row["figures"]["findings"] for row in record["sweep"]["rows"]] == [4, 3, 1]


def test_every_failure_has_its_name_and_none_is_an_ok(spots_env, tmp_path):
    spot(tmp_path / "good.png")
    spot(tmp_path / "a dies.png", corner=1)
    spot(tmp_path / "b raises.png", corner=2)
    spot(tmp_path / "c refuses.png", corner=3)
    names = ["good.png", "a dies.png", "b raises.png", "c refuses.png"]
    annotated(tmp_path, dict.fromkeys(names, False))
    done = evaluate(
        "bright-spots", tmp_path, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html", env=spots_env
    )
    assert done.returncode == 1, done.stderr
    assert "MISSED  failures<=0: it is 3" in done.stdout
    record = json.loads((tmp_path / "r.json").read_text())
    by_name = {picture["name"]: picture for picture in record["pictures"]}
    assert by_name["good.png"]["verdict"] == "OK"
    assert {name for name, picture in by_name.items() if picture["verdict"] == "ERROR"} == set(names[1:])
    assert sorted(record["failures"]) == [
        "answered ERROR 4711", "exited 9999", "program 9999",
    ]  # fmt: skip
    assert record["figures"]["accuracy"] == 0.25
    page = (tmp_path / "r.html").read_text()
    assert "too dark to see" in page
    allowed = evaluate("bright-spots", tmp_path, "--require", "failures<=3", env=spots_env)
    assert allowed.returncode == 0, allowed.stdout


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "another format"])
def test_a_picture_that_can_not_be_read_ends_the_measurement_and_is_named(damage, spots_env, tmp_path):
    """Figures of fewer pictures than there are would be taken for those of all."""
    spot(tmp_path / "good.png")
    spot(tmp_path / "spoilt.png", 200)
    whole = (tmp_path / "spoilt.png").read_bytes()
    spoilt = {"text": b"no picture", "cut": whole[:-20], "empty": b"", "another format": b"BM" + whole}[damage]
    (tmp_path / "spoilt.png").write_bytes(spoilt)
    annotated(tmp_path, {"good.png": False, "spoilt.png": True})
    done = evaluate("bright-spots", tmp_path, "--json", "-", env=spots_env)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'spoilt.png'}" in done.stderr


def test_a_score_that_is_not_published_is_a_failure(spots, spots_env):
    status, record = record_of("bright-spots", spots, "--score", "darkness", "--param", "scored=badly", env=spots_env)
    assert status == 1
    assert record["failures"] == {"no score": 6}


def test_a_later_run_is_compared_with_an_earlier_one(spots, spots_env, tmp_path):
    first = evaluate("bright-spots", spots, "--json", tmp_path / "old.json", env=spots_env)
    assert first.returncode == 0, first.stderr
    done = evaluate(
        "bright-spots", spots, "--param", "level=80", "--baseline", tmp_path / "old.json",
        "--require", "recall>baseline", "--require", "precision>=0.9", "--html", tmp_path / "new.html", env=spots_env,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "recall: 0.5000 -> 0.7500, better" in done.stdout
    assert "ok  recall>baseline" in done.stdout
    assert "MISSED  precision>=0.9: it is 0.6000" in done.stdout
    assert "was 0.5000, better" in (tmp_path / "new.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["bright-spots", "absent"], 64, ["absent", "hint: "]),
        (["bright-spots", "empty"], 2, ["none of the known layouts", "hint: yolo: images/"]),
        (
            ["bright-spots", ".", "--layout", "mvtec"],
            2,
            ["holds no picture in the layout mvtec", "6 files were left out"],
        ),
        (["bright-spots", ".", "--param", "level=300"], 64, ["level is 300"]),
        (["bright-spots", ".", "--param", "glow=3"], 64, ["no such parameter", "hint: it has level"]),
        (["bright-spots", ".", "--sweep", "glow=1:2:1"], 64, ["no such parameter", "or threshold"]),
        (["bright-spots", ".", "--sweep", "threshold=1:2:1"], 64, ["2 is no score"]),
        (["bright-spots", ".", "--sweep", "level=1:3"], 64, ["FROM:TO:STEP"]),
        (["bright-spots", ".", "--sweep", "level=100:300:100"], 64, ["level is 300"]),
        (["bright-spots", ".", "--step", "2"], 64, ["has no step 2"]),
        (["bright-spots", ".", "--pid", "B"], 64, ["doesn't inspect it", "hint: it takes A"]),
        (["bright-spots", ".", "--require", "beauty>=1"], 64, ["no figure 'beauty'"]),
        (["bright-spots", ".", "--require", "recall>=baseline"], 64, ["hint: --baseline"]),
        (["bright-spots", ".", "--baseline", "truth.json"], 64, ["no report of an evaluation"]),
        (["bright-spots", ".", "--json", "no/such/r.json"], 64, ["no/such is no folder"]),
        (["bright-spots", ".", "--html", "."], 64, ["is a directory"]),
        (["bright-spots", ".", "--html", "x", "--json", "./x"], 64, ["--json and --html are both x"]),
        (["bright-spots", ".", "--jobs", "2", "--engine", "dask://127.0.0.1:8786"], 2, ["has its own workers"]),
        (["bright-spots", ".", "--reference", "truth.json"], 2, ["truth.json is no picture"]),
        (["bright-spots", ".", "--threshold", "1.5"], 64, ["'1.5' is no number in the range 0<=x<=1", "hint: "]),
        (["bright-spots", ".", "--html", "truth.json"], 64, ["--html truth.json is a file of .", "hint: "]),
        ([" ", "."], 64, ["' ' is no algorithm's name", "hint: "]),
        (["bright-spots", ".", "--score", " "], 64, ["--score has no key", "hint: "]),
        (
            ["bright-spots", ".", "--pid", "A", "--json", "-", "--html", "/dev/full", "--score", "glow"],
            2,
            ["/dev/full can't be written: No space left on device"],
        ),
        (["no-such-check", "."], 2, ["no algorithm 'no-such-check'", "hint: pip install"]),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_its_status(
    arguments, status, words, spots, spots_env, monkeypatch, capsys
):
    (spots / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(spots)
    monkeypatch.setenv("PYTHONPATH", spots_env["PYTHONPATH"])
    assert status_of(["evaluate", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.out == "" or "/dev/full" in arguments
    for word in words:
        assert word in captured.err


def test_the_bar_is_shown_on_a_terminal_alone(spots, spots_env):
    leader, follower = pty.openpty()
    command = [*PROCVISION, "evaluate", "bright-spots", str(spots), "--json", "-"]
    done = subprocess.run(command, env=spots_env, stdout=subprocess.PIPE, stderr=follower, text=True, timeout=100)
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert done.returncode == 0
    assert "6/6" in shown
    assert json.loads(done.stdout)["figures"]["pictures"] == 6
    assert evaluate("bright-spots", spots, env=spots_env).stderr == ""


def test_ctrl_c_leaves_nothing_behind(spots_env, tmp_path):
    spot(tmp_path / "a hangs.png", corner=4)
    annotated(tmp_path, {"a hangs.png": False})
    command = [*PROCVISION, "evaluate", "bright-spots", str(tmp_path), "--jobs", "2"]
    with subprocess.Popen(command, env=spots_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        try:
            deadline = time.monotonic() + 60
            while len(children := descendants(run.pid)) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            run.send_signal(signal.SIGINT)
            assert run.wait(60) == 130
        finally:
            run.kill()
    wait_until_gone(children)
    assert not shared_memory_of(run.pid)
