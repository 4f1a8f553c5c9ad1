"""Whether a journal is what was written: every length, checksum, hash and link of the chain, and what was erased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from attrs import field, frozen

from procvision_station.journal.disk import Disk
from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import Break, ReadRecord, read_journal

NOTHING_NOTED: Mapping[int, str] = MappingProxyType({})


@frozen
class Audit:
    """What an audit found."""

    first_break: Break | None
    """Where the journal stops being what was written; None where it is whole."""
    tail: Break | None
    """A record that was not finished: of a power cut, or of a station that is writing. It was never acknowledged."""
    sequence: int
    """Of the last record; 0 where there is none."""
    chain: str
    """After the last record, in hexadecimal: noted elsewhere, it shows later that no record was cut off or changed."""
    counts: Mapping[str, int] = field(factory=dict)
    """Records by kind."""
    erased: tuple[int, ...] = ()
    """Sequence numbers of the records whose body was erased."""
    not_yet_erased: tuple[int, ...] = ()
    """Records of which an event says that they were erased, and whose body is there: the station's start erases it."""
    clock_steps: tuple[int, ...] = ()
    """Records before which the clock had gone back. This is no break: the order is that of the sequence numbers."""


class Auditing:
    """An audit on its way: takes what a journal has, one after the other, and says what that comes to so far."""

    def __init__(self, expected: Mapping[int, str] = NOTHING_NOTED) -> None:
        self._expected = expected
        self._counts: Counter[str] = Counter()
        self._erased: dict[int, ReadRecord] = {}
        self._declared: set[int] = set()
        self._steps: list[int] = []
        self._broken: Break | None = None
        self.last: ReadRecord | None = None
        """The last record that was whole."""

    def take(self, found: ReadRecord | Break) -> bool:
        """Take a record in; False where the journal breaks, and nothing more is to be taken."""
        self._broken = found if isinstance(found, Break) else _wrong_content(found, self.last)
        if self._broken is not None:
            return False
        assert isinstance(found, ReadRecord)
        self._counts[Kind(found.header.kind).name.lower()] += 1
        if found.body is None:
            self._erased[found.sequence] = found
        elif found.header.kind == Kind.EVENT:
            content = found.content()
            if content.get("event") == "erased":
                self._declared.add(content["sequence"])
        if self.last is not None and found.header.time_ns < self.last.header.time_ns:
            self._steps.append(found.sequence)
        self.last = found
        if self._expected.get(found.sequence, found.header.chain.hex()) != found.header.chain.hex():
            self._broken = _at(found, "it is another one than was noted: its chain differs")
        return self._broken is None

    def audit(self) -> Audit:
        """Return what was found up to here."""
        broken, last = self._broken, self.last
        tail = broken if broken is not None and broken.torn else None
        undeclared = _undeclared(self._erased, self._declared)
        if tail is not None or (undeclared is not None and (broken is None or undeclared.sequence < broken.sequence)):
            broken = undeclared
        sequence = last.sequence if last is not None else 0
        noted = max(self._expected, default=0)
        if broken is None and noted > sequence:
            where = last.segment if last is not None else "the journal"
            broken = Break(where, 0, sequence + 1, f"records up to {noted} were noted, and the last is {sequence}")
        return Audit(
            first_break=broken,
            tail=tail,
            sequence=sequence,
            chain=last.header.chain.hex() if last is not None else "",
            counts=dict(self._counts),
            erased=tuple(sorted(number for number, found in self._erased.items() if found.damage is None)),
            not_yet_erased=tuple(sorted(number for number in self._declared if not _is_gone(self._erased.get(number)))),
            clock_steps=tuple(self._steps),
        )


def audit(disk: Disk, expected: Mapping[int, str] = NOTHING_NOTED) -> Audit:
    """Read a journal from its start. `expected` are chains after records, as they were noted, by sequence number.

    Raises OSError where a file can't be read.
    """
    auditing = Auditing(expected)
    for found in read_journal(disk):
        if not auditing.take(found):
            break
    return auditing.audit()


def _wrong_content(found: ReadRecord, last: ReadRecord | None) -> Break | None:
    """Return what is wrong with a record whose bytes are whole; None mostly."""
    if found.header.kind not in set(Kind):
        return _at(found, f"its kind is {found.header.kind}, which there is not")
    if found.body is None:
        return None
    try:
        content = msgspec.json.decode(found.body)
    except msgspec.DecodeError as error:
        return _at(found, f"its body is no JSON: {error}")
    if not isinstance(content, dict):
        return _at(found, "its body is no object")
    if found.header.kind == Kind.EVENT and content.get("event") == "erased":
        sequence = content.get("sequence")
        if not isinstance(sequence, int) or not 0 < sequence <= (last.sequence if last is not None else 0):
            return _at(found, f"it says that record {sequence!r} was erased, which there is not")
    return None


def _is_gone(found: ReadRecord | None) -> bool:
    return found is not None and found.damage is None


def _undeclared(erased: Mapping[int, ReadRecord], declared: set[int]) -> Break | None:
    """Return the first record without its body of which no event says that it was erased."""
    for sequence in sorted(erased.keys() - declared):
        found = erased[sequence]
        return found.damage or _at(found, "its body was erased, and no event says so")
    return None


def _at(found: ReadRecord, what: str) -> Break:
    return Break(found.segment, found.offset, found.sequence, what)
