"""The page of inspections."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import weakref
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import numpy as np
import pytest

from procvision_sdk.results import Defect
from procvision_tools.extras import MissingExtraError
from procvision_tools.report import html
from procvision_tools.report.inspection import Inspection, LogLine
from procvision_tools.report.provenance import Provenance

pytest.importorskip("jinja2", reason="jinja2 makes the page")
pytest.importorskip("PIL", reason="Pillow encodes the pictures")

VOID = {"meta", "link", "input", "br", "hr", "img"}
NASTY = "</script><script>alert(1)</script>\"'&<b>"


class Tree(HTMLParser):
    """Reads a page: its elements with their attributes, its text, and whether all that was opened is closed."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, **wanted):
        return [attrs for name, attrs in self.elements if name == tag and wanted.items() <= attrs.items()]


def inspection(**changes):
    fields = {
        "title": "T.jpg", "algorithm": "pcb-compare", "version": "0.1.0", "pid": "A", "verdict": "NG",
        "ng_reason": "a net is open", "picture": np.full((60, 80), 255, np.uint8),
        "reference": np.zeros((60, 80, 3), np.uint8), "defects": (Defect(10, 20, 8, 6, "open", 0.75),),
        "params": {"threshold": 0.5}, "times_ms": {"pre": 4.0, "execute": 2.0},
        "logs": (LogLine("INFO", "learnt"),), "command": "procvision run pcb-compare --image T.jpg",
    }  # fmt: skip
    return Inspection(**(fields | changes))


def test_a_page_is_well_formed_and_tells_everything():
    tree = Tree(html.render([inspection()], title="Line 4"))
    assert tree.open == []
    text = " ".join(" ".join(tree.words).split())
    for word in ("Line 4", "NG", "a net is open", "pcb-compare 0.1.0", "threshold", "0.5", "4.0 ms", "INFO: learnt",
                 "procvision run pcb-compare --image T.jpg", "0.75", "80 x 60", "10, 20", "8 x 6"):  # fmt: skip
        assert word in text, word


def test_boxes_lie_where_the_defects_are():
    tree = Tree(html.render([inspection()]))
    [board] = tree.all("svg", **{"class": "board"})
    assert board["viewbox"] == "0 0 80 60"
    [edge] = tree.all("rect", **{"class": "edge"})
    x, y, width, height = (float(edge[key]) for key in ("x", "y", "width", "height"))
    assert 4 < x < 10
    assert 14 < y < 20
    assert (x + width / 2, y + height / 2) == (pytest.approx(14), pytest.approx(23))


def test_a_box_at_the_pictures_edge_is_drawn_inside_of_it():
    """Outside of the picture nobody would see it."""
    tree = Tree(html.render([inspection(defects=(Defect(0, 0, 80, 60, "open", 0.75),))]))
    [edge] = tree.all("rect", **{"class": "edge"})
    assert [float(edge[key]) for key in ("x", "y", "width", "height")] == [0, 0, 80, 60]


def test_ids_are_unique_and_links_lead_somewhere():
    two = inspection(defects=(Defect(1, 1, 2, 2, "open", 1.0), Defect(9, 9, 2, 2, "short", 1.0)))
    tree = Tree(html.render([two, inspection(), inspection(verdict="OK", defects=())]))
    ids = [attrs["id"] for _, attrs in tree.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for _, attrs in tree.elements if attrs.get("href", "").startswith("#")]
    assert links
    assert {link[1:] for link in links} <= set(ids)
    labels = " ".join(attrs.get("aria-labelledby", "") for _, attrs in tree.elements).split()
    assert set(labels) <= set(ids)


def test_nothing_is_fetched_and_nothing_runs():
    page = html.render([inspection()])
    tree = Tree(page)
    assert len(tree.all("script")) == 1
    for _, attrs in tree.elements:
        for name in ("href", "src", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in attrs)
    assert not re.search(r"url\(|@import|https?://", page)
    [policy] = tree.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")
    text = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]


def test_the_page_tells_when_where_by_whom_and_with_what_it_was_made():
    made = Provenance(
        made_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=8))), machine="line-4", user="wang",
        procvision="0.1.0", python="3.11.7", system="Linux x86_64",
    )  # fmt: skip
    at = datetime(2026, 3, 4, 5, 0, 0, tzinfo=UTC)
    page = html.render([inspection(at=at), inspection(algorithm="other", version="2")], provenance=made)
    text = " ".join(" ".join(Tree(page).words).split())
    for word in ("2026-03-04 05:06:07+08:00", "line-4 (Linux x86_64)", "wang", "ProcVision 0.1.0, Python 3.11.7",
                 "pcb-compare 0.1.0, other 2", "2026-03-04 05:00:00+00:00"):  # fmt: skip
        assert word in text, word
    here = Provenance.here()
    assert here.made_at.utcoffset() is not None
    assert all(text for _, text in here.facts)


def test_a_page_of_many_has_a_row_for_each_and_stays_within_its_bounds(monkeypatch):
    """First whole pictures, then small ones, then rows alone, which the notes say."""
    monkeypatch.setattr(html, "WHOLE_PICTURES_BYTES", 300_000)
    monkeypatch.setattr(html, "SECTIONS_BYTES", 500_000)
    monkeypatch.setattr(html, "THUMBNAILS_BYTES", 60_000)
    noise = np.random.default_rng(1).integers(0, 256, (400, 300), np.uint8)
    made = (inspection(title=f"p{at}.png", picture=noise + np.uint8(at), reference=None) for at in range(80))
    page = html.render(made)
    tree = Tree(page)
    sections = tree.all("section", **{"class": "inspection"})
    rows = [attrs for _, attrs in tree.elements if "data-verdict" in attrs]
    thumbnails = tree.all("img")
    assert len(rows) == 80
    assert 3 < len(sections) < 80
    assert 3 < len(thumbnails) < 80
    assert len(page) < 700_000
    words = " ".join(" ".join(tree.words).split())
    assert f"the last {80 - len(sections)} have a row only: a page holds 20 MB at most" in words
    assert "shown 192 pixels wide" in words
    assert f"<td>p{len(sections)}.png</td>" in page


def test_pictures_are_let_go_of_one_by_one():
    """A page of many needs the pixels of one."""
    alive = []

    def made():
        for at in range(5):
            one = inspection(picture=np.full((50, 50), at, np.uint8), reference=None)
            alive.append(weakref.ref(one.picture))
            yield one
            del one
            assert sum(ref() is not None for ref in alive) <= 1

    assert html.render(made()).count('class="board"') == 5


def test_all_text_is_escaped():
    page = html.render(
        [
            inspection(
                title=NASTY, ng_reason=NASTY, algorithm=NASTY, version=NASTY, pid=NASTY, command=NASTY,
                params={NASTY: NASTY, "n": [NASTY]}, times_ms={NASTY: 1.0}, logs=(LogLine(NASTY, NASTY),),
                defects=(Defect(1, 1, 2, 2, NASTY, 1.0),),
            ),
            inspection(verdict="ERROR", message=NASTY, error_code=NASTY, hint=NASTY, picture=None, defects=()),
        ],
        title=NASTY,
        next_steps=[html.NextStep(NASTY, NASTY)],
    )  # fmt: skip
    tree = Tree(page)
    assert tree.open == []
    assert len(tree.all("script")) == 1
    assert "alert(1)" not in page.partition("<script>")[2].partition("</script>")[0]
    assert not tree.all("b")
    assert " ".join(tree.words).count("</script><script>alert(1)</script>") >= 15


def test_text_that_no_page_can_hold_is_shown_as_escapes(tmp_path):
    html.write(tmp_path / "p.html", [inspection(ng_reason="\x00\x1b\ud800\nsecond line")])
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "\\x00\\x1b\\ud800\nsecond line" in page


def test_without_a_picture_there_is_still_a_page():
    page = html.render([inspection(verdict="ERROR", picture=None, reference=None, defects=(), message="cut")])
    tree = Tree(page)
    assert tree.open == []
    assert not tree.all("image")
    assert html.render([])


def test_the_counts_link_to_the_first_of_their_kind():
    tree = Tree(html.render([inspection(verdict="OK", defects=()), inspection(), inspection()]))
    assert [(a["class"], a["href"]) for a in tree.all("a") if a.get("class") in ("OK", "NG", "ERROR")] == [
        ("OK", "#i1"),
        ("NG", "#i2"),
    ]


def test_close_ups_lie_inside_the_picture():
    corners = tuple(Defect(x, y, 4, 4, "open", 1.0) for x in (0, 396) for y in (0, 296))
    tree = Tree(html.render([inspection(
        picture=np.zeros((300, 400), np.uint8), reference=None, defects=corners
    )]))  # fmt: skip
    crops = tree.all("svg", **{"class": "crop"})
    assert len(crops) == 4
    for crop in crops:
        x, y, width, height = (float(part) for part in crop["viewbox"].split())
        assert min(x, y) >= 0
        assert x + width <= 400
        assert y + height <= 300


@pytest.mark.parametrize(("module", "name"), [("jinja2", "Jinja2"), ("PIL.Image", "Pillow")])
def test_what_is_not_installed_is_named_with_a_hint(module, name, monkeypatch):
    html.template.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{name}.*\nhint: pip install 'procvision\[cli\]'"):
        html.render([inspection()])
