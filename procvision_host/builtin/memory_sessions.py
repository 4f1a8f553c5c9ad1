"""The default store's hook plugin: `--sessions memory`."""

from __future__ import annotations

from procvision_host.builtin.memory_store import MAX_MEGABYTES, MAX_SESSIONS, TTL_S, MemorySessionStore
from procvision_sdk.hookspecs import HookOption
from procvision_sdk.session import SessionStore, SessionStoreError
from procvision_sdk.storeplugin import StorePlugin
from procvision_sdk.storetext import StoreText


class MemorySessions(StorePlugin):
    """Sessions in the host's own memory, the default: `--sessions memory[:?max_sessions=…&max_megabytes=…&ttl_s=…]`."""

    schemes = ("memory",)
    options = (
        HookOption("max_sessions", int, MAX_SESSIONS, "so many sessions are kept", minimum=1),
        HookOption("max_megabytes", float, float(MAX_MEGABYTES), "so much is kept of all together", minimum=0.001),
        HookOption("ttl_s", float, TTL_S, "a session not saved for so many seconds is over", minimum=0.001),
    )

    def open(self, text: StoreText) -> SessionStore:
        """Open a new store. Raises SessionStoreError."""
        if text.others or text.place.rstrip(":") != "memory":
            raise SessionStoreError(f"memory has the options {', '.join(text.values)} alone; hint: memory:?ttl_s=60")
        return MemorySessionStore(**text.values)
