"""`procvision train` with trainers as vendors may write them: it is a process's end, and a file's, that count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peer_plugins import install
from PIL import Image

from procvision_tools.training.parent import _linked_from

TRAINER = """
import os, signal, sys, time
from procvision_sdk.manifest.parameters import FloatParameter, StringParameter
from procvision_sdk.training import Trainer, TrainingError

def train(pictures, out, params, progress):
    print("a vendor prints")
    os.write(1, b"and writes\\n")
    progress(0.5, "half")
    act = params["act"]
    if act == "refuse":
        raise TrainingError("too few; hint: bring more")
    if act == "raise":
        raise ValueError("no matrix")
    if act == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "exit":
        os._exit(0)
    if act == "wait":
        out.write_text("half a model")
        print("waiting", file=sys.stderr, flush=True)
        time.sleep(60)
    if act == "forget":
        return {}
    if act == "link":
        os.symlink(sys.executable, out)
        return {}
    if act.startswith("do "):
        exec(act[3:], globals())
    out.write_text(" ".join(f"{one.name}:{one.pixels().shape}" for one in pictures))
    if act == "strange":
        return {"a": object()}
    return {"pictures": len(pictures), "rate": params["rate"], "hashes": [one.sha256[:4] for one in pictures]}

TRAINER = Trainer(
    parameters=(StringParameter(key="act", default=""), FloatParameter(key="rate", default=0.5, max=1.0)), train=train
)
NO_TRAINER = 3
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A distribution with a trainer, and one whose entry point names none."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "vendor_of_trainer.py").write_text(TRAINER)
    brings = {"learner": "vendor_of_trainer:TRAINER", "stranger": "vendor_of_trainer:NO_TRAINER"}
    install(folder, "vendor-of-trainer", {"procvision.trainers": brings}, "1.0")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them below."""
    made = tmp_path / "good"
    (made / "more").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(made / "a.png")
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(made / "more" / "b.png")
    (made / "notes.txt").write_text("not a picture")
    return made


def trained(
    environment: dict[str, str], folder: Path, out: Path, *more: str, name: str = "learner"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "procvision_tools.cli.main", "train", name, str(folder), "--out", str(out)]
    return subprocess.run([*command, *more], capture_output=True, text=True, env=environment, check=False, timeout=60)


def test_a_model_is_put_in_place_and_told_of(environment: dict[str, str], folder: Path, tmp_path: Path) -> None:
    """Pictures come decoded and by name; what the trainer prints is no part of the answer."""
    out = tmp_path / "model"
    done = trained(environment, folder, out, "--json", "--param", "rate=0.25")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["algorithm"], told["file"], told["pictures"], told["rate"]) == ("learner", str(out), 2, 0.25)
    assert out.read_text() == "a.png:(4, 6, 3) more/b.png:(4, 6, 3)"
    assert "a vendor prints" in done.stderr
    assert "and writes" in done.stderr


@pytest.mark.parametrize(
    ("act", "text"),
    [
        ("refuse", "error: too few\n  1 file was left out, no picture: notes.txt\nhint: bring more"),
        ("raise", "error: ValueError in the trainer: no matrix"),
        ("die", "error: the process that trains learner"),
        ("exit", "error: the process that trains learner"),
        ("forget", "wrote no model"),
        ("strange", "what the trainer tells.a is a object"),
    ],
)
def test_a_trainer_that_fails_leaves_the_model_of_before(
    environment: dict[str, str], folder: Path, tmp_path: Path, act: str, text: str
) -> None:
    """And nothing beside it; the error says how it ended."""
    out = tmp_path / "model"
    out.write_text("the model of before")
    done = trained(environment, folder, out, "--param", f"act={act}")
    assert done.returncode == 2
    assert text in done.stderr
    assert out.read_text() == "the model of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "model"]


def test_an_interrupted_training_leaves_nothing(environment: dict[str, str], folder: Path, tmp_path: Path) -> None:
    """SIGTERM to the command alone: the process that trains goes with it, and what it had written."""
    out = tmp_path / "model"
    out.write_text("the model of before")
    command = [sys.executable, "-m", "procvision_tools.cli.main", "train", "learner", str(folder), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--param", "act=wait"], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert any(line == "waiting\n" for line in process.stderr)
        process.terminate()
        assert process.wait(30) == 143
        assert process.stderr.read() == "ended by SIGTERM\n"
    assert out.read_text() == "the model of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "model"]


def test_a_wrong_command_line_is_64(environment: dict[str, str], folder: Path, tmp_path: Path) -> None:
    """With what there is instead."""
    out = tmp_path / "model"
    for more, name, text in (
        (("--param", "rate=2"), "learner", "--param rate is 2.0, allowed is -inf..1.0"),
        (("--param", "speed=2"), "learner", "learner has no such parameter\nhint: it has act, rate"),
        ((), "nobody", "no trainer for 'nobody'"),
    ):
        done = trained(environment, folder, out, *more, name=name)
        assert (done.returncode, text in done.stderr) == (64, True), done.stderr
    assert not out.exists()


def test_a_broken_entry_point_or_picture_is_an_error(environment: dict[str, str], folder: Path, tmp_path: Path) -> None:
    """By name."""
    out = tmp_path / "model"
    done = trained(environment, folder, out, name="stranger")
    assert (done.returncode, "NO_TRAINER is int" in done.stderr) == (2, True), done.stderr
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes()[:40])
    done = trained(environment, folder, out)
    assert (done.returncode, "c.png" in done.stderr) == (2, True), done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    done = trained(environment, empty, out)
    assert (done.returncode, "there is no picture in" in done.stderr) == (2, True), done.stderr


DEEDS = """
import socket
from pathlib import Path
outcomes = []
for deed in (
    lambda: Path({secret!r}).read_text(), lambda: Path({beside!r}).write_text("x"), lambda: os.listdir({home!r}),
    lambda: socket.create_connection(("127.0.0.1", 9)), lambda: os.kill(os.getppid(), 0),
    lambda: os.chmod({secret!r}, 0o600),
):
    try: outcomes.append(deed() or "done")
    except OSError as error: outcomes.append(type(error).__name__ if error.errno != 30 else "PermissionError")
raise TrainingError(f"outcomes {{outcomes}}")
"""


def test_a_trainer_has_its_pictures_and_its_model_alone(
    environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    """What it isn't given is refused; without isolation the same is possible."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    code = DEEDS.format(secret=str(secret), beside=str(tmp_path / "beside"), home=str(Path.home()))
    done = trained(environment, folder, tmp_path / "m", "--param", f"act=do {code}")
    assert f"outcomes {['PermissionError'] * 6}" in done.stderr, done.stderr
    free = trained(environment, folder, tmp_path / "m", "--param", f"act=do {code}", "--isolation", "off")
    assert "outcomes ['secret', 1" in free.stderr, free.stderr
    assert "'ConnectionRefusedError', 'done', 'done']" in free.stderr


def test_pictures_behind_links_are_learnt_from_too(tmp_path: Path) -> None:
    """Files, folders, and links that lie in those: the trainer is shut in, and may read what the folder leads to."""
    folder, far, farther = tmp_path / "good", tmp_path / "far", tmp_path / "farther"
    for place in (folder, far, farther):
        place.mkdir()
        (place / "x.png").touch()
    (folder / "more").symlink_to(far)
    (far / "x").symlink_to(farther / "x.png")
    (far / "back").symlink_to(folder)
    (folder / "gone").symlink_to("nowhere")
    assert {path.name for path in _linked_from(folder)} == {"far", "x.png", "good"}
    assert set(_linked_from(folder)) == {far.resolve(), (farther / "x.png").resolve(), folder.resolve()}


def test_a_model_that_is_a_link_is_none(environment: dict[str, str], folder: Path, tmp_path: Path) -> None:
    """It would be read wherever it leads."""
    done = trained(environment, folder, tmp_path / "m", "--param", "act=link")
    assert done.returncode == 2
    assert "wrote no file, but a link" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good"]
