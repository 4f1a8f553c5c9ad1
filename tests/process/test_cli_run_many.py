"""`procvision run` on several pictures, a product of several steps, a camera, a folder, code that changes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from cli_program import PROCVISION, descendants, procvision, shared_memory_of, wait_until_gone
from peer_plugins import environment, install_algorithm
from terminal_screen import on_screen

from procvision_tools.cli.main import status_of

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

ALGORITHM = '''
"""NG above `level`, dies of black; the second step refuses what the first didn't see."""
import os
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, read_image_from_shared_memory

WORD = "bright"

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        grey = int(read_image_from_shared_memory(shared_mem_id, image_meta).mean())
        self.logger.info(f"step {step_index} saw {grey}")
        if grey == 0:
            os._exit(3)
        if step_index == 1:
            session.set("first", grey)
        elif session.get("first") is None:
            return Failed("4713", "the first step saw nothing")
        if grey > user_params["level"]:
            return Ng(f"{WORD}, first {session.get('first')}", [Defect(1, 2, 8, 6, "spot", 0.5)])
        return Ok()
'''
LEVEL = {"type": "int", "key": "level", "default": 100, "min": 1, "max": 255}
STEPS = [{"index": 1, "name": "front", "params": [LEVEL]}, {"index": 2, "name": "back", "params": [LEVEL]}]

SLOW = """
import time
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        if read_image_from_shared_memory(shared_mem_id, image_meta).mean() > 100:
            time.sleep(60)
        session.set("seen", True)
        return Ok()
"""


@pytest.fixture(scope="module")
def two_sides(tmp_path_factory):
    """The environment in which an algorithm of two steps is installed."""
    folder = install_algorithm(tmp_path_factory.mktemp("installed"), "two-sides", ALGORITHM, steps=STEPS)
    return environment(folder)


def grey(path, level):
    Image.new("L", (40, 30), level).save(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    grey(folder / "a good.png", 50)
    grey(folder / "b bright.png", 200)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_is_inspected_and_the_worst_verdict_is_the_status(pictures, two_sides, tmp_path):
    done = procvision(
        "run", "two-sides", pictures, "--html", tmp_path / "p.html", "--overlay", tmp_path / "boxes", env=two_sides
    )
    assert done.returncode == 1, done.stderr
    first, second, summary, note = done.stdout.splitlines()
    assert first.split()[:3] == ["OK", "a", "good.png"]
    assert second.split()[:3] == ["NG", "b", "bright.png"]
    assert "front: bright, first 200" in second
    assert summary == "2 inspections: 1 OK, 1 NG"
    assert note == f"note: {pictures}: 1 file was left out, no picture: notes.txt"
    page = (tmp_path / "p.html").read_text()
    # Both steps saw the bright one, and both marked it.
    assert page.count('class="edge"') == 2
    assert "step 2 saw 200" in page
    assert {path.name for path in (tmp_path / "boxes").iterdir()} == {"a good.png", "b bright.png"}


def test_every_file_of_a_folder_is_inspected_or_said_to_be_left_out(two_sides, tmp_path):
    """On the terminal, in the JSON and on the page; a name that is no text is one of the pictures."""
    grey(tmp_path / "a.png", 50)
    grey(tmp_path / os.fsdecode(b"2\xe4.PNG"), 60)
    grey(tmp_path / "c.jpeg", 70)
    grey(tmp_path / "d.bmp", 70)
    grey(tmp_path / ".hidden.png", 200)
    (tmp_path / "below").mkdir()
    grey(tmp_path / "below" / "e.png", 200)
    os.mkfifo(tmp_path / "f.png")
    notes = [
        "1 file was left out, hidden: a name begins with a dot: .hidden.png",
        "1 file was left out, no regular file: f.png",
        "1 file was left out, in a folder below, which has to be named: below/e.png",
        "1 file was left out, JPEG and PNG are read: d.bmp",
    ]
    page = tmp_path.with_name(f"{tmp_path.name}.html")
    done = procvision(
        "run", "two-sides", tmp_path, "--json", "--html", page, "--overlay", f"{tmp_path}-o", env=two_sides
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert {one["title"] for one in record["inspections"]} == {"a.png", "2\\xe4.PNG", "c.jpeg"}
    assert sorted(record["notes"]) == sorted(f"{tmp_path}: {note}" for note in notes)
    assert all(note in page.read_text() for note in notes)
    done = procvision("run", "two-sides", tmp_path, env=two_sides)
    assert done.returncode == 0, done.stderr
    assert all(f"note: {tmp_path}: {note}" in done.stdout.splitlines() for note in notes)


def test_a_picture_whose_name_is_no_text_and_that_is_damaged_is_an_error_as_any(two_sides, tmp_path):
    """The others go on, and the status is not that of an NG."""
    (tmp_path / os.fsdecode(b"2\xe4.png")).write_bytes(b"nothing")
    grey(tmp_path / "z.png", 50)
    done = procvision("run", "two-sides", tmp_path, "--json", env=two_sides)
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["counts"] == {"ERROR": 1, "OK": 1}
    alone = procvision("run", "two-sides", tmp_path / os.fsdecode(b"2\xe4.png"), env=two_sides)
    assert alone.returncode == 2
    assert "2\\xe4.png is no picture" in alone.stdout


def test_pictures_of_a_twelve_bit_camera_are_told_unless_it_is_said_that_they_are(two_sides, tmp_path):
    """Of one and of many, and --bits shows the algorithm what the camera saw."""
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((30, 40), 90 * 16, np.uint16)).save(tmp_path / name)
    alone = procvision("run", "two-sides", tmp_path / "a.png", "--json", env=two_sides)
    assert "--bits 12" in json.loads(alone.stdout)["notices"][-1]
    many = procvision("run", "two-sides", tmp_path, "--json", env=two_sides)
    assert "--bits 12" in json.loads(many.stdout)["notes"][-1]
    said = procvision("run", "two-sides", tmp_path, "--json", "--bits", 12, env=two_sides)
    record = json.loads(said.stdout)
    assert record["notes"] == []
    assert any("saw 90" in line["message"] for line in record["inspections"][0]["logs"])
    assert "--bits 12" in record["inspections"][0]["command"]


def test_a_picture_that_kills_the_host_is_an_error_and_the_next_has_a_host(pictures, two_sides, tmp_path):
    # More deaths than a line's supervisor puts up with, each of a picture of its own.
    black = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(black):
        Image.new("L", (40 + number, 30), 0).save(path)
    done = procvision("run", "two-sides", *black, pictures / "a good.png", "--json", env=two_sides)
    assert done.returncode == 2, done.stderr
    record = json.loads(done.stdout)
    assert record["counts"] == {"ERROR": 5, "OK": 1}
    assert "exited" in record["inspections"][4]["message"]
    assert any("ended the process with status 3" in line["message"] for line in record["inspections"][4]["logs"])
    assert record["inspections"][5]["verdict"] == "OK"
    assert set(record["inspections"][5]["times_ms"]) == {"pre 1", "execute 1", "pre 2", "execute 2"}


def test_one_step_alone_and_a_parameter_of_every_step(pictures, two_sides):
    first = procvision("run", "two-sides", pictures / "b bright.png", "--step", 1, "--json", env=two_sides)
    assert json.loads(first.stdout)["ng_reason"] == "bright, first 200"
    second = procvision("run", "two-sides", pictures / "b bright.png", "--step", 2, env=two_sides)
    assert second.returncode == 2
    assert "the first step saw nothing" in second.stdout
    high = procvision("run", "two-sides", pictures / "b bright.png", "--param", "level=250", "--json", env=two_sides)
    assert high.returncode == 0, high.stdout
    assert json.loads(high.stdout)["user_params"] == {"front: level": 250, "back: level": 250}


def test_one_product_has_a_picture_for_each_step_in_one_session(pictures, two_sides):
    front, back = pictures / "a good.png", pictures / "b bright.png"
    done = procvision("run", "two-sides", "--one-product", front, back, "--json", env=two_sides)
    assert done.returncode == 1, done.stderr
    one, two = json.loads(done.stdout)["inspections"]
    assert (one["title"], one["verdict"]) == ("a good.png, step 1", "OK")
    assert (two["title"], two["reason"]) == ("b bright.png, step 2", "bright, first 50")
    wrong = procvision("run", "two-sides", "--one-product", front, front, front, env=two_sides)
    assert (wrong.returncode, wrong.stdout) == (64, "")
    assert "3 pictures: two-sides has 2 steps" in wrong.stderr


def test_a_bar_is_shown_on_a_terminal(pictures, two_sides):
    leader, follower = pty.openpty()
    command = [*PROCVISION, "run", "two-sides", str(pictures)]
    done = subprocess.run(command, env=two_sides, stdout=subprocess.PIPE, stderr=follower, text=True, timeout=100)
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert "2/2" in shown
    assert done.stdout.splitlines()[-2] == "2 inspections: 1 OK, 1 NG"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to inspect"),
        (["empty"], "holds no picture"),
        (["absent.png"], "absent.png"),
        (["a good.png", "--camera", "any"], "exclude each other"),
        (["a good.png", "--count", "3"], "--count is for"),
        (["--camera", "any", "--watch"], "--watch is for"),
        (["a good.png", "--live"], "--live is for"),
        (["a good.png", "--spare"], "--spare is for"),
        (["--follow", "absent"], "absent"),
        (["a good.png", "--one-product", "--step", "1"], "--one-product is all"),
        (["a good.png", "b bright.png", "--overlay", "."], "would be overwritten"),
        (["--follow", ".", "--overlay", "."], "would be overwritten"),
        (["a good.png", "b bright.png", "--overlay", "notes.txt"], "can't be made a folder"),
        (["a good.png", "--html", "a good.png"], "would be overwritten"),
        (["a good.png", "--html", "no/such/p.html"], "no/such is no folder"),
        (["a good.png", "b bright.png", "--param", "level=0"], "level is 0"),
        (["a good.png", "--param", "glow=1"], "no such parameter"),
        (["a good.png", "--pid", "B"], "doesn't inspect it"),
    ],
)
def test_what_does_not_go_together_is_64_on_stderr_alone(arguments, words, pictures, two_sides, monkeypatch, capsys):
    (pictures / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(pictures)
    monkeypatch.setenv("PYTHONPATH", two_sides["PYTHONPATH"])
    assert status_of(["run", "two-sides", *arguments]) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err


def test_a_picture_in_the_algorithms_place_is_told(pictures, monkeypatch, capsys):
    """The commonest slip: the name was left out."""
    monkeypatch.chdir(pictures)
    assert status_of(["run", "a good.png"]) == 64
    assert "a good.png is a file or folder: the algorithm's name comes before it" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["a good.png"], ["a good.png", "b bright.png"]])
def test_a_page_that_cannot_be_written_is_an_error_after_the_verdict(
    arguments, pictures, two_sides, monkeypatch, capsys
):
    monkeypatch.chdir(pictures)
    monkeypatch.setenv("PYTHONPATH", two_sides["PYTHONPATH"])
    assert status_of(["run", "two-sides", *arguments, "--html", "/dev/full"]) == 2
    captured = capsys.readouterr()
    assert "OK" in captured.out
    assert "error: /dev/full can't be written: No space left on device" in captured.err


def test_many_pictures_for_an_algorithm_that_is_not_there_are_an_error(pictures, two_sides):
    done = procvision("run", "no-such-check", pictures, env=two_sides)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no algorithm 'no-such-check'" in done.stderr
    assert "hint: pip install" in done.stderr


def test_a_label_without_a_font_is_said_once(tmp_path):
    """Where no font lies, whatever this machine has."""
    code = ALGORITHM.replace('"spot"', '"划痕"')
    folder = install_algorithm(tmp_path / "installed", "scratches", code, steps=STEPS[:1])
    env = environment(folder) | {"XDG_DATA_DIRS": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    files = [grey(tmp_path / f"{name}.png", 201) for name in "ab"]
    done = procvision("run", "scratches", *files, "--overlay", tmp_path / "boxes", env=env)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("no font of this machine has the letters of 划痕") == 1
    one = procvision("run", "scratches", files[0], "--overlay", tmp_path / "one.png", "--json", env=env)
    assert json.loads(one.stdout)["defect_rects"][0]["label"] == "划痕"
    assert "note: no font of this machine has the letters of 划痕" in one.stderr


@pytest.mark.parametrize("wanted", ["simulated", "any", "4711"])
def test_without_the_library_a_camera_is_refused_before_a_host_starts(wanted, two_sides, tmp_path):
    """The algorithm isn't there either: the first word is of what the camera needs."""
    (tmp_path / "harvesters.py").write_text("raise ImportError('not installed')\n")
    env = two_sides | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{two_sides.get('PYTHONPATH', '')}"}
    done = procvision("run", "no-such-algorithm", "--camera", wanted, env=env)
    assert done.returncode == 2, done.stderr
    assert "camera needs harvesters, which is not installed" in done.stderr
    assert "hint: pip install 'procvision[camera]'" in done.stderr
    assert "no-such-algorithm" not in done.stderr


def test_json_has_the_letters_that_an_algorithm_says(two_sides, tmp_path):
    picture = tmp_path / "划痕.png"
    Image.new("L", (30, 20), 50).save(picture)
    done = procvision("run", "two-sides", picture, "--json", env=two_sides | {"PYTHONIOENCODING": "utf-8"})
    assert '"title": "划痕.png"' in done.stdout
    plain = procvision("run", "two-sides", picture, "--json", env=two_sides | {"PYTHONIOENCODING": "ascii"})
    assert json.loads(plain.stdout)["title"] == "划痕.png"


def test_a_cameras_frames_are_inspected(two_sides, tmp_path):
    pytest.importorskip("genicam", reason="genicam brings a simulated camera: pip install 'procvision[camera]'")
    pytest.importorskip("harvesters", reason="harvesters speaks to cameras: pip install 'procvision[camera]'")
    done = procvision(
        "run", "two-sides", "--camera", "simulated", "--count", 3, "--param", "level=255", "--json",
        "--html", tmp_path / "p.html", env=two_sides,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["verdict"] for record in records] == ["OK"] * 3
    assert records[0]["title"].startswith("Viky")
    assert (tmp_path / "p.html").read_text().count('class="board"') == 3
    absent = procvision("run", "two-sides", "--camera", "left", env=two_sides | {"GENICAM_GENTL64_PATH": ""})
    assert absent.returncode == 2
    assert "hint: name the camera maker's *.cti file" in absent.stderr


@contextmanager
def going_on(*arguments, env, folder):
    """A command that goes on until it is interrupted; gives it, and a function that waits for its next line."""
    command = [*PROCVISION, *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        # A test that waits for a line that never comes ends with the process.
        guard = threading.Timer(100, process.kill)
        guard.start()
        try:
            yield process
        finally:
            guard.cancel()
            process.kill()


def said(stream, words):
    """Read on until a line has these words."""
    for line in stream:
        if words in line:
            return line
    raise AssertionError(f"never said: {words}")


def test_a_folder_is_followed_until_the_count_is_full(two_sides, pictures, tmp_path):
    grey(tmp_path / "old.png", 50)
    with going_on("run", "two-sides", "--follow", ".", "--count", 2, "--json", env=two_sides, folder=tmp_path) as run:
        said(run.stderr, "waiting for pictures")
        whole = (pictures / "b bright.png").read_bytes()
        with (tmp_path / "slow.png").open("wb") as file:
            file.write(whole[: len(whole) // 2])
            file.flush()
            grey(tmp_path / "quick.png", 50)
            first = json.loads(said(run.stdout, "{"))
            file.write(whole[len(whole) // 2 :])
        second = json.loads(said(run.stdout, "{"))
        assert (first["title"], first["verdict"]) == ("quick.png", "OK")
        assert (second["title"], second["verdict"]) == ("slow.png", "NG")
        assert run.wait(60) == 1


def test_a_spare_goes_on_after_a_picture_that_kills_the_host(two_sides, tmp_path):
    """Which is an ERROR all the same."""
    command = ["run", "two-sides", "--follow", ".", "--count", 2, "--json", "--live", "--spare"]
    with going_on(*command, env=two_sides, folder=tmp_path) as run:
        said(run.stderr, '"source": "two-sides/spare", "state": "ready"')
        grey(tmp_path / "black.png", 0)
        assert json.loads(said(run.stdout, "{"))["verdict"] == "ERROR"
        said(run.stderr, '"event": "spare_took_over"')
        grey(tmp_path / "good.png", 50)
        assert json.loads(said(run.stdout, "{"))["verdict"] == "OK"
        assert run.wait(60) == 2


def test_ctrl_c_ends_following_with_its_page_and_nothing_left(two_sides, tmp_path):
    arriving = tmp_path / "arriving"
    arriving.mkdir()
    with going_on("run", "two-sides", "--follow", arriving, "--html", "p.html", env=two_sides, folder=tmp_path) as run:
        said(run.stderr, "waiting for pictures")
        grey(arriving / "one.png", 50)
        said(run.stdout, "one.png")
        children = descendants(run.pid)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        assert "1 inspection: 1 OK" in run.stdout.read()
    assert "one.png" in (tmp_path / "p.html").read_text()
    wait_until_gone(children)
    assert not shared_memory_of(run.pid)


def test_ctrl_c_among_many_pictures_tells_of_those_that_were_inspected(tmp_path):
    installed = install_algorithm(tmp_path / "installed", "slow", SLOW, steps=[{"index": 1, "name": "only"}])
    files = [grey(tmp_path / "first.png", 50), grey(tmp_path / "never.png", 250)]
    with going_on("run", "slow", *files, env=environment(installed), folder=tmp_path) as run:
        said(run.stdout, "first.png")
        children = descendants(run.pid)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        assert "1 inspection: 1 OK" in run.stdout.read()
    wait_until_gone(children)
    assert not shared_memory_of(run.pid)


def test_watching_inspects_again_when_the_picture_or_the_code_changes(tmp_path):
    folder = install_algorithm(tmp_path / "installed", "watched", ALGORITHM, steps=STEPS[:1])
    code = folder / "vendor_watched" / "__init__.py"
    picture = grey(tmp_path / "p.png", 50)
    with going_on("run", "watched", picture, "--watch", env=environment(folder), folder=tmp_path) as run:
        assert said(run.stdout, "p.png").split()[0] == "OK"
        said(run.stderr, "watching 1 picture")
        grey(picture, 201)
        assert "bright, first 201" in said(run.stdout, "p.png")
        said(run.stderr, "watching 1 picture")
        code.write_text("this is no Python")
        said(run.stderr, "error:")
        said(run.stderr, "waiting for a change")
        code.write_text(ALGORITHM.replace('WORD = "bright"', 'WORD = "far too bright"'))
        assert "far too bright, first 201" in said(run.stdout, "p.png")
        children = descendants(run.pid)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    wait_until_gone(children)
    assert not shared_memory_of(run.pid)


def test_on_a_terminal_the_verdict_of_a_watched_picture_stays_below_the_hosts_events(tmp_path):
    folder = install_algorithm(tmp_path / "installed", "watched", ALGORITHM, steps=STEPS[:1])
    picture = grey(tmp_path / "p.png", 201)
    leader, follower = pty.openpty()
    env = environment(folder) | {"COLUMNS": "150", "NO_COLOR": "1"}
    command = [*PROCVISION, "run", "watched", picture, "--watch"]
    written = ""
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=follower, stderr=follower) as run:
        os.close(follower)
        guard = threading.Timer(100, run.kill)
        guard.start()
        try:
            while "watching 1 picture" not in written:
                written += os.read(leader, 65536).decode()
            for process_id in descendants(run.pid):
                os.kill(process_id, signal.SIGKILL)
            while "host restarted" not in written:
                written += os.read(leader, 65536).decode()
            run.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # a terminal's end
                while more := os.read(leader, 65536):
                    written += more.decode()
            assert run.wait(60) == 130
        finally:
            guard.cancel()
            run.kill()
    os.close(leader)
    screen = on_screen(written.replace("\r\n", "\n"))
    restarted = max(at for at, line in enumerate(screen) if "host restarted" in line)
    verdict = max(at for at, line in enumerate(screen) if "NG" in line and "bright, first 201" in line)
    assert verdict > restarted


def test_a_terminal_shows_the_host_live_and_the_inspections_above_it(two_sides, pictures, tmp_path):
    leader, follower = pty.openpty()
    command = [*PROCVISION, "run", "two-sides", "--follow", ".", "--count", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=two_sides, stdout=follower, stderr=follower) as run:
        os.close(follower)
        guard = threading.Timer(100, run.kill)
        guard.start()
        shown = b""
        written = False
        while True:
            try:
                part = os.read(leader, 1 << 16)
            except OSError:  # the terminal's last writer has gone
                break
            shown += part
            if not written and b"waiting for pictures" in shown:
                written = True
                (tmp_path / "one.png").write_bytes((pictures / "b bright.png").read_bytes())
        guard.cancel()
        assert run.wait() == 1
    os.close(leader)
    text = shown.decode()
    assert "two-sides  " in text
    assert "MB" in text
    assert "one.png" in text
    assert "1 inspection: 1 NG" in text


def test_live_without_a_terminal_is_a_line_of_json_an_event_on_stderr(two_sides, pictures, tmp_path):
    with going_on(
        "run", "two-sides", "--follow", ".", "--count", 1, "--json", "--live", env=two_sides, folder=tmp_path
    ) as run:
        said(run.stderr, "waiting for pictures")
        grey(tmp_path / "one.png", 50)
        assert json.loads(said(run.stdout, "{"))["verdict"] == "OK"
        events = [json.loads(line)["event"] for line in run.stderr if line.startswith("{")]
        assert run.wait(60) == 0
    assert "call_ended" in events
    assert "snapshot" in events


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_host_is_started_with_is_said_on_the_command_line(tmp_path, count):
    """Its configuration, session store and hook plugins, and how long a call may take, for one picture and for many."""
    installed = install_algorithm(tmp_path / "installed", "slow", SLOW, steps=[{"index": 1, "name": "only"}])
    files = [grey(tmp_path / f"{number}.png", 10 + 200 * number) for number in range(count)]
    config = tmp_path / "host.toml"
    config.write_text("[hooks.json-lines]\ndirectory = " + json.dumps(str(tmp_path / "log")) + "\n")
    done = procvision(
        "run", "slow", *files, "--json", "--config", config, "--sessions", f"sqlite:{tmp_path}/s.db",
        "--hook", "json-lines", "--hook-option", "json-lines.max_files=3", "--timeout-s", "1.5",
        env=environment(installed),
    )  # fmt: skip
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    told = told["inspections"] if count > 1 else [told]
    assert [(each["verdict"], each["error_code"]) for each in told] == [("OK", ""), ("ERROR", "1005")][:count]
    assert (tmp_path / "s.db").exists()
    assert (tmp_path / "log" / "slow.jsonl").exists()
    for word in (
        "--config",
        "--sessions",
        "--hook json-lines",
        "--hook-option json-lines.max_files=3",
        "--timeout-s 1.5",
    ):
        assert word in told[0]["command"]


def test_a_host_that_refuses_its_configuration_is_an_error_and_no_verdict(tmp_path):
    """The exit status is 2, never 1."""
    installed = install_algorithm(tmp_path / "installed", "slow", SLOW, steps=[{"index": 1, "name": "only"}])
    config = tmp_path / "host.toml"
    config.write_text("sessions = [1")
    done = procvision("run", "slow", grey(tmp_path / "a.png", 5), "--config", config, env=environment(installed))
    assert done.returncode == 2
    assert "host.toml" in done.stdout + done.stderr


MEASURING = """
from procvision_sdk import BaseAlgorithm, Ok, read_image_from_shared_memory

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        self.diagnostics.publish("light", float(read_image_from_shared_memory(shared_mem_id, image_meta).mean()))
        self.diagnostics.publish("lamp", "left")
        return Ok()
"""


def test_what_is_published_is_told_beside_its_limits(tmp_path):
    """In the text, in JSON, and in an evaluation's report."""
    installed = install_algorithm(
        tmp_path / "installed", "measuring", MEASURING, steps=[{"index": 1, "name": "only"}],
        diagnostics={"light": {"unit": "lx", "min": 100, "description": "mean of the picture"}},
    )  # fmt: skip
    data = tmp_path / "set" / "part" / "test"
    for kind, level in (("good", 150), ("dark", 50)):
        (data / kind).mkdir(parents=True)
        grey(data / kind / "a.png", level)
    grey_file = data / "dark" / "a.png"
    env = environment(installed)
    text = procvision("run", "measuring", grey_file, env=env)
    assert "light  50 lx  (at least 100)" in text.stdout
    told = json.loads(procvision("run", "measuring", grey_file, "--json", env=env).stdout)
    assert told["debug"] == {"light": 50.0, "lamp": "left"}
    assert told["limits"] == {"light": {"unit": "lx", "min": 100.0, "max": None}}
    page = tmp_path / "page.html"
    done = procvision("evaluate", "measuring", tmp_path / "set", "--json", "-", "--html", page, env=env)
    pictures = json.loads(done.stdout)["pictures"]
    assert {picture["debug"]["light"] for picture in pictures} == {50.0, 150.0}
    assert "at least 100" in page.read_text()
