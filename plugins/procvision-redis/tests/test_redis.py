"""The store against a real Redis."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from redis_server import RedisServer, free_port

from procvision_redis import RedisSessions
from procvision_redis.store import RedisSessionStore
from procvision_sdk.session import SessionStoreError
from procvision_testing import check_hook_plugin, check_session_store, check_survives_kills

KILLS = int(os.environ.get("PROCVISION_KILLS", "15"))
"""`nox -s kill` takes 500."""


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    """Somebody else who has hands on it."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisSessionStore]:
    """A store that ends with the test."""
    with closing(RedisSessionStore(server.url)) as store:
        yield store


def test_the_store_holds(server: RedisServer, client: redis.Redis) -> None:
    """What every store must hold to, with a Redis that is killed; its append-only file keeps what was saved."""
    check_session_store(
        lambda: RedisSessionStore(server.url),
        open_expiring=lambda seconds: RedisSessionStore(server.url, ttl_s=seconds),
        damage=lambda session_id: client.setrange(f"procvision:session:{session_id}", 20, b"#"),
        outage=(server.kill, server.start),
    )


def test_a_value_that_is_none_of_ours_is_an_error(store: RedisSessionStore, client: redis.Redis) -> None:
    """Too short, or of another type."""
    client.set("procvision:session:short", b"abc")
    client.lpush("procvision:session:list", b"abc")
    with pytest.raises(SessionStoreError, match="damaged: 3 bytes"):
        store.load("short")
    with pytest.raises(SessionStoreError, match="WRONGTYPE"):
        store.load("list")


def test_a_connection_that_broke_between_calls_is_made_anew(server: RedisServer, store: RedisSessionStore) -> None:
    """No call fails for a Redis that was restarted while nobody called; its scripts are gone and are sent again."""
    store.load("s2")
    store.save("s2", b"1")
    server.kill()
    server.start()
    store.load("s2")
    store.save("s2", b"2")
    assert store.load("s2") == b"2"


def test_a_redis_that_does_not_answer_is_an_error_in_time(server: RedisServer, client: redis.Redis) -> None:
    """`timeout_s` bounds what a call waits; retryable."""
    with closing(RedisSessionStore(server.url, timeout_s=0.2)) as store:
        client.execute_command("CLIENT", "PAUSE", "1500", "ALL")
        with pytest.raises(SessionStoreError, match=r"(?i)timeout|timed out") as caught:
            store.load("s")
        assert caught.value.retryable
        client.execute_command("CLIENT", "UNPAUSE")


def test_a_redis_that_puts_keys_out_is_refused(tmp_path: Path) -> None:
    """A session that was put out would look like a new one."""
    with (
        RedisServer(tmp_path, "--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru") as server,
        pytest.raises(SessionStoreError, match="its maxmemory-policy is allkeys-lru"),
    ):
        RedisSessionStore(server.url)


def test_a_full_redis_is_an_error(tmp_path: Path) -> None:
    """And what was saved before stays."""
    with (
        RedisServer(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server,
        closing(RedisSessionStore(server.url)) as store,
    ):
        store.load("s")
        store.save("s", b"1")
        with pytest.raises(SessionStoreError, match="used memory > 'maxmemory'"):
            for _ in range(3):
                store.save("big", b"x" * 3_000_000)
        assert store.load("s") == b"1"


def test_a_redis_without_a_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is used: those who keep sessions for the host's restarts alone may want it."""
    with RedisServer(tmp_path, "--appendonly", "no") as server, caplog.at_level(logging.WARNING):
        RedisSessionStore(server.url).close()
    assert "not a restart of Redis" in caplog.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis://:secret@127.0.0.1:{port}/0", "127.0.0.1"),
        ("redis://127.0.0.1:{port}/0?ttl_s=0", "ttl_s"),
        ("redis://127.0.0.1:{port}/0?socket_timeout=soon", "socket_timeout"),
        ("redis+unix:///nowhere/redis.sock", "nowhere"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why(text: str, told: str) -> None:
    """Without the password."""
    with pytest.raises(SessionStoreError, match=told) as caught:
        RedisSessions()._open(text.format(port=free_port()))
    assert "secret" not in str(caught.value)


def test_options_stand_in_the_url(server: RedisServer, client: redis.Redis) -> None:
    """Beside redis-py's own."""
    opened: Callable[[str], object] = RedisSessions()._open
    store = opened(f"{server.url}?prefix=line-4:&ttl_s=60&client_name=station")
    assert isinstance(store, RedisSessionStore)
    with closing(store):
        store.load("s")
        store.save("s", b"{}")
        assert "station" in {one["name"] for one in client.client_list()}
    assert 0 < client.pttl("line-4:s") <= 60_000


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a busy machine a host takes seconds to start
def test_no_answered_state_is_lost_to_a_kill(server: RedisServer, tmp_path: Path) -> None:
    """Of the host, at random moments, with two hosts on one Redis."""
    kills = check_survives_kills(tmp_path, "--sessions", server.url, sessions=KILLS)
    print(kills)
    assert kills.sessions == KILLS


def test_it_holds_to_what_a_host_relies_on(server: RedisServer) -> None:
    """The SDK's own check, of a host with its sessions here."""
    check_hook_plugin("redis-sessions", arguments=("--sessions", server.url))
