"""A session store on an SQLite file, which outlives the host and which several hosts may share.

The strategy: one row a session, written in one statement in WAL mode. With durability `normal` a state that was saved
survives the death of the process and of all hosts; a power cut may take the last ones. `full` waits for the disk.
Two hosts on one session: every row has a stamp, and a `save` counts only where the stamp is still the one that was
loaded. The later of two calls at once is refused, and its caller may try again; no state is lost or mixed.
What lies in the file is never guessed at: a row whose checksum is wrong, a file of another release, of another program
or cut off is an error. A file is made whole under another name first, so that an empty one is damage and not a start.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from procvision_host.builtin.sqlite_sessions import SqliteOptions
from procvision_sdk.session import SessionStoreError

APPLICATION_ID = 0x50565353
"""`PVSS` in the file's header: these are ProcVision's sessions."""
SCHEMA_VERSION = 1
PURGE_EVERY = 256
"""So many savings from one removal of what has expired to the next."""
_MAX_CHECKED_BYTES = 64 * 1024 * 1024
"""A file up to this size is checked as a whole when it is opened: a tenth of a second."""
_HEADER = b"SQLite format 3\0"

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, stamp INTEGER NOT NULL, saved_at_ms INTEGER NOT NULL,
    checksum INTEGER NOT NULL, state BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (saved_at_ms);
"""


class SqliteSessionStore:
    """A store on one file. Raises SessionStoreError for whatever keeps it from answering."""

    def __init__(
        self, path: Path, options: SqliteOptions | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._options = options = options or SqliteOptions()
        self._clock = clock
        self._process_id = os.getpid()
        self._stamps: dict[str, int | None] = {}
        self._savings = 0
        if not path.exists():
            _make(path)
        try:
            self._connection = self._opened(options)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    # --- the protocol ---------------------------------------------------------------------------------------

    def load(self, session_id: str) -> bytes | None:
        """The state last saved by any host, unless its time has passed."""
        rows = self._execute("SELECT stamp, saved_at_ms, checksum, state FROM sessions WHERE id = ?", session_id)
        found = rows.fetchone()
        if found is None or found[1] < self._expired_before_ms():
            self._stamps = {session_id: None}
            return None
        stamp, _, checksum, state = found
        if not isinstance(state, bytes) or zlib.crc32(state) != checksum:
            raise SessionStoreError(
                f"the session {session_id[:80]!r} in {self._path} is damaged: its state doesn't match its checksum; "
                "hint: begin the inspection again under another session id"
            )
        self._stamps = {session_id: stamp}
        return state

    def save(self, session_id: str, state: bytes) -> None:
        """Keeps the state, unless another host changed or ended the session since it was loaded here."""
        known = self._stamps.get(session_id)
        stamp = int.from_bytes(os.urandom(7), "big")
        row = (stamp, int(self._clock() * 1000), zlib.crc32(state), state)
        if known is None:
            done = self._execute(
                "INSERT INTO sessions (stamp, saved_at_ms, checksum, state, id) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, saved_at_ms = excluded.saved_at_ms,"
                " checksum = excluded.checksum, state = excluded.state WHERE sessions.saved_at_ms < ?",
                *row,
                session_id,
                self._expired_before_ms(),
            )
        else:
            done = self._execute(
                "UPDATE sessions SET stamp = ?, saved_at_ms = ?, checksum = ?, state = ? WHERE id = ? AND stamp = ?",
                *row,
                session_id,
                known,
            )
        if done.rowcount != 1:
            raise SessionStoreError(
                f"another host changed or ended the session {session_id[:80]!r} while this call ran: "
                "its state stays as that one left it; hint: let one host at a time work on a session",
                retryable=True,
            )
        self._stamps = {session_id: stamp}
        self._savings += 1
        if self._savings % PURGE_EVERY == 1:
            self._execute("DELETE FROM sessions WHERE saved_at_ms < ?", self._expired_before_ms())

    def delete(self, session_id: str) -> None:
        """Forgets the id, whoever knows it."""
        self._execute("DELETE FROM sessions WHERE id = ?", session_id)
        self._stamps = {}

    def close(self) -> None:
        """Closes the file."""
        if os.getpid() == self._process_id:
            self._connection.close()

    # --- the file -------------------------------------------------------------------------------------------

    def _opened(self, options: SqliteOptions) -> sqlite3.Connection:
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                raise SessionStoreError(f"{self._path} is no SQLite file ({size} bytes): nothing is read from it")
        connection = sqlite3.connect(self._path, timeout=options.busy_ms / 1000, isolation_level=None)
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
        if size <= _MAX_CHECKED_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise SessionStoreError(f"{self._path} is damaged: {verdict}")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute(f"PRAGMA synchronous = {options.durability}")
        return connection

    def _expired_before_ms(self) -> int:
        return int((self._clock() - self._options.ttl_s) * 1000)

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if os.getpid() != self._process_id:
            raise SessionStoreError("a process that the algorithm forked can't use its parent's sessions")
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> SessionStoreError:
        busy = getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
        return SessionStoreError(f"{self._path}: {error}", retryable=busy)


def _make(path: Path) -> None:
    """A file with nothing in it, put in its place in one step; another host may have been faster."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        connection = sqlite3.connect(draft)
        try:
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
