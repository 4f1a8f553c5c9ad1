"""The network that places are described by."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
import onnxruntime
import pytest

from procvision_anomaly.description import PLACE_PX, VALUES, Network
from procvision_anomaly.errors import ModelError


def test_the_network_is_the_one_of_its_provenance() -> None:
    """By hash; its licence lies beside it."""
    folder = files("procvision_anomaly").joinpath("network")
    network = Network()
    data = folder.joinpath(network.provenance["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == network.sha256
    assert network.provenance["licence"] == "Apache-2.0"
    assert "Apache License" in folder.joinpath("LICENSE").read_text()
    assert {"package", "version", "sha256"} <= network.provenance["weights"].keys()


def test_another_network_under_its_name_is_refused() -> None:
    """A damaged installation gives no descriptions."""
    network = Network()
    network.provenance["sha256"] = "0" * 64
    with pytest.raises(ModelError, match="is damaged: its hash isn't the one of its provenance; hint: install"):
        network.describe(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("size", [(64, 64), (8, 320), (256, 104)])
def test_every_place_has_its_values(size: tuple[int, int]) -> None:
    """Rows before columns."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = Network().describe(picture)
    assert found.shape == (size[0] // PLACE_PX, size[1] // PLACE_PX, VALUES)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_a_place_is_described_by_what_is_there() -> None:
    """A spot changes its own place most, and those far away not at all."""
    picture = np.full((128, 192, 3), 90, np.uint8)
    spoiled = picture.copy()
    spoiled[40:46, 120:126] = 250
    network = Network()
    change = np.abs(network.describe(spoiled) - network.describe(picture)).sum(axis=2)
    row, column = np.unravel_index(int(change.argmax()), change.shape)
    assert abs(row - 5) <= 1 and abs(column - 15) <= 1
    assert change[:, :8].max() == 0


def test_the_values_are_those_of_the_whole_graph() -> None:
    """The last 40 are the fifth block's, the first 24 the means of four of the third's."""
    folder = files("procvision_anomaly").joinpath("network")
    network = Network()
    session = onnxruntime.InferenceSession(folder.joinpath(network.provenance["file"]).read_bytes())
    picture = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    fine, coarse = session.run(None, {"picture": picture[None]})
    found = network.describe(picture)
    assert np.allclose(found[3, 5, 24:], coarse[0, :, 3, 5], atol=1e-4)
    assert np.allclose(found[3, 5, :24], fine[0, :, 6:8, 10:12].mean(axis=(1, 2)), atol=1e-4)
