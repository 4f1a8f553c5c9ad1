"""The measures beside those of pycocotools and scikit-learn, on many random pictures."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from procvision_sdk.results import Defect
from procvision_tools.datasets import Sample, Truth, open_dataset
from procvision_tools.evaluation.detection import curves, detect_by_label
from procvision_tools.evaluation.figures import figures
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


# --- the same files, read by the library and by us ------------------------------------------------------------------


def odd_coco(folder: Path) -> Path:
    """A file with crowds, doubled boxes, boxes over the edge, ids of several kinds, nulls and fields of no meaning."""
    image_module = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
    rng = np.random.default_rng(11)
    images, annotations = [], []
    for number in range(1, 31):
        name = f"line {number % 3}/{number}.png"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image_module.fromarray(np.zeros((90, 120), np.uint8)).save(path)
        images.append(
            {"id": float(number) if number % 4 == 0 else number, "file_name": name, "width": 120, "height": 90}
        )
        for _ in range(rng.integers(0, 6)):
            x, y, width, height = (round(float(value), 2) for value in (*rng.uniform(0, 50, 2), *rng.uniform(6, 40, 2)))
            crowd = int(rng.random() < 0.25)
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": int(rng.integers(1, 4)) * 10,
                "bbox": [x, y, width * (1 + 2 * crowd), height], "area": width * height * (1 + 2 * crowd),
                "iscrowd": crowd, "segmentation": None, "attributes": {"by": None},
            })  # fmt: skip
    annotations += [{**annotations[0], "id": 1000}, {**annotations[1], "id": 1001}]
    path = folder / "annotations" / "instances_val.json"
    path.parent.mkdir()
    categories = [{"id": at * 10, "name": label, "supercategory": "x"} for at, label in enumerate(LABELS, 1)]
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return path


def found_near(samples, rng) -> list[tuple[Defect, ...]]:
    """Findings near truths and crowds, and anywhere; no score twice."""
    scores = iter(rng.permutation(len(samples) * 40) / (len(samples) * 40))
    found = []
    for sample in samples:
        own = []
        for truth in (*sample.truths, *sample.crowds):
            for _ in range(rng.integers(0, 4)):
                x, y = np.array([truth.x, truth.y]) + rng.normal(0, 3, 2)
                label = truth.label if rng.random() < 0.8 else str(rng.choice(LABELS))
                scale = rng.uniform(0.3, 1.1)
                box = (float(x), float(y), truth.width * scale, truth.height * scale)
                own.append(Defect(*box, label, float(next(scores))))
        for _ in range(rng.integers(0, 3)):
            x, y, width, height = (float(v) for v in rng.uniform(5, 40, 4))
            own.append(Defect(x, y, width, height, str(rng.choice(LABELS)), float(next(scores))))
        found.append(tuple(own))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("min_iou", [0.33, 0.5, 0.75])
def test_an_odd_file_gives_the_figures_that_pycocotools_gives_of_it(seed, min_iou, tmp_path):
    """Read from the disk by both: crowds, doubled boxes, boxes over the edge and all."""
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is the reference")
    from pycocotools.cocoeval import COCOeval

    path = odd_coco(tmp_path)
    dataset = open_dataset(tmp_path)
    assert any("annotations of crowds" in note for note in dataset.notes)
    findings = found_near(dataset.samples, np.random.default_rng(seed))
    pictures = [
        Observation(sample=sample, verdict="NG", findings=found)
        for sample, found in zip(dataset.samples, findings, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth_index = coco_module.COCO(str(path))
        ids = {image["file_name"]: number for number, image in truth_index.imgs.items()}
        found = [
            {"image_id": ids[picture.sample.name], "category_id": (LABELS.index(f.label) + 1) * 10, "score": f.score,
             "bbox": [f.x, f.y, f.width, f.height]}
            for picture in pictures for f in picture.findings
        ]  # fmt: skip
        evaluation = COCOeval(truth_index, truth_index.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([min_iou])
        evaluation.evaluate()
        evaluation.accumulate()
    ours = curves(pictures, Rules(min_iou=min_iou))
    counts = detect_by_label(pictures, Rules(min_iou=min_iou))
    for at, label in enumerate(LABELS):
        curve = ours[label]
        index = np.minimum(np.searchsorted(curve.recall, RECALLS, side="left"), len(curve.recall))
        theirs = evaluation.eval["precision"][0, :, at, 0, -1]
        assert np.append(curve.envelope, 0.0)[index] == pytest.approx(theirs, abs=1e-9)
        assert counts[label].recall == pytest.approx(evaluation.eval["recall"][0, at, 0, -1])
        # Neither right nor wrong are those that lie in crowds: what the library counts as ignored isn't counted here.
        judged = [e for e in evaluation.evalImgs if e and e["category_id"] == (at + 1) * 10 and e["aRng"] == [0, 1e10]]
        counted = sum(int((~e["dtIgnore"][0].astype(bool)).sum()) for e in judged)
        assert counts[label].findings == counted


@pytest.mark.parametrize("layout", ["deeppcb", "yolo", "mvtec", "coco"])
def test_what_a_folder_says_of_its_products_is_what_scikit_learn_is_told(layout, tmp_path):  # noqa: PLR0915
    """Accuracy, rates and AUROC of each layout, with files that are left out, beside those of the known truth."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    image_module = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
    if layout == "mvtec":
        pytest.importorskip("cv2", reason="OpenCV finds a mask's pieces")
    rng = np.random.default_rng(5)
    defective = {f"{number:03}": bool(rng.random() < 0.4) for number in range(60)}
    blank, marked = np.zeros((30, 40), np.uint8), np.zeros((30, 40), np.uint8)
    marked[5:15, 10:20] = 255

    def put(path: str, pixels=blank) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        image_module.fromarray(pixels).save(tmp_path / path)

    def write(path: str, content: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)

    for number, (name, bad) in enumerate(defective.items()):
        suffix = ("png", "JPG", "jpeg", "PNG")[number % 4]
        if layout == "deeppcb":
            put(f"g/{name}_test.{suffix}")
            put(f"g/{name}_temp.{suffix}")
            write(f"g/{name}.txt", "10 5 19 14 1\n" if bad else "")
        elif layout == "yolo":
            put(f"images/{name}.{suffix}")
            if bad or number % 2:
                write(f"labels/{name}.txt", "0 .375 .333333 .25 .333333\n" if bad else "")
        elif layout == "mvtec":
            put(f"test/{'crack' if bad else 'OK'}/{name}.{suffix}")
            if bad:
                put(f"ground_truth/crack/{name}_mask.png", marked)
        else:
            put(f"images/{name}.{suffix}")
    if layout == "coco":
        names = {name: f"{name}.{('png', 'JPG', 'jpeg', 'PNG')[number % 4]}" for number, name in enumerate(defective)}
        write("a.json", json.dumps({
            "images": [{"id": name, "file_name": file} for name, file in names.items()],
            "annotations": [{"id": name, "image_id": name, "category_id": 0, "bbox": [10, 5, 10, 10]}
                            for name, bad in defective.items() if bad],
            "categories": [{"id": 0, "name": "x"}],
        }))  # fmt: skip
    elif layout == "yolo":
        write("classes.txt", "x\n")
    put(".ipynb_checkpoints/000-checkpoint.png", marked)
    put("extra/of nobody.bmp")
    dataset = open_dataset(tmp_path)
    assert len(dataset.samples) == 60
    assert any("hidden" in note for note in dataset.notes)
    truth = [defective[re.search(r"\d{3}", sample.name.rpartition("/")[2])[0]] for sample in dataset.samples]
    scores = np.round(rng.normal(truth, 1.0), 1)
    said = rng.random(60) < np.where(truth, 0.8, 0.2)
    seen = [
        Observation(sample=sample, verdict="NG" if ng else "OK", score=float(score))
        for sample, ng, score in zip(dataset.samples, said, scores, strict=True)
    ]
    told = figures(seen, Rules())
    (right_ok, false_ng), (escapes, _) = metrics.confusion_matrix(truth, said)
    assert (told["escapes"], told["false_alarms"]) == (escapes, false_ng)
    assert told["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert told["escape_rate"] == pytest.approx(1 - metrics.recall_score(truth, said))
    assert told["false_alarm_rate"] == pytest.approx(false_ng / (right_ok + false_ng))
    assert told["auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores))
