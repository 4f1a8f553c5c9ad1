"""What a place of a surface looks like, in numbers: the first stages of a network that was trained on photographs.

EfficientNet-Lite0's first five blocks, whose weights lie in `network/` beside their provenance. Every 8 px of a picture
it gives 64 values: edges, corners, spots, textures, colours. It was never taught anything of the surface; what is usual
on it is learnt from them (`gaussian.py`, `memory.py`).
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from importlib.resources import files
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from procvision_anomaly.errors import ModelError

Floats: TypeAlias = NDArray[np.float32]
Rgb: TypeAlias = NDArray[np.uint8]

PLACE_PX = 8
"""Places lie so far apart; a picture's sides are multiples of it."""
VALUES = 64
"""Of a place: 24 of the third block, taken together by fours, and 40 of the fifth."""


class Network:
    """The network; it is read at its first use, which takes a tenth of a second."""

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where the weights come from, under which licence, and the file's hash."""
        found: dict[str, Any] = json.loads(_folder().joinpath("provenance.json").read_bytes())
        return found

    @property
    def sha256(self) -> str:
        """The file's hash, which every model carries."""
        return str(self.provenance["sha256"])

    def told(self) -> str:
        """The network, its source and its licence in words."""
        weights = self.provenance["weights"]
        return f"{self.provenance['what']}; {weights['package']} {weights['version']}, {self.provenance['licence']}"

    @cached_property
    def _session(self) -> Any:
        import onnxruntime  # type: ignore[import-untyped]

        data = _folder().joinpath(self.provenance["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ModelError(
                f"the network {self.provenance['file']} is damaged: its hash isn't the one of its provenance",
                hint="install procvision-anomaly again",
            )
        options = onnxruntime.SessionOptions()
        # One core: the line's other processes have theirs, and idle threads of a pool would spin on them.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def describe(self, picture: Rgb) -> Floats:
        """Describe every place of a picture.

        Args:
            picture: H x W x 3 RGB, both sides multiples of `PLACE_PX`.

        Returns:
            H / 8 x W / 8 x `VALUES`.
        """
        fine, coarse = self._session.run(None, {"picture": np.ascontiguousarray(picture)[None]})
        values, rows, columns = coarse.shape[1:]
        halved = fine[0].reshape(VALUES - values, rows, 2, columns, 2).mean(axis=(2, 4))
        return np.ascontiguousarray(np.concatenate([halved, coarse[0]]).transpose(1, 2, 0))


def keep_to_one_core() -> None:
    """Have NumPy's BLAS and OpenCV compute on the calling thread, for the whole process.

    Their idle threads spin on the cores of the line's other processes, which costs more than they give here.
    """
    threadpool_limits(1, "blas")
    cv2.setNumThreads(1)


def _folder() -> Any:
    return files("procvision_anomaly").joinpath("network")
