"""Mounts, IPC and network of the cell's own: its `/dev/shm` is nobody else's, and all other files are read-only.

By one `unshare` of the cell itself, so that its process id, its parent and how its end is told stay as they are. An
ordinary user needs a user namespace for the others (user_namespaces(7)). What it gives beyond Landlock and the filter:
shared memory and locks by name (`multiprocessing`) work without being others', what is written there is bounded, and
modes, times and attributes of files can't be changed, which Landlock doesn't hold.
Warning: to be called by a process of one thread, before it gives up its rights.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable

from procvision_host.sandbox.kernel import IsolationMissingError, mount, system_call

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x40000000
_NAMES = {NEW_MOUNTS: "mount", NEW_IPC: "IPC", NEW_NETWORK: "network", NEW_USER: "user"}
SHARED_MEMORY = "/dev/shm"
SHARED_MEGABYTES = 512
SHARED_FILES = 131_072
"""What the files are themselves counts against no megabytes: each takes about one kilobyte of the kernel's memory. Both
are of the cell's own `/dev/shm`, which holds its home as well: models and caches lie in its package, not here."""
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE, _MS_SLAVE = 2, 4, 0x1000, 0x4000, 1 << 18, 1 << 19
_SHARED = f"size={SHARED_MEGABYTES}m,nr_inodes={SHARED_FILES},mode=1777"
_HIDDEN = "size=1m,nr_inodes=1024,mode=700"
"""Of a folder of its own in the place of one that it isn't to see."""
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1


def enter(writable: Iterable[str] = (), *, network: bool = False) -> None:
    """Put this process into namespaces of its own; `writable` stays as it was, and so does the network if it is wanted.

    Raises IsolationMissingError where this machine doesn't let this user have them: nothing has changed then, but that
    where the mounts alone can't be had the process is in namespaces already.
    """
    flags = NEW_MOUNTS | NEW_IPC | (0 if network else NEW_NETWORK)
    user, group = os.getuid(), os.getgid()
    try:
        _unshare(flags, user, group)
    except OSError as error:
        named = ", ".join(name for flag, name in _NAMES.items() if (flags | NEW_USER) & flag)
        raise IsolationMissingError(f"namespaces ({named})", str(error.strerror or error)) from error
    try:
        _mount_anew(writable)
    except OSError as error:
        raise IsolationMissingError("mounts of its own", str(error.strerror or error)) from error


def hide(paths: Iterable[str]) -> None:
    """Cover files and folders for this process and all that it starts: it finds an empty one of its own in each place.

    All else stays as it is, also what is mounted later. Raises IsolationMissingError where this machine doesn't let
    this user have mounts of its own.
    """
    try:
        _unshare(NEW_MOUNTS, os.getuid(), os.getgid())
        mount("none", "/", "", _MS_REC | _MS_SLAVE)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                if os.path.isdir(path):
                    mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, _HIDDEN)
                else:
                    mount(os.devnull, path, "", _MS_BIND)
    except OSError as error:
        raise IsolationMissingError("mounts of its own", str(error.strerror or error)) from error


def _unshare(flags: int, user: int, group: int) -> None:
    try:
        system_call("unshare", flags)
    except PermissionError:
        system_call("unshare", flags | NEW_USER)
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)


def _mount_anew(writable: Iterable[str]) -> None:
    mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    kept = list(writable)
    for path in kept:
        mount(path, path, "", _MS_BIND | _MS_REC)
    _set_read_only("/", read_only=True)
    for path in kept:
        with contextlib.suppress(PermissionError):  # it was read-only before
            _set_read_only(path, read_only=False)
    if os.path.isdir(SHARED_MEMORY):
        mount("tmpfs", SHARED_MEMORY, "tmpfs", _MS_NOSUID | _MS_NODEV, _SHARED)


def _set_read_only(path: str, *, read_only: bool) -> None:
    """A tree with all that is mounted below it, by one call, since Linux 5.12."""
    changed = (_MOUNT_ATTR_RDONLY, 0) if read_only else (0, _MOUNT_ATTR_RDONLY)
    attributes = ctypes.create_string_buffer(struct.pack("QQQQ", *changed, 0, 0), 32)
    system_call("mount_setattr", _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE, attributes, 32)
