"""Versions: what runs on which line, what is installed beside it, and bundles that an administrator installs."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

import msgspec
from attrs import field, frozen
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, SkipValidation

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import PRIVATE_FILE, make_private_folder
from procvision_station.configuration.model import DeploymentsSection
from procvision_station.configuration.recipes import deployments_section
from procvision_station.control import BUNDLE_FILE, ActivateVersion, InstallVersion, TakeBackVersion
from procvision_station.versions import COMMAND_WITHIN_S, UPLOADS
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import Here
from procvision_station.web.api.changes import ChangesHere, Recorded
from procvision_station.web.doors import needs
from procvision_station.web.problems import RequestRefusedError

BINARY = "application/octet-stream"
MEGABYTE = 1_000_000
SHARE_OF_FREE = 4
"""An upload has at most one part of so many of what the disk has free: it is unpacked, and the ledger goes on."""
MAX_BUNDLES = 200
"""Files of the folder of bundles that are shown, the latest."""
_BUNDLE = re.compile(BUNDLE_FILE)


class InstalledBody(msgspec.Struct, frozen=True, kw_only=True):
    """An installed version of an algorithm."""

    name: str
    version: str
    active: list[str]
    """Products that get it; `*` is every product that has none of its own."""
    installed: str | None
    by: str | None
    signed_by: str | None
    package: str | None
    """The SHA-256 of its `bundle.json`, which has the hash of every file."""
    grants: dict[str, list[str]]
    """Needs that are granted, by the product for which it is active."""
    fault: str | None
    """What differs from what was installed."""


class HistoryBody(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a version."""

    at: str
    by: str
    """Who ran the command, or the user of the page who asked for it."""
    event: str
    name: str | None
    version: str | None
    pid: str | None
    """The product; `*` is every product that has none of its own."""
    why: str | None
    gate: list[dict[str, Any]]
    """What its gate said: title, level and detail."""


class VersionsBody(msgspec.Struct, frozen=True, kw_only=True):
    """Deployments, and their history, the latest first."""

    used: bool
    """Whether the station's lines run installed versions: station.toml has the table [deployments]."""
    installed: list[InstalledBody]
    history: list[HistoryBody]


class BundleBody(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the folder of bundles."""

    file: str
    bytes: int
    changed: datetime


class BundlesBody(msgspec.Struct, frozen=True, kw_only=True):
    """What can be installed from, and how large an upload may be."""

    folder: str | None
    """As station.toml names it; None where it names none."""
    bundles: list[BundleBody]
    max_bytes: int
    """Of an upload."""


@frozen
class Deployments:
    """The folder of deployments, read, and bundles on their way into it."""

    folder: Path
    """The station's."""
    data: Path
    """The station's folder of data."""
    _uploading: Lock = field(factory=Lock, init=False)

    @property
    def section(self) -> DeploymentsSection:
        """The table of station.toml; where there is none, what counts without."""
        return deployments_section(self.folder) or DeploymentsSection()

    def body(self) -> VersionsBody:
        """Return what is installed. Raises RequestRefusedError."""
        from procvision_tools.deployments.store import Store

        section = deployments_section(self.folder)
        root, used = self.folder / (section or DeploymentsSection()).root, section is not None
        if not root.is_dir():
            return VersionsBody(used=used, installed=[], history=[])
        try:
            store = Store(root)
            rows = store.versions()
        except (OSError, ProcVisionError) as error:
            raise RequestRefusedError(503, "deployments", problem=str(error).partition("\n")[0][:300]) from error
        return VersionsBody(
            used=used,
            installed=[
                InstalledBody(
                    name=row["name"], version=row["version"], active=row["active"],
                    installed=_text(row["installed"]), by=_text(row["by"]),
                    signed_by=_text((row["signed_by"] or {}).get("name")), package=_text(row["bundle"]),
                    grants=row["grants"], fault=row["fault"],
                )
                for row in rows
            ],
            history=[
                HistoryBody(
                    at=event["at"], by=str(event.get("user") or event["by"]), event=event["event"],
                    name=_text(event.get("name")), version=_text(event.get("version")), pid=_text(event.get("pid")),
                    why=_text(event.get("why")), gate=event.get("gate") or [],
                )
                for event in reversed(store.history.events[-200:])
            ],
        )  # fmt: skip

    def bundles(self) -> BundlesBody:
        """Return what lies in the folder of bundles. Raises RequestRefusedError."""
        section, found = self.section, []
        try:
            for path in (self.folder / section.bundles).iterdir() if section.bundles is not None else ():
                if _BUNDLE.match(path.name) and path.is_file():
                    status = path.stat()
                    found.append((status.st_mtime, path.name, status.st_size))
        except OSError as error:
            problem = f"{section.bundles}: {error.strerror or error}"
            raise RequestRefusedError(503, "deployments", problem=problem) from error
        return BundlesBody(
            folder=section.bundles,
            bundles=[
                BundleBody(file=name, bytes=size, changed=datetime.fromtimestamp(changed, UTC))
                for changed, name, size in sorted(found, reverse=True)[:MAX_BUNDLES]
            ],
            max_bytes=section.max_bundle_mb * MEGABYTE,
        )

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Let one upload be on its way at a time. Raises RequestRefusedError."""
        if not self._uploading.acquire(blocking=False):
            raise RequestRefusedError(409, "bundle_busy")
        try:
            yield
        finally:
            self._uploading.release()

    async def take(self, name: str, length: int | None, parts: AsyncIterator[bytes]) -> Path:
        """Write an upload into a file, and return it. Raises RequestRefusedError; no file is left then."""
        folder, bound = self.data / UPLOADS, self.section.max_bundle_mb * MEGABYTE
        path = folder / f"{Path(name).stem[:200]}-{secrets.token_hex(4)}.zip"
        took = 0
        try:
            make_private_folder(folder)
            for left in folder.iterdir():  # by a page that was killed meanwhile
                left.unlink()
            status = os.statvfs(folder)
            bound = min(bound, status.f_bavail * status.f_frsize // SHARE_OF_FREE)
            _hold_size(length or 0, bound)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
            with os.fdopen(descriptor, "wb") as file:
                async for part in parts:
                    took += len(part)
                    _hold_size(took, bound)
                    await asyncio.to_thread(file.write, part)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise RequestRefusedError(507, "bundle_disk", problem=error.strerror or str(error)) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if length is not None and took != length:
            path.unlink(missing_ok=True)
            raise RequestRefusedError(400, "bundle_part", bound=length, value=took)
        return path


def _hold_size(size: int, bound: int) -> None:
    if size > bound:
        raise RequestRefusedError(413, "bundle_size", bound=bound, value=size)


Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Pid = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Pids = Annotated[tuple[Pid, ...], msgspec.Meta(min_length=1, max_length=100)]
Why = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class Activation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which version, for which products, and why. `*` stands for all products that have none of their own."""

    name: Name
    version: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,63}$")]
    pids: Pids = ("*",)
    grants: Annotated[list[Annotated[str, msgspec.Meta(max_length=256)]], msgspec.Meta(max_length=32)] = []
    """Needs of its manifest that it gets, by name."""
    why: Why


class TakeBack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which products get the version again that was active before, and why."""

    name: Name
    pids: Pids = ("*",)
    allow_revoked: bool = False
    """Whether also one whose key was revoked since; takes the role of an engineer."""
    why: Why


FileName = Annotated[str, msgspec.Meta(pattern=BUNDLE_FILE)]


class Installation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which file of the folder of bundles, and why."""

    file: FileName
    why: Why


DeploymentsHere = NamedDependency[SkipValidation[Deployments]]


@get("/versions", opt=needs(Role.VIEWER), tags=["versions"], sync_to_thread=True)
def versions(deployments: DeploymentsHere) -> VersionsBody:
    """List installed versions, what is active for which product, and what happened to them with their gates."""
    return deployments.body()


@post("/versions/activate", opt=needs(Role.ENGINEER), tags=["versions"], sync_to_thread=True)
def activate(request: Here, data: JSONBody[Activation], changes: ChangesHere) -> Recorded:
    """Activate an installed version through its gate; what runs stays so unless all of the gate passes.

    The lines go on with it between two products. It takes as long as its start and its golden pictures.
    """
    facts = msgspec.structs.asdict(data)
    return changes.send(ActivateVersion(user=request.user.user.id, **facts), COMMAND_WITHIN_S)


@post("/versions/rollback", opt=needs(Role.OPERATOR), tags=["versions"], sync_to_thread=True)
def rollback(request: Here, data: JSONBody[TakeBack], changes: ChangesHere) -> Recorded:
    """Go back to the version that was active before: its files and its key are looked at, nothing is run."""
    role = request.user.role
    if data.allow_revoked and not role.may(Role.ENGINEER):
        raise RequestRefusedError(403, "role", bound=str(Role.ENGINEER), value=str(role))
    facts = msgspec.structs.asdict(data)
    return changes.send(TakeBackVersion(user=request.user.user.id, **facts), COMMAND_WITHIN_S)


@get("/versions/bundles", opt=needs(Role.ADMINISTRATOR), tags=["versions"], sync_to_thread=True)
def bundles(deployments: DeploymentsHere) -> BundlesBody:
    """List the bundles in the folder that station.toml names."""
    return deployments.bundles()


@post("/versions/install", opt=needs(Role.ADMINISTRATOR), tags=["versions"], sync_to_thread=True)
def install(request: Here, data: JSONBody[Installation], changes: ChangesHere) -> Recorded:
    """Install a bundle of the folder that station.toml names, with the checks and keys of `procvision install`.

    Nothing of it runs before it is activated.
    """
    command = InstallVersion(user=request.user.user.id, file=data.file, why=data.why)
    return changes.send(command, COMMAND_WITHIN_S)


@post(
    "/versions/upload",
    opt=needs(Role.ADMINISTRATOR, body=BINARY),
    tags=["versions"],
    request_max_body_size=None,  # `take` has a bound of its own
)
async def upload(
    request: Here, file: FromQuery[FileName], why: FromQuery[Why], deployments: DeploymentsHere, changes: ChangesHere
) -> Recorded:
    """Install the bundle that the body is, `application/octet-stream`, as `install` does.

    One at a time, and bounded: by `max_bundle_mb`, and by a quarter of what the disk has free. No copy of it stays.
    """
    given = request.headers.get("content-length", "")
    with deployments.taking():
        path = await deployments.take(file, int(given) if given.isdecimal() else None, request.stream())
        command = InstallVersion(user=request.user.user.id, file=path.name, uploaded=True, why=why)
        try:
            return await asyncio.to_thread(changes.send, command, COMMAND_WITHIN_S)
        finally:
            path.unlink(missing_ok=True)


ROUTES = (versions, activate, rollback, bundles, install, upload)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
