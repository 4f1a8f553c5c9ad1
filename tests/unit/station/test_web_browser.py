"""The page in a real Chromium: each role's pages, by keyboard alone, on a phone and a wall screen, and live."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
pytest.importorskip("uvicorn", reason="the extra station serves the page")

import uvicorn
from playwright import sync_api
from station_records import product
from web_client import PASSWORD, Site, filled, site

from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector
from procvision_station.web.accounts import Role

CHROMIUM = shutil.which("chromium") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed; hint: apt-get install chromium")

PAGES = {
    Role.VIEWER: ["/", "/history", "/statistics", "/recipes", "/versions"],
    Role.ENGINEER: ["/", "/history", "/statistics", "/recipes", "/versions", "/audit"],
    Role.ADMINISTRATOR: ["/", "/history", "/statistics", "/recipes", "/versions", "/audit", "/users"],
}
PAGES[Role.OPERATOR] = PAGES[Role.VIEWER]


class Served:
    """A page on loopback, and a browser for all tests."""

    def __init__(self, here: Site, address: str, browser: Any) -> None:
        self.here, self.address, self.browser = here, address, browser

    def open(self, role: Role, **options: Any) -> Seen:
        """A browser's window in which somebody of a role is signed in, by the cookie of a session."""
        secret = self.here.accounts.sign_in(role, PASSWORD, "127.0.0.1")
        context = self.browser.new_context(**options)
        name = self.here.page.doors.cookie_name("http")
        context.add_cookies([{"name": name, "value": secret, "url": self.address}])
        return Seen(context, self.address)


class Seen:
    """A window, and what went wrong in it."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address = context, address
        self.page = context.new_page()
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def go(self, path: str) -> Any:
        self.page.goto(self.address + path)
        self.page.locator("main [aria-busy]").wait_for(state="detached")
        return self.page

    def close(self) -> None:
        self.context.close()
        assert not self.elsewhere
        assert not self.errors


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = filled(tmp_path_factory.mktemp("station") / "line-3", count=20)
    with site(tmp_path_factory.mktemp("web"), folder) as here, sync_api.sync_playwright() as playwright:
        here.clock.now = time.time()
        for role in Role:
            here.user(role, role)
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(here.app, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Served(here, address, browser)
        finally:
            browser.close()
            server.should_exit = True
            thread.join()
            listener.close()


@pytest.mark.parametrize("role", list(Role))
def test_each_role_has_its_pages_without_an_error_and_without_another_host(served: Served, role: Role) -> None:
    seen = served.open(role)
    page = seen.go("/")
    links = page.locator("header nav a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links == PAGES[role]
    for path in [*links, "/account"] if role in (Role.VIEWER, Role.ADMINISTRATOR) else links[-1:]:
        seen.go(path)
        page.wait_for_load_state("networkidle" if path != "/" else "load")
        assert page.locator("h1").count() == 1
    seen.go("/history")
    page.locator("#products tbody a[href^='/lines']").first.wait_for(state="attached")
    path = page.locator("#products tbody td a[href^='/lines']").first.get_attribute("href")
    seen.go(path)
    page.locator(".head").wait_for()
    assert page.get_by_role("button", name="Overrule").count() == (0 if role is Role.VIEWER else 1)
    seen.close()


def test_no_page_is_wider_than_a_phone_or_lost_on_a_wall_screen(served: Served) -> None:
    for width, scheme in ((390, "dark"), (2560, "light")):
        seen = served.open(Role.ADMINISTRATOR, viewport={"width": width, "height": 900}, color_scheme=scheme)
        others = [*PAGES[Role.ADMINISTRATOR][1:], "/account", "/lines/main/products/main-000003"]
        for path in ["/", *(others if width == 390 else ())]:
            page = seen.go(path)
            page.wait_for_load_state("networkidle" if path != "/" else "load")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            if path == "/":
                page.locator("[data-told]").first.wait_for()
                word = page.locator(".word").first.bounding_box()
                assert word["height"] >= (60 if width == 390 else 120)  # read across a hall
        seen.close()


def test_everything_is_reached_by_the_keyboard(served: Served) -> None:
    """From signing in to a filter, a product, its neighbour, its picture and a dialog."""
    context = served.browser.new_context()
    seen = Seen(context, served.address)
    page = seen.go("/history")
    assert page.url.endswith("/sign-in?next=/history")
    page.keyboard.type(Role.OPERATOR)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{served.address}/history")
    page.locator("#products tbody tr").first.wait_for()
    tab_to(page, "[name=told]")
    page.keyboard.type("NG")
    page.wait_for_url("**/history?told=NG")
    page.locator("#products tbody tr:has(.is-NG)").first.wait_for()
    page.locator("#products tbody tr:has(.is-OK)").first.wait_for(state="detached")
    tab_to(page, "#products tbody td a[href^='/lines']")
    page.keyboard.press("Enter")
    page.locator(".head").wait_for()
    first = page.url
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(lambda url: url != first)
    page.locator(".head").wait_for()
    tab_to(page, "button", "Overrule")
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] input:focus").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # where one is, is seen
    seen.close()


def tab_to(page: Any, selector: str, text: str = "") -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(
            "([at, text]) => document.activeElement.matches(at) && document.activeElement.textContent.includes(text)",
            [selector, text],
        ):
            return
    raise AssertionError(f"no Tab leads to {selector}")


def test_a_picture_is_zoomed_by_keys_and_its_boxes_stay(served: Served) -> None:
    seen = served.open(Role.VIEWER)
    page = seen.go("/history?told=NG")
    page.locator("#products img").first.wait_for()
    page.locator("#products tr:has(img) td.tight a").first.click()
    page.locator("figure > svg").first.wait_for()
    svg = page.locator("figure > svg").first
    assert page.locator(".mark").count() >= 1
    svg.focus()
    before = svg.get_attribute("viewBox")
    page.keyboard.press("+")
    assert svg.get_attribute("viewBox") != before
    page.keyboard.press("0")
    assert [float(part) for part in svg.get_attribute("viewBox").split()] == [float(part) for part in before.split()]
    page.keyboard.press("f")
    assert page.locator("figure.whole").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("figure.whole").count() == 0
    seen.close()


def test_boxes_are_drawn_moved_sized_and_deleted_by_pointer_and_by_keys(served: Served) -> None:
    seen = served.open(Role.OPERATOR, viewport={"width": 1400, "height": 1000})
    page = seen.go("/history?told=NG")
    page.locator("#products tr:has(img) td.tight a").first.click()
    page.get_by_role("button", name="Overrule").click()
    drawing = page.locator(".drawing").first
    assert not drawing.is_visible()  # of an NG alone
    page.get_by_role("radio", name="NG").check()
    page.locator(".drawn").first.wait_for()  # what the algorithm found is drawn when the picture is there
    before = page.locator(".drawn").count()
    place = drawing.bounding_box()
    at = lambda x, y: (place["x"] + place["width"] * x, place["y"] + place["height"] * y)  # noqa: E731
    page.mouse.move(*at(0.4, 0.4))
    page.mouse.down()
    page.mouse.move(*at(0.6, 0.5), steps=3)
    page.mouse.up()
    assert page.locator(".drawn").count() == before + 1
    row = page.locator("table.boxes tbody tr").last
    drawn = [int(row.get_by_label(side, exact=True).input_value()) for side in ("x", "y", "width", "height")]
    assert drawn[2] > 10
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    moved = [int(row.get_by_label(side, exact=True).input_value()) for side in ("x", "y", "width", "height")]
    assert [new > old for new, old in zip(moved, drawn, strict=True)] == [True, False, False, True]
    row.get_by_label("x", exact=True).fill("99999")  # beyond the picture: it stays in it
    row.get_by_label("Label").fill("scratch")
    for _ in range(before):
        page.locator(".drawn").first.focus()
        page.keyboard.press("Delete")
    page.get_by_label("Why").fill("seen under the lamp")
    with page.expect_console_message(), page.expect_request("**/overrule") as sent:
        page.get_by_role("button", name="Record it").first.click()
    body = sent.value.post_data_json
    assert body["verdict"] == "NG"
    (box,) = [each for each in body["defects"] if each["label"] == "scratch"]
    assert box["x"] + box["width"] == page.locator(".drawing image").first.evaluate("one => one.width.baseVal.value")
    assert (box["width"], box["height"]) == (moved[2], moved[3])
    seen.errors.clear()  # no line runs here
    seen.close()


def test_a_recipes_parameters_are_changed_by_keys_in_fields_made_from_the_manifest(served: Served) -> None:
    seen = served.open(Role.ENGINEER)
    page = seen.go("/recipes")
    page.locator("[data-recipe=board] summary").first.wait_for()
    tab_to(page, "summary", "Change parameters")
    page.keyboard.press("Enter")
    field = page.locator("[data-key=min_score]")
    assert "0 to 0.99" in field.text_content()
    tab_to(page, "[data-key=min_score] input")
    assert page.evaluate("document.activeElement.value") == "0.5"
    for typed, told in (("7", "above 0.99"), ("-1", "below 0"), ("much", "no number")):
        page.keyboard.press("Control+a")
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        assert told in field.get_by_role("alert").text_content()
        assert page.evaluate("document.activeElement.hasAttribute('aria-invalid')")
    page.keyboard.press("Control+a")
    page.keyboard.type("0,7")  # as it is written where the plant is
    tab_to(page, "[data-key=copper] select")
    page.keyboard.type("bright")
    page.keyboard.press("Enter")
    tab_to(page, "form.parameters input[maxlength]")
    page.keyboard.type("fewer false alarms")
    with page.expect_request("**/api/recipes/board/parameters") as sent:
        page.keyboard.press("Enter")
    assert sent.value.post_data_json["steps"] == [{"min_score": 0.7, "copper": "bright"}]
    page.locator("form.parameters").get_by_text("nothing is changed without them").wait_for()  # no line runs here
    assert [each for each in seen.errors if "503" not in each] == []
    seen.errors.clear()
    seen.close()


def test_a_refused_password_is_told_at_its_field_and_read_with_it(served: Served) -> None:
    seen = served.open(Role.OPERATOR)
    page = seen.go("/account")
    for old, new, field, told in (
        ("not this one", "another good one", "old", "not your password"),
        (PASSWORD, "aaaaaaaaaaaa", "new", "easy to guess"),
        (PASSWORD, PASSWORD, "new", "is the old one"),
    ):
        page.locator("[name=old]").fill(old)
        page.locator("[name=new]").fill(new)
        page.keyboard.press("Enter")
        page.locator(f"#password-{field}-wrong", has_text=told).wait_for()
        assert page.evaluate("document.activeElement.name") == field
        assert page.locator(f"[name={field}]").get_attribute("aria-describedby").endswith(f"password-{field}-wrong")
        assert page.locator("[aria-invalid=true]").count() == page.locator("p.wrong").count() == 1
        assert page.locator("#messages p").count() == 0
        page.keyboard.type("x")
        page.locator("p.wrong").wait_for(state="detached")
    assert page.url.endswith("/account")  # a wrong password signs nobody out
    assert all("409" in each for each in seen.errors)
    seen.errors.clear()
    seen.close()


def test_what_an_address_asks_for_is_what_is_shown(served: Served) -> None:
    seen = served.open(Role.ENGINEER)
    page = seen.go("/history?told=NG&label=no+such+label")
    page.locator("#none").wait_for()
    assert page.locator("[name=label]").input_value() == "no such label"
    seen.go("/statistics?hours=168&by=recipe&measure=main/board/0/none")
    page.wait_for_load_state("networkidle")
    shown = [page.locator(f"[name={name}]").input_value() for name in ("hours", "by")]
    assert [*shown, page.locator("#measure").input_value()] == ["168", "recipe", "main/board/0/none"]
    assert page.locator("#trend svg").count() == 0
    seen.go("/audit?event=note&by_users=true")
    page.locator("#events tbody tr").first.wait_for()
    assert set(page.locator("#events tbody td.strong").all_text_contents()) == {"Note"}
    page.locator("#filters [name=event]").select_option("overruled")
    page.wait_for_url("**/audit?event=overruled&by_users=true")
    seen.close()


def test_what_is_typed_before_the_script_is_there_goes_nowhere(served: Served) -> None:
    """A slow network: who is quick waits for the button, and no password lands in an address."""
    context = served.browser.new_context()
    page = context.new_page()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    held: list[Any] = []
    page.route("**/sign_in.js", lambda route: held.append(route))  # noqa: PLW0108 - playwright marks it
    page.goto(served.address + "/sign-in", wait_until="commit")
    page.get_by_label("Name").fill("viewer")
    page.get_by_label("Password").fill(PASSWORD)
    button = page.get_by_role("button", name="Sign in")
    assert button.is_disabled()
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    held[0].continue_()
    button.click()
    page.wait_for_url(served.address + "/")
    assert not [url for url in seen if "password" in url.lower()]
    context.close()


def test_a_recorded_verdict_is_shown_live_and_a_silent_station_is_told(served: Served) -> None:
    """From the record on: its time is printed, and measured with a whole station by the nox session `page`."""
    import random

    seen = served.open(Role.VIEWER)
    page = seen.go("/")
    page.locator("[data-told]").first.wait_for()
    assert page.locator(".problems li").first.text_content()  # nobody runs the lines: that is said in words
    data = served.here.folder / "data"
    database = Database("sqlite", data, writes=True)
    projector = Projector(database, data / "journal")
    took = []
    with open_journal(data / "journal" / "main") as journal:
        for number in range(5):
            content = product(random.Random(number), 1000 + number)
            content["triggered_at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
            journal.append(Kind.PRODUCT, content)
            journal.sync()
            began = time.monotonic()
            projector.catch_up()
            page.locator(f"[data-key='{content['key']}']").wait_for()
            took.append((time.monotonic() - began) * 1000)
            assert page.locator(f"[data-key='{content['key']}']").get_attribute("data-told") == content["told"]
    database.close()
    print(f"record to screen: {sorted(took)[2]:.0f} ms, at most {max(took):.0f} ms")
    seen.close()


@pytest.mark.skipif("PROCVISION_PAGE_LONG" not in os.environ, reason="the nox session `page` measures it")
def test_how_long_a_live_verdict_takes_from_its_trigger_to_the_screen(served: Served, tmp_path: Path) -> None:
    """A whole station: trigger, camera, algorithm, ledger, projection, page, browser. The time is printed."""
    from page_measuring import measured

    took = sorted(measured(tmp_path, served.browser, products=60))
    assert len(took) >= 50
    shares = ", ".join(f"p{share} {took[len(took) * share // 100]:.0f} ms" for share in (50, 95))
    print(f"\ntrigger to screen, {len(took)} products: {shares}, at most {took[-1]:.0f} ms")
