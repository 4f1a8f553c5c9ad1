"""Sessions in an SQLite file: `--sessions sqlite:PATH`. The store itself is `sqlite_store`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.session import SessionStore, SessionStoreError
from procvision_sdk.storetext import parse_store_text

OPTIONS = (
    HookOption(
        "durability",
        str,
        "normal",
        "`normal` survives the death of a process, `full` also a power cut",
        choices=("normal", "full"),
    ),
    HookOption("ttl_s", float, 86_400.0, "a session not saved for so many seconds is over", minimum=0.001),
    HookOption("busy_ms", int, 2000, "how long a call waits for another host's writing", minimum=0),
)


class SqliteSessions:
    """Sessions in a file: `--sessions sqlite:PATH[?durability=full&ttl_s=SECONDS&busy_ms=MILLISECONDS]`."""

    def __init__(self) -> None:
        self._configured: Mapping[str, Any] = {}

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """What the text after `sqlite:` doesn't say."""
        return OPTIONS

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Kept for when the store is made."""
        self._configured = values

    @hookimpl
    def procvision_session_stores(self) -> Mapping[str, Callable[[str], SessionStore]]:
        """The scheme `sqlite`."""
        return {"sqlite": self._open}

    def _open(self, text: str) -> SessionStore:
        # Imported here: most hosts keep their sessions elsewhere.
        from procvision_host.builtin.sqlite_store import SqliteSessionStore

        place, values, others = parse_store_text(text, OPTIONS, self._configured)
        path = place.partition(":")[2]
        if not path:
            raise SessionStoreError("it names no file; hint: --sessions sqlite:/var/lib/procvision/sessions.db")
        if others:
            raise SessionStoreError(f"there is no option {others[0][0]!r}, known are {', '.join(values)}")
        return SqliteSessionStore(Path(path), **values, watched=True)
