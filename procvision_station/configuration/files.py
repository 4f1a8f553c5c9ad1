"""A station's files: where they lie, and what is wrong in them, with line and column."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_station.configuration.checking import MAX_NESTED, Located, Problem, nested_too_deep
from procvision_station.configuration.places import Path as KeyPath
from procvision_station.configuration.places import Place, places_of

STATION_FILE = "station.toml"
RECIPES = "recipes"
DATA = "data"
JOURNALS, PICTURES = "journal", "pictures"
"""Below `data`."""
CHOSEN_FILE = "chosen-recipes.json"
"""Below `data`: a line's recipe that was chosen while it ran."""
MAX_FILE_BYTES = 256 * 1024
"""A file that a person writes has a thousandth of it."""
_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END = " (at end of document)"


class ConfigurationError(ProcVisionError):
    """A station's folder can't be run. `problems` is what is wrong, in the order of files and lines."""

    def __init__(self, problems: list[Located]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class TomlFile:
    """A TOML file, and its problems with their places."""

    def __init__(self, path: Path, name: str, content: bytes | None = None) -> None:
        """Read the file, or take `content` in its place."""
        self.path, self.name, self.content = path, name, content
        self.problems: list[Located] = []
        self.places: Mapping[KeyPath, Place] = {}
        self.version = ""
        self.data: dict[str, Any] | None = self._read()

    def _read(self) -> dict[str, Any] | None:
        content = self.content
        if content is None:
            try:
                with self.path.open("rb") as file:
                    content = file.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                hint = "procvision station new FOLDER makes one" if self.name == STATION_FILE else ""
                self._add(None, f"it can't be read: {error.strerror or error}", hint)
                return None
        if len(content) > MAX_FILE_BYTES:
            hint = "a file that a person writes has some kB"
            self._add(Place(1, 1), f"it has more than {MAX_FILE_BYTES} bytes", hint)
            return None
        self.content = content
        self.version = version_of(content)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            before = content[: error.start]
            place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
            self._add(place, "it is no UTF-8 from here on", "save it as UTF-8")
            return None
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self._add(*_told_by_toml(str(error), text))
            return None
        except (RecursionError, ValueError) as error:  # arrays without an end; a number of thousands of digits
            self._add(Place(1, 1), f"it can't be read: {error}", "what stands there is no configuration")
            return None
        deep = nested_too_deep(data)
        if deep is not None:
            message = f"{deep[0]}: tables and arrays stand in one another more than {MAX_NESTED} times"
            self._add(Place(1, 1), message, "no key has such a value")
            return None
        self.places = places_of(text)
        return data

    def add(self, problem: Problem) -> None:
        """Add a problem at its key, or at the nearest one above it that is written down."""
        path = problem.path
        while path not in self.places and path:
            path = path[:-1]
        self._add(self.places.get(path), problem.message, problem.hint)

    def _add(self, place: Place | None, message: str, hint: str = "") -> None:
        self.problems.append(Located(self.name, place, message, hint))

    def sorted_problems(self) -> list[Located]:
        """Return the problems in the order of the lines."""
        return sorted(self.problems, key=lambda each: each.place or Place(0, 0))


def is_there(path: Path, look: Callable[[Path], bool]) -> bool:
    """Look for a file or a folder; a name that no file can have is not there."""
    try:
        return look(path)
    except (OSError, ValueError):
        return False


def version_of(content: bytes) -> str:
    """Return a recipe's version: the first digits of the SHA-256 of its file."""
    return hashlib.sha256(content).hexdigest()[:12]


def _told_by_toml(message: str, text: str) -> tuple[Place, str, str]:
    match = _AT.search(message)
    if match is not None:
        place = Place(int(match[1]), int(match[2]))
        message = message[: match.start()]
    else:
        place = Place(text.count("\n") + 1, len(text) - text.rfind("\n"))
        message = message.removesuffix(_AT_END)
    return place, f"it is no TOML here: {message[:1].lower()}{message[1:]}", "toml.io has the rules"


def read_chosen(folder: Path) -> dict[str, str]:
    """Return the recipes that lines were given while they ran, by the line's name; station.toml has the others."""
    try:
        return msgspec.json.decode((folder / DATA / CHOSEN_FILE).read_bytes(), type=dict[str, str])
    except (OSError, ValueError):
        return {}
