"""What the page and the interface say, by name: a catalogue a language.

English is complete; what another language lacks is English. A catalogue is a TOML file beside this one. A text's name
is the path of its keys; `{name}` in it is filled in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

COMPLETE = "en"
_FOLDER = Path(__file__).parent
_FACT = re.compile(r"\{(\w+)\}")


@frozen
class Texts:
    """The texts of one language."""

    language: str
    entries: Mapping[str, str]

    def __call__(self, name: str, /, **facts: Any) -> str:
        """Return a text with its facts filled in. Raises KeyError for a name that is in no catalogue."""
        # In one pass: braces in a fact, such as a vendor's text, are filled in by nothing.
        return _FACT.sub(lambda found: str(facts.get(found[1], found[0])), self.entries[name])

    def below(self, *prefixes: str) -> dict[str, str]:
        """Return the texts whose names begin with one of these: what a script of the page needs."""
        return {name: text for name, text in self.entries.items() if name.split(".", 1)[0] in prefixes}


def languages() -> list[str]:
    """Return the languages that there is a catalogue of, English first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.toml"))
    return [COMPLETE, *(name for name in found if name != COMPLETE)]


@cache
def texts_of(language: str) -> Texts:
    """Return a language's texts; English ones where there is no such catalogue."""
    entries = dict(_read(COMPLETE))
    if language != COMPLETE and language in languages():
        entries.update(_read(language))
        return Texts(language, entries)
    return Texts(COMPLETE, entries)


def chosen(accepted: str) -> Texts:
    """Return the texts for a browser's `Accept-Language`: the first one in it that there is."""
    known = languages()
    for part in accepted.split(",")[:16]:
        language = part.partition(";")[0].strip().lower()
        for name in (language, language.partition("-")[0]):
            if name in known:
                return texts_of(name)
    return texts_of(COMPLETE)


def _read(language: str) -> Iterator[tuple[str, str]]:
    return _flat(tomllib.loads((_FOLDER / f"{language}.toml").read_text("utf-8")))


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
