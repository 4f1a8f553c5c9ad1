"""Measures pcb-compare on DeepPCB pairs, by the data set's own protocol.

A detection is correct when its IoU with a ground-truth box of the same class is over 0.33; each ground-truth box is
matched once. The F-score is taken at one fixed threshold, the mean average precision (all points) over the six classes.

    DEEPPCB_DIR=... python plugins/procvision-pcb/benchmarks/deeppcb.py [--json] [--worst 10]

The two numbers that could be fitted to the boards, the margin of the boxes and the score threshold, are
cross-validated by board group: the columns "held out" have both chosen on the other groups. The other columns have the
plugin's defaults.

DEEPPCB_DIR holds `pairs/<board group>/<id>_test.jpg`, `<id>_temp.jpg` and `<id>.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from procvision_pcb.compare import DEFAULT_MARGIN_PX, DEFAULT_MIN_SCORE, Finding, Reference
from procvision_pcb.topology import LABELS

MIN_IOU = 0.33
MARGINS_PX = range(4, 17)
PLATEAU = 0.002
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 19))
Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Truth:
    """One defect of the ground truth."""

    box: Corners
    label: str


@dataclass(frozen=True)
class Picture:
    """What a pair gave."""

    group: str
    name: str
    truths: list[Truth]
    findings: list[Finding]
    shape: tuple[int, int]
    learn_ms: float
    compare_ms: float


def pairs(folder: Path) -> Iterator[tuple[str, str, Path, Path, list[Truth]]]:
    """Board group, id, reference, picture, ground truth."""
    for picture in sorted(folder.glob("pairs/*/*_test.jpg")):
        name = picture.name.removesuffix("_test.jpg")
        truths = []
        for line in picture.with_name(f"{name}.txt").read_text().splitlines():
            x1, y1, x2, y2, kind = map(int, line.split())
            truths.append(Truth((x1, y1, x2 + 1, y2 + 1), LABELS[kind - 1]))
        yield picture.parent.name, name, picture.with_name(f"{name}_temp.jpg"), picture, truths


def read(path: Path) -> Any:
    """H x W x 3 RGB as the host gives a MONO picture: a broadcast view."""
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise SystemExit(f"{path}: not a picture")
    return np.broadcast_to(gray[:, :, None], (*gray.shape, 3))


def measure(folder: Path) -> list[Picture]:
    """Runs every pair, without a score threshold. The boxes have no margin: `with_margin` gives them one."""
    pictures = []
    for group, name, reference_path, picture_path, truths in pairs(folder):
        reference_picture, picture = read(reference_path), read(picture_path)
        started = time.perf_counter()
        reference = Reference(reference_picture)
        learnt = time.perf_counter()
        findings = reference.compare(picture, margin_px=0).findings
        done = time.perf_counter()
        pictures.append(
            Picture(group, name, truths, findings, reference.shape, (learnt - started) * 1e3, (done - learnt) * 1e3)
        )
    return pictures


def with_margin(picture: Picture, margin_px: int) -> Picture:
    """The same findings with wider boxes, cut at the picture's border."""
    rows, columns = picture.shape
    findings = []
    for finding in picture.findings:
        x, y, width, height = finding.box
        left, top = max(0, x - margin_px), max(0, y - margin_px)
        right, bottom = min(columns, x + width + margin_px), min(rows, y + height + margin_px)
        findings.append(replace(finding, box=(left, top, right - left, bottom - top)))
    return replace(picture, findings=findings)


def held_out(pictures: Sequence[Picture], group: str) -> dict[str, Any]:
    """The figures of one board group with margin and threshold from the others.

    The margin is the one with the largest mean IoU. Of the thresholds, whose F-scores form a plateau, the middle one of
    those within `PLATEAU` of the best is taken.
    """
    others = [p for p in pictures if p.group != group]
    margin = max(MARGINS_PX, key=lambda m: mean_iou([with_margin(p, m) for p in others]))
    widened = [with_margin(p, margin) for p in others]
    scores = {t: f_score(widened, t) for t in THRESHOLDS}
    plateau = [t for t, f in scores.items() if f >= max(scores.values()) - PLATEAU]
    threshold = plateau[len(plateau) // 2]
    row = figures([with_margin(p, margin) for p in pictures if p.group == group], threshold)
    return {
        "margin_px": margin,
        "threshold": threshold,
        "f_score": row["f_score"],
        "mean_average_precision": row["mean_average_precision"],
    }


def mean_iou(pictures: Sequence[Picture]) -> float:
    """Over the ground-truth boxes, of the best fitting finding of any label."""
    return float(
        np.mean([max((iou(corners(f), t.box) for f in p.findings), default=0.0) for p in pictures for t in p.truths])
    )


def f_score(pictures: Sequence[Picture], threshold: float) -> float:
    """2 P R / (P + R) at a threshold."""
    kept = [t for p in pictures for f, t in matched(p) if f.score >= threshold]
    truths = sum(len(p.truths) for p in pictures)
    return 2 * sum(t is not None for t in kept) / (len(kept) + truths)


def iou(a: Corners, b: Corners) -> float:
    """The area that two boxes share over the area that they cover."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def corners(finding: Finding) -> Corners:
    """The finding's box as left, top, right, bottom."""
    x, y, width, height = finding.box
    return x, y, x + width, y + height


def matched(picture: Picture, *, same_label: bool = True) -> list[tuple[Finding, Truth | None]]:
    """Each finding, the most certain first, with the ground truth it takes."""
    free = list(picture.truths)
    pairs_: list[tuple[Finding, Truth | None]] = []
    for finding in sorted(picture.findings, key=lambda f: -f.score):
        fits = [
            (iou(corners(finding), t.box), i) for i, t in enumerate(free) if not same_label or t.label == finding.label
        ]
        overlap, at = max(fits, default=(0.0, -1))
        pairs_.append((finding, free.pop(at) if overlap > MIN_IOU else None))
    return pairs_


def figures(pictures: Sequence[Picture], threshold: float) -> dict[str, Any]:
    """Precision, recall, F-score at the threshold; average precision over all scores."""
    matches = [pair for picture in pictures for pair in matched(picture)]
    truths = Counter(t.label for picture in pictures for t in picture.truths)
    kept = [(f, t) for f, t in matches if f.score >= threshold]
    true = sum(t is not None for _, t in kept)
    precision = true / len(kept) if kept else 0.0
    recall = true / sum(truths.values())
    precisions = {
        label: average_precision([(f.score, t is not None) for f, t in matches if f.label == label], truths[label])
        for label in LABELS
        if truths[label]
    }
    return {
        "pictures": len(pictures),
        "defects": sum(truths.values()),
        "precision": precision,
        "recall": recall,
        "f_score": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "mean_average_precision": float(np.mean(list(precisions.values()))),
        "average_precision": precisions,
        "execute_ms": float(np.median([p.compare_ms for p in pictures])),
        "execute_ms_worst": float(np.max([p.compare_ms for p in pictures])),
        "learn_ms": float(np.median([p.learn_ms for p in pictures])),
    }


def average_precision(scored: list[tuple[float, bool]], truths: int) -> float:
    """The area under the precision-recall curve, precision made to fall."""
    scored = sorted(scored, key=lambda s: -s[0])
    true = np.cumsum([hit for _, hit in scored]) if scored else np.zeros(0)
    precision = true / np.arange(1, len(scored) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], true / truths])
    return float(np.sum(np.diff(recall) * precision))


def confusion(pictures: Sequence[Picture], threshold: float) -> Counter[tuple[str, str]]:
    """(true label or "-", found label or "-"): how often."""
    counts: Counter[tuple[str, str]] = Counter()
    for picture in pictures:
        missed = Counter(t.label for t in picture.truths)
        kept = replace(picture, findings=[f for f in picture.findings if f.score >= threshold])
        for finding, truth in matched(kept, same_label=False):
            counts[truth.label if truth else "-", finding.label] += 1
            if truth:
                missed[truth.label] -= 1
        for label, count in missed.items():
            counts[label, "-"] += count
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threshold", type=float, default=DEFAULT_MIN_SCORE, help="the fixed score threshold")
    parser.add_argument("--worst", type=int, default=0, help="list this many pictures with the most mistakes")
    options = parser.parse_args(arguments)
    if "DEEPPCB_DIR" not in os.environ:
        print("deeppcb: the environment variable DEEPPCB_DIR is not set", file=sys.stderr)
        print("hint: let it name the folder that holds pairs/", file=sys.stderr)
        return 64
    cv2.setNumThreads(1)
    pictures = measure(Path(os.environ["DEEPPCB_DIR"]))
    if not pictures:
        print(f"deeppcb: no pairs in {os.environ['DEEPPCB_DIR']}", file=sys.stderr)
        return 65
    bare, pictures = pictures, [with_margin(p, DEFAULT_MARGIN_PX) for p in pictures]
    groups = sorted({p.group for p in pictures})
    rows = {g: figures([p for p in pictures if p.group == g], options.threshold) for g in groups}
    if len(groups) > 1:
        for g in groups:
            rows[g]["held_out"] = held_out(bare, g)
    rows["all"] = figures(pictures, options.threshold)
    counts = confusion(pictures, options.threshold)
    if options.json:
        table = [[*pair, n] for pair, n in sorted(counts.items())]
        print(json.dumps({"threshold": options.threshold, "groups": rows, "confusion": table}))
        return 0
    print(f"threshold {options.threshold}, margin {DEFAULT_MARGIN_PX} px")
    print(
        f"{'board group':12} pictures defects precision  recall F-score    mAP  execute ms (worst) learn ms"
        "   held out: F-score    mAP margin threshold"
    )
    for name, row in rows.items():
        line = (
            f"{name:12} {row['pictures']:8} {row['defects']:7} {row['precision']:9.4f} {row['recall']:7.4f}"
            f" {row['f_score']:7.4f} {row['mean_average_precision']:6.4f} {row['execute_ms']:11.1f}"
            f" ({row['execute_ms_worst']:5.1f}) {row['learn_ms']:8.1f}"
        )
        if held := row.get("held_out"):
            line += (
                f"   {held['f_score']:17.4f} {held['mean_average_precision']:6.4f} {held['margin_px']:6}"
                f" {held['threshold']:9.2f}"
            )
        print(line)
    print("average precision:", ", ".join(f"{k} {v:.4f}" for k, v in rows["all"]["average_precision"].items()))
    labels = [*LABELS, "-"]
    print("\ntrue \\ found " + " ".join(f"{label:>9}" for label in labels))
    for label in labels:
        print(f"{label:12} " + " ".join(f"{counts[label, found]:9}" for found in labels))
    for picture in sorted(pictures, key=lambda p: -mistakes_of(p, options.threshold))[: options.worst]:
        print(f"{picture.group}/{picture.name}: {mistakes_of(picture, options.threshold)} mistakes")
    return 0


def mistakes_of(picture: Picture, threshold: float) -> int:
    """Findings that are none, plus defects not found."""
    kept = [pair for pair in matched(picture) if pair[0].score >= threshold]
    true = sum(t is not None for _, t in kept)
    return len(kept) - true + len(picture.truths) - true


if __name__ == "__main__":
    raise SystemExit(main())
