"""Whether a start needs more of the launched process than a guardian: looked up before the fork, from texts alone.

Warning: imported before the hello.
"""

from __future__ import annotations

from procvision_sdk.environment import PASS_VARIABLE, is_the_host_halfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OPTIONS = ("--hook", "--no-hook", "--config", "--sessions")


def host_half_is_asked_for(arguments: Sequence[str], variables: Iterable[str]) -> bool:
    """Return whether hooks, a store or a configuration are named; otherwise everything there is needs no host half."""
    if any(argument.startswith(_OPTIONS) for argument in arguments):
        return True
    return any(name != PASS_VARIABLE and is_the_host_halfs(name) for name in variables)
