"""Learns what pcb-compare scores a difference by, from DeepPCB's training pairs as they are and worn otherwise.

    DEEPPCB_DIR=... python plugins/procvision-pcb/benchmarks/learn_score.py [--write]

Each pair is compared once as it is and `VARIANTS` times worn as `worn.py` draws it, and its reference with itself, worn
too, as a good product. Generated boards are added, whose tracks and gaps are narrower. A difference is a defect if it
is matched with a truth of any name by the data set's protocol. A network with one hidden layer is fitted to that with
Adam (D. Kingma, J. Ba, 2015), NumPy alone, from a fixed seed: the same pictures give the same weights.

The figures printed are of board groups that the weights weren't learnt from: one network for each group left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from deeppcb import LEFT_OUT, gray, observed, rules
from numpy.typing import NDArray
from worn import AS_IT_IS, Pair, drawn

from procvision_pcb import score
from procvision_pcb.compare import DEFAULT_MARGIN_PX, DEFAULT_MIN_SCORE, Candidates, Reference
from procvision_pcb.errors import NotComparableError
from procvision_sdk import Defect
from procvision_testing.boards import DEFECT_KINDS, make_board, with_defects
from procvision_tools.datasets import Sample, Truth, deeppcb, open_dataset
from procvision_tools.evaluation.figures import figures
from procvision_tools.evaluation.matching import iou, match
from procvision_tools.evaluation.observations import Observation

WEIGHTS = Path(score.__file__).with_name(score.WEIGHTS)
VARIANTS = 3
HIDDEN = 16
EPOCHS, BATCH, RATE, DECAY = 40, 256, 3e-3, 1e-4
EVERY = 4
"""Every fourth pair is learnt from: of twice as many the figures on left-out groups were the same."""
FOREIGN_THICKNESS_PX = 3.5
"""What is thicker in a foreign part of a picture is a defect; what isn't may be anything."""
FIRST_BOARD, BOARDS, GENERATED = 1000, 60, "generated"
"""Which generated boards are learnt from, and the name of their group. Tests and benchmarks draw others."""
NEAR_TRUTH_IOU = 0.05
"""A difference that overlaps a truth by more, and isn't matched, may be a piece of that defect: it counts half."""


@dataclass(frozen=True)
class Example:
    """One comparison. `labels` has 1 for each difference that is a defect, `weights` what each counts."""

    sample: Sample
    kind: str
    candidates: Candidates
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]


def examples(samples: Sequence[Sample], variants: int = VARIANTS, seed: int = 0) -> Iterator[Example]:
    """Compare every sample's pair as it is, worn, and its reference worn with itself."""
    for at, sample in enumerate(samples):
        assert sample.reference is not None
        pair = Pair(gray(sample.reference), gray(sample.image), sample.truths)
        yield from compared(sample, pair, np.random.default_rng([seed, at]), variants)


def generated(boards: int, seed: int = 0) -> Iterator[Example]:
    """Compare generated boards in the same way: their tracks and gaps are narrower than DeepPCB's."""
    for number in range(boards):
        board = make_board(640, 640, seed=FIRST_BOARD + number)
        picture, placed = with_defects(board, [*DEFECT_KINDS, *DEFECT_KINDS], seed=number, margin_px=DEFAULT_MARGIN_PX)
        truths = tuple(Truth(p.x, p.y, p.width, p.height, p.label) for p in placed)
        sample = Sample(name=f"generated {number}", group=GENERATED, image=Path(), truths=truths, defective=True)
        random = np.random.default_rng([seed, FIRST_BOARD + number])
        yield from compared(sample, Pair(board.picture, picture, truths), random, variants=1)


def compared(sample: Sample, pair: Pair, random: np.random.Generator, variants: int) -> Iterator[Example]:
    """Compare a pair as it is, worn, and its reference worn with itself."""
    worn = [(AS_IT_IS, pair), *(drawn(pair, random) for _ in range(variants))]
    kind, good = drawn(Pair(pair.reference, pair.reference, ()), random)
    worn.append((f"good, {kind}" if good.foreign is None else kind, good))
    for kind, each in worn:
        try:
            candidates = Reference(each.reference).differences(each.picture)
        except NotComparableError:
            continue
        told = Sample(
            name=sample.name, group=sample.group, image=sample.image, truths=each.truths, defective=bool(each.truths)
        )
        yield labelled(told, kind, candidates, each.foreign)


def labelled(
    sample: Sample, kind: str, candidates: Candidates, foreign: tuple[int, int, int, int] | None = None
) -> Example:
    """The comparison with what of it is a defect: what takes a truth, and what is solid in a foreign part."""
    count = len(candidates.regions)
    # Larger differences take a truth first: of a ragged growth's pieces the main one.
    sizes = candidates.features[:, score.FEATURES.index("core")]
    ranks = np.argsort(np.argsort(sizes)) / max(1, count)
    # No piece is joined to another here, so that each finding is one difference.
    boxes = [
        Defect(*finding.box, label=finding.label, score=finding.score)
        for finding in replace(candidates, foreign=[False] * count).findings((ranks * 0.25).tolist(), DEFAULT_MARGIN_PX)
    ]
    order = np.argsort(-ranks, kind="stable")
    labels, weights = np.zeros(count, np.float32), np.ones(count, np.float32)
    pairs = {pair.finding: pair.truth for pair in match(boxes, sample.truths, deeppcb.MIN_IOU, any_label=True)}
    for place, box in enumerate(boxes):
        if pairs[place] is not None:
            labels[order[place]] = 1
        elif any(iou(box, truth) > NEAR_TRUTH_IOU for truth in sample.truths):
            weights[order[place]] = 0.5
    if foreign:
        x, y, width, height = foreign
        thick = candidates.features[:, score.FEATURES.index("thickness")] > np.log(FOREIGN_THICKNESS_PX)
        for at, (left, top, across, down) in enumerate(candidates.regions):
            if x <= left and y <= top and left + across <= x + width and top + down <= y + height:
                labels[at], weights[at] = float(thick[at]), 1.0 if thick[at] else 0.0
    return Example(sample, kind, candidates, labels, weights)


def fitted(known: Sequence[Example], seed: int = 0) -> score.Scorer:
    """A network fitted to examples."""
    features = np.concatenate([e.candidates.features for e in known])
    labels = np.concatenate([e.labels for e in known])
    weights = np.concatenate([e.weights for e in known])
    mean, deviation = features.mean(axis=0), features.std(axis=0) + np.float32(1e-6)
    told = np.clip((features - mean) / deviation, -score.MAX_DEVIATIONS, score.MAX_DEVIATIONS)
    random = np.random.default_rng(seed)
    inputs = len(score.FEATURES)
    values = [
        random.normal(0, inputs**-0.5, (HIDDEN, inputs)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        random.normal(0, HIDDEN**-0.5, HIDDEN).astype(np.float32),
        np.zeros(1, np.float32),
    ]
    first, second = ([np.zeros_like(v) for v in values] for _ in range(2))
    step = 0
    for epoch in range(EPOCHS):
        order = random.permutation(len(labels))
        rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            x, step = told[rows], step + 1
            inner, inner_bias, outer, outer_bias = values
            hidden = np.tanh(x @ inner.T + inner_bias)
            sure = 1 / (1 + np.exp(-(hidden @ outer + outer_bias)))
            error = (sure - labels[rows]) * weights[rows] / len(rows)
            back = np.outer(error, outer) * (1 - hidden**2)
            slopes = [
                back.T @ x + DECAY * inner, back.sum(axis=0), hidden.T @ error + DECAY * outer, error.sum(keepdims=True)
            ]  # fmt: skip
            for value, slope, m, v in zip(values, slopes, first, second, strict=True):
                np.add(0.9 * m, 0.1 * slope, out=m)
                np.add(0.999 * v, 0.001 * slope**2, out=v)
                value[:] = value - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    inner, inner_bias, outer, outer_bias = values
    return score.Scorer(mean, deviation, inner, inner_bias, outer, float(outer_bias[0]))


def provenance(known: Sequence[Example]) -> dict[str, object]:
    """What weights were made of, and how."""
    return {
        "made_by": "plugins/procvision-pcb/benchmarks/learn_score.py --write",
        "data": "training pairs of DeepPCB (Tang, He, Huang, Yang, 2019) and generated boards, as they are and worn by"
        " worn.py; no picture of them is in the weights",
        "board_groups": sorted({e.sample.group for e in known}),
        "pairs": len({e.sample.name for e in known}),
        "comparisons": len(known),
        "differences": int(sum(len(e.labels) for e in known)),
        "licence": "Apache-2.0",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make the network of all groups the package's")
    parser.add_argument("--every", type=int, default=EVERY, help="take every so many pairs")
    options = parser.parse_args(arguments)
    if "DEEPPCB_DIR" not in os.environ:
        print("learn_score: the environment variable DEEPPCB_DIR is not set", file=sys.stderr)
        print("hint: let it name the folder that holds pairs/", file=sys.stderr)
        return 64
    cv2.setNumThreads(1)
    started = time.monotonic()
    known = list(examples(open_dataset(Path(os.environ["DEEPPCB_DIR"]), deeppcb.LAYOUT).samples[:: options.every]))
    known += generated(BOARDS)
    print(
        f"{len(known)} comparisons, {sum(len(e.labels) for e in known)} differences, {time.monotonic() - started:.0f} s"
    )
    groups = sorted({e.sample.group for e in known} - {GENERATED})
    scorers = {group: fitted([e for e in known if e.sample.group != group]) for group in groups}
    show(known, scorers)
    if options.write:
        WEIGHTS.write_text(score.packed(fitted(known), provenance(known)) + "\n")
        packed = {group: score.weights_of(scorer) for group, scorer in scorers.items()}
        LEFT_OUT.write_text(json.dumps({"provenance": provenance(known), "weights": packed}) + "\n")
        for path in (WEIGHTS, LEFT_OUT):
            print(f"written: {path}, {path.stat().st_size} bytes")
    return 0


def show(known: Sequence[Example], scorers: Mapping[str, score.Scorer]) -> None:
    """Print the figures of each way of wear, of groups that the weights weren't learnt from."""
    rows: dict[str, list[Observation]] = {}
    for example in known:
        if example.sample.group in scorers:
            scores = scorers[example.sample.group].scores(example.candidates.features).tolist()
            findings = example.candidates.findings(scores, DEFAULT_MARGIN_PX)
            rows.setdefault(example.kind, []).append(observed(example.sample, findings, {"execute": 0.0}))
    print(f"{'left out':28} pictures defects precision  recall F-score    mAP  of the products NG")
    for kind, seen in sorted(rows.items()):
        if kind.startswith("good") or kind.endswith("replaced"):  # no truths tell what is wrong in a foreign part
            ng = sum(1 for one in seen if any((f.score or 0) >= DEFAULT_MIN_SCORE for f in one.findings)) / len(seen)
            print(f"{kind:28} {len(seen):8} {'':42} {ng:6.1%}")
            continue
        for group in [*(sorted(scorers) if kind == AS_IT_IS else ()), ""]:
            told = figures([one for one in seen if one.sample.group == group or not group], rules())
            print(
                f"{kind + ' ' + group:28} {told['pictures']:8} {told['truths']:7} {told['precision']:9.4f}"
                f" {told['recall']:7.4f} {told['f_score']:7.4f} {told['mean_average_precision']:6.4f}"
            )


if __name__ == "__main__":
    raise SystemExit(main())
