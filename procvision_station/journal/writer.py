"""`Journal`: appends records to a line's folder, and acknowledges them when they are on the disk.

    with open_journal(folder) as journal:
        journal.append(Kind.PRODUCT, {"key": "a-1", ...})
        journal.sync()  # now it is acknowledged

One process writes a journal at a time. What was appended and not synced counts as not written: where a write or a sync
fails, the journal goes back to what was acknowledged, so that a record that is tried again stands there once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import PRIVATE_FILE, make_private_folder
from procvision_station.journal.disk import Disk, FolderDisk
from procvision_station.journal.layout import (
    HEADER_BYTES,
    MAX_UNSYNCED,
    SEGMENT_HEAD_BYTES,
    Kind,
    SegmentHead,
    pack_record,
    pack_segment_head,
    read_segment_head,
    segment_name,
)
from procvision_station.journal.reading import Break, ReadRecord, find_record, read_journal, segments

DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024
"""A day of a product a second with 700 bytes each; closed ones are what a backup copies."""
LOCK_NAME = "lock"
TORN_SUFFIX = ".torn"


class JournalError(ProcVisionError):
    """A journal can't be written."""


class JournalDamagedError(JournalError):
    """A journal is not what was written to it, and not by a power cut: nothing is appended to it."""


class JournalBusyError(JournalError):
    """Another process writes the journal."""


class Journal:
    """A line's journal on a `Disk`, after recovery. One thread uses it.

    Raises JournalDamagedError where it is damaged, and OSError.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.disk = disk
        self.segment_bytes = segment_bytes
        self._clock_ns = clock_ns
        self.recovered: str | None = None
        """What recovery cut off, in words; None where the end was whole."""
        self._segment = ""
        self._acknowledged = (1, b"", 0)
        """Next sequence number, chain, and length of the segment, as they survive a power cut."""
        self._written = self._acknowledged
        self._failed = False
        self._recover()

    @property
    def sequence(self) -> int:
        """The number of the last acknowledged record; 0 for none."""
        return self._acknowledged[0] - 1

    @property
    def chain(self) -> str:
        """The chain after it, in hexadecimal."""
        return self._acknowledged[1].hex()

    @property
    def head(self) -> tuple[int, str]:
        """Both at once: another thread may ask."""
        sequence, chain, _ = self._acknowledged
        return sequence - 1, chain.hex()

    # --- writing --------------------------------------------------------------------------------------------

    def append(self, kind: Kind, content: Mapping[str, Any]) -> int:
        """Write a record and return its sequence number. It counts when `sync` has returned.

        Raises OSError, after which nothing counts that was appended since the last `sync`; ValueError for content that
        is too long or no text, TypeError for what is no JSON.
        """
        body = msgspec.json.encode(content)
        self._go_back_after_failure()
        unsynced = self._written[0] - self._acknowledged[0]
        if unsynced >= MAX_UNSYNCED:
            raise ValueError(f"at most {MAX_UNSYNCED} records are appended between two calls of sync")
        sequence, chain, length = self._written
        data, new_chain = pack_record(sequence, self._clock_ns(), kind, unsynced, body, chain)
        try:
            # Only between two syncs: a batch stands in one segment, and counts wholly or not at all.
            if not unsynced and length > SEGMENT_HEAD_BYTES and length + len(data) > self.segment_bytes:
                self._begin_segment(sequence, chain)
                length = SEGMENT_HEAD_BYTES
            self.disk.write(self._segment, length, data)
        except OSError:
            self._failed = True
            raise
        self._written = (sequence + 1, new_chain, length + len(data))
        return sequence

    def sync(self) -> None:
        """Return when all that was appended is on the disk. Raises OSError, after which none of it counts."""
        if self._failed:
            raise OSError(5, "what was appended could not be written", self._segment)
        if self._written == self._acknowledged:
            return
        try:
            self.disk.sync(self._segment)
        except OSError:
            self._failed = True
            raise
        self._acknowledged = self._written

    def erase(self, sequence: int, why: str) -> None:
        """Erase a record's body: first an event says so, then zeros stand in its place.

        Raises KeyError where there is no such record, ValueError for an event of an erasure, and OSError.
        """
        found = find_record(self.disk, sequence)
        if found is None:
            raise KeyError(f"there is no record {sequence}")
        if found.header.kind == Kind.EVENT and found.content().get("event") == "erased":
            raise ValueError(f"record {sequence} says what was erased, and stays")
        if sequence > self.sequence:
            self.sync()
        self.append(Kind.EVENT, {"event": "erased", "sequence": sequence, "why": why})
        self.sync()
        self._overwrite(found)

    def _overwrite(self, found: ReadRecord) -> None:
        self.disk.write(found.segment, found.offset + HEADER_BYTES, bytes(found.header.body_bytes))
        self.disk.sync(found.segment)

    def close(self) -> None:
        """Let go of the files. What was appended and not synced doesn't count."""
        self.disk.close()

    # --- after a failure, and at the start ------------------------------------------------------------------

    def _go_back_after_failure(self) -> None:
        """Forget what was appended and not acknowledged. Raises OSError where the disk can't yet."""
        if not self._failed:
            return
        self.disk.close()
        for name in segments(self.disk.names()):
            if name > self._segment:  # begun, and not acknowledged
                self.disk.rename(name, self._torn_name(name))
                self.disk.sync_folder()
        length = self._acknowledged[2]
        self.disk.truncate(self._segment, length)
        self.disk.sync(self._segment)
        self._written = self._acknowledged
        self._failed = False

    def _begin_segment(self, first_sequence: int, chain: bytes) -> None:
        """Make the next segment, so that it survives a power cut, or is not there."""
        name = segment_name(first_sequence)
        self.disk.create(name)
        self.disk.write(name, 0, pack_segment_head(SegmentHead(first_sequence, chain)))
        self.disk.sync(name)
        self.disk.sync_folder()
        self._segment = name
        self._acknowledged = self._written = (first_sequence, chain, SEGMENT_HEAD_BYTES)

    def _recover(self) -> None:
        """Find the end, cut off what was not finished, and finish erasures that were declared."""
        names = segments(self.disk.names())
        if not names:
            self._begin_segment(1, secrets.token_bytes(32))
            return
        declared: list[int] = []
        undeclared: list[ReadRecord] = []
        last: ReadRecord | None = None
        torn: Break | None = None
        damaged: Break | None = None
        # The last segment may have no record yet. What stands before these two was closed; an audit reads it.
        for found in read_journal(self.disk, names[max(0, len(names) - 2)]):
            if isinstance(found, Break):
                torn, damaged = (found, damaged) if found.torn else (None, damaged or found)
                break
            last = found
            undeclared += [found] if found.damage is not None else []
            if found.header.kind == Kind.EVENT and found.body is not None:
                content = found.content()
                if content.get("event") == "erased":
                    declared.append(content["sequence"])
        damaged = next((each.damage for each in undeclared if each.sequence not in declared), damaged)
        if damaged is not None:
            raise JournalDamagedError(
                f"the journal is damaged: {damaged}\n"
                "hint: procvision station audit FOLDER; take a copy before anything else"
            )
        self._set_end(names, last, torn)
        self._finish_erasures(declared)

    def _set_end(self, names: list[str], last: ReadRecord | None, torn: Break | None) -> None:
        sequence = last.sequence + 1 if last is not None else 1
        name = names[-1]
        if torn is not None and torn.offset == 0:
            # A segment whose head was never finished holds no record.
            self.recovered = f"{torn}; the segment was put aside"
            self.disk.rename(name, self._torn_name(name))
            self.disk.sync_folder()
            if last is None:
                self._begin_segment(1, secrets.token_bytes(32))
            else:
                self._begin_segment(sequence, last.header.chain)
            return
        data = self.disk.read(name)
        length = len(data)
        if torn is not None:
            length = torn.offset
            aside = self._torn_name(name)
            self.recovered = f"{torn}; {len(data) - length} bytes were put aside in {aside}"
            self.disk.create(aside)
            self.disk.write(aside, 0, data[length:])
            self.disk.sync(aside)
            self.disk.sync_folder()
            self.disk.truncate(name, length)
        head = read_segment_head(data)
        assert head is not None
        in_it = last is not None and last.segment == name
        # What was read may still be in the cache alone: it counts from here on, so it must be on the disk.
        self.disk.sync(name)
        self.disk.sync_folder()
        self._segment = name
        chain = last.header.chain if last is not None and in_it else head.chain
        self._acknowledged = self._written = (sequence, chain, length)

    def _finish_erasures(self, declared: list[int]) -> None:
        for sequence in declared:
            found = find_record(self.disk, sequence)
            if found is not None and (found.body is not None or found.damage is not None):
                self._overwrite(found)

    def _torn_name(self, name: str) -> str:
        taken, number = set(self.disk.names()), 1
        while f"{name}.{number}{TORN_SUFFIX}" in taken:
            number += 1
        return f"{name}.{number}{TORN_SUFFIX}"


@contextlib.contextmanager
def open_journal(folder: Path, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> Iterator[Journal]:
    """Open the journal of a folder, which is made where it is missing. No other process writes it until this is left.

    Raises JournalBusyError, JournalDamagedError and OSError.
    """
    make_private_folder(folder)
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalBusyError(
                f"{folder} is written by another process\nhint: end the station that runs from this folder"
            ) from error
        with contextlib.closing(Journal(FolderDisk(folder), segment_bytes=segment_bytes)) as journal:
            yield journal
    finally:
        os.close(lock)
