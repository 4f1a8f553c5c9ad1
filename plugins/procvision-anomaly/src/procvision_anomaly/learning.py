"""From good pictures to a model. What counts as usual, and the threshold, come from pictures held out of learning."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import attrs
import numpy as np

from procvision_anomaly.description import VALUES, Floats, Network, Rgb
from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.gaussian import Moments, Standard, gaussian_of, standard_of
from procvision_anomaly.memory import MAX_CANDIDATES, remembered, some_places
from procvision_anomaly.model import (
    LEAST_CONTRAST,
    Detector,
    Facts,
    Model,
    Scale,
    contrast_of,
    descriptions,
    fused,
    smoothed,
)
from procvision_anomaly.sizes import LEAST_SIDE_PX, Layout, Sizes, sizes_of

LEAST_PICTURES = 5
FOLDS = 5
MAX_FOLD_PICTURES = 100
"""More folds where there are more pictures: a fold's descriptions are in memory at once."""
_READING_SHARE = 0.2
"""Of the time, for the bar."""
_STANDARD_PICTURES = 32
"""Enough to tell each value's mean and deviation."""

Progress = Callable[[float, str], None]


@attrs.frozen(kw_only=True)
class Settings:
    """How to learn."""

    pids: tuple[str, ...] = ("*",)
    layout: Layout = "aligned"
    working_px: int = 320
    false_alarms: float = 0.02
    seed: int = 0


class GoodPicture(Protocol):
    """A picture to learn from: its file's name and hash, and its pixels, H x W x 3 RGB, decoded at each call."""

    @property
    def name(self) -> str:
        """For errors."""

    @property
    def sha256(self) -> str:
        """The file's, hexadecimal."""

    def pixels(self) -> Rgb:
        """H x W x 3 uint8."""


def learnt(pictures: Sequence[GoodPicture], settings: Settings, progress: Progress) -> Model:
    """Return the model of these pictures. Raises NotInspectableError where they can't be learnt from."""
    sizes, seen = _seen(pictures, settings, progress)
    least_contrast = _least_contrast(pictures, seen)
    network = Network()
    learn = _aligned if sizes.layout == "aligned" else _texture
    count = len(seen)
    folds = np.array_split(np.arange(count), max(min(FOLDS, count), -(-count // MAX_FOLD_PICTURES)))
    source = _Source(seen, sizes.scales, network, progress)
    detectors, held_out = learn(source, [fold.tolist() for fold in folds], np.random.default_rng(settings.seed))
    scales = {scale: Scale(detector, _usual(held_out[scale])) for scale, detector in detectors.items()}
    scores = [
        float(fused([held_out[scale][number] / np.float32(one.usual) for scale, one in scales.items()]).max())
        for number in range(count)
    ]
    facts = Facts(
        sizes=sizes,
        pids=list(settings.pids),
        pictures=count,
        training_sha256=hashlib.sha256("".join(sorted(one.sha256 for one in pictures)).encode()).hexdigest(),
        network_sha256=network.sha256,
        network=network.told(),
        least_contrast=least_contrast,
        seed=settings.seed,
        folds=len(folds),
        held_out_scores=[round(score, 6) for score in scores],
        false_alarms=settings.false_alarms,
    )
    return Model(facts, scales, network)


def _seen(pictures: Sequence[GoodPicture], settings: Settings, progress: Progress) -> tuple[Sizes, list[Rgb]]:
    """Return the pictures' sizes, and the pictures as they are looked at. Raises NotInspectableError."""
    if len(pictures) < LEAST_PICTURES:
        raise NotInspectableError(
            f"{len(pictures)} pictures are too few, at least {LEAST_PICTURES} different ones are asked for",
            hint="20 to 50 that show all that may vary make a good model",
        )
    shapes: list[tuple[int, int]] = []
    seen: list[Rgb] = []
    first: Sizes | None = None
    for number, picture in enumerate(pictures):
        progress(_READING_SHARE * number / len(pictures), "reading")
        pixels = picture.pixels()
        height, width = pixels.shape[:2]
        if min(width, height) < LEAST_SIDE_PX:
            raise NotInspectableError(
                f"{picture.name} is {width} x {height} px, each side has at least {LEAST_SIDE_PX} px",
                hint="take larger pictures",
            )
        shapes.append((width, height))
        first = first or sizes_of(shapes, settings.layout, settings.working_px)
        seen.append(first.working(pixels))
    sizes = sizes_of(shapes, settings.layout, settings.working_px)
    if sizes != first:
        # Only now is it known how mixed sizes are looked at.
        seen = [sizes.working(picture.pixels()) for picture in pictures]
    return sizes, seen


def _least_contrast(pictures: Sequence[GoodPicture], seen: Sequence[Rgb]) -> float:
    """Return the least contrast of all. Raises NotInspectableError."""
    contrasts = [contrast_of(one) for one in seen]
    least = int(np.argmin(contrasts))
    if contrasts[least] < LEAST_CONTRAST:
        raise NotInspectableError(
            f"{pictures[least].name} has a contrast of {contrasts[least]:.4f}, at least {LEAST_CONTRAST} is asked for",
            hint="take out what shows no surface",
        )
    return contrasts[least]


class _Source:
    """Descriptions of the good pictures: twice of each, since together they would fill the memory."""

    def __init__(self, seen: Sequence[Rgb], scales: tuple[int, ...], network: Network, progress: Progress) -> None:
        self.count = len(seen)
        self.scales = scales
        self._seen = seen
        self._network = network
        self._progress = progress
        self._given = 0

    def one(self, number: int) -> dict[int, Floats]:
        """Describe a picture at each scale."""
        share = _READING_SHARE + (1 - _READING_SHARE) * min(1.0, self._given / (2 * self.count))
        self._progress(share, f"picture {number + 1} of {self.count}")
        self._given += 1
        return dict(descriptions(self._seen[number], self.scales, self._network))


_Maps: TypeAlias = dict[int, list[Floats]]


def _aligned(
    source: _Source,
    folds: Sequence[Sequence[int]],
    rng: np.random.Generator,  # noqa: ARG001 - nothing is drawn
) -> tuple[dict[int, Detector], _Maps]:
    """Learn a Gaussian per place; return one for each scale, and the maps of held-out pictures."""
    some = [source.one(int(at)) for at in np.linspace(0, source.count - 1, min(source.count, _STANDARD_PICTURES))]
    standards = {scale: standard_of([one[scale] for one in some]) for scale in source.scales}
    totals = {scale: Moments(some[0][scale].shape[0] * some[0][scale].shape[1]) for scale in source.scales}
    for fold in folds:
        for number in fold:
            for scale, described in source.one(number).items():
                totals[scale].add(_placed(standards[scale], [described]))
    held_out: _Maps = {scale: [] for scale in source.scales}
    for fold in folds:
        of_fold = [source.one(number) for number in fold]
        for scale in source.scales:
            of_scale = [one[scale] for one in of_fold]
            moments = Moments(len(totals[scale].sums))
            moments.add(_placed(standards[scale], of_scale))
            rest = gaussian_of(totals[scale].without(moments), standards[scale])
            held_out[scale] += [smoothed(one) for one in rest.distances_of(np.stack(of_scale))]
    return {scale: gaussian_of(totals[scale], standards[scale]) for scale in source.scales}, held_out


def _placed(standard: Standard, described: Sequence[Floats]) -> Floats:
    """Pictures x places x values, in deviations."""
    return standard.applied(np.stack(described)).reshape(len(described), -1, VALUES)


def _texture(
    source: _Source, folds: Sequence[Sequence[int]], rng: np.random.Generator
) -> tuple[dict[int, Detector], _Maps]:
    """Learn a memory; return one for each scale, and the maps of held-out pictures."""
    # As many of each picture as give a fold its candidates.
    share = -(-MAX_CANDIDATES // (source.count - max(map(len, folds))))
    drawn = [
        {scale: some_places(described, share, rng) for scale, described in source.one(number).items()}
        for number in range(source.count)
    ]
    held_out: _Maps = {scale: [] for scale in source.scales}
    for fold in folds:
        held = frozenset(fold)
        rest = [one for number, one in enumerate(drawn) if number not in held]
        memories = {scale: remembered([one[scale] for one in rest]) for scale in source.scales}
        for number in fold:
            for scale, described in source.one(number).items():
                held_out[scale].append(smoothed(memories[scale].distances(described)))
    return {scale: remembered([one[scale] for one in drawn]) for scale in source.scales}, held_out


def _usual(maps: Sequence[Floats]) -> float:
    """Return what a good picture's farthest place comes to, with two deviations on top.

    Counted by pictures and not by places: a scale at which good pictures differ much must not drown the others.
    """
    farthest = [float(one.max()) for one in maps]
    return max(float(np.mean(farthest) + 2 * np.std(farthest)), 1e-6)
