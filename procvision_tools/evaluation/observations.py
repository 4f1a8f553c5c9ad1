"""What was seen of one sample, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from procvision_sdk.results import Defect
from procvision_tools.datasets.samples import Sample
from procvision_tools.evaluation.matching import Pair, match


@frozen(kw_only=True)
class Rules:
    """How findings are held against truths."""

    min_iou: float = 0.5
    """A finding is right when it overlaps a truth by more than that."""
    threshold: float = 0.0
    """Findings with a lower score don't count, but for what looks at all scores: average precision, AUROC."""
    any_label: bool = False
    """Whether a finding may be right under another name."""


@frozen(kw_only=True)
class Observation:
    """What an algorithm made of a sample. A call without a verdict is an ERROR, with its failure's name."""

    sample: Sample
    verdict: Literal["OK", "NG", "ERROR"]
    findings: tuple[Defect, ...] = ()
    score: float | None = None
    """How bad the whole picture is, where the algorithm publishes it."""
    failure: str = ""
    message: str = ""
    truncated: bool = False
    """Whether there were more findings than the protocol carries."""
    times_ms: Mapping[str, float] = field(factory=dict)
    """By phase, as the caller sees them."""
    algorithm_ms: float | None = None
    """The algorithm's own time in execute, as the host measured it."""

    debug: Mapping[str, Any] = field(factory=dict)
    """What the algorithm published with its answers, by name."""
    _pairs: dict[tuple[int, float, bool], list[Pair]] = field(factory=dict, init=False, eq=False, repr=False)

    def matched(
        self, threshold: float, min_iou: float, *, any_label: bool
    ) -> tuple[tuple[Defect, ...], Sequence[Pair]]:
        """Return the findings that count at a threshold, best first, and how they match what is there.

        Several figures ask for the same, which is made once.
        """
        findings = self.kept(threshold)
        key = len(findings), min_iou, any_label
        found = self._pairs.get(key)
        if found is None:
            sample = self.sample
            found = match(findings, sample.truths, min_iou, any_label=any_label, crowds=sample.crowds)
            self._pairs[key] = found
        return findings, found

    def kept(self, threshold: float) -> tuple[Defect, ...]:
        """Return the findings that count at a threshold, best first."""
        return tuple(sorted((f for f in self.findings if f.score >= threshold), key=lambda finding: -finding.score))

    def verdict_at(self, threshold: float) -> Literal["OK", "NG", "ERROR"]:
        """Return the verdict, were findings below a threshold not reported. An NG that names no place stays one."""
        if self.verdict == "NG" and self.findings and not self.kept(threshold):
            return "OK"
        return self.verdict

    @property
    def picture_score(self) -> float:
        """How bad the picture is: what the algorithm published, else its best finding's score, else 0, or 1 for an NG.

        A failure counts as the worst: a good product's as infinitely bad, a defective one's as infinitely good.
        """
        if self.verdict == "ERROR":
            return float("-inf") if self.sample.defective else float("inf")
        if self.score is not None:
            return self.score
        if self.findings:
            return max(finding.score for finding in self.findings)
        return 1.0 if self.verdict == "NG" else 0.0
