"""The arena against those who inherit it, and against forks: real processes, the kernel's own refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from supervising import descriptors

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.images.arena import Arena, try_arena

SIZE = 2**22
ATTACKERS = """
import ctypes, fcntl, mmap, os, sys
FD, PATH, user = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mmap.restype = ctypes.c_void_p
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def checked(failed):
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

if user:
    os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
try:
    os.chmod(PATH, 0o666)
except OSError:
    pass
PUNCH_HOLE_KEEP_SIZE = 3
for attack in {
    "write": lambda: os.pwrite(FD, b"x", 0),
    "open and write": lambda: os.pwrite(os.open(PATH, os.O_RDWR), b"x", 0),
    "map for writing": lambda: mmap.mmap(FD, 4096),
    "open and map for writing": lambda: mmap.mmap(os.open(PATH, os.O_RDWR), 4096),
    "unprotect a mapping": lambda: checked(libc.mprotect(libc.mmap(None, 4096, 1, 1, FD, 0), 4096, 3)),
    "open and unprotect": lambda: checked(
        libc.mprotect(libc.mmap(None, 4096, 1, 1, os.open(PATH, os.O_RDWR), 0), 4096, 3)
    ),
    "cut off": lambda: os.ftruncate(os.open(PATH, os.O_RDWR), 0),
    "cut off by name": lambda: os.truncate(PATH, 0),
    "grow": lambda: os.ftruncate(os.open(PATH, os.O_RDWR), 2**30),
    "grow by allocation": lambda: os.posix_fallocate(os.open(PATH, os.O_RDWR), 2**30, 4096),
    "punch a hole": lambda: checked(libc.fallocate(os.open(PATH, os.O_RDWR), PUNCH_HOLE_KEEP_SIZE, 0, 65536)),
    "lift the seals": lambda: fcntl.fcntl(os.open(PATH, os.O_RDWR), fcntl.F_ADD_SEALS, 0),
}.items():
    try:
        attack[1]()
    except OSError as error:
        print("refused")
    else:
        print("done:", attack[0])
"""


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(SIZE)
    yield made
    made.close()


@pytest.mark.parametrize("user", [0, 12345])
def test_who_inherits_it_only_reads(arena: Arena, user: int) -> None:
    """As the same user and as another, through the descriptor and through /proc, whose owner may change the mode."""
    if os.geteuid() and user:
        pytest.skip("to become another user takes root")
    offset, _, _ = arena.take(4096)
    arena.memory[offset] = 77
    for path in (f"/proc/self/fd/{arena.descriptor}", f"/proc/{os.getpid()}/fd/{arena.descriptor}"):
        done = subprocess.run(
            [sys.executable, "-c", ATTACKERS, str(arena.descriptor), path, str(user)],
            pass_fds=(arena.descriptor,),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.splitlines() == ["refused"] * 12, done
    assert os.fstat(arena.descriptor).st_size == SIZE
    assert os.pread(arena.descriptor, 1, offset) == b"M"
    arena.memory[offset] = 78
    assert os.pread(arena.descriptor, 1, offset) == b"N"


def test_bound_costs_nothing_until_it_is_used(arena: Arena) -> None:
    """A sparse file: what was taken is there, the rest is not."""
    assert os.fstat(arena.descriptor).st_blocks == 0
    arena.take(65536)
    assert os.fstat(arena.descriptor).st_blocks * 512 == 65536


def test_ranges_are_used_again(arena: Arena) -> None:
    """Neighbours that came back are one range; a later slot begins above the generation of all that were there."""
    ranges = [arena.take(2**20)[:2] for _ in range(4)]
    with pytest.raises(SlotsExhaustedError, match="no room"):
        arena.take(1)
    for place, generation in ((2, 8), (0, 3), (1, 0)):
        arena.give_back(*ranges[place], generation)
    assert arena.take(3 * 2**20) == (0, 3 * 2**20, 8)
    assert os.fstat(arena.descriptor).st_blocks * 512 == SIZE


@pytest.mark.parametrize(("deed", "status"), [("TOUCH", -signal.SIGSEGV), ("USE_MUCH", 7)])
def test_fork_has_no_mapping_of_it(deed: str, status: int) -> None:
    """To touch it there is the fork's end; what it does beside that, its leaving included, harms neither side."""
    program = f"""
import os, gc
from procvision_runner.images.arena import Arena
arena = Arena(2**32)
offset, length, _ = arena.take(2**20)
arena.memory[offset] = 5
child = os.fork()
if not child:
    if {deed!r} == "TOUCH":
        arena.memory[offset] = 6
    kept = [bytearray(2**20) for _ in range(200)]
    del arena
    gc.collect()
    kept += [bytearray(b"x" * 2**20) for _ in range(50)]
    assert all(set(part[:4096]) <= {{0, 120}} for part in kept)
    raise SystemExit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), arena.memory[offset])
arena.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == (f"{int(status)} 5\n", 0), done.stderr


def test_closed_arena_leaves_nothing(arena: Arena) -> None:
    """No descriptor and no mapping, unless somebody still looks at a picture."""
    before = descriptors()
    made = Arena(SIZE)
    offset, length, _ = made.take(4096)
    view = memoryview(made.memory)[offset : offset + length]
    made.close()
    made.close()
    assert view[0] == 0
    view.release()
    del made, view
    assert descriptors() == before


def test_this_machine_makes_one() -> None:
    """What the doctor asks; elsewhere it is told what is missing."""
    assert try_arena() == ""
