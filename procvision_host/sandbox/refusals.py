"""Gives refusals a name: which need a vendor's code ran into, when isolation refused it something.

The kernel says "permission denied" and no more. An exception of the vendor's tells of a file by its name; of a
connection it doesn't tell where to.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procvision_host.sandbox.connections import Broker
    from procvision_host.sandbox.grants import Granted
    from procvision_sdk.manifest.needs import Need

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ANY_NETWORK = (
    "needs the network; hint: declare in manifest.json where to, as in "
    '"needs": {"network:10.0.0.5:502": "what for"}, and have it granted'
)
_MAX_CAUSES = 10
_MAX_NAMED = 3


class Refusals:
    """What was granted to this cell, and what an exception says of what wasn't."""

    def __init__(self, given: Granted, broker: Broker | None = None) -> None:
        self._given = given
        self._broker = broker
        self.ungranted: Sequence[Need] = ()
        """The needs that the manifest declares and nobody granted."""

    def explained(self, error: BaseException) -> str:
        """Return which need an exception tells of, with a hint; "" where it tells of none."""
        for cause in _causes(error):
            # By its type, never by what it says of itself: `isinstance` alone would ask its `__class__`.
            if issubclass(type(cause), MemoryError):
                most = self._given.megabytes
                return f"needs more memory than {most} MB; hint: declare and grant memory:{most * 2}MB"
            if _found_no_process(cause) and resource.getrlimit(resource.RLIMIT_NPROC)[0] == self._given.processes:
                most = self._given.processes
                text = f"needs more processes and threads than {most}"
                return f"{text}; hint: declare and grant processes:{most * 2}"
            if issubclass(type(cause), OSError) and isinstance(cause, OSError) and cause.errno in _REFUSED:
                return self._of_an_os_error(cause)
        return ""

    def _of_an_os_error(self, error: OSError) -> str:
        named = [error.filename, error.filename2]
        paths = [os.fsdecode(path) for path in named if type(path) in (str, bytes)]
        needs = [need for path in paths if (need := self._of_a_path(path)) is not None]
        if needs:
            return told(needs, self.ungranted)
        if error.errno == errno.EACCES and not paths:
            refused = self._broker.refused() if self._broker is not None else None
            if refused is not None:
                return told([refused], self.ungranted)
            # What the filter answers to a socket or a connection; nothing else is refused so and without a name.
            declared = [need for need in self.ungranted if need.kind == "network"]
            return told(declared, self.ungranted) if declared else _ANY_NETWORK
        return ""

    def _of_a_path(self, path: str) -> Need | None:
        from procvision_sdk.manifest.needs import file_need

        whole = os.path.abspath(path)
        for need in self.ungranted:
            if need.kind in ("read", "write") and (whole == need.path or whole.startswith(f"{need.path}/")):
                return need
            if need.kind == "device" and whole.startswith(need.path.partition("*")[0]):
                return need
        if whole.startswith("/dev/"):
            return file_need("device", whole)
        try:
            os.close(os.open(whole, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except PermissionError:
            there = os.path.exists(whole)
            return file_need("read", whole) if there else file_need("write", os.path.dirname(whole))
        except OSError:
            return file_need("write", os.path.dirname(whole))
        return file_need("write", whole)


def _found_no_process(cause: BaseException) -> bool:
    """Tell whether no process or thread could be started."""
    if issubclass(type(cause), BlockingIOError) and isinstance(cause, BlockingIOError):
        return cause.errno == errno.EAGAIN and cause.filename is None
    return type(cause) is RuntimeError and str(cause) == "can't start new thread"


def told(needs: Sequence[Need], declared: Sequence[Need]) -> str:
    """Return what is needed, and how it is granted."""
    some = needs[:_MAX_NAMED]
    text = f"needs {', '.join(need.told for need in some)}"
    if not all(map(_can_be_granted, some)):
        return f"{text}, which nobody is granted"
    grants = " ".join(f"--grant {need}" for need in some)
    if all(need in declared for need in some):
        return f"{text}, which isn't granted; hint: grant it by {grants}"
    return f"{text}, which its manifest doesn't declare; hint: declare it there under needs, then grant it by {grants}"


def _can_be_granted(need: Need) -> bool:
    from procvision_sdk.manifest.needs import parse_need

    try:
        return parse_need(str(need)) == need
    except ValueError:
        return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_MAX_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
