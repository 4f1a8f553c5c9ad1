"""Measures pcb-compare on boards that are seen otherwise than the reference: moved, in other light, noisy.

    python plugins/procvision-pcb/benchmarks/views.py [--json] [--boards 40]

Generated boards with known defects always, every sixth DeepPCB pair too where DEEPPCB_DIR is set; the measures are
those of deeppcb.py. A picture that is moved after the fact shows nothing beyond its old border, so what lies within
14 px of that isn't counted, neither as truth nor as finding. "errors" are pictures that were refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from deeppcb import gray, observed, rules
from numpy.typing import NDArray

from procvision_pcb.compare import DEFAULT_MARGIN_PX, Reference
from procvision_pcb.errors import NotComparableError
from procvision_testing.boards import DEFECT_KINDS, make_board, with_defects
from procvision_tools.datasets import Sample, Truth, deeppcb, open_dataset
from procvision_tools.evaluation.figures import figures

Gray = NDArray[np.uint8]
BORDER_PX = 14
MAX_SHIFT_PX = 80
EVERY = 6


@dataclass(frozen=True)
class Case:
    """A reference, a picture of a damaged board, and the damage."""

    name: str
    reference: Gray
    picture: Gray
    truths: list[Truth]


@dataclass(frozen=True)
class View:
    """What happens to a picture: `matrix` moves it, `light` does the rest."""

    matrix: NDArray[np.float64]
    light: Callable[[Gray], Gray]

    def __call__(self, picture: Gray) -> Gray:
        """The picture so seen."""
        if not np.array_equal(self.matrix, np.eye(2, 3)):
            size = (picture.shape[1], picture.shape[0])
            moved = cv2.warpAffine(picture, self.matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
            picture = np.asarray(moved, dtype=np.uint8)
        return self.light(picture)


def moved(degrees: float = 0, scale: float = 1, dx: float = 0, dy: float = 0, side: int = 640) -> NDArray[np.float64]:
    """A motion about the middle of a square picture."""
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, scale)
    matrix[:, 2] += np.array([dx, dy])
    return np.asarray(matrix, dtype=np.float64)


def even(picture: Gray) -> Gray:
    """As it is."""
    return picture


def underexposed(picture: Gray) -> Gray:
    """Forty percent of the contrast."""
    return (picture * 0.4 + 30).astype(np.uint8)


def uneven(picture: Gray) -> Gray:
    """Half of the light at the left, four fifths of it at the top, and haze."""
    light = np.linspace(0.5, 1, picture.shape[1]) * np.linspace(0.8, 1, picture.shape[0])[:, None]
    return ((60 + picture * 0.6) * light).astype(np.uint8)


def noisy(blur_px: float, noise: float) -> Callable[[Gray], Gray]:
    """Out of focus by a Gaussian of this width, then noise of this standard deviation, in grey levels of 255."""

    def view(picture: Gray) -> Gray:
        blurred = cv2.GaussianBlur(picture, (0, 0), blur_px) if blur_px else picture
        noise_levels = np.random.default_rng(0).normal(0, noise, picture.shape)
        return np.clip(blurred + noise_levels, 0, 255).astype(np.uint8)

    return view


def uneven_and_noisy(picture: Gray) -> Gray:
    """Uneven light and a sensor's noise."""
    return noisy(0, 10)(uneven(picture))


VIEWS = {
    "as it is": View(np.eye(2, 3), even),
    "shifted by 12, -9 px": View(moved(dx=12, dy=-9), even),
    "shifted by 30, 20 px": View(moved(dx=30.5, dy=20), even),
    "turned by 0.5 degrees": View(moved(0.5), even),
    "turned by 1 degree": View(moved(1), even),
    "turned by 2 degrees": View(moved(2), even),
    "turned by 3 degrees": View(moved(3), even),
    "larger by 1 %": View(moved(scale=1.01), even),
    "smaller by 3 %": View(moved(scale=0.97), even),
    "turned 1, larger 1 %, shifted 8, -5": View(moved(1, 1.01, 8, -5), even),
    "40 % contrast": View(np.eye(2, 3), underexposed),
    "uneven light": View(np.eye(2, 3), uneven),
    "blur 1 px, noise 10": View(np.eye(2, 3), noisy(1, 10)),
    "blur 1.5 px, noise 20": View(np.eye(2, 3), noisy(1.5, 20)),
    "uneven light, noise 10, turned 0.5": View(moved(0.5), uneven_and_noisy),
}


def generated(boards: int) -> list[Case]:
    """Boards of the SDK's, with two defects of each kind where there is room."""
    cases = []
    for seed in range(boards):
        board = make_board(640, 640, seed=seed)
        picture, placed = with_defects(board, [*DEFECT_KINDS, *DEFECT_KINDS], seed=seed, margin_px=DEFAULT_MARGIN_PX)
        truths = [Truth(p.x, p.y, p.width, p.height, p.label) for p in placed]
        cases.append(Case(str(seed), board.picture, picture, truths))
    return cases


def real(folder: Path) -> list[Case]:
    """Every sixth DeepPCB pair."""
    samples = open_dataset(folder, deeppcb.LAYOUT).samples[::EVERY]
    return [
        Case(sample.name, gray(sample.reference), gray(sample.image), list(sample.truths))
        for sample in samples
        if sample.reference is not None
    ]


def measure(cases: Sequence[Case], view: View) -> dict[str, Any]:
    """Figures of all cases in one view."""
    observations, refused = [], 0
    is_moved = not np.array_equal(view.matrix, np.eye(2, 3))
    for case in cases:
        reference, seen = Reference(case.reference), view(case.picture)
        height, width = seen.shape
        started = time.perf_counter()
        try:
            findings = reference.compare(seen, max_shift_px=MAX_SHIFT_PX).findings
        except NotComparableError:
            findings, refused = [], refused + 1
        took_ms = (time.perf_counter() - started) * 1e3
        truths = case.truths
        if is_moved:
            findings = [f for f in findings if _was_shown(view.matrix, f.box, seen.shape)]
            truths = [moved for truth in truths if (moved := _moved_truth(view.matrix, truth, width, height))]
        sample = Sample(name=case.name, image=Path(case.name), truths=tuple(truths), defective=bool(truths))
        observations.append(observed(sample, findings, {"execute": took_ms}))
    return {**figures(observations, rules()), "errors": refused}


def _was_shown(matrix: NDArray[np.float64], box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
    x, y, width, height = box
    middle = np.linalg.solve(matrix[:, :2], np.array([x + width / 2, y + height / 2]) - matrix[:, 2])
    return bool((middle > BORDER_PX).all() and middle[0] < shape[1] - BORDER_PX and middle[1] < shape[0] - BORDER_PX)


def _moved_truth(matrix: NDArray[np.float64], truth: Truth, width: int, height: int) -> Truth | None:
    left, top, right, bottom = truth.x, truth.y, truth.x + truth.width, truth.y + truth.height
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]]) @ matrix[:, :2].T + matrix[:, 2]
    x0, y0 = (float(v) for v in np.clip(corners.min(axis=0), 0, (width, height)))
    x1, y1 = (float(v) for v in np.clip(corners.max(axis=0), 0, (width, height)))
    return Truth(x0, y0, x1 - x0, y1 - y0, truth.label) if min(x1 - x0, y1 - y0) > BORDER_PX else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--boards", type=int, default=40, help="how many boards to generate")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    sources = {"generated": generated(options.boards)}
    if "DEEPPCB_DIR" in os.environ:
        sources["DeepPCB"] = real(Path(os.environ["DEEPPCB_DIR"]))
    else:
        print("views: DEEPPCB_DIR is not set, generated boards alone", file=sys.stderr)
    rows = {source: {name: measure(cases, view) for name, view in VIEWS.items()} for source, cases in sources.items()}
    if options.json:
        print(json.dumps(rows))
        return 0
    for source, views in rows.items():
        print(f"{source:36} precision  recall F-score    mAP errors   ms")
        for name, row in views.items():
            print(
                f"  {name:34} {row['precision']:9.3f} {row['recall']:7.3f} {row['f_score']:7.3f}"
                f" {row['mean_average_precision']:6.3f} {row['errors']:6} {row['execute_p50_ms']:4.1f}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
