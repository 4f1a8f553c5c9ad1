"""What the text after `--sessions` says, and what of it may be shown."""

from __future__ import annotations

import pytest

from procvision_sdk.hookspecs import HookOption
from procvision_sdk.session import SessionStoreError
from procvision_sdk.storetext import parse_store_text, shown

OPTIONS = (
    HookOption("ttl_s", float, 60.0, minimum=0.001),
    HookOption("mode", str, "soft", choices=("soft", "hard")),
    HookOption("tries", int, 3),
)


def test_the_text_is_stronger_than_the_table_and_that_than_the_defaults() -> None:
    """Option by option; what no option knows is handed on in its order."""
    found = parse_store_text("x://h/1?mode=hard&b=%202&a=", OPTIONS, {"tries": 5, "mode": "soft"})
    assert found.place == "x://h/1"
    assert found.values == {"ttl_s": 60.0, "mode": "hard", "tries": 5}
    assert found.others == [("b", " 2"), ("a", "")]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("ttl_s=0", "at least 0.001"),
        ("ttl_s=inf", "finite"),
        ("ttl_s=soon", "ttl_s"),
        ("mode=firm", "soft, hard"),
        ("tries=1.5", "tries"),
    ],
)
def test_a_wrong_value_is_named(query: str, told: str) -> None:
    """With its key and its place, without the password."""
    with pytest.raises(SessionStoreError, match=told) as caught:
        parse_store_text(f"x://me:secret@h/1?{query}", OPTIONS, {})
    assert "x://me:***@h/1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("memory", "memory"),
        ("sqlite:/var/lib/s.db?ttl_s=3", "sqlite:/var/lib/s.db"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("postgresql://me:secret@h/d?password=secret", "postgresql://me:***@h/d"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("redis://me:secret@[h/0", "redis:…"),
    ],
)
def test_a_password_is_never_shown(text: str, seen: str) -> None:
    """Nor is the query, which may hold one."""
    assert shown(text) == seen
