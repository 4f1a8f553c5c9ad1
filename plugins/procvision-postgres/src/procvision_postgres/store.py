"""The store: one row a session, each call one statement, which is a transaction of its own.

Every row has a stamp, drawn anew at every save, and a `save` counts only where the stamp is still the one that was
loaded. The time to live is counted on the server's clock, so hosts needn't agree on the time.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

import psycopg

from procvision_postgres.schema import bring_up_to_date
from procvision_sdk.session import ReadOnlyStoreError, SessionInUseError, SessionStoreError
from procvision_sdk.storetext import shown

_LASTING_WORDS = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|permission denied for database"
    r"|certificate verify failed|does not support SSL|is not permitted to log in"
)
"""What keeps a connection from being made and no time mends: libpq tells of it by its text alone."""
_READ_ONLY = (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.DiskFull)
"""A standby that will be the primary, a database that is set so, a disk that somebody will clear."""
PURGE_EVERY = 256
"""So many savings from one removal of what has expired to the next."""

_OVER = "saved_at < now() - make_interval(secs => %s)"
_LOAD = f"SELECT stamp, state FROM procvision_sessions WHERE id = %s AND NOT ({_OVER})"
_REPLACE = "UPDATE procvision_sessions SET stamp = %s, saved_at = now(), state = %s WHERE id = %s AND stamp = %s"
_BEGIN = (
    "INSERT INTO procvision_sessions AS kept (stamp, saved_at, state, id) VALUES (%s, now(), %s, %s)"
    " ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, saved_at = excluded.saved_at, state = excluded.state"
    f" WHERE kept.{_OVER}"
)
_DELETE = "DELETE FROM procvision_sessions WHERE id = %s"
_PURGE = f"DELETE FROM procvision_sessions WHERE {_OVER}"


class PostgresSessionStore:
    """A store in one database. Raises SessionStoreError for whatever keeps it from answering.

    After a failure the next call connects anew.
    """

    def __init__(self, url: str, *, ttl_s: float = 86_400.0, timeout_s: float = 2.0) -> None:
        self._url = url
        self._shown = shown(url)
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._savings = 0
        self._loaded: tuple[str, int | None] = ("", None)
        """The session that was loaded last, and its stamp."""
        self._connection: psycopg.Connection[Any] | None = None
        try:
            bring_up_to_date(self._connected())
        except psycopg.Error as error:
            raise self._failed(error) from error
        except SessionStoreError as error:
            self.close()
            raise SessionStoreError(f"{self._shown}: {error}") from None

    # --- the protocol ---------------------------------------------------------------------------------------

    def load(self, session_id: str) -> bytes | None:
        """The state last saved by any host, unless its time has passed."""
        _, found = self._execute(_LOAD, _bytes(session_id), self._ttl_s)
        self._loaded = (session_id, found and found[0])
        return found and bytes(found[1])

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state. Raises SessionInUseError if another host changed or ended the session since `load`."""
        loaded, known = self._loaded
        stamp = int.from_bytes(os.urandom(7), "big")
        row = (stamp, state, _bytes(session_id))
        if known is None or loaded != session_id:
            changed, _ = self._execute(_BEGIN, *row, self._ttl_s)
        else:
            changed, _ = self._execute(_REPLACE, *row, known)
        if changed != 1:
            raise SessionInUseError(session_id)
        self._loaded = (session_id, stamp)
        self._savings += 1
        if self._savings % PURGE_EVERY == 1:
            self._execute(_PURGE, self._ttl_s)

    def delete(self, session_id: str) -> None:
        """Forget the id, in every host that knows it."""
        self._execute(_DELETE, _bytes(session_id))
        self._loaded = (session_id, None)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    # --- the connection -------------------------------------------------------------------------------------

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            milliseconds = int(self._timeout_s * 1000)
            self._connection = connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=max(1, round(self._timeout_s)),
                application_name="procvision-host",
                # A server that is gone without a word is noticed in the same time as one that is slow.
                tcp_user_timeout=milliseconds,
            )
            connection.execute(f"SET statement_timeout = {milliseconds}")
        return self._connection

    def _execute(self, statement: str, *values: object) -> tuple[int, Any]:
        """How many rows were changed, and the first that was found."""
        try:
            # Bytes as bytes: a state takes half the room that it takes as text.
            cursor = self._connected().execute(statement, values, binary=True)
            return cursor.rowcount, cursor.fetchone() if cursor.description else None
        except psycopg.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: psycopg.Error) -> SessionStoreError:
        self.close()
        told = " ".join(str(error).split())
        if isinstance(error, _READ_ONLY):
            return ReadOnlyStoreError(f"{self._shown}: {told}")
        return SessionStoreError(f"{self._shown}: {told}", retryable=_passes(error, told))


def _passes(error: psycopg.Error, told: str) -> bool:
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is not None or _LASTING_WORDS.search(told) is None


def _bytes(session_id: str) -> bytes:
    return session_id.encode("utf-8", "surrogatepass")
