"""The measures beside those of pycocotools and scikit-learn, on many random pictures."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from procvision_sdk.results import Defect
from procvision_tools.datasets import Sample, Truth
from procvision_tools.evaluation.detection import curves, detect_by_label
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.ranking import auroc

LABELS = ("a", "b", "c")
RECALLS = np.linspace(0, 1, 101)


def random_pictures(seed: int, count: int = 40) -> list[Observation]:
    """Truths, findings near some of them, and findings anywhere; no score twice."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(count * 20) / (count * 20))
    pictures = []
    for number in range(count):
        truths = [
            Truth(*rng.uniform(0, 80, 2).round(2), *rng.uniform(8, 30, 2).round(2), str(rng.choice(LABELS)))
            for _ in range(rng.integers(0, 6))
        ]
        findings = []
        for truth in truths:
            for _ in range(rng.integers(0, 3)):
                x, y = np.array([truth.x, truth.y]) + rng.normal(0, 3, 2)
                label = truth.label if rng.random() < 0.8 else str(rng.choice(LABELS))
                findings.append(Defect(float(x), float(y), truth.width, truth.height, label, float(next(scores))))
        for _ in range(rng.integers(0, 3)):
            x, y, width, height = (float(v) for v in rng.uniform(5, 40, 4))
            findings.append(Defect(x, y, width, height, str(rng.choice(LABELS)), float(next(scores))))
        sample = Sample(name=str(number), image=Path("p"), truths=tuple(truths), defective=bool(truths))
        pictures.append(Observation(sample=sample, verdict="NG", findings=tuple(findings)))
    return pictures


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("min_iou", [0.33, 0.5, 0.75])
def test_precision_at_101_recalls_is_what_pycocotools_says(seed, min_iou):
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is the reference")
    from pycocotools.cocoeval import COCOeval

    pictures = random_pictures(seed)
    truths, found = [], []
    for number, picture in enumerate(pictures, 1):
        for truth in picture.sample.truths:
            truths.append({
                "id": len(truths) + 1, "image_id": number, "category_id": LABELS.index(truth.label) + 1, "iscrowd": 0,
                "bbox": [truth.x, truth.y, truth.width, truth.height], "area": truth.width * truth.height,
            })  # fmt: skip
        found += [
            {"image_id": number, "category_id": LABELS.index(f.label) + 1, "score": f.score,
             "bbox": [f.x, f.y, f.width, f.height]}
            for f in picture.findings
        ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth_index = coco_module.COCO()
        truth_index.dataset = {
            "images": [{"id": number} for number in range(1, len(pictures) + 1)],
            "annotations": truths,
            "categories": [{"id": at, "name": label} for at, label in enumerate(LABELS, 1)],
        }
        truth_index.createIndex()
        evaluation = COCOeval(truth_index, truth_index.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([min_iou])
        evaluation.evaluate()
        evaluation.accumulate()
    theirs = evaluation.eval["precision"][0, :, :, 0, -1]
    ours = curves(pictures, Rules(min_iou=min_iou))
    for at, label in enumerate(LABELS):
        curve = ours[label]
        index = np.searchsorted(curve.recall, RECALLS, side="left")
        envelope = np.append(curve.envelope, 0.0)
        assert envelope[np.minimum(index, len(curve.recall))] == pytest.approx(theirs[:, at], abs=1e-9)
        counts = detect_by_label(pictures, Rules(min_iou=min_iou))[label]
        assert counts.recall == pytest.approx(evaluation.eval["recall"][0, at, 0, -1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [3, 50, 100_000])
def test_auroc_is_what_scikit_learn_says_ties_and_all(seed, steps):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    rng = np.random.default_rng(seed)
    positive = rng.random(300) < 0.3
    scores = np.floor(rng.normal(positive, 1.0) * steps) / steps
    assert auroc(scores.tolist(), positive.tolist()) == pytest.approx(metrics.roc_auc_score(positive, scores))
