"""The cell's sessions where a table lies before the store: what is known is read and written there, without a question.

The strategy: a session that was met has a slot, and this process keeps what it read there or wrote. The next save of
whatever host goes into the half that is not the current one: while that has the header that it had, what is kept here
is what is there. So a load is one read of some bytes. A save takes the set's lock, looks once more, and writes.
Whatever else there is to do is the host half's: a session that is met for the first time, a state that has no room, a
table that was removed, a descriptor that the algorithm closed.
`table_core.c` is the same, compiled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from os import fstat, getpid, pread, urandom
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from procvision_host.algorithm.session_table import (
    ABSENT,
    GONE,
    HEADER_BYTES,
    MAX_VERSION,
    STAMPS,
    STATE,
    SessionTable,
    fits,
    half_at,
    packed,
    set_of,
)
from procvision_host.algorithm.sessions import refuse, refuse_a_copy
from procvision_host.logs import HOST_LOGGER
from procvision_sdk.compiled import compiled
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.session import Session, SessionInUseError, SessionStoreError, encode_state

if TYPE_CHECKING:
    from procvision_host.halves.messages import CellChannel
    from procvision_host.halves.ring import Ring

CORE = "procvision_host.halves.table_core"
"""The compiled form of what stands here."""
_log = logging.getLogger(HOST_LOGGER)
MAX_KNOWN = 256
"""So many sessions are kept in mind; one that was forgotten is asked for again."""


class ShortWay(NamedTuple):
    """A session before its call, in it, and behind it."""

    expect: Callable[[str], None]
    load: Callable[[str], bytes | None]
    keep: Callable[[str, Session], None]


class _Known:
    """A session as it was when this process looked last."""

    __slots__ = ("name", "other", "own", "saved_at_ms", "slot", "stamp", "state", "version")

    def __init__(self, name: bytes, found: list[Any]) -> None:
        self.name = name
        (self.slot, self.version, self.stamp, self.saved_at_ms, kind, state, self.own, self.other) = found
        self.state: bytes | None = state if kind == STATE else None


class TableSessions:
    """Sessions of one cell. Its main thread uses them."""

    __slots__ = (
        "_base",
        "_channel",
        "_known",
        "_mark",
        "_max_bytes",
        "_process_id",
        "_ring",
        "_stamp",
        "_table",
        "_ttl_ms",
    )

    def __init__(
        self,
        channel: CellChannel,
        ring: Ring,
        descriptor: int,
        *,
        ttl_ms: int,
        patience_s: float,
        mark: int,
        max_bytes: int,
    ) -> None:
        self._channel = channel
        self._ring = ring
        self._table = SessionTable(descriptor, patience_s)
        self._ttl_ms = ttl_ms
        self._mark = mark
        self._max_bytes = max_bytes
        self._process_id = getpid()
        self._known: dict[str, _Known] = {}
        self._base: tuple[str, int] = ("", 0)
        """The session that was loaded last, and the stamp of what was given; 0 for no state."""
        self._stamp = int.from_bytes(urandom(7), "big")

    def short_way(self, keep: Callable[[str, Session], None]) -> ShortWay:
        """Return what the steady calls use of these: compiled where that can be, and what it leaves is done here.

        `keep` is `Worker.save`.
        """
        core = compiled(CORE)
        if core is not None:
            parts = {
                "sessions": self,
                "known": self._known,
                "python_expect": self.expect,
                "python_load": self.load,
                "python_save": self.save,
                "keep": keep,
                "encode": encode_state,
                "Known": _Known,
                "Session": Session,
            }
            numbers = (self._table.descriptor, self._ttl_ms, self._max_bytes, self._mark)
            try:
                made = core.TableCore(parts, self._ring.memory, *numbers)
            except (KeyError, TypeError, ValueError) as error:
                # Built of another source.
                _log.warning("the table of sessions is used by Python: the compiled core doesn't fit (%s)", error)
            else:
                return ShortWay(made.expect, made.load, made.keep)
        return ShortWay(self.expect, self.load, keep)

    def expect(self, session_id: str) -> None:
        """Let the host half look for a session that isn't known yet, while its call is checked."""
        if session_id not in self._known and getpid() == self._process_id:
            self._channel.begin("find", session_id)

    def load(self, session_id: str) -> bytes | None:
        """Return the state last saved by any host. Raises CallRefusedError."""
        if getpid() != self._process_id:
            refuse_a_copy()
        known = self._known.get(session_id)
        if known is None or self._ring.table_refused or not self._is_as_it_was(known):
            known = self._asked(session_id) if known is None else self._seen_again(session_id, known)
        if known.state is not None and known.saved_at_ms < int(time() * 1000) - self._ttl_ms:
            self._base = (session_id, 0)
            return None
        self._base = (session_id, known.stamp if known.state is not None else 0)
        return known.state

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state. Raises CallRefusedError."""
        if getpid() != self._process_id:
            refuse_a_copy()
        loaded, base = self._base
        if loaded != session_id:
            base = 0
        known = self._known.get(session_id)
        if known is not None and len(state) <= self._max_bytes and self._put(session_id, known, STATE, state, base):
            self._base = (session_id, known.stamp)
            return
        self._known.pop(session_id, None)
        self._base = (session_id, self._channel.ask("keep", session_id, state, base))

    def delete(self, session_id: str) -> None:
        """Forget the session, as part of a call. Raises CallRefusedError."""
        if getpid() != self._process_id:
            refuse_a_copy()
        self._known.pop(session_id, None)
        self._channel.ask("delete", session_id)

    def end(self, session_id: str) -> None:
        """Forget a session whose last answer is out. Never raises."""
        known = self._known.pop(session_id, None)
        if known is not None and getpid() == self._process_id:
            try:
                if self._put(session_id, known, GONE, b"", None):
                    return
            except CallRefusedError:
                pass  # The host half tries it, too, and remembers what it couldn't do.
        self._channel.ask("end", session_id)

    def close(self) -> None:
        """Do nothing: the host half carries what is left."""

    # --- the table ------------------------------------------------------------------------------------------

    def _is_as_it_was(self, known: _Known) -> bool:
        try:
            header: bytes = known.other
            return self._header(known) == header
        except OSError:
            return False

    def _header(self, known: _Known) -> bytes:
        """Return the header of the half that the next save goes into."""
        return pread(self._table.descriptor, HEADER_BYTES, half_at(known.slot, (known.version + 1) % 2))

    def _seen_again(self, session_id: str, known: _Known) -> _Known:
        """Look at a session's slot once more; ask where it isn't there any more."""
        if not self._ring.table_refused and self._take_over(known):
            return known
        del self._known[session_id]
        return self._asked(session_id)

    def _take_over(self, known: _Known) -> bool:
        """Take over what another host has made of a session, if its slot still has it."""
        try:
            slot = self._table.slot(known.slot)
        except OSError:
            return False
        if slot is None or slot.half.session_id != known.name or slot.half.kind not in {STATE, GONE, ABSENT}:
            return False
        half = slot.half
        if half.kind == STATE and half.mark != self._mark:
            return False
        known.version, known.stamp, known.saved_at_ms = half.version, half.stamp, half.saved_at_ms
        known.state = half.state if half.kind == STATE else None
        known.own, known.other = half.header, slot.other
        return True

    def _asked(self, session_id: str) -> _Known:
        found = self._channel.ask("find", session_id)
        known = _Known(session_id.encode("utf-8", "surrogatepass"), found)
        if known.slot >= 0:
            self._known[session_id] = known
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return known

    def _put(self, session_id: str, known: _Known, kind: int, state: bytes, base: int | None) -> bool:
        """Write into the table, if the session is still at `base`; None: whatever it is at.

        Return False where the host half has to. Raises CallRefusedError.
        """
        table, name = self._table, known.name
        if self._ring.table_refused or not fits(name, state) or known.version >= MAX_VERSION - 1:
            return False
        number = set_of(name)
        try:
            with table.locked(number):
                if self._header(known) != known.other and not self._take_over(known):
                    return False
                now_ms = int(time() * 1000)
                if base is not None and not self._follows(known, base, now_ms):
                    raise SessionInUseError(session_id)
                if fstat(table.descriptor).st_nlink == 0:
                    return False
                version = known.version + 1
                self._stamp = stamp = (self._stamp + 1) % STAMPS or 1
                saved_at_ms = max(now_ms, known.saved_at_ms)
                record = packed(version, stamp, saved_at_ms, self._mark, kind, name, state)
                table.put(known.slot, record, version)
        except SessionStoreError as error:
            refuse("saved", error)
        except OSError:
            return False  # The descriptor isn't what it was, or the disk is.
        known.version, known.stamp, known.saved_at_ms = version, stamp, saved_at_ms
        known.other, known.own = known.own, record[:HEADER_BYTES]
        known.state = state if kind == STATE else None
        self._ring.table_written()
        return True

    def _follows(self, known: _Known, base: int, now_ms: int) -> bool:
        if base == 0:
            return known.state is None or known.saved_at_ms < now_ms - self._ttl_ms
        return known.state is not None and known.stamp == base
