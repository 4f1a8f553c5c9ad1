"""What each level promises, as a table of rules; each can be tried on this machine, in a child process.

A rule's `attempt` does in a confined child what the rule forbids. It is held if that fails. So a row says what this
kernel does for this user, not what a version promises.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from procvision_host.options import MEGA
from procvision_host.sandbox.amounts import FILE_BYTES, OPEN_FILES, bound_basic
from procvision_host.sandbox.confinement import Confinement, Level, confine
from procvision_host.sandbox.grants import DEFAULT_MEGABYTES
from procvision_host.sandbox.kernel import IsolationMissingError, mount, number_of, system_call
from procvision_host.sandbox.namespaces import SHARED_MEMORY, enter

_PTRACE_ATTACH = 16
_MOST_ADJUSTED = 1000
_CLONE_NEWUSER = 0x10000000


@attrs.frozen
class Scene:
    """What the attempts aim at: another process of the same user, a server, files."""

    process: int
    """A process that stands for another vendor's."""
    port: int
    """A TCP port of 127.0.0.1 that somebody listens on."""
    abstract: bytes
    """The name of an abstract socket that somebody listens on."""
    unix: Path
    """A unix socket that somebody listens on."""
    folder: Path
    """A folder with `secret` in it, that isn't the child's."""
    own: Path
    """The folder that the child may write to."""
    shared: Path
    """A file of the child's user in /dev/shm."""
    ended_at: int = attrs.field(factory=lambda: int(Path("/proc/self/oom_score_adj").read_text()))
    """How soon the kernel ends the process that isn't shut in, where memory runs out."""


@attrs.frozen
class Rule:
    """One promise of a level, and what is done to break it."""

    name: str
    level: Level
    """The lowest level that promises it."""
    by: str
    """What enforces it."""
    attempt: Callable[[Scene], object]
    """Raises OSError where it is refused."""


@attrs.frozen
class Tried:
    """What became of a rule when it was tried."""

    rule: Rule
    held: bool
    detail: str


def _look_at_memory(scene: Scene) -> None:
    os.close(os.open(f"/proc/{scene.process}/mem", os.O_RDWR))


def _look_at_environment(scene: Scene) -> None:
    Path(f"/proc/{scene.process}/environ").read_bytes()


def _look_at_descriptors(scene: Scene) -> None:
    os.listdir(f"/proc/{scene.process}/fd")


def _trace(scene: Scene) -> None:
    system_call("ptrace", _PTRACE_ATTACH, scene.process, 0, 0)


def _copy_memory(scene: Scene) -> None:
    into = ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(into), 8)  # one iovec
    raw = ctypes.create_string_buffer(bytes(local), 16)
    system_call("process_vm_readv", scene.process, raw, 1, raw, 1, 0)


def _signal(scene: Scene) -> None:
    os.kill(scene.process, 0)


def _limit(scene: Scene) -> None:
    resource.prlimit(scene.process, resource.RLIMIT_NOFILE)


def _reprioritise(scene: Scene) -> None:
    os.setpriority(os.PRIO_PROCESS, scene.process, 19)


def _reprioritise_group(_: Scene) -> None:
    os.setpriority(os.PRIO_PGRP, 0, os.getpriority(os.PRIO_PROCESS, 0))


def _pin(scene: Scene) -> None:
    before = os.sched_getaffinity(scene.process)
    os.sched_setaffinity(scene.process, {min(before)})
    if os.sched_getaffinity(scene.process) == before:
        raise PermissionError("nothing is changed")


def _lease(scene: Scene) -> None:
    with (scene.own / "leased").open("wb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)


def _set_for_all(_: Scene) -> None:
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"):
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(path, os.O_WRONLY))


def _use_io_uring(_: Scene) -> None:
    system_call("io_uring_setup", 1, ctypes.create_string_buffer(120))


def _make_namespace(_: Scene) -> None:
    system_call("unshare", _CLONE_NEWUSER)


def _clone_into_namespace(_: Scene) -> None:
    process_id = system_call("clone", _CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if process_id == 0:
        os._exit(0)
    os.waitpid(process_id, 0)


def _mount(scene: Scene) -> None:
    mount("tmpfs", str(scene.own), "tmpfs", 0)
    system_call("umount2", os.fsencode(scene.own), 0)


def _gain_rights(_: Scene) -> None:
    status = Path("/proc/thread-self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if int(fields["CapEff"], 16) or int(fields["CapPrm"], 16) or fields["NoNewPrivs"].strip() != "1":
        return
    raise PermissionError("it has no capabilities, and can't get any")


def _connect_abstract(scene: Scene) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(scene.abstract)


def _connect(scene: Scene) -> None:
    with socket.socket() as stream:
        stream.connect(("127.0.0.1", scene.port))


def _listen(_: Scene) -> None:
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))
        stream.listen()


def _send_datagram(scene: Scene) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.sendto(b"x", ("127.0.0.1", scene.port))


def _connect_unix(scene: Scene) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(str(scene.unix))


def _pair_datagrams(_: Scene) -> None:
    for one in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        one.close()


def _read_file(scene: Scene) -> None:
    (scene.folder / "secret").read_bytes()


def _list_home(_: Scene) -> None:
    os.listdir(Path.home())


def _write_file(scene: Scene) -> None:
    (scene.folder / "written").write_text("x")


def _truncate_file(scene: Scene) -> None:
    os.truncate(scene.folder / "secret", 0)


def _share_memory(_: Scene) -> None:
    segment = system_call("shmget", 0, 4096, 0o1600)
    system_call("shmctl", segment, 0, 0)


def _reach_shared_memory(scene: Scene) -> None:
    os.close(os.open(scene.shared, os.O_RDWR))


def _change_rights(scene: Scene) -> None:
    (scene.folder / "secret").chmod(0o644)


def _dump_core(_: Scene) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0):
        raise PermissionError("none is written, and the limit can't be raised")
    resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _outlive_others(scene: Scene) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    if own > scene.ended_at or own == _MOST_ADJUSTED:
        raise PermissionError(f"its oom_score_adj is {own}, its runner's {scene.ended_at}")


def _allocate(_: Scene) -> None:
    mmap.mmap(-1, DEFAULT_MEGABYTES * MEGA, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def _write_large_file(scene: Scene) -> None:
    with (scene.own / "large").open("wb") as file:
        file.truncate(FILE_BYTES + 1)


def _open_many(__: Scene) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as opened:
        for _ in range(OPEN_FILES + 1):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))


RULES: tuple[Rule, ...] = (
    Rule("reads no other process's memory", Level.BASIC, "Landlock", _look_at_memory),
    Rule("reads no other process's environment", Level.BASIC, "Landlock", _look_at_environment),
    Rule("sees no other process's descriptors", Level.BASIC, "Landlock", _look_at_descriptors),
    Rule("traces no other process", Level.BASIC, "seccomp", _trace),
    Rule("copies no other process's memory", Level.BASIC, "seccomp", _copy_memory),
    Rule("sends no signal to other processes", Level.BASIC, "Landlock's scopes", _signal),
    Rule("changes no other process's limits", Level.BASIC, "seccomp", _limit),
    Rule("changes no other process's priority", Level.BASIC, "seccomp", _reprioritise),
    Rule("changes no priority of its process group", Level.BASIC, "seccomp", _reprioritise_group),
    Rule("pins no other process to processors", Level.BASIC, "seccomp", _pin),
    Rule("holds up nobody who opens a file", Level.BASIC, "seccomp", _lease),
    Rule("changes no settings of the kernel", Level.BASIC, "Landlock", _set_for_all),
    Rule("connects to no abstract socket", Level.BASIC, "Landlock's scopes", _connect_abstract),
    Rule("uses no io_uring", Level.BASIC, "seccomp", _use_io_uring),
    Rule("makes no namespaces", Level.BASIC, "seccomp", _make_namespace),
    Rule("starts nothing in other namespaces", Level.BASIC, "seccomp", _clone_into_namespace),
    Rule("mounts nothing", Level.BASIC, "seccomp", _mount),
    Rule("has no capabilities and gains none", Level.BASIC, "capabilities, no_new_privs", _gain_rights),
    Rule("leaves no core dump", Level.BASIC, "RLIMIT_CORE", _dump_core),
    Rule("is ended before its runner where memory runs out", Level.BASIC, "oom_score_adj", _outlive_others),
    Rule("connects to no TCP port", Level.STRICT, "seccomp", _connect),
    Rule("listens on no TCP port", Level.STRICT, "seccomp", _listen),
    Rule("sends no datagrams", Level.STRICT, "seccomp", _send_datagram),
    Rule("connects to no unix socket", Level.STRICT, "seccomp", _connect_unix),
    Rule("makes no pairs of datagram sockets", Level.STRICT, "seccomp", _pair_datagrams),
    Rule("reads no others' files", Level.STRICT, "Landlock", _read_file),
    Rule("reads no home", Level.STRICT, "Landlock", _list_home),
    Rule("writes no others' files", Level.STRICT, "Landlock", _write_file),
    Rule("cuts no others' files", Level.STRICT, "Landlock", _truncate_file),
    Rule("shares no memory by System V", Level.STRICT, "seccomp", _share_memory),
    Rule("reaches no others' memory in /dev/shm", Level.STRICT, "Landlock", _reach_shared_memory),
    Rule("changes no others' files' rights", Level.STRICT, "namespaces or seccomp", _change_rights),
    Rule(f"has at most {DEFAULT_MEGABYTES} MB of memory of its own", Level.STRICT, "RLIMIT_DATA", _allocate),
    Rule("writes no file of more than 1 GiB", Level.STRICT, "RLIMIT_FSIZE", _write_large_file),
    Rule(f"opens at most {OPEN_FILES} files", Level.STRICT, "RLIMIT_NOFILE", _open_many),
)


def try_rules(level: Level) -> list[Tried]:
    """Try every rule of a level, and of those below, in a child that is confined as a cell is.

    A rule that fails although the child isn't confined at all (there is no io_uring, say) counts as held.
    """
    rules = [rule for rule in RULES if rule.level is Level.BASIC or level is Level.STRICT]
    with _scene() as scene:
        missing, outcomes = _tried_in_child(level, scene, rules)
    reasons = "; ".join(str(error) for error in missing)
    tried = []
    for rule, outcome in zip(rules, outcomes, strict=True):
        held = not outcome.startswith(_DONE)
        tried.append(Tried(rule, held, outcome if held else f"{outcome}: {reasons or 'nothing refused it'}"))
    return tried


def try_namespaces() -> str | None:
    """Return why a process with mounts and network of its own can't be had here, None where it can: it was made."""
    read, write = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        told = ""
        try:
            enter()
            found = os.listdir(SHARED_MEMORY) if os.path.isdir(SHARED_MEMORY) else []
            told = f"it sees {found[:3]} in {SHARED_MEMORY}" if found else ""
        except BaseException as error:  # noqa: BLE001 - this process must never return into its caller
            told = str(error)
        os.write(write, told.encode("utf-8", "replace")[:400] or b"-")
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        told = answer.read().decode("utf-8", "replace")
    os.waitpid(process_id, 0)
    return None if told == "-" else told or "the process that tried it was ended"


_DONE = "it could be done"


def _tried_in_child(level: Level, scene: Scene, rules: Sequence[Rule]) -> tuple[list[str], list[str]]:
    """Return what was missing when the child was confined, and what became of each rule."""
    read, write = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        os.close(read)
        try:
            if level is not Level.OFF:
                bound_basic()
            apart = level is Level.STRICT and _entered(scene.own)
            own = Confinement(
                level=level,
                writable=(str(scene.own),),
                own_mounts=apart,
                data_bytes=DEFAULT_MEGABYTES * MEGA if level is Level.STRICT else None,
            )
            missing = [str(error) for error in confine(own)]
            told = json.dumps([missing, [_outcome(rule, scene) for rule in rules]]).encode()
            with os.fdopen(write, "wb") as out:
                out.write(told)
        except BaseException:  # noqa: BLE001 - this process must never return into its caller
            traceback.print_exc()
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        data = answer.read()
    os.waitpid(process_id, 0)
    if not data:
        raise IsolationMissingError(f"isolation {level}", "the process that was confined to try it ended at once")
    missing, outcomes = json.loads(data)
    return missing, outcomes


def _entered(own: Path) -> bool:
    """Take mounts of one's own, as a cell does where they can be had."""
    try:
        enter((str(own),))
    except IsolationMissingError:
        return False
    return True


def _outcome(rule: Rule, scene: Scene) -> str:
    """Return what becomes of one attempt, in a process of its own: none finds what another has left."""
    read, write = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        outcome = _DONE
        try:
            rule.attempt(scene)
        except OSError as error:
            outcome = error.strerror or str(error)
        except BaseException as error:  # noqa: BLE001 - this process must never return into its caller
            outcome = f"{_DONE}, and then {error!r}"
        os.write(write, outcome.encode("utf-8", "replace")[:400])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(process_id, 0)
    return told or "the process that tried it was ended"


@contextlib.contextmanager
def _scene() -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="procvision-try-")))
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="procvision-try-")))
        (folder / "secret").write_text("secret")
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = b"\0procvision-try-" + os.urandom(6).hex().encode()
        abstract.bind(name)
        abstract.listen()
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(folder / "unix"))
        unix.listen()
        bystander = stack.enter_context(_bystander())
        shared = stack.enter_context(_shared_file(folder))
        yield Scene(bystander, tcp.getsockname()[1], name, folder / "unix", folder, own, shared)


@contextlib.contextmanager
def _shared_file(otherwise: Path) -> Iterator[Path]:
    """A file in /dev/shm; where there is none, one elsewhere."""
    folder = SHARED_MEMORY if os.path.isdir(SHARED_MEMORY) else otherwise
    descriptor, path = tempfile.mkstemp(prefix="procvision-try-", dir=folder)
    os.close(descriptor)
    try:
        yield Path(path)
    finally:
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _bystander() -> Iterator[int]:
    """Another process, which does nothing until it ends with the block."""
    ready, tell = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        os.write(tell, b"x")
        while True:
            signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    try:
        yield process_id
    finally:
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)


@attrs.frozen
class Row:
    """A rule as the table of a machine shows it."""

    name: str
    level: str
    by: str
    held: bool
    detail: str


def table() -> list[Row]:
    """Return every rule as it is on this machine for this user, tried."""
    problem = machine_problem()
    if problem is not None:
        return [Row(rule.name, str(rule.level), rule.by, held=False, detail=problem) for rule in RULES]
    rows = [Row(tried.rule.name, str(tried.rule.level), tried.rule.by, tried.held, tried.detail) for tried in _all()]
    found = try_namespaces()
    name = "has /dev/shm, IPC and network of its own, and all else read-only"
    rows.append(Row(name, str(Level.STRICT), "namespaces", found is None, found or "it was made and ended"))
    return rows


def _all() -> list[Tried]:
    """Return those of `basic` as that level alone holds them, the others as `strict` does."""
    strict = [tried for tried in try_rules(Level.STRICT) if tried.rule.level is Level.STRICT]
    return [*try_rules(Level.BASIC), *strict]


def machine_problem() -> str | None:
    """Return why nothing can be enforced here at all: another system or architecture than those that are known."""
    if sys.platform != "linux":
        return f"the system is {sys.platform}, isolation needs Linux"
    try:
        number_of("seccomp")
    except IsolationMissingError as error:
        return str(error)
    return None
