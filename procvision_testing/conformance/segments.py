"""The slots that rows lay down, in files or in the arena: a header as the reference has it, and what rows spoil of it.

The arena is made from the reference alone: what a host of another language is handed by a runner of another language.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from pathlib import Path
from typing import Any

from procvision_sdk.images.layout import ARENA_ALIGNMENT, PAYLOAD_OFFSET, SlotHeader, write_header
from procvision_sdk.images.meta import CHANNELS
from procvision_sdk.wire.greeting import ARENA_VARIABLE

SHM_FOLDER = Path("/dev/shm")
PLACEHOLDER = "{segment}"
"""Stands in a row's `shared_mem_id` for the name of the segment that the row has laid down."""
SLOT_PLACEHOLDER = "{slot}"
"""Stands in a row's `shared_mem_id` for OFFSET:BYTES of the slot that the row has laid into the arena."""
ARENA_BYTES = 2**24
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | 0x10 | fcntl.F_SEAL_SEAL
"""With F_SEAL_FUTURE_WRITE, which Python doesn't name."""


class HandedArena:
    """An arena for one host. `handed` says what the host is told of it; the tables' `about` has the words."""

    def __init__(self, handed: str = "sealed") -> None:
        self.descriptor = -1
        self.told: str | None = None
        self._end = 0
        self._memory: mmap.mmap | None = None
        if handed == "none":
            return
        writer = os.memfd_create("conformance", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(writer, ARENA_BYTES)
            self._memory = mmap.mmap(writer, ARENA_BYTES)
            fcntl.fcntl(writer, fcntl.F_ADD_SEALS, _SEALS)
            self.descriptor = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writer)
        inode = os.fstat(self.descriptor).st_ino
        self.told = {
            "sealed": f"{self.descriptor}:{inode}",
            "another": f"{self.descriptor}:{inode + 1}",
            "closed": f"{self.descriptor}:{inode}",
            "misspelt": f"fd{self.descriptor}",
        }[handed]
        if handed == "closed":
            os.close(self.descriptor)
            self.descriptor = -1

    def environment(self, environment: dict[str, str] | None) -> dict[str, str]:
        """Give a host's environment with what it is told."""
        told = dict(os.environ if environment is None else environment)
        told.pop(ARENA_VARIABLE, None)
        return told if self.told is None else {**told, ARENA_VARIABLE: self.told}

    def lay(self, memory: bytes) -> str:
        """Put a slot down; give its OFFSET:BYTES."""
        assert self._memory is not None, "this host was handed no arena"
        offset = self._end
        self._end += len(memory) + -len(memory) % ARENA_ALIGNMENT or ARENA_ALIGNMENT
        self._memory[offset : offset + len(memory)] = memory
        return f"{offset}:{len(memory)}"

    def close(self) -> None:
        """Give it back; what a host has mapped goes with that mapping."""
        if self._memory is not None:
            self._memory.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Segments:
    """The slots of one row; they are gone when it is over. A context manager."""

    def __init__(self, arena: HandedArena | None = None) -> None:
        self._paths: list[Path] = []
        self._arena = arena
        self.name = ""
        """The last segment's."""
        self.slot = ""
        """The last OFFSET:BYTES in the arena."""

    def __enter__(self) -> Segments:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()

    def lay(self, step: dict[str, Any]) -> None:
        """Write a slot of grey pixels into a file: `width`, `height`, `color_space` and `generation`.

        `patch` then puts bytes (`hex`) at an `offset`, and `bytes` cuts or extends the segment.
        """
        memory = _slot(step)
        self.name = f"conformance-{os.getpid()}-{secrets.token_hex(8)}"
        path = SHM_FOLDER / self.name
        self._paths.append(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(memory)

    def lay_into_arena(self, step: dict[str, Any]) -> None:
        """Write the same into the arena."""
        assert self._arena is not None, "this target has no arena"
        self.slot = self._arena.lay(_slot(step))

    def named(self, what: Any) -> Any:
        """Give what a row sends with the slots' names in place of the placeholders."""
        if isinstance(what, str):
            return what.replace(PLACEHOLDER, self.name).replace(SLOT_PLACEHOLDER, self.slot)
        if isinstance(what, dict):
            return {key: self.named(value) for key, value in what.items()}
        if isinstance(what, list):
            return [self.named(item) for item in what]
        return what


def _slot(step: dict[str, Any]) -> bytes:
    width, height, color_space = step["width"], step["height"], step.get("color_space", "RGB")
    length = width * height * CHANNELS[color_space]
    memory = bytearray(PAYLOAD_OFFSET) + b"\x80" * length
    write_header(memory, SlotHeader(step.get("generation", 2), width, height, color_space, "raw", length))
    for patch in step.get("patch", ()):
        data = bytes.fromhex(patch["hex"])
        memory[patch["offset"] : patch["offset"] + len(data)] = data
    size = step.get("bytes", len(memory))
    return bytes(memory[:size].ljust(size, b"\0"))
