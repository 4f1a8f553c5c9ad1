"""Cross-validates pcb-compare's two fitted numbers, the margin of its boxes and the score threshold, by board group.

    DEEPPCB_DIR=... python plugins/procvision-pcb/benchmarks/deeppcb.py [--json]

Reader, protocol and measures are those of `procvision evaluate`, which gives the same figures through the host, with
the worst pictures. The columns "held out" have both numbers chosen on the other groups, the others have the defaults.

DEEPPCB_DIR holds `pairs/<board group>/<id>_test.jpg`, `<id>_temp.jpg` and `<id>.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np

from procvision_pcb.compare import DEFAULT_MARGIN_PX, DEFAULT_MIN_SCORE, Finding, Reference
from procvision_sdk import Defect
from procvision_tools.datasets import Sample, deeppcb
from procvision_tools.evaluation.detection import detect
from procvision_tools.evaluation.figures import Figures, figures
from procvision_tools.evaluation.matching import iou
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.sweeps import best_value

MARGINS_PX = range(4, 17)
THRESHOLDS = tuple(f"{0.05 * step:.2f}" for step in range(2, 19))


@dataclass(frozen=True)
class Seen:
    """What a pair gave, and the picture's height and width."""

    observation: Observation
    shape: tuple[int, int]

    @property
    def group(self) -> str:
        """The board group."""
        return self.observation.sample.group


def rules(threshold: float = DEFAULT_MIN_SCORE) -> Rules:
    """The data set's own protocol."""
    return Rules(min_iou=deeppcb.MIN_IOU, threshold=threshold)


def gray(path: Path) -> Any:
    """H x W uint8."""
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SystemExit(f"{path}: not a picture")
    return picture


def observed(sample: Sample, findings: Sequence[Finding], times_ms: dict[str, float]) -> Observation:
    """The comparison's findings as an observation."""
    defects = tuple(Defect(*finding.box, label=finding.label, score=finding.score) for finding in findings)
    return Observation(sample=sample, verdict="NG" if defects else "OK", findings=defects, times_ms=times_ms)


def measure(folder: Path) -> list[Seen]:
    """Runs every pair, without a score threshold. The boxes have no margin: `with_margin` gives them one."""
    seen = []
    for sample in deeppcb.read(folder).samples:
        assert sample.reference is not None
        # H x W x 3 RGB as the host gives a MONO picture: a broadcast view.
        learnt, picture = (
            np.broadcast_to(g[:, :, None], (*g.shape, 3)) for g in (gray(sample.reference), gray(sample.image))
        )
        started = time.perf_counter()
        reference = Reference(learnt)
        between = time.perf_counter()
        findings = reference.compare(picture, margin_px=0).findings
        done = time.perf_counter()
        times_ms = {"pre": (between - started) * 1e3, "execute": (done - between) * 1e3}
        seen.append(Seen(observed(sample, findings, times_ms), reference.shape))
    return seen


def with_margin(seen: Sequence[Seen], margin_px: int) -> list[Observation]:
    """The same findings with wider boxes, cut at the picture's border."""
    return [
        attrs.evolve(
            one.observation, findings=tuple(_widened(f, margin_px, *one.shape) for f in one.observation.findings)
        )
        for one in seen
    ]


def _widened(finding: Defect, margin_px: int, rows: int, columns: int) -> Defect:
    left, top = max(0, finding.x - margin_px), max(0, finding.y - margin_px)
    right, bottom = finding.x + finding.width + margin_px, finding.y + finding.height + margin_px
    return Defect(
        left, top, min(columns, right) - left, min(rows, bottom) - top, label=finding.label, score=finding.score
    )


def mean_iou(observations: Sequence[Observation]) -> float:
    """Over the ground-truth boxes, of the best fitting finding of any label."""
    return float(
        np.mean([max((iou(f, t) for f in o.findings), default=0.0) for o in observations for t in o.sample.truths])
    )


def held_out(seen: Sequence[Seen], group: str) -> dict[str, Any]:
    """The figures of one board group with margin and threshold from the others.

    The margin is the one with the largest mean IoU, the threshold the middle of the plateau of F-scores.
    """
    others = [one for one in seen if one.group != group]
    margin = max(MARGINS_PX, key=lambda margin_px: mean_iou(with_margin(others, margin_px)))
    widened = with_margin(others, margin)
    threshold = best_value({value: detect(widened, rules(float(value))).f_score for value in THRESHOLDS})
    assert threshold is not None
    own = with_margin([one for one in seen if one.group == group], margin)
    told = figures(own, rules(float(threshold)))
    return {
        "margin_px": margin,
        "threshold": float(threshold),
        "f_score": told["f_score"],
        "mean_average_precision": told["mean_average_precision"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if "DEEPPCB_DIR" not in os.environ:
        print("deeppcb: the environment variable DEEPPCB_DIR is not set", file=sys.stderr)
        print("hint: let it name the folder that holds pairs/", file=sys.stderr)
        return 64
    cv2.setNumThreads(1)
    seen = measure(Path(os.environ["DEEPPCB_DIR"]))
    if not seen:
        print(f"deeppcb: no pairs in {os.environ['DEEPPCB_DIR']}", file=sys.stderr)
        return 65
    groups = sorted({one.group for one in seen})
    rows: dict[str, Figures] = {
        group: figures(with_margin([one for one in seen if one.group == group], DEFAULT_MARGIN_PX), rules())
        for group in groups
    }
    rows["all"] = figures(with_margin(seen, DEFAULT_MARGIN_PX), rules())
    held = {group: held_out(seen, group) for group in groups} if len(groups) > 1 else {}
    if options.json:
        print(json.dumps({"groups": {name: {**row, "held_out": held.get(name)} for name, row in rows.items()}}))
        return 0
    print(f"threshold {DEFAULT_MIN_SCORE}, margin {DEFAULT_MARGIN_PX} px")
    print(
        f"{'board group':12} pictures defects precision  recall F-score    mAP  execute ms   (p99) learn ms"
        "   held out: F-score    mAP margin threshold"
    )
    for name, row in rows.items():
        line = (
            f"{name:12} {row['pictures']:8} {row['truths']:7} {row['precision']:9.4f} {row['recall']:7.4f}"
            f" {row['f_score']:7.4f} {row['mean_average_precision']:6.4f} {row['execute_p50_ms']:11.1f}"
            f" ({row['execute_p99_ms']:5.1f}) {row['pre_p50_ms']:8.1f}"
        )
        if told := held.get(name):
            line += (
                f"   {told['f_score']:17.4f} {told['mean_average_precision']:6.4f} {told['margin_px']:6}"
                f" {told['threshold']:9.2f}"
            )
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
