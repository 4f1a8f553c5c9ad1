"""Pictures for the tests: DeepPCB's through DEEPPCB_DIR, generated ones otherwise."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_sdk.images.reading import bind_image_reader

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "deeppcb.py"


@pytest.fixture(scope="session")
def benchmark() -> ModuleType:
    """The evaluation script, imported."""
    spec = importlib.util.spec_from_file_location("procvision_pcb_benchmark_deeppcb", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def deeppcb() -> Path:
    """The folder of DeepPCB pairs."""
    if "DEEPPCB_DIR" not in os.environ:
        pytest.skip("DEEPPCB_DIR is not set: it names a folder with DeepPCB's pairs/<board group>/<id>_test.jpg")
    return Path(os.environ["DEEPPCB_DIR"])


@pytest.fixture
def board() -> NDArray[np.uint8]:
    """640 x 480, copper dark: three tracks with pads, a field of copper with a hole, a small frame."""
    picture = np.full((480, 640), 230, np.uint8)
    for y in (60, 90, 120):
        cv2.line(picture, (60, y), (420, y + 60), 25, 12)
        cv2.circle(picture, (60, y), 13, 25, cv2.FILLED)
    cv2.rectangle(picture, (80, 260), (330, 430), 25, cv2.FILLED)
    cv2.circle(picture, (200, 340), 22, 230, cv2.FILLED)
    cv2.rectangle(picture, (430, 250), (590, 420), 25, 10)
    cv2.putText(picture, "PV 7", (460, 350), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 25, 5)
    return picture


class Memory:
    """Stands in for shared memory: pictures by id."""

    def __init__(self) -> None:
        self._pictures: dict[str, NDArray[np.uint8]] = {}

    def put(self, picture: NDArray[np.uint8]) -> tuple[str, dict[str, Any]]:
        """An id and the image_meta for a picture, seen as the host gives it: read-only, MONO as a broadcast view."""
        shared_mem_id = f"test:{len(self._pictures)}"
        array = picture if picture.ndim == 3 else np.broadcast_to(picture[:, :, None], (*picture.shape, 3))
        array = array.view()
        array.flags.writeable = False
        self._pictures[shared_mem_id] = array
        return shared_mem_id, {"width": picture.shape[1], "height": picture.shape[0]}

    def read(self, shared_mem_id: str, image_meta: Mapping[str, Any]) -> Any:
        """The reader that is bound while the test runs."""
        return self._pictures[shared_mem_id]


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Shared memory for `read_image_from_shared_memory`."""
    held = Memory()
    with bind_image_reader(held.read):
        yield held
