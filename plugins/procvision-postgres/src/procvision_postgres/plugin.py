"""The hook plugin: the schemes and the options. The store itself is `store`, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.session import SessionStore
from procvision_sdk.storetext import parse_store_text

SCHEMES = ("postgresql", "postgres")
OPTIONS = (
    HookOption("ttl_s", float, 86_400.0, "a session not saved for so many seconds is over", minimum=0.001),
    HookOption("timeout_s", float, 2.0, "how long a call waits for PostgreSQL, to connect and to answer", minimum=1),
)


class PostgresSessions:
    """Sessions in PostgreSQL: `--sessions postgresql://USER@HOST/DATABASE[?ttl_s=…&timeout_s=…]`."""

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
        """The schemes of PostgreSQL's URLs."""
        return dict.fromkeys(SCHEMES, self._open)

    def _open(self, text: str) -> SessionStore:
        from procvision_postgres.store import PostgresSessionStore

        place, values, others = parse_store_text(text, OPTIONS, self._configured)
        # What is no option of ours is libpq's own, such as `sslmode`. It takes %20 for a space, not a plus.
        query = f"?{urlencode(others, quote_via=quote)}" if others else ""
        return PostgresSessionStore(f"{place}{query}", **values)
