"""Filters of system calls, assembled here as classic BPF (linux/seccomp.h, linux/filter.h).

A filter is a list of refusals: whatever it doesn't name is let through, since an algorithm's libraries use what they
like. Calls of another architecture than the machine's own (32 bits, x32) have other numbers: they end the process.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable, Sequence

import msgspec

from procvision_host.sandbox.kernel import (
    MACHINES,
    NUMBERS,
    IsolationMissingError,
    give_up_new_privileges,
    require_machine,
    system_call,
)

ALLOW = 0x7FFF0000
ASK = 0x7FC00000
"""The call waits for the process that has the filter's listener, and fails where that is gone."""
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_ARCHITECTURES = (0xC000003E, 0xC00000B7)
"""AUDIT_ARCH of the machines, in the order of `MACHINES`."""
_X32 = 0x40000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_pack = struct.Struct("HBBI").pack
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45
_SET_MODE_FILTER = 1
_ALL_THREADS = 1
_NEW_LISTENER = 8
_LISTENER = _NEW_LISTENER | 16
"""And TSYNC_ESRCH: with it TSYNC tells of a failure by an errno, not by a thread's id (Linux 5.7)."""

NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEW with NS, CGROUP, UTS, IPC, USER, PID, NET or TIME."""
_STREAM, _DATAGRAM = 1, 2
_INET, _INET6, _TCP = 2, 10, 6
_FAST_OPEN = 0x20000000
"""MSG_FASTOPEN: a connection that no `connect` makes, and that Landlock doesn't see."""
_SOCKET_CONTROL = 0x8900
_SOCKET_TYPE = 0xF
_PRIO_PROCESS, _IOPRIO_PROCESS = 0, 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_USERFAULTFD_NEW = 0xAA00
"""USERFAULTFD_IOC_NEW of linux/userfaultfd.h: what /dev/userfaultfd gives is what the system call gives."""
_F_SETLEASE = 1024
_FLAGS_OF_FILES = (0x40086602, 0x40046602, 0x40087602, 0x401C5820, 0x40806685)
"""FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR and FS_IOC_ENABLE_VERITY of linux/fs.h and
linux/fsverity.h: who can open a file of its own user to read it may make it one that nobody changes any more."""


def refusing(number: int) -> int:
    """Return the verdict that makes a call fail with this errno."""
    return _ERRNO | number


class Check(msgspec.Struct, frozen=True):
    """What is looked at in an argument of a call: its low 32 bits, masked. The refusal needs every check to fit."""

    argument: int
    value: int
    test: int = _EQUAL
    negated: bool = False
    mask: int | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Calls that fail with `verdict` where all `checks` fit."""

    calls: tuple[str, ...]
    verdict: int = refusing(errno.EPERM)
    checks: tuple[Check, ...] = ()


OTHERS_MEMORY = Refusal(
    (
        "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise",
        "process_mrelease", "perf_event_open",
    )
)  # fmt: skip
KERNEL = Refusal(
    (
        "bpf", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key",
        "keyctl", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "acct",
        "syslog", "quotactl", "quotactl_fd", "swapon", "swapoff", "settimeofday", "clock_settime", "adjtimex",
        "clock_adjtime", "iopl", "ioperm", "sethostname", "setdomainname", "vhangup",
    )
)  # fmt: skip
"""io_uring makes system calls that no filter sees."""
MOUNTS = Refusal(
    (
        "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount",
        "fspick", "mount_setattr", "unshare", "setns", "name_to_handle_at", "open_by_handle_at", "fanotify_init",
    )
)  # fmt: skip
NAMESPACES = (
    Refusal(("clone3",), refusing(errno.ENOSYS)),
    Refusal(("clone",), checks=(Check(0, NAMESPACE_FLAGS, _ANY_BIT),)),
)
"""The flags of `clone3` lie in memory, where no filter looks; the C library falls back to `clone`."""
OTHERS_SHARE = (
    Refusal(
        ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setattr"), checks=(Check(0, 0, negated=True),)
    ),
    Refusal(("setpriority", "ioprio_set"), checks=(Check(1, 0, negated=True),)),
    Refusal(("setpriority",), checks=(Check(0, _PRIO_PROCESS, negated=True),)),
    Refusal(("ioprio_set",), checks=(Check(0, _IOPRIO_PROCESS, negated=True),)),
    Refusal(("migrate_pages",), checks=(Check(0, 0, negated=True),)),
    # It succeeds and changes nothing: that would be another process's, or a thread's of one's own, and which of both a
    # filter can't see. Libraries pin their threads so, and complain of each that fails.
    Refusal(("sched_setaffinity",), refusing(0), (Check(0, 0, negated=True),)),
)
"""Limits, priorities and processors of other processes: an argument names a process, 0 is oneself. Groups and users
have others in them."""
TERMINALS = (Refusal(("ioctl",), checks=(Check(1, _TIOCSTI),)), Refusal(("ioctl",), checks=(Check(1, _TIOCLINUX),)))
"""What types into a terminal."""
DEVICES = (Refusal(("ioctl",), checks=(Check(1, _USERFAULTFD_NEW),)),)
"""What is a system call of `KERNEL` by another door."""
LEASES = Refusal(("fcntl",), checks=(Check(1, _F_SETLEASE),))
"""A process that opens a file waits up to 45 s for another that has a lease on it (fcntl(2)). To be allowed to read it
is enough for one: on a library or on our own modules it would hold up every start."""
NETWORK = (
    Refusal(("socket", "connect", "bind", "listen", "accept", "accept4"), refusing(errno.EACCES)),
    Refusal(("socketpair",), refusing(errno.EACCES), (Check(1, _DATAGRAM, mask=_SOCKET_TYPE),)),
)
"""A pair of datagram sockets could send elsewhere, by `sendmsg`, whose address lies in memory."""
CONNECTIONS = (
    Refusal(("socket",), refusing(errno.EACCES), (Check(0, _INET, negated=True), Check(0, _INET6, negated=True))),
    Refusal(("socket",), refusing(errno.EACCES), (Check(1, _STREAM, mask=_SOCKET_TYPE, negated=True),)),
    Refusal(("socket",), refusing(errno.EACCES), (Check(2, 0, negated=True), Check(2, _TCP, negated=True))),
    Refusal(("bind", "listen", "accept", "accept4"), refusing(errno.EACCES)),
    Refusal(("connect",), ASK),
    Refusal(("sendto", "sendmmsg"), refusing(errno.EACCES), (Check(3, _FAST_OPEN, _ANY_BIT),)),
    Refusal(("sendmsg",), refusing(errno.EACCES), (Check(2, _FAST_OPEN, _ANY_BIT),)),
    NETWORK[1],
)
"""In place of `NETWORK` where connections are granted: TCP alone, where to is asked, and none is made by sending."""
INTERFACES = Refusal(("ioctl",), checks=(Check(1, _SOCKET_CONTROL, mask=0xFFFFFF00),))
"""What a socket can ask and change of the machine's network interfaces (linux/sockios.h)."""
SHARED_IPC = Refusal(
    (
        "shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv",
        "msgctl", "mq_open", "mq_unlink",
    )
)  # fmt: skip
ATTRIBUTES = (
    *(Refusal(("ioctl",), checks=(Check(1, request),)) for request in _FLAGS_OF_FILES),
    Refusal((
        "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "setxattr", "lsetxattr",
        "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat", "utime", "utimes",
        "futimesat", "utimensat", "file_setattr",
    )),
)  # fmt: skip
"""Modes, owners, times and flags of files: Landlock doesn't hold them. Where all but a process's own is read-only, it
keeps them of its own."""
FILES = Refusal(("mknod", "mknodat", "inotify_init", "inotify_init1"))

BASIC: tuple[Refusal, ...] = (OTHERS_MEMORY, KERNEL, MOUNTS, *NAMESPACES, *OTHERS_SHARE, *TERMINALS, *DEVICES, LEASES)
LISTENERS = Refusal(("seccomp",), checks=(Check(1, _NEW_LISTENER, _ANY_BIT),))
"""Who has a listener may let calls through that wait for it."""
_BEYOND_BASIC = (INTERFACES, SHARED_IPC, FILES, LISTENERS)
STRICT: tuple[Refusal, ...] = (*BASIC, *NETWORK, *_BEYOND_BASIC)


def strict(*, connections: bool, read_only_tree: bool) -> tuple[Refusal, ...]:
    """Return what `strict` refuses, with or without connections, and with or without mounts of the process's own."""
    network = CONNECTIONS if connections else NETWORK
    return (*BASIC, *network, *_BEYOND_BASIC, *(() if read_only_tree else ATTRIBUTES))


def assembled(refusals: Iterable[Refusal], machine: str) -> bytes:
    """Return the program for a machine of `MACHINES`."""
    column = MACHINES.index(machine)
    code: list[bytes] = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_EQUAL, _ARCHITECTURES[column], 1, 0),
        _instruction(_RETURN, KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    if machine == "x86_64":
        code += [_instruction(_AT_LEAST, _X32, 0, 1), _instruction(_RETURN, KILL_PROCESS)]
    refused: dict[int, list[Refusal]] = {}
    for refusal in refusals:
        for name in refusal.calls:
            number = NUMBERS[name][column]
            if number is not None:
                refused.setdefault(number, []).append(refusal)
    # Those with conditions first: what is never refused the kernel knows without the filter, these it runs each time.
    for number in sorted(refused, key=lambda number: not refused[number][0].checks):
        code += _block(number, refused[number])
    return b"".join([*code, _instruction(_RETURN, ALLOW)])


def _block(number: int, refusals: Sequence[Refusal]) -> list[bytes]:
    """Return what becomes of one call: the first refusal that fits. Begins with the call's number loaded."""
    body = [instruction for refusal in refusals for instruction in _looks(refusal)]
    if refusals[-1].checks:
        body.append(_instruction(_RETURN, ALLOW))
    return [_instruction(_EQUAL, number, 0, len(body)), *body]


def _looks(refusal: Refusal) -> list[bytes]:
    """Return the checks of a refusal, then its verdict. A check that doesn't fit jumps behind the verdict."""
    steps: list[tuple[int, int, Check | None]] = []
    for look in refusal.checks:
        steps.append((_LOAD, _ARGUMENTS_AT + 8 * look.argument, None))
        if look.mask is not None:
            steps.append((_AND, look.mask, None))
        steps.append((look.test, look.value, look))
    steps.append((_RETURN, refusal.verdict, None))
    out = []
    for place, (operation, value, check) in enumerate(steps):
        behind = len(steps) - place - 1
        if check is None:
            out.append(_instruction(operation, value))
        else:
            out.append(_instruction(operation, value, *((behind, 0) if check.negated else (0, behind))))
    return out


def _instruction(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _pack(operation, if_true, if_false, value)


def refuse(refusals: Sequence[Refusal]) -> int | None:
    """Put a filter on every thread of this process, and on all that it starts. Raises IsolationMissingError.

    Return the descriptor of its listener if it has calls to `ASK` for.
    """
    require_machine("seccomp")
    program = assembled(refusals, MACHINES[require_machine("seccomp")])
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    give_up_new_privileges()
    asks = any(refusal.verdict == ASK for refusal in refusals)
    flags = _ALL_THREADS | (_LISTENER if asks else 0)
    try:
        got = system_call("seccomp", _SET_MODE_FILTER, flags, ctypes.create_string_buffer(header, len(header)))
    except OSError as error:
        raise IsolationMissingError("seccomp's listener" if asks else "seccomp", str(error.strerror)) from error
    return got if asks else None
