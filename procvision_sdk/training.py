"""What a vendor offers whose algorithm learns: `procvision train NAME` runs it, in a process of its own.

A distribution declares the entry point `NAME = "module:TRAINER"` in the group `procvision.trainers`, NAME being its
algorithm's, and a `Trainer` there. It is imported only in the process that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.manifest.parameters import AnyParameter

if TYPE_CHECKING:
    from procvision_sdk.images.view import RgbArray

TRAINER_GROUP = "procvision.trainers"


class TrainingError(ProcVisionError):
    """There is no model. The text says why, with the bound and the value, and ends with "; hint: …"."""


class TrainingPicture(Protocol):
    """A picture to learn from."""

    @property
    def name(self) -> str:
        """Its file's, below the folder."""

    @property
    def sha256(self) -> str:
        """Its file's hash, hexadecimal."""

    def pixels(self) -> RgbArray:
        """H x W x 3 uint8 RGB, read-only, decoded at each call. Raises TrainingError for a damaged one."""


Progress = Callable[[float, str], None]
"""How much is done, 0..1, and what is being done."""


class TrainFunction(Protocol):
    """Learns from the pictures and writes the model to `out`."""

    def __call__(
        self,
        pictures: Sequence[TrainingPicture],
        out: Path,
        params: Mapping[str, Any],
        progress: Progress,
    ) -> Mapping[str, Any]:
        """Return what there is to tell of the model, any JSON values.

        `params` hold every parameter with its default filled in. `out` is a name that nobody uses yet; the file gets
        its final name when this returns. Raises TrainingError.
        """


@attrs.frozen
class Trainer:
    """How an algorithm learns, and what may be set, described as a step's parameters are."""

    parameters: Sequence[AnyParameter]
    train: TrainFunction
