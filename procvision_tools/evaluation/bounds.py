"""Bounds that a figure must keep: `f_score>=0.97`, `f_score[group44000]>=0.95`, `recall>=baseline-0.005`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType

from attrs import frozen

from procvision_tools.evaluation.figures import MEANINGS, Figures

BASELINE = "baseline"
_FORM = re.compile(
    r"\s*(?P<figure>\w+)\s*(?:\[(?P<part>[^\]]+)\])?\s*(?P<relation>>=|<=|==|>|<)\s*"
    r"(?P<baseline>baseline)?\s*(?P<number>[+-]?\s*\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?\s*\.\d+)?\s*"
)
_RELATIONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
)


@frozen
class Bound:
    """A relation between a figure, of all or of one group or label, and a number or the baseline's figure."""

    text: str
    figure: str
    part: str
    relation: str
    of_baseline: bool
    number: float


@frozen
class BoundResult:
    """Whether a bound holds, and the numbers that say so. A figure that there is none of keeps no bound."""

    text: str
    holds: bool
    value: float | None
    bound: float | None


NO_FAILURES = Bound("failures<=0", "failures", "", "<=", False, 0.0)
"""Holds always, unless another bound on the failures is stated."""


def parse_bound(text: str, meanings: Mapping[str, str] = MEANINGS) -> Bound:
    """Read a bound on one of the figures that have ``meanings``. Raises ValueError that ends with a hint."""
    form = _FORM.fullmatch(text)
    if form is None or (form["baseline"] is None and form["number"] is None):
        raise ValueError(f"{text!r} is no bound\nhint: FIGURE>=NUMBER, such as f_score>=0.97 or recall>=baseline-0.005")
    if form["figure"] not in meanings:
        raise ValueError(f"{text!r}: there is no figure {form['figure']!r}\nhint: there are {', '.join(meanings)}")
    number = float((form["number"] or "0").replace(" ", ""))
    if not isfinite(number):
        raise ValueError(f"{text!r}: {form['number'].strip()} is no finite number\nhint: such as f_score>=0.97")
    return Bound(
        text=text.strip(),
        figure=form["figure"],
        part=form["part"] or "",
        relation=form["relation"],
        of_baseline=form["baseline"] is not None,
        number=number,
    )


def check(bound: Bound, parts: Mapping[str, Figures], baseline: Mapping[str, Figures] | None) -> BoundResult:
    """Hold a bound against the figures: of all under "", of groups and labels under their names."""
    value = parts.get(bound.part, {}).get(bound.figure)
    limit: float | None = bound.number
    if bound.of_baseline:
        earlier = (baseline or {}).get(bound.part, {}).get(bound.figure)
        limit = None if earlier is None else earlier + bound.number
    holds = value is not None and limit is not None and _RELATIONS[bound.relation](value, limit)
    return BoundResult(bound.text, holds, value, limit)
