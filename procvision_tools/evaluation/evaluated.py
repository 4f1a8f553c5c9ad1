"""One evaluation, whole: what was measured, by which rules, and what came out. Its record is the JSON report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
from attrs import field, frozen

from procvision_sdk.manifest.model import Diagnostic
from procvision_tools.datasets.samples import Dataset, Sample
from procvision_tools.evaluation.bounds import Bound, BoundResult, check
from procvision_tools.evaluation.detection import Detection, confusion, detect
from procvision_tools.evaluation.figures import Figures, figures, label_figures
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.spread import Spread, spreads
from procvision_tools.evaluation.sweeps import SweepResult
from procvision_tools.names import shown

FORMAT = "procvision-evaluation/2"
_DIGITS = 6
"""A figure is rounded to so many decimals in the record."""


@frozen(kw_only=True, slots=False)
class Evaluation:
    """What an algorithm is worth on a data set."""

    algorithm: str
    version: str
    dataset: Dataset
    rules: Rules
    observations: tuple[Observation, ...]
    params: Mapping[str, Any] = field(factory=dict)
    pid: str = ""
    bits: int | None = None
    """Of samples of 16 bits in a grey PNG, how many are used."""
    jobs: int = 1
    took_s: float = 0.0
    """From the first picture to the last, without the hosts' start."""
    command: str = ""
    score_key: str | None = None
    """The diagnostic that is the picture's score; None where its best finding's score is."""
    diagnostics: Mapping[str, Diagnostic] = field(factory=dict)
    """What the manifest says of the diagnostics that the algorithm publishes."""
    sweep: SweepResult | None = None
    bounds: tuple[BoundResult, ...] = ()
    baseline: str = ""
    """The file of the earlier report that it was compared with."""
    earlier: Mapping[str, Figures] = field(factory=dict)
    """That report's figures: of all under "", of groups and labels under their names."""

    @cached_property
    def figures(self) -> Figures:
        """Over all pictures."""
        told = figures(self.observations, self.rules)
        return told | ({"pictures_per_s": len(self.observations) / self.took_s} if self.took_s > 0 else {})

    @cached_property
    def groups(self) -> dict[str, Figures]:
        """By group; empty where there is only one."""
        return {
            group: figures([o for o in self.observations if o.sample.group == group], self.rules)
            for group in self.dataset.groups
        }

    @cached_property
    def labels(self) -> dict[str, Figures]:
        """By label; empty where nothing says where defects are."""
        return label_figures(self.observations, self.rules) if self.dataset.labels else {}

    @cached_property
    def confusion(self) -> Counter[tuple[str, str]]:
        """(what is there, what it was called): how often."""
        return confusion(self.observations, self.rules) if self.dataset.labels else Counter()

    @property
    def parts(self) -> dict[str, Figures]:
        """All figures by what they are of: "" for everything, a label, a group."""
        return {**self.labels, **self.groups, "": self.figures}

    def held_to(self, bounds: Sequence[Bound]) -> Evaluation:
        """Return it with what becomes of bounds. What was computed isn't computed again."""
        parts = self.parts
        held = attrs.evolve(self, bounds=tuple(check(bound, parts, self.earlier) for bound in bounds))
        held.__dict__.update(figures=self.figures, groups=self.groups, labels=self.labels)
        return held

    @property
    def headline(self) -> tuple[Spread, ...]:
        """The figures by group, which tell more than those over all: their mean, spread and lowest. Empty without."""
        return spreads(self.held_out or self.groups)

    @property
    def held_out(self) -> dict[str, Figures]:
        """The figures of each group with the swept value that is best on all others; empty without a sweep."""
        return {row.group: row.figures for row in self.sweep.held_out} if self.sweep is not None else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures should know of the data set, and of how its labels fit the algorithm's."""
        return (*self.dataset.notes, *self._told_of_labels, *self._told_of_good_products)

    @property
    def _told_of_good_products(self) -> tuple[str, ...]:
        if not self.observations or any(not o.sample.defective for o in self.observations):
            return ()
        off = self.figures.get("findings_off_truth")
        instead = f"; {off} findings touch no truth" if off is not None else ""
        return (f"no product of the data set is good: false alarms can't be told{instead}",)

    @property
    def _told_of_labels(self) -> tuple[str, ...]:
        there = {truth.label for o in self.observations for truth in o.sample.truths}
        called = {finding.label for o in self.observations for finding in o.kept(self.rules.threshold)}
        if self.rules.any_label or not there or not called or there & called:
            return ()
        says, asked = (", ".join(repr(label) for label in sorted(labels)[:5]) for labels in (called, there))
        note = f"no finding has a label of the data set: the algorithm says {says}, the data set {asked};"
        return (f"{note} --any-label measures the boxes alone",)

    @property
    def failures(self) -> Counter[str]:
        """What kinds of failure there were, and how often."""
        return Counter(o.failure for o in self.observations if o.verdict == "ERROR")

    @property
    def truncated(self) -> int:
        """How many pictures had more findings than the protocol carries."""
        return sum(o.truncated for o in self.observations)

    @property
    def kept(self) -> bool:
        """Whether all bounds hold."""
        return all(outcome.holds for outcome in self.bounds)

    def counted(self, observation: Observation) -> Detection:
        """Return the counts of one picture."""
        return detect([observation], self.rules)

    def is_wrong(self, observation: Observation) -> bool:
        """Return whether a product was not told right."""
        return observation.verdict_at(self.rules.threshold) != ("NG" if observation.sample.defective else "OK")

    def worst(self, count: int) -> list[Observation]:
        """Return the pictures with the most mistakes, failures first; none that is right in all."""

        def badness(observation: Observation) -> tuple[bool, int, bool, float]:
            score = observation.picture_score
            wrong = self.is_wrong(observation)
            return (
                observation.verdict == "ERROR",
                self.counted(observation).mistakes,
                wrong,
                -score if observation.sample.defective else score,
            )

        bad = [o for o in self.observations if self.is_wrong(o) or self.counted(o).mistakes]
        return sorted(bad, key=badness, reverse=True)[:count]

    def as_record(self) -> dict[str, Any]:
        """Give everything but the pictures themselves, ready for JSON."""
        samples = self.dataset.samples
        return {
            "format": FORMAT,
            "algorithm": self.algorithm,
            "version": self.version,
            "pid": self.pid,
            "user_params": dict(self.params),
            "bits": self.bits,
            "dataset": {
                "layout": self.dataset.layout,
                "folder": shown(self.dataset.folder),
                "pictures": len(samples),
                "labels": list(self.dataset.labels),
                "notes": list(self.notes),
            },
            "rules": attrs.asdict(self.rules),
            "jobs": self.jobs,
            "took_s": round(self.took_s, 3),
            "command": self.command,
            "picture_score": self.score_key,
            "headline": {
                "held_out": bool(self.held_out),
                "figures": [attrs.asdict(spread) for spread in self.headline],
            },
            "figures": rounded(self.figures),
            "groups": {name: rounded(told) for name, told in self.groups.items()},
            "labels": {name: rounded(told) for name, told in self.labels.items()},
            "confusion": [
                {"is": there, "called": called, "count": count}
                for (there, called), count in sorted(self.confusion.items())
            ],
            "failures": dict(self.failures),
            "sweep": _sweep_record(self.sweep) if self.sweep is not None else None,
            "bounds": [attrs.asdict(outcome) for outcome in self.bounds],
            "baseline": self.baseline,
            "pictures": [self._picture_record(observation) for observation in self.observations],
        }

    def _picture_record(self, observation: Observation) -> dict[str, Any]:
        sample: Sample = observation.sample
        return {
            "name": sample.name,
            "group": sample.group,
            "defective": sample.defective,
            "verdict": observation.verdict_at(self.rules.threshold),
            "failure": observation.failure,
            "message": observation.message,
            "score": observation.score,
            "mistakes": self.counted(observation).mistakes,
            "truths": [attrs.asdict(truth) for truth in sample.truths],
            "crowds": [attrs.asdict(crowd) for crowd in sample.crowds],
            "defect_rects": [finding.to_dict() for finding in observation.findings],
            "debug": dict(observation.debug),
            "times_ms": rounded(observation.times_ms),
            "algorithm_ms": observation.algorithm_ms,
        }


def rounded(told: Mapping[str, float | None]) -> Figures:
    """Give the same with few decimals."""
    return {
        name: value if value is None or isinstance(value, int) else round(value, _DIGITS)
        for name, value in told.items()
    }


def _sweep_record(sweep: SweepResult) -> dict[str, Any]:
    return {
        "key": sweep.key,
        "best": sweep.best,
        "rows": [{"value": row.value, "figures": rounded(row.figures)} for row in sweep.rows],
        "held_out": [
            {"group": row.group, "value": row.value, "figures": rounded(row.figures)} for row in sweep.held_out
        ],
        "held_out_f_score": sweep.held_out_f_score,
    }
