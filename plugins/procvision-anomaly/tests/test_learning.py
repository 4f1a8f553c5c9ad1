"""What is learnt, and from what nothing is."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from textures import DEFECTS, MISSING, bad, good

from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.features import Rgb
from procvision_anomaly.learning import GoodPicture, Settings, learnt
from procvision_anomaly.model import Model
from procvision_anomaly.regions import regions


def told(count: int, *shapes: tuple[int, int]) -> list[GoodPicture]:
    rng = np.random.default_rng(1)
    sizes = [*shapes, *[(96, 128)] * (count - len(shapes))]
    return [
        GoodPicture(f"{n}.png", f"{n:064x}", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for n, size in enumerate(sizes)
    ]


def silent(share: float, text: str) -> None:
    """Nobody is told."""


@pytest.mark.parametrize("defect", sorted({*DEFECTS, MISSING} - {"dent"}))
def test_what_it_was_never_told_of_is_found_where_it_is(model: Model, defect: str) -> None:
    """On cloth; its faintest dents are among what the documents name as not found."""
    for seed in range(3):
        picture, mask = bad("weave", defect, seed)
        found = regions(model.score_map(picture), 1.0, 320, 320, 0)
        rows, columns = np.nonzero(mask)
        centre = (columns.mean(), rows.mean())
        assert any(
            r.box[0] <= centre[0] <= r.box[0] + r.box[2] and r.box[1] <= centre[1] <= r.box[1] + r.box[3] for r in found
        )


def test_good_pictures_that_it_never_saw_are_under_the_threshold(model: Model) -> None:
    """The threshold comes from pictures that were held out."""
    scores = [float(model.score_map(good("weave", 500 + seed)).max()) for seed in range(8)]
    assert sum(score > 1 for score in scores) <= 1
    origin = model.facts.threshold
    assert len(origin.held_out_scores) == 16
    assert origin.value == pytest.approx(max(origin.held_out_scores) * 1.2, rel=1e-4)
    assert "each held out of learning in one of 4 folds" in origin.told()


def test_the_training_set_s_hash_is_that_of_its_files(model: Model) -> None:
    """Whatever their order and names."""
    hashes = sorted(f"{number:064x}" for number in range(16))
    assert model.facts.training_sha256 == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_where_a_thing_lies_counts_if_it_is_asked_for() -> None:
    """A mark in another's place is nothing new to a texture, and wrong in what is aligned."""

    def marked(x: int, seed: int) -> Rgb:
        picture = np.random.default_rng(seed).normal(200, 3, (128, 256, 3))
        picture[50:70, x : x + 20] = 40
        return picture.astype(np.uint8)

    good_ones = [GoodPicture(str(n), f"{n:064x}", marked(40, n)) for n in range(6)]
    peaks = {}
    for layout in ("texture", "aligned"):
        learnt_so = learnt(good_ones, Settings(layout=layout), silent)
        assert float(learnt_so.score_map(marked(40, 99)).max()) < 1
        peaks[layout] = float(learnt_so.score_map(marked(168, 98)).max())
    assert peaks["aligned"] > 1
    assert peaks["aligned"] > 3 * peaks["texture"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (told(4), "4 pictures are too few, at least 5"),
        (told(6, (96, 128), (96, 120)), "1.png is 120 x 96 px, 0.png is 128 x 96 px"),
        (told(5, *[(40, 500)] * 5), "500 x 40 px, each side has at least 64"),
        ([*told(6), GoodPicture("dark.png", "0" * 64, np.zeros((96, 128, 3), np.uint8))], "dark.png has a contrast"),
    ],
)
def test_what_can_t_be_learnt_from_is_refused_by_name(given: list[GoodPicture], text: str) -> None:
    """With the bound and the value."""
    with pytest.raises(NotInspectableError, match=text):
        learnt(given, Settings(), silent)


def test_a_working_size_that_leaves_nothing_to_see_is_refused() -> None:
    """A long strip reduced to its longer side."""
    with pytest.raises(NotInspectableError, match="64 x 10 px, each side has at least 28 px; hint: raise working_size"):
        learnt(told(5, *[(100, 640)] * 5), Settings(working_px=64), silent)


def test_the_same_pictures_and_seed_give_the_same_model() -> None:
    """To the last bit."""
    first, second = (learnt(told(6), Settings(seed=4), silent) for _ in range(2))
    assert first.facts == second.facts
    for key, memory in first.memories.items():
        assert np.array_equal(memory.examples, second.memories[key].examples)
