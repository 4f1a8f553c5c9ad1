"""From good pictures to a model. What counts as usual, and the threshold, come from pictures held out of learning."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import attrs
import numpy as np

from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.features import KINDS, LEAST_SCALED_PX, Floats, Rgb, described, scaled, working
from procvision_anomaly.memory import INSIDE, MAX_CANDIDATES, Memory, Places, remembered, some_places
from procvision_anomaly.model import LEAST_SIDE_PX, Facts, Key, Layout, Model, Threshold, fused, maps

LEAST_PICTURES = 5
FOLDS = 4
_LEAST_CONTRAST = 0.004
"""One grey value of 256: a picture with less shows no surface."""
_POSITION_WEIGHT = 20.0
"""Of `aligned`: a twentieth of the picture's width counts as much as one whitened value."""

Progress = Callable[[float, str], None]


@attrs.frozen(kw_only=True)
class Settings:
    """How to learn."""

    pids: tuple[str, ...] = ("*",)
    layout: Layout = "texture"
    working_px: int = 640
    quantile: float = 1.0
    margin: float = 0.2
    seed: int = 0


@attrs.frozen(eq=False)
class GoodPicture:
    """A picture to learn from: H x W x 3 RGB, its file's name and hash."""

    name: str
    sha256: str
    pixels: Rgb


def learnt(pictures: Sequence[GoodPicture], settings: Settings, progress: Progress) -> Model:
    """The model of these pictures. Raises NotInspectableError where they can't be learnt from."""
    width, height = _common_size(pictures)
    seen = [working(one.pixels, settings.working_px) for one in pictures]
    if min(seen[0].shape[:2]) < LEAST_SCALED_PX:
        raise NotInspectableError(
            f"reduced to {settings.working_px} px the pictures are {seen[0].shape[1]} x {seen[0].shape[0]} px, "
            f"each side has at least {LEAST_SCALED_PX} px",
            hint="raise working_size",
        )
    contrasts = [float(one[..., 0].std()) for one in seen]
    least = int(np.argmin(contrasts))
    if contrasts[least] < _LEAST_CONTRAST:
        raise NotInspectableError(
            f"{pictures[least].name} has a contrast of {contrasts[least]:.4f}, at least {_LEAST_CONTRAST} is asked for",
            hint="take out what shows no surface",
        )
    rng = np.random.default_rng(settings.seed)
    weight = _POSITION_WEIGHT if settings.layout == "aligned" else 0.0
    rounds = _folds(len(seen))
    # As many of each picture as give a fold its candidates; drawn once, since describing takes most of the time.
    share = -(-MAX_CANDIDATES // (len(seen) - max(map(len, rounds))))
    drawn = [_drawn(one, share, rng) for one in seen]
    held_out: list[dict[Key, Floats]] = []
    for number, held in enumerate(rounds):
        progress(number / (len(rounds) + 1), f"fold {number + 1} of {len(rounds)}")
        rest = [one for index, one in enumerate(drawn) if index not in held]
        memories = _memories(rest, weight, rng)
        held_out += [maps(seen[index], memories) for index in held]
    progress(len(rounds) / (len(rounds) + 1), "all pictures")
    memories = {
        key: _measured(memory, [found[key] for found in held_out])
        for key, memory in _memories(drawn, weight, rng).items()
    }
    scores = [
        float(fused({key: memories[key].compared(one) for key, one in found.items()}).max()) for found in held_out
    ]
    threshold = Threshold(
        float(np.quantile(scores, settings.quantile)) * (1 + settings.margin),
        settings.quantile,
        settings.margin,
        len(rounds),
        [round(score, 6) for score in scores],
    )
    facts = Facts(
        width=width,
        height=height,
        working_px=settings.working_px,
        layout=settings.layout,
        pids=list(settings.pids),
        pictures=len(pictures),
        training_sha256=hashlib.sha256("".join(sorted(one.sha256 for one in pictures)).encode()).hexdigest(),
        least_contrast=min(contrasts),
        seed=settings.seed,
        threshold=threshold,
    )
    return Model(facts, memories)


def _common_size(pictures: Sequence[GoodPicture]) -> tuple[int, int]:
    if len(pictures) < LEAST_PICTURES:
        raise NotInspectableError(
            f"{len(pictures)} pictures are too few, at least {LEAST_PICTURES} are asked for",
            hint="20 to 50 that show all that may vary make a good model",
        )
    first = pictures[0]
    height, width = first.pixels.shape[:2]
    if min(width, height) < LEAST_SIDE_PX:
        raise NotInspectableError(
            f"{first.name} is {width} x {height} px, each side has at least {LEAST_SIDE_PX} px",
            hint="take larger pictures",
        )
    for other in pictures[1:]:
        if other.pixels.shape[:2] != (height, width):
            raise NotInspectableError(
                f"{other.name} is {other.pixels.shape[1]} x {other.pixels.shape[0]} px, {first.name} is "
                f"{width} x {height} px",
                hint="all pictures come from one camera at one resolution",
            )
    return width, height


def _folds(count: int) -> list[set[int]]:
    """Every picture is held out once. Neighbours, which are alike in a series, are held out together."""
    return [set(part.tolist()) for part in np.array_split(np.arange(count), min(FOLDS, count))]


def _drawn(seen: Floats, share: int, rng: np.random.Generator) -> dict[Key, Places]:
    """Some places of a picture, described in each way."""
    return {
        (kind, scale): some_places(described(reduced, kind), share, rng)
        for scale, reduced in scaled(seen)
        for kind in KINDS
    }


def _memories(
    drawn: Sequence[dict[Key, Places]], position_weight: float, rng: np.random.Generator
) -> dict[Key, Memory]:
    return {key: remembered([one[key] for one in drawn], position_weight, rng) for key in drawn[0]}


def _measured(memory: Memory, held_out: Sequence[Floats]) -> Memory:
    """The memory with what is usual, by the distances in pictures that were held out.

    Counted by pictures and not by places: a memory in which good pictures differ much must not drown the others.
    """
    inside, at_edge = [], []
    for distances in held_out:
        inside.append(float(distances[INSIDE].max()))
        edge = distances.copy()
        edge[INSIDE] = 0
        at_edge.append(float(edge.max()))
    return attrs.evolve(memory, usual=_usual(inside), usual_at_edge=_usual(at_edge))


def _usual(farthest: Sequence[float]) -> float:
    """What a good picture's farthest place comes to, with two deviations on top."""
    return max(float(np.mean(farthest) + 2 * np.std(farthest)), 1e-6)
