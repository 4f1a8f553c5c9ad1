"""What is said of a new version, the report's bytes, and what an activation makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from procvision_tools.evaluation.bounds import BoundResult, parse_bound
from procvision_tools.requalification.archive import Archive, Product, Rect, Said, Shot, Stored
from procvision_tools.requalification.compare import MEANINGS
from procvision_tools.requalification.report import Requalification, Version
from procvision_tools.requalification.results import Row

OK, NG, ERROR = Said("OK", took_ms=1.0), Said("NG", defect_rects=(Rect(1, 1, 2, 2, "dent"),)), Said("ERROR")
UNSTABLE = Said("UNSTABLE", failure="timeout 1005")


def requalification(*told: tuple[str, Said, Said], **changes: Any) -> Requalification:
    products = [
        Product(f"p{at:04d}", (Shot(Stored(f"/p/{at}.png", "1")),), truth=truth, parts={"recipe": "AB"[at % 2]})
        for at, (truth, _, _) in enumerate(told)
    ]  # fmt: skip
    rows = {product.name: Row(product.name, new, old) for product, (_, old, new) in zip(products, told, strict=True)}
    made = Requalification(
        old=Version("weld==1", "deployment", "weld", "1", "id-1", "weld-check"),
        new=Version("weld==2", "deployment", "weld", "2", "id-2", "weld-check"),
        archive=Archive(place="archive", kind="pictures", products=tuple(products)),
        rows=rows,
    )
    return attrs.evolve(made, **changes)


@pytest.mark.parametrize(
    ("told", "outcome", "words"),
    [
        ([("good", OK, OK)] * 3, "same", "says the same as weld 1 of all 3"),
        ([("unknown", OK, NG), ("unknown", OK, OK)], "differs", "is not known"),
        ([("good", NG, OK)] * 10 + [("good", OK, OK)], "better", "false alarms 10 before, 0 now"),
        ([("good", OK, NG)] * 10, "worse", "10 became wrong"),
        ([("defective", NG, OK)], "worse", "lets more defective products through"),
        ([("good", OK, NG), ("good", NG, OK)], "no worse", "Neither"),
        ([("good", OK, UNSTABLE)], "unclear", "1 products are unstable"),
        ([("good", OK, UNSTABLE), ("good", OK, OK)], "same", "1 more are unstable"),
    ],
)
def test_a_sentence_says_what_it_means(told: list[tuple[str, Said, Said]], outcome: str, words: str) -> None:
    judgement = requalification(*told).judgement
    assert judgement.outcome == outcome
    assert words in judgement.sentence


def test_the_report_has_no_times_and_is_the_same_again() -> None:
    told = [("good", OK, NG), ("defective", NG, NG), ("unknown", OK, UNSTABLE)]
    one = requalification(*told)
    slower = [(truth, old, Said(new.verdict, new.failure, took_ms=99.0, defect_rects=new.defect_rects))
              for truth, old, new in told]  # fmt: skip
    other = requalification(*slower, runs=({"took_s": 5},))
    assert json.dumps(one.as_record()) == json.dumps(other.as_record())
    assert one.times_record() != other.times_record()
    assert "took" not in json.dumps(one.as_record())


def test_what_the_archive_recorded_stands_for_the_old_version() -> None:
    found = requalification(("good", OK, NG))
    product = found.archive.products[0]
    recorded = Product(product.name, product.shots, truth="good", recorded=NG)
    found = attrs.evolve(
        found, archive=attrs.evolve(found.archive, products=(recorded,)), rows={product.name: Row(product.name, OK)}
    )
    assert (found.comparison.counts.to_ok, found.comparison.counts.to_ng) == (1, 0)


def test_the_page_shows_flips_with_their_names_escaped(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="the page needs Jinja2")
    pytest.importorskip("PIL.Image", reason="the page needs Pillow")
    from procvision_tools.report.requalification_html import render

    found = requalification(("defective", NG, OK), ("good", OK, OK))
    hostile = Version("<script>", "command", "<script>alert(1)</script>", "2", "")
    page = render(attrs.evolve(found, new=hostile))
    assert "New escape" in page
    assert "The picture can't be read any more." in page
    assert "<script>alert" not in page
    assert "1 NG → OK" in page


def test_the_page_is_red_where_a_bound_is_missed() -> None:
    pytest.importorskip("jinja2", reason="the page needs Jinja2")
    pytest.importorskip("PIL.Image", reason="the page needs Pillow")
    from procvision_tools.report.requalification_html import render

    found = requalification(("good", OK, ERROR), ("good", OK, OK))
    assert found.judgement.outcome == "no worse"
    assert 'judgement is-OK"' in render(found)
    page = render(found.held_to([parse_bound("errors<=baseline", MEANINGS)]))
    assert 'judgement is-NG"' in page
    assert "The new version: not shown to be worse, and a bound is missed" in page


def test_the_reference_has_every_figure_as_it_is_defined() -> None:
    page = (Path(__file__).parents[4] / "docs" / "reference" / "requalification.md").read_text("utf-8")
    for name, meaning in MEANINGS.items():
        assert f"| `{name}` | {meaning} |" in page


# --- the gate of an activation --------------------------------------------------------------------------------


def gate_findings(tmp_path: Path, found: Requalification, **facts: object) -> list[tuple[str, str]]:
    pytest.importorskip("packaging.metadata", reason="packaging reads wheels")
    from procvision_runner.deployments import Deployment
    from procvision_tools.deployments.gate import _report

    path = tmp_path / "report.json"
    path.write_text(json.dumps(found.as_record(), indent=2))
    told = {"name": "weld-check", "version": "2", "algorithms": ["weld"], "id": "id-2", **facts}
    return [(finding.level, finding.detail) for finding in _report(Deployment(tmp_path, told), path)]


def test_an_activation_takes_the_report_of_what_it_activates(tmp_path: Path) -> None:
    kept = requalification(("good", NG, OK), bounds=(BoundResult("flips<=5", holds=True, value=1, bound=5),))
    levels = [level for level, _ in gate_findings(tmp_path, kept)]
    assert levels == ["ok"]


@pytest.mark.parametrize(
    ("facts", "bounds", "message"),
    [
        ({"id": "id-3"}, (), "not about this installation of weld-check==2"),
        ({"name": "other"}, (), "not about this installation of other==2"),
        ({}, (BoundResult("flips<=0", holds=False, value=1, bound=0),), "a bound is missed"),
    ],
)
def test_an_activation_refuses_another_ones_report_and_a_missed_bound(
    tmp_path: Path, facts: dict[str, object], bounds: tuple[BoundResult, ...], message: str
) -> None:
    found = gate_findings(tmp_path, requalification(("good", NG, OK), bounds=bounds), **facts)
    assert found[-1][0] == "failed"
    assert message in found[-1][1]


def test_a_report_of_what_is_not_installed_is_refused(tmp_path: Path) -> None:
    of_command = Version("python -m host", "command", "weld", "2", "x")
    assert gate_findings(tmp_path, requalification(("good", OK, OK), new=of_command))[-1][0] == "failed"
