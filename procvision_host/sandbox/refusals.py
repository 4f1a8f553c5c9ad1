"""Gives refusals a name: which need a vendor's code ran into, when isolation refused it something.

The kernel says "permission denied" and no more. An exception of Python's own tells of a file by its name; of a
connection it doesn't tell where to. What a library in C or another program was refused stands in the text of an
exception, if at all: a path in it is held against what this process can open, so that a refusal is told where there is
one, whatever words the library has for it.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from procvision_host.sandbox.amounts import FILE_BYTES
from procvision_host.sandbox.namespaces import SHARED_FILES, SHARED_MEGABYTES, SHARED_MEMORY

if TYPE_CHECKING:
    from procvision_host.sandbox.connections import Broker
    from procvision_host.sandbox.grants import Granted
    from procvision_sdk.manifest.needs import Need

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ANY_NETWORK = (
    "needs the network; hint: declare in manifest.json where to, as in "
    '"needs": {"network:10.0.0.5:502": "what for"}, and have it granted'
)
_PERHAPS = (
    "may have been refused something by isolation strict; hint: with --isolation off it does it then; "
    "`strace -f -Z procvision-host confined --isolation strict COMMAND` lists what is refused: declare that under needs"
)
_REFUSED_WORDS = (
    r"(?i)permission denied|operation not permitted|read-only file system"
    r"|\berrno\W{0,3}(?:1|13|30)\b|\bE(?:ACCES|PERM|ROFS)\b"
)
"""As the C library has them (strerror(3)), and as they are numbered."""
_UNOPENED_WORDS = r"(?i)(?:unable to|can(?:'|no)t|could(?: not|n't)|failed to) (?:open|load|connect)"
_NETWORK_WORDS = r"(?i)socket|connect|network|\bhost\b|\bport\b|resolv|\bTCP\b|\bUDP\b"
_PATHS = r"""'(/[^'\n]+)'|"(/[^"\n]+)"|(?<![\w.~/-])(/(?!/)[^\s'"`<>|*?;,()\[\]{}]+)"""
_MAX_CAUSES = 10
_MAX_NAMED = 3
_MAX_PATHS = 12
_MAX_TEXT = 8192


class Refusals:
    """What was granted to this cell, and what an exception says of what wasn't."""

    def __init__(self, given: Granted, broker: Broker | None = None, *, strict: bool = True) -> None:
        self._given = given
        self._broker = broker
        self._strict = strict
        self.ungranted: Sequence[Need] = ()
        """The needs that the manifest declares and nobody granted."""

    def explained(self, error: BaseException) -> str:
        """Return which need an exception tells of, with a hint; "" where it tells of none."""
        for cause in _causes(error):
            if amount := self._of_an_amount(cause):
                return amount
            if issubclass(type(cause), OSError) and isinstance(cause, OSError) and cause.errno in _REFUSED:
                return self._of_an_os_error(cause)
        if not self._strict:
            return ""  # what isn't isolation's doing is nobody's to grant
        found = (self._of_a_text(text) for cause in _causes(error) for text in _texts(cause))
        return next(filter(None, found), "")

    def _of_an_amount(self, cause: BaseException) -> str:
        """Return which amount an exception says is used up; "" where it says so of none that is bounded here."""
        most, processes = self._given.megabytes, self._given.processes
        # By its type, never by what it says of itself: `isinstance` alone would ask its `__class__`.
        number = cause.errno if issubclass(type(cause), OSError) and isinstance(cause, OSError) else None
        memory = f"needs more memory than {most} MB; hint: declare and grant memory:{most * 2}MB"
        if issubclass(type(cause), MemoryError) or (number == errno.ENOMEM and self._strict):
            return memory
        if _found_no_process(cause):
            if resource.getrlimit(resource.RLIMIT_NPROC)[0] == processes:
                hint = f"hint: declare and grant processes:{processes * 2}"
                return f"needs more processes and threads than {processes}; {hint}"
            # The stacks of threads are memory, too.
            return memory if self._strict and type(cause) is RuntimeError else ""
        if not self._strict:
            return ""
        if number == errno.EMFILE:
            return f"has {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} files open, and may open no more"
        if number == errno.EFBIG:
            return f"needs a file of more than {FILE_BYTES >> 30} GiB, which nobody is granted"
        if number == errno.ENOSPC and os.environ.get("HOME", "").startswith(SHARED_MEMORY):
            text = f"needs more room than the {SHARED_MEGABYTES} MB and {SHARED_FILES} files of its own folder"
            return f"{text}; hint: declare and grant a folder, as in write:/srv/statistics"
        return ""

    def _of_an_os_error(self, error: OSError) -> str:
        named = [error.filename, error.filename2]
        paths = [os.fsdecode(path) for path in named if type(path) in (str, bytes)]
        needs = [need for path in paths if (need := self._of_a_path(path)) is not None]
        if needs:
            return told(needs, self.ungranted)
        if error.errno == errno.EACCES and not paths:
            # What the filter answers to a socket or a connection; nothing else is refused so and without a name.
            return self._of_a_connection()
        return ""

    def _of_a_text(self, text: str) -> str:
        """Return which need a text tells of that was made elsewhere than in Python; "" where it tells of none."""
        import re

        text = text[:_MAX_TEXT]
        saying = [line for line in text.splitlines() if re.search(_REFUSED_WORDS, line)]
        named = _paths(text)
        refused = [path for path in named if _cannot_be_read(path)]
        if not refused:
            # A line that says so names what it is of; the places in the code stand in others.
            refused = [path for path in _paths("\n".join(saying)) if _cannot_be_written(path)]
        needs = [need for path in refused if (need := self._of_a_path(path)) is not None]
        if needs:
            return told(tuple(dict.fromkeys(needs)), self.ungranted)
        if saying and re.search(_NETWORK_WORDS, text):
            return self._of_a_connection()
        unopened = not named and re.search(_UNOPENED_WORDS, text)
        return _PERHAPS if saying or unopened else ""

    def _of_a_connection(self) -> str:
        refused = self._broker.refused() if self._broker is not None else None
        if refused is not None:
            return told([refused], self.ungranted)
        declared = [need for need in self.ungranted if need.kind == "network"]
        return told(declared, self.ungranted) if declared else _ANY_NETWORK

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


def _texts(cause: BaseException) -> Iterator[str]:
    """Yield what an exception says, and what a program had said that it tells of."""
    yield str(cause)
    for name in ("stderr", "stdout"):  # of subprocess.CalledProcessError
        said = getattr(cause, name, None)
        if type(said) is bytes:
            yield said[-_MAX_TEXT:].decode("utf-8", "replace")
        elif type(said) is str:
            yield said[-_MAX_TEXT:]


def _cannot_be_read(path: str) -> bool:
    """Tell whether a file or folder is there, and this process may not open it. Nothing else is opened."""
    return _opens(path, os.O_RDONLY) is False


def _cannot_be_written(path: str) -> bool:
    """Tell whether a file can't be written, none be made at this path, or a device is there, which isn't opened."""
    written = _opens(path, os.O_WRONLY)
    if written is not None:
        return not written
    if path.startswith("/dev/"):
        return os.path.exists(path)
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))  # it has no name, and is gone again
    except (OSError, ValueError) as error:
        return isinstance(error, OSError) and error.errno in _REFUSED
    return False


def _paths(text: str) -> list[str]:
    """Return the absolute paths that a text names, each once."""
    import re

    found = [next(filter(None, groups)).rstrip(".:") for groups in re.findall(_PATHS, text)]
    return list(dict.fromkeys(found))[:_MAX_PATHS]


def _opens(path: str, how: int) -> bool | None:
    """Tell whether a file opens, or a folder to read; None where it is neither, or isn't there."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    if not (stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and how == os.O_RDONLY)):
        return None  # to open a device can set something going
    try:
        os.close(os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return None if error.errno not in _REFUSED else False
    return True


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
