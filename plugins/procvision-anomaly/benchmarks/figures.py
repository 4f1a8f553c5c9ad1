"""The figures of the documents: `python figures.py FOLDER`, FOLDER holding surfaces in the layout of MVTec AD.

Each surface is learnt from train/good by `procvision train`, asked for 5 % false alarms, and measured on test as
MVTec AD has it: the picture's AUROC (which `procvision evaluate surface-anomaly FOLDER/SURFACE --param model=FILE`
gives as well, through hosts), the pixels' AUROC, and AUPRO, the mean share of each defect's region that is marked,
over the false-positive rates of pixels up to 0.3. Then, at the model's own threshold, how many good pictures are
called NG and how many pictures with a defect have a box on it. Intervals hold 95 %: AUROC's by drawing the pictures
anew 1,000 times, those of shares after Clopper and Pearson. Times are those of a processor, whatever else it does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_anomaly import modelfile
from procvision_anomaly.description import Network, keep_to_one_core
from procvision_anomaly.regions import regions
from procvision_anomaly.threshold import beta_quantile
from procvision_tools.evaluation.ranking import auroc

LAYOUTS = ("aligned", "texture")
RATE = 0.05
_RANKS = 200_000
"""Pixels that the pixel AUROC is taken of, drawn by lot."""
_PRO_LIMIT = 0.3
"""AUPRO's bound on false positives (Bergmann et al. 2021)."""
_LEVELS = 300
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})


def above(positive: Any, negative: Any) -> float:
    """Return the chance that a positive value is above a negative one."""
    return auroc(np.concatenate([positive, negative]), np.repeat([True, False], [len(positive), len(negative)])) or 0.0


def auroc_interval(positive: NDArray[Any], negative: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % interval of an AUROC."""
    rng = np.random.default_rng(0)
    drawn = [above(rng.choice(positive, len(positive)), rng.choice(negative, len(negative))) for _ in range(1000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    low = beta_quantile(hits, count, 0.025) if hits else 0.0
    high = beta_quantile(hits + 1, count, 0.975) if hits < count else 1.0
    return low, high


def aupro(maps: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_]]) -> float:
    """Return the area under the mean overlap of regions, over false-positive rates of 0 to `_PRO_LIMIT`, as a share."""
    outside = np.sort(np.concatenate([one[~mask] for one, mask in zip(maps, masks, strict=True)]))
    levels = outside[np.linspace((1 - _PRO_LIMIT) * (len(outside) - 1), len(outside) - 1, _LEVELS).astype(int)][::-1]
    rates = np.array([1 - np.searchsorted(outside, level, "right") / len(outside) for level in levels])
    overlaps = []
    for one, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for label in range(1, count):
            inside = np.sort(one[labels == label])
            overlaps.append(1 - np.searchsorted(inside, levels, "right") / len(inside))
    mean = np.mean(overlaps, axis=0)
    rates, mean = np.append(rates, _PRO_LIMIT), np.append(mean, mean[-1])
    return float(np.trapezoid(mean, rates) / _PRO_LIMIT)


def measured(surface: Path, layout: str) -> dict[str, Any]:
    """Return one surface's figures."""
    with tempfile.TemporaryDirectory() as folder:
        model_file = Path(folder) / "model"
        began = _children_s()
        command = [sys.executable, "-m", "procvision_tools.cli.main", "train", "surface-anomaly"]
        params = ["--param", f"layout={layout}", "--param", f"false_alarms={RATE}"]
        subprocess.run(
            [*command, str(surface / "train" / "good"), "--out", str(model_file), *params],
            check=True,
            stdout=sys.stderr,
        )
        learnt_in_s = _children_s() - began
        model, _ = modelfile.read(model_file, Network())
    threshold = model.facts.threshold().value
    scores: dict[str, list[float]] = {}
    hit: dict[str, list[bool]] = {}
    maps, masks, took = [], [], []
    for kind in sorted((surface / "test").iterdir()):
        for path in sorted(one for one in kind.iterdir() if one.suffix.lower() in _SUFFIXES):
            picture = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
            began = time.process_time()
            score_map = model.score_map(picture)
            took.append(time.process_time() - began)
            scores.setdefault(kind.name, []).append(float(score_map.max()))
            height, width = picture.shape[:2]
            mask = np.zeros((height, width), bool)
            if kind.name != "good":
                truth = surface / "ground_truth" / kind.name / f"{path.stem}_mask.png"
                mask = cv2.imread(str(truth), cv2.IMREAD_GRAYSCALE) > 0
                boxes = [one.box for one in regions(score_map, threshold, width, height, 0)]
                hit.setdefault(kind.name, []).append(any(mask[y : y + h, x : x + w].any() for x, y, w, h in boxes))
            maps.append(cv2.resize(score_map, (width, height), interpolation=cv2.INTER_LINEAR))
            masks.append(mask)
    fine = np.array(scores.pop("good"))
    bad = np.concatenate(list(scores.values()))
    rng = np.random.default_rng(0)
    pixels, truths = np.concatenate([one.ravel() for one in maps]), np.concatenate([one.ravel() for one in masks])
    found = sum(map(sum, hit.values()))
    return {
        "surface": surface.name,
        "layout": layout,
        "auroc": above(bad, fine),
        "auroc_interval": auroc_interval(bad, fine),
        "pixel_auroc": above(_some(pixels[truths], rng), _some(pixels[~truths], rng)),
        "aupro": aupro(maps, masks),
        "false_alarms": float(np.mean(fine > threshold)),
        "false_alarms_interval": share_interval(int((fine > threshold).sum()), len(fine)),
        "called_ng": float(np.mean(bad > threshold)),
        "found": found / len(bad),
        "found_interval": share_interval(found, len(bad)),
        "found_by_defect": {kind: float(np.mean(hits)) for kind, hits in hit.items()},
        "auroc_by_defect": {kind: above(np.array(values), fine) for kind, values in scores.items()},
        "learnt_in_s": round(learnt_in_s, 1),
        "ms": round(1000 * float(np.median(took)), 1),
    }


def _children_s() -> float:
    """Return the processor time of processes that were waited for, in s."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _some(values: Any, rng: np.random.Generator) -> Any:
    return values if len(values) <= _RANKS else rng.choice(values, _RANKS, replace=False)


def _spread(share: float, interval: Sequence[float]) -> str:
    return f"{share:.0%} ({interval[0]:.0%}-{interval[1]:.0%})"


def table(rows: list[Mapping[str, Any]]) -> str:
    """Return it as it stands in the README."""
    lines = [
        "| surface | layout | image AUROC | pixel AUROC | AUPRO | good called NG | defects found | each |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["auroc_interval"]
        kinds = "; ".join(
            f"{kind} {value:.2f}, {row['found_by_defect'][kind]:.0%}" for kind, value in row["auroc_by_defect"].items()
        )
        lines.append(
            f"| {row['surface']} | {row['layout']} | {row['auroc']:.3f} ({low:.3f}-{high:.3f}) | "
            f"{row['pixel_auroc']:.3f} | {row['aupro']:.3f} | "
            f"{_spread(row['false_alarms'], row['false_alarms_interval'])} | "
            f"{_spread(row['found'], row['found_interval'])} | {kinds} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="These surfaces alone.")
    parser.add_argument("--layout", nargs="*", choices=LAYOUTS, default=LAYOUTS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    keep_to_one_core()
    rows: list[Mapping[str, Any]] = []
    for surface in sorted(path for path in given.folder.iterdir() if (path / "train" / "good").is_dir()):
        if given.only and surface.name not in given.only:
            continue
        for layout in given.layout:
            rows.append(measured(surface, layout))
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(rows, indent=2) if given.json else table(rows))
