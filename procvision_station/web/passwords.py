"""What a password has to be, how one is made up, and how long to wait after wrong ones. Nothing is kept here."""

from __future__ import annotations

import secrets
import string

MIN_PASSWORD, MAX_PASSWORD = 10, 256
"""NIST SP 800-63B asks for 8 and more, and for no rules about letters; argon2 takes any length, a server doesn't."""
FREE_TRIES = 4
"""Attempts by name that cost no waiting; from an address, where many users may be, five times as many."""
MAX_LOCK_S = 300
"""Each further attempt doubles the waiting up to this: 288 attempts a day, and who is locked out gets in soon."""
FORGET_TRIES_S = 3600
_ALPHABET = string.ascii_lowercase.replace("l", "").replace("o", "") + "23456789"
"""Of one-time passwords: no letters that look like others."""


def lock_seconds(attempts: int, free: int = FREE_TRIES) -> float:
    """Return how long to wait after so many attempts that failed."""
    return 0.0 if attempts < free else float(min(2 ** min(attempts - free, 20), MAX_LOCK_S))


def password_problem(password: str, name: str) -> str | None:
    """Return the text's name that tells what is wrong with a new password; None where it is good."""
    if len(password) < MIN_PASSWORD:
        return "password.short"
    if len(password) > MAX_PASSWORD:
        return "password.long"
    if len(set(password)) < 5 or name.casefold() in password.casefold():
        return "password.guessable"
    return None


def one_time_password() -> str:
    """Return 80 bits as four groups of letters and digits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))
    return "-".join(groups)
