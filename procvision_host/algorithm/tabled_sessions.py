"""The host half's sessions where a table lies before the store (`session_table`): asked and carried here.

What the cell can't do in the table itself it asks for: a session that it meets for the first time, one that has no room
there, a deletion. What it has written there is sealed and put into the store a moment later, in batches, by whichever
host of the algorithm is first.
Every write into the store is made under the carrier's lock, and a slot is given to another session only when the store
has what is in it. So what is in the store is what the table has, or older; and what is in neither isn't.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Protocol, cast

from procvision_host.algorithm.session_table import (
    ABSENT,
    CARRIER,
    GONE,
    SLOTS,
    STAMPS,
    STATE,
    STORED,
    USERS,
    WAYS,
    Row,
    SessionTable,
    Slot,
    fits,
    packed,
    set_of,
)
from procvision_host.algorithm.sessions import GuardedSessions, StoreFailedError, refuse
from procvision_host.builtin.table_file import TableFile
from procvision_host.logs import HOST_LOGGER
from procvision_sdk.sealing import seal, unseal
from procvision_sdk.session import SessionInUseError, SessionStore, SessionStoreError

LOOK_EVERY = 50
"""After so many rounds the host half looks for what dead hosts left in the table."""

Found = tuple[int, int, int, int, int, bytes, bytes, bytes]
"""Slot (-1: none), version, stamp, saved_at_ms, kind, state, its half's header and the other's, for the cell."""
_log = logging.getLogger(HOST_LOGGER)


class TableStore(SessionStore, Protocol):
    """A store that a table may lie before. What it raises is a SessionStoreError."""

    @property
    def ttl_ms(self) -> int:
        """How long after its last saving a session is over."""

    @property
    def patience_s(self) -> float:
        """How long a call waits for another host's writing."""

    @property
    def waits_for_the_disk(self) -> bool:
        """Whether a save has to be on the disk before its call is answered."""

    @property
    def is_there(self) -> bool:
        """Whether what the store lies in still has its name."""

    def row(self, session_id: str) -> Row | None:
        """Return what the store has of a session, over or not."""

    def put(self, session_id: str, row: Row) -> None:
        """Keep a session, whatever was there."""

    def remove(self, session_id: str) -> None:
        """Forget the id."""

    def carry(self, rows: Sequence[tuple[str, Row]], ended: Sequence[str], *, later_only: bool) -> None:
        """Keep sessions and forget others, all or none. `later_only`: the store's own stay if they were saved later."""


class TabledSessions(GuardedSessions):
    """Sessions in a table and a store. One thread uses them."""

    __slots__ = (
        "_base",
        "_clock",
        "_failures",
        "_file",
        "_refused",
        "_round",
        "_stamp",
        "_table",
        "_tabled",
        "_writes",
        "mark",
    )

    def __init__(
        self,
        store: TableStore,
        file: TableFile,
        max_bytes: int,
        *,
        algorithm: str,
        secret: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, max_bytes, algorithm=algorithm, secret=secret)
        self._tabled = store
        self._file = file
        self._table = SessionTable(file.mine, store.patience_s)
        self._clock = clock
        self.mark = int.from_bytes(blake2b(algorithm.encode(), key=secret, digest_size=4).digest(), "little")
        """Tells this host's secret from another."""
        self._base: tuple[str, int] = ("", 0)
        """The session that was loaded last by `load`, and its stamp."""
        self._stamp = int.from_bytes(os.urandom(7), "big")
        self._writes = -1
        """How often the cell had written when its writes were carried last."""
        self._round = 0
        self._failures = 0
        self._refused = False

    # --- questions ------------------------------------------------------------------------------------------

    def load(self, session_id: str) -> bytes | None:
        """As the store. Raises CallRefusedError."""
        _, _, stamp, _, kind, state, _, _ = self.find(session_id)
        self._base = (session_id, stamp if kind == STATE else 0)
        return state if kind == STATE else None

    def save(self, session_id: str, state: bytes) -> None:
        """As the store. Raises CallRefusedError."""
        loaded, base = self._base
        self._base = (session_id, self.keep(session_id, state, base if loaded == session_id else 0))

    def find(self, session_id: str) -> Found:
        """Return what is known of a session, and give it a slot if there is room. Raises CallRefusedError."""
        if self._ended and session_id in self._ended:
            self.delete(session_id)
        with self._refusing("loaded"):
            self._must_be_there()
            name = _encoded(session_id)
            with self._table.locked(set_of(name)):
                found = self._table.find(name)
                if found is None:
                    return self._met(session_id, name)
            if found.half.expired(self._before_ms()):
                return _found(found, ABSENT)
            self._must_be_ours(found)
            return _found(found, STATE if found.half.kind == STATE else ABSENT)
        raise AssertionError  # pragma: no cover - it has returned or raised

    def keep(self, session_id: str, state: bytes, base: int) -> int:
        """Keep a state in the store if its session is still at `base`. Return its stamp. Raises CallRefusedError."""
        self._not_in_a_copy()
        self._hold_to_the_bound(state)
        with self._refusing("saved"):
            self._must_be_there()
            name = _encoded(session_id)
            with self._table.locked(CARRIER), self._table.locked(set_of(name)):
                found = self._table.find(name)
                key, before_ms, now_ms = self._prefix + session_id, self._before_ms(), self._now_ms()
                if found is not None:
                    self._must_be_ours(found)
                    follows = found.half.follows(base, before_ms)
                    now_ms = max(now_ms, found.half.saved_at_ms)
                else:
                    row = self._tabled.row(key)
                    over = row is None or row[1] < before_ms
                    follows = over if base == 0 else row is not None and row[0] == base
                if not follows:
                    raise SessionInUseError(session_id)
                stamp = self._next_stamp()
                self._tabled.put(key, (stamp, now_ms, seal(key, state, self._secret)))
                if found is not None:
                    kind = STATE if fits(name, state) else STORED
                    self._put(found.number, found, stamp, now_ms, kind, name, state if kind == STATE else b"")
            return stamp
        raise AssertionError  # pragma: no cover - it has returned or raised

    def delete(self, session_id: str) -> None:
        """As the store. Raises CallRefusedError."""
        self._not_in_a_copy()
        with self._refusing("dropped"):
            self._must_be_there()
            name = _encoded(session_id)
            with self._table.locked(CARRIER), self._table.locked(set_of(name)):
                found = self._table.find(name)
                self._tabled.remove(self._prefix + session_id)
                if found is not None:
                    self._put(found.number, found, self._next_stamp(), self._now_ms(), ABSENT, name)
        self._ended.pop(session_id, None)

    def close(self) -> None:
        """Carry what is left, and close the store. What can't be carried waits in the table for the next host."""
        if os.getpid() == self._process_id:
            try:
                self._carry()
            except Exception as error:  # noqa: BLE001 - a store is foreign code
                _log.error("what was saved last waits in %s for the next host: %s", self._file.path, error)
            self._file.close()
        super().close()

    # --- the way into the store -----------------------------------------------------------------------------

    def carry_at_start(self) -> None:
        """Carry what dead hosts left in the table. Raises SessionStoreError.

        The first of several hosts begins with an empty table: what is in the store is what counts, also where that was
        put back from a copy.
        """
        table = self._table
        try:
            with contextlib.ExitStack() as held:
                try:  # of hosts that start at once, each sees what the one before did
                    held.enter_context(table.locked(CARRIER))
                except SessionStoreError:
                    pass  # another one carries, for longer than a start waits
                else:
                    alone = table.try_lock(USERS)
                    self._put_into_store(later_only=self._file.restarted)
                    self._file.note_boot()
                    if alone:
                        self._empty()
                table.try_lock(USERS, shared=True)
        except OSError as error:
            raise SessionStoreError(f"{self._file.path}: {error}") from error

    def carry_sometimes(self, writes: int) -> bool:
        """Carry what the cell has written, whose count is `writes`. Return whether the cell may use the table.

        Never raises: while the store can't take it, the cell has to ask, and is told so.
        """
        self._round += 1
        try:
            self._must_be_there()
            if (writes != self._writes or self._refused or self._round % LOOK_EVERY == 0) and self._carry():
                self._writes = writes
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            self._refused = True
            self._failures += 1
            if self._failures & (self._failures - 1) == 0:
                _log.error("what is saved waits in %s: %s", self._file.path, error)
            return False
        self._refused = False
        self._failures = 0
        return True

    def _carry(self) -> bool:
        """Put into the store what the table alone has. Return False where another host is at it."""
        if not self._table.try_lock(CARRIER):
            return False
        try:
            self._put_into_store()
        finally:
            self._table.unlock(CARRIER)
        return True

    def _put_into_store(self, *, later_only: bool = False) -> None:
        """Put into the store what the table alone has. Who calls it holds the carrier's lock."""
        table = self._table
        carried = table.carried()
        found = [slot for number in range(SLOTS) if (slot := table.slot(number)) is not None]
        # A host with another secret seals its own.
        waiting = [slot for slot in found if slot.half.version != carried[slot.number] and self._is_ours(slot)]
        rows: list[tuple[str, Row]] = []
        ended: list[str] = []
        for slot in waiting:
            half = slot.half
            session_id = _decoded(half.session_id)
            if session_id is None:
                _log.error("slot %d of %s has no session's id: it is left out", slot.number, self._file.path)
                continue
            key = self._prefix + session_id
            if half.kind == STATE:
                saved_at_ms = min(half.saved_at_ms, self._now_ms())
                rows.append((key, (half.stamp, saved_at_ms, seal(key, half.state, self._secret))))
            elif half.kind == GONE and not later_only:
                ended.append(key)
        if rows or ended:
            self._tabled.carry(rows, ended, later_only=later_only)
        for slot in waiting:
            table.note_carried(slot.number, slot.half.version)

    def _empty(self) -> None:
        """Leave all that the store has to the store."""
        for number in range(SLOTS):
            with self._table.locked(number // WAYS):
                slot = self._table.slot(number)
                if slot is not None and slot.half.version == self._table.carried()[number]:
                    self._put(number, slot, self._next_stamp(), 0, STORED, slot.half.session_id)

    # --- slots ----------------------------------------------------------------------------------------------

    def _met(self, session_id: str, name: bytes) -> Found:
        """Give a session that the table hasn't a slot, where one is free. The caller has the set's lock."""
        key = self._prefix + session_id
        row = self._tabled.row(key)
        state = None if row is None else unseal(key, row[2], self._secret)
        if row is None or state is None or row[1] < self._before_ms():
            stamp, saved_at_ms, kind, state = self._next_stamp(), self._now_ms(), ABSENT, b""
        else:
            stamp, saved_at_ms, kind = row[0], row[1], STATE
        if not fits(name, state):
            return (-1, 0, stamp, saved_at_ms, kind, state, b"", b"")
        number, before = self._free(set_of(name))
        if number < 0:
            return (-1, 0, stamp, saved_at_ms, kind, state, b"", b"")
        self._put(number, before, stamp, saved_at_ms, kind, name, state)
        found = self._table.find(name)
        if found is None:
            raise SessionStoreError(f"{self._file.path} doesn't keep what is written into it", retryable=True)
        return _found(found, kind)

    def _free(self, set_number: int) -> tuple[int, Slot | None]:
        """Return a slot that may be given to another session, and what is in it; -1 if there is none."""
        carried = self._table.carried()
        oldest: Slot | None = None
        for number in range(set_number * WAYS, (set_number + 1) * WAYS):
            slot = self._table.slot(number)
            if slot is None:
                return number, None
            half = slot.half
            if half.kind in {ABSENT, STORED} or half.version == carried[number]:
                if half.kind == STORED:
                    return number, slot
                if oldest is None or half.saved_at_ms < oldest.half.saved_at_ms:
                    oldest = slot
        return (-1, None) if oldest is None else (oldest.number, oldest)

    def _put(
        self, number: int, before: Slot | None, stamp: int, saved_at_ms: int, kind: int, name: bytes, state: bytes = b""
    ) -> None:
        """Write what the store has, too. The caller has the set's lock."""
        version = 1 if before is None else before.half.version + 1
        self._table.put(number, packed(version, stamp, saved_at_ms, self.mark, kind, name, state), version)
        self._table.note_carried(number, version)

    def _next_stamp(self) -> int:
        self._stamp = (self._stamp + 1) % STAMPS or 1
        return self._stamp

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _before_ms(self) -> int:
        return self._now_ms() - self._tabled.ttl_ms

    def _is_ours(self, slot: Slot) -> bool:
        return slot.half.kind != STATE or slot.half.mark == self.mark

    def _must_be_ours(self, slot: Slot) -> None:
        if not self._is_ours(slot):
            raise SessionStoreError(
                "the session is another host's, which seals with another secret; hint: give hosts that share a store "
                "one secret (PROCVISION_SESSION_KEY), or reset the session"
            )

    def _must_be_there(self) -> None:
        if not self._file.is_there:
            raise SessionStoreError(f"{self._file.path} was removed or replaced; hint: replace the host")
        if not self._tabled.is_there:
            raise SessionStoreError(f"the store beside {self._file.path} was removed; hint: replace the host")

    @contextlib.contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            refuse(what, error)


def with_table(
    store: SessionStore,
    max_bytes: int,
    *,
    algorithm: str,
    secret: bytes,
    hand_over: Callable[[int], None],
) -> tuple[GuardedSessions, dict[str, Any]]:
    """Return a store's sessions, behind a table where it can have one, and what the cell's are made with.

    `hand_over` is given the cell's descriptor of the table; where a save has to wait for the disk the cell asks for
    everything. Raises StoreFailedError.
    """
    opens = getattr(store, "open_session_table", None)
    try:
        file: TableFile | None = opens(algorithm) if opens is not None else None
        if file is None:
            return GuardedSessions(store, max_bytes, algorithm=algorithm, secret=secret), {}
        tabled = cast("TableStore", store)
        sessions = TabledSessions(tabled, file, max_bytes, algorithm=algorithm, secret=secret)
        sessions.carry_at_start()
    except SessionStoreError as error:
        raise StoreFailedError(f"the session store can't be used: {error}", error) from error
    if tabled.waits_for_the_disk:
        os.close(file.cells)
        return sessions, {}
    hand_over(file.cells)
    return sessions, {"ttl_ms": tabled.ttl_ms, "patience_s": tabled.patience_s, "mark": sessions.mark}


def _encoded(session_id: str) -> bytes:
    return session_id.encode("utf-8", "surrogatepass")


def _decoded(name: bytes) -> str | None:
    try:
        return name.decode("utf-8", "surrogatepass") or None
    except UnicodeDecodeError:
        return None


def _found(slot: Slot, kind: int) -> Found:
    half = slot.half
    state = half.state if kind == STATE else b""
    return (slot.number, half.version, half.stamp, half.saved_at_ms, kind, state, half.header, slot.other)
