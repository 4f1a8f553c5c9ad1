"""The REST interface over a ledger that is there: what it gives, and that nothing makes it fail."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest

pytest.importorskip("litestar", reason="the extra station serves the page")

from station_records import START
from web_client import PICTURE, Browser, Site, site

from procvision_station.web.accounts import Role
from procvision_station.web.app import described
from procvision_station.web.filters import filters_of
from procvision_station.web.pages import NAVIGATION

DAY = {"since": START.isoformat(), "until": "2026-03-30T00:00:00Z"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, filled_station: Path) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("web"), filled_station) as made:
        yield made


@pytest.fixture(scope="module")
def viewer(here: Site) -> Browser:
    return here.as_role(Role.VIEWER)


@pytest.fixture(scope="module")
def engineer(here: Site) -> Browser:
    return here.as_role(Role.ENGINEER)


def got(browser: Browser, path: str, **facts: object) -> object:
    answer = browser.get(path, params=facts)
    assert answer.status_code == 200, answer.text
    return answer.json() if "json" in answer.headers["content-type"] else answer.text


def test_history_is_paged_without_a_gap_and_filtered(viewer: Browser) -> None:
    keys, after = [], None
    while True:
        page = got(viewer, "/api/products", line="main", limit=7, **({"after": after} if after else {}))
        keys += [row["key"] for row in page["rows"]]
        after = page["after"]
        if after is None:
            break
    assert len(keys) == len(set(keys)) == 60
    assert got(viewer, "/api/products", limit=500)["rows"].__len__() == 120
    for told in ("OK", "NG", "ERROR"):
        rows = got(viewer, "/api/products", told=told)["rows"]
        assert {row["told"] for row in rows} <= {told}
    labelled = got(viewer, "/api/products", label="open", line="main")["rows"]
    assert labelled
    assert {row["told"] for row in labelled} <= {"NG", "ERROR"}
    assert got(viewer, "/api/labels", line="main")


def test_one_product_has_steps_defects_colours_and_neighbours(viewer: Browser) -> None:
    row = got(viewer, "/api/products", label="open", line="main", limit=1)["rows"][0]
    body = got(viewer, f"/api/lines/main/products/{row['key']}")
    step = body["product"]["steps"][0]
    assert step["defects"][0]["width"] == 3
    assert {each["label"] for each in step["defects"]} <= body["colours"].keys()
    assert {"name", "value", "low", "high", "unit"} <= step["measurements"][0].keys()
    assert len(body["pictures"]) == len(body["product"]["steps"])
    assert body["product"]["older"]
    assert viewer.get("/api/lines/main/products/none").json()["code"] == "product"
    assert viewer.get("/api/lines/none/products/none").status_code == 404


def test_pictures_are_had_by_their_content_and_by_nothing_else(viewer: Browser, here: Site) -> None:
    answer = viewer.get(f"/api/pictures/{PICTURE}.png")
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.content == (here.folder / "golden" / "board.png").read_bytes()
    small = viewer.get(f"/api/pictures/{PICTURE}.png/thumbnail")
    assert small.headers["content-type"] == "image/jpeg"
    assert len(small.content) < 20_000
    (here.folder / "data" / "pictures" / "secret").write_text("what nobody may read")
    link = "ab" + "c" * 62
    (here.folder / "data" / "pictures" / "ab").mkdir(exist_ok=True)
    path = here.folder / "data" / "pictures" / "ab" / f"{link[2:]}.png"
    if not path.is_symlink():
        path.symlink_to(here.folder / "station.toml")
    outside = (
        "secret", "..%2Fsecret", "../web/accounts.sqlite", "..%2F..%2Fstation.toml", "%2e%2e%2fstation.toml",
        f"{PICTURE}.toml", f"{PICTURE.upper()}.png", f"{PICTURE}.png%00", f"{PICTURE[:-1]}/.png", "x" * 500,
        f"{link}.png", f"..%5C{PICTURE}.png", f"{PICTURE}.png%0a",
    )  # fmt: skip
    for name in outside:
        for below in ("", "/thumbnail"):
            answer = viewer.get(f"/api/pictures/{name}{below}")
            assert answer.status_code in (400, 404), name
            assert b"nobody may read" not in answer.content
            assert b"[station]" not in answer.content
    for line, key in (("..", "x"), ("%2e%2e", "x"), ("main", "..%2f..%2fstation"), ("main", "x.toml")):
        assert viewer.get(f"/api/lines/{line}/live/{key}/0").status_code == 404


def test_statistics_are_numbers_and_charts(viewer: Browser) -> None:
    (all_,) = got(viewer, "/api/statistics/counts", line="main", **DAY)
    assert all_["ok"] + all_["ng"] + all_["error"] == 60
    quarters = got(viewer, "/api/statistics/counts", by="quarter", line="main", **DAY)
    assert sum(each["ok"] for each in quarters) == all_["ok"]
    assert got(viewer, "/api/statistics/pareto", line="main", **DAY)
    measures = got(viewer, "/api/statistics/measures", line="main", **DAY)
    gap = next(each for each in measures if each["name"] == "gap")
    facts = {"line": "main", "recipe": gap["recipe"], "step": gap["step"], "name": "gap", **DAY}
    assert got(viewer, "/api/statistics/trend", **facts)
    for chart, more in (("yield", {"line": "main"}), ("pareto", {"line": "main"}), ("trend", facts)):
        svg = got(viewer, f"/api/statistics/{chart}.svg", **{**more, **DAY})
        assert svg.startswith("<svg")
        assert "style=" not in svg
        empty = {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}
        assert "Nothing in this span" in got(viewer, f"/api/statistics/{chart}.svg", **{**more, **empty})


@pytest.mark.parametrize(
    ("since", "until", "code"),
    [
        ("0001-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "moment"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "moment"),
        ("0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00Z", "moment"),
        ("2000-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "span"),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "span"),
        ("yesterday", "2026-01-01T00:00:00Z", "invalid"),
    ],
)
def test_a_span_that_would_take_for_ever_is_refused(viewer: Browser, since: str, until: str, code: str) -> None:
    answer = viewer.get("/api/statistics/counts", params={"by": "shift", "since": since, "until": until})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_exports_are_csv_json_and_coco(viewer: Browser) -> None:
    rows = list(csv.DictReader(io.StringIO(got(viewer, "/api/export/products.csv", line="main"))))
    assert len(rows) == 60
    assert {"key", "told", "overruled", "reason"} <= rows[0].keys()
    lines = viewer.get("/api/export/products.json", params={"line": "main"}).text.splitlines()
    assert len(lines) == 60
    assert json.loads(lines[0])["steps"]
    coco = viewer.get("/api/export/coco.json").json()
    named = {each["id"] for each in coco["categories"]}
    images = {each["id"]: each for each in coco["images"]}
    assert images
    assert all(each["category_id"] in named and each["image_id"] in images for each in coco["annotations"])
    # An overrule is the truth: overruled to OK there is no box, whatever the algorithm saw.
    boxed = {each["image_id"] for each in coco["annotations"]}
    assert all(images[number]["verdict"] == "NG" for number in boxed)


def test_recipes_have_parameters_with_bounds_and_differ_by_version(viewer: Browser) -> None:
    (recipe,) = got(viewer, "/api/recipes")
    assert (recipe["name"], recipe["lines"], recipe["problems"]) == ("board", ["main"], [])
    score = next(each for each in recipe["steps"][0]["parameters"] if each["key"] == "min_score")
    assert (score["value"], score["given"], score["bounds"]) == (0.5, True, "0 … 0.99")
    assert viewer.get("/api/recipes/none").json()["code"] == "recipe"
    assert viewer.get("/api/recipes/..%2Fstation").status_code in (400, 404)
    assert got(viewer, "/api/recipes/board/versions")["rows"]
    unknown = viewer.get("/api/recipes/board/difference", params={"old": "0" * 12})
    assert unknown.json()["code"] == "recipe_version"


def test_parameters_are_held_to_their_declarations_each_by_itself(engineer: Browser) -> None:
    recipe = got(engineer, "/api/recipes/board")
    (declared,) = [each["declared"] for each in recipe["steps"][0]["parameters"] if each["key"] == "min_score"]
    assert {"type": "float", "min": 0.0, "max": 0.99}.items() <= declared.items()
    for steps, wrong in (
        ([{"min_score": 7, "copper": "green", "edge_tolerance": 2}], ["min_score", "copper"]),
        ([{"min_score": "0.5"}], ["min_score"]),
        ([{"min_score": True, "max_shift": 1.5}], ["min_score", "max_shift"]),
        ([{"no_such": 1}], ["no_such"]),
        ([{"__class__": None}], ["__class__"]),
    ):
        body = {"steps": steps, "was": recipe["version"], "why": "x"}
        answer = engineer.send("PUT", "/api/recipes/board/parameters", json=body)
        assert answer.status_code == 400
        assert [(each["step"], each["key"]) for each in answer.json()["fields"]] == [(0, key) for key in wrong]
        assert all(each["problem"] for each in answer.json()["fields"])
    for steps in ([], [{}, {}]):
        body = {"steps": steps, "was": recipe["version"], "why": "x"}
        assert engineer.send("PUT", "/api/recipes/board/parameters", json=body).status_code == 409
    body = {"steps": [{"min_score": None, "copper": "bright"}], "was": recipe["version"], "why": "x"}
    assert engineer.send("PUT", "/api/recipes/board/parameters", json=body).json()["code"] == "not_running"


def test_the_audit_has_events_and_verifies_journals(engineer: Browser) -> None:
    page = got(engineer, "/api/events", limit=5)
    assert len(page["rows"]) == 5
    assert got(engineer, "/api/events", event="overruled", by_users=True)["rows"]
    journals = got(engineer, "/api/audit")
    assert [(each["line"], each["whole"]) for each in journals] == [("main", True), ("other", True)]


def test_lines_say_in_words_that_nobody_runs_them(viewer: Browser) -> None:
    (line,) = got(viewer, "/api/lines")
    assert line["problems"] == ["problem.stopped"]
    assert line["last"]["product"]["row"]["line"] == "main"


def test_an_engineer_activates_an_operator_takes_back_and_no_word_is_an_option(here: Site) -> None:
    """What is asked rightly gets as far as the line's process, which doesn't run."""
    why = {"why": "escapes"}
    activation = {"name": "weld-check", "version": "0.2.0", **why}
    for role, path, body, code in (
        (Role.VIEWER, "rollback", {"name": "weld-check", **why}, "role"),
        (Role.OPERATOR, "activate", activation, "role"),
        (Role.OPERATOR, "rollback", {"name": "weld-check", "allow_revoked": True, **why}, "role"),
        (Role.OPERATOR, "rollback", {"name": "weld-check", **why}, "not_running"),
        (Role.ENGINEER, "rollback", {"name": "weld-check", "allow_revoked": True, **why}, "not_running"),
        (Role.ENGINEER, "activate", activation, "not_running"),
        (Role.ENGINEER, "activate", {**activation, "name": "--root"}, "invalid"),
        (Role.ENGINEER, "activate", {**activation, "version": "../0.2.0"}, "invalid"),
        (Role.ENGINEER, "activate", {**activation, "pids": []}, "invalid"),
        (Role.ENGINEER, "activate", {**activation, "why": ""}, "invalid"),
    ):
        answer = here.as_role(role).send("POST", f"/api/versions/{path}", json=body)
        assert answer.json()["code"] == code, (role, path, body)


def test_a_change_while_nothing_runs_is_refused_in_words(here: Site) -> None:
    operator = here.as_role(Role.OPERATOR)
    key = got(operator, "/api/products", line="main", limit=1)["rows"][0]["key"]
    path = f"/api/lines/main/products/{key}"
    refused = operator.send("POST", f"{path}/overrule", json={"verdict": "OK", "why": "dust"})
    assert (refused.status_code, refused.json()["code"]) == (503, "not_running")
    for body in ({"verdict": "ERROR", "why": "x"}, {"verdict": "OK"}, {"verdict": "OK", "why": ""}):
        assert operator.send("POST", f"{path}/overrule", json=body).status_code == 400
    unknown = operator.send("POST", "/api/lines/main/products/none/notes", json={"text": "x"})
    assert unknown.json()["code"] == "product"


def test_a_projection_that_is_away_is_told_and_no_page_fails(here: Site, viewer: Browser) -> None:
    path = here.folder / "data" / "projection.sqlite"
    away = path.rename(path.with_name("away"))
    try:
        answer = viewer.get("/api/products")
        assert (answer.status_code, answer.json()["code"]) == (503, "projection")
        assert viewer.get("/history").status_code == 200
    finally:
        away.rename(path)
    assert viewer.get("/api/products").status_code == 200


def test_pages_lead_to_where_one_signs_in_and_back(here: Site, viewer: Browser) -> None:
    answer = here.browser().get("/history")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/history")
    for path in ("/", "/history", "/statistics", "/recipes", "/versions", "/account"):
        page = viewer.get(path)
        assert page.status_code == 200, path
        assert "text/html" in page.headers["content-type"]
        assert "style=" not in page.text
        assert "http://" not in page.text
    assert viewer.get("/users").status_code == 403
    assert "administrator" in viewer.get("/users").text
    assert viewer.get("/nothing").status_code == 404
    assert here.browser().get("/sign-in").status_code == 200


def test_no_route_ignores_what_an_address_asks_for(here: Site) -> None:
    """Over the whole description: a name that there is not, and one that is given twice, are refused in words."""
    browser = here.as_role(Role.ADMINISTRATOR)
    for path, methods in described(here.litestar)["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", ())
            at = re.sub(r"\{[^}]*\}", "1", path)
            known = [each["name"] for each in parameters if each["in"] == "query"]
            answer = browser.send(method.upper(), at, params={"verdict": "NG"})
            assert (answer.status_code, answer.json()["where"]) == (400, "verdict"), (method, path)
            assert sorted(filter(None, answer.json()["bound"].split(", "))) == sorted(known)
            for name in known[:1]:
                twice = browser.send(method.upper(), f"{at}?{name}=1&{name}=2")
                assert (twice.status_code, twice.json()["code"]) == (400, "filter_twice")


def test_every_filter_of_a_page_takes_what_it_says_and_refuses_the_rest(here: Site) -> None:
    """Of each page, each filter; the words of a selection are those that the address may have."""
    browser = here.as_role(Role.ADMINISTRATOR)
    wrong = {"told": "ng", "overruled": "nobody", "since": "yesterday", "until": "2026-02-30T00:00", "hours": "9",
             "by": "month", "by_users": "1", "line": "none"}  # fmt: skip
    for page, path, _ in NAVIGATION:
        filters = filters_of(page, ["main"])
        refused = browser.get(path, params={"verdict": "NG"})
        assert refused.status_code == 400
        assert all(name in refused.text for name in filters)
        shown = browser.get(path).text
        for name, each in filters.items():
            value = wrong.get(name, "x" * (each.most + 1))
            answer = browser.get(path, params={name: value})
            assert answer.status_code == 400, (page, name)
            assert escape(each.bound) in answer.text
            if each.choices is not None:
                offered = re.search(rf'<select name="{name}">(.*?)</select>', shown)
                ours = re.findall(r'<option(?: value="([^"]*)")?[^>]*>([^<]*)', offered[1]) if offered else []
                assert name == "by_users" or {value or text for value, text in ours if value or text} >= set(
                    each.choices
                )
                assert all(browser.get(path, params={name: one}).status_code == 200 for one in each.choices)


def test_who_signs_in_gets_to_what_the_address_asked_for(here: Site) -> None:
    answer = here.browser().get("/history?told=NG&serial=S%261")
    assert answer.headers["location"] == "/sign-in?next=/history%3Ftold%3DNG%26serial%3DS%25261"


def test_texts_in_a_page_are_never_markup(here: Site) -> None:
    """A user's name is shown, and closes no element, nor the data that a script reads."""
    name = "</script><img src=x onerror=alert(1)>"
    here.user(name, Role.VIEWER)
    browser = here.browser()
    browser.sign_in(name)
    page = browser.get("/").text
    assert "<img" not in page
    assert page.count("</script>") == 2


def test_schemathesis_finds_no_server_error(here: Site) -> None:
    """Over the whole description, seconds of it; the nox session `page` tries longer."""
    from page_fuzzing import fuzzed

    failures = fuzzed(here, examples=int(os.environ.get("PROCVISION_PAGE_LONG", "2")))
    assert not failures, "\n".join(failures)
