"""Slots of shared memory: generations, leases, and nothing left behind. The real /dev/shm, no host."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.images.picture import Picture
from procvision_runner.images.segments import remove_leftovers
from procvision_runner.images.slots import SlotPool
from procvision_sdk.images.layout import parse_slot_id, read_header

SIZE = (8, 6, "RGB")


@pytest.fixture
def pool() -> Iterator[SlotPool]:
    made = SlotPool(2)
    yield made
    made.close()
    assert not own_segments()


def own_segments() -> list[str]:
    """What this process has in shared memory."""
    return [path.name for path in Path("/dev/shm").glob(f"pv-{os.getpid()}-*")]


def test_each_lease_has_an_id_of_its_own(pool: SlotPool) -> None:
    """Even generations are published, and none comes twice; an unused lease costs none of that."""
    seen = set()
    for use in range(20):
        with pool.lease(SIZE, 1.0) as lease:
            if use % 3:
                identity = lease.publish()
                segment, generation = parse_slot_id(identity)
                assert generation % 2 == 0
                assert identity not in seen
                seen.add(identity)
                header = read_header(Path("/dev/shm", segment).read_bytes(), 1 << 20)
                assert (header.generation, header.width, header.height) == (generation, 8, 6)
    assert pool.leased == 0


def test_lease_is_published_once(pool: SlotPool) -> None:
    """And not after it went back."""
    lease = pool.lease(SIZE, 1.0)
    lease.publish()
    with pytest.raises(ValueError, match="used for a call already"):
        lease.publish()
    lease.release()
    lease.release()
    with pytest.raises(ValueError, match="given back"):
        _ = lease.array
    unused = pool.lease(SIZE, 1.0)
    unused.release()
    with pytest.raises(ValueError, match="used for a call already"):
        unused.publish()
    assert pool.leased == 0


def test_picture_lies_in_the_segment(pool: SlotPool) -> None:
    """As it was given, one sample after the other."""
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    picture = Picture.of(pixels)
    with pool.lease(picture, 1.0) as lease:
        lease.fill(picture)
        segment, _ = parse_slot_id(lease.publish())
        assert Path("/dev/shm", segment).read_bytes()[4096 : 4096 + pixels.nbytes] == pixels.tobytes()


def test_no_more_slots_than_there_may_be(pool: SlotPool) -> None:
    """The third waits, until one comes back or its time is over."""
    first, second = pool.lease(SIZE, 1.0), pool.lease(SIZE, 1.0)
    with pytest.raises(SlotsExhaustedError, match="all 2 slots"):
        pool.lease(SIZE, 0.01)
    threading.Timer(0.05, first.release).start()
    pool.lease(SIZE, 30.0).release()
    second.release()
    assert len(own_segments()) == 2


def test_larger_picture_takes_the_place_of_a_smaller_slot(pool: SlotPool) -> None:
    """Memory follows the pictures, and never more than the slots allow."""
    for size in ((8, 6, "RGB"), (800, 600, "RGB"), (1600, 1200, "MONO")):
        held = [pool.lease(size, 1.0) for _ in range(2)]  # type: ignore[arg-type]
        for lease in held:
            lease.array[:] = 1
            lease.release()
    assert len(own_segments()) == 2


def test_closed_pool_wakes_those_who_wait(pool: SlotPool) -> None:
    """With what has happened."""
    pool.lease(SIZE, 1.0)
    pool.lease(SIZE, 1.0)
    told: list[BaseException] = []

    def wait() -> None:
        try:
            pool.lease(SIZE, 60.0)
        except SlotsExhaustedError as error:
            told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    pool.close()
    waiting.join(30)
    assert "stopped" in str(told[0])
    pool.close()


def test_only_what_a_dead_runner_left_is_removed(tmp_path: Path) -> None:
    """A living one holds a lock on each of its segments; files of other names are nobody's business."""
    left, held, foreign = tmp_path / "pv-1-left", tmp_path / "pv-2-held", tmp_path / "other"
    for path in (left, held, foreign):
        path.write_bytes(b"x")
    (tmp_path / "pv-3-link").symlink_to(foreign)
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_leftovers(tmp_path) == ["pv-1-left"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "pv-2-held", "pv-3-link"]


@pytest.mark.parametrize(
    ("pixels", "error"),
    [
        (np.zeros((6, 8, 3), np.uint16), TypeError),
        (np.zeros((6, 8, 3), np.float32), TypeError),
        ([[1]], TypeError),
        ("board.png", TypeError),
        (np.zeros((6, 8, 4), np.uint8), ValueError),
        (np.zeros((6,), np.uint8), ValueError),
        (np.zeros((0, 8, 3), np.uint8), ValueError),
        (np.zeros((1, 6, 8, 3), np.uint8), ValueError),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_what_is_no_picture_is_refused(pixels: object, error: type[Exception]) -> None:
    """Nothing is wrapped, cut or guessed."""
    with pytest.raises(error):
        Picture.of(pixels)  # type: ignore[arg-type]
