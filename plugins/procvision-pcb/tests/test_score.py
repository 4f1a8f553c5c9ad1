"""How sure a difference is, and by what."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_pcb import score
from procvision_pcb.compare import Finding, Reference

Gray = NDArray[np.uint8]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def learn_score() -> ModuleType:
    """The script that makes the weights, imported."""
    spec = importlib.util.spec_from_file_location("procvision_pcb_learn_score", BENCHMARKS / "learn_score.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(BENCHMARKS))  # as Python does for a script
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def tracks() -> Gray:
    picture = np.full((480, 640), 255, np.uint8)
    for y in range(40, 440, 40):
        picture[y : y + 16, 20:620] = 0
    return picture


def trembling(picture: Gray, px: float, seed: int) -> Gray:
    random = np.random.default_rng(seed)
    moves = [cv2.GaussianBlur(random.standard_normal(picture.shape).astype(np.float32), (0, 0), 2) for _ in range(2)]
    y, x = np.indices(picture.shape, dtype=np.float32)
    dx, dy = (px * move / move.std() for move in moves)
    seen = cv2.remap(picture, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(np.asarray(seen) > 127, np.uint8(255), np.uint8(0))


def with_a_spur(picture: Gray, reach_px: int) -> Gray:
    spoilt = picture.copy()
    spoilt[130 : 136 + reach_px, 300:308] = 0
    return spoilt


def at_the_spur(findings: list[Finding]) -> float:
    return max((f.score for f in findings if f.box[0] < 304 < f.box[0] + f.box[2] and 100 < f.box[1] < 140), default=0)


def test_the_same_spur_is_surer_beside_still_edges_than_among_trembling_ones() -> None:
    """What the board's own edges look like decides."""
    still = Reference(tracks()).compare(with_a_spur(tracks(), 6)).findings
    rough = Reference(trembling(tracks(), 0.9, 1)).compare(with_a_spur(trembling(tracks(), 0.9, 2), 6)).findings
    assert at_the_spur(still) > 0.9
    assert at_the_spur(rough) < at_the_spur(still)


@pytest.mark.parametrize("px", [0.4, 0.7, 1.0])
def test_trembling_edges_alone_are_no_defects(px: float) -> None:
    """Of six boards, each held against another picture of it."""
    for seed in range(6):
        reference, picture = (trembling(tracks(), px, 10 * seed + n) for n in (1, 2))
        assert [f for f in Reference(reference).compare(picture).findings if f.score >= 0.5] == []


@pytest.mark.parametrize("px", [0.4, 0.7, 1.0])
def test_a_large_spur_among_trembling_edges_is_found(px: float) -> None:
    """Nothing else is."""
    reference, picture = trembling(tracks(), px, 1), with_a_spur(trembling(tracks(), px, 2), 14)
    assert [f.label for f in Reference(reference).compare(picture).findings if f.score >= 0.5] == ["spur"]


@pytest.mark.parametrize(("period", "width"), [(9, 3), (10, 5), (12, 8), (14, 6), (20, 10)])
@pytest.mark.parametrize("side", [60, 120, 200, 300])
def test_other_tracks_in_a_part_of_a_board_are_never_ok(period: int, width: int, side: int) -> None:
    """However much of it differs: that isn't trembling, though an edge is near everywhere."""
    reference = np.full((640, 640), 255, np.uint8)
    for x in range(20, 620, period):
        reference[20:620, x : x + width] = 0
    picture = reference.copy()
    part = picture[200 : 200 + side, 200 : 200 + side]
    part[:] = 255
    for y in range(0, side, period):
        part[y : y + width] = 0
    assert any(finding.score >= 0.5 for finding in Reference(reference).compare(picture).findings)


def test_a_ragged_growth_on_both_sides_of_a_track_is_one_spur() -> None:
    """Its teeth are pieces of one defect."""
    reference = tracks()
    reference[130:136] = 255  # the track at 120 is ten pixels wide now
    picture = reference.copy()
    for x in range(300, 330, 10):
        picture[112:120, x : x + 5] = picture[130:138, x + 3 : x + 8] = 0
    findings = [f for f in Reference(reference).compare(picture).findings if f.score >= 0.5]
    assert [f.label for f in findings] == ["spur"]
    x, y, width, height = findings[0].box
    assert x <= 300 and y <= 112 and x + width >= 328 and y + height >= 138


def test_two_spurs_that_lie_apart_stay_two() -> None:
    """Each with its own box."""
    picture = tracks()
    picture[136:144, 300:308] = picture[136:144, 340:348] = 0
    assert [f.label for f in Reference(tracks()).compare(picture).findings if f.score >= 0.5] == ["spur", "spur"]


def test_the_weights_say_what_they_were_made_of() -> None:
    """And are small."""
    stored = files("procvision_pcb").joinpath(score.WEIGHTS).read_bytes()
    assert len(stored) < 50_000
    provenance = json.loads(stored)["provenance"]
    assert provenance["made_by"].startswith("plugins/procvision-pcb/benchmarks/learn_score.py")
    assert provenance["pairs"] > 0
    assert "DeepPCB" in provenance["data"]


def test_scores_stay_between_zero_and_one_for_any_features() -> None:
    """Beyond what was learnt from, a feature counts as the farthest that is known."""
    features = np.array([[1e9] * len(score.FEATURES), [-1e9] * len(score.FEATURES)], np.float32)
    scores = score.learnt().scores(features)
    assert np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()


def test_a_fitted_network_tells_apart_what_can_be_told_apart(learn_score: ModuleType) -> None:
    """And the same examples give the same weights."""
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (6000, len(score.FEATURES))).astype(np.float32)
    labels = (features[:, 0] * features[:, 1] > 0).astype(np.float32)  # nothing linear tells these apart

    class Candidates:
        pass

    candidates = Candidates()
    candidates.features = features  # type: ignore[attr-defined]
    known = [learn_score.Example(None, "made", candidates, labels, np.ones(len(labels), np.float32))]
    scorer = learn_score.fitted(known)
    assert np.mean((scorer.scores(features) > 0.5) == (labels > 0)) > 0.9
    again = score.unpacked(json.loads(json.dumps(score.weights_of(learn_score.fitted(known)))))
    np.testing.assert_allclose(again.scores(features), scorer.scores(features), atol=1e-3)
