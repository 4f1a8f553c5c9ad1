"""Signed heads: which record was a journal's last at a time, signed by a key and noted elsewhere.

A chain alone can't show that its end was cut off, or that all of it was written anew. A head that lies on another
machine can, and its signature says that this station wrote it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import PRIVATE_FILE
from procvision_station.journal.writer import Journal

CONTEXT = "procvision-station-head 1"
"""What is signed begins with it: a signature of anything else is none of a head."""


class HeadError(ProcVisionError):
    """A signed head can't be written, or is not what the key's owner wrote."""


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last record of a journal, as it survives a power cut."""

    station: str
    line: str
    sequence: int
    chain: str
    at: str
    """UTC, as ISO 8601 writes it: what the clock said."""


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a file of heads."""

    head: Head
    signature: str
    """Ed25519, in hexadecimal."""


def _signed_bytes(head: Head) -> bytes:
    return CONTEXT.encode() + b"\n" + msgspec.json.encode(head, order="deterministic")


def signing(key_file: Path) -> Callable[[Head], SignedHead]:
    """Return the function that signs heads with a secret key's file. Raises KeyFileError."""
    from procvision_tools.bundling.signing import read_secret

    key = read_secret(key_file)
    return lambda head: SignedHead(head=head, signature=key.sign(_signed_bytes(head)).hex())


def read_heads(path: Path, public_file: Path) -> dict[str, dict[int, str]]:
    """Return the heads of a file by line and sequence. Raises HeadError where one isn't the key's, and KeyFileError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from procvision_tools.bundling.signing import read_public

    key = Ed25519PublicKey.from_public_bytes(read_public(public_file))
    found: dict[str, dict[int, str]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise HeadError(f"{path} can't be read: {error.strerror or error}") from error
    for number, text in enumerate(lines, 1):
        try:
            signed = msgspec.json.decode(text, type=SignedHead)
            key.verify(bytes.fromhex(signed.signature), _signed_bytes(signed.head))
        except (ValueError, InvalidSignature) as error:  # msgspec's errors are ValueErrors
            why = str(error) or f"its signature is not of {public_file.name}"
            raise HeadError(f"{path}:{number}: it is no head of this key: {why}") from error
        chains = found.setdefault(signed.head.line, {})
        if chains.setdefault(signed.head.sequence, signed.head.chain) != signed.head.chain:
            raise HeadError(f"{path}:{number}: record {signed.head.sequence} of {signed.head.line} has two chains")
    return found


class HeadWriter:
    """Writes the heads of journals that have gone on to the end of a file, now and then, and at the end."""

    def __init__(
        self,
        station: str,
        journals: Mapping[str, Journal],
        sign: Callable[[Head], SignedHead],
        path: Path,
        every_s: float,
        notice: Callable[[str], None],
    ) -> None:
        self._station, self._journals, self._sign, self._path = station, journals, sign, path
        self._every_s, self._notice = every_s, notice
        self._written: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="procvision-heads", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last heads, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        said = ""
        going = True
        while going:
            going = not self._stop.wait(self._every_s)
            try:
                self._write()
                said = ""
            except OSError as error:
                reason = f"heads: {self._path} can't be written: {error.strerror or error}; it is tried again"
                if reason != said:
                    self._notice(reason)
                said = reason

    def _write(self) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines: list[Any] = []
        heads = {name: journal.head for name, journal in self._journals.items()}
        for name, (sequence, chain) in heads.items():
            if sequence > self._written.get(name, 0):
                head = Head(station=self._station, line=name, sequence=sequence, chain=chain, at=at)
                lines.append(self._sign(head))
        if not lines:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, PRIVATE_FILE)
        try:
            os.write(descriptor, msgspec.json.Encoder().encode_lines(lines))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._written = {name: sequence for name, (sequence, _) in heads.items()}
