"""Landlock: which files, networks, signals and sockets a process still reaches
(docs.kernel.org/userspace-api/landlock).

A list of what is allowed: everything of the handled kinds that no rule allows is refused, also to all that the process
starts, and nobody can take it back. What the kernel knows is found out by asking it for its version.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Collection, Mapping

from procvision_host.sandbox.kernel import IsolationMissingError, give_up_new_privileges, system_call

EXECUTE, WRITE, READ, LIST = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE = sum(1 << bit for bit in range(4, 13))
READABLE = EXECUTE | READ | LIST
WRITABLE = READ | LIST | WRITE | _MAKE | REFER | TRUNCATE
EVERYTHING = (1 << 16) - 1
_OF_A_FILE = EXECUTE | WRITE | READ | TRUNCATE | IOCTL_DEV
_RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_TCP = 3
"""Binding and connecting."""
_SCOPES = 3
"""Abstract unix sockets and signals."""
TCP_SINCE, SCOPES_SINCE = 4, 6
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CONNECT = 2
_WHY = {
    errno.ENOSYS: "the kernel has none (it needs Linux 5.13, built with CONFIG_SECURITY_LANDLOCK)",
    errno.EOPNOTSUPP: "it is switched off; hint: add landlock to the kernel's parameter lsm=",
    errno.EPERM: "its system calls are refused, by a container's seccomp profile as a rule",
}


def version() -> int:
    """Return what the kernel can. Raises IsolationMissingError that says which of three reasons it has."""
    try:
        return system_call("landlock_create_ruleset", None, 0, _ASK_VERSION)
    except OSError as error:
        why = _WHY.get(error.errno or 0, str(error.strerror))
        raise IsolationMissingError("Landlock", why) from error


def restrict(
    allowed: Mapping[str, int] | None, *, network: bool, scopes: bool, ports: Collection[int] = ()
) -> list[IsolationMissingError]:
    """Allow the paths in `allowed` with their rights and no others (None: leave files alone).

    `network` refuses TCP but for connections to `ports`, `scopes` signals and abstract sockets to processes outside.
    Returns what this kernel is too old for. Raises IsolationMissingError where there is no Landlock, OSError for a path
    that can't be opened.
    Warning: only the calling thread, and what it starts, is restricted.
    """
    known = version()
    missing = []
    if network and known < TCP_SINCE:
        missing.append(_too_old("Landlock's rules for TCP", known, TCP_SINCE))
    if scopes and known < SCOPES_SINCE:
        missing.append(_too_old("Landlock's scopes for signals and abstract sockets", known, SCOPES_SINCE))
    files = _RIGHTS_BY_VERSION.get(known, EVERYTHING) if allowed is not None else 0
    handled = (files, _TCP if network and known >= TCP_SINCE else 0, _SCOPES if scopes and known >= SCOPES_SINCE else 0)
    if not any(handled):
        return missing
    # A kernel refuses fields that it doesn't know, even empty ones, only where they aren't 0.
    attributes = struct.pack("QQQ", *handled)
    ruleset = system_call("landlock_create_ruleset", ctypes.create_string_buffer(attributes, len(attributes)), 24, 0)
    try:
        for path, rights in (allowed or {}).items():
            _allow(ruleset, path, rights & files)
        for port in ports if handled[1] else ():
            rule = struct.pack("=QQ", _CONNECT, port)
            system_call("landlock_add_rule", ruleset, _NET_PORT, ctypes.create_string_buffer(rule, len(rule)), 0)
        give_up_new_privileges()
        system_call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return missing


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # then nobody reaches it anyway
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= _OF_A_FILE
            if rights:
                rule = struct.pack("=Qi", rights, opened)
                system_call(
                    "landlock_add_rule", ruleset, _PATH_BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0
                )
        finally:
            os.close(opened)


def _too_old(what: str, known: int, since: int) -> IsolationMissingError:
    return IsolationMissingError(what, f"the kernel's Landlock has version {known}, it needs {since}")
