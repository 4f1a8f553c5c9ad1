"""The slots that rows lay into shared memory: a header as the reference has it, then whatever a row spoils of it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

from procvision_sdk.images.layout import PAYLOAD_OFFSET, SlotHeader, write_header
from procvision_sdk.images.meta import CHANNELS

SHM_FOLDER = Path("/dev/shm")
PLACEHOLDER = "{segment}"
"""Stands in a row's `shared_mem_id` for the name of the segment that the row has laid down."""


class Segments:
    """The segments of one row; they are gone when it is over. A context manager."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self.name = ""
        """The last one's."""

    def __enter__(self) -> Segments:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()

    def lay(self, step: dict[str, Any]) -> None:
        """Write a slot of grey pixels: `width`, `height`, `color_space` and `generation`.

        `patch` then puts bytes (`hex`) at an `offset`, and `bytes` cuts or extends the segment.
        """
        width, height, color_space = step["width"], step["height"], step.get("color_space", "RGB")
        length = width * height * CHANNELS[color_space]
        memory = bytearray(PAYLOAD_OFFSET) + b"\x80" * length
        write_header(memory, SlotHeader(step.get("generation", 2), width, height, color_space, "raw", length))
        for patch in step.get("patch", ()):
            data = bytes.fromhex(patch["hex"])
            memory[patch["offset"] : patch["offset"] + len(data)] = data
        size = step.get("bytes", len(memory))
        self.name = f"conformance-{os.getpid()}-{secrets.token_hex(8)}"
        path = SHM_FOLDER / self.name
        self._paths.append(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(memory[:size].ljust(size, b"\0"))

    def named(self, what: Any) -> Any:
        """Give what a row sends with the segment's name in place of the placeholder."""
        if isinstance(what, str):
            return what.replace(PLACEHOLDER, self.name)
        if isinstance(what, dict):
            return {key: self.named(value) for key, value in what.items()}
        if isinstance(what, list):
            return [self.named(item) for item in what]
        return what
