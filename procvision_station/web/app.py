"""Puts the page's application together. What it is made of is passed in; nothing here opens a file or a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from attrs import frozen
from litestar import Litestar, Request, Response, Router, get
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from procvision_station.configuration.page import PageConfiguration
from procvision_station.projection.queries import ReadModel
from procvision_station.web import pages
from procvision_station.web.accounts import Accounts, Role
from procvision_station.web.api import account, audit, changes, ledger, lines, pictures, recipes, statistics, versions
from procvision_station.web.doors import CSRF_HEADER, PUBLIC, Doors, needs, with_headers
from procvision_station.web.filters import known_alone
from procvision_station.web.live import Live
from procvision_station.web.problems import MAX_REQUEST_BYTES, as_json
from procvision_station.web.relay import Relay

API = "/api"
_MODULES = (account, lines, ledger, pictures, statistics, changes, recipes, versions, audit)


@frozen
class Page:
    """What the page is made of."""

    accounts: Accounts
    doors: Doors
    model: ReadModel
    configuration: PageConfiguration


def make_app(page: Page) -> Litestar:
    """Return the application. `with_headers` wraps it where it is served."""
    configuration = page.configuration
    data = configuration.data_folder
    shown = pictures.Pictures(data / "pictures", data / "live")
    live = Live(page.model, configuration.shifts, data, configuration.lines, shown)
    site = pages.Site(
        station=configuration.station.name, zone=configuration.station.time_zone, lines=list(configuration.lines)
    )
    parts: dict[str, Any] = {
        "accounts": page.accounts,
        "doors": page.doors,
        "model": page.model,
        "live": live,
        "site": site,
        "pictures": shown,
        "changes": changes.Changes(data),
        "recipes": recipes.Recipes(configuration.folder),
        "deployments": versions.Deployments(configuration.folder, data),
        "journals": audit.Journals(data / "journal"),
    }

    def refused(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        if request.scope["path"].startswith(f"{API}/") or request.method not in ("GET", "HEAD"):
            return as_json(request, error)
        return pages.refused(request, error, site)

    return Litestar(
        route_handlers=[
            Router(API, route_handlers=[*(route for module in _MODULES for route in module.ROUTES), description]),
            *pages.ROUTES,
        ],
        guards=[page.doors.admit, known_alone],
        dependencies={name: Provide(_giving(part), sync_to_thread=False) for name, part in parts.items()},
        exception_handlers={Exception: refused},
        openapi_config=OpenAPIConfig(
            title="The REST interface of a ProcVision station",
            version="1",
            use_handler_docstrings=True,
            # Litestar's own pages load scripts from elsewhere: they have no role, so nobody gets to them.
            openapi_router=Router("/openapi", route_handlers=[], include_in_schema=False),
            components=Components(
                security_schemes={
                    "session": SecurityScheme(
                        type="apiKey", name=page.doors.cookie_name("http"), security_scheme_in="cookie",
                        description=f"Of a browser. Changes carry the header {CSRF_HEADER}, too.",
                    ),
                    "token": SecurityScheme(type="http", scheme="bearer", description="An API token of a program."),
                }
            ),
        ),
        lifespan=[_running(live.run), _running(Relay(page.accounts, data).run)],
        request_max_body_size=MAX_REQUEST_BYTES,
        logging_config=None,
        debug=False,
    )  # fmt: skip


def _running(
    work: Callable[[], Coroutine[None, None, None]],
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """Let something run as long as the application does."""

    @contextlib.asynccontextmanager
    async def run(_: Litestar) -> AsyncIterator[None]:
        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return run


def served(page: Page) -> ASGIApp:
    """Return the application as it is served."""
    return with_headers(make_app(page))


def described(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of an application, with each operation's role."""
    schema = app.openapi_schema.to_schema()
    for route in app.routes:
        operations = schema["paths"].get(getattr(route, "path_format", route.path), {})
        for handler in getattr(route, "route_handlers", ()):
            role = handler.opt.get("role")
            for method in getattr(handler, "http_methods", ()):
                operation = operations.get(method.lower())
                if operation is not None:
                    operation["x-role"] = str(role)
                    operation["security"] = [] if role == PUBLIC else [{"session": []}, {"token": []}]
    return schema


@get("/openapi.json", opt=needs(Role.VIEWER), tags=["interface"], sync_to_thread=False, include_in_schema=False)
def description(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Describe the interface as OpenAPI."""
    return described(request.app)


def _giving(part: Any) -> Any:
    def give() -> Any:
        return part

    return give
