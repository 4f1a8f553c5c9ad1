"""The hook plugin: the schemes and the options. The store itself is `store`, imported when it is asked for."""

from __future__ import annotations

from urllib.parse import urlencode

from procvision_sdk.hookspecs import HookOption
from procvision_sdk.session import SessionStore
from procvision_sdk.storeplugin import StorePlugin
from procvision_sdk.storetext import StoreText

DRIVERS_SCHEMES = {"redis": "redis", "rediss": "rediss", "redis+unix": "unix"}
"""Ours, and redis-py's: plain, over TLS, and over a socket of this machine."""


class RedisSessions(StorePlugin):
    """Sessions in Redis: `--sessions redis://HOST:PORT/DB[?ttl_s=…&prefix=…&timeout_s=…]`, `rediss:`, `redis+unix:`."""

    schemes = tuple(DRIVERS_SCHEMES)
    options = (
        HookOption("ttl_s", float, 86_400.0, "a session not saved for so many seconds is over", minimum=0.001),
        HookOption("prefix", str, "procvision:session:", "what stands before the session's id in a key"),
        HookOption("timeout_s", float, 2.0, "how long a call waits for Redis, to connect and to answer", minimum=0.001),
    )

    def open(self, text: StoreText) -> SessionStore:
        """What is no option of ours is redis-py's own, such as `db` or `ssl_ca_certs`."""
        from procvision_redis.store import RedisSessionStore

        scheme, colon, rest = text.place.partition(":")
        query = f"?{urlencode(text.others)}" if text.others else ""
        return RedisSessionStore(f"{DRIVERS_SCHEMES[scheme]}{colon}{rest}{query}", **text.values)
