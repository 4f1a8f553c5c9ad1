"""The spool alone: order and completeness, whatever the disk does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from procvision_mqtt import places, spool
from procvision_mqtt.spool import Spool, open_spool

MIB = 1024 * 1024


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Spool]:
    """A spool of at most a quarter of a megabyte."""
    with closing(Spool(places.take(tmp_path), MIB // 4)) as made:
        yield made


def drained(opened: Spool, most: int = 7) -> list[str]:
    """Takes everything out as the sender does, a few at a time."""
    topics: list[str] = []
    last = 0
    while messages := opened.after(last, most):
        topics += [message.topic for message in messages]
        last = messages[-1].number
        opened.remove(message.number for message in messages)
    return topics


def test_messages_come_out_in_order_once(opened: Spool) -> None:
    """And are gone then."""
    for number in range(50):
        opened.append(f"t{number}", b"x")
    assert opened.waiting() == 50
    assert drained(opened) == [f"t{number}" for number in range(50)]
    assert opened.waiting() == 0
    assert opened.after(0, 5) == []


def test_at_its_bound_messages_are_held_in_memory_and_come_out_in_order(opened: Spool) -> None:
    """What is on disk first, then what is held, then what is on disk again."""
    for number in range(100):
        opened.append(f"t{number}", bytes(4000))
    on_disk = opened.after(0, 1000)
    assert [message.topic for message in on_disk] == [f"t{number}" for number in range(100)]
    opened.remove(message.number for message in on_disk[:40])
    for number in range(100, 110):
        opened.append(f"t{number}", b"small")
    assert drained(opened) == [f"t{number}" for number in range(40, 110)]
    assert opened.lost == 0


def test_what_is_held_is_put_on_disk_at_the_end(tmp_path: Path) -> None:
    """If there is room by then; and it comes out of the next one in order."""
    with closing(Spool(places.take(tmp_path), MIB // 4)) as opened:
        for number in range(100):
            opened.append(f"t{number}", bytes(4000))
        opened.remove(range(1, 51))
    with closing(Spool(places.take(tmp_path), MIB // 4)) as opened:
        assert drained(opened) == [f"t{number}" for number in range(50, 100)]


def test_beyond_what_memory_holds_the_oldest_held_are_lost_and_counted(
    opened: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never the ones on disk."""
    monkeypatch.setattr(spool, "MAX_HELD", 5)
    while not opened.lost:
        opened.append("t", bytes(4000))
    numbers = [message.number for message in opened.after(0, 1000)]
    assert len(numbers) == numbers[-1] - opened.lost
    assert numbers[:10] == list(range(1, 11))
    assert numbers[-5:] == list(range(numbers[-1] - 4, numbers[-1] + 1))


def test_two_hosts_never_have_one_place(tmp_path: Path) -> None:
    """The lowest that is free, and free again when it is left."""
    first, second = places.take(tmp_path), places.take(tmp_path)
    assert (first.number, second.number) == (0, 1)
    first.leave()
    third = places.take(tmp_path)
    assert third.number == 0
    second.leave()
    third.leave()


def test_what_others_left_comes_after_ones_own_and_only_of_those_who_are_gone(tmp_path: Path) -> None:
    """A place that is still held is left alone."""
    before = [Spool(places.take(tmp_path), MIB) for _ in range(3)]
    for number, left in enumerate(before):
        left.append(f"of{number}", b"x")
        left.append(f"of{number} too", b"x")
    before[2].close()
    before[1].close()
    opened, number = open_spool(tmp_path, MIB)
    with closing(before[0]), closing(opened):
        assert number == 1
        opened.append("mine", b"x")
        assert drained(opened) == ["of1", "of1 too", "of2", "of2 too", "mine"]
        assert drained(before[0]) == ["of0", "of0 too"]


def test_what_speaks_against_a_folder_is_told_before_it_is_used(tmp_path: Path) -> None:
    """Nothing is made to find it out, and a folder that is yet to be made is none of it."""
    assert places.trouble(tmp_path) is None
    assert places.trouble(tmp_path / "not" / "yet") is None
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert places.trouble(folder) == f"{tmp_path / 'file'} is no folder"
    assert places.trouble(Path("/proc/1/nothing/is/made/here")) is not None
