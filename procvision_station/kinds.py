"""Triggers, cameras and outputs: small protocols, and the kinds of them that are installed.

A kind is a class. Its `options` is a msgspec class, which the table in `station.toml` is held against; it is made with
these options and the station's folder. Where it has a static method `check(options, folder)`, that raises KindError for
what is missing, and opens nothing: `procvision station check` asks it. A distribution declares its kinds as entry
points of the groups in `GROUPS`, under the name that `kind = "..."` has. `procvision_station.testing` has a check for
each protocol.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import msgspec
from attrs import define, field, frozen

from procvision_runner import Picture
from procvision_sdk.errors import ProcVisionError
from procvision_station.line.messages import Verdict

GROUPS: Mapping[str, str] = MappingProxyType(
    {"trigger": "procvision.triggers", "camera": "procvision.cameras", "output": "procvision.outputs"}
)
"""Sort -> group of entry points."""
BUILT_IN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "trigger": {
            "camera": "procvision_station.triggers:CameraTrigger",
            "folder": "procvision_station.triggers:FolderTrigger",
            "http": "procvision_station.triggers:HttpTrigger",
            "interval": "procvision_station.triggers:IntervalTrigger",
        },
        "camera": {
            "folder": "procvision_station.cameras:FolderCamera",
            "genicam": "procvision_station.cameras:GenicamCamera",
            "simulated": "procvision_station.cameras:SimulatedCamera",
            "trigger": "procvision_station.cameras:TriggerCamera",
        },
        "output": {
            "json-lines": "procvision_station.outputs:JsonLinesOutput",
            "mqtt": "procvision_station.outputs:MqttOutput",
            "program": "procvision_station.outputs:ProgramOutput",
            "webhook": "procvision_station.outputs:WebhookOutput",
        },
    }
)
"""Sort -> kind -> module:class, of those in the box. No other distribution can take their names."""
TWICE = "two distributions have it"


class KindError(ProcVisionError):
    """A trigger, a camera or an output can't do what it is asked for."""


@frozen
class Fired:
    """A trigger says that a product has come."""

    file: Path | None = None
    """The picture that came with it, where that is how the trigger knows."""
    picture: Picture | None = None
    """The picture that came with it, where it is no file."""
    serial: str | None = None
    """The product's serial number, where the trigger knows it."""


@frozen
class Told:
    """What an output tells."""

    line: str
    key: str
    product: str
    verdict: Verdict
    reason: str
    triggered_at: str
    """UTC, as ISO 8601 writes it."""


class Trigger(Protocol):
    """What says that a product has come. One thread uses it."""

    options: ClassVar[type[msgspec.Struct]]

    def __init__(self, options: Any, folder: Path) -> None:
        """Make it ready. Raises KindError."""

    def wait(self, stop: Event) -> Fired | None:
        """Return when a product has come, soon after `stop` is set, or when none will come any more: None then.

        Raises KindError, after which it is asked again.
        """

    def close(self) -> None:
        """Let go of what is open. A second call does nothing."""


class Camera(Protocol):
    """Where pictures come from. One thread uses it."""

    options: ClassVar[type[msgspec.Struct]]

    def __init__(self, options: Any, folder: Path) -> None:
        """Make it ready. Raises KindError."""

    def grab(self, fired: Fired) -> Picture:
        """Take the picture of the product that has come. Raises KindError, after which it is asked again."""

    def close(self) -> None:
        """Let go of what is open. A second call does nothing."""


class Output(Protocol):
    """Who is told the verdict. One thread uses it."""

    options: ClassVar[type[msgspec.Struct]]

    def __init__(self, options: Any, folder: Path) -> None:
        """Make it ready. Raises KindError."""

    def tell(self, told: Told) -> None:
        """Tell a verdict. Raises KindError where it did not arrive, after which others are told."""

    def close(self) -> None:
        """Let go of what is open. A second call does nothing."""


def look_at(kind: Any, options: Any, folder: Path) -> None:
    """Let a kind's class say what is missing where it would be made now. Raises KindError."""
    check = getattr(kind, "check", None)
    if check is not None:
        check(options, folder)


@define
class Kinds:
    """The installed kinds, by sort and name. What is broken is known by its reason."""

    _homes: Mapping[str, Mapping[str, Any]] = field(factory=lambda: BUILT_IN)

    @classmethod
    def installed(cls) -> Kinds:
        """Return those in the box and those of other distributions, of which nothing is imported yet."""
        from importlib_metadata import entry_points

        homes: dict[str, dict[str, Any]] = {}
        for sort, group in GROUPS.items():
            homes[sort] = {}
            for point in entry_points(group=group):
                homes[sort][point.name] = TWICE if point.name in homes[sort] else point
            homes[sort] |= BUILT_IN[sort]
        return cls(homes)

    def of(self, sort: str) -> Mapping[str, Any]:
        """Return the kinds of a sort: name -> where it is declared."""
        return self._homes[sort]

    def load(self, sort: str, kind: str) -> Any:
        """Return the class of a kind, or in words why it can't be used."""
        home = self._homes[sort][kind]
        try:
            if isinstance(home, str):
                if home == TWICE:
                    return home
                module, _, name = home.partition(":")
                loaded = getattr(importlib.import_module(module), name)
            else:
                loaded = home.load()
            options = loaded.options
        except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises is a reason
            return f"{type(error).__name__}: {error}"
        if not (isinstance(options, type) and issubclass(options, msgspec.Struct)):
            return "its options are no msgspec.Struct"
        return loaded
