"""A model file is read whole and as it was written, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anomaly_files import rewritten

from procvision_anomaly import modelfile
from procvision_anomaly.errors import ModelError
from procvision_anomaly.model import Model
from procvision_anomaly.models import Models


def test_what_is_read_is_what_was_written(model: Model, model_file: Path, tmp_path: Path) -> None:
    """Facts, numbers and hash."""
    found, digest = modelfile.read(model_file)
    assert found.facts == model.facts
    for key, memory in model.memories.items():
        assert np.array_equal(found.memories[key].examples, memory.examples)
    assert modelfile.write(found, tmp_path / "again") == digest
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_any_cut_or_flipped_byte_is_noticed(model_file: Path, tmp_path: Path) -> None:
    """By the hash, wherever it is."""
    whole = model_file.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[: int(at)] for at in rng.integers(0, len(whole), 20)] + [whole + b"\0", b""]
    for at in (0, 3, 6, 9, 41, 60, *rng.integers(44, len(whole), 20)):
        changed = bytearray(whole)
        changed[int(at)] ^= 0x41
        damaged.append(bytes(changed))
    path = tmp_path / "damaged"
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ModelError, match="hint: "):
            modelfile.read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["memories"].pop(),
        lambda header: header["memories"].clear(),
        lambda header: header["memories"][0].update(examples=[1_000_000, 1_000_000]),
        lambda header: header["memories"][0].update(mean=[-1]),
        lambda header: header["memories"][0].update(mean=[3]),
        lambda header: header["memories"][0].update(position_weight=1.0),
        lambda header: header["memories"][0].update(usual=0),
        lambda header: header["facts"].update(width=0),
        lambda header: header["facts"]["threshold"].update(value=-1),
        lambda header: header["facts"].pop("training_sha256"),
    ],
)
def test_a_header_that_lies_is_refused(
    model_file: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """Although its hash is right."""
    path = tmp_path / "lying"
    path.write_bytes(rewritten(model_file.read_bytes(), change))
    with pytest.raises(ModelError, match="is not what it says"):
        modelfile.read(path)


def test_another_layout_s_version_and_another_file_are_told_apart(model_file: Path, tmp_path: Path) -> None:
    """Each with what to do."""
    path = tmp_path / "other"
    path.write_bytes(b"PVANOM02" + model_file.read_bytes()[8:])
    with pytest.raises(ModelError, match="layout b'02', this version reads b'01'"):
        modelfile.read(path)
    path.write_bytes(b"\x80\x05cos\nsystem\n")
    with pytest.raises(ModelError, match="no model of surface-anomaly"):
        modelfile.read(path)
    with pytest.raises(ModelError, match="can't be read: No such file"):
        modelfile.read(tmp_path / "gone")


def test_a_replaced_file_is_read_anew_and_a_lost_one_is_no_model(model_file: Path, tmp_path: Path) -> None:
    """An unchanged one is read once."""
    path = tmp_path / "cloth.model"
    path.write_bytes(model_file.read_bytes())
    models = Models()
    first, _ = models.get(path, "cloth")
    assert models.get(path, "cloth")[0] is first
    path.write_bytes(rewritten(model_file.read_bytes(), lambda header: header["facts"].update(pids=["felt"])))
    with pytest.raises(ModelError, match="is for felt, this product is 'cloth'"):
        models.get(path, "cloth")
    assert models.get(path, "felt")[0].facts.pids == ["felt"]
    path.unlink()
    with pytest.raises(ModelError):
        models.get(path, "felt")
