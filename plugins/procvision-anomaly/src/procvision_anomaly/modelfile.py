"""A model as a file: a line that says what it is, its hash, its facts as JSON, its numbers. Nothing is unpickled.

8 bytes    "PVANOM" and the version of this layout, two digits
32 bytes   SHA-256 of everything that follows
4 bytes    length of the JSON, big endian
JSON       {facts, memories: [{kind, scale, position_weight, usual, mean: [n], whitening: [n, m], examples: [k, m]}]}
numbers    float32, little endian: each memory's mean, whitening and examples, one behind the other
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from procvision_anomaly.errors import ModelError
from procvision_anomaly.features import Floats
from procvision_anomaly.memory import Memory
from procvision_anomaly.model import Facts, Model

_KIND = b"PVANOM"
_VERSION = b"01"
_HASH_AT, _LENGTH_AT, _JSON_AT = 8, 40, 44
MAX_BYTES = 256 * 1024 * 1024
"""A model takes about a megabyte; a larger file is something else."""
_Dimension = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Stored(msgspec.Struct, frozen=True):
    kind: Literal["pattern", "energy"]
    scale: Literal[1, 2, 4]
    position_weight: Annotated[float, Meta(ge=0)]
    usual: Annotated[float, Meta(gt=0)]
    usual_at_edge: Annotated[float, Meta(gt=0)]
    mean: Annotated[list[_Dimension], Meta(min_length=1, max_length=1)]
    whitening: Annotated[list[_Dimension], Meta(min_length=2, max_length=2)]
    examples: Annotated[list[_Dimension], Meta(min_length=2, max_length=2)]


class _Header(msgspec.Struct, frozen=True):
    facts: Facts
    memories: Annotated[list[_Stored], Meta(min_length=1)]


def write(model: Model, path: Path) -> str:
    """Writes the file; returns its hash. Raises OSError."""
    stored = [
        _Stored(
            kind,  # type: ignore[arg-type]
            scale,  # type: ignore[arg-type]
            memory.position_weight,
            memory.usual,
            memory.usual_at_edge,
            list(memory.mean.shape),
            list(memory.whitening.shape),
            list(memory.examples.shape),
        )
        for (kind, scale), memory in model.memories.items()
    ]
    header = msgspec.json.encode(_Header(model.facts, stored))
    numbers = [
        np.ascontiguousarray(array, "<f4").tobytes()
        for memory in model.memories.values()
        for array in (memory.mean, memory.whitening, memory.examples)
    ]
    body = len(header).to_bytes(4, "big") + header + b"".join(numbers)
    digest = hashlib.sha256(body)
    path.write_bytes(_KIND + _VERSION + digest.digest() + body)
    return digest.hexdigest()


def read(path: Path) -> tuple[Model, str]:
    """The model in this file and its hash. Raises ModelError."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise ModelError(
            f"the model {path} can't be read: {error.strerror}", hint="procvision train surface-anomaly makes one"
        ) from error
    if not data.startswith(_KIND):
        raise ModelError(f"{path} is no model of surface-anomaly", hint="give the file that procvision train wrote")
    if data[6:8] != _VERSION:
        raise ModelError(
            f"the model {path} has layout {data[6:8]!r}, this version reads {_VERSION!r}", hint="learn it anew"
        )
    digest = hashlib.sha256(data[_LENGTH_AT:])
    if digest.digest() != data[_HASH_AT:_LENGTH_AT]:
        raise ModelError(
            f"the model {path} is damaged: its {len(data)} bytes don't match their hash", hint="copy it again"
        )
    try:
        return _parsed(data), digest.hexdigest()
    except (msgspec.DecodeError, ValueError) as error:
        raise ModelError(f"the model {path} is not what it says: {error}", hint="learn it anew") from error


def _parsed(data: bytes) -> Model:
    begin = _JSON_AT + int.from_bytes(data[_LENGTH_AT:_JSON_AT], "big")
    header = msgspec.json.decode(data[_JSON_AT:begin], type=_Header)
    at = begin
    memories = {}
    for stored in header.memories:
        arrays = []
        for shape in (stored.mean, stored.whitening, stored.examples):
            array, at = _array(data, at, shape)
            arrays.append(array)
        mean, whitening, examples = arrays
        positions = 2 if stored.position_weight else 0
        if mean.shape[0] != whitening.shape[0] or whitening.shape[1] + positions != examples.shape[1]:
            raise ValueError(f"the shapes {mean.shape}, {whitening.shape}, {examples.shape} don't fit together")
        memory = Memory(mean, whitening, examples, stored.position_weight, stored.usual, stored.usual_at_edge)
        memories[str(stored.kind), int(stored.scale)] = memory
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")
    if not any(scale == 1 for _, scale in memories):
        raise ValueError("there is no memory of the finest scale")
    return Model(header.facts, memories)


def _array(data: bytes, at: int, shape: list[int]) -> tuple[Floats, int]:
    count = math.prod(shape)
    end = at + 4 * count
    if end > len(data):
        raise ValueError(f"{count} numbers are announced, {(len(data) - at) // 4} are there")
    array = np.frombuffer(data, "<f4", count, at).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError("a number is not finite")
    return array, end
