"""Which installed version of an algorithm is active, and the command that launches it: what a runner reads of them.

    ROOT/NAME/VERSION/            an environment, with `deployment.json` and `files.json`
    ROOT/NAME/active/PID          a link to `../VERSION`; `%2A` stands for every product that has none of its own

`procvision install` and `activate` write them. A link is changed by a rename, so a reader sees the old or the new one.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from attrs import evolve, frozen

from procvision_runner.errors import LaunchError
from procvision_sdk.errors import ErrorCode
from procvision_sdk.regular_files import read_regular

ANY_PID = "*"
ACTIVE = "active"
FACTS_FILE = "deployment.json"
FILES_FILE = "files.json"
HISTORY_FILE = "history.jsonl"
MAX_FACTS_BYTES = 4 << 20
MAX_FILES_BYTES = 64 << 20
MAX_HISTORY_BYTES = 256 << 20
PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:t|d|-dbg)?(?:\.exe)?$")
"""How interpreters are called: anything else may be a program that has one built in, and would start itself again."""
_BLOCK_BYTES = 1 << 20


class FileFacts(msgspec.Struct, frozen=True, array_like=True):
    """One file of a deployment: a link has its goal in place of a hash."""

    path: str
    mode: int
    bytes: int
    mtime_ns: int
    content: str
    """The SHA-256 in hex, or where a link leads."""


@frozen
class Deployment:
    """An installed version that is active."""

    folder: Path
    facts: dict[str, Any]
    """What `deployment.json` says."""
    grants: tuple[str, ...] = ()
    """The needs that its activation grants."""

    @property
    def name(self) -> str:
        """The distribution's name."""
        return str(self.facts["name"])

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.facts["version"])

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self.folder / "bin" / "python"

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The names of its algorithms."""
        return tuple(str(name) for name in self.facts["algorithms"])

    def command(self, algorithm: str) -> tuple[str, ...]:
        """Return the words that launch a host, which is this installation's own; the deployment is its cell's.

        Raises LaunchError where this program can't give a host, or the deployment is for another Python.
        """
        kept = str(self.facts["python"]["version"])
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        if kept.split(".")[:2] != own.split("."):
            text = f"{self.folder} is installed for Python {kept}, this runs Python {own}"
            hint = "hint: uninstall it, and install its bundle again"
            raise _error(f"{text}; {hint}", ErrorCode.INCOMPATIBLE_PYTHON)
        return (*host_in(self.python), "--algo", algorithm)


def host_in(python: Path) -> tuple[str, ...]:
    """Return the words that start our host for a vendor's environment, of which `python` is the interpreter.

    The program and all that its host half imports are this installation's: nothing of the vendor's is code of it. Its
    cell has the vendor's packages. `-I` keeps out what environment variables name, `-S` what Python runs by itself, and
    `-B` writes nothing into the environment. Raises LaunchError where this program has no interpreter of its own.
    """
    program = host_program()
    if program is None or not runs_by_python():
        what = f"this program, {sys.executable or 'whose Python is not known'}, has no procvision_host of its own"
        hint = "hint: launch deployments from a Python environment in which procvision is installed"
        raise _error(f"{what}, and a vendor's is never used; {hint}", ErrorCode.INSTALL_FAILED)
    return (str(python), "-I", "-S", "-B", program, "--platform-python", sys.executable)


def host_program() -> str | None:
    """Return the file that a host of this installation begins with, None where there is none. Nothing is imported."""
    spec = find_spec("procvision_host")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(folder, "launched.py").absolute()
        if program.is_file():
            return str(program)
    return None


def runs_by_python() -> bool:
    """Return whether `sys.executable` is an interpreter, and not a program that has one built in."""
    named = Path(sys.executable or "").name
    return bool(named) and not getattr(sys, "frozen", False) and PYTHON.match(named) is not None


def link_name(pid: str) -> str:
    """Return the name of a product's link: `*` stands for all that have none."""
    quoted = quote(pid, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def pid_of(link: str) -> str:
    """Return the product of a link's name."""
    return unquote(link)


class Active(NamedTuple):
    """The link that counts for a product."""

    pid: str
    """Whose link it is."""
    version: str
    changed_ns: int
    """When it was made: another activation, also one of the same version, makes another link."""


def active_version(folder: Path, pid: str | None) -> Active | None:
    """Return the link that counts for a product; None where nothing is active. `folder` is that of a name."""
    for candidate in dict.fromkeys((pid or ANY_PID, ANY_PID)):
        link = folder / ACTIVE / link_name(candidate)
        try:
            changed_ns, goal = link.lstat().st_mtime_ns, link.readlink()
        except OSError:
            continue
        return Active(candidate, goal.name, changed_ns)
    return None


def granted(root: Path, name: str, active: Active) -> tuple[str, ...]:
    """Return the needs that were granted when this version was activated. Raises LaunchError.

    The history has them: the last record of the product and this version, which is older than its link.
    """
    file = root / HISTORY_FILE
    try:
        # What stands behind the last line feed was being written when its command was killed: it never happened.
        whole = read_regular(file, MAX_HISTORY_BYTES).rpartition(b"\n")[0]
        for line in reversed(whole.splitlines()):
            if b'"activated"' in line or b'"rolled back"' in line:
                event = msgspec.json.decode(line, type=_Activation)
                if (event.name, event.pid, event.version) == (name, active.pid, active.version):
                    return event.grants
    except (OSError, ValueError) as error:
        raise _error(
            f"{file} can't be read: {error}; hint: procvision history", ErrorCode.ACTIVATION_CONFLICT
        ) from error
    return ()


class _Activation(msgspec.Struct):
    name: str
    version: str
    pid: str
    grants: tuple[str, ...] = ()


def active_deployment(root: Path, algorithm: str, pid: str | None = None) -> Deployment:
    """Return the deployment that is active for an algorithm and a product. Raises LaunchError.

    Its files are looked at where a host of it is launched.
    """
    found = []
    root = root.absolute()
    # The name of a distribution is most often that of its algorithm.
    for folder in sorted(_folders(root), key=lambda folder: folder.name != algorithm):
        active = active_version(folder, pid)
        if active is not None:
            deployment = read_deployment(folder / active.version)
            if algorithm in deployment.algorithms:
                found.append(evolve(deployment, grants=granted(root, folder.name, active)))
    if not found:
        what = f"no version of {algorithm} is active{f' for product {pid}' if pid else ''} in {root}"
        raise _error(f"{what}; hint: procvision activate NAME==VERSION --root {root}", ErrorCode.ACTIVATION_CONFLICT)
    if len(found) > 1:
        names = " and ".join(deployment.name for deployment in found)
        text = f"{algorithm} is an algorithm of {names}, both active in {root}"
        raise _error(f"{text}; hint: another root for one of them", ErrorCode.ACTIVATION_CONFLICT)
    return found[0]


def read_deployment(folder: Path) -> Deployment:
    """Read what is said of an installed version. Raises LaunchError."""
    try:
        facts = msgspec.json.decode(read_regular(folder / FACTS_FILE, MAX_FACTS_BYTES), type=dict[str, Any])
        deployment = Deployment(folder, facts)
        known = deployment.algorithms and str(facts["python"]["version"])
        if (deployment.name, deployment.version) != (folder.parent.name, folder.name) or not known:
            raise ValueError("it is another one's, or has no algorithm")  # noqa: TRY301
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _error(
            f"{folder} is no deployment: {error}; hint: procvision install", ErrorCode.INSTALL_FAILED
        ) from error
    return deployment


def deployment_folder(command: Sequence[str]) -> Path | None:
    """Return the folder of the deployment that a command launches a host of; None for any other command."""
    python = Path(command[0])
    folder = python.parent.parent
    if not python.is_absolute() or python.parent.name != "bin":
        return None
    return folder if (folder / FACTS_FILE).exists() or (folder / FILES_FILE).exists() else None


def taken(command: Sequence[str], *, locked: bool = True) -> int | None:
    """Look at the deployment that a command launches, and return a descriptor that keeps it from being removed.

    None for a command that launches none, or if it is not to be `locked`. Its holder closes it when the host has ended.
    Raises LaunchError where the deployment is not as it was installed, or is being removed.
    """
    folder = deployment_folder(command)
    if folder is None:
        return None
    check_unchanged(folder)
    if not locked:
        return None
    try:
        descriptor = os.open(folder / FACTS_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _changed(folder, f"{FACTS_FILE} can't be read: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        text = f"{folder} is being removed; hint: procvision versions shows what is installed"
        raise _error(text, ErrorCode.ACTIVATION_CONFLICT) from error
    return descriptor


def told_of(command: Sequence[str]) -> dict[str, str] | None:
    """Return what results say of the deployment that a command launches; None for any other. Raises LaunchError."""
    folder = deployment_folder(command)
    if folder is None:
        return None
    facts = read_deployment(folder).facts
    return {key: str(facts.get(key) or "") for key in ("name", "version", "id", "bundle")}


def check_whole(folder: Path) -> int:
    """Hold each file of a deployment, and its interpreter, against the hashes that were kept; return how many files.

    Raises LaunchError: 2001 for a file, 2003 for the interpreter.
    """
    check_unchanged(folder)
    files = read_files(folder)
    try:
        for file in files:
            path = folder / file.path
            content = str(path.readlink()) if stat.S_ISLNK(file.mode) else digest(path)
            if content != file.content:
                raise _changed(folder, f"{file.path} has other bytes, or leads elsewhere")
        kept = read_deployment(folder).facts["python"]
        found = interpreter(folder / "bin" / "python")
        if found["sha256"] != kept["sha256"] or found["path"] != kept["path"]:
            text = f"the interpreter {kept['path']} is not the one of its installation"
            hint = "hint: uninstall it, and install its bundle again"
            raise _error(f"{folder}: {text}; {hint}", ErrorCode.INCOMPATIBLE_PYTHON)
    except (OSError, KeyError, TypeError) as error:
        raise _changed(folder, f"it can't be read: {error}") from error
    return len(files)


def interpreter(python: Path) -> dict[str, str]:
    """Return the file behind an environment's link to its interpreter, and that file's hash. Raises OSError."""
    real = Path(os.path.realpath(python))
    return {"path": str(real), "sha256": digest(real)}


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hex. Raises OSError."""
    import hashlib

    hashed = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK_BYTES), b""):
            hashed.update(block)
    return hashed.hexdigest()


def check_unchanged(folder: Path) -> None:
    """Hold a deployment's files against what was kept of them, by `lstat` alone. Raises LaunchError."""
    kept = {file.path: file for file in read_files(folder)}
    for path, status in walk(folder):
        file = kept.pop(path, None)
        if file is None:
            raise _changed(folder, f"{path} was added")
        now = (stat.S_IFMT(status.st_mode) | stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime_ns)
        if now != (file.mode, file.bytes, file.mtime_ns):
            raise _changed(folder, f"{path} was changed")
    if kept:
        raise _changed(folder, f"{min(kept)} is gone")


def read_files(folder: Path) -> list[FileFacts]:
    """Read what was kept of a deployment's files. Raises LaunchError."""
    try:
        return msgspec.json.decode(read_regular(folder / FILES_FILE, MAX_FILES_BYTES), type=list[FileFacts])
    except (OSError, ValueError) as error:
        raise _changed(folder, f"{FILES_FILE} can't be read: {error}") from error


def walk(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Return all files and links below a folder with their status, but for the list of them itself."""
    found = []
    places = [""]
    while places:
        place = places.pop()
        with os.scandir(folder / place) as entries:
            for entry in entries:
                path = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    places.append(f"{path}/")
                elif path != FILES_FILE:
                    found.append((path, entry.stat(follow_symlinks=False)))
    return found


def _folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        text = f"{root} is no folder of deployments: {error.strerror}; hint: procvision install BUNDLE --root {root}"
        raise _error(text, ErrorCode.INSTALL_FAILED) from error


def _changed(folder: Path, what: str) -> LaunchError:
    text = f"{folder} is not as it was installed: {what}; hint: uninstall it, and install its bundle again"
    return _error(text, ErrorCode.INVALID_PACKAGE)


def _error(text: str, code: ErrorCode) -> LaunchError:
    return LaunchError(text, error_code=code)
