"""A requalification, whole: two versions, an archive, what differs, and in one sentence what that means.

Its record is the JSON report. It has no times and no date, so that it is the same however often its making was
interrupted; those are in a record of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import attrs
import msgspec
import numpy as np
from attrs import field, frozen

from procvision_tools.evaluation.bounds import Bound, BoundResult, check
from procvision_tools.evaluation.figures import Figures
from procvision_tools.requalification.archive import Archive, Product, Said, identity_of
from procvision_tools.requalification.compare import (
    DEFECTIVE,
    ERROR,
    GOOD,
    NG,
    OK,
    TRUTHS,
    VERDICTS,
    Comparison,
    Counts,
    Marks,
    Part,
    Products,
    Times,
    compare,
    times,
)
from procvision_tools.requalification.compare import Said as SaidColumns
from procvision_tools.requalification.results import Row
from procvision_tools.requalification.statistics import Interval, McNemar
from procvision_tools.sealed import seal_of

FORMAT = "procvision-requalification/1"
MAX_LISTED = 10_000
"""So many flips and unstable products stand in the report, the worst first; all of them are in the results."""
SIGNIFICANT = 0.05
"""A p-value below it is a sign; above it chance explains what was seen."""
_SIGNIFICANT_DIGITS = 6
_CHANGING = ("_ms", "_us", "_ns")
"""Values with such names are times, which differ in every run."""

Outcome = Literal["same", "better", "worse", "no worse", "differs", "unclear"]


@frozen
class Version:
    """What the report says of a version."""

    text: str
    kind: str
    name: str
    version: str
    identity: str
    distribution: str = ""

    @property
    def shown(self) -> str:
        """Its name and version for people."""
        return f"{self.name} {self.version}".strip() or self.text


@frozen
class Judgement:
    """What is said of the new version."""

    outcome: Outcome
    sentence: str


@frozen(kw_only=True, slots=False)
class Requalification:
    """Old against new."""

    old: Version
    new: Version
    archive: Archive
    rows: Mapping[str, Row]
    """By product's name; the old version's part may be the archive's."""
    settings: Mapping[str, Any] = field(factory=dict)
    bounds: tuple[BoundResult, ...] = ()
    runs: tuple[Mapping[str, Any], ...] = ()
    """When, where and by what the results were made; not part of the report."""

    def said(self, product: Product, *, new: bool) -> Said:
        """Return what a version said of a product."""
        row = self.rows[product.name]
        if new:
            return row.new
        found = row.old if row.old is not None else product.recorded
        return found if found is not None else Said("ERROR", failure="not recorded")

    @cached_property
    def comparison(self) -> Comparison:
        """What differs."""
        products = self.archive.products
        old, new = ([self.said(product, new=side) for product in products] for side in (False, True))
        return compare(_products(products), _columns(old), _columns(new))

    def held_to(self, bounds: Sequence[Bound]) -> Requalification:
        """Return it with what becomes of bounds. What was compared isn't compared again."""
        now, before = self.comparison.figures, self.comparison.baseline
        held = attrs.evolve(self, bounds=tuple(check(bound, now, before) for bound in bounds))
        held.__dict__.update(comparison=self.comparison)
        return held

    @cached_property
    def judgement(self) -> Judgement:
        """What that means."""
        return judge(self.comparison.counts, *self.names)

    @property
    def names(self) -> tuple[str, str]:
        """The old and the new version for people, told apart."""
        old, new = self.old.shown, self.new.shown
        return (f"the old {old}", f"the new {new}") if old == new else (old, new)

    @cached_property
    def killers(self) -> tuple[Product, ...]:
        """The products whose pictures end the new version's host, each time."""
        return tuple(product for product in self.archive.products if self.said(product, new=True).killed)

    @property
    def kept(self) -> bool:
        """Whether all bounds hold."""
        return all(outcome.holds for outcome in self.bounds)

    @property
    def times(self) -> dict[str, Times | None]:
        """How long each version's `execute` took."""
        found = {}
        for name, new in (("old", False), ("new", True)):
            took = [self.said(product, new=new).took_ms for product in self.archive.products]
            found[name] = times(np.array([np.nan if each is None else each for each in took], np.float64))
        return found

    def as_record(self) -> dict[str, Any]:
        """Give the report, ready for JSON: the same for the same results."""
        comparison, counts = self.comparison, self.comparison.counts
        flips = [self.archive.products[at] for at in comparison.flips[:MAX_LISTED]]
        unstable = [self.archive.products[at] for at in comparison.unstable[:MAX_LISTED]]
        record: dict[str, Any] = {
            "format": FORMAT,
            "old": attrs.asdict(self.old),
            "new": attrs.asdict(self.new),
            "archive": {
                "place": self.archive.place,
                "kind": self.archive.kind,
                "products": len(self.archive.products),
                "identity": identity_of(self.archive.products),
                "notes": list(self.archive.notes),
            },
            "settings": dict(self.settings),
            "judgement": attrs.asdict(self.judgement),
            "kept": self.kept,
            "bounds": [attrs.asdict(outcome) for outcome in self.bounds],
            "figures": _both(comparison.baseline, comparison.figures),
            "verdicts": [
                {"old": old, "new": new, "truth": truth, "products": int(counts.table[at_old, at_new, at])}
                for at_old, old in enumerate(VERDICTS)
                for at_new, new in enumerate(VERDICTS)
                for at, truth in enumerate(TRUTHS)
                if counts.table[at_old, at_new, at]
            ],
            "flip_rate": _interval(counts.flip_rate),
            "escape_rate": {side: _interval(counts.wrong(DEFECTIVE, new=new)) for side, new in _SIDES},
            "false_alarm_rate": {side: _interval(counts.wrong(GOOD, new=new)) for side, new in _SIDES},
            "tests": {"ok_to_ng_or_back": _test(counts.verdicts_test), "wrong_or_right": _test(counts.truth_test)},
            "labels": [
                {**attrs.asdict(label, recurse=False), "test": _test(label.test)} for label in comparison.labels
            ],
            "values": [
                {name: _rounded(value) for name, value in attrs.asdict(shift).items() if name != "distance"}
                | {"distance": _rounded(shift.distance.statistic), "p": _rounded(shift.distance.p)}
                for shift in comparison.shifts
            ],
            "killers": [product.name for product in self.killers[:MAX_LISTED]],
            "flips": [self._listed(product) for product in flips],
            "flips_not_listed": len(comparison.flips) - len(flips),
            "unstable": [
                {"name": product.name, "old": self.said(product, new=False).failure,
                 "new": self.said(product, new=True).failure}
                for product in unstable
            ],
            "unstable_not_listed": len(comparison.unstable) - len(unstable),
        }  # fmt: skip
        return {**record, "digest": seal_of(json.loads(json.dumps(record)), "digest")}

    def times_record(self) -> dict[str, Any]:
        """Give what differs in every run: times, and how the results were made."""
        told = {side: None if took is None else attrs.asdict(took) for side, took in self.times.items()}
        return {"format": f"{FORMAT}/times", "execute": told, "runs": [dict(run) for run in self.runs]}

    def _listed(self, product: Product) -> dict[str, Any]:
        def side(said: Said) -> dict[str, Any]:
            return {"verdict": said.verdict, "failure": said.failure, "killed": said.killed,
                    "defect_rects": msgspec.to_builtins(said.defect_rects)}  # fmt: skip

        return {
            "name": product.name,
            "pictures": [shot.picture.place for shot in product.shots],
            "truth": product.truth,
            **{kind: product.parts[kind] for kind in sorted(product.parts)},
            "old": side(self.said(product, new=False)),
            "new": side(self.said(product, new=True)),
        }


_SIDES: tuple[tuple[str, bool], ...] = (("old", False), ("new", True))


def judge(counts: Counts, old: str, new: str) -> Judgement:
    """Say in a sentence what the counts mean for the new version.

    It is worse where products became wrong more often than right by more than chance, or where it lets through a
    defective product that was found before; better the other way round.
    """
    stable, flips = counts.stable, counts.flips
    if not stable:
        return Judgement(
            "unclear", f"No verdict of {new} can be compared: all {counts.products} products are unstable."
        )
    of_all = f"{_number(flips)} of {_number(stable)} products"
    unstable = counts.products - stable
    aside = f" {_number(unstable)} more are unstable." if unstable else ""
    if not flips:
        return Judgement("same", f"{_capital(new)} says the same as {old} of all {_number(stable)} products.{aside}")
    parts = [f"{_number(count)} {words}" for count, words in (
        (counts.to_ng, "from OK to NG"), (counts.to_ok, "from NG to OK"),
        (counts.to_error, "to ERROR"), (counts.from_error, "from ERROR to a verdict")) if count]  # fmt: skip
    differs = f"{_capital(new)} differs from {old} in {of_all}: {', '.join(parts)}."
    known = counts.known(GOOD) + counts.known(DEFECTIVE)
    if not known:
        return Judgement("differs", f"{differs} Which of the two is right is not known.{aside}")
    told = []
    for truth, name in ((DEFECTIVE, "escapes"), (GOOD, "false alarms")):
        if counts.known(truth):
            before, now = (
                int(counts.said(new=side)[OK if truth == DEFECTIVE else NG, truth]) for side in (False, True)
            )
            told.append(f"{name} {_number(before)} before, {_number(now)} now")
    told.append(
        f"errors {int(counts.said(new=False)[ERROR].sum())} before, {int(counts.said(new=True)[ERROR].sum())} now"
    )
    test, new_escapes = counts.truth_test, counts.newly(DEFECTIVE, new=True)
    mended = counts.newly(DEFECTIVE, new=False)
    outcome: Outcome
    if test.b > test.c and test.exact_p < SIGNIFICANT:
        outcome, word = "worse", "It is worse"
    elif new_escapes > mended:
        outcome, word = "worse", "It lets more defective products through"
    elif test.b < test.c and test.exact_p < SIGNIFICANT:
        outcome, word = "better", "It is better"
    else:
        outcome, word = "no worse", "Neither is shown to be better"
    because = f"{test.c} became right, {test.b} became wrong (p {test.exact_p:.2g})"
    return Judgement(outcome, f"{differs} {word}: {'; '.join(told)}; {because}.{aside}")


def _products(products: Sequence[Product]) -> Products:
    truth = np.array([TRUTHS.index(product.truth) for product in products], np.uint8)
    kinds = sorted({kind for product in products for kind in product.parts})
    return Products(
        names=[product.name for product in products],
        truth=truth,
        truth_labels=_marks([{rect.label for rect in product.truths} for product in products]),
        parts={kind: _part([product.parts.get(kind, "") for product in products]) for kind in kinds},
    )


def _columns(said: Sequence[Said]) -> SaidColumns:
    names = sorted({name for each in said for name in each.values if not name.endswith(_CHANGING)})
    return SaidColumns(
        verdicts=np.array([VERDICTS.index(each.verdict) for each in said], np.uint8),
        labels=_marks([{rect.label for rect in each.defect_rects} for each in said]),
        values={name: np.array([each.values.get(name, np.nan) for each in said], np.float64) for name in names},
    )


def _part(values: Sequence[str]) -> Part:
    names = tuple(sorted(set(values)))
    places = {name: at for at, name in enumerate(names)}
    return Part(names=names, codes=np.array([places[value] for value in values], np.int32))


def _marks(labels: Sequence[Iterable[str]]) -> Marks:
    names = tuple(sorted({label for of_one in labels for label in of_one}))
    places = {name: at for at, name in enumerate(names)}
    pairs = [(row, places[label]) for row, of_one in enumerate(labels) for label in sorted(of_one)]
    table = np.array(pairs, np.int32).reshape(-1, 2)
    return Marks(names=names, rows=table[:, 0], codes=table[:, 1])


def _both(old: Mapping[str, Figures], new: Mapping[str, Figures]) -> dict[str, Any]:
    return {
        part: {name: {"old": _rounded(old[part][name]), "new": _rounded(value)} for name, value in figures.items()}
        for part, figures in sorted(new.items())
    }


def _interval(interval: Interval | None) -> Any:
    return None if interval is None else {name: _rounded(value) for name, value in attrs.asdict(interval).items()}


def _test(test: McNemar) -> dict[str, Any]:
    return {"b": test.b, "c": test.c, "exact_p": _rounded(test.exact_p), "corrected_p": _rounded(test.corrected_p)}


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


def _capital(name: str) -> str:
    return f"T{name[1:]}" if name.startswith("the new ") else name


def _number(count: int) -> str:
    return f"{count:,}"
