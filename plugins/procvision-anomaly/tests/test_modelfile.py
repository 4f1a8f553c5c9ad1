"""A model file is read whole and as it was written, or not at all."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anomaly_files import Given, rewritten
from textures import good

from procvision_anomaly import modelfile
from procvision_anomaly.description import Network
from procvision_anomaly.errors import ModelError
from procvision_anomaly.learning import Settings, learnt
from procvision_anomaly.models import Models

NETWORK = Network()


@pytest.mark.parametrize("layout", ["aligned", "texture"])
def test_what_is_read_is_what_was_written(layout: str, tmp_path: Path) -> None:
    """Facts, numbers, hash, and the scores of a picture; nothing is left beside the file."""
    given = [Given(str(n), good("weave", n)[:96, :128]) for n in range(6)]
    model = learnt(given, Settings(layout=layout), lambda share, text: None)  # type: ignore[arg-type]
    digest = modelfile.write(model, tmp_path / "one")
    found, read = modelfile.read(tmp_path / "one", NETWORK)
    assert read == digest
    assert found.facts == model.facts
    picture = good("weave", 77)[:96, :128]
    assert np.array_equal(found.score_map(picture), model.score_map(picture))
    assert modelfile.write(found, tmp_path / "again") == digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "one"]


def test_any_cut_or_flipped_byte_is_noticed(model_file: Path, tmp_path: Path) -> None:
    """By the hash, wherever it is."""
    whole = model_file.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[: int(at)] for at in rng.integers(0, len(whole), 20)] + [whole + b"\0", b"", whole[:44]]
    for at in (0, 3, 6, 9, 41, 60, *rng.integers(44, len(whole), 20)):
        changed = bytearray(whole)
        changed[int(at)] ^= 0x41
        damaged.append(bytes(changed))
    path = tmp_path / "damaged"
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ModelError, match="hint: "):
            modelfile.read(path, NETWORK)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["scales"].pop(),
        lambda header: header["scales"].clear(),
        lambda header: header["scales"].append(header["scales"][0]),
        lambda header: header["scales"][0]["arrays"].update(mean=[1_000_000, 1_000_000]),
        lambda header: header["scales"][0]["arrays"].update(mean=[-1]),
        lambda header: header["scales"][0]["arrays"].update(mean=[3]),
        lambda header: header["scales"][0]["arrays"].pop("values"),
        lambda header: header["scales"][0].update(usual=0),
        lambda header: header["scales"][0].update(usual=1e300),
        lambda header: header["scales"][0].update(usual="NaN"),
        lambda header: header["facts"]["sizes"].update(width=0),
        lambda header: header["facts"]["sizes"].update(width=640),
        lambda header: header["facts"]["sizes"].update(working_px=100_000),
        lambda header: header["facts"]["sizes"].update(layout="texture"),
        lambda header: header["facts"].update(false_alarms=-1),
        lambda header: header["facts"].update(false_alarms=1e300),
        lambda header: header["facts"].update(held_out_scores=[]),
        lambda header: header["facts"]["held_out_scores"].pop(),
        lambda header: header["facts"].update(least_contrast=1e300),
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
        modelfile.read(path, NETWORK)


@pytest.mark.parametrize("score", [1e300, -1.0, 0.0, 1e6, "1", None, float("nan"), float("inf")])
def test_a_score_that_would_make_everything_good_is_refused(model_file: Path, tmp_path: Path, score: object) -> None:
    """One is what a good picture's worst place comes to: of such a model every picture would be OK."""
    path = tmp_path / "absurd"
    path.write_bytes(
        rewritten(model_file.read_bytes(), lambda header: header["facts"].update(held_out_scores=[score] * 20))
    )
    with pytest.raises(ModelError, match="is not what it says"):
        modelfile.read(path, NETWORK)


@pytest.mark.parametrize("number", [np.nan, np.inf, 6e4])
def test_a_number_that_is_none_is_refused(model_file: Path, tmp_path: Path, number: float) -> None:
    """Wherever it stands."""
    path = tmp_path / "numbers"
    for at in (0, 64 * 8 + 400, -2):

        def spoiled(data: bytes, at: int = at) -> bytes:
            kind = "<f2" if at == -2 else "<f4"
            array = np.frombuffer(data[: len(data) // 4 * 4], kind).copy()
            array[at // array.itemsize] = number
            return array.tobytes() + data[len(data) // 4 * 4 :]

        path.write_bytes(rewritten(model_file.read_bytes(), lambda header: None, numbers=spoiled))
        with pytest.raises(ModelError, match=r"is not what it says: a number of \w+ is beyond 10000"):
            modelfile.read(path, NETWORK)


def test_an_older_model_another_file_and_another_network_are_told_apart(model_file: Path, tmp_path: Path) -> None:
    """Each with what to do."""
    path = tmp_path / "other"
    path.write_bytes(b"PVANOM01" + model_file.read_bytes()[8:])
    with pytest.raises(ModelError, match=r"layout b'01', this version reads b'02'.*hint: learn it anew"):
        modelfile.read(path, NETWORK)
    path.write_bytes(b"\x80\x05cos\nsystem\n")
    with pytest.raises(ModelError, match="no model of surface-anomaly"):
        modelfile.read(path, NETWORK)
    path.write_bytes(rewritten(model_file.read_bytes(), lambda header: header["facts"].update(network_sha256="a" * 64)))
    with pytest.raises(ModelError, match=r"was learnt with the network aaaaaaaaaaaa.*hint: learn it anew"):
        modelfile.read(path, NETWORK)
    with pytest.raises(ModelError, match="can't be read: No such file"):
        modelfile.read(tmp_path / "gone", NETWORK)


def test_what_is_no_regular_file_of_a_model_s_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A FIFO doesn't hang, a device or a huge file takes neither time nor memory."""
    fifo, huge, linked = tmp_path / "fifo", tmp_path / "huge", tmp_path / "linked"
    os.mkfifo(fifo)
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    linked.symlink_to("/dev/zero")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, text in (
        (fifo, "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (linked, "no regular file"),
        (tmp_path, "no regular file"),
        (huge, "it has 1099511627776 bytes, a model has at most"),
        (tmp_path / ("x" * 300), "can't be read"),
        (Path("a\0b"), "can't be read"),
    ):
        with pytest.raises(ModelError, match=text):
            modelfile.read(path, NETWORK)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


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
