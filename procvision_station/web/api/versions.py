"""Versions: what runs on which line, and what is installed beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from attrs import frozen
from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from procvision_sdk.errors import ProcVisionError
from procvision_station.web.accounts import Role
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
    fault: str | None
    """What differs from what was installed."""


class HistoryBody(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a version."""

    at: str
    by: str
    event: str
    name: str | None
    version: str | None
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
                    signed_by=_text((row["signed_by"] or {}).get("name")), fault=row["fault"],
                )
                for row in rows
            ],
            history=[
                HistoryBody(
                    at=event["at"], by=event["by"], event=event["event"], name=_text(event.get("name")),
                    version=_text(event.get("version")), why=_text(event.get("why")), gate=event.get("gate") or [],
                )
                for event in reversed(store.history.events[-200:])
            ],
        )  # fmt: skip


DeploymentsHere = NamedDependency[SkipValidation[Deployments]]


@get("/versions", opt=needs(Role.VIEWER), tags=["versions"], sync_to_thread=True)
def versions(deployments: DeploymentsHere) -> VersionsBody:
    """List installed versions, what is active for which product, and what happened to them with their gates."""
    return deployments.body()


ROUTES = (versions,)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
