"""The figures of the documents: `python figures.py FOLDER`, FOLDER being what `textures.py` wrote, or MVTec AD.

Each surface is learnt from train/good by `procvision train` and measured on test, by the model's own score map: the
picture's AUROC (which `procvision evaluate surface-anomaly FOLDER/SURFACE --param model=FILE` gives as
well, through hosts), the pixels' AUROC, and how many pictures with a defect have a box on it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from procvision_anomaly import modelfile
from procvision_anomaly.regions import regions
from procvision_tools.evaluation.ranking import auroc

ALIGNED = frozenset({"printed"})
"""Surfaces on which the same thing lies at the same place."""
_RANKS = 200_000
"""Pixels that the pixel AUROC is taken of, drawn by lot."""


def above(positive: Any, negative: Any) -> float | None:
    """The chance that a positive value is above a negative one."""
    return auroc(np.concatenate([positive, negative]), np.repeat([True, False], [len(positive), len(negative)]))


def measured(surface: Path, layout: str) -> dict[str, Any]:
    """One surface's figures."""
    with tempfile.TemporaryDirectory() as folder:
        model_file = Path(folder) / "model"
        began = time.perf_counter()
        procvision = [sys.executable, "-m", "procvision_tools.cli.main"]
        given = ["surface-anomaly", str(surface / "train" / "good"), "--out", str(model_file)]
        subprocess.run([*procvision, "train", *given, "--param", f"layout={layout}"], check=True, stdout=sys.stderr)
        learnt_in_s = time.perf_counter() - began
        model, _ = modelfile.read(model_file)
        scores: dict[str, list[float]] = {}
        hit: dict[str, list[bool]] = {}
        inside, outside = [], []
        rng = np.random.default_rng(0)
        took = 0.0
        for kind in sorted((surface / "test").iterdir()):
            for path in sorted(kind.glob("*.png")):
                picture = cv2.imread(str(path))[..., ::-1]
                began = time.perf_counter()
                score_map = model.score_map(picture)
                took += time.perf_counter() - began
                scores.setdefault(kind.name, []).append(float(score_map.max()))
                height, width = picture.shape[:2]
                if kind.name == "good":
                    mask = np.zeros((height, width), bool)
                else:
                    truth = surface / "ground_truth" / kind.name / f"{path.stem}_mask.png"
                    mask = cv2.imread(str(truth), cv2.IMREAD_GRAYSCALE) > 0
                    boxes = [one.box for one in regions(score_map, 1.0, width, height, 0)]
                    hit.setdefault(kind.name, []).append(any(mask[y : y + h, x : x + w].any() for x, y, w, h in boxes))
                pixels = cv2.resize(score_map, (width, height), interpolation=cv2.INTER_LINEAR)
                inside.append(pixels[mask])
                rest = pixels[~mask]
                outside.append(rest[rng.choice(len(rest), min(len(rest), 4000), replace=False)])
    fine = scores.pop("good")
    return {
        "surface": surface.name,
        "layout": layout,
        "auroc": above(np.concatenate(list(scores.values())), fine),
        "pixel_auroc": above(_some(np.concatenate(inside), rng), _some(np.concatenate(outside), rng)),
        "found": {kind: float(np.mean(hits)) for kind, hits in hit.items()},
        "by_defect": {kind: above(values, fine) for kind, values in scores.items()},
        "false_alarms": float(np.mean(np.array(fine) > 1)),
        "learnt_in_s": round(learnt_in_s, 1),
        "ms": round(1000 * took / (sum(map(len, scores.values())) + len(fine))),
    }


def _some(values: Any, rng: np.random.Generator) -> Any:
    return values if len(values) <= _RANKS else rng.choice(values, _RANKS, replace=False)


def table(rows: list[Mapping[str, Any]]) -> str:
    """As it stands in the README."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row["by_defect"]))
    lines = [
        "| surface | image AUROC | pixel AUROC | good called NG | " + " | ".join(kinds) + " |",
        "|---|---|---|---|" + "---|" * len(kinds),
    ]
    for row in rows:
        cells = [
            f"{row['by_defect'][kind]:.2f}, {row['found'][kind]:.0%}" if kind in row["by_defect"] else ""
            for kind in kinds
        ]
        lines.append(
            f"| {row['surface']} ({row['layout']}) | {row['auroc']:.3f} | {row['pixel_auroc']:.3f} "
            f"| {row['false_alarms']:.0%} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="These surfaces alone.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: list[Mapping[str, Any]] = []
    for surface in sorted(path for path in given.folder.iterdir() if (path / "train" / "good").is_dir()):
        if given.only and surface.name not in given.only:
            continue
        for layout in ("texture", "aligned") if surface.name in ALIGNED else ("texture",):
            rows.append(measured(surface, layout))
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(rows, indent=2) if given.json else table(rows))
