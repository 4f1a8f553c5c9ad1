"""The store on an SQLite file: expiry, damage, other releases, and what happens to it while it is used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from procvision_host.builtin.sqlite_sessions import SqliteSessions
from procvision_host.builtin.sqlite_store import SqliteSessionStore
from procvision_sdk.session import SessionInUseError, SessionStoreError


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


def test_a_session_expires(path: Path) -> None:
    """And can be begun again by the same id."""
    now = [1000.0]
    store = SqliteSessionStore(path, ttl_s=10, clock=lambda: now[0])
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
    store = SqliteSessionStore(path, ttl_s=10, clock=lambda: 1e12)
    store.load("new")
    store.save("new", b"{}")
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("new",)]
    connection.close()


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


def test_what_is_no_file_is_an_error_and_not_waited_for(path: Path) -> None:
    """A pipe that nobody writes to would hold the host up at its start."""
    os.mkfifo(path)
    with pytest.raises(SessionStoreError, match="it is no regular file"):
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
    store = SqliteSessionStore(path, busy_ms=20)
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


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_what_sqlite_is_told(path: Path, durability: str, level: int) -> None:
    """`full` waits for the disk at every commit."""
    with closing(SqliteSessionStore(path, durability=durability)) as store:
        assert store._connection is not None
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_after_a_failure_the_file_is_opened_anew(path: Path) -> None:
    """And so checked anew: what a program wrote into it meanwhile is found."""
    saved(path)
    store = SqliteSessionStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE sessions RENAME TO other")
        with pytest.raises(SessionStoreError, match="no such table"):
            store.load("s0")
        connection.execute("ALTER TABLE other RENAME TO sessions")
    assert store.load("s0") is not None
    store.close()


def after_deed(path: Path, deed: str) -> list[str]:
    """What a store says to three savings after an algorithm's deed in the same process, and what it left there."""
    program = f"""
import os, sys
from pathlib import Path
from procvision_host.builtin.sqlite_store import SqliteSessionStore
store = SqliteSessionStore(Path(sys.argv[1]), watched=True)
store.load("s")
store.save("s", b"1")
store.load("s")
{deed}
for value in (b"2", b"3"):
    try:
        store.save("s", value)
        print(value.decode(), store.load("s").decode())
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, cwd=path.parent
    )
    return done.stdout.splitlines()


def test_descriptors_that_an_algorithm_closed_are_mended(path: Path) -> None:
    """No call fails for it."""
    assert after_deed(path, "os.closerange(3, 256)") == ["2 2", "3 3"]
    with closing(SqliteSessionStore(path)) as store:
        assert store.load("s") == b"3"


def test_descriptors_that_an_algorithm_reused_are_left_to_it(path: Path) -> None:
    """Nothing of a session is ever written into a vendor's file, and nothing in the store is lost."""
    deed = "os.closerange(3, 256); files = [open(f'vendor{number}', 'w+b') for number in range(20)]"
    told = after_deed(path, deed)
    assert len(told) == 2
    assert all("their numbers are other files' now" in line for line in told)
    assert {file.stat().st_size for file in path.parent.glob("vendor*")} == {0}
    with closing(SqliteSessionStore(path)) as store:
        assert store.load("s") == b"1"


def test_a_link_to_the_file_is_the_file(path: Path, tmp_path: Path) -> None:
    """SQLite keeps its log beside the file itself, and so do we look for it there."""
    SqliteSessionStore(path).close()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with closing(SqliteSessionStore(link, watched=True)) as store:
        store.load("s")
        store.save("s", b"1")
        assert store._own is not None
    with closing(SqliteSessionStore(path)) as store:
        assert store.load("s") == b"1"


def test_a_file_that_was_removed_under_the_store_is_an_error(path: Path) -> None:
    """What would be written into it nobody would find."""
    told = after_deed(path, "os.unlink(sys.argv[1])")
    assert all("files that were removed" in line for line in told)


def test_the_working_directory_may_change(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file stays where it was named."""
    monkeypatch.chdir(tmp_path)
    with closing(SqliteSessionStore(Path(path.name))) as store:
        monkeypatch.chdir("/")
        store.close()
        store.load("s")
        store.save("s", b"1")
    assert not Path("/", path.name).exists()


def test_a_file_that_went_away_is_not_made_anew_by_a_running_store(path: Path) -> None:
    """An empty one in its place would be a silent loss."""
    store = SqliteSessionStore(path)
    store.close()
    path.unlink()
    with pytest.raises(SessionStoreError, match="can't be read"):
        store.load("s")


def test_what_another_host_wrote_is_always_read(path: Path) -> None:
    """Also where this one has just saved the session itself, and reads it no more while nobody else is there."""
    program = (
        "import sys, sqlite3; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "[c.execute('UPDATE sessions SET stamp = stamp + 1, state = ?', (line.strip().encode(),))"
        " and print('done', flush=True) for line in sys.stdin]"
    )
    with (
        closing(SqliteSessionStore(path, watched=True)) as store,
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdin is not None
        assert other.stdout is not None
        for number in range(20):
            store.load("s")
            store.save("s", b"mine %d" % number)
            assert store._own is not None
            assert store.load("s") == b"mine %d" % number
            if number % 2:
                other.stdin.write(f"other {number}\n")
                other.stdin.flush()
                other.stdout.readline()
                with pytest.raises(SessionInUseError):
                    store.save("s", b"over it")
                assert store.load("s") == b"other %d" % number


def test_a_session_that_was_just_saved_is_not_mixed_up_with_another(path: Path) -> None:
    """Whatever was looked at or deleted in between; and it expires like any other."""
    now = [1000.0]
    with closing(SqliteSessionStore(path, watched=True, ttl_s=10, clock=lambda: now[0])) as store:
        store.load("a")
        store.save("a", b"1")
        store.delete("b")
        assert store.load("b") is None
        assert store.load("a") == b"1"
        store.save("a", b"2")
        assert store.load("b") is None
        assert store.load("a") == b"2"
        now[0] += 11
        assert store.load("a") is None
        store.save("a", b"3")
        store.delete("a")
        assert store.load("a") is None


def test_many_stores_may_make_one_file_at_once(path: Path) -> None:
    """All of them find it whole."""
    program = (
        "import sys; from pathlib import Path; from procvision_host.builtin.sqlite_store import SqliteSessionStore;"
        "s = SqliteSessionStore(Path(sys.argv[1])); s.load(sys.argv[2]); s.save(sys.argv[2], b'1')"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(path), str(number)]) for number in range(5)]
    assert [process.wait(60) for process in started] == [0] * 5
    with closing(SqliteSessionStore(path)) as store:
        assert [store.load(str(number)) for number in range(5)] == [b"1"] * 5
    assert list(path.parent.iterdir()) == [path]


def test_an_expired_session_that_another_host_begins_again_is_in_use(path: Path) -> None:
    """Expired or not, of two that begin it one is first."""
    now = [1000.0]
    first = SqliteSessionStore(path, ttl_s=10, clock=lambda: now[0])
    second = SqliteSessionStore(path, ttl_s=10, clock=lambda: now[0])
    first.load("s")
    first.save("s", b"1")
    now[0] += 11
    assert first.load("s") is second.load("s") is None
    first.save("s", b"2")
    with pytest.raises(SessionInUseError):
        second.save("s", b"3")
    first.close()
    second.close()


def test_options_in_the_text_are_stronger_than_the_table(path: Path) -> None:
    """And are checked like them."""
    plugin = SqliteSessions()
    plugin.procvision_configure({"durability": "full", "ttl_s": 5.0, "busy_ms": 7})
    store = plugin._open(f"sqlite:{path}?ttl_s=60")
    assert isinstance(store, SqliteSessionStore)
    assert (store._durability, store._ttl_ms, store._busy_s) == ("full", 60_000, 0.007)
    store.close()


@pytest.mark.parametrize(
    "text",
    ["sqlite:", "sqlite", "sqlite:a?durability=some", "sqlite:a?colour=red", "sqlite:a?ttl_s=x", "sqlite:a?ttl_s=0"],
)
def test_a_wrong_text_is_an_error(text: str) -> None:
    """Naming what is wrong."""
    with pytest.raises(SessionStoreError):
        SqliteSessions()._open(text)
