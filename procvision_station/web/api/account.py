"""Sign in and out, one's own password, API tokens, and the users."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, SkipValidation

from procvision_station.web.accounts import Accounts, Identity, Role, Token, User
from procvision_station.web.doors import PUBLIC, Doors, needs
from procvision_station.web.problems import RequestRefusedError

Id = FromPath[Annotated[str, msgspec.Meta(max_length=64)]]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class UserBody(msgspec.Struct, frozen=True, kw_only=True):
    """A user."""

    id: str
    name: str
    role: Role
    created: datetime
    last_seen: datetime | None
    one_time: bool
    """Whether the password is still the one-time one."""


class SessionBody(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in."""

    user: UserBody
    role: Role
    """What the request may do: of an API token it can be less than its user's."""
    csrf: str | None
    """A change by this session carries it in the header X-CSRF-Token."""


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name and password."""

    name: Text
    password: Password


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password as it is, and as it shall be."""

    old: Password
    new: Password


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to be made."""

    name: Text
    role: Role


class UserChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a user."""

    role: Role


class OneTimePassword(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and the password that they sign in with once. It is shown this once."""

    user: UserBody
    one_time_password: str


class TokenBody(msgspec.Struct, frozen=True, kw_only=True):
    """An API token, without its secret."""

    id: str
    name: str
    user: str
    role: Role
    made: datetime
    ends: datetime


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made."""

    name: Text
    role: Role
    days: Annotated[int, msgspec.Meta(ge=1, le=366)]
    """It ends after so many days."""


class TokenSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A token and its secret, which is shown this once."""

    token: TokenBody
    secret: str


Here = Request[Identity, None, Any]
AccountsHere = NamedDependency[SkipValidation[Accounts]]
DoorsHere = NamedDependency[SkipValidation[Doors]]


@post("/session", opt=needs(PUBLIC), status_code=200, tags=["account"])
async def sign_in(
    request: Here, data: JSONBody[SignIn], accounts: AccountsHere, doors: DoorsHere
) -> Response[SessionBody]:
    """Sign in: the answer sets the session's cookie. A session that came with the request ends."""
    address = request.client.host if request.client is not None else ""
    secret = await asyncio.to_thread(accounts.sign_in, data.name, data.password, address)
    if request.scope["user"] is not None and request.user.session is not None:
        accounts.sign_out(request.user.session)
    return _session_answer(request, accounts, doors, secret)


@get("/session", opt=needs(Role.VIEWER, one_time=True), tags=["account"], sync_to_thread=False)
def session(request: Here) -> SessionBody:
    """Say who is signed in."""
    return _session_body(request.user)


@delete("/session", opt=needs(Role.VIEWER, one_time=True), tags=["account"], sync_to_thread=False)
def sign_out(request: Here, accounts: AccountsHere, doors: DoorsHere) -> Response[None]:
    """Sign out."""
    if request.user.session is not None:
        accounts.sign_out(request.user.session)
    return Response(None, status_code=204, cookies=[doors.cookie(request, "")])


@post("/password", opt=needs(Role.VIEWER, one_time=True), status_code=200, tags=["account"])
async def change_password(
    request: Here, data: JSONBody[NewPassword], accounts: AccountsHere, doors: DoorsHere
) -> Response[SessionBody]:
    """Change one's own password. All sessions of the user end, and the answer begins a new one."""
    if request.user.session is None:
        raise RequestRefusedError(403, "csrf")
    address = request.client.host if request.client is not None else ""
    secret = await asyncio.to_thread(accounts.change_password, request.user, data.old, data.new, address)
    return _session_answer(request, accounts, doors, secret)


@get("/tokens", opt=needs(Role.VIEWER), tags=["account"], sync_to_thread=False)
def tokens(request: Here, accounts: AccountsHere) -> list[TokenBody]:
    """List one's own API tokens; an administrator sees everybody's."""
    everybody = request.user.role is Role.ADMINISTRATOR
    return [_token_body(each) for each in accounts.tokens(None if everybody else request.user.user.id)]


@post("/tokens", opt=needs(Role.VIEWER), tags=["account"], sync_to_thread=False)
def add_token(request: Here, data: JSONBody[NewToken], accounts: AccountsHere) -> TokenSecret:
    """Make an API token with one's own role or a lower one. Only a session may: a token makes no other."""
    if request.user.session is None:
        raise RequestRefusedError(403, "csrf")
    ends = accounts.now() + data.days * 86400
    token, secret = accounts.add_token(request.user.user, data.name, data.role, ends)
    return TokenSecret(token=_token_body(token), secret=secret)


@delete("/tokens/{token_id:str}", opt=needs(Role.VIEWER), tags=["account"], sync_to_thread=False)
def remove_token(request: Here, token_id: Id, accounts: AccountsHere) -> None:
    """End an API token: one's own, or as administrator any."""
    everybody = request.user.role is Role.ADMINISTRATOR
    accounts.remove_token(token_id, request.user.user.id, None if everybody else request.user.user.id)


@get("/users", opt=needs(Role.ADMINISTRATOR), tags=["users"], sync_to_thread=False)
def users(accounts: AccountsHere) -> list[UserBody]:
    """List the users."""
    return [_user_body(each) for each in accounts.users()]


@post("/users", opt=needs(Role.ADMINISTRATOR), tags=["users"])
async def add_user(request: Here, data: JSONBody[NewUser], accounts: AccountsHere) -> OneTimePassword:
    """Make a user with a one-time password."""
    user, secret = await asyncio.to_thread(accounts.add_user, data.name, data.role, request.user.user.id)
    return OneTimePassword(user=_user_body(user), one_time_password=secret)


@patch("/users/{user_id:str}", opt=needs(Role.ADMINISTRATOR), tags=["users"], sync_to_thread=False)
def change_user(request: Here, user_id: Id, data: JSONBody[UserChange], accounts: AccountsHere) -> UserBody:
    """Give a user another role."""
    return _user_body(accounts.set_role(user_id, data.role, request.user.user.id))


@delete("/users/{user_id:str}", opt=needs(Role.ADMINISTRATOR), tags=["users"], sync_to_thread=False)
def remove_user(request: Here, user_id: Id, accounts: AccountsHere) -> None:
    """Remove a user. What they did stays in the ledger under their id."""
    accounts.remove_user(user_id, request.user.user.id)


@post("/users/{user_id:str}/password", opt=needs(Role.ADMINISTRATOR), status_code=200, tags=["users"])
async def reset_password(request: Here, user_id: Id, accounts: AccountsHere) -> OneTimePassword:
    """Give a user a one-time password. Their sessions end, and so does a lock-out."""
    secret = await asyncio.to_thread(accounts.reset_password, user_id, request.user.user.id)
    return OneTimePassword(user=_user_body(accounts.find(user_id)), one_time_password=secret)


ROUTES = (
    sign_in,
    session,
    sign_out,
    change_password,
    tokens,
    add_token,
    remove_token,
    users,
    add_user,
    change_user,
    remove_user,
    reset_password,
)


def _session_answer(request: Here, accounts: AccountsHere, doors: Doors, secret: str) -> Response[SessionBody]:
    who = accounts.of_session(secret)
    if who is None:
        raise RequestRefusedError(401, "signed_out")
    return Response(_session_body(who), cookies=[doors.cookie(request, secret)])


def _session_body(who: Identity) -> SessionBody:
    return SessionBody(user=_user_body(who.user), role=who.role, csrf=who.csrf)


def _user_body(user: User) -> UserBody:
    return UserBody(
        id=user.id,
        name=user.name,
        role=user.role,
        created=_time(user.created),
        last_seen=_time(user.last_seen) if user.last_seen is not None else None,
        one_time=user.one_time,
    )


def _token_body(token: Token) -> TokenBody:
    return TokenBody(
        id=token.id,
        name=token.name,
        user=token.user,
        role=token.role,
        made=_time(token.made),
        ends=_time(token.ends),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
