"""All figures of some observations, by name: what a report shows, a bound holds and a comparison compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from procvision_tools.evaluation.detection import (
    curves,
    detect,
    detect_by_label,
    mean_average_precision,
    off_truth,
)
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.ranking import average_precision
from procvision_tools.evaluation.verdicts import tell_apart

Figures: TypeAlias = dict[str, float | None]

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "pictures": "how many were inspected",
        "failures": "calls without a verdict",
        "truths": "defects that are there",
        "findings": "defects that were reported, at the threshold",
        "precision": "of the findings, how many are right",
        "recall": "of the truths, how many were found",
        "f_score": "the harmonic mean of both",
        "mean_average_precision": "the mean over the labels of the area under precision over recall",
        "average_precision": "of one label",
        "accuracy": "of the products, how many were told right",
        "escapes": "defective products called OK",
        "escape_rate": "of the defective products",
        "false_alarms": "good products called NG",
        "false_alarm_rate": "of the good products",
        "findings_off_truth": "findings that touch no truth, where no product is good",
        "auroc": "the chance that a defective product scores higher than a good one",
        "pre_p50_ms": "the call of `pre`, as the caller sees it: median",
        "pre_p99_ms": "and 99th percentile",
        "execute_p50_ms": "the call of `execute`, as the caller sees it: median",
        "execute_p99_ms": "and 99th percentile",
        "algorithm_p50_ms": "the algorithm's own time in `execute`: median",
        "algorithm_p99_ms": "and 99th percentile",
        "pictures_per_s": "inspected in a second, by all hosts together",
    }
)
"""A figure's name -> what it says."""
LESS_IS_BETTER = frozenset(
    {"failures", "escapes", "escape_rate", "false_alarms", "false_alarm_rate", "findings_off_truth"}
    | {name for name in MEANINGS if name.endswith("_ms")}
)
NEITHER_IS_BETTER = frozenset({"pictures", "truths", "findings"})


def figures(observations: Sequence[Observation], rules: Rules) -> Figures:
    """Give every figure that these observations have; one without a denominator is None."""
    detection, verdicts = detect(observations, rules), tell_apart(observations, rules.threshold)
    told: Figures = {"pictures": len(observations), "failures": verdicts.failures}
    if detection.truths:
        told |= {
            "truths": detection.truths,
            "findings": detection.findings,
            "precision": detection.precision,
            "recall": detection.recall,
            "f_score": detection.f_score,
            "mean_average_precision": mean_average_precision(curves(observations, rules)),
        }
    told |= {
        "accuracy": verdicts.accuracy,
        "escapes": verdicts.escapes,
        "escape_rate": verdicts.escape_rate,
        "false_alarms": verdicts.told_false_alarms,
        "false_alarm_rate": verdicts.false_alarm_rate,
        "auroc": verdicts.auroc,
    }
    if not verdicts.good and detection.truths:
        told["findings_off_truth"] = off_truth(observations, rules)
    return told | times(observations)


def label_figures(observations: Sequence[Observation], rules: Rules) -> dict[str, Figures]:
    """Give the figures of each label."""
    ranked = curves(observations, rules)
    return {
        label: {
            "truths": found.truths,
            "findings": found.findings,
            "precision": found.precision,
            "recall": found.recall,
            "f_score": found.f_score,
            "average_precision": average_precision(ranked[label]) if label in ranked else None,
        }
        for label, found in detect_by_label(observations, rules).items()
    }


def times(observations: Sequence[Observation]) -> Figures:
    """Give the median and the 99th percentile of each phase, interpolated linearly, of calls that had an answer."""
    measured: dict[str, list[float]] = {}
    for observation in observations:
        if observation.verdict == "ERROR":
            continue
        for phase, took_ms in observation.times_ms.items():
            measured.setdefault(phase, []).append(took_ms)
        if observation.algorithm_ms is not None:
            measured.setdefault("algorithm", []).append(observation.algorithm_ms)
    told: Figures = {}
    for phase in ("pre", "execute", "algorithm"):
        if values := measured.get(phase):
            told[f"{phase}_p50_ms"] = float(np.percentile(values, 50))
            told[f"{phase}_p99_ms"] = float(np.percentile(values, 99))
    return told
