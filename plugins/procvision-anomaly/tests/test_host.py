"""Through a real host and the platform's runner, hostile pictures included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anomaly_files import rewritten
from textures import bad, good

from procvision_anomaly import modelfile
from procvision_anomaly.description import Network
from procvision_runner import CallFailedError, Runner, RunnerOptions

NOISE = np.random.default_rng(3).integers(0, 256, (320, 320, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A host with `surface-anomaly`, shut in: it reads the models, which its parameters name."""
    options = RunnerOptions(isolation="strict", readable=(tmp_path_factory.getbasetemp(),))
    with Runner("surface-anomaly", options=options) as running:
        yield running


def test_an_inspection(runner: Runner, model_file: Path) -> None:
    """pre reads the model and tells where it comes from; good is OK, a hole NG with its place."""
    params = {"model": str(model_file)}
    _, digest = modelfile.read(model_file, Network())
    ready = runner.pre_execute(pid="cloth", user_params=params)
    assert ready.status == "OK"
    assert ready.debug["model"] == digest
    assert "2 of 20 held-out good pictures reach it" in ready.debug["threshold_origin"]
    assert "Apache-2.0" in ready.debug["network"]
    assert ready.debug["false_alarms_between"] == pytest.approx([0.01235, 0.24873], abs=1e-4)
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


def test_a_call_may_ask_for_another_rate_of_false_alarms(runner: Runner, model_file: Path) -> None:
    """A higher one has a lower threshold; what is no rate is refused by the host."""
    picture, _ = bad("weave", "dent", 2)
    scores = [
        runner.execute(picture, pid="cloth", user_params={"model": str(model_file), "false_alarms": rate}).debug[
            "score"
        ]
        for rate in (0.001, 0.1, 0.5)
    ]
    assert scores == sorted(scores)
    assert scores[0] < scores[2]
    default = runner.execute(picture, pid="cloth", user_params={"model": str(model_file)}).debug["score"]
    assert default == scores[1]
    with pytest.raises(CallFailedError, match="false_alarms"):
        runner.execute(picture, pid="cloth", user_params={"model": str(model_file), "false_alarms": 0})


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


def test_twenty_five_megapixels_are_inspected(runner: Runner, model_file: Path, tmp_path: Path) -> None:
    """By a model that says it is for them: reduced first, so that they take little longer than a small one."""

    def for_large(header: dict[str, Any]) -> None:
        for key in ("width", "least_width", "most_width", "height", "least_height", "most_height"):
            header["facts"]["sizes"][key] = 5120

    path = tmp_path / "large.model"
    path.write_bytes(rewritten(model_file.read_bytes(), for_large))
    picture, mask = bad("weave", "hole", 1)
    found = runner.execute(
        np.kron(picture, np.ones((16, 16, 1), np.uint8)), pid="cloth", user_params={"model": str(path)}
    )
    assert found.verdict == "NG"
    worst = max(found.defects, key=lambda defect: defect.score)
    rows, columns = np.nonzero(mask)
    assert worst.x <= 16 * columns.mean() <= worst.x + worst.width <= 5120
    assert worst.y <= 16 * rows.mean() <= worst.y + worst.height <= 5120


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
