"""What a process gives up for good before foreign code runs in it, by level; what this machine can't enforce is named.

`basic` keeps it from other processes: their memory, their environment, their priorities, signals to them. `strict`
keeps it from everything but what it is given: no network, no files but those named, no shared memory of System V.
The order matters: files are opened for Landlock's rules first, and the filter of system calls comes last.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from enum import StrEnum

import msgspec

from procvision_host.sandbox import amounts, landlock, seccomp
from procvision_host.sandbox.kernel import IsolationMissingError
from procvision_host.sandbox.namespaces import SHARED_MEMORY
from procvision_host.sandbox.privileges import drop_capabilities


class Level(StrEnum):
    """How far a vendor's process is shut in."""

    OFF = "off"
    BASIC = "basic"
    STRICT = "strict"


SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl")
"""Libraries and programs that an interpreter and its extensions load."""
SYSTEM_FACTS = (
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/proc/filesystems", "/proc/version", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/osrelease",
)  # fmt: skip
"""What libraries ask to know the machine: NumPy, OpenCV and onnxruntime count processors there."""
DEVICES = {
    "/dev/null": landlock.READ | landlock.WRITE,
    "/dev/zero": landlock.READ | landlock.WRITE,
    "/dev/full": landlock.READ | landlock.WRITE,
    "/dev/urandom": landlock.READ,
    "/dev/random": landlock.READ,
}
_DEVICE = landlock.READABLE | landlock.WRITE | landlock.IOCTL_DEV


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What a process keeps. `readable` and `writable` count under `strict` alone."""

    level: Level
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """What is granted besides: likewise."""
    ports: tuple[int, ...] = ()
    """TCP ports to which connections are granted: likewise. Where to, `confine`'s `hand_over` says."""
    own_mounts: bool = False
    """Whether it has mounts of its own, with a `/dev/shm` that nobody else reaches and all others' files read-only."""
    bounded: bool = True
    """Whether files and their number are bounded, under `strict`."""
    data_bytes: int | None = None
    """The most memory of its own that it may allocate (RLIMIT_DATA); None leaves the limit as it is."""


def confine(
    wanted: Confinement,
    before_filter: Callable[[], None] | None = None,
    hand_over: Callable[[int], None] = os.close,
) -> list[IsolationMissingError]:
    """Give up, for good, what the level takes from this process. Return what this machine can't enforce of it.

    To be called by the one thread of a process: Landlock and capabilities are a thread's. A thread that `before_filter`
    starts has given up the same, and may still do what the filter of system calls takes away in the end. `hand_over`
    takes the descriptor by which the kernel asks for each connection, where some are granted; closed, all of them fail.
    """
    if wanted.data_bytes is not None:
        amounts.bound(resource.RLIMIT_DATA, wanted.data_bytes)
    if wanted.level is Level.OFF:
        return []
    strict = wanted.level is Level.STRICT
    if strict and wanted.bounded:
        amounts.bound_strict()
    missing: list[IsolationMissingError] = []

    def enforce(step: Callable[[], list[IsolationMissingError] | None]) -> None:
        try:
            missing.extend(step() or [])
        except IsolationMissingError as error:
            missing.append(error)

    allowed = _strict_paths(wanted) if strict else _all_but_processes()
    enforce(lambda: landlock.restrict(allowed, network=strict, scopes=True, ports=wanted.ports))
    enforce(_without_capabilities)
    if before_filter is not None:
        before_filter()
    strictly = seccomp.strict(connections=bool(wanted.ports), read_only_tree=wanted.own_mounts)

    def filtered() -> None:
        listener = seccomp.refuse(strictly if strict else seccomp.BASIC)
        if listener is not None:
            hand_over(listener)

    enforce(filtered)
    return missing


def interpreter_paths() -> tuple[str, ...]:
    """Return what this Python reads: itself, its libraries, its environment. Not what is on its path besides."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.realpath(sys.executable)}
    environment = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    if os.path.isfile(f"{environment}/pyvenv.cfg"):  # what `site` would say, which may not have run
        found.add(environment)
    return tuple(sorted(path for path in found if path and path != "/"))


def _without_capabilities() -> None:
    try:
        drop_capabilities()
    except OSError as error:
        raise IsolationMissingError("capabilities", str(error)) from error


def _strict_paths(wanted: Confinement) -> dict[str, int]:
    own = dict.fromkeys((*interpreter_paths(), *wanted.readable), landlock.READABLE)
    system = dict.fromkeys((*SYSTEM_FOLDERS, *SYSTEM_FACTS, "/proc/self"), landlock.READABLE)
    files = {"/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf"} if wanted.ports else ()
    system |= dict.fromkeys(files, landlock.READABLE)
    devices = DEVICES | dict.fromkeys(wanted.devices, _DEVICE)
    writable = (*wanted.writable, *((SHARED_MEMORY,) if wanted.own_mounts else ()))
    return system | own | devices | dict.fromkeys(writable, landlock.WRITABLE)


def _all_but_processes() -> dict[str, int]:
    """Everything as before but the folders of processes in /proc, of which its own alone stays.

    What is set and done in /proc/sys, /sys and their like counts for every process: root's user may write there without
    a capability, as to core_pattern, sysrq-trigger or cgroup.kill. So they can be read alone.
    """
    allowed = {f"/{name}": landlock.EVERYTHING for name in os.listdir("/") if name != "proc"}
    allowed |= {"/sys": landlock.READABLE}
    processes = {entry for entry in os.listdir("/proc") if entry.isdecimal()}
    for name in os.listdir("/proc"):
        if name not in processes:
            own = name in ("self", "thread-self")
            allowed[f"/proc/{name}"] = landlock.EVERYTHING if own else landlock.READABLE
    return allowed
