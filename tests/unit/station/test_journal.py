"""A journal loses no record that was acknowledged, shows what was changed, and can forget a body."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from power_cut import RecordedDisk, after_power_cut

from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.layout import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    SEGMENT_HEAD_BYTES,
    Kind,
    read_header,
    segment_name,
)
from procvision_station.journal.reading import Break, ReadRecord, read_journal
from procvision_station.journal.writer import Journal, JournalBusyError, JournalDamagedError, open_journal

SMALL_SEGMENT = 700
"""A few records of these tests."""


def written(disk, count, *, start=0, segment_bytes=SMALL_SEGMENT, batch=1):
    journal = Journal(disk, segment_bytes=segment_bytes)
    for number in range(start, start + count):
        journal.append(Kind.PRODUCT, {"number": number})
        if (number + 1 - start) % batch == 0:
            journal.sync()
    journal.sync()
    return journal


def numbers(disk):
    found = list(read_journal(disk))
    assert all(isinstance(each, ReadRecord) for each in found), found
    return [each.content()["number"] for each in found if each.header.kind == Kind.PRODUCT]


def test_what_was_written_is_read_in_its_order_over_all_segments():
    disk = RecordedDisk()
    journal = written(disk, 20)
    assert numbers(disk) == list(range(20))
    assert len(disk.names()) > 3
    report = audit(disk)
    assert (report.first_break, report.tail, report.sequence, report.chain) == (None, None, 20, journal.chain)


def test_a_journal_goes_on_where_it_was_left():
    disk = RecordedDisk()
    for start in range(0, 30, 3):
        written(disk, 3, start=start)
    assert numbers(disk) == list(range(30))
    assert audit(disk).first_break is None


def test_the_order_is_by_number_whatever_the_clock_does():
    disk = RecordedDisk()
    clock = iter([1_000, 2_000, 500, 3_000])
    journal = Journal(disk, clock_ns=lambda: next(clock))
    for number in range(4):
        journal.append(Kind.PRODUCT, {"number": number})
    journal.sync()
    assert numbers(disk) == [0, 1, 2, 3]
    report = audit(disk)
    assert report.first_break is None
    assert report.clock_steps == (3,)


@pytest.mark.parametrize("seed", range(3))
def test_every_changed_byte_is_found_and_its_record_named(seed):
    """Of a closed segment and of the last one: recovery takes no damage for a torn end."""
    disk = RecordedDisk()
    written(disk, 9)
    rng = random.Random(seed)
    records = [each for each in read_journal(disk) if isinstance(each, ReadRecord)]
    for record in records:
        first = record.offset
        end = first + HEADER_BYTES + record.header.body_bytes
        for offset in {first, end - 1, *(rng.randrange(first, end) for _ in range(12))}:
            changed = RecordedDisk(disk.files)
            changed.files[record.segment][offset] ^= 1 << rng.randrange(8)
            found = [each for each in read_journal(changed) if isinstance(each, Break) or each.damage is not None]
            assert [each.sequence for each in found] == [record.sequence]
            if record is not records[-1]:
                assert audit(changed).first_break.sequence == record.sequence
                if record.segment >= records[-1].segment:
                    with pytest.raises(JournalDamagedError, match=f"record {record.sequence}"):
                        Journal(changed)


@pytest.mark.parametrize("segment", range(3))
def test_a_segment_that_is_missing_or_of_another_journal_is_named(segment):
    disk, other = RecordedDisk(), RecordedDisk()
    written(disk, 20)
    written(other, 20)
    name = disk.names()[segment]
    for replacement in (None, other.files[name]):
        changed = RecordedDisk(disk.files)
        if replacement is None:
            del changed.files[name]
        else:
            changed.files[name] = bytearray(replacement)
        found = audit(changed).first_break
        assert found is not None
        assert found.segment in disk.names()[segment : segment + 2]


def test_a_record_taken_out_put_in_twice_or_swapped_is_named():
    disk = RecordedDisk()
    written(disk, 6, segment_bytes=100_000)
    (name,) = disk.names()
    data = disk.read(name)
    parts = [
        data[each.offset : each.offset + HEADER_BYTES + each.header.body_bytes]
        for each in read_journal(disk)
        if isinstance(each, ReadRecord)
    ]
    head = data[:SEGMENT_HEAD_BYTES]
    for order in ([0, 1, 3, 4, 5], [0, 1, 1, 2, 3, 4, 5], [0, 2, 1, 3, 4, 5], [1, 2, 3, 4, 5]):
        changed = RecordedDisk({name: head + b"".join(parts[place] for place in order)})
        first_wrong = next(place for place, each in enumerate([*order, None]) if each != place)
        assert audit(changed).first_break.sequence == first_wrong + 1


def test_a_cut_off_end_is_seen_by_whom_noted_the_head():
    """A bare chain can't show it, and says so by holding."""
    disk = RecordedDisk()
    journal = written(disk, 5, segment_bytes=100_000)
    noted = {journal.sequence: journal.chain}
    assert audit(disk, noted).first_break is None
    (name,) = disk.names()
    last = [each for each in read_journal(disk) if isinstance(each, ReadRecord)][-1]
    cut = RecordedDisk({name: disk.read(name)[: last.offset]})
    assert audit(cut).first_break is None
    assert "noted" in audit(cut, noted).first_break.what
    written(cut, 3, segment_bytes=100_000)
    assert "differs" in audit(cut, noted).first_break.what


@pytest.mark.parametrize("cut", range(1, 60))
def test_an_end_of_any_length_is_cut_off_and_kept_aside(cut):
    disk = RecordedDisk()
    written(disk, 3, segment_bytes=100_000)
    (name,) = disk.names()
    last = [each for each in read_journal(disk) if isinstance(each, ReadRecord)][-1]
    length = last.offset + cut * 2
    torn = RecordedDisk({name: disk.read(name)[:length]})
    assert audit(torn).first_break is None
    assert audit(torn).tail.sequence == 3
    journal = Journal(torn)
    assert journal.sequence == 2
    assert "put aside" in journal.recovered
    assert torn.read(f"{name}.1.torn") == disk.read(name)[last.offset : length]
    journal.append(Kind.PRODUCT, {"number": "new"})
    journal.sync()
    assert numbers(torn) == [0, 1, "new"]
    assert audit(torn).first_break is None


@pytest.mark.parametrize("came", [HEADER_BYTES, HEADER_BYTES + 7])
def test_a_header_whose_body_never_came_is_no_erasure(came):
    """The file's length came, and zeros in place of what didn't."""
    disk = RecordedDisk()
    written(disk, 3, segment_bytes=100_000)
    (name,) = disk.names()
    last = [each for each in read_journal(disk) if isinstance(each, ReadRecord)][-1]
    whole = disk.read(name)
    torn = RecordedDisk({name: whole[: last.offset + came] + bytes(len(whole) - last.offset - came)})
    assert audit(torn).tail.sequence == 3
    journal = Journal(torn)
    assert journal.sequence == 2
    journal.append(Kind.PRODUCT, {"number": "new"})
    journal.sync()
    assert numbers(torn) == [0, 1, "new"]
    assert audit(torn).first_break is None


def check_survivors(operations, acknowledged, appended, rng):
    """A journal recovers from what is left, has all that was acknowledged and nothing twice, and goes on."""
    disk = RecordedDisk(after_power_cut(operations, rng))
    journal = Journal(disk, segment_bytes=SMALL_SEGMENT)
    found = numbers(disk)
    assert found[: len(acknowledged)] == acknowledged
    assert len(set(found)) == len(found)
    assert set(found) <= set(appended)
    assert journal.sequence == len([each for each in read_journal(disk) if isinstance(each, ReadRecord)])
    # The power goes again, right after recovery has acknowledged what it found.
    again = RecordedDisk(after_power_cut([*beginning(disk), *disk.operations], rng))
    assert numbers_of_recovered(again)[: len(acknowledged)] == acknowledged
    journal.append(Kind.PRODUCT, {"number": "later"})
    journal.sync()
    assert numbers(disk) == [*found, "later"]
    assert audit(disk).first_break is None


def beginning(disk):
    """The operations that make the files a disk began with, and that survive a power cut."""
    made = []
    for name, data in disk.begun.items():
        made += [("create", name), ("write", name, 0, data), ("sync", name)]
    return [*made, ("sync_folder",)]


def numbers_of_recovered(disk):
    Journal(disk, segment_bytes=SMALL_SEGMENT)
    return numbers(disk)


@pytest.mark.parametrize("batch", [1, 3])
def test_no_acknowledged_record_is_lost_whenever_the_power_goes(batch):
    """After each single operation, with many fates of what was not synced."""
    disk = RecordedDisk()
    journal = Journal(disk, segment_bytes=SMALL_SEGMENT)
    acknowledged_at = {0: []}
    appended = []
    for number in range(12):
        appended.append(number)
        journal.append(Kind.PRODUCT, {"number": number})
        if (number + 1) % batch == 0:
            journal.sync()
            acknowledged_at[len(disk.operations)] = list(appended)
    rng = random.Random(batch)
    for end in range(len(disk.operations) + 1):
        acknowledged = acknowledged_at[max(place for place in acknowledged_at if place <= end)]
        for _ in range(12):
            check_survivors(disk.operations[:end], acknowledged, appended, rng)


@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(0, 60), max_size=12), st.integers(1, 3), st.integers(0, 2**32))
def test_a_disk_that_fails_now_and_then_loses_no_acknowledged_record_and_doubles_none(fail_at, batch, seed):
    """Every record that failed is tried again; at the end, and at a power cut anywhere, each stands there once."""
    disk = RecordedDisk(fail_at={place + 6 for place in fail_at})
    journal = Journal(disk, segment_bytes=SMALL_SEGMENT)
    waiting, acknowledged = list(range(9)), []
    acknowledged_at = {0: []}
    for _ in range(200):
        if not waiting:
            break
        try:
            for number in waiting[:batch]:
                journal.append(Kind.PRODUCT, {"number": number})
            journal.sync()
        except OSError:
            continue
        acknowledged, waiting = acknowledged + waiting[:batch], waiting[batch:]
        acknowledged_at[len(disk.operations)] = acknowledged
    assert not waiting
    assert numbers(disk) == list(range(9))
    assert audit(disk).first_break is None
    operations = [each for each in disk.operations if each[0] != "failed"]
    if len(operations) == len(disk.operations):
        rng = random.Random(seed)
        end = rng.randint(0, len(operations))
        before = acknowledged_at[max(place for place in acknowledged_at if place <= end)]
        check_survivors(operations[:end], before, list(range(9)), rng)


def test_a_body_is_erased_and_the_chain_holds(tmp_path):
    with open_journal(tmp_path) as journal:
        for name in ("Ada", "Grace", "Edsger"):
            journal.append(Kind.PRODUCT, {"name": name})
        journal.sync()
        journal.erase(2, "asked for")
        with pytest.raises(KeyError):
            journal.erase(9, "there is none")
        with pytest.raises(ValueError, match="stays"):
            journal.erase(4, "the event itself")
    disk = FolderDisk(tmp_path)
    report = audit(disk)
    assert (report.first_break, report.erased, report.sequence) == (None, (2,), 4)
    assert b"Grace" not in disk.read(segment_name(1))
    assert [each.content().get("name") for each in read_journal(disk)][:3] == ["Ada", None, "Edsger"]


def test_an_erased_body_that_no_event_tells_of_is_a_break(tmp_path):
    with open_journal(tmp_path) as journal:
        for name in ("Ada", "Grace"):
            journal.append(Kind.PRODUCT, {"name": name})
            journal.sync()
    disk = FolderDisk(tmp_path)
    first = next(read_journal(disk))
    disk.write(first.segment, first.offset + HEADER_BYTES, bytes(first.header.body_bytes))
    disk.close()
    found = audit(disk).first_break
    assert found.sequence == 1
    assert "no event says so" in found.what


def test_an_erasure_that_a_power_cut_stopped_is_finished_at_the_start():
    disk = RecordedDisk()
    journal = written(disk, 3, segment_bytes=100_000)
    before = len(disk.operations)
    journal.erase(1, "asked for")
    for end in range(before, len(disk.operations) + 1):
        for seed in range(20):
            left = RecordedDisk(after_power_cut(disk.operations[:end], random.Random(seed)))
            assert audit(left).first_break is None
            Journal(left)
            report = audit(left)
            assert report.first_break is None
            assert report.not_yet_erased == ()
            assert report.erased == ((1,) if report.counts.get("event") else ())


def test_bodies_of_the_same_content_have_other_hashes():
    """An erased name can't be guessed by hashing names."""
    disk = RecordedDisk()
    journal = Journal(disk)
    for _ in range(2):
        journal.append(Kind.PRODUCT, {"name": "Ada"})
    journal.sync()
    one, other = read_journal(disk)
    assert one.header.body_hash != other.header.body_hash


def test_a_body_too_long_or_no_json_writes_nothing(tmp_path):
    with open_journal(tmp_path) as journal:
        with pytest.raises(ValueError, match="at most"):
            journal.append(Kind.EVENT, {"text": "x" * MAX_BODY_BYTES})
        with pytest.raises(TypeError):
            journal.append(Kind.EVENT, {"what": object()})
        with pytest.raises(ValueError, match="surrogates"):
            journal.append(Kind.EVENT, {"what": "\ud800"})
        journal.append(Kind.PRODUCT, {"number": 1})
        journal.sync()
    assert numbers(FolderDisk(tmp_path)) == [1]


def test_two_processes_never_write_one_journal(tmp_path):
    with (
        open_journal(tmp_path),
        pytest.raises(JournalBusyError, match="another process"),
        open_journal(tmp_path),
    ):
        pass
    with open_journal(tmp_path) as journal:
        assert journal.sequence == 0


def test_files_are_their_owners_alone(tmp_path):
    old = os.umask(0)
    try:
        with open_journal(tmp_path / "a" / "b") as journal:
            journal.append(Kind.EVENT, {})
            journal.sync()
    finally:
        os.umask(old)
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "a" / "b").iterdir()} == {"0o600"}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_random_bytes_are_no_header():
    rng = random.Random(1)
    assert all(read_header(rng.randbytes(200)) is None for _ in range(1000))
    assert all(read_header(b"PVRC" + rng.randbytes(200)) is None for _ in range(1000))


WRITER = """
import sys
from pathlib import Path
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal
with open_journal(Path(sys.argv[1]), segment_bytes=5000) as journal:
    print("at", journal.sequence, flush=True)
    for number in range(journal.sequence, 1_000_000):
        journal.append(Kind.PRODUCT, {"number": number})
        journal.sync()
        print(number, flush=True)
"""


def test_a_writer_that_is_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path):
    """SIGKILL: what was printed is there, once, and the next writer goes on behind it."""
    rng = random.Random(7)
    told = -1
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline().startswith("at ")
            for _ in range(rng.randint(1, 200)):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split("\n")
            told = max([told, *(int(line) for line in rest[:-1] if line)])
    with open_journal(tmp_path):
        pass
    found = numbers(FolderDisk(tmp_path))
    assert found == list(range(len(found)))
    assert len(found) > told
    assert audit(FolderDisk(tmp_path)).first_break is None
