"""Secrets are left out of what is shown or kept: command lines, addresses, errors, events, crash reports.

What counts as a secret: the password in an address (``redis://user:PASSWORD@host``), and the value of a name that says
it is one (``password=…``, ``--hook-option mqtt.password=…``, ``"api_key": "…"``, ``AWS_SECRET_ACCESS_KEY=…``). Where
nothing tells that a text is a secret, it stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
_ADDRESS = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^\s:/@\"']*:)[^\s\"']+(?=@)")
"""To the last `@` of the word: a password may hold one, and a `/`, where nobody escaped it."""
_NAME = r"[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|(?:api|access|private)[_-]?key)[\w-]*"
_IS_SECRET = re.compile(_NAME, re.IGNORECASE)
_VALUE = r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s&;,\"']+)"
_ASSIGNED = re.compile(rf"(?P<before>{_NAME}[\"']?\s?=\s?){_VALUE}", re.IGNORECASE)
_IN_JSON = re.compile(rf"(?P<before>[\"']{_NAME}[\"']\s*:\s*){_VALUE}", re.IGNORECASE)
_OPTION = re.compile(rf"(?P<before>--{_NAME}\s+)(?!-){_VALUE}", re.IGNORECASE)


def masked(text: str) -> str:
    """Return a text with `MASK` in the place of each secret."""
    for pattern in (_ADDRESS, _ASSIGNED, _IN_JSON, _OPTION):
        text = pattern.sub(_replaced, text)
    return text


def _replaced(found: re.Match[str]) -> str:
    value = found[0][len(found["before"]) :]
    quote = value[0] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else ""
    return f"{found['before']}{quote}{MASK}{quote}"


def masked_value(value: Any) -> Any:
    """Return a JSON value with `MASK` in the place of each secret, at any depth. Keys say what a secret is, too."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(inner, str) and _IS_SECRET.fullmatch(str(key)) else masked_value(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked_value(inner) for inner in value]
    return value


def masked_command(words: Iterable[str]) -> list[str]:
    """Return a command line's words with `MASK` in the place of each secret, also of one that is a word of its own."""
    shown: list[str] = []
    for word in words:
        whole = masked(word)
        before = shown[-1] if shown else ""
        named = masked(f"{before} {word}") if before.startswith("--") and "=" not in before else ""
        shown.append(MASK if named == f"{before} {MASK}" else whole)
    return shown
