"""Surfaces to learn and to spoil: `python textures.py FOLDER` writes them in the layout of MVTec AD.

Each surface is made anew for every picture: another place of the pattern, another light, other noise. The defects are
those that inspectors name: scratch, stain, hole, dent, colour shift, and a thread, rib or print that is missing.
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

SIZE = 320
Picture: TypeAlias = NDArray[np.float32]
"""H x W x 3, 0..1, RGB."""
Mask: TypeAlias = NDArray[np.bool_]
Rng: TypeAlias = np.random.Generator


def _noise(rng: Rng, sigma_px: float) -> Picture:
    """Smooth noise of mean 0 and deviation 1."""
    made = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), sigma_px)
    return (made - made.mean()) / made.std()


def _grid() -> tuple[Picture, Picture]:
    return tuple(np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32)))  # type: ignore[return-value]


def _tinted(grey: Picture, colour: tuple[float, float, float]) -> Picture:
    return grey[..., None] * np.asarray(colour, np.float32)


def weave(rng: Rng, missing: bool = False) -> tuple[Picture, Mask]:
    """Cloth of threads over and under; one may be missing over a part of its length."""
    x, y = _grid()
    x, y = x + rng.uniform(0, 20) + 0.8 * _noise(rng, 30), y + rng.uniform(0, 20) + 0.8 * _noise(rng, 30)
    pitch = 10.0
    column, row = np.floor(x / pitch), np.floor(y / pitch)
    over = (column + row) % 2 == 0
    across, along = np.sin(np.pi * (x % pitch) / pitch), np.sin(np.pi * (y % pitch) / pitch)
    warp, weft = 0.35 + 0.45 * across, 0.30 + 0.40 * along
    mask = np.zeros((SIZE, SIZE), bool)
    if missing:
        gone = column == np.floor((x[SIZE // 2, 0] + rng.uniform(60, SIZE - 60)) / pitch)
        start = rng.uniform(20, SIZE - 140)
        mask = gone & (np.abs(_grid()[1] - start - 60) < 60)
        over = over & ~mask
        weft = np.where(mask, weft * 0.75, weft)
    return _tinted(np.where(over, warp, weft), (0.75, 0.8, 1.0)), mask


def brushed(rng: Rng, missing: bool = False) -> tuple[Picture, Mask]:
    """Metal brushed in one direction. Nothing in it could be missing: a rub takes the brushing away."""
    lines = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), sigmaX=25, sigmaY=0.7)
    lines /= lines.std()
    mask = np.zeros((SIZE, SIZE), bool)
    if missing:
        mask = _blob(rng, 22)
        lines = np.where(mask, cv2.GaussianBlur(lines, (0, 0), 4), lines)
    return _tinted(0.6 + 0.07 * lines, (1.0, 1.0, 0.98)), mask


def grain(rng: Rng, missing: bool = False) -> tuple[Picture, Mask]:
    """Leather: cells of no order, of one size. Where the embossing failed, it is smooth."""
    cells = np.abs(_noise(rng, 4)) + 0.3 * np.abs(_noise(rng, 1.5))
    mask = np.zeros((SIZE, SIZE), bool)
    if missing:
        mask = _blob(rng, 24)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)
        cells = cells * (1 - soft) + cells.mean() * soft
    return _tinted(0.2 + 0.12 * cells, (1.0, 0.7, 0.5)), mask


def tiles(rng: Rng, missing: bool = False) -> tuple[Picture, Mask]:
    """Tiles, each of its own shade, with grout between them; grout may be missing along an edge."""
    x, y = _grid()
    pitch = 40.0
    x, y = x + rng.uniform(0, pitch), y + rng.uniform(0, pitch)
    column, row = (x // pitch).astype(int), (y // pitch).astype(int)
    shade = rng.uniform(0.55, 0.75, (12, 12)).astype(np.float32)[row, column] + 0.02 * _noise(rng, 1.5)
    grout = (x % pitch < 4) | (y % pitch < 4)
    mask = np.zeros((SIZE, SIZE), bool)
    if missing:
        at, edge = rng.integers(1, 7), rng.integers(1, 7)
        mask = (column == at) & (x % pitch < 4) & (row == edge)
    return _tinted(np.where(grout & ~mask, 0.3, shade), (1.0, 0.95, 0.85)), mask


def printed(rng: Rng, missing: bool = False) -> tuple[Picture, Mask]:
    """A print that lies where it always does, to a pixel or two; one of its marks may be missing."""
    canvas = np.full((SIZE, SIZE, 3), (0.9, 0.9, 0.88), np.float32)
    layout = np.random.default_rng(5)
    shift = rng.uniform(-1.5, 1.5, 2)
    marks = [(layout.uniform(30, SIZE - 30, 2), layout.uniform(6, 15), layout.integers(0, 3)) for _ in range(26)]
    gone = int(rng.integers(0, len(marks))) if missing else -1
    mask = np.zeros((SIZE, SIZE), bool)
    for number, (centre, radius, kind) in enumerate(marks):
        x, y = (round(8 * float(value)) for value in centre + shift)
        ink = ((0.1, 0.15, 0.5), (0.6, 0.1, 0.1), (0.1, 0.1, 0.1))[int(kind)]
        target = np.zeros((SIZE, SIZE), np.uint8)
        if kind == 0:
            cv2.circle(target, (x, y), int(8 * radius), 255, 3, cv2.LINE_AA, 3)
        elif kind == 1:
            r = int(8 * radius)
            cv2.rectangle(target, (x - r, y - r // 2), (x + r, y + r // 2), 255, -1, cv2.LINE_AA, 3)
        else:
            cv2.putText(target, "PV7", (x // 8 - 12, y // 8 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
        if number == gone:
            mask = cv2.dilate(target, np.ones((3, 3), np.uint8)) > 0
            continue
        amount = target.astype(np.float32)[..., None] / 255
        canvas = canvas * (1 - amount) + np.asarray(ink, np.float32) * amount
    return canvas, mask


def mesh(rng: Rng, missing: bool = False) -> tuple[Picture, Mask]:
    """A woven wire mesh before black; a wire may be missing between two knots."""
    x, y = _grid()
    x, y = x + rng.uniform(0, 16) + 0.5 * _noise(rng, 40), y + rng.uniform(0, 16) + 0.5 * _noise(rng, 40)
    pitch = 16.0
    across, along = np.abs(x % pitch - 8) < 2.2, np.abs(y % pitch - 8) < 2.2
    mask = np.zeros((SIZE, SIZE), bool)
    if missing:
        column, row = rng.integers(4, 14), rng.integers(3, 12)
        mask = across & (x // pitch == column) & (y // pitch >= row) & (y // pitch < row + 3) & ~along
    return _tinted(np.where((across & ~mask) | along, 0.65, 0.08), (0.9, 0.95, 1.0)), mask


SURFACES: Mapping[str, Callable[..., tuple[Picture, Mask]]] = MappingProxyType(
    {"weave": weave, "brushed": brushed, "grain": grain, "tiles": tiles, "printed": printed, "mesh": mesh}
)


def _blob(rng: Rng, radius_px: float) -> Mask:
    """An irregular spot that lies inside the picture."""
    x, y = _grid()
    centre = rng.uniform(radius_px + 10, SIZE - radius_px - 10, 2)
    angle = np.arctan2(y - centre[1], x - centre[0])
    wobble = sum(rng.uniform(0, 0.15) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in (2, 3, 5))
    found: Mask = np.hypot(x - centre[0], y - centre[1]) < radius_px * (1 + wobble)
    return found


def scratch(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """A thin line, 1 to 2 px wide, lighter or darker."""
    target = np.zeros((SIZE, SIZE), np.uint8)
    start, angle = rng.uniform(60, SIZE - 60, 2), rng.uniform(0, np.pi)
    reach = rng.uniform(30, 55) * np.array([np.cos(angle), np.sin(angle)])
    bend = start + rng.uniform(-6, 6, 2)
    points = np.array([start - reach, bend, start + reach]).round().astype(np.int32)
    cv2.polylines(target, [points], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    amount = target.astype(np.float32)[..., None] / 255 * 0.8
    return picture * (1 - amount) + rng.choice([0.05, 0.95]) * amount, target > 60


def stain(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """A soft dark spot."""
    mask = _blob(rng, rng.uniform(10, 20))
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)[..., None]
    return picture * (1 - rng.uniform(0.25, 0.4) * soft), mask


def hole(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """Nothing there: black, with a bright rim."""
    mask = _blob(rng, rng.uniform(4, 8))
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    out = np.where(rim[..., None], np.minimum(picture * 1.3, 1), picture)
    return np.where(mask[..., None], np.float32(0.03), out), rim


def dent(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """Light on one side, shade on the other, and the pattern bent."""
    x, y = _grid()
    radius = rng.uniform(10, 18)
    centre = rng.uniform(radius + 15, SIZE - radius - 15, 2)
    fall = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (radius / 1.8) ** 2)).astype(np.float32)
    places = (
        (x + (x - centre[0]) * 0.25 * fall).astype(np.float32),
        (y + (y - centre[1]) * 0.25 * fall).astype(np.float32),
    )
    bent = cv2.remap(picture.astype(np.float32), *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    light = (x - centre[0]) / radius * fall
    return bent + 0.22 * light[..., None], np.hypot(x - centre[0], y - centre[1]) < radius


def colour_shift(rng: Rng, picture: Picture) -> tuple[Picture, Mask]:
    """Another hue of the same brightness."""
    mask = _blob(rng, rng.uniform(14, 24))
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2)[..., None]
    tint = np.array([0.1, -0.02, -0.1], np.float32) * rng.choice([-1, 1])
    return picture + tint * soft, mask


DEFECTS: Mapping[str, Callable[[Rng, Picture], tuple[Picture, Mask]]] = MappingProxyType(
    {"scratch": scratch, "stain": stain, "hole": hole, "dent": dent, "colour_shift": colour_shift}
)
MISSING = "missing"


def lit(rng: Rng, picture: Picture) -> NDArray[np.uint8]:
    """As a camera sees it: light that falls off, exposure, noise."""
    x, y = _grid()
    slope = rng.uniform(-0.06, 0.06, 2)
    light = 1 + slope[0] * (x / SIZE - 0.5) + slope[1] * (y / SIZE - 0.5)
    seen = picture * light[..., None] * rng.uniform(0.95, 1.05) + rng.normal(0, 0.01, picture.shape)
    return np.clip(seen * 255, 0, 255).astype(np.uint8)


def good(surface: str, seed: int) -> NDArray[np.uint8]:
    """A picture without a defect, H x W x 3 RGB."""
    rng = np.random.default_rng([*surface.encode(), seed])
    return lit(rng, SURFACES[surface](rng)[0])


def bad(surface: str, defect: str, seed: int) -> tuple[NDArray[np.uint8], Mask]:
    """A picture with one defect, and where it is."""
    rng = np.random.default_rng([*surface.encode(), *defect.encode(), seed])
    if defect == MISSING:
        picture, mask = SURFACES[surface](rng, missing=True)
    else:
        picture, mask = DEFECTS[defect](rng, SURFACES[surface](rng)[0])
    return lit(rng, picture), mask


def write(folder: Path, *, train: int, test: int, per_defect: int) -> None:
    """Every surface in a folder of its own: train/good, test/good, test/DEFECT, ground_truth/DEFECT."""
    for surface in SURFACES:
        for part, first, count in (("train", 0, train), ("test", 10_000, test)):
            target = folder / surface / part / "good"
            target.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                _save(target / f"{number:03}.png", good(surface, first + number))
        for defect in (*DEFECTS, MISSING):
            target = folder / surface / "test" / defect
            truth = folder / surface / "ground_truth" / defect
            target.mkdir(parents=True, exist_ok=True)
            truth.mkdir(parents=True, exist_ok=True)
            for number in range(per_defect):
                picture, mask = bad(surface, defect, number)
                _save(target / f"{number:03}.png", picture)
                cv2.imwrite(str(truth / f"{number:03}_mask.png"), mask.astype(np.uint8) * 255)


def _save(path: Path, picture: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), picture[..., ::-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=30)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--per-defect", type=int, default=8)
    given = parser.parse_args()
    write(given.folder, train=given.train, test=given.test, per_defect=given.per_defect)
