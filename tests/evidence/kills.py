"""Kills a station's processes at random moments under load, and holds its ledger to what was told."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil

from tests.evidence.held import HeldStation

VICTIMS = {"lines": 15, "host": 45, "projection": 30, "page": 5, "server": 5}
"""How often each is struck, as shares: the page and the database's server where there are any."""
MARKS = {"host": "--algo", "projection": "procvision_station.projection", "page": "page"}
"""What stands in their command lines."""
DURING_START = 0.3
"""Of the kills of the lines' process, the share that strikes the next start, too: recovery is interrupted."""


class Kills:
    """A station whose processes are killed. `restart_server` kills the projection's database and starts it again."""

    def __init__(self, station: HeldStation, seed: int, restart_server: Callable[[], None] | None = None) -> None:
        self.station, self._rng, self._restart_server = station, random.Random(seed), restart_server
        self.struck: Counter[str] = Counter()

    def run(self, kills: int) -> dict[str, Any]:
        """Kill so often, end the station in good order, and say what was found. `wrong` is to be empty."""
        began = time.monotonic()
        while self.struck.total() < kills:
            with self.station.running() as station:
                if self.struck["lines"] and self._rng.random() < DURING_START and self.struck.total() < kills:
                    time.sleep(self._rng.random() * 4)
                    station.kill()
                    self.struck["lines"] += 1
                    continue
                self.station.wait_for_more()
                while self.struck.total() < kills:
                    time.sleep(self._rng.random() * 0.3)
                    victim = self._strike(station)
                    self.struck.update([victim] if victim else [])
                    if victim == "lines":
                        break
        with self.station.running() as station:
            self.station.wait_for_more()
            ended = self.station.end(station)
        seconds = round(time.monotonic() - began)
        return {"kills": dict(self.struck), "seconds": seconds, "ended": ended, **self.station.judge()}

    def _strike(self, station: subprocess.Popen[bytes]) -> str:
        wanted = self._rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        if wanted == "lines":
            station.kill()
            return wanted
        if wanted == "server":
            if self._restart_server is None:
                return ""
            self._restart_server()
            return wanted
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(station.pid).children(recursive=True)
            of_it = [each for each in found if MARKS[wanted] in each.cmdline()]
            if of_it:
                self._rng.choice(of_it).kill()
                return wanted
        return ""
