"""A page in this process, and browsers that use it: cookies, CSRF token, one answer after the other."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import argon2
import httpx
from station_records import drawn

from procvision_station.configuration.page import read_web
from procvision_station.journal.writer import open_journal
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector
from procvision_station.projection.queries import ReadModel
from procvision_station.scaffold import make_station
from procvision_station.web.accounts import Accounts, Role
from procvision_station.web.app import Page, make_app
from procvision_station.web.doors import Doors, with_headers

PASSWORD = "a long walk in spring"
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PICTURE = hashlib.sha256(b"board").hexdigest()
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


def filled(folder: Path, *, count: int = 60) -> Path:
    """A station's folder with a ledger that is projected: two lines, a picture that is kept, and recipes."""
    list(make_station(folder))
    pictures = folder / "data" / "pictures" / PICTURE[:2]
    pictures.mkdir(parents=True)
    (pictures / f"{PICTURE[2:]}.png").write_bytes((folder / "golden" / "board.png").read_bytes())
    for seed, line in enumerate(("main", "other")):
        with open_journal(folder / "data" / "journal" / line) as journal:
            for kind, content in drawn(seed, count, line=line, erasures=False):
                shown = content
                if content.get("event") == "picture":
                    shown = {**content, "file": f"{PICTURE[:2]}/{PICTURE[2:]}.png"}
                journal.append(kind, shown)
            journal.sync()
    database = Database("sqlite", folder / "data", writes=True)
    Projector(database, folder / "data" / "journal").catch_up()
    database.close()
    return folder


class Site:
    """A page and its accounts, over a station's folder."""

    def __init__(self, accounts: Path, folder: Path, **options: Any) -> None:
        self.clock = Clock()
        self.folder = folder
        self.accounts = Accounts(accounts, hasher=HASHER, clock=self.clock, **options)
        self.configuration = read_web(folder, {})
        self.model = ReadModel(Database("sqlite", folder / "data"), self.configuration.shifts)
        self.page = Page(self.accounts, Doors(self.accounts), self.model, self.configuration)
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
def site(accounts: Path, folder: Path, **options: Any) -> Iterator[Site]:
    made = Site(accounts, folder, **options)
    try:
        yield made
    finally:
        made.model.close()
        made.accounts.close()
