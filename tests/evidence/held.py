"""A station of two lines under load, and what its ledger is held to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from procvision_station.control import Pin, send
from procvision_station.exporting import records
from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector, contents
from procvision_station.scaffold import make_station
from procvision_testing.boards import DEFECT_KINDS, MIN_SIZE_PX, make_board, photograph, with_defects
from procvision_tools.report.pictures import write_png

LINES = ("main", "side")
START_WITHIN_S = 180.0
COMMAND = [sys.executable, "-P", "-m", "procvision_tools", "station", "run"]


class HeldStation:
    """A station's folder, what it tells, and what was found wrong. `evidence` and `database` are the file's keys."""

    def __init__(
        self, folder: Path, *, evidence: str = "behind", database: str = "sqlite", page: bool = False,
        every_s: float = 0.04, deadline_ms: int = 2000, keep_ok: float = 0.5, free_mb: int = 0,
        ok_days: float | None = None, scenes: int = 0, padding: int = 0, telling: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.evidence, self.database, self.page = folder, evidence, database, page
        self._telling = telling if telling is not None else folder
        self.said = self._telling / "stderr.txt"
        list(make_station(folder, port=0 if page else None, every_s=every_s))
        path = folder / "station.toml"
        text = path.read_text().replace("keep_ok = 0.05", f"keep_ok = {keep_ok}")
        text = text.replace("deadline_ms = 2000", f"deadline_ms = {deadline_ms}")
        days = f"\nok_days = {ok_days}" if ok_days is not None else ""
        text = text.replace("keep_error = 1.0", f'keep_error = 1.0\nevidence = "{evidence}"\nfree_mb = {free_mb}{days}')
        main = text.index("[lines.main]")
        first, replaced = re.subn(r'(?m)^path = "[^"]*"', f'path = "{self.told_file("main")}"', text[main:])
        assert replaced == 1, text
        side = first.replace("lines.main", "lines.side").replace("told-main", "told-side")
        if scenes:
            simulated = 'kind = "simulated"\nseed = 7\ndefect_every = 5'
            assert simulated in first
            first, side = (
                text.replace(
                    simulated, f'kind = "folder"\npath = "{self._scenes(line, scenes, padding)}"\nrepeat = true'
                )
                for line, text in (("main", first), ("side", side))
            )
        projection = f'\n[projection]\ndatabase = "{database}"\n'
        path.write_text(text[:main] + first + "\n" + side + projection)

    def told_file(self, line: str) -> Path:
        """Where a line tells its verdicts."""
        return self._telling / f"told-{line}.jsonl"

    def _scenes(self, line: str, count: int, padding: int) -> Path:
        """Write so many photographs of a small board, no two of which are one file; each fifth is bad."""
        board = make_board(MIN_SIZE_PX, MIN_SIZE_PX, seed=7)
        bad = with_defects(board, DEFECT_KINDS[:1], seed=7)[0]
        write_png(self.folder / "golden" / "board.png", board.picture)
        scenes = self._telling / "scenes" / line
        scenes.mkdir(parents=True)
        for number in range(5):
            shown = photograph(bad if number == 4 else board.picture, seed=number, noise=3.0)
            write_png(scenes / "base.png", shown)
            data = (scenes / "base.png").read_bytes()
            for each in range(number, count, 5):
                text = b"tEXtline\0" + f"{line} {each}".encode() + os.urandom(padding).hex().encode()
                chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
                # Before the end's chunk, of 12 bytes.
                (scenes / f"{each:05d}.png").write_bytes(data[:-12] + chunk + data[-12:])
        (scenes / "base.png").unlink()
        return scenes

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

    def records(self, line: str) -> list[dict[str, Any]]:
        """What a line's journal has now."""
        return list(records(line, self.folder / "data" / "journal" / line))

    def pin(self, count: int) -> set[str]:
        """Pin so many products of each line that have pictures, and return their files: these stay from now on."""
        files: set[str] = set()
        for line in LINES:
            there: dict[str, str] = {}
            for each in self.records(line):
                if each.get("event") == "picture":
                    there[each["key"]] = each["file"]
                elif each.get("event") == "pictures_deleted":
                    there = {key: file for key, file in there.items() if file not in each["files"]}
            for key, file in list(there.items())[len(there) // 2 :][:count]:
                send(self.folder / "data", Pin(user="u-1", line=line, key=key, pinned=True))
                if (self.folder / "data" / "pictures" / file).exists():
                    files.add(file)
        return files

    def _size(self, line: str) -> int:
        return self.told_file(line).stat().st_size if self.told_file(line).exists() else 0

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
        for text in self.told_file(line).read_bytes().splitlines():
            try:
                said = json.loads(text)
            except ValueError:
                counts["torn_lines_told"] += 1
                continue
            yield said["key"], said["verdict"]
