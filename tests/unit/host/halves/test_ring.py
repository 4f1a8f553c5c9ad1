"""The memory that cell and host half share: what was put is taken, in order, whatever became of the cell."""

from __future__ import annotations

import os
import random
import signal
import struct

import pytest

from procvision_host.halves import ring as rings
from procvision_host.halves.ring import DONE, PENDING, Ring, SpoiltRingError

SMALL = 4096


def test_what_was_put_is_taken_in_order_round_after_round() -> None:
    """Of every length, also where the memory's end is crossed."""
    ring, chosen = Ring(SMALL), random.Random(4)
    for number in range(3000):
        data = [chosen.randbytes(chosen.choice((0, 1, 7, 8, 9, 500, ring.largest))) for _ in range(chosen.randrange(3))]
        for one in data:
            assert ring.put(number % 256, one) is not None
        assert list(ring.take()) == [(number % 256, one) for one in data]
    assert not ring.waiting


def test_what_is_not_done_yet_holds_up_what_follows_until_it_is() -> None:
    """So that nobody is told of an answer before it was written."""
    ring = Ring(SMALL)
    ring.put(1, b"first")
    place = ring.put(2, b"second", PENDING)
    ring.put(3, b"third")
    assert list(ring.take()) == [(1, b"first")]
    assert list(ring.take()) == []
    assert place is not None
    assert not ring.done([place])
    ring.sleeps(asleep=True)
    assert ring.done([])
    assert list(ring.take()) == [(2, b"second"), (3, b"third")]


def test_at_the_end_what_was_about_to_happen_is_told_as_well() -> None:
    """The cell died between putting it down and marking it: its answer may be out."""
    ring = Ring(SMALL)
    ring.put(1, b"about to", PENDING)
    assert list(ring.take()) == []
    assert list(ring.take(ended=True)) == [(1, b"about to")]


def test_a_ring_that_nobody_reads_loses_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it stays as it was."""
    monkeypatch.setattr(rings, "PATIENCE_S", 0.01)
    ring = Ring(SMALL)
    put = [number for number in range(100) if ring.put(1, bytes([number]) * 100) is not None]
    assert 20 < len(put) < 50
    assert [data[0] for _, data in ring.take()] == put


def test_a_killed_cell_leaves_what_it_had_put() -> None:
    """In a process that is killed while it goes on putting."""
    ring = Ring(SMALL)
    process_id = os.fork()
    if process_id == 0:
        for number in range(1_000_000):
            ring.put(1, struct.pack("<I", number), DONE if number % 2 else PENDING)
        os._exit(0)
    seen: list[int] = []
    while len(seen) < 200:
        seen += [struct.unpack("<I", data)[0] for _, data in ring.take(ended=True)]
    os.kill(process_id, signal.SIGKILL)
    os.waitpid(process_id, 0)
    seen += [struct.unpack("<I", data)[0] for _, data in ring.take(ended=True)]
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("seed", range(300))
def test_whatever_a_vendor_writes_there_is_an_error_or_records(seed: int) -> None:
    """Never a read outside of the memory, never a loop without an end."""
    ring, chosen = Ring(SMALL), random.Random(seed)
    for _ in range(5):
        ring.put(1, chosen.randbytes(50))
    memory = ring._memory
    for _ in range(chosen.randrange(1, 12)):
        at = chosen.choice((chosen.randrange(16), 64 + chosen.randrange(400)))
        memory[at] = chosen.choice((0, 1, 2, 3, 0x7F, 0xFF))
    taken = 0
    try:
        for _, data in ring.take(ended=chosen.random() < 0.5):
            taken += 1
            assert len(data) <= SMALL
            assert taken < 2 * SMALL
    except SpoiltRingError:
        return


def test_the_ends_of_the_memory_are_checked() -> None:
    """A count that lies, a length that leads outside, a state that isn't one."""
    for place, value in ((0, b"\xff" * 8), (8, b"\x03"), (64, b"\xff\xff\xff\xff"), (68, b"\x09")):
        ring = Ring(SMALL)
        ring.put(1, b"x" * 20)
        ring._memory[place : place + len(value)] = value
        with pytest.raises(SpoiltRingError):
            list(ring.take())
