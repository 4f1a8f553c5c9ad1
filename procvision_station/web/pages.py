"""The pages: a frame from a template each, with texts and who is signed in; what is shown comes from the interface.

Scripts and styles are served from memory by their names, below a path that changes with their content.
"""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from litestar.response import Redirect

from procvision_station.web.accounts import Identity, Role
from procvision_station.web.doors import PUBLIC, needs
from procvision_station.web.filters import FILTERS, filters_of, hold
from procvision_station.web.problems import RequestRefusedError, problem_of
from procvision_station.web.texts import Texts, chosen

_HERE = Path(__file__).parent
HTML = "text/html; charset=utf-8"
NAVIGATION = (
    ("live", "/", Role.VIEWER),
    ("history", "/history", Role.VIEWER),
    ("statistics", "/statistics", Role.VIEWER),
    ("recipes", "/recipes", Role.VIEWER),
    ("versions", "/versions", Role.VIEWER),
    ("audit", "/audit", Role.ENGINEER),
    ("users", "/users", Role.ADMINISTRATOR),
)
"""A page's name, its path, and who sees it."""
_SCRIPT_TEXTS = ("common", "verdict", "picture", "problem", "role", "boxes", "event", "host_state")
"""What each page's script may say, beside the texts of its own page."""
_OTHER_TEXTS = {"versions": ("audit", "recipes", "bundles"), "statistics": ("chart",)}
"""Of other pages that a page's script says, too."""
MAX_NEXT = 1024
"""Of an address that one is led back to."""
Here = Request[Identity, None, Any]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a page's script is given with it."""

    page: str
    role: Role | None
    user: str
    csrf: str | None
    language: str
    zone: str
    lines: list[str]
    texts: dict[str, str]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What every page shows of its station."""

    station: str
    zone: str
    lines: list[str]


SiteHere = NamedDependency[SkipValidation[Site]]


@cache
def static_files() -> MappingProxyType[str, bytes]:
    """Return scripts and styles by name. A report's zooming is a module here."""
    found = {path.name: path.read_bytes() for path in (_HERE / "static").iterdir() if path.is_file()}
    import procvision_tools.report

    shared = Path(procvision_tools.report.__file__).with_name("zoom.js").read_bytes()
    found["zoom.js"] = shared + b"\nexport { zoomable };\n"
    return MappingProxyType(found)


@cache
def static_hash() -> str:
    """Return what names the content of all of them."""
    digest = hashlib.sha256()
    for name, content in sorted(static_files().items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:16]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def page_texts(text: Texts, page: str) -> dict[str, str]:
    """Return what a page's scripts may say."""
    return text.below(*_SCRIPT_TEXTS, page, *_OTHER_TEXTS.get(page, ()))


def rendered(site: Site, text: Texts, page: str, who: Identity | None, **facts: Any) -> str:
    """Return a page's HTML."""
    frame = Frame(
        page=page,
        role=who.role if who is not None else None,
        user=who.user.name if who is not None else "",
        csrf=who.csrf if who is not None else None,
        language=text.language,
        zone=site.zone,
        lines=site.lines,
        texts=page_texts(text, page),
    )
    data = msgspec.json.encode(frame).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")
    seen = [(name, path) for name, path, role in NAVIGATION if who is not None and who.role.may(role)]
    return (
        _environment()
        .get_template(f"{page}.html.jinja")
        .render(
            t=text,
            page=page,
            site=site,
            who=who,
            frame=data,
            navigation=seen,
            static=f"/static/{static_hash()}",
            **facts,
        )
    )


def _page(name: str, path: str, role: Role | str, *, one_time: bool = False) -> Any:
    """Return a page's route."""

    opt = {**needs(role, one_time=one_time), FILTERS: name}

    @get(path, opt=opt, name=f"page-{name}", sync_to_thread=False, include_in_schema=False)
    def show(request: Here, site: SiteHere) -> Response[str]:
        filters = filters_of(name, site.lines)
        hold(request.scope["query_string"].decode("latin-1"), filters)
        text = chosen(request.headers.get("accept-language", ""))
        return Response(rendered(site, text, name, request.scope["user"], filters=filters), media_type=HTML)

    return show


@get("/static/{version:str}/{name:str}", opt=needs(PUBLIC), sync_to_thread=False, include_in_schema=False)
def static(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Return a script or a style sheet."""
    content = static_files().get(name)
    if content is None or version != static_hash():
        raise RequestRefusedError(404, "unknown", where=name[:80])
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "text/plain"
    return Response(content, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})


ROUTES = (
    static,
    *(_page(name, path, role) for name, path, role in NAVIGATION),
    _page("product", "/lines/{line:str}/products/{key:str}", Role.VIEWER),
    _page("account", "/account", Role.VIEWER, one_time=True),
    _page("sign_in", "/sign-in", PUBLIC),
)


def refused(request: Request[Any, Any, Any], error: Exception, site: Site) -> Response[Any]:
    """Answer a browser that asked for a page: with where to sign in, or with the reason in words."""
    problem = problem_of(request, error)
    if problem.status == 401:
        query = request.scope["query_string"].decode("latin-1")
        wanted = f"{request.scope['path']}?{query}" if query else request.scope["path"]
        return Redirect(f"/sign-in?next={quote(wanted[:MAX_NEXT], safe='/')}", status_code=303)
    if problem.code == "one_time":
        return Redirect("/account", status_code=303)
    accepted = request.headers.get("accept-language", "")
    who = request.scope.get("user")
    body = rendered(site, chosen(accepted), "error", who if isinstance(who, Identity) else None,
                    problem=problem.body(accepted), status=problem.status,
                    without=request.scope["path"] if "filter" in problem.code else None)  # fmt: skip
    return Response(body, status_code=problem.status, media_type=HTML, headers=problem.headers)
