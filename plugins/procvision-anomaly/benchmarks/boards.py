"""DeepPCB in the layout of MVTec AD, for `figures.py`: `python boards.py DEEPPCB_DIR FOLDER`.

Real defects, though not of a surface: every board is laid out anew, and what makes a track's end a fault is not how it
looks but where it is. Good are the templates, of each group the first ones to learn and the next to test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np


def write(source: Path, folder: Path, *, train: int, test: int) -> None:
    """Every board group in a folder of its own: train/good, test/good, test/defect, ground_truth/defect."""
    for group in sorted(path for path in (source / "pairs").iterdir() if path.is_dir()):
        templates = sorted(group.rglob("*_temp.jpg"))
        if len(templates) < train + test:
            continue
        target = folder / group.name
        for part in ("train/good", "test/good", "test/defect", "ground_truth/defect"):
            (target / part).mkdir(parents=True, exist_ok=True)
        for number, template in enumerate(templates[: train + test]):
            part = "train/good" if number < train else "test/good"
            cv2.imwrite(str(target / part / f"{number:03}.png"), cv2.imread(str(template)))
        for number, template in enumerate(templates[train : train + test]):
            name = template.name.removesuffix("_temp.jpg")
            picture = cv2.imread(str(template.with_name(f"{name}_test.jpg")))
            mask = np.zeros(picture.shape[:2], np.uint8)
            for line in template.with_name(f"{name}.txt").read_text().splitlines():
                x0, y0, x1, y1 = (int(value) for value in line.replace(",", " ").split()[:4])
                mask[y0:y1, x0:x1] = 255
            cv2.imwrite(str(target / "test/defect" / f"{number:03}.png"), picture)
            cv2.imwrite(str(target / "ground_truth/defect" / f"{number:03}_mask.png"), mask)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    write(given.source, given.folder, train=20, test=15)
