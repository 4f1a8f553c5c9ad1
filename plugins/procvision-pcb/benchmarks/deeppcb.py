"""Measures pcb-compare on real boards, each board group with what was learnt from the other groups alone.

    DEEPPCB_DIR=... python plugins/procvision-pcb/benchmarks/deeppcb.py [--json] [--every N]

Reader, protocol and measures are those of `procvision evaluate`, which gives the same figures through the host, with
the worst pictures. The columns "held out" have the score's weights (`left_out_weights.json`, made by `learn_score.py`),
the margin of the boxes, the distance at which pieces are one defect and the threshold from the other groups; the others
have the package's, which were learnt from all. A pair that is refused counts as one without findings.

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

import cv2
import numpy as np

from procvision_pcb import score
from procvision_pcb.compare import (
    DEFAULT_MARGIN_PX,
    DEFAULT_MIN_SCORE,
    SAME_DEFECT_PX,
    Candidates,
    Finding,
    Reference,
)
from procvision_pcb.errors import NotComparableError
from procvision_sdk import Defect
from procvision_tools.datasets import Sample, deeppcb, open_dataset
from procvision_tools.evaluation.detection import detect, total
from procvision_tools.evaluation.figures import Figures, figures
from procvision_tools.evaluation.matching import iou
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.sweeps import best_value

MARGINS_PX = range(7, 14)
APART_PX = range(4, 21, 4)
THRESHOLDS = tuple(f"{0.05 * step:.2f}" for step in range(2, 19))
LEFT_OUT = Path(__file__).with_name("left_out_weights.json")


@dataclass(frozen=True)
class Seen:
    """What a pair gave; no candidates where it was refused."""

    sample: Sample
    candidates: Candidates | None
    times_ms: dict[str, float]

    @property
    def group(self) -> str:
        """The board group."""
        return self.sample.group

    def observation(
        self,
        scorer: score.Scorer,
        margin_px: int = DEFAULT_MARGIN_PX,
        apart_px: int = SAME_DEFECT_PX,
    ) -> Observation:
        """The findings with these scores, boxes and distance."""
        if self.candidates is None:
            return observed(self.sample, (), self.times_ms)
        scores = scorer.scores(self.candidates.features).tolist()
        return observed(self.sample, self.candidates.findings(scores, margin_px, apart_px), self.times_ms)


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


def measure(folder: Path, every: int = 1) -> list[Seen]:
    """Compare every pair, or every so many."""
    seen = []
    for sample in open_dataset(folder, deeppcb.LAYOUT).samples[::every]:
        assert sample.reference is not None
        # H x W x 3 RGB as the host gives a MONO picture: a broadcast view.
        learnt, picture = (
            np.broadcast_to(g[:, :, None], (*g.shape, 3)) for g in (gray(sample.reference), gray(sample.image))
        )
        started = between = time.perf_counter()
        candidates = None
        try:
            reference = Reference(learnt)
            between = time.perf_counter()
            candidates = reference.differences(picture)
        except NotComparableError as error:
            print(f"{sample.name}: {error}", file=sys.stderr)
        done = time.perf_counter()
        times_ms = {"pre": (between - started) * 1e3, "execute": (done - between) * 1e3}
        seen.append(Seen(sample, candidates, times_ms))
    return seen


def mean_iou(observations: Sequence[Observation]) -> float:
    """Over the ground-truth boxes, of the best fitting finding of any label."""
    return float(
        np.mean([max((iou(f, t) for f in o.findings), default=0.0) for o in observations for t in o.sample.truths])
    )


@dataclass(frozen=True)
class HeldOut:
    """One board group's observations with everything from the others, and what that was."""

    margin_px: int
    apart_px: int
    threshold: float
    observations: list[Observation]


def held_out(seen: Sequence[Seen], group: str, scorer: score.Scorer) -> HeldOut:
    """One board group with everything from the others.

    The distance has the largest F-score, the margin the largest mean IoU, the threshold is the middle of the plateau of
    F-scores.
    """
    others = [one for one in seen if one.group != group]

    def f_score(apart_px: int) -> float:
        return detect([one.observation(scorer, apart_px=apart_px) for one in others], rules()).f_score or 0.0

    apart_px = max(APART_PX, key=f_score)
    margin_px = max(MARGINS_PX, key=lambda margin: mean_iou([o.observation(scorer, margin, apart_px) for o in others]))
    chosen = [one.observation(scorer, margin_px, apart_px) for one in others]
    threshold = best_value({value: detect(chosen, rules(float(value))).f_score for value in THRESHOLDS})
    assert threshold is not None
    return HeldOut(
        margin_px,
        apart_px,
        float(threshold),
        [one.observation(scorer, margin_px, apart_px) for one in seen if one.group == group],
    )


def pooled(held: Sequence[HeldOut]) -> dict[str, Any]:
    """The figures of groups together, each with its own threshold; average precision has no threshold."""
    counts = total(detect(one.observations, rules(one.threshold)) for one in held)
    told = figures([each for one in held for each in one.observations], rules())
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f_score": counts.f_score,
        "mean_average_precision": told["mean_average_precision"],
    }


def left_out(group: str) -> score.Scorer:
    """The network that was learnt without this board group."""
    return score.unpacked(json.loads(LEFT_OUT.read_text())["weights"][group])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--every", type=int, default=1, help="take every so many pairs")
    options = parser.parse_args(arguments)
    if "DEEPPCB_DIR" not in os.environ:
        print("deeppcb: the environment variable DEEPPCB_DIR is not set", file=sys.stderr)
        print("hint: let it name the folder that holds pairs/", file=sys.stderr)
        return 64
    cv2.setNumThreads(1)
    seen = measure(Path(os.environ["DEEPPCB_DIR"]), options.every)
    if not seen:
        print(f"deeppcb: no pairs in {os.environ['DEEPPCB_DIR']}", file=sys.stderr)
        return 65
    groups = sorted({one.group for one in seen})
    shipped = score.learnt()
    rows: dict[str, Figures] = {
        group: figures([one.observation(shipped) for one in seen if one.group == group], rules()) for group in groups
    }
    rows["all"] = figures([one.observation(shipped) for one in seen], rules())
    held = {group: held_out(seen, group, left_out(group)) for group in groups} if len(groups) > 1 else {}
    told = {group: pooled([one]) for group, one in held.items()}
    if held:
        told["all"] = pooled(list(held.values()))
    chosen = {
        group: {"margin_px": one.margin_px, "apart_px": one.apart_px, "threshold": one.threshold}
        for group, one in held.items()
    }
    if options.json:
        held_rows = {name: {**row, **chosen.get(name, {})} for name, row in told.items()}
        print(json.dumps({"groups": {name: {**row, "held_out": held_rows.get(name)} for name, row in rows.items()}}))
        return 0
    print(f"learnt from all: {DEFAULT_MARGIN_PX} px margin, {SAME_DEFECT_PX} px apart, threshold {DEFAULT_MIN_SCORE}")
    print("| board group | pictures | defects | P, R, F learnt from all | mAP | P, R, F held out | mAP | chosen |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        cells = [name, str(row["pictures"]), str(row["truths"])]
        for each in (row, told[name]) if name in told else (row,):
            three = ", ".join(f"{each[key]:.4f}" for key in ("precision", "recall", "f_score"))
            cells += [three, f"{each['mean_average_precision']:.4f}"]
        one = chosen.get(name)
        cells.append(f"{one['margin_px']} px, {one['apart_px']} px, {one['threshold']:.2f}" if one else "")
        print(f"| {' | '.join(cells)} |")
    times = {key: rows["all"][key] for key in ("pre_p50_ms", "execute_p50_ms", "execute_p99_ms")}
    print(", ".join(f"{key} {value:.1f}" for key, value in times.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
