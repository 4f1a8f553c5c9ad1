"""Which hook plugins are named, and by what."""

from __future__ import annotations

import pytest

from procvision_host.hooks.selection import HookChoice, choose

INSTALLED = ("redis-sessions", "postgres-sessions", "red-sessions", "mqtt", "-sessions", "sessions")


@pytest.mark.parametrize(
    ("scheme", "named"),
    [
        ("redis", {"redis-sessions"}),
        ("rediss", {"redis-sessions"}),
        ("redis+unix", {"redis-sessions"}),
        ("postgres", {"postgres-sessions"}),
        ("postgresql", {"postgres-sessions"}),
        ("red", set()),
        ("mqtt", set()),
        ("memory", set()),
        ("", set()),
    ],
)
def test_a_session_stores_scheme_names_its_plugin(scheme: str, named: set[str]) -> None:
    """Of ours; another store's plugin is named by `--hook`, whatever it is called."""
    choice = choose(store=scheme).naming_the_store(INSTALLED)
    assert set(choice.wanted) == named
    assert set(choice.wanted.values()) <= {"--sessions"}


def test_a_scheme_of_ours_is_of_our_distribution() -> None:
    """A stranger's package may call its plugin as it likes, also so that it fits better or is found first."""
    strangers = ("redis+unix-sessions", "rediss-sessions", "redis-sessions")
    for scheme in ("redis", "rediss", "redis+unix"):
        choice = choose(store=scheme).naming_the_store(strangers)
        assert choice.wanted == {"redis-sessions": "--sessions"}
        assert choice.distributions == {"redis-sessions": "procvision-redis"}
    assert choose(store="rediss").naming_the_store(strangers[:2]).wanted == {}


def test_what_was_said_of_the_plugin_stays() -> None:
    """A refusal, and the distribution that was named."""
    refused = choose(store="redis", no_hook=("redis-sessions",)).naming_the_store(INSTALLED)
    assert "redis-sessions" not in refused.wanted
    named = choose(store="redis", hook=("redis-sessions@procvision-redis",)).naming_the_store(INSTALLED)
    assert named.wanted == {"redis-sessions": "--hook"}
    assert named.distributions == {"redis-sessions": "procvision-redis"}


def test_a_store_of_no_installed_plugin_names_none() -> None:
    """The store's own error says what is known."""
    assert HookChoice(store="redis").naming_the_store(()).wanted == {}
