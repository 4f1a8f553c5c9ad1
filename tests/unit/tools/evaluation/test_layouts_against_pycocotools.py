"""The same boxes in every layout, in the odd forms that writers use, beside what pycocotools makes of them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from procvision_sdk.results import Defect
from procvision_tools.datasets import open_dataset
from procvision_tools.evaluation.detection import curves, detect
from procvision_tools.evaluation.observations import Observation, Rules

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

WIDTH, HEIGHT, PICTURES = 160, 120, 24
LABEL = "open"
RECALLS = np.linspace(0, 1, 101)
Box = tuple[int, int, int, int]


def boxes_of(number: int) -> list[Box]:
    """Boxes in cells of a grid, so that no two touch: a mask's pieces are told apart. Some pictures have none."""
    rng = np.random.default_rng(number)
    cells = rng.permutation(12)[: rng.integers(0, 5) if number % 5 else 0]
    return [
        (int(cell % 4 * 40 + rng.integers(1, 8)), int(cell // 4 * 40 + rng.integers(1, 8)),
         int(rng.integers(6, 30)), int(rng.integers(6, 30)))
        for cell in cells
    ]  # fmt: skip


TRUTHS = {f"{number:03}": boxes_of(number) for number in range(PICTURES)}


def picture(path: Path, marked: list[Box] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y, width, height in marked:
        pixels[y : y + height, x : x + width] = 255
    Image.fromarray(pixels).save(path)


def text(path: Path, lines: list[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode("utf-8-sig" if end != "\n" else "utf-8"))


def deeppcb(folder: Path) -> None:
    """Commas and blanks, texts beside and in the sibling folder, suffixes in any case."""
    for at, (name, boxes) in enumerate(TRUTHS.items()):
        between = "," if at % 2 else " "
        lines = [between.join(map(str, (x, y, x + w - 1, y + h - 1, 1))) for x, y, w, h in boxes]
        suffix = ("jpg", "PNG", "JPEG")[at % 3]
        for part in ("test", "temp"):
            picture(folder / f"g{at % 2}" / f"{name}_{part}.{suffix}")
        home = folder / (f"g{at % 2}_not" if at % 4 == 3 else f"g{at % 2}")
        text(home / f"{name}.txt", lines, "\r\n" if at % 3 else "\n")


def yolo(folder: Path) -> None:
    """Boxes, boxes with a confidence, corners in either direction, a line twice; texts beside the pictures too."""
    for at, (name, boxes) in enumerate(TRUTHS.items()):
        lines = []
        for number, (x, y, w, h) in enumerate(boxes):
            left, top, right, bottom = x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT
            box = f"{(left + right) / 2:.9f} {(top + bottom) / 2:.9f} {right - left:.9f} {bottom - top:.9f}"
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, (top + bottom) / 2)]
            ring = " ".join(f"{a:.9f} {b:.9f}" for a, b in (corners if at % 2 else reversed(corners[:4])))
            lines.append((f"0 {box}", f"0 {box} 0.5", f"0 {ring}", f"0.0 {ring}")[(at + number) % 4])
        picture(folder / "images" / f"s{at % 2}" / f"{name}.{('png', 'JPG')[at % 2]}")
        if boxes or at % 3:
            home = folder / ("images" if at % 5 == 1 else "labels")
            text(
                home / f"s{at % 2}" / f"{name}.{('txt', 'TXT')[at % 2]}",
                [*lines, *lines[:1]],
                "\r\n" if at % 3 else "\n",
            )
    (folder / "labels").mkdir(exist_ok=True)
    text(folder / "obj.names", [LABEL])


def mvtec(folder: Path) -> None:
    """One mask, a mask under the picture's own name, a folder of masks, of several formats; nested kinds."""
    pytest.importorskip("cv2", reason="OpenCV finds a mask's pieces")
    for at, (name, boxes) in enumerate(TRUTHS.items()):
        below = f"line{at % 2}/" if at % 3 == 0 else ""
        picture(folder / "test" / (LABEL if boxes else "OK") / f"{below}{name}.{('png', 'PNG')[at % 2]}")
        home = folder / "ground_truth" / LABEL
        if boxes and at % 4 == 0:
            for number, box in enumerate(boxes):
                picture(home / f"{below}{name}" / f"{number}.png", [box])
        elif boxes:
            picture(home / f"{below}{name}{('', '_mask.bmp', '_mask.png', '.PNG')[at % 4]}", boxes)


def coco(folder: Path) -> None:
    """Names of folders with a backslash, ids of texts and numbers, a byte order mark."""
    images, annotations = [], []
    for at, (name, boxes) in enumerate(TRUTHS.items()):
        picture(folder / "images" / f"s{at % 2}" / f"{name}.png")
        identity = name if at % 2 else at
        images.append({"id": identity, "file_name": f"s{at % 2}{(chr(92), '/')[at % 2]}{name}.png", "height": HEIGHT})
        annotations += [{"image_id": identity, "category_id": "c", "bbox": box, "iscrowd": None} for box in boxes]
    told = {"images": images, "annotations": annotations, "categories": [{"id": "c", "name": LABEL}]}
    (folder / "annotations.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(told).encode())


def found() -> dict[str, list[Defect]]:
    """Findings near truths, and anywhere; no score twice."""
    rng = np.random.default_rng(1)
    scores = iter(rng.permutation(PICTURES * 40) / (PICTURES * 40))
    told = {}
    for name, boxes in TRUTHS.items():
        near = [(np.array(box) + rng.normal(0, 1.5, 4)).clip(1) for box in boxes for _ in range(rng.integers(0, 3))]
        far = [rng.uniform(5, 40, 4) for _ in range(rng.integers(0, 2))]
        told[name] = [Defect(*map(float, box), LABEL, float(next(scores))) for box in (*near, *far)]
    return told


@pytest.mark.parametrize("write", [deeppcb, yolo, mvtec, coco])
@pytest.mark.parametrize("min_iou", [0.33, 0.6])
def test_the_figures_are_those_of_pycocotools_whatever_form_the_truth_has(write, min_iou, tmp_path):
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is the reference")
    from pycocotools.cocoeval import COCOeval

    write(tmp_path)
    dataset = open_dataset(tmp_path, write.__name__)
    findings = found()
    by_name = {
        sample.name.replace("\\", "/").rpartition("/")[2].partition(".")[0]: sample for sample in dataset.samples
    }
    assert {name: sorted(tuple(round(v, 4) for v in (t.x, t.y, t.width, t.height)) for t in sample.truths)
            for name, sample in by_name.items()} == {name: sorted(boxes) for name, boxes in TRUTHS.items()}  # fmt: skip
    seen = [
        Observation(sample=sample, verdict="NG", findings=tuple(findings[name])) for name, sample in by_name.items()
    ]
    numbers = {name: number for number, name in enumerate(TRUTHS, 1)}
    truths = [
        {"id": 0, "image_id": numbers[name], "category_id": 1, "iscrowd": 0, "bbox": list(box), "area": box[2] * box[3]}
        for name, boxes in TRUTHS.items() for box in boxes
    ]  # fmt: skip
    for number, truth in enumerate(truths, 1):
        truth["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):
        index = coco_module.COCO()
        index.dataset = {
            "images": [{"id": number} for number in numbers.values()],
            "annotations": truths,
            "categories": [{"id": 1, "name": LABEL}],
        }
        index.createIndex()
        results = [
            {"image_id": numbers[name], "category_id": 1, "score": f.score, "bbox": [f.x, f.y, f.width, f.height]}
            for name, defects in findings.items() for f in defects
        ]  # fmt: skip
        evaluation = COCOeval(index, index.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([min_iou])
        evaluation.evaluate()
        evaluation.accumulate()
    curve = curves(seen, Rules(min_iou=min_iou))[LABEL]
    at = np.minimum(np.searchsorted(curve.recall, RECALLS, side="left"), len(curve.recall))
    assert np.append(curve.envelope, 0.0)[at] == pytest.approx(evaluation.eval["precision"][0, :, 0, 0, -1], abs=1e-9)
    assert detect(seen, Rules(min_iou=min_iou)).recall == pytest.approx(evaluation.eval["recall"][0, 0, 0, -1])
