"""Versions: what runs on which line, and what is installed beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from attrs import frozen
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from procvision_sdk.errors import ProcVisionError
from procvision_station.control import ActivateVersion, TakeBackVersion
from procvision_station.versions import COMMAND_WITHIN_S
from procvision_station.web.accounts import Role
from procvision_station.web.api.asking import Here
from procvision_station.web.api.changes import ChangesHere, Recorded
from procvision_station.web.doors import needs
from procvision_station.web.problems import RequestRefusedError


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

    installed: list[InstalledBody]
    history: list[HistoryBody]


@frozen
class Deployments:
    """The folder of deployments, read."""

    root: Path

    def body(self) -> VersionsBody:
        """Return what is installed. Raises RequestRefusedError."""
        from procvision_tools.deployments.store import Store

        if not self.root.is_dir():
            return VersionsBody(installed=[], history=[])
        try:
            store = Store(self.root)
            rows = store.versions()
        except (OSError, ProcVisionError) as error:
            raise RequestRefusedError(503, "deployments", problem=str(error).partition("\n")[0][:300]) from error
        return VersionsBody(
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


ROUTES = (versions, activate, rollback)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
