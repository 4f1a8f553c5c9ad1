"""A process in namespaces of its own: it sees no other process, and nothing that it starts outlives it.

    outside ── clone ──> init (process 1 of the namespace, runs nothing of a vendor's)
                           └─ fork ──> inner (process 2)

Init passes on how the inner process ended, as it ended; with init everything else in the namespace is killed by the
kernel, and init dies with the process that made it. Made by one `clone`, not by `unshare`: the process outside stays
where it is. An ordinary user needs a user namespace for the others (user_namespaces(7)).
Warning: to be called by a process of one thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import attrs

from procvision_host.sandbox.kernel import IsolationMissingError, mount, number_of, prctl, system_call

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
BASIC_NAMESPACES = NEW_PROCESSES | NEW_MOUNTS | NEW_IPC
STRICT_NAMESPACES = BASIC_NAMESPACES | NEW_NETWORK
_NAMES = {
    NEW_PROCESSES: "process", NEW_MOUNTS: "mount", NEW_IPC: "IPC", NEW_NETWORK: "network", NEW_USER: "user",
}  # fmt: skip
_PR_SET_PDEATHSIG = 1
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 1 << 18
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_STATUS = struct.Struct("i")
_FAILED = 71

# Holds the interpreter's lock through the call: no other thread runs between clone and what follows it in the child.
_python = ctypes.PyDLL(None, use_errno=True)


@attrs.frozen
class Folder:
    """A folder that the inner process gets anew and empty, in memory, of bounded size."""

    path: str
    megabytes: int
    mode: int = 0o700


@attrs.frozen
class Nested:
    """What the process outside has of it."""

    init: int
    """The process id of init; killing it ends everything in the namespace."""
    inner: int
    """The process id, as it is outside, of the process that does the work."""
    status: int
    """A descriptor: the inner process's wait status, four bytes; its end without them says that init was killed."""

    def wait(self) -> int:
        """Wait for the end, and reap init. Return the inner process's wait status; SIGKILL where init was killed."""
        told = b""
        while len(told) < _STATUS.size and (more := os.read(self.status, _STATUS.size - len(told))):
            told += more
        os.close(self.status)
        os.waitpid(self.init, 0)
        return int(_STATUS.unpack(told)[0]) if len(told) == _STATUS.size else int(signal.SIGKILL)


def nest(run: Callable[[], None], flags: int, *, folders: Sequence[Folder] = (), read_only: bool = False) -> Nested:
    """Start `run()` in namespaces of its own (`flags`). Its return is an end with status 0.

    `folders` are replaced by empty ones, `read_only` makes all other files so; both need NEW_MOUNTS. Raises
    IsolationMissingError where this machine doesn't let this user have the namespaces.
    """
    user, group = os.getuid(), os.getgid()
    if user:
        flags |= NEW_USER
    told, tell = os.pipe()
    init = _clone(flags)
    if init:
        os.close(tell)
        return _begun(init, told, flags)
    try:
        os.close(told)
        _be_init(tell, (user, group) if flags & NEW_USER else None, flags, (run, folders, read_only))
    except BaseException as error:  # noqa: BLE001 - this process must never return into its caller
        with contextlib.suppress(OSError):
            os.write(tell, b"E" + str(error).encode("utf-8", "replace")[:400])
    os._exit(_FAILED)


def _clone(flags: int) -> int:
    number = number_of("clone")
    ctypes.pythonapi.PyOS_BeforeFork()
    process_id: int = _python.syscall(
        ctypes.c_long(number or 0), ctypes.c_long(flags | signal.SIGCHLD), *[ctypes.c_long(0)] * 4
    )
    failed = ctypes.get_errno()
    if process_id == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if process_id < 0:
        raise IsolationMissingError(_named(flags), f"clone: {os.strerror(failed)}")
    return process_id


def _named(flags: int) -> str:
    return f"namespaces ({', '.join(name for flag, name in _NAMES.items() if flags & flag)})"


def _begun(init: int, told: int, flags: int) -> Nested:
    """Wait for the inner process's id, or for what kept it from beginning."""
    first = os.read(told, 1)
    if first == b"I":
        return Nested(init, int(_STATUS.unpack(os.read(told, _STATUS.size))[0]), told)
    text = os.read(told, 512).decode("utf-8", "replace") if first else "its first process ended at once"
    os.close(told)
    os.waitpid(init, 0)
    raise IsolationMissingError(_named(flags), text)


def _be_init(
    tell: int,
    mapped: tuple[int, int] | None,
    flags: int,
    inner: tuple[Callable[[], None], Sequence[Folder], bool],
) -> NoReturn:
    if mapped is not None:
        user, group = mapped
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(line)
    # After the change of user, which clears it.
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    gone = select.poll()
    gone.register(tell, 0)
    if gone.poll(0):  # the process outside ended before that; its id can't tell, it is 0 in here either way
        os._exit(_FAILED)
    process_id = os.fork()
    if process_id == 0:
        _be_inner(tell, flags, inner)
    # None of the pipes of others stays open here.
    os.closerange(0, tell)
    os.closerange(tell + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    while True:
        ended, status = os.wait()  # orphans of the namespace come here
        if ended == process_id:
            os.write(tell, _STATUS.pack(status))
            os._exit(0)  # and the kernel kills whatever is left


def _be_inner(tell: int, flags: int, inner: tuple[Callable[[], None], Sequence[Folder], bool]) -> NoReturn:
    run, folders, read_only = inner
    try:
        outside = int(Path("/proc/self").readlink().name)  # the folder is still that of the process outside
        if flags & NEW_MOUNTS:
            _mount_anew(folders, read_only=read_only)
        os.write(tell, b"I" + _STATUS.pack(outside))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        os.write(tell, b"E" + str(error).encode("utf-8", "replace")[:400])
        os._exit(_FAILED)
    os.close(tell)
    run()
    os._exit(0)


def _mount_anew(folders: Sequence[Folder], *, read_only: bool) -> None:
    """The inner process's view of files. Before rights are given up."""
    mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    if read_only:  # the whole tree by one call, since Linux 5.12: chmod, utime and setxattr end in EROFS as well
        attributes = ctypes.create_string_buffer(struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0), 32)
        system_call("mount_setattr", _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, 32)
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for folder in folders:
        size = f"size={folder.megabytes}m,mode={folder.mode:o}"
        mount("tmpfs", folder.path, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
