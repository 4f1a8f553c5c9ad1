"""A page in this process, and browsers that use it: cookies, CSRF token, one answer after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import argon2
import httpx

from procvision_station.web.accounts import Accounts, Role
from procvision_station.web.app import Page, make_app
from procvision_station.web.doors import Doors, with_headers

PASSWORD = "a long walk in spring"
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
BASE = "http://localhost"


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Client(httpx.AsyncClient):
    """httpx without its waiting: each test sends one request after the other."""

    runner = asyncio.Runner()

    def request(self, *arguments: Any, **options: Any) -> httpx.Response:  # type: ignore[override]
        return self.runner.run(super().request(*arguments, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:  # type: ignore[override]
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:  # type: ignore[override]
        return self.request("POST", path, **options)


class Browser:
    """A client with cookies of its own."""

    def __init__(self, app: Any, address: str = "127.0.0.1") -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 40000))
        self.http = Client(transport=transport, base_url=BASE)
        self.csrf = ""

    def sign_in(self, name: str, password: str = PASSWORD, status: int = 200) -> dict[str, Any]:
        answer = self.http.post("/api/session", json={"name": name, "password": password})
        assert answer.status_code == status, answer.text
        if status == 200:
            self.csrf = answer.json()["csrf"]
        return answer.json()

    def send(self, method: str, path: str, **options: Any) -> Any:
        headers = {"x-csrf-token": self.csrf, **options.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self.http.get(path, **options)


class Site:
    """A page and its accounts."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.clock = Clock()
        self.accounts = Accounts(folder, hasher=HASHER, clock=self.clock, **options)
        self.page = Page(self.accounts, Doors(self.accounts), "line-3")
        self.litestar = make_app(self.page)
        self.app = with_headers(self.litestar)

    def browser(self, address: str = "127.0.0.1") -> Browser:
        return Browser(self.app, address)

    def user(self, name: str, role: Role, password: str = PASSWORD) -> str:
        """A user with a password of their own; the id is returned."""
        made, secret = self.accounts.add_user(name, role, "test")
        who = self.accounts.of_session(self.accounts.sign_in(name, secret, "setup"))
        assert who is not None
        self.accounts.change_password(who, secret, password, "setup")
        return made.id

    def as_role(self, role: Role) -> Browser:
        """A browser in which somebody of this role is signed in."""
        if role not in {user.name for user in self.accounts.users()}:
            self.user(role, role)
        browser = self.browser()
        browser.sign_in(role)
        return browser


@contextmanager
def site(folder: Path, **options: Any) -> Iterator[Site]:
    made = Site(folder, **options)
    try:
        yield made
    finally:
        made.accounts.close()
