"""What isn't sent yet, in order, in an SQLite file: it outlives the broker's absence and the host.

The strategy: every message is a row before it is sent, and goes when the broker has taken it. A row's number is the
message's place in the order. Where the disk refuses (full, read-only, at its bound) messages are held in memory,
behind those on disk, and put there as soon as it can be; only what is held dies with the process. Two threads use a
spool: one appends, one sends.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from os import getpid
from pathlib import Path
from threading import Lock
from time import monotonic, time
from typing import NamedTuple

from procvision_mqtt import places
from procvision_mqtt.places import Place
from procvision_sdk.private_files import touch_private

MAX_HELD = 10_000
"""So many messages are held in memory while the disk refuses: some ten megabytes."""
BUSY_S = 1.0
TRY_AGAIN_S = 1.0
"""How long a disk that refused is left alone."""
_PAGE_BYTES = 4096
_SCHEMA = "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL)"
_INSERT = "INSERT INTO messages VALUES (?, ?, ?)"
_log = logging.getLogger("procvision_mqtt")


class Message(NamedTuple):
    """One message and its place in the order."""

    number: int
    topic: str
    payload: bytes


class Spool:
    """The messages of one host, and what was left behind by those before it. Never raises for what the disk does."""

    def __init__(self, place: Place | None, max_bytes: int) -> None:
        self._lock = Lock()
        self._place = place
        self._database: sqlite3.Connection | None = None
        self._held: OrderedDict[int, Message] = OrderedDict()
        self._gone: set[int] = set()  # sent, but the disk doesn't let them go
        self._next = 1
        self._try_again_at = 0.0
        self._unreadable = 0
        self.lost = 0
        if place is not None:
            self._database = _opened(place.database, max_bytes)
            (last,) = self._database.execute("SELECT max(number) FROM messages").fetchone()
            self._next = (last or 0) + 1

    def append(self, topic: str, payload: bytes) -> None:
        """Keep a message, after all others."""
        with self._lock:
            message = Message(self._next, topic, payload)
            self._next += 1
            if self._held or self._database is None:
                self._hold(message)
                self._put_held()
                return
            try:
                self._change(_INSERT, [message])
            except sqlite3.Error as error:
                _log.error("the spool can't be written, messages are held in memory: %s; hint: is there room?", error)
                self._hold(message)

    def after(self, number: int, most: int) -> list[Message]:
        """The next messages behind a number, at most so many, in order."""
        with self._lock:
            found: list[Message] = []
            if self._database is not None:
                query = "SELECT number, topic, payload FROM messages WHERE number > ? ORDER BY number"
                try:
                    with closing(self._database.execute(query, (number,))) as rows:
                        found = list(islice((Message(*row) for row in rows if row[0] not in self._gone), most))
                except sqlite3.Error as error:
                    self._unreadable += 1
                    if self._unreadable & (self._unreadable - 1) == 0:
                        _log.error("the spool can't be read (time %d): %s", self._unreadable, error)
                    return []
            found += [message for message in self._held.values() if message.number > number]
            return found[:most]

    def remove(self, numbers: Iterable[int]) -> None:
        """Forgets messages that the broker has taken."""
        with self._lock:
            for number in numbers:
                if self._held.pop(number, None) is None:
                    self._gone.add(number)
            if self._gone:
                try:
                    self._change("DELETE FROM messages WHERE number = ?", ((number,) for number in self._gone))
                except sqlite3.Error as error:
                    _log.warning("what was sent stays in the spool for now, and may be sent twice: %s", error)
                    return
                self._gone.clear()

    def waiting(self) -> int:
        """How many messages aren't sent yet."""
        with self._lock:
            kept = 0
            if self._database is not None:
                try:
                    (kept,) = self._database.execute("SELECT count(*) FROM messages").fetchone()
                except sqlite3.Error:
                    return len(self._held)
            return int(kept) - len(self._gone) + len(self._held)

    def adopt(self, others: Iterable[Place], max_bytes: int) -> int:
        """Take over what hosts have left that aren't there any more; return how many messages."""
        adopted = 0
        for other in others:
            try:
                with closing(_opened(other.database, max_bytes)) as theirs:
                    rows = theirs.execute("SELECT topic, payload FROM messages ORDER BY number").fetchall()
                    with self._lock:
                        messages = [Message(self._next + at, *row) for at, row in enumerate(rows)]
                        self._change(_INSERT, messages)
                        self._next += len(messages)
                    # Dead between these two lines, the messages are sent twice: their ids say so.
                    theirs.execute("DELETE FROM messages")
            except sqlite3.Error as error:
                _log.error("the spool %s can't be taken over, it stays for the next host: %s", other.database, error)
                continue
            adopted += len(rows)
        return adopted

    def close(self) -> None:
        """Give file and place back; what is held is put on disk, if it can be by now."""
        with self._lock:
            self._try_again_at = 0.0
            self._put_held()
            if self._database is not None:
                self._database.close()
                self._database = None
            if self._place is not None:
                self._place.leave()
                self._place = None

    def _change(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """All of it or nothing. Raises sqlite3.Error."""
        if self._database is None:
            raise sqlite3.OperationalError("there is no spool")
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(statement, rows)

    def _put_held(self) -> None:
        # Not at every message: ten thousand rows that the disk refuses take longer than a call.
        now = monotonic()
        if not self._held or now < self._try_again_at:
            return
        try:
            self._change(_INSERT, self._held.values())
        except sqlite3.Error:
            self._try_again_at = now + TRY_AGAIN_S
            return
        _log.warning("the spool can be written again, with %d messages that were held", len(self._held))
        self._held.clear()

    def _hold(self, message: Message) -> None:
        self._held[message.number] = message
        if len(self._held) > MAX_HELD:
            self._held.popitem(last=False)
            self.lost += 1
            if self.lost & (self.lost - 1) == 0:
                _log.error("%d messages are held in memory, %d older ones are lost", MAX_HELD, self.lost)


def _opened(path: Path, max_bytes: int) -> sqlite3.Connection:
    """The file, made if there is none; one that is damaged is put aside, for a person to look at."""
    try:
        return _connected(path, max_bytes)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        aside = path.with_name(f"{path.name}.damaged-{int(time())}")
        for suffix in ("", "-wal", "-shm"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(aside.with_name(aside.name + suffix))
        _log.error("the spool %s is damaged (%s): it lies in %s now, and nothing of it is sent", path, error, aside)
        return _connected(path, max_bytes)


def _connected(path: Path, max_bytes: int) -> sqlite3.Connection:
    touch_private(path)
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA max_page_count = {max_bytes // _PAGE_BYTES}")
        database.execute(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def open_spool(folder: Path, max_bytes: int, *, told: bool = False) -> tuple[Spool, int]:
    """This host's spool and its number, with what others left.

    Without a usable folder it is in memory alone, and the number the process's own, so that no two hosts have one.
    ``told``: whether the log says already that there is none.
    """
    try:
        place = places.take(folder)
        spool = Spool(place, max_bytes)
    except (OSError, sqlite3.Error) as error:
        level = logging.INFO if told else logging.ERROR
        _log.log(level, "there is no spool in %s, messages are held in memory: %s", folder, error)
        return Spool(None, max_bytes), getpid()
    adopted = spool.adopt(places.left_behind(folder), max_bytes)
    waiting = spool.waiting()
    if waiting:
        _log.info("%d messages of hosts before this one are sent first (%d of other places)", waiting, adopted)
    return spool, place.number
