"""Whether a start needs more of the launched process than a guardian: looked up before the fork, from texts alone.

Warning: imported before the hello.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OPTIONS = ("--hook", "--no-hook", "--config", "--sessions")
_VARIABLES = frozenset(("PROCVISION_HOOKS", "PROCVISION_CONFIG", "PROCVISION_SESSIONS", "PROCVISION_SESSION_KEY"))
_VALUES = "PROCVISION_HOOK_"


def host_half_is_asked_for(arguments: Sequence[str], variables: Iterable[str]) -> bool:
    """Return whether hooks, a store or a configuration are named; otherwise everything there is needs no host half."""
    if any(argument.startswith(_OPTIONS) for argument in arguments):
        return True
    return any(map(is_the_host_halfs, variables))


def is_the_host_halfs(name: str) -> bool:
    """Return whether a variable names hooks or stores, or has a value for them: addresses and passwords among them."""
    return name in _VARIABLES or name.startswith(_VALUES)
