"""A message and its hint."""

from __future__ import annotations

from procvision_tools.hints import split_hint


def test_a_message_and_its_hint_are_told_apart():
    """Both ways in which errors are written: on the same line, and on a line of its own."""
    assert split_hint("a; hint: b") == ("a", "b")
    assert split_hint("a\nb\nhint: c\nd") == ("a\nb", "c\nd")
    assert split_hint("a\nhint: b\nc\nhint: d") == ("a\nhint: b\nc", "d")
    assert split_hint("no hint here") == ("no hint here", "")
