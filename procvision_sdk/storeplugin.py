"""A hook plugin that brings a session store: `StorePlugin`, for those whose options stand in the text or in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.session import SessionStore
from procvision_sdk.storetext import StoreText, parse_store_text


class StorePlugin:
    """`schemes` and `options` are the subclass's, and `open` makes the store."""

    schemes: ClassVar[Sequence[str]]
    options: ClassVar[Sequence[HookOption]]

    def __init__(self) -> None:
        self._configured: Mapping[str, Any] = {}

    def open(self, text: StoreText) -> SessionStore:
        """Return the store that `--sessions` names. Raises SessionStoreError."""
        raise NotImplementedError

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Return what the text may say, and the plugin's table where it doesn't."""
        return self.options

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Kept for when the store is made."""
        self._configured = values

    @hookimpl
    def procvision_session_stores(self) -> Mapping[str, Callable[[str], SessionStore]]:
        """Return every scheme of the plugin's."""
        return dict.fromkeys(self.schemes, self._open)

    def _open(self, text: str) -> SessionStore:
        return self.open(parse_store_text(text, self.options, self._configured))
