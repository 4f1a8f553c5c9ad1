"""System calls that Python has no function for, by ctypes: their numbers and how they fail.

Warning: nothing here works on an architecture that isn't in `MACHINES`; `require_machine` says so by name.
"""

from __future__ import annotations

import ctypes
import errno
import os

from procvision_sdk.errors import ProcVisionError

MACHINES = ("x86_64", "aarch64")
"""The architectures whose numbers are known, in the order of the tables' columns."""
MACHINE = os.uname().machine

# linux/asm/unistd_64.h, linux/asm-generic/unistd.h; None where an architecture never had the call.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171),
    "bind": (49, 200), "bpf": (321, 280), "capset": (126, 91), "chmod": (90, None), "chown": (92, None),
    "chroot": (161, 51), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435), "connect": (42, 203),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "fchown": (93, 55), "fchownat": (260, 54),
    "fcntl": (72, 25),
    "file_setattr": (469, 469), "fremovexattr": (199, 16), "fsetxattr": (190, 7), "futimesat": (261, None),
    "lchown": (94, None), "lremovexattr": (198, 15), "lsetxattr": (189, 6), "removexattr": (197, 14),
    "removexattrat": (466, 466), "setxattr": (188, 5), "setxattrat": (463, 463), "utime": (132, None),
    "utimensat": (280, 88), "utimes": (235, None),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29), "ioperm": (173, None),
    "iopl": (172, None), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444), "landlock_restrict_self": (446, 446), "listen": (50, 201),
    "migrate_pages": (256, 238), "mknod": (133, None), "mknodat": (259, 33), "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429), "mq_open": (240, 180), "mq_unlink": (241, 181), "msgctl": (71, 187),
    "msgget": (68, 186), "msgrcv": (70, 188), "msgsnd": (69, 189), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438), "pivot_root": (155, 41), "prlimit64": (302, 261), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "request_key": (249, 218), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "seccomp": (317, 277), "semctl": (66, 191), "semget": (64, 190),
    "semop": (65, 193), "semtimedop": (220, 192),
    "sendmmsg": (307, 269), "sendmsg": (46, 211), "sendto": (44, 206), "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268), "setpriority": (141, 140), "settimeofday": (164, 170), "shmat": (30, 196),
    "shmctl": (31, 195), "shmget": (29, 194), "socket": (41, 198), "socketpair": (53, 199), "swapoff": (168, 225),
    "swapon": (167, 224), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97),
    "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS = 38


class IsolationMissingError(ProcVisionError):
    """This machine can't enforce something: `mechanism` names what is missing, the text says why."""

    def __init__(self, mechanism: str, why: str) -> None:
        super().__init__(f"{mechanism} can't be used on this machine: {why}")
        self.mechanism = mechanism
        self.why = why


def require_machine(mechanism: str) -> int:
    """Return the column of this machine in the tables. Raises IsolationMissingError."""
    if MACHINE not in MACHINES:
        raise IsolationMissingError(mechanism, f"the machine is {MACHINE}, known are {' and '.join(MACHINES)}")
    return MACHINES.index(MACHINE)


def number_of(name: str) -> int | None:
    """Return the number of a system call on this machine, None where it doesn't exist. Raises IsolationMissingError."""
    return NUMBERS[name][require_machine(f"the system call {name}")]


def system_call(name: str, *arguments: int | ctypes.Array[ctypes.c_char] | bytes | None) -> int:
    """Make a system call by name. Raises OSError."""
    number = number_of(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        raise _failed(name)
    return result


def prctl(option: int, *arguments: int) -> int:
    """Raise OSError."""
    given = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(ctypes.c_int(option), *given)
    if result < 0:
        raise _failed(f"prctl {option}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Raise OSError."""
    encoded = [os.fsencode(text) for text in (source, target, kind)]
    if _libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data)) < 0:
        raise _failed(f"mount of {kind or 'flags'} on {target}")


def give_up_new_privileges() -> None:
    """No program that this process starts gets rights by its file: no setuid, no file capabilities."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
