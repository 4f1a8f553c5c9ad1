"""NAME or NAME@DISTRIBUTION: whose plugin is meant. Pure.

A name that two distributions give is nobody's until the distribution is named: which of them is found first depends
on a search path, and may be a stranger's doing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from procvision_sdk.errors import ProcVisionError

_Plugin = TypeVar("_Plugin")


class AmbiguousNameError(ProcVisionError):
    """Several distributions have a plugin of this name, or the one that was named has none."""


def split(text: str) -> tuple[str, str | None]:
    """Return the name, and the distribution where one is named. Raises ValueError for a text of another form."""
    name, at, distribution = text.partition("@")
    if not name or (at and not distribution):
        raise ValueError(f"{text[:80]!r} is not of the form NAME or NAME@DISTRIBUTION")
    return name, distribution or None


def canonical(distribution: str) -> str:
    """Return a distribution's name as names are compared (packaging.python.org, "Names and normalization")."""
    name = distribution.replace("_", "-").replace(".", "-").lower()
    while "--" in name:
        name = name.replace("--", "-")
    return name


def of_one_distribution(
    what: str, rivals: Sequence[_Plugin], distribution_of: Callable[[_Plugin], str | None], meant: str | None
) -> list[_Plugin]:
    """Return the plugins of one name that are of one distribution: of the one that is meant, where one was named.

    `what` names the plugin for the error. Raises AmbiguousNameError.
    """
    by_distribution: dict[str, list[_Plugin]] = {}
    shown: dict[str, str] = {}
    for rival in rivals:
        name = distribution_of(rival) or "?"
        shown.setdefault(canonical(name), name)
        by_distribution.setdefault(canonical(name), []).append(rival)
    there = " and ".join(shown.values())
    if meant is not None:
        if canonical(meant) not in by_distribution:
            raise AmbiguousNameError(f"{what} is not of the distribution {meant!r}: it is of {there}")
        return by_distribution[canonical(meant)]
    if len(by_distribution) > 1:
        raise AmbiguousNameError(
            f"{what} is in the distributions {there}; hint: uninstall all but one, or name the one that is meant: "
            f"NAME@{next(iter(shown.values()))}"
        )
    return list(rivals)
