"""The arena: the sealed memory that holds a runner's slots, and that nobody else can name, write or cut off.

The strategy: an anonymous file (memfd) that is as long as it may become from the start, since a sparse one costs
nothing. It is mapped for writing first and sealed then, so that this mapping is the only one that can ever write, and
no reader can find less than it mapped (which would be a SIGBUS). Hosts inherit a descriptor that only reads.
Warning: the mapping is not there in a fork of the runner, which could write through it: to touch a slot's array in a
fork is a segmentation fault. Pages that were used stay in memory until the arena is closed: a seal forbids to give
them back one by one, so ranges are used again instead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import resource
import threading
import weakref

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.images.slot import Slot
from procvision_sdk.images.layout import ARENA_ALIGNMENT, arena_slot_prefix

DEFAULT_ARENA_BYTES = 16 * 2**30
"""Address space, not memory: 85 pictures of 200 megapixels."""
LEAST_DEFAULT_BYTES = 2**28
"""Eight pictures of 10 megapixels: with less, a line would run into the bound that nobody asked for."""
MIN_ARENA_BYTES = 2**20
_NAME = "procvision-arena"
_NOEXEC_SEAL = 0x8
"""MFD_NOEXEC_SEAL of linux/memfd.h: never executable. Since Linux 6.3; older ones don't know it."""
_SEAL_FUTURE_WRITE = 0x10
"""F_SEAL_FUTURE_WRITE of linux/fcntl.h, since Linux 5.1: what is mapped for writing stays, nothing is added."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of asm-generic/mman-common.h, since Linux 5.14: faults pages in before they are needed."""
_RESERVATION = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000 | 0x100000
"""With MAP_NORESERVE and MAP_FIXED_NOREPLACE of asm-generic/mman-common.h, which Python doesn't name."""
_READ_ONLY = 0o444
_ABOVE_STANDARD_STREAMS = 3

_mappings: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
"""The mappings of this process: a fork has to know which it lacks."""
_forks_watched = threading.Event()


class ArenaUnavailableError(Exception):
    """No arena can be made; the text says what is missing, `number` is the system's error."""

    def __init__(self, what: str, error: OSError, hint: str = "") -> None:
        super().__init__(f"{what}: {error.strerror}" + (f"; hint: {hint}" if hint else ""))
        self.number = error.errno

    @property
    def passes(self) -> bool:
        """Whether the machine could, and this process has too many files open at the moment."""
        return self.number in {errno.EMFILE, errno.ENFILE}


class Arena:
    """One anonymous memory of at most `bound_bytes`. Raises ArenaUnavailableError."""

    def __init__(self, bound_bytes: int = DEFAULT_ARENA_BYTES) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit != resource.RLIM_INFINITY:
            bound_bytes = min(bound_bytes, limit)  # a longer file would be refused
        self.size = bound_bytes - bound_bytes % ARENA_ALIGNMENT
        self._writer = _made(self.size)
        try:
            self.memory = _mapped(self._writer, self.size)
            try:
                _seal(self._writer)
                self.descriptor = _reader_of(self._writer)
            except BaseException:
                self.memory.close()
                raise
        except BaseException:
            os.close(self._writer)
            raise
        self._free = [(0, self.size)]
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._generation = 0
        self.told = f"{self.descriptor}:{os.fstat(self.descriptor).st_ino}"
        """What a host is told of the descriptor that it inherits: its number and its inode."""
        _mappings.add(self.memory)
        if not _forks_watched.is_set():
            _forks_watched.set()
            os.register_at_fork(after_in_child=_leave_out_mappings)

    def take(self, length: int) -> tuple[int, int, int]:
        """Give the offset and length of a range of memory that is there, and the generation it begins with.

        Raises SlotsExhaustedError: running out of memory is an error here and would be a SIGBUS later.
        """
        length += -length % ARENA_ALIGNMENT
        with self._lock:
            place = next((place for place, (_, room) in enumerate(self._free) if room >= length), None)
            if place is None:
                raise SlotsExhaustedError(
                    f"the arena of {self.size} bytes has no room for a slot of {length} bytes; "
                    "hint: raise arena_bytes, or lower max_slots"
                )
            offset, room = self._free[place]
            try:
                os.posix_fallocate(self._writer, offset, length)
            except OSError as error:
                raise _no_memory(length, error) from error
            self._free[place : place + 1] = [(offset + length, room - length)] if room > length else []
        try:
            self.memory.madvise(_POPULATE_WRITE, offset, length)
        except OSError as error:
            if error.errno != errno.EINVAL:
                self.give_back(offset, length, 0)
                raise _no_memory(length, error) from error
            with memoryview(self.memory) as whole, whole[offset : offset + length : mmap.PAGESIZE] as pages:
                pages[:] = bytes(len(pages))
        return offset, length, self._generation

    def give_back(self, offset: int, length: int, generation: int) -> None:
        """Take a range back. An id of it is never given again: later slots begin above its generation."""
        with self._lock:
            self._generation = max(self._generation, generation + generation % 2)
            ranges = sorted([*self._free, (offset, length)])
            self._free = ranges[:1]
            for start, room in ranges[1:]:
                last_start, last_room = self._free[-1]
                if last_start + last_room == start:
                    self._free[-1] = (last_start, last_room + room)
                else:
                    self._free.append((start, room))

    def close(self) -> None:
        """Give everything back; what a borrowed array still shows goes with that array."""
        if self._writer < 0 or os.getpid() != self._owner:
            return
        os.close(self._writer)
        os.close(self.descriptor)
        self._writer = self.descriptor = -1
        with contextlib.suppress(BufferError):
            self.memory.close()


class ArenaSlot(Slot):
    """A range of the arena."""

    __slots__ = ("_arena", "_length", "_offset")

    named = False

    def __init__(self, arena: Arena, capacity: int) -> None:
        self._arena = arena
        self._offset, self._length, generation = arena.take(self.bytes_for(capacity))
        super().__init__(memoryview(arena.memory)[self._offset : self._offset + self._length], generation)
        self.prefix = arena_slot_prefix(self._offset, self._length)

    def remove(self) -> None:
        """Give the range back."""
        self.forget()
        self._arena.give_back(self._offset, self._length, self.generation)


def largest_arena() -> Arena:
    """Make an arena of the default size, or of less where this process may not have so many addresses (`ulimit -v`).

    Raises ArenaUnavailableError.
    """
    size = DEFAULT_ARENA_BYTES
    while True:
        try:
            return Arena(size)
        except ArenaUnavailableError as error:
            size //= 4
            if error.number != errno.ENOMEM or size < LEAST_DEFAULT_BYTES:
                raise


def try_arena() -> str:
    """Make a small arena and give "", or what this machine lacks for one."""
    try:
        Arena(MIN_ARENA_BYTES).close()
    except ArenaUnavailableError as error:
        return str(error)
    return ""


def _no_memory(length: int, error: OSError) -> SlotsExhaustedError:
    return SlotsExhaustedError(
        f"there is no memory for a slot of {length} bytes: {error.strerror}; hint: lower max_slots"
    )


def _made(size: int) -> int:
    """Give the descriptor of an empty memory of this size, above those of the standard streams."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        try:
            low = os.memfd_create(_NAME, flags | _NOEXEC_SEAL)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            low = os.memfd_create(_NAME, flags)
        try:
            descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD_STREAMS)
        finally:
            os.close(low)
    except OSError as error:
        raise ArenaUnavailableError("memfd_create", error) from error
    try:
        os.ftruncate(descriptor, size)
    except OSError as error:
        os.close(descriptor)
        raise ArenaUnavailableError(f"a sparse memory of {size} bytes", error) from error
    return descriptor


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    try:
        memory = mmap.mmap(descriptor, size)
        memory.madvise(mmap.MADV_DONTFORK)
    except ValueError as error:  # the limit of a file's size cut it off
        too_large = OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        raise ArenaUnavailableError(f"a memory of {size} bytes", too_large, "ulimit -f") from error
    except OSError as error:
        hint = "ulimit -v, or a smaller arena_bytes"
        raise ArenaUnavailableError(f"an address space of {size} bytes", error, hint) from error
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_DONTDUMP)
    return memory


def _seal(descriptor: int) -> None:
    try:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        raise ArenaUnavailableError("F_SEAL_FUTURE_WRITE", error, "Linux 5.1 or later") from error


def _reader_of(descriptor: int) -> int:
    """Give a descriptor of the same memory that only reads: a duplicate would share the right to write."""
    try:
        os.fchmod(descriptor, _READ_ONLY)
        low = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArenaUnavailableError("/proc/self/fd", error, "mount /proc") from error
    try:
        return fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD_STREAMS)
    except OSError as error:
        raise ArenaUnavailableError("a descriptor for hosts", error) from error
    finally:
        os.close(low)


def _leave_out_mappings() -> None:
    """In a fork, keep other memory from where the arenas were: stale arrays point there, and closing unmaps it."""
    import ctypes

    reserve = ctypes.CDLL(None).mmap
    reserve.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    for memory in _mappings:
        if not memory.closed:
            place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            reserve(place, len(memory), 0, _RESERVATION, -1, 0)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
