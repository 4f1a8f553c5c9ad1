"""Kills a station's processes at random moments under load, and holds its ledger to what was told."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from procvision_station.exporting import records
from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector, contents
from procvision_station.scaffold import make_station

COMMAND = [sys.executable, "-m", "procvision_tools", "station", "run", "--no-page"]
LINES = ("main", "side")
START_WITHIN_S = 90.0
VICTIMS = {"lines": 2, "host": 5, "projection": 3}
"""How often each is struck, as shares."""


class Kills:
    """A station of two lines whose processes are killed. `evidence` is the file's key."""

    def __init__(self, folder: Path, seed: int, evidence: str = "behind") -> None:
        self.folder, self._rng = folder, random.Random(seed)
        self._told = {line: folder / f"told-{line}.jsonl" for line in LINES}
        self._said = folder / "stderr.txt"
        list(make_station(folder))
        path = folder / "station.toml"
        text = path.read_text().replace("every_s = 0.5", "every_s = 0.04").replace("keep_ok = 0.05", "keep_ok = 0.5")
        text = text.replace("keep_error = 1.0", f'keep_error = 1.0\nevidence = "{evidence}"\nfree_mb = 0')
        main = text.index("[lines.main]")
        first = text[main:].replace('path = "-" ', 'path = "told-main.jsonl" ')
        path.write_text(
            text[:main] + first + "\n" + first.replace("lines.main", "lines.side").replace("told-main", "told-side")
        )

    def run(self, kills: int) -> dict[str, Any]:
        """Kill so often, end the station in good order, and say what was found. `wrong` is to be empty."""
        struck: Counter[str] = Counter()
        began = time.monotonic()
        while struck.total() < kills:
            with self._running() as station:
                self._wait_for_more()
                while struck.total() < kills:
                    time.sleep(self._rng.random() * 0.4)
                    victim = self._strike(station)
                    struck.update([victim] if victim else [])
                    if victim == "lines":
                        break
        with self._running() as station:
            self._wait_for_more()
            station.send_signal(signal.SIGTERM)
            ended = station.wait(60)
        return {"kills": dict(struck), "seconds": round(time.monotonic() - began), "ended": ended, **self.judge()}

    @contextlib.contextmanager
    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        with (
            self._said.open("ab") as said,
            subprocess.Popen([*COMMAND, self.folder], stdout=subprocess.DEVNULL, stderr=said) as station,
        ):
            try:
                yield station
            finally:
                station.kill()

    def _wait_for_more(self) -> None:
        """Wait until every line has told something since now."""
        before = {line: self._size(line) for line in LINES}
        deadline = time.monotonic() + START_WITHIN_S
        while any(self._size(line) <= before[line] for line in LINES):
            assert time.monotonic() < deadline, f"the station tells nothing: {self._said.read_text()[-2000:]}"
            time.sleep(0.02)

    def _size(self, line: str) -> int:
        return self._told[line].stat().st_size if self._told[line].exists() else 0

    def _strike(self, station: subprocess.Popen[bytes]) -> str:
        wanted = self._rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        if wanted == "lines":
            station.kill()
            return wanted
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(station.pid).children(recursive=True)
            mark = "procvision_station.projection" if wanted == "projection" else "--algo"
            of_it = [each for each in found if mark in each.cmdline()]
            if of_it:
                self._rng.choice(of_it).kill()
                return wanted
        return ""

    def judge(self) -> dict[str, Any]:
        """Hold the ledger to what was told, and the projection to the ledger."""
        wrong: list[str] = []
        counts: Counter[str] = Counter()
        for line in LINES:
            wrong += self._judge_line(line, counts)
        data = self.folder / "data"
        filled, anew = Database("sqlite", data, writes=True), Database("sqlite", data / "anew", writes=True)
        Projector(filled, data / "journal").catch_up()
        Projector(anew, data / "journal").catch_up()
        if contents(filled) != contents(anew):
            wrong.append("the projection is not equal to a rebuild")
        filled.close()
        anew.close()
        return {"wrong": wrong, **counts}

    def _judge_line(self, line: str, counts: Counter[str]) -> Iterator[str]:
        journal = self.folder / "data" / "journal" / line
        report = audit(FolderDisk(journal))
        if report.first_break is not None or report.tail is not None:
            yield f"{line}: {report.first_break or report.tail}"
        told: dict[str, str] = {}
        pictures: dict[tuple[str, int], str] = {}
        kept: set[tuple[str, int]] = set()
        for each in records(line, journal):
            if each["kind"] == "product":
                if each["key"] in told:
                    yield f"{line}: {each['key']} is recorded twice"
                told[each["key"]] = each["told"]
                kept |= {(each["key"], step["step"]) for step in each["steps"] if step.get("picture") == "kept"}
            elif each["kind"] == "told":
                told[each["key"]] = each["told"]
            elif each["event"] in ("picture", "picture_lost"):
                pictures[each["key"], each["step"]] = each.get("file", "")
                counts[each["event"]] += 1
        counts["recorded"] += len(told)
        for text in self._told[line].read_bytes().splitlines():
            try:
                said = json.loads(text)
            except ValueError:
                counts["torn_lines_told"] += 1
                continue
            counts[f"told_{said['verdict']}"] += 1
            if said["verdict"] != "ERROR" and told.get(said["key"]) != said["verdict"]:
                yield f"{line}: {said['key']} was told {said['verdict']}, recorded is {told.get(said['key'])}"
        for key, step in kept - pictures.keys():
            yield f"{line}: of the picture of {key}, step {step}, nothing is said"
        for file in filter(None, pictures.values()):
            if not (self.folder / "data" / "pictures" / file).is_file():
                yield f"{line}: {file} is not there"
