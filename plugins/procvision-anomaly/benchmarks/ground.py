"""Ground metal of mixed sizes, to learn and to spoil: `python ground.py FOLDER` writes it in the layout of MVTec AD.

Grey tiles with the marks of a grinding wheel, each lit in another way from across its curve, each cut out in another
size. The defects are those that inspectors of magnets name: blowhole, crack, break, fray, uneven. Unlike
`textures.py`'s these lie at the limit of what shows: a blowhole may have a radius of 3 px, what is uneven is a fifth
darker than its surroundings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.float32]
"""H x W, grey values."""
Mask: TypeAlias = NDArray[np.bool_]
Rng: TypeAlias = np.random.Generator


def _noise(rng: Rng, shape: tuple[int, ...], across_px: float, along_px: float) -> Picture:
    """Return smooth noise of mean 0 and deviation 1."""
    made = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigmaX=across_px, sigmaY=along_px)
    return (made - made.mean()) / made.std()


def tile(rng: Rng) -> Picture:
    """Return a good tile."""
    height, width = int(rng.uniform(180, 400)), int(rng.uniform(110, 400))
    brightness = rng.uniform(60, 110)
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    light = 1 - rng.uniform(0.1, 0.45) * (x - rng.uniform(-0.3, 0.3)) ** 2 + rng.uniform(-0.1, 0.1) * y
    if rng.random() < 0.4:  # the edge of a reflection
        light = light * (1 - rng.uniform(0.1, 0.3) / (1 + np.exp((x - rng.uniform(-0.8, 0.8)) * rng.uniform(10, 40))))
    shape = (height, width)
    made = (
        brightness * light
        + rng.uniform(1, 4) * _noise(rng, shape, 0.8, 12)
        + rng.uniform(1, 3) * _noise(rng, shape, 15, 25)
        + rng.uniform(1, 4) * _noise(rng, shape, 1, 1)
        + rng.normal(0, 1.5, shape)
    ).astype(np.float32)
    if rng.random() < 0.3:  # dust, which is no defect
        for _ in range(int(rng.integers(1, 5))):
            cv2.circle(made, (int(rng.integers(width)), int(rng.integers(height))), 1, float(brightness * 0.7), -1)
    return made


def _somewhere(rng: Rng, picture: Picture) -> tuple[float, float]:
    return rng.uniform(20, picture.shape[1] - 20), rng.uniform(20, picture.shape[0] - 20)


def blowhole(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """A dark spot of 3 to 7 px radius."""
    x, y = _somewhere(rng, picture)
    radius = rng.uniform(2.5, 7)
    down, along = np.mgrid[: picture.shape[0], : picture.shape[1]]
    far = np.hypot(along - x, (down - y) * rng.uniform(0.7, 1.3))
    return picture * (1 - rng.uniform(0.3, 0.7) / (1 + np.exp((far - radius) * 1.5))), far < radius + 1


def crack(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """A thin dark line that wanders."""
    points, angle = [_somewhere(rng, picture)], rng.uniform(0, np.pi)
    for _ in range(6):
        angle += rng.normal(0, 0.4)
        length = rng.uniform(6, 16)
        points.append((points[-1][0] + length * np.cos(angle), points[-1][1] + length * np.sin(angle)))
    drawn = np.zeros(picture.shape, np.uint8)
    cv2.polylines(drawn, [np.array(points).round().astype(np.int32)], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    soft = cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), 0.8)
    return picture * (1 - rng.uniform(0.3, 0.6) * soft), drawn > 60


def broken(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """A piece that broke out of an edge."""
    height, width = picture.shape
    x, y = _somewhere(rng, picture)
    centre = np.array(((0, y), (width, y), (x, 0), (x, height))[int(rng.integers(4))])
    turns = np.linspace(0, 2 * np.pi, 24)[:-1]
    reach = rng.uniform(10, 35) * rng.uniform(0.6, 1.2, (23, 1))
    outline = (centre + np.stack([np.cos(turns), np.sin(turns)], 1) * reach).round().astype(np.int32)
    drawn = np.zeros(picture.shape, np.uint8)
    cv2.fillPoly(drawn, [outline], 1)
    soft = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 1)
    inside = 60 + rng.uniform(-30, 60) + 12 * _noise(rng, picture.shape, 3, 3)
    return picture * (1 - soft) + inside * soft, drawn > 0


def fray(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """Spots where the surface came off."""
    x, y = _somewhere(rng, picture)
    down, along = np.mgrid[: picture.shape[0], : picture.shape[1]]
    mask = (_noise(rng, picture.shape, 6, 6) > 1) & (np.hypot(along - x, down - y) < 60)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
    change = rng.uniform(12, 35) * rng.choice([1, -1]) + 5 * _noise(rng, picture.shape, 1, 1)
    return picture + soft * change, mask


def uneven(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """A large soft place that was ground more or less than the rest."""
    x, y = _somewhere(rng, picture)
    down, along = np.mgrid[: picture.shape[0], : picture.shape[1]]
    fall = np.exp(-(((along - x) / rng.uniform(25, 60)) ** 2) - ((down - y) / rng.uniform(30, 90)) ** 2)
    return picture * (1 + rng.choice([-1, 1]) * rng.uniform(0.2, 0.4) * fall), fall > 0.4


DEFECTS: Mapping[str, Callable[[Rng, Picture], tuple[Picture, Mask]]] = MappingProxyType(
    {"blowhole": blowhole, "crack": crack, "break": broken, "fray": fray, "uneven": uneven}
)


def _save(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))


def write(folder: Path, *, train: int, test: int, per_defect: int) -> None:
    """Write train/good, test/good, test/DEFECT and ground_truth/DEFECT below FOLDER/ground."""
    target = folder / "ground"
    for part, seed, count in (("train", 1, train), ("test", 2, test)):
        for number in range(count):
            _save(target / part / "good" / f"{number:03}.png", tile(np.random.default_rng([seed, number])))
    for kind, defect in DEFECTS.items():
        for number in range(per_defect):
            rng = np.random.default_rng([3, *kind.encode(), number])
            mask = np.zeros(1, bool)
            while not mask.any():  # a fray may come to nothing
                picture, mask = defect(rng, tile(rng))
            _save(target / "test" / kind / f"{number:03}.png", picture)
            _save(target / "ground_truth" / kind / f"{number:03}_mask.png", mask.astype(np.float32) * 255)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--per-defect", type=int, default=40)
    given = parser.parse_args()
    write(given.folder, train=given.train, test=given.test, per_defect=given.per_defect)
