"""The stores in the box: what all must hold to, and what SQLite's adds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from procvision_host.builtin.memory_sessions import MemorySessionStore
from procvision_host.builtin.sqlite_sessions import SqliteOptions, parse
from procvision_host.builtin.sqlite_store import SqliteSessionStore
from procvision_sdk.session import SessionStoreError
from procvision_sdk.testing.stores import check_session_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def saved(path: Path, *, ids: int = 1) -> None:
    """A file with sessions in it, all of it in the file and nothing in the log beside it."""
    store = SqliteSessionStore(path)
    for number in range(ids):
        store.load(f"s{number}")
        store.save(f"s{number}", b'{"n":12345678901234567890}')
    store.close()


def test_memory_store_holds() -> None:
    """Alone, since it is one host's."""
    store = MemorySessionStore()
    check_session_store(lambda: store, shared=False)


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_sqlite_store_holds(path: Path, durability: str) -> None:
    """Shared by several."""
    check_session_store(lambda: SqliteSessionStore(path, SqliteOptions(durability=durability)))


class Careless(MemorySessionStore):
    """One store per way of being wrong."""


class FoldsCase(Careless):
    def load(self, session_id: str) -> bytes | None:
        return super().load(session_id.lower())

    def save(self, session_id: str, state: bytes) -> None:
        super().save(session_id.lower(), state)


class Forgets(Careless):
    def save(self, session_id: str, state: bytes) -> None:
        pass


class KeepsDeleted(Careless):
    def delete(self, session_id: str) -> None:
        pass


@pytest.mark.parametrize("wrong", [FoldsCase, Forgets, KeepsDeleted])
def test_a_wrong_store_is_found(wrong: Callable[[], MemorySessionStore]) -> None:
    """The check can fail."""
    store = wrong()
    with pytest.raises(AssertionError):
        check_session_store(lambda: store, shared=False)


def test_a_store_that_loses_updates_is_found() -> None:
    """Two hosts that overwrite each other are what `shared` is about."""
    store = MemorySessionStore()
    with pytest.raises(AssertionError, match="refused"):
        check_session_store(lambda: store, shared=True)


def test_a_session_expires(path: Path) -> None:
    """And can be begun again by the same id."""
    now = [1000.0]
    store = SqliteSessionStore(path, SqliteOptions(ttl_s=10), clock=lambda: now[0])
    store.load("s")
    store.save("s", b'{"n":1}')
    now[0] += 9
    assert store.load("s") == b'{"n":1}'
    now[0] += 2
    assert store.load("s") is None
    store.save("s", b'{"n":2}')
    assert store.load("s") == b'{"n":2}'
    store.close()


def test_expired_sessions_leave_the_file(path: Path) -> None:
    """Forgotten inspections don't fill the disk."""
    saved(path, ids=5)
    store = SqliteSessionStore(path, SqliteOptions(ttl_s=10), clock=lambda: 1e12)
    store.load("new")
    store.save("new", b"{}")
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("new",)]
    connection.close()


def test_a_damaged_state_is_an_error(path: Path) -> None:
    """One wrong byte of it, at the level of the file."""
    saved(path)
    data = path.read_bytes()
    assert data.count(b"12345678901234567890") == 1
    path.write_bytes(data.replace(b"12345678901234567890", b"12345678901234567891"))
    store = SqliteSessionStore(path)
    with pytest.raises(SessionStoreError, match="damaged"):
        store.load("s0")
    store.close()


@pytest.mark.parametrize("keep", [0, 1, 100, 4096, 6000])
def test_a_cut_file_is_an_error(path: Path, keep: int) -> None:
    """Never an empty store, wherever it was cut."""
    saved(path, ids=200)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SessionStoreError):
        SqliteSessionStore(path).load("s150")


def test_random_bytes_are_an_error(path: Path) -> None:
    """As is a page of them in the middle."""
    saved(path, ids=200)
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xa5" * 4096
    path.write_bytes(data)
    with pytest.raises(SessionStoreError):
        SqliteSessionStore(path)
    path.write_bytes(b"\xa5" * 10_000)
    with pytest.raises(SessionStoreError, match="no SQLite file"):
        SqliteSessionStore(path)


def test_another_programs_file_is_an_error(path: Path) -> None:
    """Its tables are not ours to add to."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sessions (id, state)")
    connection.close()
    with pytest.raises(SessionStoreError, match="another program"):
        SqliteSessionStore(path)


@pytest.mark.parametrize(("version", "text"), [(0, "an older release"), (99, "a newer release")])
def test_another_releases_file_is_an_error(path: Path, version: int, text: str) -> None:
    """Said with both layouts."""
    saved(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(SessionStoreError, match=text):
        SqliteSessionStore(path)


def test_a_locked_file_is_an_error_that_may_pass(path: Path) -> None:
    """After the time that the option gives it."""
    saved(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    store = SqliteSessionStore(path, SqliteOptions(busy_ms=20))
    assert store.load("s0") is not None
    with pytest.raises(SessionStoreError) as caught:
        store.save("s0", b"{}")
    assert caught.value.retryable
    blocker.execute("ROLLBACK")
    store.save("s0", b"{}")
    store.close()
    blocker.close()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Named with its path."""
    with pytest.raises(SessionStoreError, match="nowhere"):
        SqliteSessionStore(tmp_path / "nowhere" / "s.db")


def test_options_in_the_text_are_stronger_than_the_table() -> None:
    """And are checked like them."""
    table = {"durability": "full", "ttl_s": 5.0, "busy_ms": 7}
    assert parse("sqlite:/a/b.db", table) == (Path("/a/b.db"), SqliteOptions("full", 5.0, 7))
    assert parse("sqlite:b.db?durability=normal&ttl_s=60", table)[1] == SqliteOptions("normal", 60.0, 7)


@pytest.mark.parametrize(
    "text",
    ["sqlite:", "sqlite", "sqlite:a?durability=some", "sqlite:a?colour=red", "sqlite:a?ttl_s=x", "sqlite:a?ttl_s=0"],
)
def test_a_wrong_text_is_an_error(text: str) -> None:
    """Naming what is wrong."""
    with pytest.raises(SessionStoreError):
        parse(text, {})
