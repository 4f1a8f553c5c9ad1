"""What is noticed of hosts' logs: each kind once, in bounded memory however long a line runs."""

from __future__ import annotations

from typing import Any

from procvision_tools.cli.noticing import MAX_KINDS, Noticing


def warning(text: str) -> dict[str, Any]:
    return {"level": "warning", "message": text, "logger": "vendor"}


def word(number: int) -> str:
    """Without a digit, by which kinds aren't told apart."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_a_kind_is_shown_once_whatever_numbers_are_in_it() -> None:
    shown: list[str] = []
    noticing = Noticing()
    noticing.begin(shown.append)
    for degrees in range(3):
        noticing.take(warning(f"lamp at {degrees} degrees"))
    assert shown == ["warning: lamp at 0 degrees"]


def test_what_came_before_the_beginning_is_shown_then() -> None:
    shown: list[str] = []
    noticing = Noticing()
    noticing.take(warning("early"))
    assert shown == []
    noticing.begin(shown.append)
    assert shown == ["warning: early"]


def test_what_keeps_coming_is_known_and_what_was_long_ago_is_forgotten() -> None:
    """Of kinds without an end as many are kept as there is room for, those heard last."""
    shown: list[str] = []
    noticing = Noticing()
    noticing.begin(shown.append)
    noticing.take(warning("once"))
    for number in range(3 * MAX_KINDS):
        noticing.take(warning("steady"))
        noticing.take(warning(word(number)))
    noticing.take(warning("once"))
    assert shown.count("warning: steady") == 1
    assert shown.count("warning: once") == 2
    assert len(shown) == 3 * MAX_KINDS + 3
    assert len(noticing._told) == MAX_KINDS


def test_what_waits_for_the_beginning_is_bounded_too() -> None:
    """The last are kept."""
    shown: list[str] = []
    noticing = Noticing()
    for number in range(3 * MAX_KINDS):
        noticing.take(warning(word(number)))
    noticing.begin(shown.append)
    assert len(shown) == MAX_KINDS
    assert shown[-1] == f"warning: {word(3 * MAX_KINDS - 1)}"
