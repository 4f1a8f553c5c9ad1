"""Errors as JSON: what, where, the bound, the value and a hint, in the reader's language.

No unexpected exception's text gets out: it stands in the log.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException

from procvision_station.web.accounts import AccountError, SignInRefusedError
from procvision_station.web.texts import chosen

MAX_REQUEST_BYTES = 256 * 1024
"""A recipe is a file of at most so many bytes; nothing larger is sent to the page."""
_FIELDS = {
    **dict.fromkeys(("password.short", "password.long", "password.guessable", "password.same"), "new"),
    **dict.fromkeys(("user.name", "user.taken", "token.name"), "name"),
    "password.wrong": "old",
    "token.role": "role",
    "token.ends": "days",
}
"""The field of a request that a change of an account is refused for."""
_LOG = logging.getLogger("procvision.station.page")
_SHOWN = 200


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one value of several."""

    step: int
    """The step's place in the recipe, from 0 on."""
    key: str
    problem: str


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer with a status from 400 on has."""

    code: str
    """A fixed name for programs."""
    what: str
    """What is wrong, in the language that was asked for."""
    where: str | None = None
    """The path, or the field."""
    bound: Any = None
    """What would be allowed, where there is a bound."""
    value: Any = None
    """What came instead."""
    hint: str = ""
    """What to do."""
    fields: list[FieldProblem] = []
    """Of several values each one that is wrong."""


class RequestRefusedError(Exception):
    """A request is refused. Its texts are `error.CODE.what` and `error.CODE.hint`."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        where: str | None = None,
        bound: Any = None,
        value: Any = None,
        headers: Mapping[str, str] | None = None,
        fields: Sequence[FieldProblem] = (),
        **facts: Any,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.where, self.bound, self.value = status, code, where, bound, value
        self.headers, self.fields, self.facts = dict(headers or {}), list(fields), facts

    def body(self, accepted: str) -> ErrorBody:
        """Return what is sent."""
        text = chosen(accepted)
        facts = {"where": self.where, "bound": self.bound, "value": self.value, **self.facts}
        return ErrorBody(
            code=self.code,
            what=text(f"error.{self.code}.what", **facts),
            where=self.where,
            bound=self.bound,
            value=self.value,
            hint=text(f"error.{self.code}.hint", **facts),
            fields=self.fields,
        )


def problem_of(request: Request[Any, Any, Any], error: Exception) -> RequestRefusedError:
    """Return what a request is told of an exception."""
    if isinstance(error, RequestRefusedError):
        return error
    where = _short(request.scope["path"])
    if isinstance(error, SignInRefusedError):
        wait = {"Retry-After": str(int(error.wait_s) + 1)} if error.wait_s else {}
        status = 429 if error.wait_s else 401
        return RequestRefusedError(status, error.code, where="password", headers=wait, **error.facts)
    if isinstance(error, AccountError):
        status = 404 if error.code.endswith(".unknown") else 409
        return RequestRefusedError(status, error.code, where=_FIELDS.get(error.code), **error.facts)
    if isinstance(error, ValidationException):
        details = error.extra if isinstance(error.extra, list) else []
        first = details[0] if details and isinstance(details[0], dict) else {}
        problem = _short(str(first.get("message") or error.detail))
        return RequestRefusedError(400, "invalid", where=str(first.get("key") or where), problem=problem)
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("Allow") or (error.headers or {}).get("allow") or ""
        return RequestRefusedError(
            405, "method", where=where, bound=allowed, value=request.method, headers={"Allow": allowed}
        )
    if isinstance(error, NotFoundException):
        return RequestRefusedError(404, "unknown", where=where)
    if isinstance(error, HTTPException) and error.status_code == 413:
        return RequestRefusedError(413, "too_large", bound=MAX_REQUEST_BYTES)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return RequestRefusedError(error.status_code, "other", where=where, problem=_short(error.detail))
    if isinstance(error, RecursionError):
        # Before a body is held to what a route takes it is read whole: also one that is nested without an end.
        return RequestRefusedError(400, "nested", where=where)
    number = secrets.token_hex(4)
    _LOG.error("%s: %s %s", number, request.method, where, exc_info=error)
    return RequestRefusedError(500, "internal", where=where, value=number)


def as_json(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    """Answer with an error."""
    problem = problem_of(request, error)
    return Response(
        problem.body(request.headers.get("accept-language", "")),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/json",
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
