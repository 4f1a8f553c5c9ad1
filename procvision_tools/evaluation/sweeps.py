"""Figures over a range of values, and what the best value of the others is worth on a group of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from math import isfinite

from attrs import frozen

from procvision_tools.evaluation.detection import Detection, detect, total
from procvision_tools.evaluation.figures import Figures, figures
from procvision_tools.evaluation.observations import Observation, Rules

THRESHOLD = "threshold"
"""Swept without inspecting again, unless the step has a parameter of that name."""
MAX_VALUES = 200
PLATEAU = 0.002
"""Values whose F-score is so close to the best are as good: the middle one of them is taken."""


@frozen
class Sweep:
    """A parameter, or the threshold, and the values to try, as they would be given on the command line."""

    key: str
    values: tuple[str, ...]


@frozen
class Row:
    """The figures with one value of what was swept."""

    value: str
    figures: Figures


@frozen
class HeldOut:
    """A group measured with the value that is best on all other groups."""

    group: str
    value: str
    figures: Figures


@frozen(kw_only=True)
class SweepResult:
    """A sweep's rows, and each group with the value that was best on the others."""

    key: str
    rows: tuple[Row, ...]
    best: str | None
    """The middle of the plateau of F-scores; None where there are none."""
    held_out: tuple[HeldOut, ...] = ()
    held_out_f_score: float | None = None
    """Over all groups together, each with its own value."""


def parse_sweep(text: str) -> Sweep:
    """Read `KEY=FROM:TO:STEP`, both ends included, or `KEY=A,B,C`. Raises ValueError that ends with a hint."""
    key, equals, told = text.partition("=")
    if not key or not equals or not told:
        raise ValueError(f"{text!r} is no sweep\nhint: KEY=FROM:TO:STEP, such as threshold=0.1:0.9:0.1, or KEY=A,B,C")
    if ":" not in told:
        values = tuple(told.split(","))
        if not all(values) or len(set(values)) != len(values):
            raise ValueError(f"{text!r} has an empty value, or one twice\nhint: KEY=A,B,C")
        return Sweep(key, values)
    try:
        first, last, step = map(Decimal, told.split(":"))
    except (ValueError, InvalidOperation) as error:
        raise ValueError(f"{text!r}: FROM:TO:STEP are three numbers\nhint: such as 0.1:0.9:0.1") from error
    # A number that no parameter could have, such as 1e999, has a size that Decimal can't divide by.
    if not all(isfinite(float(number)) for number in (first, last, step)) or float(step) <= 0 or last < first:
        raise ValueError(
            f"{text!r}: FROM is at most TO, STEP is above 0, and all three are finite\nhint: such as 0.1:0.9:0.1"
        )
    count = (last - first) / step + 1
    if count >= MAX_VALUES + 1:
        raise ValueError(f"{text!r} is {count:.6g} values, more than {MAX_VALUES}\nhint: take a larger step")
    return Sweep(key, tuple(f"{first + step * at:f}" for at in range(int(count))))


def best_value(scores: Mapping[str, float | None]) -> str | None:
    """Return the middle value of the plateau of F-scores; None where there is no F-score."""
    known = {value: score for value, score in scores.items() if score is not None}
    if not known:
        return None
    top = max(known.values())
    # Of several plateaus the one that the best value lies on: one value beside the next.
    runs = [list(run) for flat, run in itertools.groupby(known, lambda value: known[value] >= top - PLATEAU) if flat]
    run = next(run for run in runs if any(known[value] == top for value in run))
    return run[len(run) // 2]


def measure(
    key: str, by_value: Mapping[str, tuple[Sequence[Observation], Rules]], groups: Sequence[str]
) -> SweepResult:
    """Give the figures with each value, and each group's with the value that has the best F-score on all others."""
    rows = tuple(Row(value, figures(seen, rules)) for value, (seen, rules) in by_value.items())
    held_out = []
    counts: list[Detection] = []
    for group in groups:
        value = best_value(
            {
                value: detect([o for o in seen if o.sample.group != group], rules).f_score
                for value, (seen, rules) in by_value.items()
            }
        )
        if value is not None:
            seen, rules = by_value[value]
            own = [o for o in seen if o.sample.group == group]
            held_out.append(HeldOut(group, value, figures(own, rules)))
            counts.append(detect(own, rules))
    return SweepResult(
        key=key,
        rows=rows,
        best=best_value({row.value: row.figures.get("f_score") for row in rows}),
        held_out=tuple(held_out),
        held_out_f_score=total(counts).f_score,
    )
