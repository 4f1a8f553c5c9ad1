"""Slots: generations, leases, and nothing left behind. A real arena and the real /dev/shm, no host."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_runner.errors import LaunchError, SlotsExhaustedError
from procvision_runner.images.segments import remove_leftovers
from procvision_runner.images.slots import SlotPool
from procvision_sdk.images.layout import parse_arena_id, parse_slot_id, read_header
from procvision_sdk.images.picture import Picture

SIZE = (8, 6, "RGB")
KINDS = {"arena": None, "named": 0}
"""What `arena_bytes` is for the two kinds of slots."""


@pytest.fixture(params=KINDS)
def pool(request: pytest.FixtureRequest) -> Iterator[SlotPool]:
    made = SlotPool(2, KINDS[request.param])
    yield made
    made.close()
    assert not own_segments()


def own_segments() -> list[str]:
    """What this process has in shared memory."""
    return [path.name for path in Path("/dev/shm").glob(f"pv-{os.getpid()}-*")]


def slots_in_use(pool: SlotPool) -> int:
    """How many slots there are, by what a host would find."""
    return len(own_segments()) if pool.arena() is None else len(pool._all)


def seen_by_a_host(pool: SlotPool, identity: str) -> tuple[bytes, int]:
    """The bytes that an id leads to, as a host gets at them, and the id's generation."""
    arena = pool.arena()
    if arena is None:
        segment, generation = parse_slot_id(identity)
        return Path("/dev/shm", segment).read_bytes(), generation
    offset, length, generation = parse_arena_id(identity)
    with mmap.mmap(arena.descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset) as memory:
        return memory[:], generation


def test_each_lease_has_an_id_of_its_own(pool: SlotPool) -> None:
    """Even generations are published, and none comes twice; an unused lease costs none of that."""
    seen = set()
    for use in range(20):
        with pool.lease(SIZE, 1.0) as lease:
            if use % 3:
                identity = lease.publish()
                memory, generation = seen_by_a_host(pool, identity)
                assert generation % 2 == 0
                assert identity not in seen
                seen.add(identity)
                header = read_header(memory, 1 << 20)
                assert (header.generation, header.width, header.height) == (generation, 8, 6)
    assert pool.leased == 0


def test_id_never_comes_again_where_slots_are_made_anew(pool: SlotPool) -> None:
    """Also not where a range of the arena is used for a slot of another size, and of the first again."""
    seen = set()
    for _ in range(3):
        for size in (SIZE, (300, 200, "RGB"), (400, 300, "RGB")):
            leases = [pool.lease(size, 1.0) for _ in range(2)]  # type: ignore[arg-type]
            for lease in leases:
                identity = lease.publish()
                assert identity not in seen
                seen.add(identity)
                lease.release()
        pool.suit(arena=False)
        pool.suit(arena=True)
    assert len(seen) == 18


def test_array_only_reads_once_its_call_is_made(pool: SlotPool) -> None:
    """And stays so when the next lease of the slot may be written; what was lent and not used goes the same way."""
    lease = pool.lease(SIZE, 1.0)
    array = lease.array
    array[:] = 7
    lease.publish()
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        lease.array[0, 0, 0] = 1
    lease.release()
    following = pool.lease(SIZE, 1.0)
    following.array[:] = 8
    assert not array.flags.writeable
    unused = following.array
    following.release()
    assert not unused.flags.writeable


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


def test_picture_lies_in_the_slot(pool: SlotPool) -> None:
    """As it was given, one sample after the other."""
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    picture = Picture.of(pixels)
    with pool.lease(picture, 1.0) as lease:
        lease.fill(picture)
        memory, _ = seen_by_a_host(pool, lease.publish())
        assert memory[4096 : 4096 + pixels.nbytes] == pixels.tobytes()


def test_no_more_slots_than_there_may_be(pool: SlotPool) -> None:
    """The third waits, until one comes back or its time is over."""
    first, second = pool.lease(SIZE, 1.0), pool.lease(SIZE, 1.0)
    with pytest.raises(SlotsExhaustedError, match="all 2 slots"):
        pool.lease(SIZE, 0.01)
    threading.Timer(0.05, first.release).start()
    pool.lease(SIZE, 30.0).release()
    second.release()
    assert slots_in_use(pool) == 2


def test_larger_picture_takes_the_place_of_a_smaller_slot(pool: SlotPool) -> None:
    """Memory follows the pictures, and never more than the slots allow."""
    for size in ((8, 6, "RGB"), (800, 600, "RGB"), (1600, 1200, "MONO")):
        held = [pool.lease(size, 1.0) for _ in range(2)]  # type: ignore[arg-type]
        for lease in held:
            lease.array[:] = 1
            lease.release()
    assert slots_in_use(pool) == 2


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


def test_small_slots_make_room_for_a_large_picture() -> None:
    """The arena's bound is for the slots together, whatever size they had."""
    pool = SlotPool(8, 2**20)
    leases = [pool.lease((100, 100, "RGB"), 1.0) for _ in range(8)]
    for lease in leases[1:]:
        lease.release()
    with pool.lease((550, 550, "RGB"), 1.0) as large:
        large.array[:] = 1
        with pytest.raises(SlotsExhaustedError, match="arena_bytes"):
            pool.lease((550, 550, "RGB"), 0.01)
    leases[0].release()
    pool.close()


def test_picture_moves_to_where_a_host_without_an_arena_reads_it() -> None:
    """A copy with the same generation, gone with the lease; the next pictures lie there from the start."""
    pool = SlotPool(2)
    assert pool.arena() is not None
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    lease = pool.lease(Picture.of(pixels), 1.0)
    lease.fill(Picture.of(pixels))
    _, _, generation = parse_arena_id(lease.publish())
    identity = lease.named_identity()
    assert identity == lease.named_identity()
    segment, same = parse_slot_id(identity)
    assert same == generation
    assert Path("/dev/shm", segment).read_bytes()[4096 : 4096 + pixels.nbytes] == pixels.tobytes()
    pool.suit(arena=False)
    lease.release()
    assert own_segments() == []
    with pool.lease(SIZE, 1.0) as following:
        assert following.publish().startswith("shm:")
        pool.suit(arena=True)
    with pool.lease(SIZE, 1.0) as back:
        assert back.publish().startswith("arena:")
        assert own_segments() == []
    pool.close()


@pytest.mark.parametrize("attack", ["cut off", "removed", "painted", "grown"])
def test_named_slot_that_others_spoil_costs_no_runner_its_life(attack: str) -> None:
    """The runner never maps such a file, so nothing is cut off under it; the next picture is whole again."""
    pool = SlotPool(1, 0)
    pixels = np.full((600, 800, 3), 200, np.uint8)
    for _ in range(3):
        with pool.lease(Picture.of(pixels), 1.0) as lease:
            lease.fill(Picture.of(pixels))
            memory, generation = seen_by_a_host(pool, lease.publish())
            header = read_header(memory, len(memory))
            assert header.generation == generation
            assert memory[4096 : 4096 + header.payload_bytes] == pixels.tobytes()
            (name,) = own_segments()
            path = Path("/dev/shm", name)
            if attack == "cut off":
                os.truncate(path, 0)
            elif attack == "removed":
                path.unlink()
            elif attack == "painted":
                path.write_bytes(bytes(len(memory)))
            else:
                os.truncate(path, 2**30)
            lease.array  # noqa: B018 - the runner's own view, which must not depend on the file
            assert int(lease.array.min()) == 200
    pool.close()
    assert own_segments() == []


def test_arena_that_was_asked_for_and_cannot_be_is_an_error() -> None:
    """No machine has so much address space; by default pictures would lie in files then, with a warning."""
    with pytest.raises(LaunchError, match="no arena can be made"):
        SlotPool(1, 2**62).arena()


def test_only_what_a_dead_runner_left_is_removed(tmp_path: Path) -> None:
    """A living one holds a lock on each of its segments; files of other names are nobody's business.

    Neither is what is no regular file: to open a FIFO would wait for its maker.
    """
    left, held, foreign = tmp_path / "pv-1-left", tmp_path / "pv-2-held", tmp_path / "other"
    for path in (left, held, foreign):
        path.write_bytes(b"x")
    (tmp_path / "pv-3-link").symlink_to(foreign)
    os.mkfifo(tmp_path / "pv-0", 0o666)
    (tmp_path / "pv-4-folder").mkdir()
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_leftovers(tmp_path) == ["pv-1-left"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other",
        "pv-0",
        "pv-2-held",
        "pv-3-link",
        "pv-4-folder",
    ]
    assert stat.S_ISFIFO((tmp_path / "pv-0").lstat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="to give a file to another user takes root")
def test_what_another_user_left_is_left_alone(tmp_path: Path) -> None:
    """A name in /dev/shm is anyone's to take."""
    path = tmp_path / "pv-1-left"
    path.write_bytes(b"x")
    os.chown(path, 12345, 12345)
    assert remove_leftovers(tmp_path) == []
    assert path.exists()


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
