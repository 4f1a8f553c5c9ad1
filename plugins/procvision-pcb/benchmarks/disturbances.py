"""What becomes of good boards that are seen badly: OK, NG or refused, and why.

    python plugins/procvision-pcb/benchmarks/disturbances.py [--boards 100] [--every 4] [--json]

Each picture is its own reference's, disturbed, so there is nothing to find: an NG is a false alarm. Generated boards
always (none that the score was learnt from), every `--every`th DeepPCB reference too where DEEPPCB_DIR is set.
Mirrored, turned and exchanged pictures are of the wrong board or lie wrong: an OK or NG there is a verdict that should
have been refused, unless the board looks the same so; "looks the same" counts those whose edges agree as well as a good
board's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from deeppcb import gray
from numpy.typing import NDArray

from procvision_pcb.compare import DEFAULT_MIN_SCORE, Reference
from procvision_pcb.errors import NotComparableError
from procvision_testing.boards import make_board
from procvision_tools.datasets import deeppcb, open_dataset

Gray = NDArray[np.uint8]
Disturbance = Callable[[Gray, np.random.Generator], Gray]
FIRST_BOARD = 5000
SQUARE = np.ones((3, 3), np.uint8)


def blurred(px: float, noise: float = 0) -> Disturbance:
    """Out of focus by a Gaussian of this width, then noise of this standard deviation, in grey levels."""

    def disturb(picture: Gray, random: np.random.Generator) -> Gray:
        seen = cv2.GaussianBlur(picture, (0, 0), px) if px else picture
        return np.clip(np.rint(seen + random.normal(0, noise, picture.shape)), 0, 255).astype(np.uint8)

    return disturb


def thinner(px: int) -> Disturbance:
    """Copper, which is dark, eroded by so many pixels in all eight directions; dilated for less than 0."""

    def disturb(picture: Gray, _: np.random.Generator) -> Gray:
        change = cv2.dilate if px > 0 else cv2.erode
        return np.asarray(change(picture, SQUARE, iterations=abs(px)), dtype=np.uint8)

    return disturb


def turned(degrees: float) -> Disturbance:
    """About the middle; what comes into view is substrate."""

    def disturb(picture: Gray, _: np.random.Generator) -> Gray:
        height, width = picture.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
        size = (width, height)
        return np.asarray(
            cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=255), dtype=np.uint8
        )

    return disturb


def shifted(dx: float, dy: float) -> Disturbance:
    """What comes into view is substrate."""

    def disturb(picture: Gray, _: np.random.Generator) -> Gray:
        height, width = picture.shape
        matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
        size = (width, height)
        return np.asarray(
            cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=255), dtype=np.uint8
        )

    return disturb


DISTURBANCES: dict[str, Disturbance] = {
    "as it is": lambda picture, _: picture,
    **{f"blur {px} px": blurred(px) for px in (1, 1.5, 2, 2.5, 3, 4, 6)},
    **{f"noise {noise}": blurred(0, noise) for noise in (10, 20, 30, 40, 50, 80)},
    "blur 2 px, noise 20": blurred(2, 20),
    **{f"copper eroded by {px} px": thinner(px) for px in (1, 2, 3)},
    **{f"copper dilated by {px} px": thinner(-px) for px in (1, 2, 3)},
    "shifted by 9.5, -6.3 px": shifted(9.5, -6.3),
    "turned by 1 degree": turned(1),
    "turned by 3 degrees": turned(3),
}
WRONG: dict[str, Disturbance] = {
    "mirrored": lambda picture, _: np.ascontiguousarray(picture[:, ::-1]),
    "upside down (mirrored)": lambda picture, _: np.ascontiguousarray(picture[::-1]),
    "turned by 180 degrees": lambda picture, _: np.ascontiguousarray(picture[::-1, ::-1]),
    "turned by 90 degrees": lambda picture, _: np.ascontiguousarray(np.rot90(picture)),
    **{f"turned by {degrees} degrees": turned(degrees) for degrees in (8, 15, 45)},
    "negative": lambda picture, _: 255 - picture,
}
ANOTHER = "another board"
SAME_ASTRAY_SHARE = 0.06
"""No pair of DeepPCB's has more of its edges astray."""


def answer(reference: Reference, picture: Gray) -> tuple[str, str]:
    """OK, NG, refused or the same, and why it was refused."""
    try:
        comparison = reference.compare(picture)
    except NotComparableError as error:
        return "refused", error.reason
    ng = any(finding.score >= DEFAULT_MIN_SCORE for finding in comparison.findings)
    return "NG" if ng else "OK", "the same" if comparison.condition.astray_share <= SAME_ASTRAY_SHARE else ""


def measure(boards: Sequence[Gray]) -> dict[str, Counter[str]]:
    """For each disturbance how many boards got which answer."""
    learnt = []
    for board in boards:
        try:
            learnt.append((board, Reference(board)))
        except NotComparableError:
            continue
    rows: dict[str, Counter[str]] = {}
    for name, disturb in [*DISTURBANCES.items(), *WRONG.items(), (ANOTHER, None)]:
        row = rows[name] = Counter()
        for at, (board, reference) in enumerate(learnt):
            other = learnt[(7 * at + 11) % len(learnt)][0]
            if disturb is None and (other is board or np.array_equal(other, board)):
                continue
            picture = other if disturb is None else disturb(board, np.random.default_rng(at))
            verdict, why = answer(reference, picture)
            wrong = name in WRONG or name == ANOTHER
            row["the same" if wrong and why == "the same" else verdict] += 1
            if verdict == "refused":
                row[f"because of {why}"] += 1
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=100, help="how many boards to generate")
    parser.add_argument("--every", type=int, default=4, help="take every so many DeepPCB references")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    sources = {"generated": [make_board(640, 640, seed=FIRST_BOARD + n).picture for n in range(options.boards)]}
    if "DEEPPCB_DIR" in os.environ:
        samples = open_dataset(Path(os.environ["DEEPPCB_DIR"]), deeppcb.LAYOUT).samples[:: options.every]
        sources["DeepPCB"] = [gray(sample.reference) for sample in samples if sample.reference is not None]
    else:
        print("disturbances: DEEPPCB_DIR is not set, generated boards alone", file=sys.stderr)
    tables = {source: measure(boards) for source, boards in sources.items()}
    if options.json:
        print(json.dumps(tables))
        return 0
    for source, rows in tables.items():
        print(
            f"\n| {source}: {len(sources[source])} boards | OK | NG | refused | looks the same | refused because of |"
        )
        print("|---|---|---|---|---|---|")
        for name, row in rows.items():
            total = sum(row[key] for key in ("OK", "NG", "refused", "the same"))
            cells = [f"{row[key] / max(1, total):.1%}" for key in ("OK", "NG", "refused", "the same")]
            because = ", ".join(f"{key[11:]} ({n})" for key, n in row.most_common() if key.startswith("because"))
            print(f"| {name} | {' | '.join(cells)} | {because} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
