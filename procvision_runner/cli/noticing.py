"""What hosts log that is about no call: an operator ought to see it, also where every verdict is OK."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

_HOST_LOGGER = "procvision.host"
"""The host's own: what it warns of, such as that a hook plugin took long, is for its log."""
_ERRORS = frozenset({"error", "critical"})
_NUMBER = re.compile(r"\d+")


def notices(records: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Give warnings and errors that belong to no session and no call, each once whatever numbers stand in it."""
    found: dict[str, str] = {}
    for record in records:
        level, text = record.get("level"), f"{record.get('level')}: {record.get('message', '')}"
        notable = level in _ERRORS or (level == "warning" and record.get("logger") != _HOST_LOGGER)
        if notable and not record.get("session_id") and not record.get("request_id"):
            found.setdefault(_NUMBER.sub("", text), text)
    return tuple(found.values())


class Noticing:
    """Given each record of hosts that come and go; shows what is to be noticed once, from `begin` on."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: set[str] = set()
        self._waiting: list[str] = []
        self._show: Callable[[str], None] | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """Look at one."""
        for text in notices([record]):
            with self._lock:
                kind = _NUMBER.sub("", text)
                if kind in self._told:
                    continue
                self._told.add(kind)
                show = self._show
                if show is None:
                    self._waiting.append(text)
            if show is not None:
                show(text)

    def begin(self, show: Callable[[str], None]) -> None:
        """Hosts are there: from now on it is shown. Those that couldn't be launched have an error of their own."""
        with self._lock:
            self._show = show
            waiting, self._waiting = self._waiting, []
        for text in waiting:
            show(text)
