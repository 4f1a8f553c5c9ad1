"""The table in which hosts keep what their sessions have become, until it is carried into the store.

One file for each algorithm and store, beside the store: the cells of that algorithm's hosts, and their host halves,
have it open. A save is one write into it, and no other process is woken. It outlives them all, as every file does.

offset  bytes
0       48    magic, the table's id, the machine's boot in which it was used last
4096    512   for each slot the version that the store has, 8 bytes
8192          the slots, each two halves of 16 KiB

A half is a header, the session's id, its state. A save goes into the half that is not the current one: that is the
whole one with the higher version. So a writer that is killed leaves what was there before. The slots of a session are
the few of its set, and who writes into one holds the set's lock (fcntl(2), open file description locks: the kernel
drops them when their holder dies). Who writes into the store holds the carrier's.
Warning: it is a vendor's to write. So it is never mapped, where a file that was cut off would be a SIGBUS; what is
read is a copy, and every number in it is held against its bounds.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from fcntl import F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK, fcntl
from os import pread, pwrite
from time import monotonic, sleep
from typing import NamedTuple
from zlib import crc32

from procvision_sdk.session import SessionStoreError

MAGIC = b"procvision-sessions/1\n"
WAYS = 4
"""So many slots a session may lie in."""
SETS = 16
SLOTS = SETS * WAYS
HALF_BYTES = 16 * 1024
CARRIED_AT, FIRST_AT = 4096, 8192
TABLE_BYTES = FIRST_AT + SLOTS * 2 * HALF_BYTES
HEADER_BYTES = 40
CARRIER = SETS
"""The number of the carrier's lock, behind those of the sets."""
USERS = SETS + 1
"""The number of the lock that every living host half shares. One that can take it alone is the only one."""
STATE, GONE, ABSENT, STORED = 1, 2, 3, 4
"""What a slot says of its session: its state; that it ended, which the store isn't told yet; that the store has none;
that the store alone has it."""
STAMPS = 2**56
Row = tuple[int, int, bytes]
"""What a store has of a session: its stamp, when it was saved, and its sealed state."""
MAX_VERSION = 2**62
_LOOK_BYTES = 1024
"""What is read at first of a half; most states are shorter."""
_LOCKS_AT = 2**40
"""Locks are on bytes that the file doesn't have."""
_head = struct.Struct("<QQQIIHBx")
_checked = struct.Struct("<QQQIIHBxI")
_flock = struct.Struct("hh4xqqi4x")
_CARRIED = struct.Struct(f"<{SLOTS}Q")
_number = struct.Struct("<Q")


class Half(NamedTuple):
    """A whole half."""

    version: int
    stamp: int
    """Another for each save, of whatever host."""
    saved_at_ms: int
    mark: int
    """Of the secret that the state is to be sealed with."""
    kind: int
    session_id: bytes
    state: bytes
    header: bytes

    def expired(self, before_ms: int) -> bool:
        """Return whether its session is over unless it was saved since."""
        return self.kind == STATE and self.saved_at_ms < before_ms

    def follows(self, base: int, before_ms: int) -> bool:
        """Return whether this is what a call was given that found the stamp `base`, 0 for no state."""
        if base == 0:
            return self.kind != STATE or self.saved_at_ms < before_ms
        return self.kind == STATE and self.stamp == base


class Slot(NamedTuple):
    """A slot as it was read: its current half, and the header of the other."""

    number: int
    half: Half
    other: bytes


def set_of(session_id: bytes) -> int:
    """Return the number of a session's set."""
    return crc32(session_id) % SETS


def fits(session_id: bytes, state: bytes) -> bool:
    """Return whether a half has room for a session."""
    return HEADER_BYTES + len(session_id) + len(state) <= HALF_BYTES


def packed(
    version: int, stamp: int, saved_at_ms: int, mark: int, kind: int, session_id: bytes, state: bytes = b""
) -> bytes:
    """Return a half's bytes."""
    head = _head.pack(version, stamp, saved_at_ms, mark, len(state), len(session_id), kind)
    check = crc32(state, crc32(session_id, crc32(head)))
    return b"%b%b%b%b" % (head, check.to_bytes(4, "little"), session_id, state)


def half_at(slot: int, which: int) -> int:
    """Return where a half begins in the file."""
    return FIRST_AT + (2 * slot + which) * HALF_BYTES


class SessionTable:
    """The file by a descriptor, whose open file description no other process has."""

    __slots__ = ("_patience_s", "descriptor")

    def __init__(self, descriptor: int, patience_s: float) -> None:
        """`patience_s` is how long a lock is waited for."""
        self.descriptor = descriptor
        self._patience_s = patience_s

    @contextlib.contextmanager
    def locked(self, number: int) -> Iterator[None]:
        """Hold a set's lock, or the carrier's. Raises SessionStoreError, which may be tried again, and OSError."""
        deadline = 0.0
        while not self.try_lock(number):
            now = monotonic()
            if deadline == 0.0:
                deadline = now + self._patience_s
            elif now > deadline:
                raise SessionStoreError("the table of sessions is locked by another host", retryable=True)
            sleep(0.0002)
        try:
            yield
        finally:
            self.unlock(number)

    def try_lock(self, number: int, *, shared: bool = False) -> bool:
        """Take a lock if nobody has it, or only others who share it. Raises OSError."""
        kind = F_RDLCK if shared else F_WRLCK
        try:
            fcntl(self.descriptor, F_OFD_SETLK, _flock.pack(kind, 0, _LOCKS_AT + number, 1, 0))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock(self, number: int) -> None:
        """Give a lock back."""
        with contextlib.suppress(OSError):  # who closed the descriptor has dropped it
            fcntl(self.descriptor, F_OFD_SETLK, _flock.pack(F_UNLCK, 0, _LOCKS_AT + number, 1, 0))

    def slot(self, number: int) -> Slot | None:
        """Return what a slot has; None where there is nothing whole. Raises OSError."""
        raw = (self._raw(number, 0), self._raw(number, 1))
        halves = [half for half in (_parsed(raw[0], 0), _parsed(raw[1], 1)) if half is not None]
        if not halves:
            return None
        half = max(halves)
        return Slot(number, half, raw[1 - half.version % 2][:HEADER_BYTES])

    def find(self, session_id: bytes) -> Slot | None:
        """Return the slot of a session. Raises OSError."""
        first = set_of(session_id) * WAYS
        for number in range(first, first + WAYS):
            found = self.slot(number)
            if found is not None and found.half.session_id == session_id and found.half.kind != STORED:
                return found
        return None

    def put(self, number: int, record: bytes, version: int) -> None:
        """Make a record a slot's current half. The caller has the set's lock. Raises OSError."""
        if pwrite(self.descriptor, record, half_at(number, version % 2)) != len(record):
            raise OSError(28, "the table of sessions took a part of a state")

    def carried(self) -> tuple[int, ...]:
        """Return for each slot the version that the store has. Raises OSError."""
        data = pread(self.descriptor, _CARRIED.size, CARRIED_AT)
        return _CARRIED.unpack(data.ljust(_CARRIED.size, b"\0"))

    def note_carried(self, number: int, version: int) -> None:
        """Note that the store has a slot's version. Raises OSError."""
        pwrite(self.descriptor, _number.pack(version), CARRIED_AT + _number.size * number)

    def _raw(self, number: int, which: int) -> bytes:
        at = half_at(number, which)
        data = pread(self.descriptor, _LOOK_BYTES, at)
        if len(data) == _LOOK_BYTES:
            _, _, _, _, state_bytes, id_bytes, _, _ = _checked.unpack_from(data)
            length = HEADER_BYTES + state_bytes + id_bytes
            if _LOOK_BYTES < length <= HALF_BYTES:
                data = pread(self.descriptor, length, at)
        return data


def _parsed(data: bytes, which: int) -> Half | None:
    """Return a half of these bytes; None for what is none, or isn't whole."""
    if len(data) < HEADER_BYTES:
        return None
    version, stamp, saved_at_ms, mark, state_bytes, id_bytes, kind, check = _checked.unpack_from(data)
    id_end = HEADER_BYTES + id_bytes
    end = id_end + state_bytes
    if (
        not 0 < version < MAX_VERSION
        or version % 2 != which
        or stamp >= STAMPS
        or kind not in {STATE, GONE, ABSENT, STORED}
        or end > len(data)
        or crc32(data[HEADER_BYTES:end], crc32(data[: _head.size])) != check
    ):
        return None
    header = data[:HEADER_BYTES]
    return Half(version, stamp, saved_at_ms, mark, kind, data[HEADER_BYTES:id_end], data[id_end:end], header)
