"""The pages as a browser shows them: boxes lie where the defects are, and nothing is complained of."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow encodes the pictures")
pytest.importorskip("jinja2", reason="jinja2 makes the page")

from report_pages import PAINT, evaluation_page

from procvision_sdk.results import Defect
from procvision_tools.report import html
from procvision_tools.report.inspection import Inspection
from procvision_tools.report.palette import COLOURS
from procvision_tools.report.pictures import read_picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip


def chromium(folder, *arguments):
    profile = folder / "profile"
    return subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments], capture_output=True, text=True, timeout=90
    )


def screenshot(folder, page):
    done = chromium(folder, "--window-size=1200,1600", f"--screenshot={folder / 's.png'}", page)
    assert done.returncode == 0, done.stderr
    return read_picture(folder / "s.png")


def extent(shot, colour):
    """Give left, top, right and bottom of what has a colour, the last two exclusive."""
    rows, columns = np.nonzero((np.abs(shot.astype(int) - colour) <= 3).all(axis=2))
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def test_boxes_lie_where_the_defects_are(tmp_path):
    picture = np.empty((300, 400, 3), np.uint8)
    picture[:] = PAINT
    defects = (Defect(60, 150, 80, 40, "open", 0.9), Defect(260, 90, 30, 120, "copper", 0.8))
    inspection = Inspection(
        title="T", algorithm="a", version="1", pid="A", verdict="NG", ng_reason="x", picture=picture, defects=defects
    )
    page = tmp_path / "page with spaces.html"
    html.write(page, [inspection])
    # The swatches and tags have the labels' colours too: shown are the picture and the edges alone.
    only = "<style>h3, .scroll, .two, .mark rect:not(.edge):not(.halo), .mark text { display: none }</style></head>"
    page.write_text(page.read_text().replace("</head>", only))
    shot = screenshot(tmp_path, page.as_uri())
    left, top, right, _ = extent(shot, PAINT)
    scale = (right - left) / 400
    assert scale > 0.9
    for defect in defects:
        colour = [int(COLOURS[defect.label][at : at + 2], 16) for at in (1, 3, 5)]
        box = (extent(shot, colour) - [left, top, left, top]) / scale
        wanted = [defect.x, defect.y, defect.x + defect.width, defect.y + defect.height]
        outside = (box - wanted) * [-1, -1, 1, 1]
        assert (outside > 0).all()
        assert (outside < 7).all()


def test_an_evaluations_boxes_lie_where_findings_and_truths_are(tmp_path):
    page, missed, found = evaluation_page(tmp_path)
    only = (
        "<style>main > :not(.inspection), .verdict, .crops, .mark .plate, .mark text { display: none }</style></head>"
    )
    page.write_text(page.read_text().replace("</head>", only))
    shot = screenshot(tmp_path, page.as_uri())
    left, top, right, _ = extent(shot, PAINT)
    scale = (right - left) / 400
    assert scale > 0.9
    for truth, colour in ((missed, (0x00, 0x72, 0xB2)), (found, (0x8B, 0x5F, 0xD6))):
        box = (extent(shot, colour) - [left, top, left, top]) / scale
        wanted = [truth.x, truth.y, truth.x + truth.width, truth.y + truth.height]
        assert np.abs(box - wanted).max() < 3


def test_an_evaluations_page_has_its_charts_and_complains_of_nothing(tmp_path):
    page, _, _ = evaluation_page(tmp_path)
    done = chromium(tmp_path, "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri())
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    for heading in (
        "Precision over recall",
        "Over threshold",
        "Scores of pictures",
        "Held out",
        "What was called what",
    ):
        assert f"<h2>{heading}</h2>" in done.stdout
    assert done.stdout.count('class="chart"') == 3
    assert "<b>note" not in done.stdout
    assert "&lt;svg" not in done.stdout


def test_a_reference_that_inspections_share_is_seen_beside_each_and_stands_in_the_page_once(tmp_path):
    picture, reference = np.zeros((60, 80), np.uint8), np.empty((60, 80, 3), np.uint8)
    reference[:] = PAINT
    page = tmp_path / "page.html"
    html.write(page, [
        Inspection(title=title, algorithm="a", version="1", pid="A", verdict="OK", picture=picture, reference=reference)
        for title in ("first", "second")
    ])  # fmt: skip
    assert page.read_text().count('href="data:image/png') == 3
    shot = screenshot(tmp_path, page.as_uri())
    painted = (np.abs(shot.astype(int) - PAINT) <= 3).all(axis=2)
    rows = np.flatnonzero(painted.any(axis=1))
    assert np.count_nonzero(np.diff(rows) > 20) == 1


def test_the_page_asks_for_nothing_and_complains_of_nothing(tmp_path):
    page = tmp_path / "page.html"
    html.write(page, [Inspection(title="T", algorithm="a", version="1", pid="A", verdict="OK", picture=np.zeros(
        (50, 50), np.uint8), params={"<b>": "</script><script>console.error('run')</script>"})])  # fmt: skip
    done = chromium(tmp_path, "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri())
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    assert "<script>console" not in done.stdout
    assert 'class="badge OK"' in done.stdout
