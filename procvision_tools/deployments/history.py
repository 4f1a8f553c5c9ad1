"""Who installed, activated, took back and removed which version, when, and what the gate said: appended, never edited.

One JSON object a line, in UTF-8. Each has the hash of the one before it (`previous`) and its own (`hash`: the SHA-256
of its other fields as JSON with sorted keys and no blanks), so a line that was changed or taken out is seen; one that
was cut off at the end is not. Order is by number, never by clock.
"""

from __future__ import annotations

import datetime
import getpass
import json
import os
from pathlib import Path
from typing import Any

from procvision_runner.deployments import HISTORY_FILE, MAX_HISTORY_BYTES
from procvision_sdk.errors import ErrorCode
from procvision_sdk.private_files import touch_private
from procvision_sdk.regular_files import read_regular
from procvision_tools.bundling.errors import BundleError
from procvision_tools.deployments.plan import Grants, Product, Version
from procvision_tools.sealed import seal_of

START = "0" * 64
"""What stands before the first."""


class History:
    """The events of a root."""

    def __init__(self, root: Path) -> None:
        """Read them. Raises BundleError 2006 where the chain is broken."""
        self._path = root / HISTORY_FILE
        self.events: list[dict[str, Any]] = []
        self._torn = 0
        try:
            data = read_regular(self._path, MAX_HISTORY_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _broken(f"{self._path} can't be read: {error.strerror}") from error
        whole, _, torn = data.rpartition(b"\n")
        self._torn = len(torn)  # of a command that was killed while it wrote: it never happened
        previous = START
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                event: dict[str, Any] = json.loads(line)
                held = (event["previous"], event["number"], event["hash"])
                right = held == (previous, number, seal_of(event, "hash"))
            except (ValueError, KeyError, TypeError):
                right = False
            if not right:
                raise _broken(f"{self._path}: line {number} is not the one that was written")
            previous = event["hash"]
            self.events.append(event)

    def append(self, kind: str, **facts: Any) -> None:
        """Add an event, and return when it is on the disk. Raises OSError."""
        event = {
            "number": len(self.events) + 1,
            "previous": self.events[-1]["hash"] if self.events else START,
            "at": now().isoformat(timespec="milliseconds"),
            "by": _user(),
            "event": kind,
            **facts,
        }
        event["hash"] = seal_of(event, "hash")
        touch_private(self._path)
        with self._path.open("r+b", buffering=0) as file:  # what a full disk didn't take isn't written later
            size = file.seek(0, os.SEEK_END) - self._torn
            try:
                file.truncate(size)
                file.seek(size)
                left = memoryview(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(size)
                raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._torn = 0
        self.events.append(event)

    @property
    def latest(self) -> datetime.datetime:
        """The latest time that is on record, or now: a clock that was set back makes no ended key count again."""
        times = [datetime.datetime.fromisoformat(event["at"]) for event in self.events]
        return max([*times, now()])

    @property
    def recorded(self) -> dict[str, Version]:
        """The ids of all installations."""
        return {e["id"]: (e["name"], e["version"]) for e in self.events if e["event"] == "installed"}

    @property
    def removed(self) -> frozenset[str]:
        """The ids of those that were uninstalled."""
        return frozenset(event["id"] for event in self.events if event["event"] == "uninstalled")

    def keys_of(self, name: str, version: str) -> Path | None:
        """Return the file of keys by which a version was activated last; None where that isn't on record."""
        for event in reversed(self.events):
            about = (event["event"], event["name"], event["version"])
            if about == ("activated", name, version) and isinstance(event.get("keys"), str):
                return Path(event["keys"])
        return None

    @property
    def wanted(self) -> dict[Product, tuple[str, ...]]:
        """Product -> the versions that were active one after the other, without those that were rolled back."""
        return {product: tuple(event["version"] for event in events) for product, events in self._active.items()}

    @property
    def grants(self) -> dict[Product, tuple[Grants, ...]]:
        """Product -> what each of those was granted."""
        return {
            product: tuple(tuple(event.get("grants", ())) for event in events)
            for product, events in self._active.items()
        }

    @property
    def _active(self) -> dict[Product, list[dict[str, Any]]]:
        found: dict[Product, list[dict[str, Any]]] = {}
        for event in self.events:
            events = found.setdefault((event["name"], event.get("pid", "")), [])
            if event["event"] == "activated":
                events.append(event)
            elif event["event"] == "rolled back":
                events.pop()
        return {product: events for product, events in found.items() if events}


def now() -> datetime.datetime:
    """Give the time, UTC."""
    return datetime.datetime.now(datetime.UTC)


def _user() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _broken(text: str) -> BundleError:
    hint = "hint: what runs goes on; compare it with a copy, or begin another root"
    return BundleError(ErrorCode.ACTIVATION_CONFLICT, f"{text}; {hint}")
