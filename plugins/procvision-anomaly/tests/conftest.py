"""A surface to learn, learnt once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parents[1] / "benchmarks", Path(__file__).parent / "support"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from anomaly_files import Given  # noqa: E402
from textures import good  # noqa: E402

from procvision_anomaly import modelfile  # noqa: E402
from procvision_anomaly.learning import Settings, learnt  # noqa: E402
from procvision_anomaly.model import Model  # noqa: E402

SETTINGS = Settings(pids=("cloth",), false_alarms=0.1, seed=3)


def pictures(count: int) -> list[Given]:
    """Cloth without a defect."""
    return [Given(f"{number}.png", good("weave", number)) for number in range(count)]


@pytest.fixture(scope="session")
def model() -> Model:
    """Of twenty pictures of cloth."""
    return learnt(pictures(20), SETTINGS, lambda share, text: None)


@pytest.fixture(scope="session")
def model_file(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    path = tmp_path_factory.mktemp("models") / "cloth.model"
    modelfile.write(model, path)
    return path
