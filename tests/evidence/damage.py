"""A projection's SQLite file that is removed, replaced, cut and overwritten while a station runs under load."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.queries import ReadModel
from tests.evidence.held import LINES, HeldStation

NOTICED_WITHIN_S = 1.0
ANEW_WITHIN_S = 120.0
PINNED = 5
"""Of each line, before each damage: their pictures are old enough to be deleted, if nobody knew of the pin."""


def unlinked(path: Path, _: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def unlinked_alone(path: Path, _: Path) -> None:
    path.unlink()


def log_unlinked(path: Path, _: Path) -> None:
    path.with_name(path.name + "-wal").unlink(missing_ok=True)


def replaced_by_an_earlier_one(path: Path, earlier: Path) -> None:
    shutil.copy(earlier, path.with_name("copied"))
    path.with_name("copied").replace(path)


def replaced_by_an_empty_one(path: Path, _: Path) -> None:
    with contextlib.closing(sqlite3.connect(path.with_name("copied"))) as made:
        made.execute("CREATE TABLE products (sequence TEXT)")
        made.commit()
    path.with_name("copied").replace(path)


def replaced_by_no_database(path: Path, _: Path) -> None:
    path.with_name("copied").write_bytes(b"this is no database\n" * 1000)
    path.with_name("copied").replace(path)


def cut_to_nothing(path: Path, _: Path) -> None:
    os.truncate(path, 0)


def cut_in_half(path: Path, _: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def log_cut(path: Path, _: Path) -> None:
    os.truncate(path.with_name(path.name + "-wal"), 0)


DAMAGES: tuple[Callable[[Path, Path], None], ...] = (
    unlinked, replaced_by_an_earlier_one, cut_to_nothing, replaced_by_no_database, unlinked_alone, cut_in_half,
    replaced_by_an_empty_one, log_unlinked, log_cut,
)  # fmt: skip


@frozen
class DamagedDatabase:
    """A station whose projection is in SQLite; pictures that nobody pinned are deleted soon."""

    station: HeldStation

    def run(self, rounds: int, seconds: float, first: int = 0) -> dict[str, Any]:
        """Let it run so long, then damage the file so often. `wrong` is to be empty."""
        wrong: list[str] = []
        found: list[dict[str, Any]] = []
        pinned: set[str] = set()
        data = self.station.folder / "data"
        path, earlier = Database("sqlite", data).path, self.station.folder / "earlier"
        with self.station.running() as station:
            self.station.wait_for_more()
            time.sleep(seconds)
            with contextlib.closing(sqlite3.connect(path)) as of, contextlib.closing(sqlite3.connect(earlier)) as to:
                of.backup(to)
            for number in range(first, first + rounds):
                damage = DAMAGES[number % len(DAMAGES)]
                pinned |= self.station.pin(PINNED)
                time.sleep(random.Random(number).random() * 2)  # retention looks every two seconds
                said = self.station.said.stat().st_size
                wanted = {line: self._last(line) for line in LINES}
                began = time.monotonic()
                damage(path, earlier)
                noticed = self._after(began, lambda at=said: self._said_since(at), NOTICED_WITHIN_S * 20)
                whole = self._after(began, lambda last=wanted: self._reads(last), ANEW_WITHIN_S)
                found.append({"damage": damage.__name__, "noticed_s": noticed, "read_again_s": whole})
                if noticed is None or noticed > NOTICED_WITHIN_S:
                    wrong.append(f"{damage.__name__}: noticed after {noticed} s")
                if whole is None:
                    wrong.append(f"{damage.__name__}: it can't be read")
            ended = self.station.end(station)
        report = self.station.judge()
        wrong += report.pop("wrong")
        wrong += [f"the pinned {file} is gone" for file in pinned if not (data / "pictures" / file).is_file()]
        return {"damages": found, "ended": ended, "pinned": len(pinned), "wrong": wrong, **report}

    def _after(self, began: float, holds: Callable[[], bool], within_s: float) -> float | None:
        while time.monotonic() - began < within_s:
            if holds():
                return round(time.monotonic() - began, 2)
            time.sleep(0.02)
        return None

    def _said_since(self, at: int) -> bool:
        with self.station.said.open("rb") as file:
            file.seek(at)
            return b"is computed anew" in file.read()

    def _reads(self, wanted: dict[str, int]) -> bool:
        """Whether a reader of its own finds what the journals had."""
        try:
            with contextlib.closing(ReadModel(Database("sqlite", self.station.folder / "data"))) as model:
                read = model.last_sequences()
                model.history()
        except ProjectionError:
            return False
        return all(read.get(line, 0) >= last for line, last in wanted.items())

    def _last(self, line: str) -> int:
        return max(each["sequence"] for each in self.station.records(line))
