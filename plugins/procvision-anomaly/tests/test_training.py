"""`procvision train surface-anomaly`, from a folder to a model that inspects."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from textures import good

from procvision_anomaly import modelfile
from procvision_anomaly.description import Network
from procvision_tools.cli.main import status_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of a mesh."""
    made = tmp_path_factory.mktemp("good")
    for number in range(6):
        cv2.imwrite(str(made / f"{number}.png"), good("mesh", number)[:128, :128, ::-1])
    return made


def test_a_folder_becomes_a_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it tells is what the file says."""
    out = tmp_path / "mesh.model"
    params = ["--param", "pids=A-1, A-2", "--param", "working_size=96", "--param", "false_alarms=0.2"]
    assert status_of(["train", "surface-anomaly", str(folder), "--out", str(out), "--json", *params]) == 0
    told = json.loads(capsys.readouterr().out)
    model, digest = modelfile.read(out, Network())
    assert told["model_sha256"] == digest
    assert told["training_set_sha256"] == model.facts.training_sha256
    assert (model.facts.pids, model.facts.sizes.working_px, model.facts.pictures) == (["A-1", "A-2"], 96, 6)
    assert told["threshold_origin"] == model.facts.threshold(0.2).told()


def test_copies_make_no_other_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under another name, or saved in another way: three distinct ones are too few, and the copies are named."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(3):
        picture = cv2.imread(str(folder / f"{number}.png"))
        for compression in (0, 5, 9):
            name = str(copies / f"{number} {compression}.png")
            cv2.imwrite(name, picture, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    assert status_of(["train", "surface-anomaly", str(copies), "--out", str(tmp_path / "model")]) == 2
    error = capsys.readouterr().err
    assert "3 pictures are too few, at least 5 different ones" in error
    assert "0 9.png" in error


def test_a_folder_that_can_t_be_learnt_from_is_an_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the model of before stays."""
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes((folder / "0.png").read_bytes())
    out = tmp_path / "mesh.model"
    out.write_bytes(b"the model of before")
    assert status_of(["train", "surface-anomaly", str(few), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "error: 1 pictures are too few, at least 5" in error
    assert "hint: 20 to 50" in error
    assert out.read_bytes() == b"the model of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "mesh.model"]
