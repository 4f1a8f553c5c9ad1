"""Through a real host and the platform's runner, hostile pictures included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from anomaly_files import rewritten
from textures import bad, good

from procvision_anomaly import modelfile
from procvision_runner import CallFailedError, Runner

NOISE = np.random.default_rng(3).integers(0, 256, (320, 320, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """A host with `surface-anomaly`."""
    with Runner("surface-anomaly") as running:
        yield running


def test_an_inspection(runner: Runner, model_file: Path) -> None:
    """pre reads the model and tells where it comes from; good is OK, a hole NG with its place."""
    params = {"model": str(model_file)}
    _, digest = modelfile.read(model_file)
    ready = runner.pre_execute(pid="cloth", user_params=params)
    assert ready.status == "OK"
    assert ready.debug["model"] == digest
    assert "held out of learning" in ready.debug["threshold_origin"]
    fine = runner.execute(good("weave", 501), pid="cloth", user_params=params)
    assert fine.verdict == "OK"
    assert 0 < fine.debug["score"] < 1
    picture, mask = bad("weave", "hole", 1)
    found = runner.execute(picture, pid="cloth", user_params=params)
    assert found.verdict == "NG"
    assert found.debug["score"] > 1
    worst = max(found.defects, key=lambda defect: defect.score)
    rows, columns = np.nonzero(mask)
    assert worst.x <= columns.mean() <= worst.x + worst.width
    assert worst.y <= rows.mean() <= worst.y + worst.height


def test_sensitivity_and_min_area_do_what_they_say(runner: Runner, model_file: Path) -> None:
    """A higher one finds more; a region under the area isn't reported."""
    picture, _ = bad("weave", "dent", 2)
    scores = [
        runner.execute(picture, pid="cloth", user_params={"model": str(model_file), "sensitivity": s}).debug["score"]
        for s in (0.5, 1.0, 2.0)
    ]
    assert scores == pytest.approx([scores[1] / 2, scores[1], scores[1] * 2], rel=1e-3)
    hole, _ = bad("weave", "hole", 1)
    params = {"model": str(model_file), "min_area": 100_000}
    assert runner.execute(hole, pid="cloth", user_params=params).verdict == "OK"


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((320, 320, 3), np.uint8),
        np.full((320, 320, 3), 255, np.uint8),
        np.full((320, 320), 90, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((320, 321, 3), np.uint8),
        np.full((4000, 5000), 128, np.uint8),
        np.tile(good("weave", 600), (13, 16, 1)),
    ],
    ids=["black", "white", "grey", "1x1", "another size", "20 megapixels", "20 megapixels of cloth"],
)
def test_what_can_t_be_judged_is_an_error(runner: Runner, model_file: Path, picture: np.ndarray) -> None:
    """1006, with the bound and the value."""
    answer = runner.execute(picture, pid="cloth", user_params={"model": str(model_file)})
    assert (answer.status, answer.error_code, answer.verdict) == ("ERROR", "1006", None)
    assert "px" in answer.message or "contrast" in answer.message


@pytest.mark.parametrize(
    "picture",
    [NOISE, NOISE // 4, good("brushed", 1), good("mesh", 1), good("grain", 1), 255 - good("weave", 1)],
    ids=["noise", "dark noise", "metal", "mesh", "leather", "negative"],
)
def test_another_surface_is_never_ok(runner: Runner, model_file: Path, picture: np.ndarray) -> None:
    """Of the right size, and full of contrast."""
    assert runner.execute(picture, pid="cloth", user_params={"model": str(model_file)}).verdict == "NG"


def test_twenty_megapixels_are_inspected(runner: Runner, model_file: Path, tmp_path: Path) -> None:
    """By a model that says it is for them: reduced first, so that it takes no longer than a small one."""
    path = tmp_path / "large.model"
    path.write_bytes(rewritten(model_file.read_bytes(), lambda header: header["facts"].update(width=5000, height=4000)))
    picture = np.tile(good("weave", 600), (13, 16, 1))[:4000, :5000].copy()
    found = runner.execute(picture, pid="cloth", user_params={"model": str(path)})
    assert found.verdict == "NG"
    assert all(defect.x + defect.width <= 5000 and defect.y + defect.height <= 4000 for defect in found.defects)


def test_half_a_picture_is_ng(runner: Runner, model_file: Path) -> None:
    """A band that didn't arrive."""
    picture = good("weave", 7)
    picture[200:] = 0
    found = runner.execute(picture, pid="cloth", user_params={"model": str(model_file)})
    assert found.verdict == "NG"


def test_without_its_model_there_is_no_verdict(runner: Runner, model_file: Path, tmp_path: Path) -> None:
    """Missing, damaged, another product's: 1003, in pre as well; no parameter or no picture: refused by the host."""
    damaged = tmp_path / "damaged.model"
    damaged.write_bytes(model_file.read_bytes()[:-5])
    for path, pid in ((tmp_path / "gone", "cloth"), (tmp_path, "cloth"), (damaged, "cloth"), (model_file, "leather")):
        params = {"model": str(path)}
        answers = [
            runner.execute(good("weave", 1), pid=pid, user_params=params),
            runner.pre_execute(pid=pid, user_params=params),
        ]
        assert [(answer.status, answer.error_code) for answer in answers] == [("ERROR", "1003")] * 2
    for image, params, code in (
        (good("weave", 1), {}, "1006"),
        (None, {"model": str(model_file)}, "1002"),
    ):
        with pytest.raises(CallFailedError) as raised:
            runner.execute(image, pid="cloth", user_params=params)
        assert raised.value.error_code == code
    with pytest.raises(TypeError, match="uint16"):
        runner.execute(np.zeros((320, 320), np.uint16), pid="cloth", user_params={"model": str(model_file)})
