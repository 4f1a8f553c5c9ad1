"""What differs between two versions, and its statistics held against scipy's."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_tools.requalification.compare import (
    DEFECTIVE,
    ERROR,
    GOOD,
    NG,
    OK,
    UNKNOWN,
    UNSTABLE,
    Marks,
    Part,
    Products,
    Said,
    compare,
    times,
)
from procvision_tools.requalification.statistics import distance, kolmogorov_tail, mcnemar, wilson

stats = pytest.importorskip("scipy.stats", reason="scipy is what the statistics are held against")
SYNTHETIC = int(os.environ.get("PROCVISION_SYNTHETIC_RESULTS", "100000"))
"""A nox session, `requalification`, takes a million."""


def products(truth: list[int], **more: object) -> Products:
    return Products(names=[f"p{at}" for at in range(len(truth))], truth=np.array(truth, np.uint8), **more)  # type: ignore[arg-type]


def said(verdicts: list[int], **more: object) -> Said:
    return Said(verdicts=np.array(verdicts, np.uint8), **more)  # type: ignore[arg-type]


# --- statistics, held against scipy's -------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "c"), [(0, 1), (5, 5), (1, 9), (9, 1), (30, 17), (1000, 1100), (400_000, 401_000)])
def test_mcnemar_is_the_binomial_test_and_edwards_chi_squared(b: int, c: int) -> None:
    found = mcnemar(b, c)
    assert found.exact_p == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue, rel=1e-7)
    corrected = stats.chi2.sf(max(0, abs(b - c) - 1) ** 2 / (b + c), 1)
    assert found.corrected_p == pytest.approx(corrected, rel=1e-9)


@pytest.mark.parametrize(("count", "total"), [(0, 1), (0, 100), (1, 3), (50, 100), (100, 100), (100, 1_000_000)])
def test_wilsons_bounds_are_scipys(count: int, total: int) -> None:
    found, theirs = wilson(count, total), stats.binomtest(count, total).proportion_ci(method="wilson")
    assert found is not None
    assert (found.share, found.low, found.high) == pytest.approx((count / total, theirs.low, theirs.high), abs=1e-12)


def test_nothing_has_no_share_and_no_disagreement_is_no_sign() -> None:
    assert wilson(0, 0) is None
    assert (mcnemar(0, 0).exact_p, mcnemar(0, 0).corrected_p) == (1.0, 1.0)
    with pytest.raises(ValueError, match="lies within 0 and its total 3"):
        wilson(4, 3)
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar(-1, 3)


@pytest.mark.parametrize("seed", range(5))
def test_distance_is_kolmogorovs_and_smirnovs(seed: int) -> None:
    random = np.random.default_rng(seed)
    # Values that occur several times, as rounded ones do, in samples of different sizes.
    one, other = np.round(random.normal(0, 1, 700), 1), np.round(random.normal(0.1 * seed, 1, 300 + seed), 1)
    found = distance(one, other)
    assert found is not None
    assert found.statistic == pytest.approx(stats.ks_2samp(one, other).statistic, abs=1e-12)
    weight = np.sqrt(len(one) * len(other) / (len(one) + len(other)))
    assert found.p == pytest.approx(stats.kstwobign.sf(weight * found.statistic), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.05, 0.2, 0.21, 0.5, 1.0, 2.0, 5.0, 40.0])
def test_kolmogorovs_tail(value: float) -> None:
    assert kolmogorov_tail(value) == pytest.approx(stats.kstwobign.sf(value), rel=1e-9, abs=1e-12)


def test_of_an_empty_sample_there_is_no_distance() -> None:
    assert distance(np.zeros(0), np.ones(3)) is None


# --- what is counted ------------------------------------------------------------------------------------------


def test_flips_escapes_and_false_alarms_are_counted_both_ways() -> None:
    truth = [DEFECTIVE, DEFECTIVE, DEFECTIVE, GOOD, GOOD, GOOD, UNKNOWN, UNKNOWN, GOOD, DEFECTIVE]
    old = [NG, OK, NG, OK, NG, OK, OK, NG, ERROR, OK]
    new = [OK, NG, NG, NG, OK, OK, NG, OK, OK, ERROR]
    found = compare(products(truth), said(old), said(new))
    now, before = found.figures[""], found.baseline[""]
    assert (now["flips"], now["to_ng"], now["to_ok"], now["to_error"], now["from_error"]) == (8, 3, 3, 1, 1)
    assert (before["escapes"], now["escapes"], now["new_escapes"], before["new_escapes"]) == (2, 1, 1, 2)
    assert (before["false_alarms"], now["false_alarms"], now["new_false_alarms"]) == (1, 1, 1)
    assert (before["errors"], now["errors"], before["flips"]) == (1, 1, None)
    assert (found.counts.truth_test.b, found.counts.truth_test.c) == (2, 3)
    assert found.counts.verdicts_test == mcnemar(3, 3)


def test_the_worst_flips_come_first() -> None:
    truth = [UNKNOWN, GOOD, DEFECTIVE, UNKNOWN, GOOD, DEFECTIVE]
    old = [OK, OK, OK, NG, OK, NG]
    new = [NG, NG, NG, OK, ERROR, OK]
    found = compare(products(truth), said(old), said(new))
    assert found.flips.tolist() == [5, 3, 4, 1, 0, 2]


def test_what_hangs_on_load_is_no_flip_and_no_error() -> None:
    found = compare(products([GOOD] * 4), said([OK, UNSTABLE, OK, UNSTABLE]), said([UNSTABLE, NG, NG, UNSTABLE]))
    figures = found.figures[""]
    assert (figures["products"], figures["unstable"], figures["flips"], figures["errors"]) == (4, 3, 1, 0)
    assert found.unstable.tolist() == [0, 1, 3]
    assert figures["false_alarm_rate"] == 1.0


def test_without_a_truth_nothing_is_said_of_escapes() -> None:
    figures = compare(products([UNKNOWN] * 2), said([OK, NG]), said([OK, NG])).figures[""]
    assert [figures[name] for name in ("escapes", "false_alarms", "new_escapes", "accuracy")] == [None] * 4


def test_parts_add_up_to_the_whole() -> None:
    random = np.random.default_rng(7)
    truth, old, new = random.integers(0, 3, 500), random.integers(0, 4, 500), random.integers(0, 4, 500)
    recipes = Part(names=("A", "B", "none of it"), codes=random.integers(0, 2, 500).astype(np.int32))
    found = compare(products(truth.tolist(), parts={"recipe": recipes}), said(old.tolist()), said(new.tolist()))
    assert sum(part.table for part in found.parts["recipe"].values()).tolist() == found.counts.table.tolist()
    assert set(found.figures) == {"", "recipe=A", "recipe=B", "recipe=none of it"}
    assert found.figures["recipe=none of it"]["products"] == 0


def test_a_label_has_its_own_test_and_its_misses() -> None:
    def marks(*rows: int) -> Marks:
        return Marks(names=("dent",), rows=np.array(rows, np.int32), codes=np.zeros(len(rows), np.int32))

    found = compare(
        products([DEFECTIVE] * 4, truth_labels=marks(0, 1, 2)),
        said([NG, OK, NG, OK], labels=marks(0, 2)),
        said([NG, NG, UNSTABLE, NG], labels=marks(0, 1, 2, 3)),
    )
    (label,) = found.labels
    assert (label.old, label.new, label.there, label.old_missed, label.new_missed) == (1, 3, 2, 1, 0)
    assert label.test == mcnemar(2, 0)


def test_a_value_that_moved_a_little_on_every_product_is_seen() -> None:
    width = np.random.default_rng(3).normal(5, 1, 200)
    moved = width + 0.01
    moved[7] = np.nan
    found = compare(
        products([UNKNOWN] * 200),
        said([OK] * 200, values={"width_mm": width, "gone": width}),
        said([OK] * 200, values={"width_mm": moved, "new": width}),
    )
    (shift,) = found.shifts
    assert (shift.name, shift.products, shift.changed) == ("width_mm", 199, 199)
    assert shift.median_change == pytest.approx(0.01)
    assert shift.distance.p > 0.5


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="a column has 2 entries, and there are 3 products"):
        compare(products([GOOD] * 3), said([OK] * 2), said([OK] * 3))


def test_times_leave_out_calls_without_an_answer() -> None:
    found = times(np.array([1.0, 2.0, 3.0, np.nan, 100.0]))
    assert found is not None
    assert (found.calls, found.p50_ms, found.longest_ms) == (4, 2.5, 100.0)
    assert times(np.array([np.nan])) is None


# --- many -----------------------------------------------------------------------------------------------------


def synthetic(count: int) -> tuple[Products, Said, Said, NDArray[np.int64]]:
    """Return old and new results alike but for one in ten thousand, and which those are."""
    random = np.random.default_rng(count)
    flipped = np.sort(random.choice(count, count // 10_000, replace=False))
    verdicts = (random.random(count) < 0.02).astype(np.uint8)
    changed = verdicts.copy()
    changed[flipped] ^= 1
    rows = np.flatnonzero(verdicts == NG).astype(np.int32)
    labels = Marks(names=("dent", "scratch"), rows=rows, codes=(rows % 2).astype(np.int32))
    values = {f"value {at}": random.normal(0, 1, count) for at in range(4)}
    days = Part(names=tuple(f"day {at}" for at in range(30)), codes=(np.arange(count) % 30).astype(np.int32))
    truth = np.where(random.random(count) < 0.1, 1 + verdicts, 0).astype(np.uint8)
    known = Products(names=[f"line-1/{at:07d}" for at in range(count)], truth=truth, parts={"day": days})
    return known, Said(verdicts=verdicts, labels=labels, values=values), \
        Said(verdicts=changed, labels=labels, values=values), flipped  # fmt: skip


def test_one_flip_in_ten_thousand_is_found_exactly() -> None:
    known, old, new, flipped = synthetic(SYNTHETIC)
    found = compare(known, old, new)
    assert sorted(found.flips.tolist()) == flipped.tolist()
    assert found.figures[""]["flips"] == SYNTHETIC // 10_000
    assert all(shift.changed == 0 for shift in found.shifts)


@pytest.mark.skipif(SYNTHETIC < 1_000_000, reason="nox -s requalification takes a million")
def test_a_million_results_take_a_minute_and_a_gigabyte_at_most() -> None:
    """One core, a process of its own; its largest size is what the system counted."""
    source = (
        "import importlib.util, os, sys, time\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "began = time.process_time()\n"
        f"spec = importlib.util.spec_from_file_location('synthetic', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"known, old, new, flipped = module.synthetic({SYNTHETIC})\n"
        "assert sorted(module.compare(known, old, new).flips.tolist()) == flipped.tolist()\n"
        "print(time.process_time() - began)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    largest_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert float(done.stdout) < 60
    assert largest_kb < 1_000_000
