"""What an address may ask for behind its `?`: a filter is obeyed, or refused with what would be right; none is ignored.

A list that looks filtered and is not, is a wrong answer. A route of the interface takes what its function takes; a page
takes the filters that are declared here, of which its selections are made, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from attrs import frozen
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from procvision_station.web.api.asking import CLEAN
from procvision_station.web.problems import RequestRefusedError

LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
"""As a browser's field has it; it is meant in the plant's zone."""
FILTERS = "filters"
"""In the `opt` of a page's route: the names of its filters."""


@frozen
class Filter:
    """A filter of a page: one of some words, a time, or any text up to a length."""

    choices: tuple[str, ...] | None = None
    is_time: bool = False
    most: int = 256

    @property
    def bound(self) -> str:
        """What would be right, in words."""
        if self.choices is not None:
            return ", ".join(self.choices)
        return "YYYY-MM-DDTHH:MM" if self.is_time else f"1..{self.most}"

    def takes(self, value: str) -> bool:
        """Return whether a value is one of this filter's."""
        if self.choices is not None:
            return value in self.choices
        if self.is_time:
            return LOCAL_TIME.fullmatch(value) is not None and _is_moment(value)
        return len(value) <= self.most and re.fullmatch(CLEAN, value) is not None


VERDICTS = ("OK", "NG", "ERROR")
PAGES: Mapping[str, Mapping[str, Filter]] = MappingProxyType({
    "history": {
        "told": Filter(VERDICTS),
        "overruled": Filter(("any", "OK", "NG")),
        "label": Filter(most=128),
        "recipe": Filter(most=64),
        "serial": Filter(),
        "since": Filter(is_time=True),
        "until": Filter(is_time=True),
    },
    "statistics": {
        "hours": Filter(("8", "24", "168", "720")),
        "by": Filter(("quarter", "shift", "recipe", "version")),
        "measure": Filter(most=512),
    },
    "audit": {"event": Filter(most=64), "user": Filter(most=64), "by_users": Filter(("true",))},
    "sign_in": {"next": Filter(most=2048)},
})  # fmt: skip
"""By the page's name. `line` comes with the station's lines."""
_OF_LINES = ("history", "statistics")


def filters_of(page: str, lines: Sequence[str]) -> dict[str, Filter]:
    """Return a page's filters, by name."""
    return {**({"line": Filter(tuple(lines))} if page in _OF_LINES else {}), **PAGES.get(page, {})}


def hold(query: str, filters: Mapping[str, Filter]) -> None:
    """Raise RequestRefusedError for the first filter of a page's address that can't be obeyed."""
    for name, value in _given(query, filters):
        if value and not filters[name].takes(value):
            raise RequestRefusedError(400, "filter_value", where=name, bound=filters[name].bound, value=value[:100])


def known_alone(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raise RequestRefusedError for what a route of the interface would not look at; Litestar calls it as a guard."""
    if FILTERS not in handler.opt:
        _given(connection.scope.get("query_string", b"").decode("latin-1"), _taken(handler))


@cache
def _taken(handler: BaseRouteHandler) -> dict[str, None]:
    """Return what a route's function takes of an address."""
    parameters = handler.parsed_fn_signature.parameters
    return {name: None for name, each in parameters.items() if isinstance(each.kwarg_definition, QueryParameter)}


def _given(query: str, known: Mapping[str, Any]) -> list[tuple[str, str]]:
    given = parse_qsl(query, keep_blank_values=True)
    counted = Counter(name for name, _ in given)
    for name, count in counted.items():
        if name not in known:
            code = "filter" if known else "no_filter"
            raise RequestRefusedError(400, code, where=name[:100], bound=", ".join(known))
        if count > 1:
            raise RequestRefusedError(400, "filter_twice", where=name, bound=1, value=count)
    return given


def _is_moment(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
