"""The journals, verified on demand: each question goes on a little, where the one before stopped.

What was verified stays so as long as its files are as they were *before* they were read: inode, length and time of
change. A file that is not, such as the one that the line goes on with, is held against what was read of it. Where that
is another one, or gone, the verification begins with the first record.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
from attrs import define, field, frozen
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, SkipValidation

from procvision_station.journal.audit import Auditing
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.reading import Break, ReadRecord, read_journal, segments
from procvision_station.web.accounts import Role
from procvision_station.web.doors import needs

WORK_S = 0.1
"""So long one question verifies: some thousand records."""
LOOKED_AFTER = 64
"""Records between two looks at the clock."""
_Status: TypeAlias = tuple[int, int, int]
"""A file's inode, length and time of change."""


class JournalBody(msgspec.Struct, frozen=True, kw_only=True):
    """How far a journal was verified, and what was found."""

    line: str
    done: bool
    """Whether its end was reached."""
    whole: bool
    """Whether all of it is what was written; false as long as its end was not reached."""
    first_break: str | None
    """Where it stops being what was written."""
    sequence: int
    """Of the last record that was verified."""
    chain: str
    """After that record. Noted elsewhere, it shows later whether an end was cut off."""
    records: int
    """So many were verified."""
    progress: float
    """Of the journal's bytes the share that was verified, from 0 to 1."""
    since: datetime
    """When the first record was verified. What somebody changes in a closed segment since then begins it anew."""


class _ChangedError(Exception):
    """What was verified is no longer what is there."""


@define
class _Seen:
    """A segment as it was read."""

    status: _Status
    """From before it was read: who changed it since then changed this."""
    data: bytes | None
    """All of it, as long as it is being verified."""
    length: int = 0
    """So much of it was verified."""
    digest: bytes = b""
    """Of that much."""

    def end(self, length: int) -> None:
        """Keep what is needed of the part that was verified."""
        assert self.data is not None
        self.length, self.digest, self.data = length, _digest(self.data, length), None

    def begins(self, data: bytes) -> bool:
        """Return whether a segment begins with what was read of it."""
        if self.data is not None:
            return data.startswith(self.data)
        return len(data) >= self.length and _digest(data, self.length) == self.digest


class _NotingDisk(FolderDisk):
    """Notes what segments were like when they were read whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: dict[str, _Seen] = {}

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Read a file. Raises OSError, and _ChangedError where it was read before and was another one."""
        status = _status(self.folder / name)
        data = super().read(name, offset, length)
        if (offset, length) == (0, -1):
            before = self.seen.get(name)
            if before is not None and not before.begins(data):
                raise _ChangedError
            self.seen[name] = _Seen(status, data)
        return data


@define
class _Verification:
    """One journal, verified from its first record on, a part at a time."""

    folder: Path
    since: datetime = field(factory=lambda: datetime.now(UTC))
    done: bool = False
    _auditing: Auditing = field(factory=Auditing)
    _found: Iterator[ReadRecord | Break] | None = None
    _disk: _NotingDisk = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._disk = _NotingDisk(self.folder)

    def go_on(self, until: float) -> None:
        """Verify until then, by the monotonic clock, or to the end. Raises OSError, and _ChangedError."""
        self._hold()
        if self._found is None:
            if self.done and self._seen_end() == _end(self.folder):
                return
            last = self._auditing.last
            self._found = read_journal(self._disk, behind=last)
            self.done = False
        try:
            for number, found in enumerate(self._found):
                before = self._auditing.last
                goes_on = before is None or not isinstance(found, ReadRecord) or before.segment == found.segment
                if before is not None and not goes_on:
                    self._disk.seen[before.segment].end(before.end)
                if not self._auditing.take(found):
                    break
                # What a segment ends and begins with takes as long as thousands of records.
                if (number % LOOKED_AFTER == 0 or not goes_on) and time.monotonic() > until:
                    return
        except BaseException:
            self._found = None  # it is at its end: the next question reads on behind the last record
            raise
        last = self._auditing.last
        for name, seen in self._disk.seen.items():
            if seen.data is not None:
                seen.end(last.end if last is not None and last.segment == name else 0)
        self._found, self.done = None, True

    def _hold(self) -> None:
        """Raise _ChangedError where what was verified is no longer what is there, and OSError."""
        files = _files(self.folder)
        for name, seen in self._disk.seen.items():
            status = files.get(name)
            if status == seen.status:
                continue
            if status is None or not seen.begins(FolderDisk.read(self._disk, name)):
                raise _ChangedError
            seen.status = status

    def _seen_end(self) -> tuple[str, int]:
        last = self._auditing.last
        return (last.segment, last.end) if last is not None else ("", 0)

    def body(self) -> JournalBody:
        """Return how far it is. Raises OSError."""
        report, files = self._auditing.audit(), _files(self.folder)
        segment, end = self._seen_end()
        verified = sum(size for name, (_, size, _) in files.items() if name < segment) + end
        total = sum(size for _, size, _ in files.values())
        # An erasure that a later event declares is no break before that event was read.
        broken = report.first_break if self.done else None
        return JournalBody(
            line=self.folder.name,
            done=self.done,
            whole=self.done and broken is None,
            first_break=str(broken) if broken is not None else None,
            sequence=report.sequence,
            chain=report.chain,
            records=sum(report.counts.values()),
            progress=1.0 if self.done else min(1.0, verified / total) if total else 0.0,
            since=self.since,
        )


def _files(folder: Path) -> dict[str, _Status]:
    return {name: _status(folder / name) for name in segments([path.name for path in folder.iterdir()])}


def _status(path: Path) -> _Status:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_ctime_ns


def _digest(data: bytes, length: int) -> bytes:
    return hashlib.sha256(memoryview(data)[:length]).digest()


def _end(folder: Path) -> tuple[str, int]:
    name, (_, size, _) = max(_files(folder).items(), default=("", (0, 0, 0)))
    return name, size


@frozen
class Journals:
    """The folder of journals, read."""

    folder: Path
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _kept: dict[str, _Verification] = field(factory=dict, init=False)

    def verify(self, *, anew: bool = False) -> list[JournalBody]:
        """Verify on for `WORK_S`, or from the first record; return how far each journal is. Raises OSError."""
        with self._lock:
            names = sorted(path.name for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []
            for name in names:
                kept = self._kept.get(name)
                if anew or kept is None:
                    kept = self._kept[name] = _Verification(self.folder / name)
                # A part of each: the last line's turn comes also where the first one never ends.
                until = time.monotonic() + WORK_S / len(names)
                try:
                    kept.go_on(until)
                except _ChangedError:
                    kept = self._kept[name] = _Verification(self.folder / name)
                    kept.go_on(until)
            return [self._kept[name].body() for name in names]


JournalsHere = NamedDependency[SkipValidation[Journals]]
Anew = FromQuery[bool]


@get("/audit", opt=needs(Role.ENGINEER), tags=["audit"], sync_to_thread=True)
def audit(journals: JournalsHere, anew: Anew = False) -> list[JournalBody]:
    """Verify the journals of all lines: every length, checksum, hash and link of the chain.

    Each question verifies for a tenth of a second, where the one before stopped: ask again until all are `done`, with
    `anew` the first time to begin with the first record. A journal that was done is verified on from there.
    """
    return journals.verify(anew=anew)


ROUTES = (audit,)
