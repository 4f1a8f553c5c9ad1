"""The journals, verified on demand: it reads all of them, so one verification runs at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
from attrs import field, frozen
from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from procvision_station.journal.audit import audit as audit_journal
from procvision_station.journal.disk import FolderDisk
from procvision_station.web.accounts import Role
from procvision_station.web.doors import needs


class JournalBody(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit of a journal found."""

    line: str
    whole: bool
    first_break: str | None
    """Where it stops being what was written."""
    sequence: int
    chain: str
    """After the last record. Noted elsewhere, it shows later whether an end was cut off."""
    records: int


@frozen
class Journals:
    """The folder of journals, read."""

    folder: Path
    _one: threading.Lock = field(factory=threading.Lock, init=False)

    def audit(self) -> list[JournalBody]:
        """Verify every journal."""
        found = []
        with self._one:
            for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
                if not path.is_dir():
                    continue
                report = audit_journal(FolderDisk(path))
                found.append(
                    JournalBody(
                        line=path.name,
                        whole=report.first_break is None,
                        first_break=str(report.first_break) if report.first_break is not None else None,
                        sequence=report.sequence,
                        chain=report.chain,
                        records=sum(report.counts.values()),
                    )
                )
        return found


JournalsHere = NamedDependency[SkipValidation[Journals]]


@get("/audit", opt=needs(Role.ENGINEER), tags=["audit"], sync_to_thread=True)
def audit(journals: JournalsHere) -> list[JournalBody]:
    """Verify the journals of all lines, which takes a while: every length, checksum, hash and link of the chain."""
    return journals.audit()


ROUTES = (audit,)
