"""Slots of shared memory, written byte by byte after the layout's table rather than by our own code."""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHM = Path("/dev/shm")
PAYLOAD_OFFSET = 4096
COLORS = {"RGB": 1, "BGR": 2, "MONO": 3}
ENCODINGS = {"raw": 1, "jpeg": 2, "png": 3}


class SharedPicture:
    """One segment with one picture in it."""

    def __init__(
        self,
        payload: bytes,
        width: int,
        height: int,
        *,
        color_space: str = "RGB",
        encoding: str = "raw",
        generation: int = 2,
        **header: Any,
    ) -> None:
        self.name = f"peer-{os.getpid()}-{secrets.token_hex(6)}"
        self.path = SHM / self.name
        self.generation = generation
        self.meta = {
            "width": width,
            "height": height,
            "timestamp_ms": 1,
            "camera_id": "c",
            "color_space": color_space,
            "encoding": encoding,
        }
        packed = struct.pack(
            "<8sHBBIQIIQIB19x",
            header.get("magic", b"PVSLOT\r\n"),
            header.get("layout", 1),
            header.get("color_code", COLORS[color_space]),
            header.get("encoding_code", ENCODINGS[encoding]),
            header.get("payload_offset", PAYLOAD_OFFSET),
            generation,
            header.get("header_width", width),
            header.get("header_height", height),
            header.get("payload_bytes", len(payload)),
            header.get("crc32", 0 if encoding == "raw" else zlib.crc32(payload)),
            header.get("bits", 0),
        )
        self.path.write_bytes(packed.ljust(PAYLOAD_OFFSET, b"\0") + payload)

    @property
    def id(self) -> str:
        """The id that names it now."""
        return f"shm:{self.name}:{self.generation}"

    @property
    def fields(self) -> dict[str, Any]:
        """What a call carries of it."""
        return {"shared_mem_id": self.id, "image_meta": self.meta}

    def set_generation(self, generation: int) -> None:
        """Writes the header's generation, as a runner does that writes the next picture."""
        with self.path.open("r+b") as file:
            file.seek(16)
            file.write(struct.pack("<Q", generation))

    def remove(self) -> None:
        """Takes it away."""
        self.path.unlink(missing_ok=True)


@contextmanager
def shared_picture(payload: bytes, width: int, height: int, **more: Any) -> Iterator[SharedPicture]:
    """A picture for as long as the block lasts."""
    picture = SharedPicture(payload, width, height, **more)
    try:
        yield picture
    finally:
        picture.remove()


def grey(width: int = 8, height: int = 6, level: int = 7) -> bytes:
    """Raw RGB pixels of one level."""
    return bytes([level]) * (width * height * 3)
