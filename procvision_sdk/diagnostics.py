"""What an algorithm tells of itself: figures that go out with the answer, under `data.debug`."""

from __future__ import annotations

from typing import Any

from procvision_sdk.plain import plain


class Diagnostics:
    """Collects what is published during one call; the host takes it when the call ends."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def publish(self, name: str, value: Any) -> None:
        """Put `value` under `name` into the answer's `data.debug`; a later value of the same name replaces it.

        Raises ValueError for what JSON can't carry (an array, NaN, bytes): nothing is stored then.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"a diagnostic's name is a non-empty string, this is {name!r:.80}")
        self._values[name] = plain(value, name)

    def take(self) -> dict[str, Any]:
        """Return what was published since the last take."""
        values, self._values = self._values, {}
        return values
