"""Where a TOML file's keys and values stand. `tomllib` reads a file and forgets it; a person wants line and column.

The text has been read by `tomllib` before, so it is known to be TOML: only its outline is followed here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import TypeAlias

from attrs import frozen

Path: TypeAlias = tuple[str | int, ...]
"""Keys, and places in arrays."""

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    "|".join(
        (
            r'"""(?:[^\\]|\\.)*?"{3,5}',
            r"'''.*?'{3,5}",
            r'"(?:[^"\\\n]|\\.)*"',
            r"'[^'\n]*'",
        )
    ),
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]*")


@frozen(order=True)
class Place:
    """Line and column, both from 1 on."""

    line: int
    column: int


def places_of(text: str) -> Mapping[Path, Place]:
    """Return where each key of a TOML text stands, or each item of an array. The text is valid."""
    return _Outline(text).places


class _Outline:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self.places: dict[Path, Place] = {(): Place(1, 1)}
        self._counts: dict[Path, int] = {}
        self._follow()

    def _follow(self) -> None:
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            begin = self._at
            if self._text.startswith("[[", begin):
                self._at += 2
                table = self._resolved(self._key())
                self._counts[table] = self._counts.get(table, -1) + 1
                self._note(table, begin)
                table = (*table, self._counts[table])
                self._note(table, begin)
                self._at += 2
            elif self._text[begin] == "[":
                self._at += 1
                table = self._resolved(self._key())
                self._note(table, begin)
                self._at += 1
            else:
                self._pair(table)

    def _resolved(self, key: tuple[str, ...]) -> Path:
        """Return the path of a table: what is in an array of tables is in its last item so far."""
        path: Path = ()
        for place, part in enumerate(key):
            path = (*path, part)
            if path in self._counts and place < len(key) - 1:
                path = (*path, self._counts[path])
        return path

    def _pair(self, table: Path) -> None:
        begin = self._at
        path = (*table, *self._key())
        for length in range(len(table) + 1, len(path) + 1):
            self._note(path[:length], begin)
        self._skip(_SPACE)
        self._at += 1  # the sign =
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(_SPACE)
            string = _STRING.match(self._text, self._at)
            if string is not None:
                parts.append(str(tomllib.loads(f"k = {string[0]}")["k"]))
                self._at = string.end()
            else:
                bare = _BARE_KEY.match(self._text, self._at)
                assert bare is not None
                parts.append(bare[0])
                self._at = bare.end()
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._items(path)
        elif first == "{":
            self._inline(path)
        else:
            string = _STRING.match(self._text, self._at)
            self._at = string.end() if string is not None else self._skip(_PLAIN)

    def _items(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._text[self._skip(_BLANK)] != "]":
            self._note((*path, number), self._at)
            self._value((*path, number))
            number += 1
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip(_BLANK)] != "}":
            self._pair(path)
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _skip(self, what: re.Pattern[str]) -> int:
        match = what.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return self._at

    def _note(self, path: Path, at: int) -> None:
        if path not in self.places:
            line = self._text.count("\n", 0, at) + 1
            self.places[path] = Place(line, at - self._text.rfind("\n", 0, at))
