"""`Diagnostics`: what is published stays to be looked at, and goes out with the call's answer as well."""

from __future__ import annotations

from typing import Any


class Diagnostics:
    """Takes any value, as the field's does."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self._published: dict[str, Any] = {}

    def publish(self, key: str, value: Any) -> None:
        """Keep `value` under `key`."""
        self.items[key] = self._published[key] = value

    def get(self) -> dict[str, Any]:
        """Everything that was ever published."""
        return dict(self.items)

    def take_published(self) -> dict[str, Any]:
        """What was published since the last take."""
        published, self._published = self._published, {}
        return published
