"""The hook plugin: the schemes and the options. The store itself is `store`, imported when it is asked for."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from procvision_sdk.hookspecs import HookOption
from procvision_sdk.session import SessionStore
from procvision_sdk.storeplugin import StorePlugin
from procvision_sdk.storetext import StoreText


class PostgresSessions(StorePlugin):
    """Sessions in PostgreSQL: `--sessions postgresql://USER@HOST/DATABASE[?ttl_s=…&timeout_s=…]`."""

    schemes = ("postgresql", "postgres")
    options = (
        HookOption("ttl_s", float, 86_400.0, "a session not saved for so many seconds is over", minimum=0.001),
        HookOption(
            "timeout_s", float, 2.0, "how long a call waits for PostgreSQL, to connect and to answer", minimum=1
        ),
    )

    def open(self, text: StoreText) -> SessionStore:
        """What is no option of ours is libpq's own, such as `sslmode`. It takes %20 for a space, not a plus."""
        from procvision_postgres.store import PostgresSessionStore

        query = f"?{urlencode(text.others, quote_via=quote)}" if text.others else ""
        return PostgresSessionStore(f"{text.place}{query}", **text.values)
