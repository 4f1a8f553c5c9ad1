"""A session store on an SQLite file, which outlives the host and which several hosts may share.

The strategy: one row a session, written in one statement in WAL mode. With durability `normal` a state that was saved
survives the death of the process and of all hosts; a power cut may take the last ones. `full` waits for the disk.
Two hosts on one session: every row has a stamp, and a `save` counts only where the stamp is still the one that was
loaded. The later of two calls at once is refused, and its caller may try again; no state is lost or mixed.
A session that this host was the last to write is not read again: SQLite's index of its log begins with a counter that
every transaction of any process moves (https://www.sqlite.org/walformat.html), and where that stands as this host's own
save has left it, what was saved is what would be read.
What lies in the file is never guessed at: a file of another release, of another program or cut off is an error. A file
is made whole under another name first, so that an empty one is damage and not a start.
`tabled` is for hosts: what they save they put into a table beside the file (`algorithm.session_table`), and carry it
into this one in batches. A table is one algorithm's, and belongs to the file that has its id.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Sequence
from os import pread
from pathlib import Path
from typing import Any, NamedTuple

from procvision_host.algorithm.session_table import STAMPS, Row
from procvision_host.builtin.descriptors import Descriptors, OwnDescriptors
from procvision_host.builtin.table_file import TableFile, no_table_for, open_table
from procvision_sdk.private_files import touch_private
from procvision_sdk.regular_files import opened_regular, read_start
from procvision_sdk.session import SessionInUseError, SessionStoreError

APPLICATION_ID = 0x50565353
"""`PVSS` in the file's header: these are ProcVision's sessions."""
SCHEMA_VERSION = 1
PURGE_EVERY = 256
"""So many savings from one removal of what has expired to the next; the file is walked for it, since an index on the
time would have to be written at every saving."""
PAGE_BYTES = 1024
"""A save writes whole pages: a state of some hundred bytes costs a fifth less than with SQLite's 4096."""
_MAX_CHECKED_BYTES = 64 * 1024 * 1024
"""A file up to this size is checked as a whole when it is opened: a tenth of a second."""
_HEADER = b"SQLite format 3\0"
_INDEX_HEADER_BYTES = 48
_counter = struct.Struct("=8xI").unpack_from
"""The counter in the index's header, which is in the machine's own byte order."""

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, stamp INTEGER NOT NULL, saved_at_ms INTEGER NOT NULL, state BLOB NOT NULL
) WITHOUT ROWID;
"""
_log = logging.getLogger(__name__)

_LOAD = "SELECT stamp, saved_at_ms, state FROM sessions WHERE id = ?"
_REPLACE = "UPDATE sessions SET stamp = ?, saved_at_ms = ?, state = ? WHERE id = ? AND stamp = ?"
_PUT = (
    "INSERT INTO sessions (stamp, saved_at_ms, state, id) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " stamp = excluded.stamp, saved_at_ms = excluded.saved_at_ms, state = excluded.state"
)
_BEGIN = f"{_PUT} WHERE sessions.saved_at_ms < ?"
_PUT_LATER = f"{_PUT} WHERE sessions.saved_at_ms < excluded.saved_at_ms"
_DELETE = "DELETE FROM sessions WHERE id = ?"
_PURGE = "DELETE FROM sessions WHERE saved_at_ms < ?"
_TABLES = "CREATE TABLE IF NOT EXISTS session_tables (name TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID"
_TABLE_ID = "SELECT id FROM session_tables WHERE name = ?"
_NEW_TABLE = "INSERT OR REPLACE INTO session_tables (name, id) VALUES (?, ?)"


class _Saved(NamedTuple):
    """This host's last save, where the index tells that no other transaction was between the looks at it."""

    session_id: str
    index_header: bytes
    row: Row
    """As `_LOAD` gives it."""


class SqliteSessionStore:
    """A store on one file. Raises SessionStoreError for whatever keeps it from answering.

    After an error the file is opened, and so checked, anew at the next call. `watched` keeps an eye on its descriptors,
    as a process needs that lets an algorithm in and has no other store on this file.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "normal",
        ttl_s: float = 86_400.0,
        busy_ms: int = 2000,
        watched: bool = False,
        tabled: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path.absolute()  # an algorithm may change the working directory
        self._durability = durability
        self._tabled = tabled
        self._ttl_ms = int(ttl_s * 1000)
        self._busy_s = busy_ms / 1000
        self._clock = clock
        self._loaded: tuple[str, int | None] = ("", None)
        """The session that was loaded last, and its stamp."""
        self._own: _Saved | None = None
        self._index: int | None = None
        self._seen = b""
        """The index's header when it was last looked at."""
        self._stamp = int.from_bytes(os.urandom(7), "big")
        """The last one given. Each store begins somewhere, so no two give the same."""
        self._savings = 0
        self._watched = watched
        self._descriptors: OwnDescriptors | None = None
        self._looked_after = False
        """Whether the descriptors were looked at since the algorithm had its hands on them."""
        if not self._path.exists():
            _make(self._path)
        self._connection: sqlite3.Connection | None = self._opened()

    # --- the protocol ---------------------------------------------------------------------------------------

    def load(self, session_id: str) -> bytes | None:
        """Return the state last saved by any host, unless its time has passed."""
        own = self._own
        self._seen = header = self._index_header()
        if own is not None and own.session_id == session_id and own.index_header == header:
            found: Any = own.row
        else:
            _, found = self._execute(_LOAD, (session_id,))
        self._looked_after = False  # the algorithm is next
        if found is None or found[1] < int(self._clock() * 1000) - self._ttl_ms:
            self._loaded = (session_id, None)
            return None
        self._loaded = (session_id, found[0])
        state: bytes = found[2]
        return state

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state. Raises SessionInUseError if another host changed or ended the session since `load`."""
        now_ms = int(self._clock() * 1000)
        loaded, known = self._loaded
        self._stamp = stamp = (self._stamp + 1) % STAMPS
        row = (stamp, now_ms, state, session_id)
        self._own = None
        before = self._seen
        if known is None or loaded != session_id:
            changed, _ = self._execute(_BEGIN, (*row, now_ms - self._ttl_ms))
        else:
            changed, _ = self._execute(_REPLACE, (*row, known))
        if changed != 1:
            raise SessionInUseError(session_id)
        self._loaded = (session_id, stamp)
        reopened = self._seen is not before
        self._seen = after = self._index_header()
        if before and after and not reopened and _counter(after)[0] == _counter(before)[0] + 1:
            self._own = _Saved(session_id, after, (stamp, now_ms, state))
        self._savings += 1
        if self._savings % PURGE_EVERY == 1:
            self._execute(_PURGE, (now_ms - self._ttl_ms,))

    def delete(self, session_id: str) -> None:
        """Forget the id, whichever host wrote it."""
        self._execute(_DELETE, (session_id,))
        self._loaded = (session_id, None)

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        self._descriptors = self._index = self._own = None
        self._seen = b""
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    # --- with a table ---------------------------------------------------------------------------------------

    @property
    def ttl_ms(self) -> int:
        """How long after its last saving a session is over."""
        return self._ttl_ms

    @property
    def patience_s(self) -> float:
        """How long a call waits for another host's writing."""
        return self._busy_s

    @property
    def waits_for_the_disk(self) -> bool:
        """Whether a save has to be on the disk before its call is answered."""
        return self._durability == "full"

    def open_session_table(self, name: str) -> TableFile | None:
        """Open the table of this name that belongs to this file, or make one; None where there is to be none.

        Raises SessionStoreError.
        """
        database = self._path.resolve()
        if not self._tabled or no_table_for(database):
            return None
        self._looked_after = False
        self._execute("BEGIN IMMEDIATE", ())  # so that of two hosts one makes it
        try:
            self._execute(_TABLES, ())
            _, known = self._execute(_TABLE_ID, (name,))
            file = open_table(database, name, None if known is None else known[0])
            if known is None or file.id != known[0]:
                self._execute(_NEW_TABLE, (name, file.id))
            self._execute("COMMIT", ())
        except OSError as error:
            self._roll_back()
            raise SessionStoreError(f"the table of sessions beside {database} can't be made: {error}") from error
        except BaseException:
            self._roll_back()
            raise
        return file

    def row(self, session_id: str) -> Row | None:
        """Return what the file has of a session, over or not."""
        self._looked_after = False
        found: Row | None = self._execute(_LOAD, (session_id,))[1]
        return found

    def put(self, session_id: str, row: Row) -> None:
        """Keep a session, whatever was there."""
        self._looked_after = False
        self._execute(_PUT, (*row, session_id))
        self._purge_sometimes(1)

    def carry(self, rows: Sequence[tuple[str, Row]], ended: Sequence[str], *, later_only: bool) -> None:
        """Keep sessions and forget others, all or none. `later_only`: the file's own stay if they were saved later."""
        self._looked_after = False
        self._execute("BEGIN IMMEDIATE", ())
        try:
            for session_id, row in rows:
                self._execute(_PUT_LATER if later_only else _PUT, (*row, session_id))
            for session_id in ended:
                self._execute(_DELETE, (session_id,))
            self._execute("COMMIT", ())
        except BaseException:
            self._roll_back()
            raise
        self._purge_sometimes(len(rows))

    def remove(self, session_id: str) -> None:
        """Forget the id."""
        self._looked_after = False
        self._execute(_DELETE, (session_id,))

    @property
    def is_there(self) -> bool:
        """Whether the file still has its name."""
        if self._descriptors is not None and not self._descriptors.whole():
            return False
        return self._path.exists()

    def _roll_back(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _purge_sometimes(self, savings: int) -> None:
        before, self._savings = self._savings, self._savings + savings
        if before // PURGE_EVERY != self._savings // PURGE_EVERY:
            self._execute(_PURGE, (int(self._clock() * 1000) - self._ttl_ms,))

    # --- the file -------------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        try:
            with opened_regular(self._path) as (descriptor, status):
                beginning = read_start(descriptor, len(_HEADER))
                size = status.st_size
        except OSError as error:
            raise SessionStoreError(f"{self._path} can't be read: {error.strerror}") from error
        if beginning != _HEADER:
            raise SessionStoreError(f"{self._path} is no SQLite file ({size} bytes): nothing is read from it")
        try:
            # `rw`: a file that is gone in this moment is not made anew.
            place = f"{self._path.as_uri()}?mode=rw"
            connection = sqlite3.connect(place, timeout=self._busy_s, isolation_level=None, uri=True)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        try:
            self._check(connection, size)
            connection.execute(f"PRAGMA synchronous = {self._durability}")
        except sqlite3.Error as error:
            connection.close()
            raise self._failed(error) from error
        except SessionStoreError:
            connection.close()
            raise
        if self._watched:
            database = self._path.resolve()  # beside which SQLite has the others
            files = [Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm")]
            self._descriptors = OwnDescriptors(files)
            self._index = self._descriptors.number(files[2])
        return connection

    def _mend(self, descriptors: OwnDescriptors) -> None:
        """Open the file again after other code of this process touched the descriptors. What is in the file is safe."""
        try:
            found = descriptors.restore()
        except OSError as error:
            raise SessionStoreError(f"{self._path} can't be opened again: {error.strerror}") from error
        told = f"the descriptors of {self._path} {found.value}"
        if found is not Descriptors.RESTORED:
            raise SessionStoreError(f"{told}; hint: replace the host")
        _log.warning("%s", told)
        self.close()
        self._connection = self._opened()

    def _check(self, connection: sqlite3.Connection, size: int) -> None:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id != APPLICATION_ID:
            raise SessionStoreError(f"{self._path} is another program's SQLite file: nothing is read from it")
        if version != SCHEMA_VERSION:
            age = "an older" if version < SCHEMA_VERSION else "a newer"
            raise SessionStoreError(
                f"{self._path} is of {age} release (layout {version}, this one has {SCHEMA_VERSION}); "
                "hint: finish its sessions with that release, or name another file"
            )
        connection.execute("PRAGMA cell_size_check = ON")
        if size <= _MAX_CHECKED_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise SessionStoreError(f"{self._path} is damaged: {verdict}")

    def _index_header(self) -> bytes:
        # Through SQLite's own descriptor: opening and closing the file once more would drop SQLite's locks on it.
        if self._index is None:
            return b""
        try:
            return pread(self._index, _INDEX_HEADER_BYTES, 0)
        except OSError:
            return b""

    def _execute(self, statement: str, values: tuple[object, ...]) -> tuple[int, Any]:
        """Run a statement. Return how many rows it changed, and the first that it found."""
        if self._connection is None:
            self._connection = self._opened()
        elif self._descriptors is not None and not self._looked_after:
            if not self._descriptors.whole():
                self._mend(self._descriptors)
            self._looked_after = True
        try:
            cursor = self._connection.execute(statement, values)
            return cursor.rowcount, cursor.fetchone()
        except sqlite3.Error as error:
            failure = self._failed(error)
            if not failure.retryable:
                self.close()
            raise failure from error

    def _failed(self, error: sqlite3.Error) -> SessionStoreError:
        busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
        return SessionStoreError(f"{self._path}: {error}", retryable=busy)


def _make(path: Path) -> None:
    """Make an empty store, and put it in its place in one step. Another host may have been faster."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        touch_private(draft)
        connection = sqlite3.connect(draft)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        finally:
            connection.close()
        os.link(draft, path)
    except FileExistsError:
        return
    except (OSError, sqlite3.Error) as error:
        raise SessionStoreError(f"{path} can't be made: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
