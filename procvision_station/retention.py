"""Which kept pictures go when they are old, or when the disk fills. It decides in the projection's process.

What there is to delete is asked from the projection: one that is gone, replaced, behind or half computed anew deletes
nothing. The lines' process deletes: it records first, and refuses a picture that another product has come to share
since, and all of them where somebody has pinned or overruled since.

By free space the oldest go first, class after class: OK, ERROR, NG, overruled. Pinned pictures stay.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from attrs import frozen

from procvision_station.configuration.model import PicturesSection
from procvision_station.control import ControlError, DeletePictures, NotRunningError, send

if TYPE_CHECKING:
    from procvision_station.projection.database import Database
    from procvision_station.projection.kept_pictures import KeptPictures
    from procvision_station.projection.projector import CaughtUp, Projector

LOOK_S = 2.0
"""Between two looks at the disk: 60 pictures of 10 MB at 3 a second."""
BATCH = 200
"""Pictures of one deletion: its record has some 20 kB."""
LAST_DELETIONS = 64
"""Records of deletions that are held against the disk: what a power cut left, the last one of a line left."""
DAY_MS = 86_400_000
MEGABYTE = 1024 * 1024
CLASSES = ("OK", "ERROR", "NG", "overruled")
"""In the order in which they go."""


@frozen
class Ask:
    """The oldest pictures of a class are to go: those before a time, or any."""

    of_class: str
    before_ms: int | None
    why: str


def asks(policy: PicturesSection, free_bytes: int, now_ms: int) -> Iterator[Ask]:
    """Yield what to delete, the most wanted first."""
    days = {"OK": policy.ok_days, "ERROR": policy.error_days, "NG": policy.ng_days}
    for of_class, after in days.items():
        if after is not None:
            yield Ask(of_class, now_ms - round(after * DAY_MS), f"older than {after:g} days")
    if free_bytes < policy.free_mb * MEGABYTE:
        for of_class in CLASSES:
            yield Ask(of_class, None, f"less than {policy.free_mb} MB were free")


class Retention:
    """Looks at the disk, and has pictures deleted. One thread uses it."""

    def __init__(
        self,
        policy: PicturesSection,
        data_folder: Path,
        pictures: Path,
        kept: KeptPictures,
        projector: Projector,
        filled: Database,
    ) -> None:
        self._policy, self._data_folder, self._pictures = policy, data_folder, pictures
        self._kept, self._projector, self._filled = kept, projector, filled
        """The last one is what the projector fills."""
        self._looked: frozenset[tuple[str, int]] = frozenset()
        """Those of the last records of deletions that left nothing on the disk."""

    def run(self, stop: Event, notice: Callable[[str], None]) -> None:
        """Keep the policy until `stop` is set. Nothing ends it."""
        from procvision_station.projection.database import ProjectionError

        said = ""
        while not stop.is_set():
            try:
                deleted, reason = self.step(), ""
            except NotRunningError:
                deleted, reason = 0, ""
            except (ControlError, ProjectionError, OSError) as error:
                deleted, reason = 0, str(error).splitlines()[0]
            if reason and reason != said:
                notice(f"retention: {reason}")
            said = reason
            stop.wait(0.05 if deleted == BATCH else LOOK_S)

    def step(self) -> int:
        """Delete one batch, if the policy asks for one; return how many pictures. Raises ControlError, OSError and
        ProjectionError.
        """
        caught_up = self._projector.caught_up
        if caught_up is None:
            return 0  # the projection has not been read to its end yet
        left = self._left_by_a_power_cut()
        if left:
            return self._delete(left, "recorded as deleted, and left by a power cut", caught_up)
        free = os.statvfs(self._pictures if self._pictures.is_dir() else self._data_folder)
        for ask in asks(self._policy, free.f_bavail * free.f_frsize, time.time_ns() // 1_000_000):
            files = self._kept.oldest(ask.of_class, ask.before_ms, BATCH)
            if files:
                return self._delete(files, ask.why, caught_up)
        return 0

    def _left_by_a_power_cut(self) -> list[str]:
        """Return the files that are there although a record says that they are deleted."""
        last = self._kept.last_deletions(LAST_DELETIONS)
        for record in last:
            if record not in self._looked:
                left = [file for file in self._kept.deleted_by(*record) if (self._pictures / file).exists()]
                if left:
                    return left
                self._looked |= {record}
        self._looked &= frozenset(last)
        return []

    def _delete(self, files: Sequence[str], why: str, caught_up: CaughtUp) -> int:
        lines, since = self._kept.lines_of(files), self._projector.caught_up
        if since is None or since.rebuilds != caught_up.rebuilds or not self._kept.are_of(self._filled):
            return 0  # what was asked may have been another's file, or read in part: whom it had pinned, nobody knows
        command = DeletePictures(lines=lines, why=why, as_of=caught_up.at)
        answer = send(self._data_folder, command)
        return int(answer.content.get("deleted", 0))
