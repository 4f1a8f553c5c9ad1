"""Why a host ended, found from what is known of it. Pure: observations come in, a cause comes out."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import attrs

UNKNOWN_STATUS = 256
"""Larger than any exit status: the process has ended, and somebody else has collected how."""


class EndKind(StrEnum):
    """A word for each way in which a host can end."""

    EXITED = "exited"
    """By itself, with an exit status."""
    CRASHED = "crashed"
    """By a signal that was not the runner's."""
    OUT_OF_MEMORY = "out_of_memory"
    """By the kernel's hand, by its own last words, or because its tree took more than it may."""
    TIMEOUT = "timeout"
    """Ended: a call was not over in its time, nor in its grace."""
    UNRESPONSIVE = "unresponsive"
    """Ended: as many pongs were missed as are allowed."""
    PROTOCOL_VIOLATION = "protocol_violation"
    """Ended: its frames can't be followed any more."""
    NOT_READING = "not_reading"
    """Ended: it didn't take a call from its stdin in the call's time."""
    STOPPED = "stopped"
    """By the runner, on purpose: a stop, a swap, or a replacement."""


@attrs.frozen
class HostEnd:
    """How a host ended. `text` continues "the host …"; `exit_status` is negative for a signal, `UNKNOWN_STATUS` if
    somebody else has collected it, None if it still ran."""

    kind: EndKind
    text: str
    exit_status: int | None = None

    @property
    def signal(self) -> str | None:
        """The signal's name, where it was one that ended the process, or one that the status stands for."""
        number = ending_signal(self.exit_status)
        return signal_name(-number) if number is not None else None


_CRASHES = frozenset(
    (
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGKILL,
        signal.SIGSEGV,
        signal.SIGXCPU,
        signal.SIGSYS,
    )
)
_SHELLS_SIGNALS = 128
"""Shells, sandboxes and containers give this and the signal's number as the status of what it ended."""


def ending_signal(exit_status: int | None) -> int | None:
    """Return the signal that ended a process, also where one between tells it by a status of 128 and its number."""
    if exit_status is None or exit_status == UNKNOWN_STATUS:
        return None
    if exit_status < 0:
        return -exit_status
    number = exit_status - _SHELLS_SIGNALS
    return number if number in _CRASHES else None


def signal_name(exit_status: int) -> str:
    """Return the name of the signal: SIGSEGV for -11."""
    try:
        return signal.Signals(-exit_status).name
    except ValueError:
        return f"signal {-exit_status}"


def described(exit_status: int | None) -> str:
    """Return how a process ended, in words that continue "the host …"."""
    if exit_status is None:
        return "still runs"
    if exit_status == UNKNOWN_STATUS:
        return "ended, and how is lost: this program ignores SIGCHLD, or collects children that aren't its own"
    if exit_status >= 0:
        number = ending_signal(exit_status)
        meant = f", which stands for {signal_name(-number)}" if number is not None else ""
        return f"exited with status {exit_status}{meant}"
    return f"was ended by {signal_name(exit_status)}"


_MEMORY_WORDS = re.compile(r"\bMemoryError\b|std::bad_alloc|Cannot allocate memory|[Oo]ut of memory")
"""How Python, C++, the C library and accelerators' libraries say it in their last words."""
_LAST_RECORDS = 20


def end_of(exit_status: int | None, logs: Iterable[Mapping[str, Any]], new_oom_kills: int = 0) -> HostEnd:
    """Find the cause of an end that the runner did not bring about.

    `new_oom_kills` is how often the kernel killed for want of memory while the host ran: a SIGKILL out of nowhere
    beside one of those was one of those.
    """
    text = described(exit_status)
    number = ending_signal(exit_status)
    if number == signal.SIGKILL and new_oom_kills:
        return HostEnd(EndKind.OUT_OF_MEMORY, f"{text}: the kernel ran out of memory", exit_status)
    said = _said_of_memory(logs) if exit_status not in (None, 0) else None
    if said is not None:
        return HostEnd(EndKind.OUT_OF_MEMORY, f"{text}, out of memory ({said})", exit_status)
    if number == signal.SIGXCPU:
        return HostEnd(EndKind.CRASHED, f"{text}: it has used up its CPU time", exit_status)
    return HostEnd(EndKind.EXITED if number is None else EndKind.CRASHED, text, exit_status)


def _said_of_memory(logs: Iterable[Mapping[str, Any]]) -> str | None:
    for record in list(logs)[-_LAST_RECORDS:]:
        # An algorithm's own report of a memory error that it survived is no last word.
        if record.get("level") in {"error", "critical"} or record.get("logger") in {"stderr", "procvision.guardian"}:
            found = _MEMORY_WORDS.search(str(record.get("message", "")) + str(record.get("exception", "")))
            if found:
                return found.group()
    return None
