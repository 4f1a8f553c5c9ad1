"""How well defects are found: precision, recall, F-score, average precision, confusion by label.

A failed call found nothing: all its truths count as missed. A defective picture without boxes says nothing of where, so
it stays out of these figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

from attrs import frozen

from procvision_tools.evaluation.matching import covered
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.ranking import Curve, average_precision, precision_recall

NOTHING = "-"
"""In a confusion: no truth there, or no finding."""


@frozen(kw_only=True)
class Detection:
    """Counts at a threshold. A ratio without a denominator is None."""

    truths: int
    findings: int
    right: int

    @property
    def precision(self) -> float | None:
        """Of the findings, how many are right."""
        return self.right / self.findings if self.findings else None

    @property
    def recall(self) -> float | None:
        """Of the truths, how many were found."""
        return self.right / self.truths if self.truths else None

    @property
    def f_score(self) -> float | None:
        """2 P R / (P + R), written so that nothing found is 0."""
        both = self.truths + self.findings
        return 2 * self.right / both if both else None

    @property
    def mistakes(self) -> int:
        """Findings that are wrong, and truths that were missed."""
        return self.findings + self.truths - 2 * self.right


def total(counts: Iterable[Detection]) -> Detection:
    """Add counts up."""
    parts = list(counts)
    return Detection(
        truths=sum(part.truths for part in parts),
        findings=sum(part.findings for part in parts),
        right=sum(part.right for part in parts),
    )


def judged(observations: Sequence[Observation]) -> list[Observation]:
    """Return those whose findings can be held against boxes."""
    return [o for o in observations if o.sample.truths or o.sample.crowds or not o.sample.defective]


def detect(observations: Sequence[Observation], rules: Rules) -> Detection:
    """Count over all observations at the rules' threshold."""
    return total(detect_by_label(observations, rules).values())


def detect_by_label(observations: Sequence[Observation], rules: Rules) -> dict[str, Detection]:
    """The same for each label that occurs. With any label allowed, a right finding counts for its truth's label."""
    truths: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for observation in judged(observations):
        there = observation.sample.truths
        kept, pairs = observation.matched(rules.threshold, rules.min_iou, any_label=rules.any_label)
        truths.update(truth.label for truth in there)
        for pair in pairs:
            label = there[pair.truth].label if pair.truth is not None else kept[pair.finding].label
            findings[label] += 1
            right[label] += pair.truth is not None
    return {
        label: Detection(truths=truths[label], findings=findings[label], right=right[label])
        for label in sorted(truths | findings)
    }


def off_truth(observations: Sequence[Observation], rules: Rules) -> int:
    """Count the findings at the threshold that share no pixel with any truth or crowd, whatever they are called."""
    return sum(
        not any(covered(finding, place) > 0 for place in (*o.sample.truths, *o.sample.crowds))
        for o in judged(observations)
        for finding in o.kept(rules.threshold)
    )


def curves(observations: Sequence[Observation], rules: Rules) -> dict[str, Curve]:
    """Precision over recall for each label that is there to be found, over all scores.

    With any label allowed there is one curve, of the label "".
    """
    truths: Counter[str] = Counter()
    scored: dict[str, list[tuple[float, bool]]] = {}
    for observation in judged(observations):
        truths.update("" if rules.any_label else truth.label for truth in observation.sample.truths)
        found, pairs = observation.matched(-inf, rules.min_iou, any_label=rules.any_label)
        for pair in pairs:
            finding = found[pair.finding]
            label = "" if rules.any_label else finding.label
            scored.setdefault(label, []).append((finding.score, pair.truth is not None))
    return {
        label: precision_recall(
            [score for score, _ in scored.get(label, [])], [hit for _, hit in scored.get(label, [])], count
        )
        for label, count in sorted(truths.items())
    }


def mean_average_precision(by_label: dict[str, Curve]) -> float | None:
    """Return the mean over the labels that are there to be found."""
    return sum(map(average_precision, by_label.values())) / len(by_label) if by_label else None


def confusion(observations: Sequence[Observation], rules: Rules) -> Counter[tuple[str, str]]:
    """(what is there, what it was called): how often; `NOTHING` for a false finding or a miss. By place, not label."""
    counts: Counter[tuple[str, str]] = Counter()
    for observation in judged(observations):
        there = observation.sample.truths
        kept, pairs = observation.matched(rules.threshold, rules.min_iou, any_label=True)
        missed = set(range(len(there)))
        for pair in pairs:
            counts[NOTHING if pair.truth is None else there[pair.truth].label, kept[pair.finding].label] += 1
            missed.discard(-1 if pair.truth is None else pair.truth)
        counts.update((there[index].label, NOTHING) for index in missed)
    return counts
