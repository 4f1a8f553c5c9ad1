"""The pages as people use them: many pictures, large ones, on paper, by keyboard, in both schemes, without script."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow encodes the pictures")
pytest.importorskip("jinja2", reason="jinja2 makes the page")

from report_pages import evaluation_page

from procvision_sdk.results import Defect
from procvision_tools.report import charts, html
from procvision_tools.report.inspection import Inspection, LogLine
from procvision_tools.report.measurements import Measurement
from procvision_tools.report.palette import COLOURS, contrast

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
LABELS = (*COLOURS, "划痕")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, path: Path, complaints: list[str] | None = None, **options: Any) -> Any:
    """The page in a window of its own; what it complains of, and what it asks for, is kept."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, **options)
    kept = [] if complaints is None else complaints
    page.on("console", lambda message: kept.append(message.text))
    page.on("pageerror", lambda error: kept.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else kept.append(request.url))
    page.goto(path.as_uri())
    return page


def inspections(number: int, width: int = 640, height: int = 640) -> list[Inspection]:
    """Pictures with noise, as a camera's have; each third is NG with one to six defects, the second an ERROR."""
    random = np.random.default_rng(7)
    reference = np.full((height, width), 60, np.uint8)
    reference[:: height // 12, :] = reference[:, :: width // 9] = 190
    made = []
    for at in range(number):
        facts: dict[str, Any] = {
            "title": f"board-{at}.png", "algorithm": "pcb-compare", "version": "1.2.3", "pid": "A", "verdict": "OK",
            "picture": reference + random.integers(0, 9, reference.shape, np.uint8), "reference": reference,
            "params": {"threshold": 0.5, "min_area": 12}, "times_ms": {"pre": 4.0, "execute": 90 + (7 * at) % 100},
            "logs": (LogLine("INFO", "learnt"),), "command": f"procvision run pcb-compare --image board-{at}.png",
        }  # fmt: skip
        if at % 3 == 0:
            places = random.integers(0, (width - 70, height - 50), (at % 6 + 1, 2)).tolist()
            defects = tuple(Defect(x, y, 40, 25, LABELS[n], 0.9) for n, (x, y) in enumerate(places))
            facts |= {"verdict": "NG", "ng_reason": f"{len(defects)} found", "defects": defects}
            facts |= {"measurements": (Measurement("gap", 1.5, "mm", 0.0, 1.0),)}
        elif at == 1:
            facts |= {"verdict": "ERROR", "picture": None, "message": "cut", "error_code": "1003", "hint": "look"}
        made.append(Inspection(**facts))
    return sorted(made, key=lambda one: -("OK", "NG", "ERROR").index(one.verdict))


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of forty inspections."""
    path = tmp_path_factory.mktemp("forty") / "page.html"
    html.write(path, inspections(40), title="pcb-compare", notes=["2 files were left out"])
    return path


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


def test_forty_pictures_are_printed_on_few_pages_whole(browser: Any, forty: Path) -> None:
    """No row of the overview is clipped, no picture is cut, what can't be pressed on paper is left out."""
    page = opened(browser, forty, color_scheme="dark")
    assert pages_of(page.pdf(format="A4")) <= 20
    page.emulate_media(media="print")
    clipped = "box => box.scrollHeight > box.clientHeight + 1"
    assert not page.locator(".overview .rows").evaluate(clipped)
    assert page.locator(".overview tbody tr").count() == 40
    assert not page.locator(".tools:visible, .controls:visible").count()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    # A4 less its margins, at 96 pixels an inch: no inspection is higher than a page.
    page.set_viewport_size({"width": 703, "height": 1000})
    heights = page.locator(".inspection").evaluate_all("them => them.map(one => one.getBoundingClientRect().height)")
    assert max(heights) < 1020
    page.close()


def test_of_five_hundred_all_rows_are_there_and_can_be_filtered_and_sorted(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    html.write(path, inspections(500), title="pcb-compare")
    assert path.stat().st_size < html.PAGE_BYTES
    complaints: list[str] = []
    page = opened(browser, path, complaints)
    interactive = "performance.getEntriesByType('navigation')[0].domInteractive"
    print(f"{path.stat().st_size / 1e6:.1f} MB, interactive after {page.evaluate(interactive):.0f} ms")
    rows = page.locator(".overview tbody tr")
    visible = page.locator(".overview tbody tr:visible")
    assert (rows.count(), page.locator(".thumb img").count(), page.locator(".inspection").count()) == (500, 499, 500)
    verdicts = rows.evaluate_all("them => them.map(row => row.dataset.verdict)")
    assert verdicts == ["ERROR"] + 167 * ["NG"] + 332 * ["OK"]

    page.locator("[data-choice=NG]").click()
    assert visible.count() == 167
    assert page.locator(".overview output").inner_text() == "167 of 500"
    page.locator("[type=search]").fill("FOUND board-4")
    told = visible.evaluate_all("them => them.map(row => row.cells[2].textContent)")
    assert set(told) == {f"board-{at}.png" for at in range(0, 500, 3) if str(at)[0] == "4"}
    assert page.locator(".inspection:not([hidden])").count() == len(told)

    page.locator("[type=search]").fill("")
    page.locator("[data-choice='']").click()
    for name, column, key in (("Time", 5, float), ("Name", 2, lambda text: int(re.sub(r"\D", "", text)))):
        for way in (False, True):
            page.locator(".overview th button", has_text=name).click()
            cells = f"them => them.map(row => row.cells[{column}].dataset.key ?? row.cells[{column}].textContent)"
            found = [key(text) for text in rows.evaluate_all(cells)]
            assert found == sorted(found, reverse=way)
    order = page.locator(".inspection").evaluate_all("them => them.map(one => one.id.slice(1))")
    assert order == rows.evaluate_all("them => them.map(row => row.dataset.number)")
    assert complaints == []
    page.close()


def view(page: Any, board: Any) -> list[float]:
    return [float(part) for part in board.get_attribute("viewBox").split()]


def test_a_large_picture_is_zoomed_and_panned_by_keyboard_and_mouse(browser: Any, tmp_path: Path) -> None:
    """Twenty megapixels; at a defect the pixels are the picture's own."""
    width, height = 5472, 3648
    picture = np.full((height, width), 128, np.uint8)
    picture[2000:2040, 3000:3040] = np.indices((40, 40)).sum(axis=0) % 2 * 255
    defect = Defect(3000, 2000, 40, 40, "划痕", 0.9)
    path = tmp_path / "page.html"
    facts: dict[str, Any] = {"algorithm": "a", "version": "1", "pid": "A", "verdict": "NG", "defects": (defect,)}
    html.write(path, [Inspection(title="large.png", picture=picture, reference=picture.copy(), **facts)])
    assert path.stat().st_size < 4_000_000
    complaints: list[str] = []
    page = opened(browser, path, complaints)
    board, reference = page.locator("svg.board"), page.locator("svg.reference")
    assert view(page, board) == [0, 0, width, height]
    board.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    left, top, wide, high = view(page, board)
    assert wide < width / 1.5
    assert left + wide / 2 == pytest.approx(width / 2)
    assert top + high / 2 == pytest.approx(height / 2)
    assert view(page, reference) == [left, top, wide, high]
    page.keyboard.press("ArrowRight")
    assert view(page, board)[0] > left
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    assert view(page, board)[1] + high == pytest.approx(height)
    page.keyboard.press("0")
    assert view(page, board) == [0, 0, width, height]

    board.hover()
    page.mouse.wheel(0, -100)
    assert view(page, board)[2] < width
    place = board.bounding_box()
    before = view(page, board)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] / 2 - 30, place["y"] + place["height"] / 2, steps=3)
    page.mouse.up()
    assert view(page, board)[0] > before[0]
    page.keyboard.press("Enter")
    assert board.bounding_box()["width"] > 1200
    page.keyboard.press("Escape")
    assert board.bounding_box()["width"] < 700

    page.locator("[data-row] a").click()
    left, top, wide, high = view(page, board)
    assert left < defect.x
    assert defect.x + defect.width < left + wide < left + 900
    assert top < defect.y
    assert defect.y + defect.height < top + high
    # Made smaller, black and white beside each other would be one grey.
    shot = page.evaluate(
        """async () => {
            const part = document.querySelectorAll("svg.board image")[1];
            const image = new Image(); image.src = part.getAttribute("href"); await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d", {willReadFrequently: true});
            canvas.drawImage(image, 0, 0);
            const [x, y] = [3000 - part.getAttribute("x"), 2000 - part.getAttribute("y")];
            return [0, 1].map(at => canvas.getImageData(x + at, y, 1, 1).data[0]);
        }"""
    )
    assert shot == [0, 255]
    assert complaints == []
    page.close()


def test_without_script_all_is_there_and_nothing_that_would_not_work(browser: Any, forty: Path) -> None:
    page = opened(browser, forty, java_script_enabled=False)
    assert page.locator(".overview tbody tr:visible").count() == 40
    assert page.locator(".inspection:visible").count() == 40
    assert page.locator(".tools:visible, .controls:visible").count() == 0
    page.locator(".overview a").nth(5).click()
    assert page.url.endswith("#i6")
    page.close()


CONTRASTS = """() => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const pixel = (colours) => {
    pen.clearRect(0, 0, 1, 1);
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const found = new Map();
  for (const one of document.querySelectorAll("body *:not(script):not(svg):not(svg *)")) {
    const text = [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!text || !one.checkVisibility({contentVisibilityAuto: false})) continue;
    const style = getComputedStyle(one);
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
    const place = `${one.tagName}.${one.className} in ${one.parentElement.className}`;
    found.set(`${layers.join()} ${style.color}`, [place, pixel([...layers, style.color]), pixel(layers)]);
  }
  return [...found.values()];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["inspections", "evaluation"])
def test_every_text_has_the_contrast_of_level_aa(
    scheme: str, kind: str, browser: Any, forty: Path, tmp_path: Path
) -> None:
    """As the browser computes colours, whatever lies over what; on paper as well."""
    path = forty if kind == "inspections" else evaluation_page(tmp_path)[0]
    page = opened(browser, path, color_scheme=scheme)
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        texts = page.evaluate(CONTRASTS)
        assert len(texts) > 8
        for place, *colours in texts:
            ink, ground = ("#" + "".join(f"{part:02x}" for part in colour) for colour in colours)
            assert contrast(ink, ground) >= 4.5, (media, place, ink, ground)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_defect_has_the_colour_of_ok_and_what_is_drawn_is_seen(scheme: str, browser: Any, forty: Path) -> None:
    page = opened(browser, forty, color_scheme=scheme)
    values = "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    ok, card, well = (page.evaluate(values, name) for name in ("--ok", "--card", "--well"))
    for colour in {*COLOURS.values(), *charts.COLOURS}:
        assert abs((hue(colour) - hue(ok) + 180) % 360 - 180) > 40, colour
    card = card if len(card) == 7 else "#ffffff"
    for colour in charts.COLOURS:
        assert contrast(colour, card) >= 3, colour
    assert contrast(page.evaluate(values, "--bar"), well) >= 3
    page.close()


def hue(colour: str) -> float:
    import colorsys

    return 360 * colorsys.rgb_to_hsv(*(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)))[0]


def test_an_evaluation_is_printed_and_zoomed_too(browser: Any, tmp_path: Path) -> None:
    complaints: list[str] = []
    page = opened(browser, evaluation_page(tmp_path)[0], complaints)
    assert "ProcVision" in page.locator("dl.made").inner_text()
    board = page.locator("svg.board").first
    board.focus()
    page.keyboard.press("+")
    assert view(page, board)[2] < 400
    assert pages_of(page.pdf(format="A4")) <= 3
    assert complaints == []
    page.close()
