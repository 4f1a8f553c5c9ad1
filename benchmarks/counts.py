"""Instructions, cache lines and pages of a steady call on either end: figures that repeat and carry over.

Nothing here is a time. One thread of a running process is stepped through some calls, an instruction at a time, and
for each instruction its address and those of the memory that it names are kept. What a call costs where nothing is in
the caches is how many different lines of 64 bytes and pages of 4 KiB it touches, code and data.

The kernel's own work isn't seen, nor what the processor fetches ahead. x86-64 alone, with capstone to read the
instructions. Method: ptrace(2), PTRACE_SINGLESTEP.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import floors, hooks, ours
from benchmarks.measure import Once
from benchmarks.peers import multiprocessing_pipe
from benchmarks.pictures import SIZES
from procvision_runner import Runner, RunnerOptions

CALLS = 2
"""Whole calls that are stepped through; the fewer of their counts is told."""
WARM_CALLS = 300
MAX_STEPS = 2_000_000
PATIENCE_S = 120.0
LINE_BITS, PAGE_BITS = 6, 12
INSTRUCTION_BYTES = 15
"""The longest that x86 has."""

REGISTERS = ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi")
AFTER = ("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs")
COLUMNS = {name: at for at, name in enumerate((*REGISTERS, *AFTER))}
"""user_regs_struct of <sys/user.h>, in its order."""
SYSCALL = b"\x0f\x05"
WRITE, WAITS = 1, (0, 7)
"""The system call that ends either end's part of a call, and those in which it waits for the next: read and poll."""

_ATTACH, _DETACH, _STEP, _GETREGS = 16, 17, 9, 12
_ANY_THREAD = 0x40000000
"""__WALL of waitpid(2)."""


def _unhurried() -> RunnerOptions:
    """A stepped call takes seconds."""
    return RunnerOptions(environment=ours.environment(), heartbeat=None, execute_timeout_s=300)


@contextmanager
def _supervised(hosts: int = 0) -> Iterator[Once]:
    with ours.supervised(hosts, options=_unhurried()) as once:
        yield once


@contextmanager
def _call(*arguments: str, lent: bool = False, step_index: int = 1) -> Iterator[Once]:
    options = attrs.evolve(_unhurried(), host_arguments=arguments)
    with Runner("bench", options=options) as runner:
        session = runner.session(ours.CONTEXT)
        if lent:
            size = SIZES["2MP"]
            yield lambda: runner.execute(runner.lend(*size), pid="A", session=session, user_params={"touch": False})
        else:
            yield lambda: runner.execute(pid="A", session=session, step_index=step_index)


@contextmanager
def _sqlite() -> Iterator[Once]:
    with (
        tempfile.TemporaryDirectory() as folder,
        _call("--sessions", f"sqlite:{folder}/sessions.db", step_index=hooks.KEEPING) as once,
    ):
        yield once


CASES: dict[str, Callable[[], AbstractContextManager[Once]]] = {
    "floor: pipe": floors.pipe,
    "multiprocessing: control path": partial(multiprocessing_pipe.calls, 0, 0),
    "ours: control path": _call,
    "ours: supervisor": _supervised,
    "ours: pool": partial(_supervised, 2),
    "ours: 2MP lent": partial(_call, lent=True),
    "ours: memory sessions": partial(_call, step_index=hooks.KEEPING),
    "ours: SQLite sessions": _sqlite,
}


def missing() -> str | None:
    """Why nothing can be counted here; None where it can."""
    if platform.machine() != "x86_64":
        return f"instructions are read on x86_64 alone, this is {platform.machine()}"
    if importlib.util.find_spec("capstone") is None:
        return "capstone is not installed"
    return None


def counts(progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row a case and end. Raises RuntimeError where a thread can't be traced."""
    found = []
    for case in CASES:
        for end in ("runner", "host"):
            progress(f"counting {case}, {end}")
            found.append({"case": case, "end": end, **counted(case, end)})
    return found


def counted(case: str, end: str) -> dict[str, int]:
    """Give one end's instructions, lines and pages a call. The case runs in a process of its own: nobody traces itself.

    Args:
        case: one of `CASES`.
        end: `runner` or `host`.
    """
    command = [sys.executable, "-m", "benchmarks.counts", case]
    # On one core the two take turns at once.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        assert driver.stdout is not None
        # A thread that stands still may hold what the traced one waits for.
        patience = threading.Timer(PATIENCE_S, driver.kill)
        patience.start()
        try:
            line = driver.stdout.readline()
            if not line.strip():
                raise RuntimeError(f"{case} ended with {driver.wait()} before it was traced")
            mine, theirs = map(int, line.split())
            trace = _trace(mine if end == "runner" else theirs)
        finally:
            patience.cancel()
            driver.kill()
            driver.wait()
            os.sched_setaffinity(0, cores)
    return _summed(*trace)


def _drive(case: str) -> None:
    """Call for ever, and tell which two threads do that."""
    with CASES[case]() as once:
        for _ in range(WARM_CALLS):
            once()
        print(os.getpid(), _peer(once), flush=True)
        while True:
            once()


def _peer(once: Once) -> int:
    """The process that works when a call is made."""
    children = psutil.Process().children(recursive=True)
    before = {child.pid: _ran_ns(child.pid) for child in children}
    for _ in range(WARM_CALLS):
        once()
    return max(before, key=lambda pid: _ran_ns(pid) - before[pid])


def _ran_ns(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()[0])


# --- stepping -----------------------------------------------------------------------------------------------------


def _trace(thread: int) -> tuple[NDArray[np.uint64], dict[int, bytes]]:
    """The registers before each of some hundred thousand instructions, and the instructions by address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request: int, data: Any = None, on: int = thread) -> None:
        if libc.ptrace(request, on, None, data) < 0:
            raise RuntimeError(f"thread {on} can't be traced: {os.strerror(ctypes.get_errno())}")

    registers = (ctypes.c_uint64 * len(COLUMNS))()
    rip, rax, rdi = COLUMNS["rip"], COLUMNS["rax"], COLUMNS["rdi"]
    kept = bytearray()
    codes: dict[int, bytes] = {}
    writes: Counter[int] = Counter()
    others = [int(task.name) for task in Path(f"/proc/{thread}/task").iterdir() if int(task.name) != thread]
    alone = not others
    ptrace(_ATTACH)
    os.waitpid(thread, _ANY_THREAD)
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        passed_on = 0
        for _ in range(MAX_STEPS):
            ptrace(_STEP, passed_on)
            _, status = os.waitpid(thread, _ANY_THREAD)
            if not os.WIFSTOPPED(status):
                raise RuntimeError(f"thread {thread} ended while it was traced")
            stopped_by = os.WSTOPSIG(status)
            passed_on = 0 if stopped_by in (signal.SIGTRAP, signal.SIGSTOP) else stopped_by
            ptrace(_GETREGS, registers)
            at = registers[rip]
            code = codes.get(at)
            if code is None:
                code = codes[at] = os.pread(memory.fileno(), INSTRUCTION_BYTES, at)
            if not alone and registers[rax] in WAITS and code.startswith(SYSCALL):
                # A call that takes this long would be another thread's to look after. Where the traced one waits for
                # the next, the others have nothing to do and hold nothing: from there on they stand still.
                for each in others:
                    ptrace(_ATTACH, on=each)
                    os.waitpid(each, _ANY_THREAD)
                alone = True
            if writes:
                kept += bytes(registers)
            if alone and registers[rax] == WRITE and code.startswith(SYSCALL):
                writes[registers[rdi]] += 1
                if max(writes.values()) > CALLS:
                    break
    for each in (*others, thread):
        ptrace(_DETACH, on=each)
    return np.frombuffer(bytes(kept), np.uint64).reshape(-1, len(COLUMNS)), codes


# --- what was touched ---------------------------------------------------------------------------------------------


def _summed(steps: NDArray[np.uint64], codes: dict[int, bytes]) -> dict[str, int]:
    """Instructions, lines and pages of a call, from one write of a frame to the next."""
    syscalls = [at for at, code in codes.items() if code.startswith(SYSCALL)]
    entered = np.isin(steps[:, COLUMNS["rip"]], np.array(syscalls, np.uint64))
    writes = np.flatnonzero(entered & (steps[:, COLUMNS["rax"]] == WRITE))
    marks = writes[steps[writes, COLUMNS["rdi"]] == steps[writes[-1], COLUMNS["rdi"]]]
    at, touched = _touched(steps, codes)
    calls = []
    for begin, end in pairwise(marks):
        lines = np.unique(touched[(at >= begin) & (at < end)] >> LINE_BITS)
        calls.append((int(end - begin), len(lines), len(np.unique(lines >> (PAGE_BITS - LINE_BITS)))))
    return dict(zip(("instructions", "lines", "pages"), min(calls), strict=True))


def _touched(steps: NDArray[np.uint64], codes: dict[int, bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which step touched which address: the first and the last byte of each instruction and of each of its operands."""
    import capstone
    from capstone import x86

    reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    reader.detail = True
    column = {getattr(x86, f"X86_REG_{name.upper()}"): COLUMNS[name] for name in (*REGISTERS, "rsp")}
    column |= {getattr(x86, f"X86_REG_E{name[1:].upper()}"): COLUMNS[name] for name in _LEGACY}
    signed = steps.view(np.int64)
    order = np.argsort(steps[:, COLUMNS["rip"]], kind="stable")
    places, starts = np.unique(steps[order, COLUMNS["rip"]], return_index=True)
    at: list[NDArray[np.int64]] = []
    touched: list[NDArray[np.int64]] = []

    def touch(which: NDArray[np.int64], first: NDArray[np.int64], size: int) -> None:
        at.extend((which, which))
        touched.extend((first, first + size - 1))

    def address_of(operand: Any, which: NDArray[np.int64], after: int) -> NDArray[np.int64]:
        memory = operand.mem
        address = np.full(len(which), memory.disp, np.int64)
        if memory.base == x86.X86_REG_RIP:
            return address + after
        for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if register:
                address += signed[which, column[register]] * scale
        if memory.segment == x86.X86_REG_FS:
            address += signed[which, COLUMNS["fs_base"]]
        return address

    for place, start, end in zip(places, starts, [*starts[1:], len(order)], strict=True):
        which = order[start:end].astype(np.int64)
        instruction = next(reader.disasm(codes[int(place)], int(place), 1), None)
        touch(which, np.full(len(which), int(place), np.int64), instruction.size if instruction else 1)
        if instruction is None or instruction.mnemonic.startswith(_NAMES_NO_MEMORY):
            continue
        if instruction.mnemonic in ("push", "call"):
            touch(which, signed[which, COLUMNS["rsp"]] - 8, 8)
        elif instruction.mnemonic in ("pop", "ret"):
            touch(which, signed[which, COLUMNS["rsp"]], 8)
        for operand in instruction.operands:
            if operand.type != x86.X86_OP_MEM:
                continue
            address = address_of(operand, which, instruction.address + instruction.size)
            touch(which, address, max(operand.size, 1))
            if instruction.mnemonic.startswith("rep"):
                # It is one step with a count.
                counts_ = signed[which, COLUMNS["rcx"]].clip(0, _MOST_REPEATED) * max(operand.size, 1)
                for step, first, count in zip(which, address, counts_, strict=True):
                    inside = np.arange(first, first + count, 1 << LINE_BITS, dtype=np.int64)
                    at.append(np.full(len(inside), step, np.int64))
                    touched.append(inside)
    return np.concatenate(at), np.concatenate(touched)


_LEGACY = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp")
"""They have a name for their lower half, too."""
_NAMES_NO_MEMORY = ("lea", "endbr64", "nop", "prefetch")
_MOST_REPEATED = 1 << 26


if __name__ == "__main__":
    _drive(sys.argv[1])
