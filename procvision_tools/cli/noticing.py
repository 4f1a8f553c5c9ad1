"""What hosts log that is about no call: an operator ought to see it, also where every verdict is OK."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

_HOST_LOGGER = "procvision.host"
"""The host's own: what it warns of, such as that a hook plugin took long, is for its log."""
_ERRORS = frozenset({"error", "critical"})
_NUMBER = re.compile(r"\d+")
MAX_KINDS = 256
"""So many kinds of notices are known to have been shown, those heard last: a line that runs for a year hears texts of
every kind, as where a device's address stands in each."""


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
    """Given each record of hosts that come and go; shows each thing worth a notice once, from `begin` on.

    What hasn't come again while `MAX_KINDS` others came is shown anew.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: dict[str, None] = {}
        self._waiting: deque[str] = deque(maxlen=MAX_KINDS)
        self._show: Callable[[str], None] | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """Look at one."""
        for text in notices([record]):
            with self._lock:
                kind = _NUMBER.sub("", text)
                known = kind in self._told
                self._told.pop(kind, None)
                self._told[kind] = None  # the last of all
                if known:
                    continue
                if len(self._told) > MAX_KINDS:
                    del self._told[next(iter(self._told))]
                show = self._show
                if show is None:
                    self._waiting.append(text)
            if show is not None:
                show(text)

    def begin(self, show: Callable[[str], None]) -> None:
        """Hosts are there: from now on it is shown. Those that couldn't be launched have an error of their own."""
        with self._lock:
            self._show = show
            waiting = list(self._waiting)
            self._waiting.clear()
        for text in waiting:
            show(text)
