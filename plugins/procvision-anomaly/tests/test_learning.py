"""What is learnt, and from what nothing is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs
import numpy as np
import pytest
from anomaly_files import Given
from textures import DEFECTS, MISSING, bad, good

from procvision_anomaly import modelfile
from procvision_anomaly.description import Network
from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.gaussian import Gaussian
from procvision_anomaly.learning import Settings, learnt
from procvision_anomaly.memory import Memory
from procvision_anomaly.model import Model
from procvision_anomaly.regions import regions
from procvision_anomaly.sizes import Layout


def told(count: int, *shapes: tuple[int, int]) -> list[Given]:
    """Noise, the first ones of these (height, width)."""
    rng = np.random.default_rng(1)
    sizes = [*shapes, *[(96, 128)] * (count - len(shapes))]
    return [Given(f"{n}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for n, size in enumerate(sizes)]


def silent(share: float, text: str) -> None:
    """Nobody is told."""


@pytest.mark.parametrize("defect", sorted({*DEFECTS, MISSING} - {"dent"}))
def test_what_it_was_never_told_of_is_found_where_it_is(model: Model, defect: str) -> None:
    """On cloth, by twenty good pictures; its faintest dents lie at the threshold then."""
    threshold = model.facts.threshold().value
    for seed in range(3):
        picture, mask = bad("weave", defect, seed)
        found = regions(model.score_map(picture), threshold, 320, 320, 0)
        rows, columns = np.nonzero(mask)
        centre = (columns.mean(), rows.mean())
        assert any(
            r.box[0] <= centre[0] <= r.box[0] + r.box[2] and r.box[1] <= centre[1] <= r.box[1] + r.box[3] for r in found
        )


def test_good_pictures_that_it_never_saw_are_under_the_threshold(model: Model) -> None:
    """The threshold comes from pictures that were held out."""
    threshold = model.facts.threshold()
    scores = [float(model.score_map(good("weave", 500 + seed)).max()) for seed in range(10)]
    assert sum(score > threshold.value for score in scores) <= 3
    assert len(model.facts.held_out_scores) == threshold.pictures == 20
    assert threshold.above == 2
    assert "2 of 20 held-out good pictures reach it, the rate is 1.2% to 24.9%" in threshold.told()


def test_a_prepared_model_has_its_network_and_scores_alike(model_file: Path) -> None:
    """What `pre` does ahead of the first picture changes nothing of it."""
    prepared, _ = modelfile.read(model_file, Network())
    prepared.prepare()
    assert "_session" in vars(prepared.network)
    plain, _ = modelfile.read(model_file, Network())
    assert "_session" not in vars(plain.network)
    assert np.array_equal(prepared.score_map(good("weave", 41)), plain.score_map(good("weave", 41)))


def test_the_rate_of_false_alarms_is_set_after_training(model: Model) -> None:
    """A lower rate, a higher threshold."""
    values = [model.facts.threshold(rate).value for rate in (0.3, 0.1, 0.001)]
    assert values == sorted(values)
    assert model.facts.threshold(0.1) == model.facts.threshold()


def test_the_training_set_s_hash_is_that_of_its_files(model: Model) -> None:
    """Whatever their order and names."""
    hashes = sorted(hashlib.sha256(good("weave", number).tobytes()).hexdigest() for number in range(20))
    assert model.facts.training_sha256 == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_where_a_thing_lies_counts_if_it_is_asked_for() -> None:
    """A mark in another's place is nothing new to a texture, and wrong in what is aligned."""

    def marked(x: int, seed: int) -> np.ndarray:
        picture = np.random.default_rng(seed).normal(200, 3, (128, 256, 3))
        picture[50:70, x : x + 20] = 40
        return picture.astype(np.uint8)

    good_ones = [Given(str(n), marked(40, n)) for n in range(8)]
    peaks = {}
    for layout, kind in (("texture", Memory), ("aligned", Gaussian)):
        learnt_so = learnt(good_ones, Settings(layout=layout), silent)  # type: ignore[arg-type]
        assert all(isinstance(scale.detector, kind) for scale in learnt_so.scales.values())
        threshold = learnt_so.facts.threshold().value
        assert float(learnt_so.score_map(marked(40, 99)).max()) < threshold
        peaks[layout] = float(learnt_so.score_map(marked(168, 98)).max()) / threshold
    assert peaks["aligned"] > 1
    assert peaks["aligned"] > 3 * peaks["texture"]


@pytest.mark.parametrize("layout", ["aligned", "texture"])
def test_pictures_of_mixed_sizes_make_one_model(layout: Layout) -> None:
    """Crops of cloth; a hole in one of a size that no good one had is found."""
    rng = np.random.default_rng(5)

    def crop(picture: np.ndarray) -> np.ndarray:
        height, width = rng.integers(130, 240, 2)
        return picture[:height, :width].copy()

    model = learnt([Given(str(n), crop(good("weave", n))) for n in range(16)], Settings(layout=layout), silent)
    threshold = model.facts.threshold().value
    assert model.facts.sizes.mixed
    scores = [float(model.score_map(crop(good("weave", 900 + n))).max()) for n in range(6)]
    assert sum(score > threshold for score in scores) <= 1
    spoiled = good("weave", 950)[:261, :163].copy()
    spoiled[100:116, 60:76] = 5
    (worst, *_) = regions(model.score_map(spoiled), threshold, 163, 261, 0)
    x, y, width, height = worst.box
    assert x <= 68 <= x + width and y <= 108 <= y + height


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (told(4), "4 pictures are too few, at least 5"),
        (told(5, *[(40, 500)] * 5), "0.png is 500 x 40 px, each side has at least 64"),
        ([*told(6), Given("dark.png", np.zeros((96, 128, 3), np.uint8))], "dark.png has a contrast"),
    ],
    ids=["few", "small", "dark"],
)
def test_what_can_t_be_learnt_from_is_refused_by_name(given: list[Given], text: str) -> None:
    """With the bound and the value."""
    with pytest.raises(NotInspectableError, match=text):
        learnt(given, Settings(), silent)


@pytest.mark.parametrize("layout", ["aligned", "texture"])
def test_the_same_pictures_and_seed_give_the_same_model(layout: Layout) -> None:
    """To the last bit."""
    first, second = (learnt(told(6), Settings(layout=layout, seed=4), silent) for _ in range(2))
    assert first.facts == second.facts
    for scale, one in first.scales.items():
        for field in attrs.fields(type(one.detector)):
            mine, other = getattr(one.detector, field.name), getattr(second.scales[scale].detector, field.name)
            assert not isinstance(mine, np.ndarray) or np.array_equal(mine, other)


def test_a_fold_s_pictures_had_no_part_in_what_they_are_held_against() -> None:
    """One odd picture among alike ones is far from the others' model, and near to its own."""
    rng = np.random.default_rng(8)
    given = [Given(str(n), rng.normal(120, 6, (96, 96, 3)).astype(np.uint8)) for n in range(12)]
    odd = rng.normal(120, 6, (96, 96, 3))
    odd[30:60, 30:60] += 90
    given.insert(6, Given("odd", odd.clip(0, 255).astype(np.uint8)))
    scores = learnt(given, Settings(), silent).facts.held_out_scores
    assert int(np.argmax(scores)) == 6
    assert scores[6] > 1.5 * max(scores[:6] + scores[7:])
