"""A model as a file: a line that says what it is, its hash, its facts as JSON, its numbers. Nothing is unpickled.

8 bytes    "PVANOM" and the version of this layout, two digits
32 bytes   SHA-256 of everything that follows
4 bytes    length of the JSON, big endian
JSON       {facts, scales: [{scale, usual, arrays: {name: shape}}]}
numbers    little endian: each scale's arrays, one behind the other, whitening of Gaussians as float16, else float32
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from procvision_anomaly.description import PLACE_PX, VALUES, Network
from procvision_anomaly.errors import ModelError
from procvision_anomaly.gaussian import Gaussian, Standard
from procvision_anomaly.memory import MAX_EXAMPLES, Memory
from procvision_anomaly.model import Detector, Facts, Model, Scale

_KIND = b"PVANOM"
_VERSION = b"02"
_HASH_AT, _LENGTH_AT, _JSON_AT = 8, 40, 44
MAX_BYTES = 128 * 1024 * 1024
"""What a model of the largest working size takes, one and a half times; a larger file is something else."""
_PIECE_BYTES = 1 << 20
_TRIANGLE = VALUES * (VALUES + 1) // 2
_LARGEST = 1e4
"""Of a stored number: all are in deviations, so that one beyond is damage or malice."""
_Shapes: TypeAlias = dict[str, list[Annotated[int, Meta(ge=1, le=1_000_000)]]]


class _Stored(msgspec.Struct, frozen=True):
    scale: Literal[1, 2, 4]
    usual: Annotated[float, Meta(gt=0, lt=1e6)]
    arrays: _Shapes


class _Header(msgspec.Struct, frozen=True):
    facts: Facts
    scales: Annotated[list[_Stored], Meta(min_length=1, max_length=3)]


def write(model: Model, path: Path) -> str:
    """Write the file and return its hash. Raises OSError."""
    stored, numbers = [], []
    for scale, one in model.scales.items():
        arrays = _arrays(one.detector)
        stored.append(_Stored(scale, one.usual, {name: list(array.shape) for name, array in arrays.items()}))  # type: ignore[arg-type]
        numbers += [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    header = msgspec.json.encode(_Header(model.facts, stored))
    body = len(header).to_bytes(4, "big") + header + b"".join(numbers)
    digest = hashlib.sha256(body)
    path.write_bytes(_KIND + _VERSION + digest.digest() + body)
    return digest.hexdigest()


def read(path: Path, network: Network) -> tuple[Model, str]:
    """Return the model in this file and its hash. Raises ModelError."""
    data = _bytes(path)
    if data[:6] != _KIND:
        raise ModelError(f"{path} is no model of surface-anomaly", hint="give the file that procvision train wrote")
    if data[6:8] != _VERSION:
        raise ModelError(
            f"the model {path} has layout {data[6:8]!r}, this version reads {_VERSION!r}: it was learnt by another "
            f"version of procvision-anomaly",
            hint="learn it anew from its good pictures with procvision train surface-anomaly",
        )
    digest = hashlib.sha256(memoryview(data)[_LENGTH_AT:])
    if digest.digest() != data[_HASH_AT:_LENGTH_AT]:
        raise ModelError(
            f"the model {path} is damaged: its {len(data)} bytes don't match their hash", hint="copy it again"
        )
    try:
        model = _parsed(data, network)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise ModelError(f"the model {path} is not what it says: {error}", hint="learn it anew") from error
    if model.facts.network_sha256 != network.sha256:
        raise ModelError(
            f"the model {path} was learnt with the network {model.facts.network_sha256[:12]}, this version has "
            f"{network.sha256[:12]}",
            hint="learn it anew from its good pictures with procvision train surface-anomaly",
        )
    return model, digest.hexdigest()


def _bytes(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`: what it is and how large is asked of the open file, before."""
    try:
        # A FIFO that nobody writes to must not hang here: O_NONBLOCK opens it at once.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, "it is no regular file")
        if status.st_size > MAX_BYTES:
            raise _unreadable(path, f"it has {status.st_size} bytes, a model has at most {MAX_BYTES}")
        data = bytearray()
        while piece := os.read(descriptor, _PIECE_BYTES):
            data += piece
            if len(data) > MAX_BYTES:
                raise _unreadable(path, f"it grew beyond {MAX_BYTES} bytes while it was read")
        return bytes(data)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)


def _unreadable(path: Path, why: str) -> ModelError:
    return ModelError(
        f"the model {path} can't be read: {why}", hint="give the file that procvision train surface-anomaly wrote"
    )


def _parsed(data: bytes, network: Network) -> Model:
    begin = _JSON_AT + int.from_bytes(data[_LENGTH_AT:_JSON_AT], "big")
    header = msgspec.json.decode(data[_JSON_AT:begin], type=_Header)
    sizes = header.facts.sizes
    if tuple(one.scale for one in header.scales) != sizes.scales:
        raise ValueError(f"scales {[one.scale for one in header.scales]}, the sizes ask for {list(sizes.scales)}")
    if len(header.facts.held_out_scores) != header.facts.pictures:
        raise ValueError(f"{len(header.facts.held_out_scores)} scores of {header.facts.pictures} pictures")
    at = begin
    scales = {}
    for stored in header.scales:
        detector: Detector
        if sizes.layout == "aligned":
            width, height = sizes.working_size(sizes.width, sizes.height)
            places = (width // stored.scale // PLACE_PX) * (height // stored.scale // PLACE_PX)
            arrays, at = _taken(data, at, stored.arrays, _gaussian_shapes(places))
            whitening = np.zeros((places, VALUES, VALUES), np.float16)
            whitening[:, *np.tril_indices(VALUES)] = arrays["triangles"]
            detector = Gaussian(Standard(arrays["values"], arrays["deviations"]), arrays["mean"], whitening)
        else:
            examples = stored.arrays.get("examples", [0])[0]
            arrays, at = _taken(data, at, stored.arrays, _memory_shapes(min(examples, MAX_EXAMPLES)))
            detector = Memory(arrays["mean"], arrays["whitening"], arrays["examples"])
        scales[int(stored.scale)] = Scale(detector, stored.usual)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")
    return Model(header.facts, scales, network)


_Expected: TypeAlias = Mapping[str, tuple[tuple[int, ...], str]]


def _gaussian_shapes(places: int) -> _Expected:
    return {
        "values": ((VALUES,), "<f4"),
        "deviations": ((VALUES,), "<f4"),
        "mean": ((places, VALUES), "<f4"),
        "triangles": ((places, _TRIANGLE), "<f2"),
    }


def _memory_shapes(examples: int) -> _Expected:
    return {
        "mean": ((VALUES,), "<f4"),
        "whitening": ((VALUES, VALUES), "<f4"),
        "examples": ((examples, VALUES), "<f4"),
    }


def _arrays(detector: Detector) -> dict[str, Any]:
    """Return a detector's numbers as they are stored."""
    if isinstance(detector, Gaussian):
        triangles = detector.whitening[:, *np.tril_indices(VALUES)]
        found: dict[str, Any] = {
            "values": detector.standard.mean,
            "deviations": detector.standard.deviation,
            "mean": detector.mean,
            "triangles": triangles,
        }
        expected = _gaussian_shapes(len(detector.mean))
    else:
        found = {"mean": detector.mean, "whitening": detector.whitening, "examples": detector.examples}
        expected = _memory_shapes(len(detector.examples))
    return {name: found[name].astype(kind) for name, (_, kind) in expected.items()}


def _taken(data: bytes, at: int, shapes: _Shapes, expected: _Expected) -> tuple[dict[str, Any], int]:
    """Return the arrays that begin at a place, and where they end. Raises ValueError."""
    told = {name: tuple(shape) for name, shape in shapes.items()}
    if told != {name: shape for name, (shape, _) in expected.items()}:
        raise ValueError(f"it holds arrays of {told}, expected are { ({n: s for n, (s, _) in expected.items()}) }")
    found = {}
    for name, (shape, kind) in expected.items():
        count = math.prod(shape)
        end = at + count * int(kind[-1])
        if end > len(data):
            raise ValueError(f"{count} numbers are announced for {name}, {len(data) - at} bytes are there")
        array = np.frombuffer(data, kind, count, at).reshape(shape)
        # A NaN is no number either.
        if not float(np.abs(array).max()) <= _LARGEST:
            raise ValueError(f"a number of {name} is beyond {_LARGEST:g}")
        found[name] = array
        at = end
    if "deviations" in found and not (found["deviations"] > 0).all():
        raise ValueError("a deviation isn't above 0")
    return found, at
