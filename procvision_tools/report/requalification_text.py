"""A requalification for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from procvision_tools.evaluation.figures import Figures
from procvision_tools.requalification.compare import OF_THE_NEW
from procvision_tools.requalification.report import Requalification

SHOWN = ("products", "unstable", "ok", "ng", "errors", "escapes", "false_alarms", "accuracy", "flips", "to_ng", "to_ok",
         "to_error", "from_error", "new_escapes", "new_false_alarms")  # fmt: skip
MAX_FLIPS = 10
MAX_UNSTABLE = 5


def render(found: Requalification) -> str:
    """Give the report as text: the sentence, figures, parts, the worst flips, bounds."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Requalification) -> Iterator[str]:
    yield found.judgement.sentence
    yield f"  on {found.archive.place} ({found.archive.kind})"
    for note in found.archive.notes:
        yield f"  note: {note}"
    yield from _table(found.comparison.figures[""], found.comparison.baseline[""])
    yield from _changes(found)
    yield from _products(found)
    for name, took in found.times.items():
        if took is not None:
            yield f"  times {name}: execute p50 {took.p50_ms:.1f} ms, p99 {took.p99_ms:.1f} ms, of {took.calls} calls"
    for outcome in found.bounds:
        yield f"  {'kept  ' if outcome.holds else 'MISSED'}  {outcome.text}: it is {_shown(outcome.value)}"


def _changes(found: Requalification) -> Iterator[str]:
    """Where it differs: recipes, groups and days, labels, values."""
    for part, told in found.comparison.figures.items():
        if part and told["flips"]:
            flips = f"{told['flips']} of {told['products']} flipped, {told['to_ng']} to NG, {told['to_ok']} to OK"
            yield f"  {part}: {flips}"
    for label in found.comparison.labels:
        if label.test.b or label.test.c:
            yield (f"  label {label.label}: in {label.old} before, in {label.new} now; new alone {label.test.b}, "
                   f"old alone {label.test.c} (p {label.test.exact_p:.2g})")  # fmt: skip
    for shift in found.comparison.shifts:
        if shift.changed:
            yield (f"  {shift.name}: median {shift.old_median:.6g} before, {shift.new_median:.6g} now; changed in "
                   f"{shift.changed} of {shift.products} (distance {shift.distance.statistic:.3f}, "
                   f"p {shift.distance.p:.2g})")  # fmt: skip


def _products(found: Requalification) -> Iterator[str]:
    """The products that somebody should look at, by name."""
    flips = found.comparison.flips
    for product in found.killers[:MAX_FLIPS]:
        yield f"  ENDS THE HOST  {product.name}: {found.said(product, new=True).failure}"
    for at in flips[:MAX_FLIPS]:
        product = found.archive.products[at]
        old, new = (found.said(product, new=side) for side in (False, True))
        truth = "" if product.truth == "unknown" else f", it is {product.truth}"
        yield f"  {old.verdict} -> {new.verdict}  {product.name}{truth}"
    if len(flips) > MAX_FLIPS:
        yield f"  and {len(flips) - MAX_FLIPS} more flips"
    unstable = found.comparison.unstable
    for at in unstable[:MAX_UNSTABLE]:
        product = found.archive.products[at]
        told = {said.message or said.failure: None for said in (found.said(product, new=new) for new in (False, True))
                if said.verdict == "UNSTABLE"}  # fmt: skip
        yield f"  UNSTABLE  {product.name}: {'; '.join(told)}"
    if len(unstable) > MAX_UNSTABLE:
        yield f"  and {len(unstable) - MAX_UNSTABLE} more unstable ones"


def _table(now: Figures, before: Figures) -> Iterator[str]:
    names = [name for name in SHOWN if now.get(name) is not None or before.get(name) is not None]
    yield f"  {'':<18}{'old':>12}{'new':>12}"
    for name in names:
        old = None if name in OF_THE_NEW else before.get(name)
        yield f"  {name.replace('_', ' '):<18}{_shown(old):>12}{_shown(now.get(name)):>12}"


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
