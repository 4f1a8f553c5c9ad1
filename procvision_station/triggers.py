"""The triggers in the box."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from threading import Event
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from procvision_station.kinds import Fired, KindError
from procvision_tools.sources.folder import Arrivals

POLL_S = 0.1
"""A picture counts when two looks find it unchanged: so it is taken 0.1 to 0.2 s after its last byte."""


class IntervalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the trigger `interval`."""

    every_s: Annotated[float, Meta(gt=0, le=86_400, description="Seconds from one product to the next")]
    count: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="So many products, then it ends; left out, it goes on")
    ] = None


class IntervalTrigger:
    """A product comes every so many seconds. One that is missed, since the machine slept, is not made up for."""

    options: ClassVar[type[msgspec.Struct]] = IntervalOptions

    def __init__(self, options: IntervalOptions, folder: Path) -> None:  # noqa: ARG002 - the protocol's signature
        self._every_s, self._left = options.every_s, options.count
        self._next = time.monotonic()

    def wait(self, stop: Event) -> Fired | None:
        """Wait for the next moment."""
        if self._left == 0 or stop.wait(max(0.0, self._next - time.monotonic())):
            return None
        self._next = max(self._next + self._every_s, time.monotonic())
        if self._left is not None:
            self._left -= 1
        return Fired()

    def close(self) -> None:
        """Do nothing."""


class FolderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Of the trigger `folder`."""

    path: Annotated[str, Meta(min_length=1, description="The folder that pictures arrive in; relative to station.toml")]


class FolderTrigger:
    """A product comes with each picture that arrives whole in a folder. What was there before is left alone."""

    options: ClassVar[type[msgspec.Struct]] = FolderOptions

    def __init__(self, options: FolderOptions, folder: Path) -> None:
        path = folder / options.path
        try:
            self._arrivals = Arrivals(path)
        except OSError as error:
            raise KindError(f"{path} can't be read: {error.strerror or error}\nhint: make the folder first") from error
        self._waiting: deque[Path] = deque()

    def wait(self, stop: Event) -> Fired | None:
        """Wait for the next picture."""
        while not self._waiting:
            try:
                self._waiting += self._arrivals.poll(time.monotonic())
            except OSError as error:
                raise KindError(f"{self._arrivals.folder} can't be read: {error.strerror or error}") from error
            if not self._waiting and stop.wait(POLL_S):
                return None
        return Fired(self._waiting.popleft())

    def close(self) -> None:
        """Do nothing."""
