"""A station of two lines under load, and what its ledger is held to."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procvision_station.exporting import records
from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector, contents
from procvision_station.scaffold import make_station

LINES = ("main", "side")
START_WITHIN_S = 180.0
COMMAND = [sys.executable, "-P", "-m", "procvision_tools", "station", "run"]


class HeldStation:
    """A station's folder, what it tells, and what was found wrong. `evidence` and `database` are the file's keys."""

    def __init__(
        self, folder: Path, *, evidence: str = "behind", database: str = "sqlite", page: bool = False,
        every_s: float = 0.04, deadline_ms: int = 2000,
        ok_days: float | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.evidence, self.database, self.page = folder, evidence, database, page
        self.said = folder / "stderr.txt"
        self._told = {line: folder / f"told-{line}.jsonl" for line in LINES}
        list(make_station(folder, port=0 if page else None, every_s=every_s))
        path = folder / "station.toml"
        text = path.read_text().replace("keep_ok = 0.05", "keep_ok = 0.5")
        text = text.replace("deadline_ms = 2000", f"deadline_ms = {deadline_ms}")
        text = text.replace("keep_error = 1.0", f'keep_error = 1.0\nevidence = "{evidence}"\nfree_mb = 0')
        if ok_days is not None:
            text = text.replace("free_mb = 0", f"free_mb = 0\nok_days = {ok_days}")
        main = text.index("[lines.main]")
        first, replaced = re.subn(r'(?m)^path = "[^"]*"', 'path = "told-main.jsonl"', text[main:])
        assert replaced == 1, text
        side = first.replace("lines.main", "lines.side").replace("told-main", "told-side")
        projection = f'\n[projection]\ndatabase = "{database}"\n'
        path.write_text(text[:main] + first + "\n" + side + projection)

    # --- running it -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def running(self, *, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """The process that runs the lines."""
        command = [*prefix, *COMMAND, *(() if self.page else ("--no-page",)), str(self.folder)]
        with (
            self.said.open("ab") as said,
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as station,
        ):
            try:
                yield station
            finally:
                station.kill()

    def end(self, station: subprocess.Popen[bytes]) -> int:
        """End it in good order; the exit status."""
        station.send_signal(signal.SIGTERM)
        return station.wait(120)

    def wait_for_more(self) -> None:
        """Wait until every line has told something since now."""
        before = {line: self._size(line) for line in LINES}
        deadline = time.monotonic() + START_WITHIN_S
        while any(self._size(line) <= before[line] for line in LINES):
            assert time.monotonic() < deadline, f"the station tells nothing: {self.said.read_text()[-2000:]}"
            time.sleep(0.02)

    def _size(self, line: str) -> int:
        return self._told[line].stat().st_size if self._told[line].exists() else 0

    # --- what it is held to -----------------------------------------------------------------------------------

    def judge(self, *, data: Path | None = None, projection: bool = True) -> dict[str, Any]:
        """Hold the ledger to what was told, and the projection to the ledger. `wrong` is to be empty."""
        data = data or self.folder / "data"
        wrong: list[str] = []
        counts: Counter[str] = Counter()
        for line in LINES:
            wrong += self._judge_line(line, data, counts)
        if projection and not self._projection_is_a_rebuild(data):
            wrong.append("the projection is not equal to a rebuild")
        return {"wrong": wrong, **counts}

    def _projection_is_a_rebuild(self, data: Path) -> bool:
        filled, anew = Database(self.database, data, writes=True), Database("sqlite", data / "anew", writes=True)
        Projector(filled, data / "journal").catch_up()
        Projector(anew, data / "journal").rebuild()
        equal = contents(filled) == contents(anew)
        filled.close()
        anew.close()
        return equal

    def _judge_line(self, line: str, data: Path, counts: Counter[str]) -> Iterator[str]:
        journal = data / "journal" / line
        report = audit(FolderDisk(journal))
        if report.first_break is not None or report.tail is not None:
            yield f"{line}: {report.first_break or report.tail}"
        recorded: dict[str, str] = {}
        pictures: dict[tuple[str, int], str] = {}
        there: set[str] = set()
        kept: set[tuple[str, int]] = set()
        for each in records(line, journal):
            key = each.get("key")
            if each["kind"] == "product":
                if key in recorded:
                    yield f"{line}: {key} is recorded twice"
                recorded[str(key)] = each["told"]
                of_it = {(str(key), step["step"]) for step in each["steps"] if step.get("picture") == "kept"}
                kept |= of_it
                if self.evidence == "first" and each["told"] != "ERROR" and not all(map(pictures.get, of_it)):
                    yield f"{line}: {key} was recorded {each['told']} before its pictures"
            elif each["kind"] == "told":
                recorded[str(key)] = each["told"]
            elif each["event"] in ("picture", "picture_lost"):
                pictures[str(key), each["step"]] = each.get("file", "")
                there.update(filter(None, [each.get("file")]))
                counts[each["event"]] += 1
            elif each["event"] == "pictures_deleted":
                there -= set(each["files"])
                counts["pictures_deleted"] += len(each["files"])
            elif each["event"] == "started":
                counts["starts"] += 1
        counts["recorded"] += len(recorded)
        yield from self._against_told(line, recorded, counts)
        for key, step in kept - pictures.keys():
            yield f"{line}: of the picture of {key}, step {step}, nothing is said"
        for file in there:
            if not (data / "pictures" / file).is_file():
                yield f"{line}: {file} is not there"

    def _against_told(self, line: str, recorded: dict[str, str], counts: Counter[str]) -> Iterator[str]:
        seen: set[str] = set()
        for key, verdict in self.told(line, counts):
            counts[f"told_{verdict}"] += 1
            if key in seen:
                yield f"{line}: {key} was told twice"
            seen.add(key)
            if verdict != "ERROR" and recorded.get(key) != verdict:
                yield f"{line}: {key} was told {verdict}, recorded is {recorded.get(key)}"

    def told(self, line: str, counts: Counter[str]) -> Iterator[tuple[str, str]]:
        """Yield keys and verdicts as the line's output has them."""
        for text in self._told[line].read_bytes().splitlines():
            try:
                said = json.loads(text)
            except ValueError:
                counts["torn_lines_told"] += 1
                continue
            yield said["key"], said["verdict"]
