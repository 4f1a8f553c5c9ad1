"""The store against a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres_server import PostgresServer, free_port

from procvision_postgres import PostgresSessions
from procvision_postgres.schema import LAYOUT, STEPS
from procvision_postgres.store import PURGE_EVERY, PostgresSessionStore
from procvision_runner import LaunchError, Runner, RunnerOptions
from procvision_sdk.session import SessionStoreError
from procvision_testing import check_hook_plugin, check_session_store, check_survives_kills
from procvision_testing.hook_hosts import host_environment, install_plugged

KILLS = int(os.environ.get("PROCVISION_KILLS", "15"))
"""`nox -s kill` takes 500."""

Execute = Callable[..., list[Any]]


@pytest.fixture
def execute(server: PostgresServer) -> Iterator[Execute]:
    """Somebody else who has hands on the database."""
    with psycopg.connect(server.url, autocommit=True) as connection:

        def run(statement: str, *values: object) -> list[Any]:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def database(server: PostgresServer, execute: Execute) -> Iterator[str]:
    """The URL of an empty database."""
    execute("CREATE DATABASE empty")
    yield server.url.removesuffix("postgres") + "empty"
    execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def store(server: PostgresServer) -> Iterator[PostgresSessionStore]:
    """A store that ends with the test."""
    with closing(PostgresSessionStore(server.url)) as store:
        yield store


def test_the_store_holds(server: PostgresServer, execute: Execute) -> None:
    """What every store must hold to, with a server that is killed."""
    spoil = "UPDATE procvision_sessions SET state = overlay(state PLACING '\\x23' FROM 12) WHERE id = %s"
    check_session_store(
        lambda: PostgresSessionStore(server.url),
        open_expiring=lambda seconds: PostgresSessionStore(server.url, ttl_s=seconds),
        damage=lambda session_id: execute(spoil, session_id.encode()),
        outage=(server.kill, server.start),
    )


def test_a_server_that_was_restarted_between_calls_fails_one_call(
    server: PostgresServer, store: PostgresSessionStore
) -> None:
    """And is connected to again at the next."""
    store.load("s2")
    store.save("s2", b"1")
    server.stop()
    server.start()
    with pytest.raises(SessionStoreError) as caught:
        store.load("s2")
    assert caught.value.retryable
    assert store.load("s2") == b"1"


def test_a_row_that_another_holds_is_an_error_in_time(server: PostgresServer, execute: Execute) -> None:
    """`timeout_s` bounds what a call waits."""
    with closing(PostgresSessionStore(server.url, timeout_s=1)) as store:
        store.load("held")
        store.save("held", b"1")
        with psycopg.connect(server.url) as other:
            other.execute("SELECT * FROM procvision_sessions FOR UPDATE")
            with pytest.raises(SessionStoreError, match="statement timeout") as caught:
                store.save("held", b"2")
        assert caught.value.retryable
        assert store.load("held") == b"1"


def test_expired_sessions_leave_the_table(server: PostgresServer, execute: Execute) -> None:
    """Forgotten inspections don't fill the disk."""
    with closing(PostgresSessionStore(server.url)) as store:
        for number in range(3):
            store.save(f"old{number}", b"{}")
    execute("UPDATE procvision_sessions SET saved_at = now() - interval '2 days'")
    with closing(PostgresSessionStore(server.url)) as store:
        for number in range(PURGE_EVERY + 1):
            store.save("new", b"%d" % number)
        assert execute("SELECT convert_from(id, 'UTF8') FROM procvision_sessions") == [("new",)]
        store.delete("new")


# --- the tables ---------------------------------------------------------------------------------------------


def test_the_tables_are_made_by_whoever_is_first(database: str) -> None:
    """Hosts that start at once take turns."""

    def used(number: int) -> bytes | None:
        with closing(PostgresSessionStore(database)) as store:
            store.load(str(number))
            store.save(str(number), b"{}")
            return store.load(str(number))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(used, range(4))) == [b"{}"] * 4


def test_the_tables_of_an_older_release_are_brought_up_to_date(database: str) -> None:
    """With what is in them."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(STEPS[0].encode())
        connection.execute("INSERT INTO procvision_sessions VALUES ('s', 1, now(), '{}')")
        connection.execute("CREATE TABLE procvision_sessions_layout (layout integer NOT NULL)")
        connection.execute("INSERT INTO procvision_sessions_layout VALUES (1)")
        with closing(PostgresSessionStore(database)) as store:
            assert store.load("s") == b"{}"
        found = connection.execute("SELECT layout FROM procvision_sessions_layout").fetchall()
        assert found == [(LAYOUT,)]


def test_the_tables_of_a_newer_release_are_an_error(database: str) -> None:
    """Said with both layouts."""
    PostgresSessionStore(database).close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE procvision_sessions_layout SET layout = 99")
    with pytest.raises(SessionStoreError, match=f"layout 99, this one has {LAYOUT}"):
        PostgresSessionStore(database)


def test_a_role_that_may_not_create_tables_uses_what_is_there(database: str) -> None:
    """With the rights that the README names."""
    PostgresSessionStore(database).close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE station LOGIN")
        connection.execute("GRANT SELECT ON procvision_sessions_layout TO station")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON procvision_sessions TO station")
        with closing(PostgresSessionStore(database.replace("postgres@", "station@"))) as store:
            store.load("s")
            store.save("s", b"{}")
            store.delete("s")
        connection.execute("DROP OWNED BY station")
        connection.execute("DROP ROLE station")


def test_a_table_of_another_program_is_an_error(database: str) -> None:
    """It is left as it is."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE procvision_sessions (id integer)")
    with pytest.raises(SessionStoreError, match="already exists"):
        PostgresSessionStore(database)


# --- the URL ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://me:secret@127.0.0.1:{port}/x", "refused"),
        ("postgresql://me@127.0.0.1:{port}/x?ttl_s=0", "ttl_s"),
        ("postgresql://me:secret@127.0.0.1:{port}/x?colour=red", "colour"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why(text: str, told: str) -> None:
    """Without the password."""
    with pytest.raises(SessionStoreError, match=told) as caught:
        PostgresSessions()._open(text.format(port=free_port()))
    assert "secret" not in str(caught.value)


def test_options_stand_in_the_url(server: PostgresServer) -> None:
    """Beside libpq's own."""
    store = PostgresSessions()._open(f"{server.url}?ttl_s=60&options=-c%20work_mem%3D77MB")
    assert isinstance(store, PostgresSessionStore)
    with closing(store):
        assert store._ttl_s == 60
        assert store._connected().execute("SHOW work_mem").fetchone() == ("77MB",)


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a busy machine a host takes seconds to start
def test_no_answered_state_is_lost_to_a_kill(server: PostgresServer, tmp_path: Path) -> None:
    """Of the host, at random moments, with two hosts on one database."""
    kills = check_survives_kills(tmp_path, "--sessions", server.url, sessions=KILLS)
    print(kills)
    assert kills.sessions == KILLS


def test_it_holds_to_what_a_host_relies_on(server: PostgresServer) -> None:
    """The SDK's own check, of a host with its sessions here."""
    check_hook_plugin("postgres-sessions", arguments=("--sessions", server.url))


# --- a host's start ---------------------------------------------------------------------------------------------


def _start(folder: Path, url: str) -> LaunchError:
    """The error of a host that doesn't become ready."""
    options = RunnerOptions(
        host_arguments=("--hook", "postgres-sessions", "--sessions", url),
        environment=host_environment(install_plugged(folder, {})),
    )
    with pytest.raises(LaunchError) as caught, Runner("plugged", options=options):
        pass
    return caught.value


@pytest.mark.parametrize("tables", [True, False])
def test_a_host_is_ready_only_if_it_can_save(tmp_path: Path, database: str, execute: Execute, tables: bool) -> None:
    """A database that is read-only, with our tables in it and without; a standby is the same to a client."""
    if tables:
        PostgresSessionStore(database).close()
    execute("ALTER DATABASE empty SET default_transaction_read_only = on")
    error = _start(tmp_path, database)
    assert "read-only transaction" in str(error)
    assert (error.exit_status, error.retryable) == (78, True)


def test_a_role_that_may_only_read_is_told(tmp_path: Path, database: str, execute: Execute) -> None:
    """No time mends that."""
    PostgresSessionStore(database).close()
    with psycopg.connect(database, autocommit=True) as inside:
        inside.execute("CREATE ROLE reader LOGIN")
        inside.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    try:
        error = _start(tmp_path, database.replace("postgres@", "reader@"))
    finally:
        with psycopg.connect(database, autocommit=True) as inside:
            inside.execute("DROP OWNED BY reader")
            inside.execute("DROP ROLE reader")
    assert "permission denied" in str(error)
    assert (error.exit_status, error.retryable) == (78, False)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda url: url.replace("/postgres", "/nowhere"), 78),
        (lambda url: url.replace("postgres@", "nobody-here@"), 78),
        (lambda _: f"postgresql://postgres@127.0.0.1:{free_port()}/postgres", 75),
    ],
)
def test_what_passes_and_what_stays_have_statuses_of_their_own(
    tmp_path: Path, server: PostgresServer, change: Callable[[str], str], status: int
) -> None:
    """A database or a role that isn't there, and a server that isn't."""
    error = _start(tmp_path, change(server.url))
    assert (error.exit_status, error.retryable) == (status, status == 75)
