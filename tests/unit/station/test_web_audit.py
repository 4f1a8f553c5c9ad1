"""A journal is verified a little with each question: what that comes to is what an audit of the whole says."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("litestar", reason="the extra station serves the page")

from station_records import drawn

from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import segments
from procvision_station.journal.writer import open_journal
from procvision_station.web.api import audit as web_audit
from procvision_station.web.api.audit import JournalBody, Journals

SMALL_SEGMENT = 15_000


@pytest.fixture(autouse=True)
def a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little that a journal of the tests takes many questions."""
    monkeypatch.setattr(web_audit, "WORK_S", 0.0005)
    monkeypatch.setattr(web_audit, "LOOKED_AFTER", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "journal" / "main", 1, 120)
    return tmp_path / "journal"


def written(folder: Path, seed: int, count: int) -> None:
    with open_journal(folder, segment_bytes=SMALL_SEGMENT) as journal:
        for kind, content in drawn(seed, count, erasures=False):
            journal.append(kind, content)
            journal.sync()


def parts(journals: Journals) -> Iterator[JournalBody]:
    """What each question answers, until the end is reached."""
    anew, done = True, False
    while not done:
        (found,) = journals.verify(anew=anew)
        anew, done = False, found.done
        yield found


def agrees(found: JournalBody, folder: Path) -> None:
    whole = audit(FolderDisk(folder / "main"))
    said = str(whole.first_break) if whole.first_break is not None else None
    assert (found.done, found.whole, found.first_break) == (True, said is None, said)
    assert (found.sequence, found.chain, found.records) == (whole.sequence, whole.chain, sum(whole.counts.values()))


def test_many_questions_come_to_what_one_audit_says(folder: Path) -> None:
    seen = list(parts(Journals(folder)))
    assert len(seen) > 5
    assert not any(each.whole for each in seen[:-1])
    assert [each.progress for each in seen] == sorted(each.progress for each in seen)
    agrees(seen[-1], folder)


def test_what_was_verified_is_not_read_again_and_what_comes_is_verified(folder: Path) -> None:
    journals = Journals(folder)
    *_, last = parts(journals)
    with open_journal(folder / "main", segment_bytes=SMALL_SEGMENT) as journal:
        for number in range(100):
            journal.append(Kind.EVENT, {"event": "note", "key": str(number), "text": "x" * 200})
            journal.sync()
        seen = journals.verify()
        while not (seen[-1].done and seen[-1].sequence == last.sequence + 100):
            seen += journals.verify()
        assert {each.since for each in seen} == {last.since}
        assert min(each.records for each in seen) >= last.records
        agrees(seen[-1], folder)
        journal.erase(5, "asked for")
    # A closed segment is another one: it begins anew, and the erasure is declared.
    *_, now = until_done(journals)
    agrees(now, folder)
    assert now.whole


def until_done(journals: Journals) -> Iterator[JournalBody]:
    done = False
    while not done:
        (found,) = journals.verify()
        done = found.done
        yield found


@pytest.mark.parametrize("seed", range(6))
def test_a_change_anywhere_is_found_also_in_what_was_verified_before(folder: Path, seed: int) -> None:
    """A byte that is another one, a segment that is gone or cut off, a tail that a power cut left."""
    rng = random.Random(seed)
    journals = Journals(folder)
    list(parts(journals))
    names = segments(FolderDisk(folder / "main").names())
    assert len(names) > 3
    path = folder / "main" / (rng.choice(names[:-1]) if seed != 5 else names[-1])
    data = path.read_bytes()
    if seed < 3:
        place = rng.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    elif seed == 3:
        path.unlink()
    elif seed == 4:
        path.write_bytes(data[: rng.randrange(len(data))])
    else:
        path.write_bytes(data + data[52:100])
    *_, last = until_done(journals)
    agrees(last, folder)
    assert last.whole == (seed == 5)


@pytest.mark.parametrize("where", ["verified", "to come", "verified before"])
def test_a_change_between_two_questions_is_found_in_the_segment_that_is_being_read(
    folder: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the line goes on with it, and by who puts length and time of change back."""
    monkeypatch.setattr(web_audit, "WORK_S", 0.0)  # a record a question
    names = segments(FolderDisk(folder / "main").names())
    path = folder / "main" / names[-1 if where == "verified before" else 1]
    journals = Journals(folder)
    with open_journal(folder / "main") as journal:
        for found in parts(journals):
            if where != "verified before" and found.sequence > int(path.stem) + 2:
                assert not found.done
                break
        data, before = path.read_bytes(), path.stat()
        place = len(data) - 20 if where == "to come" else data.index(b'"')
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if where == "verified before":
            journal.append(Kind.EVENT, {"event": "note", "key": "x", "text": "y"})
            journal.sync()
    *_, last = until_done(journals)
    assert not last.whole
    agrees(last, folder)


def test_a_disk_that_fails_for_a_moment_makes_no_half_a_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question that met it is refused, and the next ones read on from where it was."""
    last = segments([path.name for path in (folder / "main").iterdir()])[-1]
    read, failed = FolderDisk.read, []

    def fails_once(disk: FolderDisk, name: str, *where: int) -> bytes:
        if name == last and not failed:
            failed.append(name)
            raise OSError(5, "Input/output error")
        return read(disk, name, *where)

    monkeypatch.setattr(FolderDisk, "read", fails_once)
    journals, found = Journals(folder), None
    while found is None or not found.done:
        try:
            (found,) = journals.verify()
        except OSError:
            continue
    assert failed
    agrees(found, folder)
