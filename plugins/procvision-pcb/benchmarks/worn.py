"""Pairs of pictures that are worn otherwise than those at hand: ragged, wavy, jittering, etched, blurred, noisy, moved.

A pair is a reference and a product's picture, both H x W uint8 with dark copper, and the truths in the picture. `wear`
draws what happens to a pair from a seed. Edges of both pictures tremble independently of each other, as those of two
real boards do; what only one board has (etching, blur, noise, where it lies) happens to the product's picture alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from procvision_tools.datasets import Truth

Gray = NDArray[np.uint8]
Random = np.random.Generator

BOX_MARGIN_PX = 10
"""How much DeepPCB's boxes leave around a defect, at any size of the board."""


@dataclass(frozen=True)
class Pair:
    """A reference and a picture held against it, with what is wrong in the picture."""

    reference: Gray
    picture: Gray
    truths: tuple[Truth, ...]
    foreign: tuple[int, int, int, int] | None = None
    """A part of the picture, x, y, width, height, that shows something else."""


def ragged(picture: Gray, px: float, length_px: float, random: Random) -> Gray:
    """Edges displaced at random by `px` (standard deviation), alike over `length_px`."""
    return _binary(_displaced(picture, *(px * _field(picture.shape, (length_px,) * 2, random) for _ in range(2))))


def frayed(picture: Gray, share: float, blur_px: float, length_px: float, random: Random) -> Gray:
    """Edges blurred, then cut by a threshold that varies by a share of the contrast: spikes, notches and specks."""
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), blur_px) / 255
    return _binary(255 * (soft + share * _field(picture.shape, (length_px,) * 2, random)))


def jittering(picture: Gray, px: float, rows: float, random: Random) -> Gray:
    """Scan lines displaced along themselves by `px`, alike over so many rows."""
    line = px * _field((picture.shape[0], 1), (0, rows), random)
    return _binary(_displaced(picture, np.broadcast_to(line, picture.shape), np.zeros(picture.shape, np.float32)))


def dotted(picture: Gray, px: float, length_px: float, random: Random, *, upright: bool) -> Gray:
    """Edges of one direction displaced by `px` across, alike over `length_px` along them: comb-like."""
    along, across = length_px, 3.0
    field = px * _field(picture.shape, (across, along) if upright else (along, across), random)
    still = np.zeros(picture.shape, np.float32)
    return _binary(_displaced(picture, field, still) if upright else _displaced(picture, still, field))


def etched(picture: Gray, px: float) -> Gray:
    """Copper that ends so much earlier everywhere; less than 0 for later."""
    copper = cv2.compare(picture, 127, cv2.CMP_LE)
    inside, outside = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (copper, cv2.bitwise_not(copper)))
    return _binary(255 * (inside - outside <= px))


def unsharp(picture: Gray, blur_px: float, noise: float, random: Random) -> Gray:
    """Out of focus by a Gaussian of this width, then noise of this standard deviation, in grey levels."""
    seen = cv2.GaussianBlur(picture, (0, 0), blur_px) if blur_px > 0 else picture
    return np.clip(seen + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def replaced(pair: Pair, random: Random) -> Pair:
    """A part of the product's picture replaced by another part of the board, turned. There everything is a defect."""
    height, width = pair.picture.shape
    side = int(random.integers(height // 8, height // 3))
    (y, x), (from_y, from_x) = (
        (int(random.integers(height - side)), int(random.integers(width - side))) for _ in range(2)
    )
    picture = pair.picture.copy()
    picture[y : y + side, x : x + side] = np.rot90(pair.picture[from_y : from_y + side, from_x : from_x + side])
    return replace(pair, picture=picture, foreign=(x, y, side, side))


def moved(pair: Pair, dx: float, dy: float) -> Pair:
    """The product's picture shifted; its border is continued."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    height, width = pair.picture.shape
    picture = cv2.warpAffine(pair.picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    truths = tuple(replace_box(t, t.x + dx, t.y + dy, t.width, t.height) for t in pair.truths)
    return Pair(pair.reference, np.asarray(picture, dtype=np.uint8), truths)


def zoomed(pair: Pair, factor: float) -> Pair:
    """Both pictures taken from nearer or farther; boxes keep their margin."""
    height, width = pair.reference.shape
    size = (round(width * factor), round(height * factor))
    reference, picture = (_binary(cv2.resize(p, size, interpolation=cv2.INTER_AREA)) for p in _pictures(pair))
    m = BOX_MARGIN_PX
    truths = tuple(
        replace_box(
            t,
            (t.x + m) * factor - m,
            (t.y + m) * factor - m,
            (t.width - 2 * m) * factor + 2 * m,
            (t.height - 2 * m) * factor + 2 * m,
        )
        for t in pair.truths
    )
    return Pair(reference, picture, truths)


def turned_over(pair: Pair, *, mirror: bool, transpose: bool) -> Pair:
    """Both pictures mirrored, and rows and columns exchanged."""
    reference, picture, truths = pair.reference, pair.picture, pair.truths
    if mirror:
        width = reference.shape[1]
        reference, picture = reference[:, ::-1], picture[:, ::-1]
        truths = tuple(replace_box(t, width - t.x - t.width, t.y, t.width, t.height) for t in truths)
    if transpose:
        reference, picture = reference.T, picture.T
        truths = tuple(replace_box(t, t.y, t.x, t.height, t.width) for t in truths)
    return Pair(np.ascontiguousarray(reference), np.ascontiguousarray(picture), truths)


def replace_box(truth: Truth, x: float, y: float, width: float, height: float) -> Truth:
    """The same defect elsewhere."""
    return Truth(x, y, max(1.0, width), max(1.0, height), truth.label)


EDGES: dict[str, Callable[[Gray, float, float, Random], Gray]] = {
    "ragged": lambda picture, much, length, random: ragged(picture, 1.3 * much, length, random),
    "frayed": lambda picture, much, length, random: frayed(
        picture, 0.02 + 0.13 * much, 1.5 + length / 4, 1 + length / 4, random
    ),
    "jittering": lambda picture, much, length, random: jittering(picture, 1.4 * much, length, random),
    "dotted upright": lambda picture, much, length, random: dotted(
        picture, 1.4 * much, length / 2, random, upright=True
    ),
    "dotted level": lambda picture, much, length, random: dotted(
        picture, 1.4 * much, length / 2, random, upright=False
    ),
    "wavy": lambda picture, much, length, random: ragged(picture, 1.6 * much, 8 + 3 * length, random),
}
"""What edges can be like: `much` from 0 to 1, `length` from 1 to 6 px."""
AS_IT_IS = "as it is"
KINDS = (AS_IT_IS, *EDGES, "etched", "unsharp", "moved", "replaced", "mixed")


def wear(pair: Pair, kind: str, random: Random) -> Pair:
    """The pair so worn, by how much drawn from `random`."""
    much = random.uniform(0, 1)
    length = float(np.exp(random.uniform(0, np.log(6))))
    match kind:
        case _ if kind == AS_IT_IS:
            return pair
        case "etched":
            return replace(pair, picture=etched(pair.picture, 1.7 * random.uniform(-1, 1)))
        case "unsharp":
            blur_px, noise = random.uniform(0, 2), random.uniform(0, 30)
            return replace(pair, picture=unsharp(pair.picture, blur_px, noise, random))
        case "replaced":
            return replaced(pair, random)
        case "moved":
            return moved(pair, *random.uniform(-12, 12, 2))
        case "mixed":
            for each in random.choice(
                [kind for kind in KINDS if kind not in (AS_IT_IS, "mixed", "unsharp", "replaced")], 2, replace=False
            ):
                pair = wear(pair, str(each), random)
            return wear(pair, "unsharp", random) if random.uniform() < 0.3 else pair
    edges = EDGES[kind]
    reference, picture = (edges(p, much, length, random) for p in _pictures(pair))
    return replace(pair, reference=reference, picture=picture)


def drawn(pair: Pair, random: Random) -> tuple[str, Pair]:
    """Return the name of a way that is drawn, and the pair so worn, often turned over or zoomed too."""
    kind = KINDS[random.integers(len(KINDS))]
    pair = turned_over(pair, mirror=bool(random.integers(2)), transpose=bool(random.integers(2)))
    if random.uniform() < 0.3:
        pair = zoomed(pair, random.uniform(0.4, 1.3))
    return kind, wear(pair, kind, random)


def _pictures(pair: Pair) -> tuple[Gray, Gray]:
    return pair.reference, pair.picture


def _field(shape: tuple[int, ...], sigmas: tuple[float, float], random: Random) -> NDArray[np.float32]:
    """Noise of standard deviation 1, smoothed by so much along x and y."""
    noise = random.standard_normal(shape, dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigmaX=max(0.01, sigmas[0]), sigmaY=max(0.01, sigmas[1]))
    return np.asarray(smooth / smooth.std(), dtype=np.float32).reshape(shape)


def _displaced(picture: Gray, dx: NDArray[np.floating], dy: NDArray[np.floating]) -> Gray:
    height, width = picture.shape
    x = np.add(dx, np.arange(width, dtype=np.float32), dtype=np.float32)
    y = np.add(dy, np.arange(height, dtype=np.float32)[:, None], dtype=np.float32)
    lying = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(lying, dtype=np.uint8)


def _binary(picture: NDArray[np.number]) -> Gray:
    return np.where(picture > 127, np.uint8(255), np.uint8(0))
