"""Where a projection is: SQLite's file, or a PostgreSQL database.

SQLite runs in WAL: readers block no writer. What it holds can be computed again, so no commit waits for the disk.
A file that somebody removed or replaced is noticed by its inode: what is written into the removed one, nobody reads.
One that somebody cut is noticed by its length, and any other damage when SQLite finds it. Nothing here opens the file
beside SQLite: closing it would end SQLite's locks, and the next reader that leaves would remove the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.masking import masked
from procvision_sdk.private_files import make_private_folder, touch_private

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SQLITE_FILE = "projection.sqlite"
SQLITE = "sqlite"
BUSY_S = 5.0
"""So long SQLite waits for another connection's write."""
WRITERS_CACHE_KIB = 4000
"""It appends, and is as fast with a quarter of a reader's; full, it grows no more."""
READERS_CACHE_KIB = 16_000
ROWS_LOOKED_AT = 1000
"""Of each index: some milliseconds, however many rows there are."""


class ProjectionError(ProcVisionError):
    """A projection can't be read or written."""


LOGS = ("-wal", "-shm")
"""What SQLite has beside the file while it is open. A writer's are the same ones until it closes them."""
DAMAGES = frozenset({11, 26})
"""SQLITE_CORRUPT and SQLITE_NOTADB: https://www.sqlite.org/rescode.html."""
FULL = 13
"""SQLITE_FULL."""


@frozen
class _Seen:
    """A file as it was seen. SQLite makes none shorter while it is open: nothing here vacuums."""

    device: int
    inode: int
    length: int

    def is_still(self, now: _Seen | None) -> bool:
        """Return whether it is the same file, and no shorter."""
        return now is not None and (self.device, self.inode) == (now.device, now.inode) and self.length <= now.length


class Database:
    """One of a projection's two sides: its projector, or a reader. Any thread may call.

    `url` is `sqlite`, or PostgreSQL's: postgresql://USER@HOST/NAME, where libpq's own files and variables may have the
    password. `folder` is the station's folder of data. Raises ProjectionError where a library is missing.
    """

    def __init__(self, url: str, folder: Path, *, writes: bool = False) -> None:
        self.is_sqlite = url == SQLITE
        self.path = folder / SQLITE_FILE
        self.writes = writes
        self._url = f"sqlite+pysqlite:///{self.path}" if self.is_sqlite else _postgresql(url)
        self._engine: Engine | None = None
        self._files: dict[str, _Seen] = {}
        """SQLite's files, by what their names end with. A writer knows the database's own until it removes it."""

    def __str__(self) -> str:
        return str(self.path) if self.is_sqlite else masked(self._url)

    # --- the file -------------------------------------------------------------------------------------------

    def replaced(self) -> bool:
        """Return whether SQLite's file is gone, was cut, or is another one than was opened."""
        if not self._files:
            return False
        for suffix in ("", *(LOGS if self.writes else ())):
            before, now = self._files.get(suffix), self._seen(suffix)
            if before is not None and not before.is_still(now):
                return True
            if now is not None:
                self._files[suffix] = now
        return False

    def is_of(self, other: Database) -> bool:
        """Return whether both have the same file open. PostgreSQL is asked by its name alone."""
        if not self.is_sqlite:
            return True
        own, others = self._files.get(""), other._files.get("")
        return own is not None and others is not None and (own.device, own.inode) == (others.device, others.inode)

    def is_damaged_by(self, error: BaseException) -> bool:
        """Return whether an error of SQLAlchemy's says that SQLite found its file damaged."""
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
        return self.is_sqlite and isinstance(code, int) and code & 0xFF in DAMAGES

    def is_out_of_room(self, error: BaseException) -> bool:
        """Return whether an error of SQLAlchemy's says that SQLite's disk is full."""
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
        return self.is_sqlite and isinstance(code, int) and code & 0xFF == FULL

    def _seen(self, suffix: str) -> _Seen | None:
        try:
            status = self.path.with_name(self.path.name + suffix).stat()
        except OSError:
            return None
        return _Seen(status.st_dev, status.st_ino, status.st_size)

    # --- connections ----------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database. Raises ProjectionError, and SQLAlchemyError."""
        if self.replaced():
            self.close()
        if self.is_sqlite and not self.path.exists():
            raise ProjectionError(f"there is no {self.path} yet\nhint: procvision station run makes it")
        with self._opened().connect() as connection, connection.begin():
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")  # sqlite3 begins none before a SELECT
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes count together. Raises SQLAlchemyError."""
        with self._opened().begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to this version; a new database gets them. Raises ProjectionError, and SQLAlchemyError."""
        if self.is_sqlite:
            make_private_folder(self.path.parent)
            touch_private(self.path)
        upgrade(self._opened())

    def look_at_values(self) -> None:
        """Let SQLite see how often values are there, so that it takes the best index. Raises SQLAlchemyError.

        PostgreSQL does so by itself.
        """
        if self.is_sqlite:
            with self.writing() as connection:
                connection.exec_driver_sql(f"PRAGMA analysis_limit={ROWS_LOOKED_AT}")
                connection.exec_driver_sql("ANALYZE")

    def close(self) -> None:
        """Let go of all connections."""
        engine, self._engine = self._engine, None
        self._files = {suffix: seen for suffix, seen in self._files.items() if self.writes and not suffix}
        if engine is not None:
            engine.dispose()

    def remove(self) -> None:
        """Remove all that is there: SQLite's files, or PostgreSQL's tables."""
        if self.is_sqlite:
            self.close()
            self._files = {}
            for suffix in ("", *LOGS):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        else:
            drop_all(self._opened())

    def _opened(self) -> Engine:
        if self._engine is None:
            from sqlalchemy import create_engine, event

            if self.is_sqlite:
                arguments: dict[str, Any] = {"timeout": BUSY_S, "check_same_thread": False}
                self._engine = create_engine(self._url, connect_args=arguments)
                event.listen(self._engine, "connect", self._set_up_sqlite)
                seen = self._seen("")
                if seen is not None:
                    self._files.setdefault("", seen)
            else:
                from procvision_station.projection.postgresql import make_engine

                self._engine = make_engine(self._url, writes=self.writes)
        return self._engine

    def _set_up_sqlite(self, connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        pragmas = ["journal_mode=WAL", "synchronous=NORMAL"] if self.writes else ["query_only=ON"]
        cache_kib = WRITERS_CACHE_KIB if self.writes else READERS_CACHE_KIB
        for pragma in [*pragmas, "temp_store=MEMORY", f"cache_size=-{cache_kib}"]:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _postgresql(url: str) -> str:
    from procvision_tools.extras import need

    need("psycopg", "psycopg[binary]", "a projection in PostgreSQL", "postgres")
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url)


def upgrade(engine: Engine) -> None:
    """Take the steps of `migrations` that a database has not seen. Raises ProjectionError where it saw others."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # sqlite3 begins none before a CREATE: a migration that was cut off would be half there for ever.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise ProjectionError(f"the projection has tables of another version of ProcVision: {error}") from error


def drop_all(engine: Engine) -> None:
    """Remove our tables, and no others."""
    from sqlalchemy import text

    from procvision_station.projection.tables import metadata

    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
