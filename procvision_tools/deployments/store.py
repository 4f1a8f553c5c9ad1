"""The folder of a station's deployments: reads its state, and does the steps of a plan, one command after the other.

Every step may be the last that a killed command did, and may be done again. A version is built under a name that no
reader looks at and gets its own by one rename; an activation is a link that one rename changes.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from procvision_runner.deployments import (
    ACTIVE,
    FACTS_FILE,
    FILES_FILE,
    MAX_FACTS_BYTES,
    FileFacts,
    check_unchanged,
    digest,
    interpreter,
    link_name,
    pid_of,
    walk,
)
from procvision_runner.errors import LaunchError
from procvision_sdk.errors import ErrorCode
from procvision_sdk.private_files import make_private_folder, touch_private
from procvision_sdk.regular_files import read_regular
from procvision_tools.bundling.bundle import INDEX, SIGNATURE, Bundle
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.installing import install
from procvision_tools.deployments.history import History, now
from procvision_tools.deployments.plan import Product, State, Step, Version, Wish, hidden, part, plan

ROOT_VARIABLE = "PROCVISION_DEPLOYMENTS"
LOCK_PATIENCE_S = 1.0
"""Longer than the programs of a killed command take to end, and the shortest commands."""
_UNPACKED = ".unpacked"
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def default_root() -> Path:
    """Give the folder where nobody names one: $PROCVISION_DEPLOYMENTS, or the one of this user's data."""
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "procvision" / "deployments"


@contextmanager
def changing(root: Path) -> Iterator[Store]:
    """Give the store to the one command that may change it. Raises BundleError 2005, and 2006 if another one does."""
    try:
        make_private_folder(root)
        touch_private(root / ".lock")
        with (root / ".lock").open("rb") as lock:
            if not _locked(lock.fileno()):
                text = f"another command changes {root}; hint: again when it has ended"
                raise BundleError(ErrorCode.ACTIVATION_CONFLICT, text)
            yield Store(root, lock.fileno())
    except OSError as error:
        text = f"{error.filename or root} can't be written: {error.strerror or error}"
        raise BundleError(ErrorCode.INSTALL_FAILED, f"{text}; hint: what was active is active still") from error


def _locked(lock: int) -> bool:
    until = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        else:
            return True


class Store:
    """A folder of deployments. Only within `changing`, with its lock, may it be changed."""

    def __init__(self, root: Path, lock: int | None = None) -> None:
        self.root = root.resolve()
        self._lock = lock
        self._unpacking = False
        self.history = History(self.root)

    # --- what there is --------------------------------------------------------------------------------------

    def state(self) -> State:
        """Read what lies there, and what the history says. Raises OSError."""
        installed: dict[Version, str] = {}
        active: dict[Product, str] = {}
        left: set[str] = set()
        for folder in _below(self.root):
            if not folder.is_dir():
                continue
            places = _below(folder)
            if folder.name.startswith(".") or not places:
                if not (self._unpacking and folder.name == _UNPACKED):
                    left.add(folder.name)
                continue
            for place in places:
                name = place.relative_to(self.root).as_posix()
                if place.name.startswith("."):
                    left.add(name)
                elif place.name == ACTIVE:
                    for link in _below(place):
                        if link.name.startswith("."):
                            left.add(link.relative_to(self.root).as_posix())
                        elif link.is_symlink():
                            active[folder.name, pid_of(link.name)] = link.readlink().name
                elif (place / FACTS_FILE).is_file():
                    installed[folder.name, place.name] = str(self.facts(folder.name, place.name).get("id"))
        history = self.history
        return State(installed, active, frozenset(left), history.recorded, history.removed, history.wanted,
                     history.grants)  # fmt: skip

    def facts(self, name: str, version: str) -> dict[str, Any]:
        """Give what `deployment.json` says, nothing where it can't be read."""
        try:
            data = read_regular(self.root / name / version / FACTS_FILE, MAX_FACTS_BYTES)
            return msgspec.json.decode(data, type=dict[str, Any])
        except (OSError, ValueError):
            return {}

    def versions(self) -> list[dict[str, Any]]:
        """Give a row for each installed version, with the products for which it is active. Raises OSError."""
        state = self.state()
        rows = []
        for name, version in sorted(state.installed):
            facts = self.facts(name, version)
            pids = sorted(p for (n, p), v in state.active.items() if (n, v) == (name, version))
            granted = {pid: list(grants) for pid in pids if (grants := state.granted((name, pid)))}
            kept = {key: facts.get(key) for key in ("algorithms", "bundle", "signed_by", "installed", "by", "python")}
            kept |= {"grants": granted, "fault": self._fault(name, version)}
            rows.append({"name": name, "version": version, "active": pids, **kept})
        return rows

    def _fault(self, name: str, version: str) -> str | None:
        try:
            check_unchanged(self.root / name / version)
        except LaunchError as error:
            return str(error)
        return None

    @contextmanager
    def unpacking(self) -> Iterator[Path]:
        """Give a folder for a bundle's files, which the next command clears if this one is killed. Raises OSError."""
        folder = self.root / _UNPACKED
        remove(folder)
        make_private_folder(folder)
        self._unpacking = True
        try:
            yield folder
        finally:
            self._unpacking = False
            remove(folder)

    # --- doing ----------------------------------------------------------------------------------------------

    def fulfil(
        self,
        wish: Wish,
        bundle: Bundle | None = None,
        facts: Mapping[str, Any] | None = None,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> list[Step]:
        """Do what a wish takes. ``facts`` go into its records. Raises BundleError, and OSError."""
        steps = plan(self.state(), wish)
        with self._not_running(wish):
            for step in steps:
                on_step(step)
                getattr(self, f"_{step.kind}")(step, bundle, facts or {})
            on_step(Step("clear"))
        return steps

    @contextmanager
    def _not_running(self, wish: Wish) -> Iterator[None]:
        """Let no host of a version that is to be removed be launched. Raises BundleError 2007 where one runs."""
        file = self.root / wish.name / wish.version / FACTS_FILE
        if wish.kind != "uninstall" or not file.is_file():
            yield
            return
        with file.open("rb") as facts:
            try:
                fcntl.flock(facts, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                text = f"{wish.name}=={wish.version} is running, although it is active no more"
                raise BundleError(
                    ErrorCode.UNSAFE_UNINSTALL, f"{text}; hint: again when its runner has ended"
                ) from error
            yield

    def _clear(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        remove(self.root / step.name)
        self._remove_if_empty((self.root / step.name).parent)

    def _remove_if_empty(self, folder: Path) -> None:
        """Remove the folder of a name that has no version."""
        if folder != self.root:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _build(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:
        assert bundle is not None
        folder = self.root / part(step.name, step.version)
        make_private_folder(folder.parent)
        try:
            python = install(bundle, folder, compiled=True, held=() if self._lock is None else (self._lock,))
            (folder / INDEX).write_bytes(bundle.index_bytes)
            if bundle.signature is not None:
                (folder / SIGNATURE).write_bytes(bundle.signature)
            said = {
                "format": 1, "id": uuid.uuid4().hex, "name": step.name, "version": step.version,
                "algorithms": [algorithm.name for algorithm in bundle.index.algorithms], "bundle": bundle.digest,
                "installed": now().isoformat(timespec="seconds"),
                "python": {**interpreter(python), "version": platform.python_version()}, **facts,
            }  # fmt: skip
            (folder / FACTS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n")
            _protect(folder)
            files = [_kept(folder, path, status) for path, status in sorted(walk(folder), key=lambda pair: pair[0])]
            folder.chmod(0o700)
            (folder / FILES_FILE).write_bytes(msgspec.json.encode(files))
            (folder / FILES_FILE).chmod(0o400)
            folder.chmod(0o500)
            _to_disk(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                remove(folder)
            self._remove_if_empty(folder.parent)
            raise

    def _publish(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        _renamed(self.root / part(step.name, step.version), self.root / step.name / step.version)

    def _record_installed(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        said = self.facts(step.name, step.version)
        kept = {key: said.get(key) for key in ("id", "bundle", "signed_by", "python", "why", "user")}
        self.history.append("installed", name=step.name, version=step.version, **kept)

    def _record_active(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        said = self.facts(step.name, step.version)
        kept = {"id": said.get("id"), "bundle": said.get("bundle"), "signed_by": said.get("signed_by")}
        kept["grants"] = list(step.grants)
        self.history.append(step.event, name=step.name, version=step.version, pid=step.pid, **kept, **facts)

    def _link(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        folder = self.root / step.name / ACTIVE
        make_private_folder(folder)
        link = folder / f".{link_name(step.pid)}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("..") / step.version)
        _renamed(link, folder / link_name(step.pid))

    def _record_removed(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        identity = self.facts(step.name, step.version).get("id")
        self.history.append("uninstalled", name=step.name, version=step.version, id=identity, **facts)

    def _hide(self, step: Step, bundle: Bundle | None, facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        place = self.root / step.name / step.version
        place.chmod(0o700)
        _renamed(place, self.root / hidden(step.name, step.version))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder that is read-only, as far as it is there. Raises OSError."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        path.chmod(0o700)
        for place, folders, _ in os.walk(path):
            for folder in folders:
                below = Path(place, folder)
                if not below.is_symlink():
                    below.chmod(0o700)
        shutil.rmtree(path)


def _protect(folder: Path) -> None:
    """Take the rights to write: it stops accidents, not root. Links lead out of it, and are left alone."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in [*files, *folders]:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~_WRITE_BITS & 0o700)
    folder.chmod(0o500)


def _kept(folder: Path, path: str, status: os.stat_result) -> FileFacts:
    link = stat.S_ISLNK(status.st_mode)
    mode = stat.S_IFMT(status.st_mode) | stat.S_IMODE(status.st_mode)
    content = str((folder / path).readlink()) if link else digest(folder / path)
    return FileFacts(path, mode, status.st_size, status.st_mtime_ns, content)


def _renamed(old: Path, new: Path) -> None:
    old.rename(new)
    _fsync(new.parent)


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_disk(folder: Path) -> None:
    """Have everything written before anything says that it is there. Raises OSError.

    By one call for the file system: one for each of some thousand files takes fifty times as long.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def _below(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
