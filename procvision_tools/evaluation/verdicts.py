"""How well products are told apart: escapes, false alarms, AUROC.

A failed call is neither right nor an OK: it has a count of its own, and counts as wrong in the accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from procvision_tools.evaluation.observations import Observation
from procvision_tools.evaluation.ranking import auroc


@frozen(kw_only=True)
class Verdicts:
    """Counts of products. A ratio without a denominator is None."""

    good: int
    defective: int
    right: int
    escapes: int
    """Defective ones that were called OK."""
    false_alarms: int
    """Good ones that were called NG."""
    failures: int
    auroc: float | None
    """How well the pictures' scores tell defective from good ones."""

    @property
    def accuracy(self) -> float | None:
        """Of all products, how many were told right."""
        products = self.good + self.defective
        return self.right / products if products else None

    @property
    def escape_rate(self) -> float | None:
        """Of the defective products, how many were called OK."""
        return self.escapes / self.defective if self.defective else None

    @property
    def told_false_alarms(self) -> int | None:
        """The count of false alarms; None where no good product could have given one."""
        return self.false_alarms if self.good else None

    @property
    def false_alarm_rate(self) -> float | None:
        """Of the good products, how many were called NG."""
        return self.false_alarms / self.good if self.good else None


def tell_apart(observations: Sequence[Observation], threshold: float) -> Verdicts:
    """Count over all observations at a threshold."""
    told = [(o.sample.defective, o.verdict_at(threshold)) for o in observations]
    return Verdicts(
        good=sum(not defective for defective, _ in told),
        defective=sum(defective for defective, _ in told),
        right=sum(verdict == ("NG" if defective else "OK") for defective, verdict in told),
        escapes=told.count((True, "OK")),
        false_alarms=told.count((False, "NG")),
        failures=sum(verdict == "ERROR" for _, verdict in told),
        auroc=auroc([o.picture_score for o in observations], [o.sample.defective for o in observations]),
    )
