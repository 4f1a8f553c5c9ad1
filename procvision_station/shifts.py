"""A plant's shifts: which one a moment is in. Nothing here reads a clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from attrs import field, frozen


@frozen
class Shift:
    """From when to when a shift goes; `end` is the beginning of the next one."""

    name: str
    """Its beginning in the plant's time, such as 06:00."""
    day: date
    """The plant's day that it begins on."""
    start: datetime
    end: datetime


def _sorted(starts: Iterable[time]) -> tuple[time, ...]:
    return tuple(sorted(set(starts)))


@frozen
class Shifts:
    """When shifts begin, in the plant's time. One beginning is a shift that lasts a day."""

    zone: tzinfo
    starts: tuple[time, ...] = field(default=(time(0, 0),), converter=_sorted)

    def at(self, moment: datetime) -> Shift:
        """Return the shift that a moment is in."""
        for shift in self._around(moment):
            if shift.start <= moment < shift.end:
                return shift
        raise AssertionError("shifts follow each other without a gap")

    def between(self, since: datetime, until: datetime) -> list[Shift]:
        """Return the shifts that have a part in a span, in their order; `until` is not in it."""
        found: list[Shift] = []
        moment = since
        while moment < until:
            found.append(self.at(moment))
            moment = found[-1].end
        return found

    def _around(self, moment: datetime) -> Iterator[Shift]:
        day = moment.astimezone(self.zone).date()
        begins = [
            (each, on, datetime.combine(on, each, self.zone).astimezone(UTC))
            for on in (day + timedelta(days=offset) for offset in (-2, -1, 0, 1, 2))
            for each in self.starts
        ]
        # The hour that a clock leaves out or repeats may turn two beginnings round, or make one of them.
        begins.sort(key=lambda begin: begin[2])
        for (each, on, start), (_, _, end) in itertools.pairwise(begins):
            if start < end:
                yield Shift(f"{each:%H:%M}", on, start, end)


def parsed_starts(texts: Sequence[str]) -> tuple[time, ...]:
    """Return the beginnings that a file has as HH:MM. Raises ValueError."""
    return tuple(datetime.strptime(text, "%H:%M").time() for text in texts)
