"""What browsers see at once: each line's last product and state. A slow browser gets the latest, never a queue.

One task asks the projection how far each line was read, and only where that changed for the rest. Each stream holds the
number of what it sent last: while a slow browser takes one, ten may pass, and it gets the tenth.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from litestar.response import ServerSentEventMessage

from procvision_station.control import ControlError, Status, send
from procvision_station.projection.answers import CountRow, LineRow, Span
from procvision_station.projection.database import ProjectionError
from procvision_station.projection.queries import ReadModel
from procvision_station.shifts import Shifts
from procvision_station.web.api.ledger import ProductBody, body_of
from procvision_station.web.api.pictures import Pictures

POLL_S = 0.05
PICTURES_WITHIN_S = 1.0
"""A picture that is on no disk by then was not to be kept, or could not be."""
STATUS_S = 1.0
"""How often the line's process is asked how it is, and told whether somebody looks."""
LOOKED_S = 10.0
"""So long after a program asked for the lines it counts as one that looks; a browser has a stream."""
KEEP_ALIVE_S = 10.0
"""A stream without news sends this often that it is alive; a page that hears nothing for longer says so."""
MAX_STREAMS = 200
_LOG = logging.getLogger("procvision.station.page")


class LineBody(msgspec.Struct, frozen=True, kw_only=True):
    """A line, now."""

    line: str
    running: bool
    """Whether its process answers."""
    recipe: str | None
    recipe_version: str | None
    shift: str
    """Its beginning, in the plant's time."""
    shift_since: datetime
    counts: CountRow
    """Of the shift."""
    health: dict[str, Any]
    """What the line's process says: hosts by algorithm, products on their way, verdicts that wait for outputs, and what
    became of the pictures that were to be kept."""
    problems: list[str]
    """What is wrong, as names of texts with their facts: `name|fact|fact`."""
    last: ProductBody | None


class Live:
    """Follows the projection for all streams. It lives on one event loop."""

    def __init__(
        self, model: ReadModel, shifts: Shifts, data_folder: Path, lines: Sequence[str], pictures: Pictures
    ) -> None:
        self._model, self._shifts, self._data, self._names = model, shifts, data_folder, tuple(lines)
        self._pictures = pictures
        self._news = asyncio.Condition()
        self._number = 0
        self._lines: dict[str, tuple[int, bytes]] = {}
        self._sequences: dict[str, int] = {}
        self._shown: dict[str, str] = {}
        self._status: dict[str, Any] | None = None
        self._unfinished: dict[str, float] = {}
        """Lines whose last product's pictures are on their way to the disk, and until when that is looked at."""
        self._away = ""
        self.streams = 0
        self._looked_at = self._asked_at = float("-inf")

    async def run(self) -> None:
        """Follow until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            changed: set[str] = set()
            if loop.time() - self._asked_at >= STATUS_S:
                self._asked_at = loop.time()
                status = await asyncio.to_thread(self._ask_status)
                if status != self._status:
                    self._status, changed = status, set(self._names)
            try:
                sequences = await asyncio.to_thread(self._model.last_sequences)
                away = ""
            except ProjectionError as error:
                sequences, away = self._sequences, str(error)
            if away != self._away:
                self._away, changed = away, set(self._names)
            changed |= {name for name in sequences if sequences[name] != self._sequences.get(name)}
            self._sequences = sequences
            now = loop.time()
            changed |= {name for name, until in self._unfinished.items() if until > now}
            for name in sorted(changed & set(self._names)):
                await self._renew(name)
            await asyncio.sleep(POLL_S)

    async def _renew(self, name: str) -> None:
        try:
            body = await asyncio.to_thread(self.line, name)
        except ProjectionError:
            return  # it is told with `away` as soon as a line can be read again
        except Exception:  # noqa: BLE001 - the page goes on, and the other lines
            _LOG.exception("live: %s", name)
            return
        now = asyncio.get_running_loop().time()
        if body.last is not None and None in body.last.pictures:
            if self._shown.get(name) != body.last.product.row.key:
                self._unfinished[name] = now + PICTURES_WITHIN_S
        else:
            self._unfinished.pop(name, None)
        self._shown[name] = body.last.product.row.key if body.last is not None else ""
        encoded = msgspec.json.encode(body)
        if name in self._lines and self._lines[name][1] == encoded:
            return
        async with self._news:
            self._number += 1
            self._lines[name] = (self._number, encoded)
            self._news.notify_all()

    def _ask_status(self) -> dict[str, Any] | None:
        try:
            watched = bool(self.streams) or time.monotonic() - self._looked_at < LOOKED_S
            return send(self._data, Status(watched=watched), timeout_s=2.0).content
        except ControlError:
            return None

    def lines(self) -> list[LineBody]:
        """Return all lines, now. Raises ProjectionError."""
        self._looked_at = time.monotonic()
        return [self.line(name) for name in self._names]

    def line(self, name: str) -> LineBody:
        """Return one line, now. Raises ProjectionError."""
        now = datetime.now(UTC)
        shift = self._shifts.at(now)
        row = next((each for each in self._model.lines() if each.line == name), None)
        detail = self._model.live(name) if row is not None else None
        counts = self._model.counts(Span(since=shift.start, until=shift.end, line=name), "all")
        none = CountRow(group="all", since=None, until=None, ok=0, ng=0, error=0, elapsed_ms=0.0)
        status = (self._status or {}).get(name, {})
        return LineBody(
            line=name,
            running=self._status is not None,
            recipe=row.recipe if row is not None else None,
            recipe_version=row.recipe_version if row is not None else None,
            shift=shift.name,
            shift_since=shift.start,
            counts=counts[0] if counts else none,
            health=status,
            problems=list(self._problems(row, status)),
            last=body_of(detail, self._pictures) if detail is not None else None,
        )

    def _problems(self, row: LineRow | None, status: dict[str, Any]) -> list[str]:
        found = []
        if self._status is None:
            found.append("problem.stopped")
        for name, host in status.get("hosts", {}).items():
            if host.get("state") != "ready":
                found.append(f"problem.host|{name}|{host.get('state')}|{host.get('because') or ''}")
        waiting = sum(status.get("waiting_for_outputs", []))
        if waiting > 10:
            found.append(f"problem.outputs|{waiting}")
        kept = status.get("pictures", {})
        if kept.get("behind"):
            found.append(f"problem.pictures|{kept.get('left_out')}|{kept.get('lost')}")
        if row is not None and row.problem:
            found.append(f"problem.journal|{row.problem}")
        if self._away:
            found.append(f"problem.projection|{self._away.partition(chr(10))[0]}")
        return found

    async def _changed(self, number: int) -> bool:
        """Wait for news; False where none came in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEEP_ALIVE_S), self._news:
                await self._news.wait_for(lambda: self._number != number)
                return True
        return False

    async def stream(self, admitted: Callable[[], bool]) -> AsyncIterator[ServerSentEventMessage]:
        """Yield events: every line's latest first, then what changes, as long as who asked is still let in."""
        self.streams += 1
        self._asked_at = float("-inf")  # the lines' process hears of it at once
        sent: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        looked = loop.time()
        try:
            while True:
                if loop.time() - looked >= KEEP_ALIVE_S:
                    looked = loop.time()
                    if not await asyncio.to_thread(admitted):
                        return
                name = next((name for name, (number, _) in self._lines.items() if sent.get(name) != number), None)
                if name is not None:
                    # What the line has become by now: nothing waits while a slow browser takes one.
                    sent[name], data = self._lines[name]
                    yield ServerSentEventMessage(event="line", data=data.decode())
                elif not await self._changed(self._number):
                    yield ServerSentEventMessage(event="alive", data="{}")
        finally:
            self.streams -= 1
