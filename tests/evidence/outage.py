"""A projection's PostgreSQL that goes away for minutes under load: killed with commits in flight, and frozen."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import closing
from typing import Any

import psutil
from attrs import frozen
from sqlalchemy.exc import SQLAlchemyError

from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.reading import last_records
from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.queries import ReadModel
from tests.evidence.held import LINES, HeldStation


@frozen
class Outage:
    """A station whose projection is in a PostgreSQL of its own, which is killed, stopped, started and frozen."""

    station: HeldStation
    server: Any

    def run(self, seconds: float, crashes: int) -> dict[str, Any]:
        """Crash it so often, then let it be away, and then frozen, so long. `wrong` is to be empty."""
        phases: dict[str, Any] = {}
        with self.station.running() as station:
            self.station.wait_for_more()
            phases["before"] = self._watch(seconds / 2)
            began = time.monotonic()
            for _ in range(crashes):
                time.sleep(0.7)
                self.server.kill()
                self.server.start()
            phases["crashes"] = {"crashes": crashes, "seconds": round(time.monotonic() - began, 1)}
            self.server.kill()
            phases["away"] = self._watch(seconds)
            self.server.start()
            phases["caught up after"] = self._caught_up()
            with _Frozen(self.server.process_id):
                phases["frozen"] = self._watch(seconds)
            phases["caught up again after"] = self._caught_up()
            ended = self.station.end(station)
        report = self.station.judge()
        for name in ("away", "frozen"):
            if phases[name]["told"] == 0 or phases[name]["waited_s"] > 5:
                report["wrong"].append(f"the line stood still: {name}: {phases[name]}")
        return {"phases": phases, "ended": ended, **report}

    def _watch(self, seconds: float) -> dict[str, Any]:
        """Return what was told meanwhile, and how long no line told anything at most."""
        before = sum(self._counts().values())
        began = changed = time.monotonic()
        last, longest = before, 0.0
        while time.monotonic() - began < seconds:
            time.sleep(0.1)
            now = sum(self._counts().values())
            longest = max(longest, time.monotonic() - changed)
            if now != last:
                last, changed = now, time.monotonic()
        return {"seconds": round(seconds), "told": last - before, "waited_s": round(longest, 2)}

    def _counts(self) -> Counter[str]:
        return Counter({line: (self.station.folder / f"told-{line}.jsonl").read_bytes().count(b"\n") for line in LINES})

    def _caught_up(self) -> float:
        """Return after how many seconds the projection had read what the journals had when it was asked first."""
        began = time.monotonic()
        wanted = {line: self._last(line) for line in LINES}
        with closing(ReadModel(Database(self.station.database, self.station.folder / "data"))) as model:
            while True:
                try:
                    read = model.last_sequences()
                except (ProjectionError, SQLAlchemyError):
                    read = {}
                if all(read.get(line, 0) >= last for line, last in wanted.items()):
                    return round(time.monotonic() - began, 2)
                assert time.monotonic() - began < 300, f"{read} of {wanted}"
                time.sleep(0.05)

    def _last(self, line: str) -> int:
        return last_records(FolderDisk(self.station.folder / "data" / "journal" / line), 1)[-1].sequence


class _Frozen:
    """Within it all processes of a server stand still: they answer nothing, and their connections are open."""

    def __init__(self, process_id: int) -> None:
        parent = psutil.Process(process_id)
        self._all = [parent.pid, *(each.pid for each in parent.children(recursive=True))]

    def __enter__(self) -> None:
        self._send(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for process_id in self._all:
            try:
                os.kill(process_id, number)
            except ProcessLookupError:
                continue
