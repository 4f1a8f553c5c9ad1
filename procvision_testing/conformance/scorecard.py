"""Plays rows against a target of each row's own, several at a time, and keeps the score."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from attrs import frozen

from procvision_testing.conformance.interpreter import (
    DEFAULT_DEADLINE_S,
    DEFAULT_PATIENCE_S,
    ConformanceError,
    RowSkippedError,
    run_row,
)
from procvision_testing.conformance.process import ProcessTarget
from procvision_testing.conformance.recording import Exchanged, RecordedTarget
from procvision_testing.conformance.rows import Row

REFERENCE_PAGE = "docs/reference/protocol.md"


@frozen
class Outcome:
    """One row, and whether the target did as it says."""

    row: Row
    level: Literal["ok", "failed", "skipped"] = "ok"
    reason: str = ""
    """Why it failed or was skipped."""
    step: int = 0
    """Where it failed, from 1; 0 is on the way to the row's start."""
    exchanged: tuple[Exchanged, ...] = ()
    """The frames that show it."""
    evidence: str = ""
    seconds: float = 0.0

    @property
    def reference(self) -> str:
        """The paragraph that the row stands for."""
        return f"{REFERENCE_PAGE}#{anchor(self.row.paragraph)}"


def anchor(heading: str) -> str:
    """Give the fragment by which a page links to a heading."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def by_paragraph(outcomes: Iterable[Outcome]) -> dict[str, tuple[int, int]]:
    """Give for each paragraph how many rows hold, and how many were played."""
    score: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        held, played = score.get(outcome.row.paragraph, (0, 0))
        if outcome.level != "skipped":
            held, played = held + (outcome.level == "ok"), played + 1
        score[outcome.row.paragraph] = (held, played)
    return score


def play(
    rows: Sequence[Row],
    launch: Callable[[Row], ProcessTarget],
    *,
    patience_s: float = DEFAULT_PATIENCE_S,
    deadline_s: float = DEFAULT_DEADLINE_S,
    jobs: int = 1,
) -> Iterator[Outcome]:
    """Play every row against a process of its own; give the outcomes in the rows' order, as they come.

    The rows that begin with the host's hello are played first; if no hello comes the others are skipped, since
    each would wait for it in vain. Left early, by an exception too, it ends what it started. Raises what `launch` does.
    """
    first = [row for row in rows if row.start == "starting"]
    others = [row for row in rows if row.start != "starting"]
    with _Player(launch, patience_s, deadline_s) as player:
        silent = False
        for row in first:
            outcome = player.play(row)
            silent = silent or not any(exchanged.sender == "host" for exchanged in outcome.exchanged)
            yield outcome
        if silent:
            yield from (Outcome(row, "skipped", "no hello came, so nothing can be said to it") for row in others)
            return
        with ThreadPoolExecutor(jobs, thread_name_prefix="conformance") as executor:
            try:
                yield from executor.map(player.play, others)
            except BaseException:
                player.stop()
                raise


class _Player:
    def __init__(self, launch: Callable[[Row], ProcessTarget], patience_s: float, deadline_s: float) -> None:
        self._launch, self._patience_s, self._deadline_s = launch, patience_s, deadline_s
        self._running: set[ProcessTarget] = set()
        self._stopped = False

    def __enter__(self) -> _Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Play no more, and end what runs."""
        self._stopped = True
        for target in tuple(self._running):
            target.close()

    def play(self, row: Row) -> Outcome:
        """Play one row."""
        if self._stopped:
            return Outcome(row, "skipped", "stopped")
        if row.inapplicable is not None:
            return Outcome(row, "skipped", row.inapplicable)
        started = time.monotonic()
        with self._launch(row) as target:
            self._running.add(target)
            recorded = RecordedTarget(target)
            try:
                run_row(row, recorded, patience_s=self._patience_s, deadline_s=self._deadline_s)
            except RowSkippedError as reason:
                return Outcome(row, "skipped", str(reason))
            except ConformanceError as failure:
                return Outcome(
                    row,
                    "failed",
                    failure.reason,
                    failure.step,
                    recorded.exchanged,
                    failure.evidence,
                    time.monotonic() - started,
                )
            finally:
                self._running.discard(target)
            return Outcome(row, exchanged=recorded.exchanged, seconds=time.monotonic() - started)
