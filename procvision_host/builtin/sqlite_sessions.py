"""Sessions in an SQLite file: `--sessions sqlite:PATH`. The store itself is `sqlite_store`."""

from __future__ import annotations

from pathlib import Path

from procvision_sdk.hookspecs import HookOption
from procvision_sdk.session import SessionStore, SessionStoreError
from procvision_sdk.storeplugin import StorePlugin
from procvision_sdk.storetext import StoreText


class SqliteSessions(StorePlugin):
    """Sessions in a file: `--sessions sqlite:PATH[?durability=full&ttl_s=SECONDS&busy_ms=MILLISECONDS]`."""

    schemes = ("sqlite",)
    options = (
        HookOption(
            "durability",
            str,
            "normal",
            "`normal` survives the death of a process, by files `PATH-….table` beside it; `full` also a power cut",
            choices=("normal", "full"),
        ),
        HookOption("ttl_s", float, 86_400.0, "a session not saved for so many seconds is over", minimum=0.001),
        HookOption("busy_ms", int, 2000, "how long a call waits for another host's writing", minimum=0),
    )

    def open(self, text: StoreText) -> SessionStore:
        """Open the file. It is made if there is none. Raises SessionStoreError."""
        # Imported here: most hosts keep their sessions elsewhere.
        from procvision_host.builtin.sqlite_store import SqliteSessionStore

        path = text.place.partition(":")[2]
        if not path:
            raise SessionStoreError("it names no file; hint: --sessions sqlite:/var/lib/procvision/sessions.db")
        if text.others:
            raise SessionStoreError(f"there is no option {text.others[0][0]!r}, known are {', '.join(text.values)}")
        return SqliteSessionStore(Path(path), **text.values, watched=True, tabled=True)
