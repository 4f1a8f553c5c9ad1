"""What a projection knows of the pictures that are there: the oldest of a class, and who shares a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, not_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from procvision_station.projection import tables as t
from procvision_station.projection.database import Database, ProjectionError


class KeptPictures:
    """Asks a projection about pictures. One thread uses it. Everything raises ProjectionError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def are_of(self, database: Database) -> bool:
        """Return whether what was answered last came from the file that another side has open."""
        return self._database.is_of(database)

    def oldest(self, of_class: str, before_ms: int | None, most: int) -> list[str]:
        """Return files whose every product is of a class, or of one that goes sooner; the oldest first.

        The classes are the verdicts that were told, and `overruled`. A pinned product's are of none.
        """
        c, p = t.pictures.c, t.products.c
        order = ("OK", "ERROR", "NG", "overruled")
        sooner = order[: order.index(of_class) + 1]
        here = and_(p.line == c.line, p.key == c.key)
        goes: ColumnElement[bool] = and_(not_(p.pinned), or_(*(_is(each) for each in sooner)))
        if before_ms is not None:
            goes = and_(goes, p.triggered_ms < before_ms)
        other = t.pictures.alias("other")
        sharer = t.products.alias("sharer")
        shared = [_is(each, sharer.c) for each in sooner]
        stays = (
            select(other.c.key)
            .join(sharer, and_(sharer.c.line == other.c.line, sharer.c.key == other.c.key), isouter=True)
            .where(other.c.file == c.file, other.c.state == "there")
            .where(
                or_(
                    sharer.c.key.is_(None),
                    sharer.c.pinned,
                    not_(or_(*shared)),
                    *([sharer.c.triggered_ms >= before_ms] if before_ms is not None else []),
                )
            )
        )
        query = (
            select(c.file)
            .join(t.products, here)
            .where(c.state == "there", _is(of_class), goes, not_(stays.exists()))
            .order_by(c.at_ms)
            .limit(most)
        )
        return list(dict.fromkeys(self._asked(lambda connection: connection.execute(query).scalars().all())))

    def last_deletions(self, most: int) -> list[tuple[str, int]]:
        """Return line and sequence number of the last records of deletions, the latest first."""
        c = t.events.c
        query = select(c.line, c.sequence).where(c.event == "pictures_deleted")
        query = query.order_by(c.at_ms.desc(), c.line.desc(), c.sequence.desc()).limit(most)
        return [(row.line, row.sequence) for row in self._asked(lambda connection: connection.execute(query).all())]

    def deleted_by(self, line: str, sequence: int) -> list[str]:
        """Return the files of such a record that no product has any more."""
        c, other = t.pictures.c, t.pictures.alias("other")
        record = select(t.events.c.content).where(t.events.c.line == line, t.events.c.sequence == sequence)
        content = self._asked(lambda connection: connection.execute(record).scalar())
        named = msgspec.json.decode(content).get("files") if content is not None else None
        files = [file for file in named if isinstance(file, str)] if isinstance(named, list) else []
        there = select(other.c.key).where(other.c.file == c.file, other.c.state == "there")
        query = select(c.file).distinct().where(t.one_of(c.file, files), not_(there.exists()))
        return sorted(self._asked(lambda connection: connection.execute(query).scalars().all()))

    def lines_of(self, files: Sequence[str]) -> dict[str, list[str]]:
        """Return the files of each line that has one of these."""
        c = t.pictures.c
        query = select(c.line, c.file).where(t.one_of(c.file, files)).distinct().order_by(c.line, c.file)
        found: dict[str, list[str]] = {}
        for row in self._asked(lambda connection: connection.execute(query).all()):
            found.setdefault(row.line, []).append(row.file)
        return found

    def _asked(self, ask: Callable[[Connection], Any]) -> Any:
        try:
            with self._database.reading() as connection:
                return ask(connection)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise ProjectionError(f"{self._database} can't be asked: {said[0] if said else error!r}") from error


def _is(of_class: str, p: Any = t.products.c) -> ColumnElement[bool]:
    if of_class == "overruled":
        return p.overruled.is_not(None)  # type: ignore[no-any-return]
    return and_(p.told == of_class, p.overruled.is_(None))
