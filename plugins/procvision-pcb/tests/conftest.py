"""Pictures for the tests: DeepPCB's through DEEPPCB_DIR, generated ones otherwise."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

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
