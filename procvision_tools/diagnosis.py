"""What on this machine would trouble a line: looked at, one finding each, and mended where that is safe.

Every check is a function of its own that gives findings and raises nothing; whatever it measures it can be given.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import cache_from_source, find_spec
from pathlib import Path

from procvision_runner.connection.launch import own_host
from procvision_runner.images.arena import try_arena
from procvision_runner.images.segments import SHM_FOLDER, leftovers
from procvision_runner.process.host_process import missing_interpreter
from procvision_sdk.compiled import COMPILED_VARIABLE, OFF, is_built
from procvision_testing.findings import Finding, Level
from procvision_tools.hints import split_hint
from procvision_tools.scratch import abandoned
from procvision_tools.validation.hosts import HostSilentError, ask

MB = 1_000_000
PICTURE_BYTES = 5_000_000 * 3
"""A camera of 5 megapixels, RGB: an unremarkable one."""
COMFORTABLE_PICTURES = 16
"""Two hosts with the default of 8 slots."""
MIN_OPEN_FILES = 1024
"""A runner takes about ten descriptors for each host, an algorithm as many as its libraries like."""
MIN_PROCESSES = 512
"""Threads count: OpenCV and BLAS start one for each core, in each host."""
LIST_TIMEOUT_S = 60.0
CORE = ("attrs", "click", "google-re2", "importlib-metadata", "msgspec", "numpy", "pluggy")
IMPORTED_AT_START = ("attr", "msgspec", "numpy", "procvision_host", "procvision_sdk")
"""Packages that hosts import; numpy only those whose algorithm reads pictures."""
STEADY_CORES = {
    "runner": "procvision_runner.connection.steady_core",
    "supervisor": "procvision_runner.supervision.steady_core",
    "host": "procvision_host.conversation.steady_core",
    "sessions": "procvision_host.halves.table_core",
}
"""The compiled modules, which may be missing."""


def examine_machine(*, clean: bool = False) -> Iterator[Finding]:
    """Give every finding, one after the other; with ``clean`` the leftovers of dead runners are removed."""
    missing = try_arena()
    for look in (
        partial(sealed_memory, missing),
        partial(shared_memory, sealed=not missing),
        partial(shared_memory_leftovers, clean=clean),
        partial(folder_leftovers, clean=clean),
        orphans,
        limits,
        kernel,
        versions,
        host_program,
        bytecode,
        steady_cores,
        decoders,
        encoder,
        algorithms,
        hook_plugins,
        isolation,
    ):
        yield from _kept_going(look)


def _kept_going(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Give a check's findings; what it raises is one more, and the other checks go on."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - a machine may be wrong in a way that nobody thought of
        name = getattr(look, "func", look).__name__.replace("_", " ")
        yield Finding(name, "failed", *split_hint(str(error) or repr(error)))


def sealed_memory(missing: str | None = None) -> Iterator[Finding]:
    """Whether pictures can lie where nobody but the runner writes: an arena is made, and what is `missing` is told."""
    missing = try_arena() if missing is None else missing
    if missing:
        detail = f"{missing}: pictures lie in {SHM_FOLDER}, where each process of this user can change them"
        hint = "Linux 5.1, /proc, and a seccomp profile that allows memfd_create"
        yield Finding("sealed memory", "warning", detail, hint)
    else:
        yield Finding("sealed memory", detail="hosts can only read their pictures, and other processes can't name them")


def shared_memory(folder: Path = SHM_FOLDER, *, sealed: bool = False) -> Iterator[Finding]:
    """Yield whether pictures have room; where sealed memory is there, those for hosts that don't know it."""
    title = "shared memory"
    hint = "mount -o remount,size=2g /dev/shm; in a container: --shm-size=2g"
    unusable: Level = "warning" if sealed else "failed"
    whose = " (for hosts that know no sealed memory)" if sealed else ""
    if not folder.is_dir():
        yield Finding(title, unusable, f"there is no {folder}{whose}", "mount -t tmpfs tmpfs /dev/shm")
        return
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        yield Finding(title, unusable, f"{folder}: {error.strerror}{whose}")
        return
    fits = usage.free // PICTURE_BYTES
    detail = (
        f"{usage.free / MB:.0f} of {usage.total / MB:.0f} MB free in {folder}: {fits} pictures of 5 megapixels{whose}"
    )
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(title, unusable, f"{folder} can't be written by this user{whose}", "chmod 1777 /dev/shm")
    elif fits < 1:
        yield Finding(title, unusable, detail, hint)
    elif fits < COMFORTABLE_PICTURES and not sealed:
        yield Finding(title, "warning", f"{detail}, two hosts with 8 slots each take {COMFORTABLE_PICTURES}", hint)
    else:
        yield Finding(title, detail=detail)


def shared_memory_leftovers(folder: Path = SHM_FOLDER, *, clean: bool = False) -> Iterator[Finding]:
    """Yield what killed runners left in shared memory; what a living one has is locked, and never touched."""
    found = leftovers(folder, remove=clean)
    told = f"{len(found)} segments of dead runners, {sum(size for _, size in found) / MB:.1f} MB"
    yield _left("pictures of dead runners", told if found else "", clean)


def folder_leftovers(where: Path | None = None, *, clean: bool = False) -> Iterator[Finding]:
    """Temporary folders that killed commands left."""
    found = abandoned(where, remove=clean)
    yield _left("temporary folders of dead commands", ", ".join(str(path) for path in found), clean)


def _left(title: str, detail: str, clean: bool) -> Finding:
    if not detail:
        return Finding(title, detail="none")
    if clean:
        return Finding(title, detail=f"removed: {detail}")
    return Finding(title, "warning", detail, "procvision doctor --clean")


def orphans(proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Hosts whose runner is gone. A host sees to it that this doesn't happen; nothing is killed here."""
    found = []
    for entry in proc.iterdir() if proc.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if not entry.name.isdecimal():
                continue
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            names = {"procvision-host", "procvision_host"}
            is_host = any(not names.isdisjoint(Path(word).parts[-2:]) for word in words[:4])
            parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            # The first process of a container may well be a runner.
            if is_host and parent == 1 and not _is_python(proc / "1"):
                found.append(entry.name)
    if found:
        yield Finding("hosts without a runner", "warning", f"processes {', '.join(found)}", f"kill {' '.join(found)}")
    else:
        yield Finding("hosts without a runner", detail="none")


def _is_python(process: Path) -> bool:
    with contextlib.suppress(OSError):
        return b"python" in (process / "cmdline").read_bytes()
    return False


def limits() -> Iterator[Finding]:
    """Yield what this user, and this container, may use."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _bounded("open files", files, MIN_OPEN_FILES, "ulimit -n 4096; for a service LimitNOFILE=4096")
    # The kernel holds root to no such limit.
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[0] if os.geteuid() else resource.RLIM_INFINITY
    group = _cgroup("pids.max", "pids")
    if group is not None:
        processes = group if processes == resource.RLIM_INFINITY else min(group, processes)
    hint = "ulimit -u; for a service TasksMax=; in a container --pids-limit"
    yield _bounded("processes and threads", processes, MIN_PROCESSES, hint)
    if processes == resource.RLIM_INFINITY:
        what = "nothing bounds how many an algorithm starts: one that never stops takes the machine along"
        yield Finding(
            "an algorithm's processes", "warning", what, "TasksMax= of a service, --pids-limit of a container"
        )
    file_size, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if file_size != resource.RLIM_INFINITY:
        yield _bounded("size of a file", file_size, PICTURE_BYTES, "ulimit -f unlimited: shared memory counts, too")
    memory = _cgroup("memory.max")
    if memory is not None:
        yield Finding("memory of this container", detail=f"{memory / MB:.0f} MB; shared memory counts")


def _bounded(title: str, value: int, enough: int, hint: str) -> Finding:
    if value == resource.RLIM_INFINITY:
        return Finding(title, detail="no limit")
    if value < enough:
        return Finding(title, "warning", f"at most {value}, {enough} are enough for a few hosts", hint)
    return Finding(title, detail=f"at most {value}")


def _cgroup(name: str, controller: str = "") -> int | None:
    """Return a bound of this process' control group, None where there is none; also of version 1, by the controller."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        mounts = {controllers: own for _, controllers, own in lines}
        for mounted in ("", controller):
            own = mounts.get(mounted, "/").lstrip("/")
            for folder in (Path("/sys/fs/cgroup", mounted, own), Path("/sys/fs/cgroup", mounted)):
                file = folder / name
                if file.is_file():
                    return int(file.read_text())
    return None


def kernel() -> Iterator[Finding]:
    """System calls that a container's seccomp profile may forbid, and what must be mounted."""
    if sys.platform != "linux":
        yield Finding("the kernel", "failed", f"this is {platform.system()}", "hosts and runners need Linux")
        return
    detail = (
        f"Linux {platform.release()}, {os.cpu_count()} CPUs, {len(os.sched_getaffinity(0))} of them for this process"
    )
    yield Finding("the kernel", detail=detail)
    try:
        os.close(os.pidfd_open(os.getpid()))
        yield Finding("pidfd_open", detail="there")
    except OSError as error:
        hint = "Linux 5.3, or a seccomp profile that allows it (Docker 20.10)"
        yield Finding("pidfd_open", "failed", f"a runner waits for its host by it: {error.strerror}", hint)
    if Path("/proc/self/stat").is_file():
        yield Finding("/proc", detail="mounted")
    else:
        yield Finding("/proc", "failed", "a guardian finds what a host started by it", "mount -t proc proc /proc")
    mode = _seccomp()
    yield Finding("seccomp", detail={"0": "none", "2": "a filter, as containers have"}.get(mode, f"mode {mode or '?'}"))


def _seccomp() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Seccomp:"):
                return line.split()[1]
    return ""


def versions() -> Iterator[Finding]:
    """Python, ourselves, and whether our dependencies are as we need them."""
    import importlib_metadata

    yield Finding("Python", detail=f"{platform.python_version()}, {sys.executable}")
    try:
        own = importlib_metadata.distribution("procvision")
    except importlib_metadata.PackageNotFoundError:
        yield Finding("procvision", "warning", "runs from a source tree that is not installed", "pip install it")
        return
    told = []
    for name in CORE:
        with contextlib.suppress(importlib_metadata.PackageNotFoundError):
            told.append(f"{name} {importlib_metadata.version(name)}")
    problems = list(_unmet(own))
    if problems:
        yield Finding(f"procvision {own.version}", "failed", "; ".join(problems), "pip install --upgrade procvision")
    else:
        yield Finding(f"procvision {own.version}", detail=", ".join(told))


def _unmet(distribution: object) -> Iterator[str]:
    """Yield what it requires, and there is not; nothing where the library that reads requirements isn't there."""
    if find_spec("packaging") is None:
        return
    import importlib_metadata
    from packaging.requirements import Requirement

    assert isinstance(distribution, importlib_metadata.Distribution)
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            there = importlib_metadata.version(requirement.name)
        except importlib_metadata.PackageNotFoundError:
            yield f"{requirement} is not installed"
            continue
        if not requirement.specifier.contains(there, prereleases=True):
            yield f"{requirement} is needed, {there} is installed"


def host_program() -> Iterator[Finding]:
    """Yield what a runner would launch."""
    title = "procvision-host"
    script = Path(sys.executable).with_name("procvision-host")
    gone = missing_interpreter(script)
    command = " ".join(own_host())
    if gone is not None:
        detail = f"{script} names {gone}, which is gone: the environment was moved. Instead this is launched: {command}"
        yield Finding(title, "warning", detail, "make the environment anew where it is now")
    else:
        yield Finding(title, detail=command)


def bytecode(names: Sequence[str] = IMPORTED_AT_START, *, kept: bool | None = None) -> Iterator[Finding]:
    """Yield whether a start finds its modules compiled: without, each start compiles them anew and takes a second more.

    `kept`: whether Python keeps what it has compiled; by default as this one does.
    """
    title = "compiled bytecode"
    kept = not sys.dont_write_bytecode if kept is None else kept
    missing, folders = [], []
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(cache_from_source(spec.origin)).exists():
            continue
        folder = Path(spec.origin).parent
        if not (kept and os.access(folder, os.W_OK)):
            missing.append(name)
            folders.append(str(folder))
    if missing:
        hint = f"{sys.executable} -m compileall -q {' '.join(folders)}; uv pip has --compile-bytecode"
        detail = f"not there, and not kept, for {', '.join(missing)}: every start of a host compiles them anew"
        yield Finding(title, "warning", detail, hint)
    else:
        yield Finding(title, detail="there, or kept at the first start")


def steady_cores(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yield what runs the calls that are like those before them: compiled code, or Python where none was built."""
    title = "steady calls"
    if environment.get(COMPILED_VARIABLE) == OFF:
        yield Finding(title, detail=f"Python, since {COMPILED_VARIABLE} is {OFF}")
        return
    sides = {side: is_built(name) for side, name in STEADY_CORES.items()}
    told = ", ".join(f"{side}: {'compiled' if there else 'Python'}" for side, there in sides.items())
    if not all(sides.values()):
        told += " (a C compiler and Python's headers at the installation make it compiled)"
    yield Finding(title, detail=told)


def decoders() -> Iterator[Finding]:
    """Yield what reads encoded pictures."""
    for encoding, module, name in (("JPEG", "simplejpeg", "simplejpeg"), ("PNG", "PIL", "Pillow")):
        if find_spec(module) is None:
            detail = f"{name} is not installed: an encoded picture is an error 1002"
            yield Finding(f"{encoding} decoder", "warning", detail, "pip install 'procvision[images]'")
        else:
            yield Finding(f"{encoding} decoder", detail=name)


def encoder() -> Iterator[Finding]:
    """Yield what encodes the pictures that a station keeps, where the extra `station` is installed."""
    title = "encoder of kept pictures"
    if find_spec("litestar") is None:
        return
    if find_spec("isal") is None:
        detail = "isal is not installed: a picture that a station keeps takes more than twice the processor's time"
        yield Finding(title, "warning", detail, "pip install isal")
    else:
        yield Finding(title, detail="isal")


def algorithms() -> Iterator[Finding]:
    """Yield what is installed, and what of it is broken."""
    title = "installed algorithms"
    try:
        rows = ask(["list"], os.environ, LIST_TIMEOUT_S)
    except HostSilentError as error:
        yield Finding(title, "failed", *split_hint(str(error)))
        return
    good = [f"{row['name']} {row['version'] or ''}".strip() for row in rows if row["error"] is None]
    yield Finding(title, detail=", ".join(good) or "none")
    for row in rows:
        if row["error"] is not None:
            yield Finding(f"algorithm {row['name']}", "warning", row["error"], f"procvision validate {row['name']}")
        if row["also_in"]:
            detail = (
                f"it is in {' and '.join([row['distribution'] or '?', *row['also_in']])}: the name alone is refused"
            )
            hint = f"uninstall all but one, or ask for {row['name']}@{row['distribution'] or '?'}"
            yield Finding(f"algorithm {row['name']}", "warning", detail, hint)


def isolation() -> Iterator[Finding]:
    """Yield what this machine can keep a vendor's process from, one finding a rule: each was tried."""
    try:
        rows = ask(["isolation"], os.environ, LIST_TIMEOUT_S)
    except HostSilentError as error:
        yield Finding("isolation", "failed", *split_hint(str(error)))
        return
    for row in rows:
        title = f"isolation, {row['level']}: {row['name']}"
        if row["held"]:
            yield Finding(title, detail=row["by"])
        else:
            yield Finding(title, "warning", row["detail"], f"it needs {row['by']}: docs/explanation/trust.md")


def hook_plugins() -> Iterator[Finding]:
    """Yield which a host started here would use, by its configuration, and what they say of it."""
    title = "hook plugins"
    try:
        rows = ask(["hooks"], os.environ, LIST_TIMEOUT_S)
    except HostSilentError as error:
        yield Finding(title, "failed", *split_hint(str(error)))
        return
    if isinstance(rows, dict):
        # One that is asked for can't be used: every host would leave with that.
        yield Finding(title, "failed", *split_hint(rows["error"]))
        return
    used = [row["name"] for row in rows if row["active"]]
    idle = sorted({row["name"] for row in rows if row["chosen_by"] == "installed"})
    detail = ", ".join(used) or "none"
    yield Finding(title, detail=f"{detail}; installed and named by nobody: {', '.join(idle)}" if idle else detail)
    for row in rows:
        for told in (row["error"], *row["warnings"]):
            if told is not None:
                yield Finding(f"hook plugin {row['name']}", "warning", *split_hint(told))
