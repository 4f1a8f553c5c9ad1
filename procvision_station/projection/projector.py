"""Follows the journals of a station and keeps a projection up to date; a process of its own runs it.

    python -m procvision_station.projection FOLDER

A batch's rows and how far the journal was read commit together: what was interrupted, by a kill or a database that
went away, is done again from there, and nothing counts twice. A journal that took records back, a file that is gone and
tables of another version are answered alike: it is computed anew from the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from attrs import frozen

from procvision_station.journal.tail import Position, Tail, Taken
from procvision_station.projection.database import Database, ProjectionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

POLL_S = 0.05
"""A page shows a verdict within half a second of its trigger: this is the projection's part of it."""
RETRY_S = 1.0
"""After the database could not be reached."""
BATCH = 500
"""Records of one transaction."""
LOOK_AFTER = 20_000
"""Records after which SQLite sees again how often values are there."""

Notice = Callable[[str], None]


@frozen
class CaughtUp:
    """All journals were read to their ends."""

    at: float
    """By the monotonic clock, when that reading began."""
    rebuilds: int
    """How often something had been computed anew before."""


class Projector:
    """Reads the journals below a folder into a database. One thread uses it."""

    def __init__(
        self,
        database: Database,
        journals: Path,
        notice: Notice = lambda _: None,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._journals, self._notice, self._make_room = database, journals, notice, make_room
        self._ready = False
        self._since_look = LOOK_AFTER
        self._sizes: dict[str, tuple[int, float]] = {}
        self._problems: dict[str, str] = {}
        self._left: dict[str, set[int]] = {}
        """Erased records for which a line was computed anew."""
        self._held: set[str] = set()
        """Lines whose position was held against the journal since the database was opened."""
        self.caught_up: CaughtUp | None = None
        """When all journals were read to their ends last; None while they were not yet."""
        self.rebuilds: list[str] = []
        """Why something was computed anew, in words."""

    def run(self, stop: Event) -> None:
        """Follow until `stop` is set. A database that is away is asked again; nothing ends it."""
        from sqlalchemy.exc import SQLAlchemyError

        said = ""
        while not stop.is_set():
            try:
                done = self.step()
            except (SQLAlchemyError, OSError, ProjectionError) as error:
                reason = f"{self._database}: {type(error).__name__}: {str(error).splitlines()[0]}"
                if reason != said:
                    said = reason
                    self._notice(f"projection: {reason}; it is tried again")
                self._database.close()
                self._ready = False
                if self._database.is_out_of_room(error):
                    self._make_room()
                stop.wait(RETRY_S)
                continue
            if said:
                said = ""
                self._notice(f"projection: {self._database} is back")
            if not done:
                stop.wait(POLL_S)

    def catch_up(self) -> int:
        """Read on until nothing is new; return how many records were read. Raises as `step`."""
        total = 0
        while done := self.step():
            total += done
        return total

    def step(self) -> int:
        """Read at most a batch of each line; return how many records. Raises SQLAlchemyError, OSError, and
        ProjectionError. What SQLite finds damaged is computed anew.
        """
        from sqlalchemy.exc import DatabaseError

        try:
            return self._step()
        except DatabaseError as error:
            if not self._database.is_damaged_by(error):
                raise
            self._remove(f"its file is damaged: {error.orig}")
            return 1

    def _step(self) -> int:
        self._make_ready()
        began = time.monotonic()
        done = sum(self._line(name) for name in self._names())
        self._since_look += done
        if not done:
            self.caught_up = CaughtUp(began, len(self.rebuilds))
            if self._since_look > LOOK_AFTER:
                self._database.look_at_values()
                self._since_look = 0
        return done

    def rebuild(self) -> int:
        """Compute everything anew; return from how many records. Raises as `step`."""
        self._database.remove()
        self._ready = False
        return self.catch_up()

    # --- the database ---------------------------------------------------------------------------------------

    def _make_ready(self) -> None:
        if self._database.replaced():
            self._remove("its file was gone, replaced or cut")
        if self._ready:
            return
        try:
            self._database.migrate()
        except ProjectionError as error:
            self._remove(str(error))
            self._database.migrate()
        self._sizes, self._held = {}, set()
        self._ready = True

    def _remove(self, why: str) -> None:
        """Begin from nothing: what stands in another's file is not believed."""
        self._anew(why)
        self._ready = False
        self._database.remove()

    def _anew(self, why: str) -> None:
        self.caught_up = None
        self.rebuilds.append(why)
        self._notice(f"projection: {self._database} is computed anew: {why}")

    # --- a line ---------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self._journals.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def _line(self, name: str) -> int:
        tail = Tail(self._journals / name)
        if not self._is_new(name):
            return 0
        with self._database.writing() as connection:
            position = self._position(connection, name, tail)
            if position is None:
                return 0
            holds = name in self._held or tail.holds(position)
            self._held.add(name)
            taken = tail.read(position, BATCH) if holds else None
            if taken is None:
                self._forget(connection, name, "the journal took records back")
                return 1
            self._say(name, taken)
            if taken.position is None or (taken.position == position and taken.damage is None):
                return 0
            if not self._take(connection, name, position, taken):
                return 1
        if len(taken.records) == BATCH:
            del self._sizes[name]  # there is more
        return len(taken.records)

    def _is_new(self, name: str) -> bool:
        """Return whether a journal changed since it was read, or was not looked at for a while."""
        size = 0
        try:
            for path in (self._journals / name).iterdir():
                size += path.stat().st_size
        except FileNotFoundError:
            size = -1  # a segment was put aside
        before, at = self._sizes.get(name, (-2, 0.0))
        if size == before and time.monotonic() - at < RETRY_S:
            return False
        self._sizes[name] = (size, time.monotonic())
        return True

    def _position(self, connection: Connection, name: str, tail: Tail) -> Position | None:
        """Return how far a line was read, so far as that still holds; None where it has no journal yet."""
        from sqlalchemy import select

        from procvision_station.projection.tables import lines

        row = connection.execute(select(lines).where(lines.c.line == name)).mappings().first()
        if row is None:
            return tail.start()
        return Position(row["sequence"], bytes.fromhex(row["chain"]), row["segment"], row["place"])

    def _take(self, connection: Connection, name: str, before: Position, taken: Taken) -> bool:
        """Write the records' rows; False where the line has to be computed anew."""
        from sqlalchemy import insert, select, update

        from procvision_station.projection.tables import lines
        from procvision_station.projection.writing import Batch, RebuildNeededError

        assert taken.position is not None
        batch = Batch(connection, name, self._left.get(name, ()))
        try:
            batch.take(taken.records)
        except RebuildNeededError as error:
            self._left.setdefault(name, set()).add(error.sequence)
            self._forget(connection, name, str(error))
            return False
        values = {
            **batch.finish(),
            "sequence": taken.position.sequence,
            "chain": taken.position.chain.hex(),
            "segment": taken.position.segment,
            "place": taken.position.offset,
            **({"problem": str(taken.damage)} if taken.damage is not None else {}),
        }
        known = connection.execute(select(lines.c.sequence).where(lines.c.line == name)).first() is not None
        if not known:
            connection.execute(insert(lines).values(line=name, **{"running": False, **values}))
            return True
        # Another projector may have been here: what both have read would count twice.
        of = (lines.c.line == name) & (lines.c.sequence == before.sequence)
        if connection.execute(update(lines).where(of).values(values)).rowcount != 1:
            raise ProjectionError(f"another process fills {self._database}\nhint: end it")
        return True

    def _forget(self, connection: Connection, name: str, why: str) -> None:
        from sqlalchemy import delete

        from procvision_station.projection.tables import metadata

        self._anew(f"{name}: {why}")
        for table in metadata.sorted_tables:
            connection.execute(delete(table).where(table.c.line == name))
        self._sizes.pop(name, None)

    def _say(self, name: str, taken: Taken) -> None:
        damage = [each.damage for each in taken.records if each.damage is not None]
        problem = str(taken.damage or damage[0]) if taken.damage is not None or damage else ""
        if problem and self._problems.get(name) != problem:
            self._notice(f"projection: {name}: the journal is damaged: {problem}")
            self._problems[name] = problem


def contents(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, in the order of the primary keys: two projections are compared by it."""
    from sqlalchemy import select

    from procvision_station.projection.tables import metadata

    with database.reading() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in metadata.sorted_tables
        }
