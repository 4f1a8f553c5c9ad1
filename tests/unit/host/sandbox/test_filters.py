"""The filter of system calls as a program: what it says to a call, worked out by an interpreter of its own."""

from __future__ import annotations

import errno
import struct

import pytest

from procvision_host.sandbox import seccomp
from procvision_host.sandbox.kernel import MACHINES, NUMBERS

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
READ = {"x86_64": 0, "aarch64": 63}


def verdict(program: bytes, machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would make of a call: a classic BPF machine of the instructions that may occur."""
    given = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *given)
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = place = 0
    for _ in range(len(code)):
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x06:
            return int(value)
        else:
            fits = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            place += if_true if fits else if_false
    raise AssertionError("the program has no end")


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    """Each architecture, also the one that this test doesn't run on."""
    return str(request.param)


def said(refusals: tuple[seccomp.Refusal, ...], machine: str, name: str, *arguments: int) -> int | None:
    """The verdict, None where the architecture has no such call."""
    number = NUMBERS[name][MACHINES.index(machine)]
    return None if number is None else verdict(seccomp.assembled(refusals, machine), machine, number, *arguments)


EPERM, EACCES, ENOSYS = (seccomp.refusing(number) for number in (errno.EPERM, errno.EACCES, errno.ENOSYS))


@pytest.mark.parametrize("refusals", [seccomp.BASIC, seccomp.STRICT])
def test_every_call_that_is_named_without_a_condition_is_refused(
    refusals: tuple[seccomp.Refusal, ...], machine: str
) -> None:
    """Whatever its arguments are; and calls that aren't named are let through."""
    for refusal in refusals:
        for name in refusal.calls if not refusal.checks else ():
            assert said(refusals, machine, name, 1, 2, 3) in {refusal.verdict, None}, name
    assert verdict(seccomp.assembled(refusals, machine), machine, READ[machine], 0, 0, 10) == seccomp.ALLOW


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("clone", (0x3D0F00,), seccomp.ALLOW),  # a thread
        ("clone", (0x11,), seccomp.ALLOW),  # a fork
        ("clone", (0x10000011,), EPERM),
        ("clone", (0x40000000,), EPERM),
        ("clone3", (0,), ENOSYS),
        ("prlimit64", (0, 7), seccomp.ALLOW),
        ("prlimit64", (4711, 7), EPERM),
        ("setpriority", (0, 0, 5), seccomp.ALLOW),
        ("setpriority", (0, 4711, 5), EPERM),
        ("setpriority", (1, 0, 5), EPERM),  # others are in its group
        ("setpriority", (2, 0, 5), EPERM),
        ("ioprio_set", (1, 9, 0), EPERM),
        ("ioprio_set", (1, 0, 0), seccomp.ALLOW),
        ("ioprio_set", (2, 0, 0), EPERM),
        ("ioprio_set", (3, 0, 0), EPERM),  # all of this user
        ("sched_setaffinity", (0, 8, 0), seccomp.ALLOW),
        ("sched_setaffinity", (4711, 8, 0), seccomp.refusing(0)),
        ("migrate_pages", (4711, 64, 0), EPERM),
        ("ioctl", (0, 0x5401), seccomp.ALLOW),
        ("ioctl", (0, 0x5412), EPERM),
        ("ioctl", (0, 0x541C), EPERM),
        ("ioctl", (0, 0xFFFFFFFF00005412), EPERM),  # the kernel looks at 32 bits
    ],
)
def test_a_condition_is_looked_at(machine: str, name: str, arguments: tuple[int, ...], wanted: int) -> None:
    """Of the low 32 bits of an argument, which is what the kernel takes of it."""
    for refusals in (seccomp.BASIC, seccomp.STRICT):
        assert said(refusals, machine, name, *arguments) == wanted


def test_strict_refuses_networks_and_lets_pairs_of_streams_through(machine: str) -> None:
    """`subprocess` and multiprocessing use those."""
    for family in (1, 2, 10, 16, 17, 38, 40):
        assert said(seccomp.STRICT, machine, "socket", family, 1) == EACCES
        assert said(seccomp.BASIC, machine, "socket", family, 1) == seccomp.ALLOW
    assert said(seccomp.STRICT, machine, "socketpair", 1, 1 | 0o2000000) == seccomp.ALLOW
    assert said(seccomp.STRICT, machine, "socketpair", 1, 2 | 0o2000000) == EACCES


@pytest.mark.parametrize("architecture", [0x40000003, 0x40000028, 0xC000003E, 0xC00000B7])
def test_calls_of_another_architecture_end_the_process(machine: str, architecture: int) -> None:
    """Their numbers mean other calls."""
    program = seccomp.assembled(seccomp.BASIC, machine)
    wanted = seccomp.ALLOW if architecture == ARCHITECTURES[machine] else seccomp.KILL_PROCESS
    assert verdict(program, machine, READ[machine], architecture=architecture) == wanted
    if machine == "x86_64":
        assert verdict(program, machine, 0x40000000 | 101) == seccomp.KILL_PROCESS


def test_a_filter_fits_into_what_the_kernel_takes(machine: str) -> None:
    """BPF_MAXINSNS; and no jump is longer than its byte."""
    assert len(seccomp.assembled(seccomp.STRICT, machine)) // 8 < 4096


def test_only_the_host_listens_to_its_filter(machine: str) -> None:
    """A listener of the algorithm's own could let a connection through; filters without one only take more away."""
    for connections in (False, True):
        refusals = seccomp.strict(connections=connections, read_only_tree=True)
        assert said(refusals, machine, "seccomp", 1, 8) == EPERM
        assert said(refusals, machine, "seccomp", 1, 1 | 8 | 16) == EPERM
        assert said(refusals, machine, "seccomp", 1, 1) == seccomp.ALLOW


def test_where_a_connection_goes_is_asked_if_some_are_granted(machine: str) -> None:
    """TCP sockets alone can be made then, and none connects by sending."""
    refusals = seccomp.strict(connections=True, read_only_tree=True)
    assert said(refusals, machine, "connect", 3, 0, 16) == seccomp.ASK
    assert said(refusals, machine, "socket", 2, 1 | 0o2000000, 0) == seccomp.ALLOW
    assert said(refusals, machine, "socket", 10, 1, 6) == seccomp.ALLOW
    for arguments in ((1, 1, 0), (2, 2, 0), (2, 1, 262), (16, 3, 0), (40, 1, 0), (2, 3, 6)):
        assert said(refusals, machine, "socket", *arguments) == EACCES, arguments
    for name, place in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        arguments = [3, 0, 0, 0]
        assert said(refusals, machine, name, *arguments) == seccomp.ALLOW
        arguments[place] = 0x20000000
        assert said(refusals, machine, name, *arguments) == EACCES
    for name in ("bind", "listen", "accept", "accept4"):
        assert said(refusals, machine, name, 3, 0, 0) == EACCES
