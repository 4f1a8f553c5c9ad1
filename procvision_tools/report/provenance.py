"""Where a report comes from: when it was made, on which machine, by whom, with which versions."""

from __future__ import annotations

import getpass
import os
import platform
from datetime import datetime

from attrs import frozen


@frozen(kw_only=True)
class Provenance:
    """The facts that stand at the head of a page."""

    made_at: datetime
    machine: str
    user: str
    procvision: str
    """The version of ProcVision that made the page."""
    python: str
    system: str
    """Operating system and processor."""

    @classmethod
    def here(cls) -> Provenance:
        """Give those of this process, now."""
        return cls(
            made_at=datetime.now().astimezone(),
            machine=platform.node() or "unknown",
            user=_user(),
            procvision=_version(),
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}".strip(),
        )

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Names and texts, ready to be shown."""
        return (
            ("Made", time_text(self.made_at)),
            ("By", self.user),
            ("On", f"{self.machine} ({self.system})"),
            ("With", f"ProcVision {self.procvision}, Python {self.python}"),
        )


def time_text(instant: datetime) -> str:
    """Show an instant with its offset from UTC: a report is read in other places too."""
    return instant.isoformat(sep=" ", timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user id without a name
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _version() -> str:
    from importlib_metadata import PackageNotFoundError, version

    try:
        return version("procvision")
    except PackageNotFoundError:
        return "of a source tree"
