"""Bounds, sweeps, what an earlier report is good for, and an evaluation's record."""

from __future__ import annotations

import json
import re
from pathlib import Path

import attrs
import pytest

from procvision_sdk.results import Defect
from procvision_tools.datasets import Dataset, Sample, Truth
from procvision_tools.evaluation.baseline import BaselineError, changes, read_baseline
from procvision_tools.evaluation.bounds import NO_FAILURES, check, parse_bound
from procvision_tools.evaluation.evaluated import Evaluation
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.sweeps import best_value, measure, parse_sweep

A = Truth(0, 0, 10, 10, "a")


# --- bounds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("f_score>=0.97", 0.97, True),
        ("f_score > 0.97", 0.97, False),
        ("f_score<=.5", 0.5, True),
        ("f_score<5e-1", 0.5, False),
        ("f_score==1", 1.0, True),
        ("f_score[g 1]>=0.9", 0.95, True),
        ("f_score>=baseline", 0.9, True),
        ("f_score>=baseline+0.02", 0.91, False),
        ("f_score >= baseline - 0.02", 0.89, True),
    ],
)
def test_a_bound_holds_or_is_missed(text, value, holds):
    outcome = check(parse_bound(text), {"": {"f_score": value}, "g 1": {"f_score": value}}, {"": {"f_score": 0.9}})
    assert outcome.holds is holds
    assert outcome.value == value


@pytest.mark.parametrize("text", ["f_score>=0.5", "f_score[no such group]>=0.5", "auroc<=1", "recall>=baseline"])
def test_a_figure_that_is_not_there_keeps_no_bound(text):
    outcome = check(parse_bound(text), {"": {"f_score": None, "recall": 1.0}}, {"": {}})
    assert outcome.holds is False


@pytest.mark.parametrize(
    ("text", "words"),
    [("f_score", "no bound"), ("f_score>=", "no bound"), ("f_score=1", "no bound"), ("f>=1", "no figure 'f'"),
     ("f_score>=high", "no bound"), ("", "no bound"), ("f_score>=1; rm", "no bound"),
     ("f_score<=1e999", "no finite number")],
)  # fmt: skip
def test_what_is_no_bound_is_refused_with_a_hint(text, words):
    with pytest.raises(ValueError, match=rf"{words}.*\nhint: "):
        parse_bound(text)


# --- sweeps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("t=0.1:0.5:0.1", ("0.1", "0.2", "0.3", "0.4", "0.5")),
        ("t=0:1:0.4", ("0.0", "0.4", "0.8")),
        ("t=5:7:1", ("5", "6", "7")),
        ("t=dark,bright", ("dark", "bright")),
        ("t=3", ("3",)),
    ],
)
def test_a_sweep_is_read_without_rounding(text, values):
    sweep = parse_sweep(text)
    assert (sweep.key, sweep.values) == ("t", values)


NO_SWEEPS = "t t= =1:2:1 t=1:2 t=a:b:c t=1:2:0 t=2:1:1 t=0:1:0.001 t=a,,b t=a,a t=nan:1:1 "
NO_SWEEPS += "t=0:1e400:1e-400 t=0:1e999999:1e-999999 t=0:1:1e-300"


@pytest.mark.parametrize("text", NO_SWEEPS.split())
def test_what_is_no_sweep_is_refused(text):
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))}.*\nhint: "):
        parse_sweep(text)


def test_the_best_value_is_the_middle_of_its_plateau():
    assert best_value({"1": 0.90, "2": 0.95, "3": 0.951, "4": 0.9505, "5": 0.9}) == "3"
    # an equally good one apart from the best is no part of the plateau.
    assert best_value({"1": 0.95, "2": 0.5, "3": 0.951, "4": 0.951}) == "4"
    assert best_value({"1": None}) is None


def picture(group, score, *, right=True):
    sample = Sample(name=f"{group}{score}", image=Path("p"), truths=(A,), group=group, defective=True)
    place = (0, 0) if right else (50, 50)
    return Observation(sample=sample, verdict="NG", findings=(Defect(*place, 10, 10, "a", score),))


def test_a_group_is_measured_with_what_is_best_on_the_others():
    # Wrong findings have scores below 0.5 in g1 and above in g2: each suggests what is bad for the other.
    seen = [picture("g1", 0.9), picture("g1", 0.4, right=False), picture("g2", 0.4), picture("g2", 0.9)]
    told = measure(
        "threshold", {value: (seen, Rules(threshold=float(value))) for value in ("0.1", "0.5")}, ["g1", "g2"]
    )
    assert [(row.group, row.value) for row in told.held_out] == [("g1", "0.1"), ("g2", "0.5")]
    # g1 at 0.1: 1 right of 2 findings and 2 truths; g2 at 0.5: 1 right of 1 and 2. Together 2 * 2 / (3 + 4).
    assert told.held_out_f_score == pytest.approx(4 / 7)


# --- the record, and later reports ------------------------------------------------------------------------------


def evaluated(*observations, **changes):
    dataset = Dataset(layout="coco", folder=Path("d"), samples=tuple(o.sample for o in observations))
    return Evaluation(
        algorithm="x", version="1", dataset=dataset, rules=Rules(), observations=observations, took_s=2.0, **changes
    )


def test_the_record_is_json_and_its_figures_come_back(tmp_path):
    failed = Observation(sample=picture("g2", 0.1).sample, verdict="ERROR", failure="timeout 1005", message="too slow")
    record = json.loads(json.dumps(evaluated(picture("g1", 0.9), failed).as_record(), allow_nan=False))
    assert record["failures"] == {"timeout 1005": 1}
    assert record["pictures"][1]["verdict"] == "ERROR"
    assert record["figures"]["recall"] == 0.5
    assert record["figures"]["pictures_per_s"] == 1.0
    (tmp_path / "r.json").write_text(json.dumps(record))
    parts = read_baseline(tmp_path / "r.json")
    assert parts[""]["recall"] == 0.5
    assert parts["g1"]["recall"] == 1.0
    assert parts["a"]["truths"] == 2


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": "other", "figures": {}, "groups": {}, "labels": {}}'])
def test_another_file_is_no_earlier_report(content, tmp_path):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(BaselineError, match=r"r\.json"):
        read_baseline(tmp_path / "r.json")


def test_what_became_better_depends_on_the_figure():
    before = {"f_score": 0.9, "escapes": 3, "execute_p50_ms": 5.0, "truths": 4, "recall": 0.5, "auroc": None}
    now = {"f_score": 0.95, "escapes": 4, "execute_p50_ms": 4.0, "truths": 5, "recall": 0.5000001, "auroc": 0.9}
    assert {change.figure: change.became for change in changes(before, now)} == {
        "f_score": "better", "escapes": "worse", "execute_p50_ms": "better", "truths": "", "recall": "", "auroc": "",
    }  # fmt: skip


def test_labels_that_never_meet_are_told_with_what_to_do():
    """Or every finding is wrong and nobody sees why."""
    seen = picture("g1", 0.9)
    renamed = Observation(sample=seen.sample, verdict="NG", findings=(Defect(0, 0, 10, 10, "dent", 0.9),))
    good = Observation(sample=attrs.evolve(seen.sample, truths=(), defective=False), verdict="OK")
    assert evaluated(seen, good).notes == ()
    (note,) = evaluated(renamed, good).notes
    assert "says 'dent', the data set 'a'" in note
    assert "--any-label" in note


def test_the_worst_are_failures_then_those_with_most_mistakes_and_none_that_is_right():
    right, wrong = picture("g1", 0.9), picture("g2", 0.8, right=False)
    failed = Observation(sample=picture("g3", 0.1).sample, verdict="ERROR", failure="crashed 9999")
    whole = evaluated(right, wrong, failed)
    assert [o.sample.group for o in whole.worst(10)] == ["g3", "g2"]
    assert check(NO_FAILURES, whole.parts, None).holds is False
