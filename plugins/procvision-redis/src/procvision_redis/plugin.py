"""The hook plugin: the schemes and the options. The store itself is `store`, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.session import SessionStore
from procvision_sdk.storetext import parse_store_text

SCHEMES = {"redis": "redis", "rediss": "rediss", "redis+unix": "unix"}
"""Ours, and redis-py's: plain, over TLS, and over a socket of this machine."""
OPTIONS = (
    HookOption("ttl_s", float, 86_400.0, "a session not saved for so many seconds is over", minimum=0.001),
    HookOption("prefix", str, "procvision:session:", "what stands before the session's id in a key"),
    HookOption("timeout_s", float, 2.0, "how long a call waits for Redis, to connect and to answer", minimum=0.001),
)


class RedisSessions:
    """Sessions in Redis: `--sessions redis://HOST:PORT/DB[?ttl_s=…&prefix=…&timeout_s=…]`, `rediss:`, `redis+unix:`."""

    def __init__(self) -> None:
        self._configured: Mapping[str, Any] = {}

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """What the URL doesn't say."""
        return OPTIONS

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Kept for when the store is made."""
        self._configured = values

    @hookimpl
    def procvision_session_stores(self) -> Mapping[str, Callable[[str], SessionStore]]:
        """The schemes of Redis' URLs."""
        return dict.fromkeys(SCHEMES, self._open)

    def _open(self, text: str) -> SessionStore:
        from procvision_redis.store import RedisSessionStore

        place, values, others = parse_store_text(text, OPTIONS, self._configured)
        scheme, colon, rest = place.partition(":")
        # What is no option of ours is redis-py's own, such as `db` or `ssl_ca_certs`.
        query = f"?{urlencode(others)}" if others else ""
        return RedisSessionStore(f"{SCHEMES[scheme]}{colon}{rest}{query}", **values)
