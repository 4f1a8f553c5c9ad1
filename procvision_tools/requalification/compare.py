"""Old against new: what differs, which is right, where, and by how much. Pure: columns in, a comparison out.

Every product is one of two verdicts, ERROR, or UNSTABLE: what a version said hung on how busy the machine was, such as
a time-out. UNSTABLE is counted and takes part in nothing else. Everything that is counted comes from one table of old
verdict x new verdict x truth, of all products and of each recipe, group and day.

A line treats an ERROR like an NG. So it is no escape, and it is no false alarm: it has a count of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from procvision_tools.evaluation.figures import Figures
from procvision_tools.requalification.statistics import Distance, Interval, McNemar, distance, mcnemar, wilson

VERDICTS = ("OK", "NG", "ERROR", "UNSTABLE")
"""A verdict's code is its place here."""
OK, NG, ERROR, UNSTABLE = range(4)
TRUTHS = ("unknown", "good", "defective")
UNKNOWN, GOOD, DEFECTIVE = range(3)

Codes: TypeAlias = NDArray[np.uint8]
Rows: TypeAlias = NDArray[np.int64]

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "products": "how many were compared, with the unstable ones",
        "unstable": "of which either verdict hung on load, such as a time-out, or the picture was gone or changed: "
        "they take part in nothing else",
        "flips": "verdicts that differ",
        "flip_rate": "of the stable products",
        "to_ng": "OK before, NG now",
        "to_ok": "NG before, OK now",
        "to_error": "a verdict before, ERROR now",
        "from_error": "ERROR before, a verdict now",
        "ok": "called OK",
        "ng": "called NG",
        "errors": "without a verdict",
        "escapes": "defective products called OK",
        "escape_rate": "of the defective products",
        "new_escapes": "defective products called OK that were not before",
        "false_alarms": "good products called NG",
        "false_alarm_rate": "of the good products",
        "new_false_alarms": "good products called NG that were not before",
        "accuracy": "of the products whose truth is known, how many were told right",
    }
)
"""A figure's name -> what it says. A bound holds the new version's figure; `baseline` is the old one's."""
OF_THE_NEW = frozenset({"new_escapes", "new_false_alarms"})
"""Shown of the new version only: the old one's beside them, of what it alone does, would be misread."""


@frozen(kw_only=True, eq=False)
class Part:
    """Which value of something each product has, such as its recipe."""

    names: tuple[str, ...]
    codes: NDArray[np.int32]
    """For each product the place in `names`."""


@frozen(kw_only=True, eq=False)
class Marks:
    """Which labels each product has: any number of pairs of a product's row and a label's code, each pair once."""

    names: tuple[str, ...] = ()
    rows: NDArray[np.int32] = field(factory=lambda: np.zeros(0, np.int32))
    codes: NDArray[np.int32] = field(factory=lambda: np.zeros(0, np.int32))

    def of(self, name: str, count: int) -> NDArray[np.bool_]:
        """Return which of ``count`` products have a label."""
        found = np.zeros(count, np.bool_)
        if name in self.names:
            found[self.rows[self.codes == self.names.index(name)]] = True
        return found


@frozen(kw_only=True, eq=False)
class Products:
    """What is known of the products whatever a version says."""

    names: Sequence[str]
    truth: Codes
    """A place in `TRUTHS` for each."""
    truth_labels: Marks = field(factory=Marks)
    parts: Mapping[str, Part] = field(factory=dict)
    """`recipe`, `group`, `day`, where there are any."""


@frozen(kw_only=True, eq=False)
class Said:
    """What one version said of all products."""

    verdicts: Codes
    """A place in `VERDICTS` for each."""
    labels: Marks = field(factory=Marks)
    """Of its findings."""
    values: Mapping[str, NDArray[np.float64]] = field(factory=dict)
    """Measured values by name, NaN for a product that has none."""


@frozen(eq=False)
class Counts:
    """The table of old verdict x new verdict x truth, and every count that comes from it."""

    table: NDArray[np.int64]

    @property
    def products(self) -> int:
        """All."""
        return int(self.table.sum())

    @property
    def stable(self) -> int:
        """Those of which both verdicts stand."""
        return int(self._stable.sum())

    @property
    def to_ng(self) -> int:
        """OK before, NG now."""
        return int(self.table[OK, NG].sum())

    @property
    def to_ok(self) -> int:
        """NG before, OK now."""
        return int(self.table[NG, OK].sum())

    @property
    def to_error(self) -> int:
        """A verdict before, ERROR now."""
        return int(self.table[:ERROR, ERROR].sum())

    @property
    def from_error(self) -> int:
        """ERROR before, a verdict now."""
        return int(self.table[ERROR, :ERROR].sum())

    @property
    def flips(self) -> int:
        """Verdicts that differ."""
        return self.to_ng + self.to_ok + self.to_error + self.from_error

    @property
    def _stable(self) -> NDArray[np.int64]:
        return self.table[:UNSTABLE, :UNSTABLE]

    def known(self, truth: int) -> int:
        """Return how many stable products are of a truth."""
        return int(self._stable[..., truth].sum())

    @property
    def flip_rate(self) -> Interval | None:
        """Of the stable products."""
        return wilson(self.flips, self.stable)

    @property
    def verdicts_test(self) -> McNemar:
        """Whether as many verdicts went from OK to NG as the other way."""
        return mcnemar(self.to_ng, self.to_ok)

    @property
    def truth_test(self) -> McNemar:
        """Whether as many products became wrong (`b`) as became right (`c`), of those whose truth is known."""
        right = {GOOD: OK, DEFECTIVE: NG}
        became_wrong = became_right = 0
        for truth, verdict in right.items():
            table = self._stable[..., truth]
            became_wrong += int(table[verdict].sum() - table[verdict, verdict])
            became_right += int(table[:, verdict].sum() - table[verdict, verdict])
        return mcnemar(became_wrong, became_right)

    def said(self, *, new: bool) -> NDArray[np.int64]:
        """Return one version's table of verdict x truth, of the stable products."""
        table: NDArray[np.int64] = self._stable.sum(axis=0 if new else 1)
        return table

    def wrong(self, truth: int, *, new: bool) -> Interval | None:
        """Return the share of escapes (of the defective products) or of false alarms (of the good ones)."""
        return wilson(int(self.said(new=new)[OK if truth == DEFECTIVE else NG, truth]), self.known(truth))

    def newly(self, truth: int, *, new: bool) -> int:
        """Count escapes or false alarms that the other version doesn't have."""
        table = self._stable if new else self._stable.swapaxes(0, 1)
        verdict = OK if truth == DEFECTIVE else NG
        return int(table[:, verdict, truth].sum() - table[verdict, verdict, truth])

    def figures(self, *, new: bool) -> Figures:
        """Return one version's figures; what needs a truth that no product has is None.

        The old version's `flips` and what belongs to them are None: nothing stands before it.
        """
        said, good, defective = self.said(new=new), self.known(GOOD), self.known(DEFECTIVE)
        escapes, alarms = int(said[OK, DEFECTIVE]), int(said[NG, GOOD])
        known = good + defective
        flips: Figures = {"flips": self.flips, "flip_rate": self.flips / self.stable if self.stable else None,
                          "to_ng": self.to_ng, "to_ok": self.to_ok, "to_error": self.to_error,
                          "from_error": self.from_error}  # fmt: skip
        return {
            "products": self.products,
            "unstable": self.products - self.stable,
            **(flips if new else dict.fromkeys(flips)),
            "ok": int(said[OK].sum()),
            "ng": int(said[NG].sum()),
            "errors": int(said[ERROR].sum()),
            "escapes": escapes if defective else None,
            "escape_rate": escapes / defective if defective else None,
            "new_escapes": self.newly(DEFECTIVE, new=new) if defective else None,
            "false_alarms": alarms if good else None,
            "false_alarm_rate": alarms / good if good else None,
            "new_false_alarms": self.newly(GOOD, new=new) if good else None,
            "accuracy": (int(said[OK, GOOD]) + int(said[NG, DEFECTIVE])) / known if known else None,
        }


@frozen(kw_only=True)
class LabelChange:
    """Of one label, in how many stable products it was found, and missed where it is known to be."""

    label: str
    old: int
    new: int
    test: McNemar
    """`b`: found by the new version alone; `c`: by the old one alone."""
    there: int | None
    """Products that are known to have it; None where no truth has labels."""
    old_missed: int | None
    """Of those, in how many the old version found none of the label."""
    new_missed: int | None


@frozen(kw_only=True)
class Shift:
    """How a measured value's distribution has moved, over the products of which both versions measured it."""

    name: str
    products: int
    old_median: float
    new_median: float
    median_change: float
    """The median of new minus old of one product: small changes in one direction show here first."""
    changed: int
    """Products of which the value is not exactly the same."""
    distance: Distance
    """Two-sample, as if the products were others: a shift that it finds is there; a small one it may miss."""


@frozen(kw_only=True, eq=False)
class Comparison:
    """What came out, with the rows of everything that somebody will want to see."""

    counts: Counts
    parts: Mapping[str, Mapping[str, Counts]]
    """By what, such as `recipe`; then by name."""
    labels: tuple[LabelChange, ...]
    shifts: tuple[Shift, ...]
    flips: Rows
    """Rows of all flips, the worst first: new escapes, then NG that became OK, errors, new false alarms, the rest."""
    unstable: Rows

    @property
    def figures(self) -> dict[str, Figures]:
        """The new version's figures: of all under "", of each part under `KIND=NAME`, such as `recipe=A-17`."""
        return self._figures(new=True)

    @property
    def baseline(self) -> dict[str, Figures]:
        """The old version's."""
        return self._figures(new=False)

    def _figures(self, *, new: bool) -> dict[str, Figures]:
        parts = {
            f"{kind}={name}": counts.figures(new=new)
            for kind, by_name in self.parts.items()
            for name, counts in by_name.items()
        }
        return {**parts, "": self.counts.figures(new=new)}


def compare(products: Products, old: Said, new: Said) -> Comparison:
    """Compare. Raises ValueError where the columns are not of one length."""
    count = len(products.names)
    columns = (products.truth, old.verdicts, new.verdicts)
    for length in (*map(len, columns), *(len(part.codes) for part in products.parts.values())):
        if length != count:
            raise ValueError(f"a column has {length} entries, and there are {count} products")
    cells = (old.verdicts.astype(np.int32) * len(VERDICTS) + new.verdicts) * len(TRUTHS) + products.truth
    stable = (old.verdicts != UNSTABLE) & (new.verdicts != UNSTABLE)
    return Comparison(
        counts=_tables(cells, np.zeros(count, np.int32), 1)[0],
        parts={
            kind: dict(zip(part.names, _tables(cells, part.codes, len(part.names)), strict=True))
            for kind, part in products.parts.items()
        },
        labels=_label_changes(products, old, new, stable),
        shifts=_shifts(old, new, stable),
        flips=_worst_first(np.flatnonzero(stable & (old.verdicts != new.verdicts)), products, old, new),
        unstable=np.flatnonzero(~stable),
    )


def _tables(cells: NDArray[np.int32], codes: NDArray[np.int32], parts: int) -> list[Counts]:
    size = len(VERDICTS) ** 2 * len(TRUTHS)
    counted = np.bincount(codes.astype(np.int64) * size + cells, minlength=parts * size)
    return [Counts(table) for table in counted.reshape(parts, len(VERDICTS), len(VERDICTS), len(TRUTHS))]


def _worst_first(rows: Rows, products: Products, old: Said, new: Said) -> Rows:
    before, now, truth = old.verdicts[rows], new.verdicts[rows], products.truth[rows]
    harm = np.select(
        [(now == OK) & (truth == DEFECTIVE), (now == OK) & (before == NG) & (truth == UNKNOWN), now == ERROR,
         (now == NG) & (truth == GOOD), (now == NG) & (truth == UNKNOWN)],
        [0, 1, 2, 3, 4], default=5,
    )  # fmt: skip
    return rows[np.argsort(harm, kind="stable")]


def _label_changes(products: Products, old: Said, new: Said, stable: NDArray[np.bool_]) -> tuple[LabelChange, ...]:
    count = len(products.names)
    found = []
    for label in sorted({*products.truth_labels.names, *old.labels.names, *new.labels.names}):
        before, now = (said.labels.of(label, count) & stable for said in (old, new))
        there = products.truth_labels.of(label, count) & stable if products.truth_labels.names else None
        found.append(
            LabelChange(
                label=label,
                old=int(before.sum()),
                new=int(now.sum()),
                test=mcnemar(int((now & ~before).sum()), int((before & ~now).sum())),
                there=None if there is None else int(there.sum()),
                old_missed=None if there is None else int((there & ~before).sum()),
                new_missed=None if there is None else int((there & ~now).sum()),
            )
        )
    return tuple(found)


def _shifts(old: Said, new: Said, stable: NDArray[np.bool_]) -> tuple[Shift, ...]:
    found = []
    for name in sorted(old.values.keys() & new.values.keys()):
        both = stable & np.isfinite(old.values[name]) & np.isfinite(new.values[name])
        before, now = old.values[name][both], new.values[name][both]
        apart = distance(before, now)
        if apart is not None:
            found.append(
                Shift(
                    name=name,
                    products=len(before),
                    old_median=float(np.median(before)),
                    new_median=float(np.median(now)),
                    median_change=float(np.median(now - before)),
                    changed=int((before != now).sum()),
                    distance=apart,
                )
            )
    return tuple(found)


@frozen(kw_only=True)
class Times:
    """How long a version's calls took, in milliseconds: they differ in every run, and stand apart from the rest."""

    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    longest_ms: float


def times(took_ms: NDArray[np.float64]) -> Times | None:
    """Summarise calls that had an answer, percentiles interpolated linearly; None of none."""
    known = took_ms[np.isfinite(took_ms)]
    if not len(known):
        return None
    p50, p90, p99 = (float(value) for value in np.percentile(known, (50, 90, 99)))
    return Times(calls=len(known), p50_ms=p50, p90_ms=p90, p99_ms=p99, longest_ms=float(known.max()))
