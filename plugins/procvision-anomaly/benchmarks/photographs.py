"""Photographed surfaces, spoiled: `python photographs.py FOLDER` writes them in the layout of MVTec AD.

Brick, grass and gravel as scikit-image brings them (`pip install scikit-image`), 512 x 512 px in the public domain.
Each is enlarged twofold and cut into 64 pieces of 128 x 128 px that don't overlap: 40 drawn by lot are learnt from,
24 are tested on, spoiled with the defects of `textures.py` as well. The surfaces are real, the defects are not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import textures

SURFACES = ("brick", "grass", "gravel")
PIECE_PX = 128
LEARNT = 40


def pieces(surface: str) -> list[np.ndarray]:
    """Return the photograph's pieces in an order of chance, 128 x 128 x 3 float32 of 0 to 1."""
    photograph = cv2.resize(getattr(skimage.data, surface)(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    rows = [photograph[at : at + PIECE_PX] for at in range(0, photograph.shape[0], PIECE_PX)]
    cut = [row[:, at : at + PIECE_PX] for row in rows for at in range(0, photograph.shape[1], PIECE_PX)]
    order = np.random.default_rng(list(surface.encode())).permutation(len(cut))
    return [np.dstack([cut[at]] * 3).astype(np.float32) / 255 for at in order]


def write(folder: Path) -> None:
    """Write every surface in a folder of its own."""
    textures.SIZE = PIECE_PX
    for surface in SURFACES:
        cut = pieces(surface)
        for number, piece in enumerate(cut):
            rng = np.random.default_rng([0, number, *surface.encode()])
            part = "train" if number < LEARNT else "test"
            _save(folder / surface / part / "good" / f"{number:03}.png", textures.lit(rng, piece))
        for kind, defect in textures.DEFECTS.items():
            for number, piece in enumerate(cut[LEARNT:]):
                rng = np.random.default_rng([1, number, *surface.encode(), *kind.encode()])
                picture, mask = defect(rng, piece)
                _save(folder / surface / "test" / kind / f"{number:03}.png", textures.lit(rng, picture))
                mask_file = folder / surface / "ground_truth" / kind / f"{number:03}_mask.png"
                mask_file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(mask_file), mask.astype(np.uint8) * 255)


def _save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
