"""`procvision run`, as a person or a script starts it: real processes from end to end."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from cli_program import PROCVISION, descendants, has_a_picture, procvision, shared_memory_of, wait_until_gone
from peer_plugins import environment, install_algorithm

pytest.importorskip("procvision_pcb", reason="plugins/procvision-pcb is not installed")
Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

from procvision_testing.boards import make_board, photograph, with_defects  # noqa: E402

MOODS = {"type": "enum", "key": "mood", "choices": ["ok", "ng", "raise", "fail", "exit", "hang"], "default": "ok"}
ALGORITHM = """
import os, time
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, RecoverableError, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        self.logger.warning("mood is " + user_params["mood"] + " \\x1b[31m")
        match user_params["mood"]:
            case "ng": return Ng("too <b>dark</b>", [Defect(1, 2, 3, 4, "dark", 0.5)])
            case "raise": raise RecoverableError("lamp is out; hint: change the lamp", error_code="4711")
            case "fail": return Failed("4712", "not today")
            case "exit": os._exit(3)
            case "hang":
                print("hanging", flush=True)
                time.sleep(600)
        read_image_from_shared_memory(shared_mem_id, image_meta)
        return Ok()
"""


@pytest.fixture(scope="module")
def fake_check(tmp_path_factory):
    """Give the environment in which an algorithm is installed that does as it is told."""
    folder = tmp_path_factory.mktemp("installed")
    steps = [{"index": 1, "name": "only", "params": [MOODS]}]
    return environment(install_algorithm(folder, "fake-check", ALGORITHM, steps=steps, supported_pids=["A", "B"]))


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    board = make_board(seed=7)
    bad, placed = with_defects(board, ["open", "short"], seed=7)
    Image.fromarray(board.picture).save(folder / "reference.jpg", quality=95)
    Image.fromarray(photograph(board.picture, noise=2.0)).save(folder / "good one.png")
    Image.fromarray(bad).save(folder / "bad.jpg", quality=95)
    whole = (folder / "bad.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture at all")
    return folder, placed


def test_a_good_board_is_ok_with_status_0(boards):
    folder, _ = boards
    done = procvision("run", "pcb-compare", "--reference", "reference.jpg", "--image", "good one.png", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split()[0] == "OK"
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_a_bad_board_is_ng_with_status_1_a_table_a_picture_and_a_page(boards, tmp_path):
    folder, placed = boards
    done = procvision(
        "run", "pcb-compare", "--reference", "reference.jpg", "--image", "bad.jpg",
        "--overlay", tmp_path / "o.png", "--html", tmp_path / "p.html", folder=folder,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0].split()[0] == "NG"
    labels = {line.split()[1] for line in done.stdout.splitlines() if line.strip()[:1].isdigit()}
    assert labels == {"open", "short"}
    with Image.open(tmp_path / "o.png") as overlay:
        assert overlay.size == (640, 640)
        assert overlay.mode == "RGB"
        assert len(overlay.getcolors(1 << 20)) > 10
    page = (tmp_path / "p.html").read_text()
    assert page.count('class="edge"') == len(placed)
    assert "procvision run pcb-compare --reference reference.jpg --image bad.jpg" in page
    assert "reference learnt" in page


def test_json_is_one_object_with_everything_in_it(boards):
    folder, placed = boards
    done = procvision(
        "run", "pcb-compare", "--reference", "reference.jpg", "--image", "bad.jpg", "--pid", "X-9",
        "--param", "min_score=0.25", "--param", "edge_tolerance=3", "--json", folder=folder,
    )  # fmt: skip
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["verdict"] == "NG"
    assert record["pid"] == "X-9"
    assert (record["user_params"]["min_score"], record["user_params"]["edge_tolerance"]) == (0.25, 3)
    assert record["user_params"]["copper"] == "dark"
    assert set(record["times_ms"]) == {"start", "pre", "execute"}
    assert "--param min_score=0.25" in record["command"]
    for defect in placed:
        assert any(
            found["label"] == defect.label
            and found["x"] <= defect.x + defect.width / 2 <= found["x"] + found["width"]
            and found["y"] <= defect.y + defect.height / 2 <= found["y"] + found["height"]
            for found in record["defect_rects"]
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "cut.jpg", "--reference", "reference.jpg"], ["damaged", "[1002]"]),
        (["--image", "bad.jpg", "--reference", "cut.jpg"], ["with the reference: this JPEG is damaged"]),
        (["--image", "text.jpg"], ["text.jpg is no picture", "hint: convert it"]),
        (["--image", "bad.jpg"], ["no reference", "hint: --reference"]),
    ],
)
def test_what_could_not_be_inspected_is_an_error_never_an_ok(arguments, words, boards):
    folder, _ = boards
    done = procvision("run", "pcb-compare", *arguments, folder=folder)
    assert done.returncode == 2
    assert done.stdout.splitlines()[0].split()[0] == "ERROR"
    for word in words:
        assert word in done.stdout
    told = procvision("run", "pcb-compare", *arguments, "--json", folder=folder)
    assert told.returncode == 2
    assert json.loads(told.stdout)["verdict"] == "ERROR"


def test_an_error_has_a_page_but_no_overlay_of_a_picture_that_cannot_be_read(boards, tmp_path):
    folder, _ = boards
    done = procvision(
        "run", "pcb-compare", "--image", "text.jpg", "--reference", "reference.jpg",
        "--html", tmp_path / "p.html", "--overlay", tmp_path / "o.png", folder=folder,
    )  # fmt: skip
    assert done.returncode == 2
    assert "text.jpg is no picture" in (tmp_path / "p.html").read_text()
    assert not (tmp_path / "o.png").exists()
    assert "o.png was not written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--param", "min_score=3"], ["min_score is 3.0", "hint: How sure"]),
        (["--param", "speed=3"], ["no such parameter", "hint: it has min_score"]),
        (["--step", "2"], ["has no step 2", "hint: it has 1"]),
        (["--image", "absent.jpg"], ["absent.jpg", "hint: procvision run --help"]),
        (["--overlay", "no/such/folder.png"], ["no/such is no folder"]),
        (["--overlay", "bad.jpg"], ["it would be overwritten"]),
    ],
)
def test_a_wrong_command_line_is_64_on_stderr_alone(arguments, words, boards):
    folder, _ = boards
    size = (folder / "bad.jpg").stat().st_size
    done = procvision("run", "pcb-compare", "--image", "bad.jpg", *arguments, folder=folder)
    assert done.returncode == 64
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr
    assert (folder / "bad.jpg").stat().st_size == size


def test_an_algorithm_that_is_not_installed_is_named_with_a_hint(boards):
    folder, _ = boards
    done = procvision("run", "no-such-check", "--image", "bad.jpg", folder=folder)
    assert done.returncode == 2
    assert "no algorithm 'no-such-check' is installed" in done.stdout.splitlines()[0]
    assert "\nhint: pip install" in done.stdout


@pytest.mark.parametrize(
    ("mood", "status", "words"),
    [
        ("ok", 0, ["OK"]),
        ("ng", 1, ["NG", "too <b>dark</b>", "dark", "0.50"]),
        ("raise", 2, ["ERROR", "lamp is out [4711]", "hint: change the lamp", "warning: mood is raise \\x1b[31m"]),
        ("fail", 2, ["ERROR", "not today [4712]"]),
        ("exit", 2, ["ERROR", "status 3"]),
    ],
)
def test_whatever_an_algorithm_does_has_its_verdict_and_status(mood, status, words, fake_check, boards, tmp_path):
    folder, _ = boards
    done = procvision(
        "run", "fake-check", "--image", "bad.jpg", "--pid", "B", "--param", f"mood={mood}",
        "--html", tmp_path / "p.html", folder=folder, env=fake_check,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout
    assert "--reference" not in done.stdout  # nothing here asks for one
    assert "\x1b" not in done.stdout
    page = (tmp_path / "p.html").read_text()
    assert "<b>" not in page
    assert f"mood is {mood} \\x1b[31m" in page


PREPARING = """
from procvision_sdk import BaseAlgorithm, Failed, Ok, Prepared, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def get_info(self): return {}
    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        match user_params["pre"]:
            case "reads": read_image_from_shared_memory(shared_mem_id, image_meta)
            case "fails": return Failed("4713", "the lamp is cold")
            case "asks" if not shared_mem_id: return Failed("1002", "there is no picture")
        session.set("prepared", "with a picture" if shared_mem_id else "without a picture")
        return Prepared()
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        read_image_from_shared_memory(shared_mem_id, image_meta)
        return Ok(message=session.get("prepared", "not prepared"))
"""


@pytest.mark.parametrize(
    ("pre", "arguments", "status", "message", "phases"),
    [
        ("needs none", [], 0, "without a picture", {"pre", "execute"}),
        ("reads", [], 0, "not prepared", {"execute"}),
        ("asks", [], 2, "there is no picture", {"pre"}),
        ("fails", [], 2, "the lamp is cold", {"pre"}),
        ("needs none", ["--reference", "reference.jpg"], 0, "with a picture", {"pre", "execute"}),
        ("fails", ["--reference", "reference.jpg"], 2, "with the reference: the lamp is cold", {"pre"}),
    ],
)
def test_pre_is_called_without_a_picture_where_there_is_no_reference(
    pre, arguments, status, message, phases, boards, tmp_path
):
    """As the protocol has it, `pre` and then `execute`; a `pre` that reads one all the same is left out."""
    choices = {"type": "enum", "key": "pre", "choices": ["needs none", "reads", "asks", "fails"]}
    installed = install_algorithm(
        tmp_path, "prepares", PREPARING, steps=[{"index": 1, "name": "one", "params": [choices]}]
    )
    folder, _ = boards
    for pictures in (["bad.jpg"], ["bad.jpg", "good one.png"]):
        done = procvision(
            "run", "prepares", *arguments, *pictures, "--param", f"pre={pre}", "--json", folder=folder,
            env=environment(installed),
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        told = json.loads(done.stdout)
        for record in told.get("inspections", [told]):
            assert record["message"] == message
            assert set(record["times_ms"]) - {"start"} == phases
            assert ("--reference" in record["hint"]) is (pre == "asks")


def test_what_a_host_says_outside_of_calls_is_seen_beside_its_verdicts(fake_check, boards):
    """Once, however many pictures there are; not what belongs to a call, and not in place of an ERROR's reason."""
    env = {**fake_check, "PROCVISION_HOOK_SQLITE_SESSIONS_BUSY_MS": "soon"}
    folder, _ = boards
    said = "error: hook plugin sqlite-sessions is left out: PROCVISION_HOOK_SQLITE_SESSIONS_BUSY_MS"
    arguments = ["run", "fake-check", "--pid", "A", "bad.jpg"]
    one = procvision(*arguments, folder=folder, env=env)
    assert (one.returncode, one.stdout.count(said), one.stderr) == (0, 1, "")
    assert "mood is" not in one.stdout
    (notice,) = json.loads(procvision(*arguments, "--json", folder=folder, env=env).stdout)["notices"]
    assert notice.startswith(said)
    many = procvision(*arguments, "good one.png", "reference.jpg", folder=folder, env=env)
    assert (many.returncode, many.stderr.count(said), "mood is" in many.stderr) == (0, 1, False)
    failed = procvision(*arguments, "--param", "mood=fail", folder=folder, env=env)
    assert failed.returncode == 2
    assert failed.stdout.count("sqlite-sessions is left out") == 1  # among the last log lines


def test_a_product_must_be_named_where_there_are_several(fake_check, boards):
    folder, _ = boards
    unnamed = procvision("run", "fake-check", "--image", "bad.jpg", folder=folder, env=fake_check)
    assert (unnamed.returncode, unnamed.stdout) == (64, "")
    assert "hint: --pid with one of A, B" in unnamed.stderr
    unknown = procvision("run", "fake-check", "--image", "bad.jpg", "--pid", "C", folder=folder, env=fake_check)
    assert (unknown.returncode, unknown.stdout) == (64, "")
    assert "hint: it takes A, B" in unknown.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_behind(number, status, fake_check, boards):
    folder, _ = boards
    command = [*PROCVISION, "run", "fake-check", "--image", "bad.jpg", "--pid", "A", "--param", "mood=hang"]
    with subprocess.Popen(
        command, cwd=folder, env=fake_check, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        try:
            deadline = time.monotonic() + 20
            while not has_a_picture(run.pid):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.5)
            children = descendants(run.pid)
            assert children
            run.send_signal(number)
            assert run.wait(30) == status
        finally:
            run.kill()
    wait_until_gone(children)
    assert not shared_memory_of(run.pid)


def test_an_exception_is_shown_as_lines_from_the_vendors_frame_on(fake_check, tmp_path):
    """None of the host's own frames comes before it, and no line is an escape."""
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    done = procvision("run", "fake-check", tmp_path / "a.png", "--pid", "A", "--param", "mood=raise", env=fake_check)
    assert done.returncode == 2
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if "Traceback (most recent call last):" in line)
    assert "vendor_fake_check" in lines[at + 1]
    assert "in execute" in lines[at + 1]
    assert "raise RecoverableError" in lines[at + 2]
    assert "\\n" not in done.stdout
    assert "worker.py" not in done.stdout
