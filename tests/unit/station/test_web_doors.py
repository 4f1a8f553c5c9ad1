"""Who is let in, tried as an attacker would."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("litestar", reason="the extra station serves the page")

from web_client import PASSWORD, Site, site

from procvision_station.web.accounts import AccountError, Accounts, Role, SignInRefusedError
from procvision_station.web.app import described
from procvision_station.web.doors import PUBLIC
from procvision_station.web.passwords import FREE_TRIES, MAX_LOCK_S, lock_seconds, password_problem


@pytest.fixture
def here(tmp_path: Path, filled_station: Path) -> Iterator[Site]:
    with site(tmp_path / "web", filled_station) as made:
        yield made


ENDLESS = "/api/live"
"""A stream: it is asked for where it is refused."""


def operations(here: Site) -> list[tuple[str, str, str]]:
    """Every operation of the interface, from its own description: method, path with a value in each place, role."""
    found = []
    for path, methods in described(here.litestar)["paths"].items():
        for method, operation in methods.items():
            filled = path
            for each in operation.get("parameters", ()):
                number = each["schema"].get("type") == "integer"
                filled = filled.replace(f"{{{each['name']}}}", "1" if number else "x-1")
            found.append((method.upper(), filled, operation["x-role"]))
    return found


def test_every_route_says_who_may_and_is_in_the_description(here: Site) -> None:
    """A route without a role is closed; one that is open to everybody is known here by name."""
    roles = {role for _, _, role in operations(here)}
    assert roles <= {*Role, PUBLIC}
    for route in here.litestar.routes:
        for handler in getattr(route, "route_handlers", ()):
            made_by_litestar = handler.http_methods == {"OPTIONS"} or route.path.startswith("/openapi")
            assert "role" in handler.opt or made_by_litestar, route.path
    public = {(method, path) for method, path, role in operations(here) if role == PUBLIC}
    assert public == {("POST", "/api/session")}


def test_nobody_gets_to_anything_without_signing_in(here: Site) -> None:
    browser = here.browser()
    for method, path, role in operations(here):
        if role != PUBLIC:
            assert browser.send(method, path, json={}).status_code == 401, (method, path)
    for path in ("/openapi", "/openapi/openapi.json", "/openapi/swagger", "/openapi/x"):
        assert here.as_role(Role.ADMINISTRATOR).get(path).status_code == 404
    assert browser.http.request("OPTIONS", "/api/users").status_code == 404


@pytest.mark.parametrize("role", list(Role))
def test_each_role_is_refused_at_every_route_above_it(here: Site, role: Role) -> None:
    """Over all operations of the description, so that a new one is covered: by session and by token."""
    browser = here.as_role(role)
    who = here.accounts.find(role)
    _, secret = here.accounts.add_token(who, "a", role, here.clock() + 3600)
    program = here.browser()
    for method, path, needed in operations(here):
        if needed == PUBLIC or (method, path) == ("DELETE", "/api/session"):
            continue
        if path == ENDLESS and role.may(Role(needed)):
            continue
        for answer in (
            browser.send(method, path, json={}),
            program.send(method, path, json={}, headers={"authorization": f"Bearer {secret}", "x-csrf-token": ""}),
        ):
            if role.may(Role(needed)):
                assert answer.status_code not in (401, 500), (method, path, answer.text)
            else:
                assert answer.status_code == 403, (method, path, answer.text)
                assert answer.json()["code"] == "role"


def test_a_viewer_can_change_nothing_but_their_own_access(here: Site) -> None:
    own = {"/api/session", "/api/password", "/api/tokens", "/api/tokens/x-1"}
    changing = {
        path for method, path, role in operations(here) if method not in ("GET", "HEAD") and role in (PUBLIC, "viewer")
    }
    assert changing == own


def test_a_change_needs_the_sessions_token(here: Site) -> None:
    browser = here.as_role(Role.ADMINISTRATOR)
    right = browser.csrf
    other = here.as_role(Role.VIEWER).csrf
    for method, path, role in operations(here):
        if method in ("GET", "HEAD") or role == PUBLIC:
            continue
        for wrong in ("", "x", other, right[:-1]):
            answer = browser.send(method, path, json={}, headers={"x-csrf-token": wrong})
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf"), (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8080"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_changes_nothing_and_signs_nobody_in(here: Site, headers: dict[str, str]) -> None:
    browser = here.as_role(Role.ADMINISTRATOR)
    refused = browser.send("POST", "/api/users", json={"name": "eve", "role": "viewer"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "origin")
    sign_in = {"name": Role.ADMINISTRATOR, "password": PASSWORD}
    answer = here.browser().http.post("/api/session", json=sign_in, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_can_send_is_refused(here: Site, kind: str) -> None:
    content = f'{{"name": "{Role.VIEWER}", "password": "{PASSWORD}"}}'.encode()
    here.user(Role.VIEWER, Role.VIEWER)
    answer = here.browser().http.post("/api/session", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "json")


def test_another_name_for_this_machine_is_refused(here: Site) -> None:
    """A name that somebody else's DNS points here is another site to a browser, and none to the page."""
    browser = here.as_role(Role.VIEWER)
    for name in ("evil.example", "evil.example:8700", "localhost.evil.example", ""):
        answer = browser.get("/api/session", headers={"host": name})
        assert (answer.status_code, answer.json()["code"]) == (421, "host")
    assert browser.get("/api/session", headers={"host": "LOCALHOST:8700"}).status_code == 200


def test_a_session_that_was_slipped_in_is_never_taken(here: Site) -> None:
    """Session fixation: signing in makes a new secret, and the one before ends."""
    here.user("anna", Role.OPERATOR)
    name = here.page.doors.cookie_name("http")
    browser = here.browser()
    browser.http.cookies.set(name, "slipped-in")
    browser.http.cookies.clear()
    assert browser.get("/api/session", headers={"cookie": f"{name}=slipped-in"}).status_code == 401
    answer = browser.http.post(
        "/api/session", json={"name": "anna", "password": PASSWORD}, headers={"cookie": f"{name}=slipped-in"}
    )
    assert answer.cookies[name] != "slipped-in"
    assert here.browser().get("/api/session", headers={"cookie": f"{name}=slipped-in"}).status_code == 401
    first = answer.cookies[name]
    second = browser.http.post("/api/session", json={"name": "anna", "password": PASSWORD}).cookies[name]
    assert second != first
    assert here.browser().get("/api/session", headers={"cookie": f"{name}={first}"}).status_code == 401


def test_the_cookie_is_for_this_site_alone_and_out_of_scripts_reach(here: Site) -> None:
    here.user("anna", Role.OPERATOR)
    browser = here.browser()
    answer = browser.http.post("/api/session", json={"name": "anna", "password": PASSWORD})
    words = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=lax", "path=/"} <= words
    assert not any(word.startswith("domain") for word in words)
    secure = here.browser()
    secure.http.base_url = "https://localhost"
    answer = secure.http.post("/api/session", json={"name": "anna", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-procvision-")
    assert "secure" in {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert answer.headers["strict-transport-security"]


def test_signing_out_ends_the_session_at_the_server(here: Site) -> None:
    browser = here.as_role(Role.VIEWER)
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())}
    assert browser.send("DELETE", "/api/session").status_code == 204
    assert here.browser().get("/api/session", headers=cookie).status_code == 401


def test_a_session_ends_when_idle_and_at_last_even_when_used(tmp_path: Path, filled_station: Path) -> None:
    with site(tmp_path, filled_station, idle_s=600, absolute_s=3600) as here:
        browser = here.as_role(Role.VIEWER)
        for _ in range(6):
            here.clock.now += 590
            assert browser.get("/api/session").status_code == 200
        here.clock.now += 100
        assert browser.get("/api/session").status_code == 401
        browser.sign_in(Role.VIEWER)
        here.clock.now += 601
        assert browser.get("/api/session").status_code == 401


def test_guessing_waits_longer_and_longer_and_the_right_password_waits_too(here: Site) -> None:
    here.user("anna", Role.OPERATOR)
    browser = here.browser()
    for _ in range(FREE_TRIES):
        assert browser.sign_in("anna", "wrong-guess", 401)["code"] == "sign_in.wrong"
    refused = browser.http.post("/api/session", json={"name": "ANNA", "password": PASSWORD})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    for count in range(3):
        here.clock.now += lock_seconds(FREE_TRIES + count) + 0.1
        browser.sign_in("anna", "wrong-guess", 401)
        browser.sign_in("anna", PASSWORD, 429)
    assert [lock_seconds(count) for count in (0, 3, 4, 5, 6, 1000)] == [0, 0, 1, 2, 4, MAX_LOCK_S]
    here.clock.now += MAX_LOCK_S
    browser.sign_in("anna")


def test_guessing_at_once_is_no_faster(here: Site) -> None:
    """Each attempt counts before its password is looked at."""
    here.user("anna", Role.OPERATOR)

    def guess(number: int) -> str:
        try:
            here.accounts.sign_in("anna", f"guess-{number}", f"10.0.0.{number}")
        except SignInRefusedError as error:
            return error.code
        return "in"

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(guess, range(48)))
    assert told.count("sign_in.wrong") == FREE_TRIES
    assert told.count("sign_in.locked") == 48 - FREE_TRIES


def test_one_address_that_tries_many_names_is_locked_out_and_others_are_not(here: Site) -> None:
    here.user("anna", Role.OPERATOR)
    attacker = here.browser("10.0.0.66")
    told = [
        attacker.http.post("/api/session", json={"name": f"n{at}", "password": "x"}).status_code for at in range(30)
    ]
    assert told == [401] * (5 * FREE_TRIES) + [429] * (30 - 5 * FREE_TRIES)
    here.browser("10.0.0.1").sign_in("anna")


def test_a_lock_out_is_an_event_and_what_was_typed_is_in_none(here: Site) -> None:
    """A password in the field of the name stands nowhere."""
    browser = here.browser()
    for _ in range(FREE_TRIES + 1):
        browser.http.post("/api/session", json={"name": "my-secret-password", "password": "my-secret-password"})
    told = [content for _, _, content in here.accounts.events()]
    assert [each["event"] for each in told] == ["locked_out"]
    assert "my-secret" not in str(told)


def test_a_one_time_password_lets_in_to_its_change_alone_and_holds_for_a_day(here: Site) -> None:
    admin = here.as_role(Role.ADMINISTRATOR)
    made = admin.send("POST", "/api/users", json={"name": "eve", "role": "administrator"}).json()
    secret = made["one_time_password"]
    eve = here.browser()
    assert eve.sign_in("eve", secret)["user"]["one_time"]
    for method, path, role in operations(here):
        if role != PUBLIC and path not in ("/api/session", "/api/password"):
            assert eve.send(method, path, json={}).json()["code"] == "one_time", path
    changed = eve.send("POST", "/api/password", json={"old": secret, "new": "another good one"})
    assert changed.status_code == 200
    eve.csrf = changed.json()["csrf"]
    assert eve.get("/api/users").status_code == 200
    again = admin.send("POST", f"/api/users/{made['user']['id']}/password").json()["one_time_password"]
    assert eve.get("/api/session").status_code == 401  # a reset ends the sessions
    here.clock.now += 24 * 3600 + 1
    assert here.browser().sign_in("eve", again, 401)["code"] == "sign_in.one_time_over"


def test_the_first_start_makes_an_administrator_until_one_has_signed_in(tmp_path: Path, filled_station: Path) -> None:
    with site(tmp_path, filled_station) as here:
        first = here.accounts.first_password()
        second = here.accounts.first_password()  # the first one was lost
        assert first is not None
        assert second is not None
        assert first[1] != second[1]
        here.browser().sign_in("admin", first[1], 401)
        here.browser().sign_in("admin", second[1])
        assert here.accounts.first_password() is None


def test_a_lower_role_counts_from_the_next_request_on(here: Site) -> None:
    engineer = here.as_role(Role.ADMINISTRATOR)
    other = here.user("other", Role.ADMINISTRATOR)
    browser = here.browser()
    browser.sign_in("other")
    _, secret = here.accounts.add_token(here.accounts.find(other), "a", Role.ADMINISTRATOR, here.clock() + 60)
    program = {"authorization": f"Bearer {secret}"}
    assert here.browser().get("/api/users", headers=program).status_code == 200
    assert engineer.send("PATCH", f"/api/users/{other}", json={"role": "viewer"}).status_code == 200
    assert browser.get("/api/users").status_code == 403
    assert here.browser().get("/api/users", headers=program).status_code == 403
    assert engineer.send("DELETE", f"/api/users/{other}").status_code == 204
    assert browser.get("/api/session").status_code == 401
    assert here.browser().get("/api/session", headers=program).status_code == 401


def test_the_last_administrator_stays(here: Site) -> None:
    admin = here.as_role(Role.ADMINISTRATOR)
    own = admin.get("/api/session").json()["user"]["id"]
    for method, body in (("DELETE", None), ("PATCH", {"role": "viewer"})):
        refused = admin.send(method, f"/api/users/{own}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "user.last_administrator")


def test_a_token_has_at_most_its_users_role_ends_and_makes_no_other(here: Site) -> None:
    operator = here.as_role(Role.OPERATOR)
    refused = operator.send("POST", "/api/tokens", json={"name": "a", "role": "engineer", "days": 3})
    assert refused.json()["code"] == "token.role"
    made = operator.send("POST", "/api/tokens", json={"name": "a", "role": "viewer", "days": 3}).json()
    program = {"authorization": f"bearer {made['secret']}"}
    assert here.browser().get("/api/session", headers=program).json()["role"] == "viewer"
    for path, body in (
        ("/api/tokens", {"name": "b", "role": "viewer", "days": 300}),
        ("/api/password", {"old": PASSWORD, "new": "taken over by me"}),
    ):
        assert here.browser().http.post(path, json=body, headers=program).status_code == 403
    here.clock.now += 3 * 86400
    assert here.browser().get("/api/session", headers=program).status_code == 401
    for wrong in ("Bearer", "Bearer ", "Bearer x", f"Basic {made['secret']}", f"Bearer {made['secret'][:-1]}"):
        assert here.browser().get("/api/session", headers={"authorization": wrong}).status_code == 401


def test_nobody_ends_anothers_token_but_an_administrator(here: Site) -> None:
    operator, viewer = here.as_role(Role.OPERATOR), here.as_role(Role.VIEWER)
    token = operator.send("POST", "/api/tokens", json={"name": "a", "role": "viewer", "days": 3}).json()["token"]["id"]
    assert viewer.get("/api/tokens").json() == []
    assert viewer.send("DELETE", f"/api/tokens/{token}").status_code == 404
    assert here.as_role(Role.ADMINISTRATOR).send("DELETE", f"/api/tokens/{token}").status_code == 204


def test_no_secret_is_in_the_file(here: Site) -> None:
    browser = here.as_role(Role.OPERATOR)
    made = browser.send("POST", "/api/tokens", json={"name": "a", "role": "viewer", "days": 3}).json()
    cookie = next(iter(browser.http.cookies.values()))
    here.accounts.close()
    content = b"".join(path.read_bytes() for path in here.accounts.path.parent.iterdir())
    for secret in (made["secret"], cookie, PASSWORD):
        assert secret.encode() not in content
    assert here.accounts.path.stat().st_mode & 0o077 == 0
    assert here.accounts.path.parent.stat().st_mode & 0o077 == 0


def test_every_change_of_an_account_is_an_event_with_its_user(here: Site) -> None:
    admin = here.as_role(Role.ADMINISTRATOR)
    own = admin.get("/api/session").json()["user"]["id"]
    before = here.accounts.events(most=1000)[-1][0]
    made = admin.send("POST", "/api/users", json={"name": "Evelyn", "role": "viewer"}).json()["user"]["id"]
    admin.send("PATCH", f"/api/users/{made}", json={"role": "operator"})
    admin.send("POST", f"/api/users/{made}/password")
    admin.send("DELETE", f"/api/users/{made}")
    told = [content for _, _, content in here.accounts.events(before)]
    assert [(each["event"], each["by"], each["user"]) for each in told] == [
        (event, own, made) for event in ("user_added", "role_changed", "password_reset", "user_removed")
    ]
    assert "Evelyn" not in str(told)  # users are ids in the ledger


def test_every_answer_has_the_headers_whatever_it_is(here: Site) -> None:
    browser = here.as_role(Role.VIEWER)
    for path in ("/api/session", "/api/users", "/api/nothing", "/", "/../etc/passwd", "/openapi/openapi.json"):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"]


def test_errors_say_what_where_bound_value_and_hint(here: Site) -> None:
    browser = here.as_role(Role.ADMINISTRATOR)
    cases: list[tuple[str, str, Any, int]] = [
        ("GET", "/api/nothing", None, 404),
        ("PUT", "/api/users", {}, 405),
        ("POST", "/api/users", {"name": "eve"}, 400),
        ("POST", "/api/users", {"name": "eve", "role": "king"}, 400),
        ("POST", "/api/users", {"name": "eve", "role": "viewer", "more": 1}, 400),
        ("POST", "/api/users", {"name": "x" * 300_000, "role": "viewer"}, 413),
        ("POST", "/api/users", b"[" * 100_000, 400),
        ("POST", "/api/session", b'{"name":' * 30_000, 400),
        ("PUT", "/api/recipes/board/parameters", b'{"steps":[{"x":' + b"[" * 60_000 + b"]" * 60_000, 400),
    ]
    for method, path, body, status in cases:
        given = {"content": body, "headers": {"content-type": "application/json"}} if isinstance(body, bytes) else {}
        answer = browser.send(method, path, **(given or {"json": body}))
        assert answer.status_code == status, answer.text
        told = answer.json()
        assert set(told) == {"code", "what", "where", "bound", "value", "hint", "fields"}
        assert told["what"]
        assert told["hint"]
        assert "{" not in told["what"] + told["hint"]


@pytest.mark.parametrize(
    ("password", "name", "problem"),
    [
        ("short", "anna", "password.short"),
        ("x" * 257, "anna", "password.long"),
        ("abababababab", "eve", "password.guessable"),
        ("Anna-4711-xy", "anna", "password.guessable"),
        ("a long walk", "anna", None),
    ],
)
def test_a_new_password_is_held_to_few_rules(password: str, name: str, problem: str | None) -> None:
    assert password_problem(password, name) == problem


def test_two_processes_keep_one_file(here: Site) -> None:
    """The command line beside the page."""
    other = Accounts(here.accounts.path.parent, hasher=here.accounts._hasher, clock=here.clock)
    other.add_user("eve", Role.VIEWER, "station")
    with pytest.raises(AccountError):
        here.accounts.add_user("eve", Role.VIEWER, "station")
    assert other.id == here.accounts.id
    other.close()
