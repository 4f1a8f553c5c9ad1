"""The store: one key a session, compared and set by a script that runs inside of Redis.

A value is a stamp of eight bytes, drawn anew at every save, and the state. A `save` counts only where the stamp is
still the one that was loaded, or already its own: redis-py sends a command once more where the connection broke, and
what was done the first time is then no conflict. The time to live is Redis' own, on Redis' clock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from procvision_sdk.session import ReadOnlyStoreError, SessionInUseError, SessionStoreError
from procvision_sdk.storetext import shown

STAMP_BYTES = 8
_SAVE = """
local now = redis.call('GETRANGE', KEYS[1], 0, 7)
if now ~= ARGV[1] and now ~= string.sub(ARGV[2], 1, 8) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
"""Failures that may be over when the call is made again: a restart, a failover."""
_LASTING = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
"""Those that redis-py counts as broken connections, and that no time mends."""
_READ_ONLY = (redis.exceptions.ReadOnlyError, redis.exceptions.OutOfMemoryError)
_READ_ONLY_WORDS = ("MISCONF", "NOREPLICAS")
"""What Redis says while it can't write to its disk, or has too few replicas."""

_log = logging.getLogger("procvision_redis")

T = TypeVar("T")


class RedisSessionStore:
    """A store in one Redis. Raises SessionStoreError for whatever keeps it from answering.

    After a failure the next call connects anew.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: float = 86_400.0,
        prefix: str = "procvision:session:",
        timeout_s: float = 2.0,
    ) -> None:
        self._shown = shown(url)
        self._prefix = prefix.encode()
        self._ttl_ms = max(1, int(ttl_s * 1000))
        self._loaded: tuple[str, bytes] = ("", b"")
        """The session that was loaded last, and its stamp."""
        try:
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                # Once more at once where a connection broke: Redis may have been restarted since the last call.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except (ValueError, TypeError) as error:
            raise SessionStoreError(f"{self._shown}: {error}") from error
        self._save = self._client.register_script(_SAVE)
        try:
            self._check_server()
        except SessionStoreError:
            self.close()
            raise

    def load(self, session_id: str) -> bytes | None:
        """The state last saved by any host, unless Redis has let it expire."""
        value = self._do(lambda: self._client.get(self._key(session_id)))
        if value is None:
            self._loaded = (session_id, b"")
            return None
        if len(value) < STAMP_BYTES:
            raise SessionStoreError(f"{self._shown}: the session {session_id[:80]!r} is damaged: {len(value)} bytes")
        self._loaded = (session_id, value[:STAMP_BYTES])
        state: bytes = value[STAMP_BYTES:]
        return state

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state. Raises SessionInUseError if another host changed or ended the session since `load`."""
        loaded, known = self._loaded
        stamp = os.urandom(STAMP_BYTES)
        arguments = (known if loaded == session_id else b"", stamp + state, self._ttl_ms)
        if not self._do(lambda: self._save(keys=(self._key(session_id),), args=arguments)):
            raise SessionInUseError(session_id)
        self._loaded = (session_id, stamp)

    def delete(self, session_id: str) -> None:
        """Forget the id, in every host that knows it."""
        self._do(lambda: self._client.delete(self._key(session_id)))
        self._loaded = (session_id, b"")

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(redis.RedisError, OSError):
            self._client.close()

    def _key(self, session_id: str) -> bytes:
        return self._prefix + session_id.encode("utf-8", "surrogatepass")

    def _do(self, command: Callable[[], T]) -> T:
        try:
            return command()
        except (redis.RedisError, OSError) as error:
            told = f"{self._shown}: {error}"
            if isinstance(error, _READ_ONLY) or str(error).startswith(_READ_ONLY_WORDS):
                raise ReadOnlyStoreError(told) from error
            raise SessionStoreError(told, retryable=_passes(error)) from error

    def _check_server(self) -> None:
        """Refuses a Redis that puts sessions out on its own, and names one that forgets them when it restarts."""
        try:
            told = self._do(self._client.info)
        except SessionStoreError as error:
            if isinstance(error.__cause__, redis.ResponseError) and not isinstance(
                error.__cause__, redis.AuthenticationError
            ):
                _log.warning("%s: whether it keeps what it is given can't be seen: %s", self._shown, error.__cause__)
                return
            raise
        policy = told.get("maxmemory_policy", "noeviction")
        if told.get("maxmemory", 0) and policy != "noeviction":
            raise SessionStoreError(
                f"{self._shown}: its maxmemory-policy is {policy}: it would put sessions out on its own, and a session "
                "that was put out looks like a new one; hint: CONFIG SET maxmemory-policy noeviction"
            )
        if not told.get("aof_enabled", 0):
            _log.warning(
                "%s writes no append-only file: sessions outlive the hosts, but not a restart of Redis; "
                "hint: appendonly yes", self._shown,
            )  # fmt: skip


def _passes(error: Exception) -> bool:
    if isinstance(error, _LASTING) or _certificate_refused(error):
        return False
    return isinstance(error, _PASSING)


def _certificate_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
