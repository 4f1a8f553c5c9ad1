"""A station of two lines on a file system that fills to its last byte, is emptied, and fills again."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from tests.evidence.held import LINES, HeldStation

PINNED = 3
"""Of each line, in each round."""
YOUNG_S = 8.0
"""What is younger is no candidate: the projection is asked every two seconds, and may wait for the disk."""
WAIT_S = 60.0


@frozen
class FullDisk:
    """A station whose folder is a small file system of its own; it tells its verdicts elsewhere."""

    station: HeldStation

    def run(self, rounds: int, seconds: float) -> dict[str, Any]:
        """Fill and empty it so often, and let it be full for so long. `wrong` is to be empty."""
        wrong: list[str] = []
        phases: list[dict[str, Any]] = []
        pinned: set[str] = set()
        with self.station.running() as station:
            self.station.wait_for_more()
            for number in range(rounds):
                found: dict[str, Any] = {}
                phases.append(found)
                self._wait(wrong, "pictures are deleted by the policy", lambda most=number: self._deleted() > most)
                pinned |= self.station.pin(PINNED)
                with self._filled(found):
                    self._wait(wrong, "the lines say ERROR", self._only_errors)
                    before = self._told()
                    time.sleep(seconds)
                    found["told while full"] = {line: dict(count) for line, count in self._since(before).items()}
                    for line, count in self._since(before).items():
                        if set(count) != {"ERROR"}:
                            wrong.append(f"{line}: the disk was full, and it told {dict(count)}")
                before = self._told()
                began = time.monotonic()
                self._wait(wrong, "OK comes back", lambda told=before: all(self._since(told)[x]["OK"] for x in LINES))
                found["OK came back after"] = round(time.monotonic() - began, 2)
            ended = self.station.end(station)
        report = self.station.judge()
        wrong += report.pop("wrong")
        for line in LINES:
            wrong += self._judge_deletions(line, pinned)
        return {"phases": phases, "ended": ended, "pinned": len(pinned), "wrong": wrong, **report}

    # --- filling it -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _filled(self, found: dict[str, Any]) -> Iterator[None]:
        """Take what is free, and what comes free, within the block; note where a journal's write was cut off."""
        stop, cut = threading.Event(), set()
        foreign = self.station.folder.parent / "foreign"

        def fill() -> None:
            with foreign.open("wb", buffering=0) as file:
                while not stop.is_set():
                    for size in (1 << 20, 1 << 12):
                        with contextlib.suppress(OSError):
                            while not stop.is_set() and file.write(bytes(size)):
                                pass
                    for path in (self.station.folder / "data" / "journal").glob("*/*.seg"):
                        size = path.stat().st_size
                        if size % os.statvfs(foreign).f_bsize == 0:
                            cut.add((path.parent.name, size))
                    stop.wait(0.002)

        thread = threading.Thread(target=fill)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            foreign.unlink()
            found["a record was cut off at"] = len(cut)

    # --- what is seen of it -----------------------------------------------------------------------------------

    def _told(self) -> dict[str, int]:
        return {line: self.station.told_file(line).stat().st_size for line in LINES}

    def _since(self, before: dict[str, int]) -> dict[str, Counter[str]]:
        """What each line told since it had told so many bytes."""
        counts: dict[str, Counter[str]] = {}
        for line in LINES:
            with self.station.told_file(line).open("rb") as file:
                file.seek(before[line])
                text = file.read()
            counts[line] = Counter({verdict: text.count(f'"{verdict}"'.encode()) for verdict in ("OK", "NG", "ERROR")})
            counts[line] = +counts[line]
        return counts

    def _only_errors(self) -> bool:
        before = self._told()
        time.sleep(1.5)
        return all(set(count) == {"ERROR"} for count in self._since(before).values())

    def _wait(self, wrong: list[str], what: str, holds: Any) -> None:
        until = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > until:
                wrong.append(f"not within {WAIT_S:g} s: {what}")
                return
            time.sleep(0.1)

    def _deleted(self) -> int:
        return sum(each.get("event") == "pictures_deleted" for line in LINES for each in self.station.records(line))

    # --- what the deletions are held to -----------------------------------------------------------------------

    def _judge_deletions(self, line: str, pinned: set[str]) -> Iterator[str]:
        """The oldest unpinned OK pictures go first, class after class; a pinned one stays."""
        told: dict[str, str] = {}
        there: dict[str, tuple[str, float]] = {}  # file -> key, when it came
        kept: set[str] = set()
        for each in self.station.records(line):
            key, at = each.get("key"), _seconds(each["recorded_at"])
            if "told" in each:
                told[str(key)] = each["told"]
            elif each.get("event") == "picture":
                there.setdefault(each["file"], (str(key), at))
            elif each.get("event") == "pinned":
                kept.add(str(key))
            elif each.get("event") == "pictures_deleted":
                gone = {file: there.pop(file) for file in each["files"] if file in there}
                for file, (of, _) in gone.items():
                    if of in kept:
                        yield f"{line}: {file} of {of} is pinned, and was deleted"
                yield from _out_of_order(line, gone, there, told, kept, at)
        for file in pinned:
            if not (self.station.folder / "data" / "pictures" / file).is_file():
                yield f"{line}: the pinned {file} is gone"


def _out_of_order(
    line: str, gone: dict[str, Any], there: dict[str, Any], told: dict[str, str], kept: set[str], at: float
) -> Iterator[str]:
    order = ("OK", "ERROR", "NG")
    for file, (key, came) in there.items():
        if key in kept or at - came < YOUNG_S or key not in told:
            continue
        later = [
            other
            for other, (of, then) in gone.items()
            if of in told and (order.index(told[of]), then) > (order.index(told[key]), came + 0.05)
        ]
        if later:
            yield f"{line}: {file} ({told[key]}) stayed, and {len(later)} that should go later went"
            return


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()
