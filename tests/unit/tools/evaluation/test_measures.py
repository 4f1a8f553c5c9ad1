"""Matching, detection, verdicts: held against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from procvision_sdk.results import Defect
from procvision_tools.datasets import Dataset, Sample, Truth
from procvision_tools.evaluation.detection import (
    NOTHING,
    Detection,
    confusion,
    curves,
    detect,
    detect_by_label,
    mean_average_precision,
)  # fmt: skip
from procvision_tools.evaluation.evaluated import Evaluation
from procvision_tools.evaluation.figures import figures, times
from procvision_tools.evaluation.matching import Pair, iou, match
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.ranking import auroc, average_precision, precision_recall
from procvision_tools.evaluation.spread import spreads
from procvision_tools.evaluation.sweeps import measure
from procvision_tools.evaluation.verdicts import tell_apart
from procvision_tools.report.evaluation_text import render

PLACE = Path("p.png")


def seen(verdict="NG", findings=(), truths=(), *, defective=None, group="", **more):
    sample = Sample(
        name="s", image=PLACE, truths=tuple(truths), group=group,
        defective=bool(truths) if defective is None else defective,
    )  # fmt: skip
    return Observation(sample=sample, verdict=verdict, findings=tuple(findings), **more)


# --- matching ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 10, 10), 50 / 150),
        ((0, 0, 10, 10), (2, 2, 5, 5), 25 / 100),
        ((0, 0, 10, 10), (10, 0, 10, 10), 0.0),
        ((0, 0, 10, 10), (50, 50, 1, 1), 0.0),
    ],
)
def test_iou_is_the_shared_over_the_covered_area(one, other, wanted):
    assert iou(Truth(*one, "a"), Truth(*other, "a")) == pytest.approx(wanted)
    assert iou(Truth(*other, "a"), Truth(*one, "a")) == pytest.approx(wanted)


def test_a_truth_is_found_once_by_the_surest():
    findings = [Defect(1, 0, 10, 10, "a", 0.5), Defect(2, 0, 10, 10, "a", 0.9)]
    assert match(findings, [Truth(0, 0, 10, 10, "a")], 0.33) == [Pair(1, 0, 80 / 120), Pair(0, None, 0.0)]


def test_each_finding_takes_the_free_truth_that_it_overlaps_most():
    truths = [Truth(0, 0, 10, 10, "a"), Truth(3, 0, 10, 10, "a")]
    findings = [Defect(2, 0, 10, 10, "a", 0.9), Defect(2, 0, 10, 10, "a", 0.8)]
    assert [pair.truth for pair in match(findings, truths, 0.33)] == [1, 0]


def test_an_overlap_that_only_reaches_the_bound_is_wrong():
    half = [Defect(0, 0, 10, 5, "a", 1.0)]
    assert match(half, [Truth(0, 0, 10, 10, "a")], 0.5)[0].truth is None
    assert match(half, [Truth(0, 0, 10, 10, "a")], 0.499)[0].truth == 0


def test_another_label_is_wrong_unless_any_will_do():
    findings, truths = [Defect(0, 0, 10, 10, "b", 1.0)], [Truth(0, 0, 10, 10, "a")]
    assert match(findings, truths, 0.5)[0].truth is None
    assert match(findings, truths, 0.5, any_label=True)[0].truth == 0


# --- ranking ----------------------------------------------------------------------------------------------------


def test_average_precision_is_the_area_under_the_falling_curve():
    # right, wrong, right of 2: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1; made to fall: 1 to recall 1/2, then 2/3.
    curve = precision_recall([0.9, 0.8, 0.7], [True, False, True], 2)
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert curve.recall.tolist() == pytest.approx([0.5, 0.5, 1.0])
    assert average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_what_is_never_found_takes_from_the_average_precision():
    assert average_precision(precision_recall([0.9], [True], 4)) == pytest.approx(0.25)
    assert average_precision(precision_recall([], [], 4)) == 0.0
    with pytest.raises(ValueError, match="0 truths"):
        precision_recall([], [], 0)


def test_equal_scores_are_one_point_whatever_their_order():
    one = precision_recall([0.5, 0.5, 0.4], [True, False, True], 2)
    other = precision_recall([0.5, 0.5, 0.4], [False, True, True], 2)
    assert one.precision.tolist() == other.precision.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert average_precision(one) == average_precision(other) == pytest.approx(2 / 3)


def test_auroc_is_the_chance_that_a_positive_scores_higher():
    # of the 4 pairs 3 are in order, and one is a tie.
    assert auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)
    assert auroc([1, 2], [True, True]) is None
    assert auroc([], []) is None
    assert auroc([float("inf"), 0.3], [False, True]) == 0.0


# --- detection --------------------------------------------------------------------------------------------------

A1, A2, B1 = Truth(0, 0, 10, 10, "a"), Truth(50, 0, 10, 10, "a"), Truth(0, 50, 10, 10, "b")


def on(truth, score, label=None):
    return Defect(truth.x, truth.y, truth.width, truth.height, label or truth.label, score)


def test_precision_recall_and_f_score_by_hand():
    pictures = [seen(findings=[on(A1, 0.9), on(B1, 0.6, "a")], truths=[A1, A2, B1]), seen("OK")]
    told = detect(pictures, Rules())
    assert (told.truths, told.findings, told.right, told.mistakes) == (3, 2, 1, 3)
    assert (told.precision, told.recall) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert told.f_score == pytest.approx(2 / 5)
    by_label = detect_by_label(pictures, Rules())
    assert by_label["a"] == Detection(truths=2, findings=2, right=1)
    assert by_label["b"] == Detection(truths=1, findings=0, right=0)
    assert confusion(pictures, Rules()) == {("a", "a"): 1, ("b", "a"): 1, ("a", NOTHING): 1}


def test_the_threshold_takes_findings_away_but_not_from_the_average_precision():
    pictures = [seen(findings=[on(A1, 0.9), on(A2, 0.4)], truths=[A1, A2])]
    assert detect(pictures, Rules(threshold=0.4)).right == 2
    assert detect(pictures, Rules(threshold=0.41)).right == 1
    assert mean_average_precision(curves(pictures, Rules(threshold=0.41))) == 1.0


def test_mean_average_precision_is_over_the_labels_that_are_there():
    pictures = [seen(findings=[on(A1, 0.9), on(A1, 0.8, "c")], truths=[A1, B1])]
    # a is found, b is not; c is there nowhere, so it has no recall, and its finding counts in the precision alone.
    assert mean_average_precision(curves(pictures, Rules())) == pytest.approx((1 + 0) / 2)
    assert detect(pictures, Rules()).precision == pytest.approx(1 / 2)
    assert mean_average_precision(curves(pictures, Rules(any_label=True))) == pytest.approx(1 / 2)


def test_a_failed_call_misses_everything():
    pictures = [seen("ERROR", truths=[A1, A2], failure="timeout 1005"), seen(findings=[on(A1, 0.9)], truths=[A1])]
    assert detect(pictures, Rules()).recall == pytest.approx(1 / 3)
    assert figures(pictures, Rules())["failures"] == 1


def test_a_defective_picture_without_boxes_says_nothing_of_places():
    pictures = [seen(findings=[on(A1, 0.9)], defective=True)]
    assert detect(pictures, Rules()) == Detection(truths=0, findings=0, right=0)
    assert "f_score" not in figures(pictures, Rules())
    assert figures(pictures, Rules())["accuracy"] == 1.0


def test_nothing_found_of_nothing_has_no_score():
    nothing = Detection(truths=0, findings=0, right=0)
    assert (nothing.precision, nothing.recall, nothing.f_score) == (None, None, None)
    assert Detection(truths=3, findings=0, right=0).f_score == 0.0


# --- verdicts ---------------------------------------------------------------------------------------------------


def test_escapes_false_alarms_and_failures_are_counted_apart():
    pictures = [
        seen("NG", defective=True), seen("OK", defective=True), seen("ERROR", defective=True),
        seen("OK", defective=False), seen("OK", defective=False), seen("NG", defective=False),
        seen("ERROR", defective=False),
    ]  # fmt: skip
    told = tell_apart(pictures, 0.0)
    assert (told.good, told.defective, told.right) == (4, 3, 3)
    assert (told.escapes, told.false_alarms, told.failures) == (1, 1, 2)
    assert told.accuracy == pytest.approx(3 / 7)
    assert told.escape_rate == pytest.approx(1 / 3)
    assert told.false_alarm_rate == pytest.approx(1 / 4)


def test_a_failed_call_is_the_worst_score_there_is():
    good, bad = seen("OK", defective=False), seen(findings=[on(A1, 0.4)], defective=True)
    assert tell_apart([good, bad], 0).auroc == 1.0
    assert tell_apart([good, bad, seen("ERROR", defective=True)], 0).auroc == pytest.approx(0.5)
    assert tell_apart([good, bad, seen("ERROR", defective=False)], 0).auroc == pytest.approx(0.5)


def test_an_ng_below_the_threshold_is_an_ok_and_an_error_stays_one():
    picture = seen(findings=[on(A1, 0.4)])
    assert (picture.verdict_at(0.4), picture.verdict_at(0.5)) == ("NG", "OK")
    assert seen("NG").verdict_at(1.0) == "NG"
    assert seen("ERROR").verdict_at(0.0) == "ERROR"


def test_a_published_score_goes_before_the_findings():
    assert seen(findings=[on(A1, 0.4)], score=7.5).picture_score == 7.5
    assert seen(findings=[on(A1, 0.4)]).picture_score == 0.4
    assert (seen("NG").picture_score, seen("OK").picture_score) == (1.0, 0.0)


# --- times ------------------------------------------------------------------------------------------------------


def test_percentiles_are_interpolated_and_failures_have_no_time():
    pictures = [seen("OK", times_ms={"execute": float(ms)}, algorithm_ms=float(ms) / 2) for ms in range(1, 102)]
    pictures.append(seen("ERROR", times_ms={"execute": 30_000.0}))
    told = times(pictures)
    assert (told["execute_p50_ms"], told["execute_p99_ms"]) == (51.0, 100.0)
    assert told["algorithm_p50_ms"] == 25.5
    assert "pre_p50_ms" not in told


# --- what all pictures together hide ------------------------------------------------------------------------------


def test_a_figure_spreads_over_groups_that_count_once_each():
    by_group = {
        "large": {"f_score": 0.99, "accuracy": 1.0, "pictures": 900, "auroc": None},
        "small": {"f_score": 0.75, "accuracy": 0.5, "pictures": 4, "auroc": 0.9},
        "other": {"f_score": 0.9, "accuracy": None, "pictures": 90, "auroc": None},
    }
    spread = {one.figure: one for one in spreads(by_group)}
    assert set(spread) == {"f_score", "accuracy"}
    assert (spread["f_score"].groups, spread["f_score"].mean) == (3, pytest.approx(0.88))
    assert spread["f_score"].deviation == pytest.approx(0.1212436)
    assert (spread["f_score"].lowest, spread["f_score"].lowest_group) == (0.75, "small")
    assert (spread["accuracy"].groups, spread["accuracy"].mean) == (2, 0.75)
    assert spreads({"only": by_group["large"]}) == ()
    assert spreads({}) == ()


def evaluation_of(observations, sweep=None):
    dataset = Dataset(
        layout="deeppcb", folder=Path("d"), samples=tuple(o.sample for o in observations), notes=("a note",)
    )
    return Evaluation(
        algorithm="a", version="1", dataset=dataset, rules=Rules(), observations=tuple(observations), sweep=sweep
    )


def test_the_headline_is_of_groups_and_of_held_out_ones_where_a_value_was_swept():
    truth = Truth(0, 0, 10, 10, "a")
    right, wrong = Defect(0, 0, 10, 10, "a", 0.4), Defect(50, 50, 10, 10, "a", 0.6)
    observations = [
        seen(findings=[right], truths=[truth], group="g"),
        seen(findings=[right, wrong], truths=[truth], group="h"),
    ]
    plain = evaluation_of(observations)
    assert {one.figure: (one.mean, one.lowest_group) for one in plain.headline}["f_score"] == (
        pytest.approx((1 + 2 / 3) / 2), "h",
    )  # fmt: skip
    assert plain.held_out == {}
    swept = measure(
        "threshold", {value: (observations, Rules(threshold=float(value))) for value in ("0", "0.5")}, ("g", "h")
    )
    held_out = evaluation_of(observations, swept)
    assert held_out.as_record()["headline"]["held_out"] is True
    assert "over 2 groups, held out" in render(held_out)
    assert "over 2 groups, each measured alone" in render(plain)
    assert render(plain).index("over 2 groups") < render(plain).index("recall")
    assert evaluation_of(observations[:1]).headline == ()
    assert "over " not in render(evaluation_of(observations[:1])).partition("precision")[0].replace("IoU over", "")


def test_without_good_products_findings_that_touch_no_truth_stand_for_false_alarms():
    truth, crowd = Truth(0, 0, 10, 10, "a"), Truth(40, 0, 20, 20, "a")
    touching = Defect(9, 9, 10, 10, "b", 0.9)
    beside = Defect(10, 0, 10, 10, "a", 0.9)
    in_crowd = Defect(59, 19, 5, 5, "a", 0.9)
    faint = Defect(80, 80, 5, 5, "a", 0.1)
    bad = seen(findings=[touching, beside, in_crowd, faint], truths=[truth])
    bad = attrs.evolve(bad, sample=attrs.evolve(bad.sample, crowds=(crowd,)))
    told = figures([bad], Rules())
    assert (told["false_alarms"], told["false_alarm_rate"], told["findings_off_truth"]) == (None, None, 2)
    assert figures([bad], Rules(threshold=0.5))["findings_off_truth"] == 1
    notes = evaluation_of([bad]).notes
    assert notes == (
        "a note", "no product of the data set is good: false alarms can't be told; 2 findings touch no truth",
    )  # fmt: skip
    both = [bad, seen(verdict="OK", defective=False)]
    assert "findings_off_truth" not in figures(both, Rules())
    assert figures(both, Rules())["false_alarms"] == 0
    assert evaluation_of(both).notes == ("a note",)
    unmarked = evaluation_of([seen(findings=[faint], defective=True)])
    assert unmarked.notes == ("a note", "no product of the data set is good: false alarms can't be told")


def test_a_finding_in_a_crowd_is_neither_right_nor_wrong():
    truth, crowd = Truth(0, 0, 10, 10, "a"), Truth(40, 0, 50, 50, "a")
    inside = [Defect(45 + at, 5, 8, 8, "a", 0.5) for at in range(3)]
    half_out, other = Defect(36, 0, 8, 8, "a", 0.5), Defect(50, 20, 5, 5, "b", 0.5)
    only_crowd = seen(findings=[*inside, other], defective=True)
    only_crowd = attrs.evolve(only_crowd, sample=attrs.evolve(only_crowd.sample, crowds=(crowd,)))
    both = attrs.evolve(
        seen(findings=[Defect(0, 0, 10, 10, "a", 0.9), half_out, *inside], truths=[truth]),
    )
    both = attrs.evolve(both, sample=attrs.evolve(both.sample, crowds=(crowd,)))
    assert detect([only_crowd], Rules()) == Detection(truths=0, findings=1, right=0)
    assert detect([only_crowd], Rules(any_label=True)) == Detection(truths=0, findings=0, right=0)
    assert detect([both], Rules()) == Detection(truths=1, findings=2, right=1)
    assert sum(confusion([both], Rules()).values()) == 2
