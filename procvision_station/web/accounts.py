"""Who may do what: users, their passwords, sessions and API tokens, in one SQLite file of the station.

A password is looked at only when its name and its address are not locked out, and an attempt counts *before* it is
looked at: a hundred attempts at once are no more than one after the other. What is kept of a session or a token is its
hash. What changes an account is an entry of `events` in the same transaction; the page's process writes them into its
journal. Any thread may call, and the command line beside the page's process, too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from attrs import field, frozen

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import make_private_folder, touch_private
from procvision_station.web.passwords import (
    FORGET_TRIES_S,
    FREE_TRIES,
    MAX_LOCK_S,
    MAX_PASSWORD,
    MIN_PASSWORD,
    lock_seconds,
    one_time_password,
    password_problem,
)

WEB_FOLDER = "web"
"""Below the folder of data."""
ACCOUNTS_FILE = "accounts.sqlite"
FIRST_USER = "admin"
ONE_TIME_S = 24 * 3600
MAX_TOKEN_S = 366 * 24 * 3600
_TOUCH_S = 30
"""A session's last use is written this often."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, name TEXT UNIQUE, role TEXT NOT NULL, password TEXT NOT NULL,
    one_time_until REAL, created REAL NOT NULL, last_seen REAL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    hash TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(id), began REAL NOT NULL, seen REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL, user TEXT NOT NULL REFERENCES users(id), name TEXT NOT NULL,
    role TEXT NOT NULL, made REAL NOT NULL, ends REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    key TEXT PRIMARY KEY, count INTEGER NOT NULL, until REAL NOT NULL, last REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, content TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


class Role(StrEnum):
    """What a user may do; each may do what those before may."""

    VIEWER = "viewer"
    """Look at everything but the audit and the users."""
    OPERATOR = "operator"
    """Overrule a verdict, write a note, and take an activated version back."""
    ENGINEER = "engineer"
    """Change recipes, activate versions, and read the audit."""
    ADMINISTRATOR = "administrator"
    """Keep the users and everybody's tokens."""

    def may(self, needed: Role) -> bool:
        """Whether this role is enough where `needed` is."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class AccountError(ProcVisionError):
    """A change of an account is refused. `code` names the text that tells why, `facts` what stands in it."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(f"{code}: {', '.join(f'{name}={value}' for name, value in facts.items())}".removesuffix(": "))
        self.code, self.facts = code, facts


class SignInRefusedError(AccountError):
    """A name and a password that are not let in; `wait_s` seconds have to pass before the next attempt."""

    def __init__(self, code: str, wait_s: float = 0.0) -> None:
        super().__init__(code, wait_s=round(wait_s, 1))
        self.wait_s = wait_s


class Hasher(Protocol):
    """What argon2's `PasswordHasher` has of methods."""

    def hash(self, password: str) -> str:
        """Return what is kept."""

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002 - argon2's name
        """Return True, or raise."""

    def check_needs_rehash(self, hash: str) -> bool:  # noqa: A002 - argon2's name
        """Whether it was made with other parameters."""


@frozen
class User:
    """A user, as others see them. In the ledger stands the `id` alone."""

    id: str
    name: str
    role: Role
    created: float
    last_seen: float | None
    one_time: bool
    """Whether the password is still the one that was given to them."""


@frozen
class Token:
    """An API token, without its secret."""

    id: str
    name: str
    user: str
    role: Role
    made: float
    ends: float


@frozen
class Identity:
    """Who sends a request."""

    user: User
    role: Role
    """The user's now; of a token the lower one of its own and the user's."""
    csrf: str | None
    """What a change by a session has to carry; None for a token, which no browser sends by itself."""
    session: str | None = field(default=None, repr=False)


class Accounts:
    """The accounts of a station. `close` when done."""

    def __init__(
        self,
        folder: Path,
        *,
        idle_s: float = 8 * 3600,
        absolute_s: float = 24 * 3600,
        hasher: Hasher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the file in a folder, or make both. Raises OSError and sqlite3.Error."""
        from procvision_tools.extras import need

        self._hasher = hasher or need("argon2", "argon2-cffi", "a list of users", "station").PasswordHasher()
        self._idle_s, self._absolute_s, self._clock = idle_s, absolute_s, clock
        make_private_folder(folder)
        self.path = folder / ACCOUNTS_FILE
        touch_private(self.path)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)
        with self._change() as change:
            change.execute("INSERT OR IGNORE INTO facts VALUES ('id', ?)", (secrets.token_hex(4),))
            self.id: str = change.execute("SELECT value FROM facts WHERE name = 'id'").fetchone()[0]
        self._dummy = self._hasher.hash(secrets.token_hex(8))
        """For a name that there is not: its refusal takes as long as another."""

    def now(self) -> float:
        """Return the time that ends are counted from, in Unix seconds."""
        return self._clock()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _note(self, change: sqlite3.Connection, event: str, by: str, **facts: Any) -> None:
        content = {"event": event, "by": by, **facts}
        change.execute("INSERT INTO events (at, content) VALUES (?, ?)", (self._clock(), json.dumps(content)))

    # --- users ----------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """Return all users, by name."""
        return [_user(row) for row in self._read("SELECT * FROM users WHERE name IS NOT NULL ORDER BY name")]

    def names(self) -> Mapping[str, str]:
        """Return the names by the ids that stand in the ledger; of a removed user there is none."""
        return {user.id: user.name for user in self.users()}

    def find(self, name: str) -> User:
        """Return the user of a name, or of an id. Raises AccountError."""
        rows = self._read("SELECT * FROM users WHERE name IS NOT NULL AND (name = ? OR id = ?)", (name.strip(), name))
        if not rows:
            raise AccountError("user.unknown", name=name)
        return _user(rows[0])

    def add_user(self, name: str, role: Role, by: str) -> tuple[User, str]:
        """Make a user, and return it with its one-time password. Raises AccountError."""
        name = name.strip()
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise AccountError("user.name", name=name)
        secret, now = one_time_password(), self._clock()
        hashed, user_id = self._hasher.hash(secret), f"u-{secrets.token_hex(4)}"
        with self._change() as change:
            try:
                change.execute(
                    "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, NULL)",
                    (user_id, name, role, hashed, now + ONE_TIME_S, now),
                )
            except sqlite3.IntegrityError:
                raise AccountError("user.taken", name=name) from None
            self._note(change, "user_added", by, user=user_id, role=role)
        return self.find(user_id), secret

    def remove_user(self, user_id: str, by: str) -> None:
        """Forget a user's name and everything that lets them in; the id stays, since the ledger has it.

        Raises AccountError.
        """
        with self._change() as change:
            self._keep_an_administrator(change, user_id, None)
            change.execute("UPDATE users SET name = NULL, password = '' WHERE id = ?", (user_id,))
            change.execute("DELETE FROM sessions WHERE user = ?", (user_id,))
            change.execute("DELETE FROM tokens WHERE user = ?", (user_id,))
            self._note(change, "user_removed", by, user=user_id)

    def set_role(self, user_id: str, role: Role, by: str) -> User:
        """Give a user another role; it counts from the next request on. Raises AccountError."""
        with self._change() as change:
            self._keep_an_administrator(change, user_id, role)
            change.execute("UPDATE users SET role = ? WHERE id = ?", (role, user_id))
            self._note(change, "role_changed", by, user=user_id, role=role)
        return self.find(user_id)

    def reset_password(self, user_id: str, by: str) -> str:
        """Give a user a one-time password, end their sessions, and return it. Raises AccountError."""
        secret = one_time_password()
        hashed = self._hasher.hash(secret)
        with self._change() as change:
            name = self._named(change, user_id)["name"]
            change.execute(
                "UPDATE users SET password = ?, one_time_until = ? WHERE id = ?",
                (hashed, self._clock() + ONE_TIME_S, user_id),
            )
            change.execute("DELETE FROM sessions WHERE user = ?", (user_id,))
            change.execute("DELETE FROM attempts WHERE key = ?", (_by_name(name),))
            self._note(change, "password_reset", by, user=user_id)
        return secret

    def first_password(self) -> tuple[str, str] | None:
        """Return name and one-time password of the first administrator, as long as none has ever signed in."""
        administrators = [user for user in self.users() if user.role is Role.ADMINISTRATOR]
        if any(user.last_seen is not None for user in administrators):
            return None
        first = next((user for user in administrators if user.name == FIRST_USER), None)
        if first is not None:
            return FIRST_USER, self.reset_password(first.id, "station")
        return None if administrators else (FIRST_USER, self.add_user(FIRST_USER, Role.ADMINISTRATOR, "station")[1])

    def _named(self, change: sqlite3.Connection, user_id: str) -> sqlite3.Row:
        row = change.execute("SELECT * FROM users WHERE id = ? AND name IS NOT NULL", (user_id,)).fetchone()
        if row is None:
            raise AccountError("user.unknown", name=user_id)
        found: sqlite3.Row = row
        return found

    def _keep_an_administrator(self, change: sqlite3.Connection, user_id: str, role: Role | None) -> None:
        row = self._named(change, user_id)
        others = change.execute(
            "SELECT count(*) FROM users WHERE role = ? AND name IS NOT NULL AND id != ?", (Role.ADMINISTRATOR, user_id)
        ).fetchone()[0]
        if row["role"] == Role.ADMINISTRATOR and role is not Role.ADMINISTRATOR and not others:
            raise AccountError("user.last_administrator", name=row["name"])

    # --- signing in -----------------------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, address: str) -> str:
        """Return a new session's secret. It takes a core for some 50 ms. Raises SignInRefusedError."""
        name = name.strip()[:64]
        self._count_attempt(name, address)
        rows = self._read("SELECT * FROM users WHERE name = ?", (name,))
        row = rows[0] if rows else None
        right = self._is_right(row["password"] if row is not None else self._dummy, password) and row is not None
        if not right:
            raise SignInRefusedError("sign_in.wrong")
        assert row is not None
        now, secret = self._clock(), secrets.token_urlsafe(32)
        if row["one_time_until"] is not None and row["one_time_until"] < now:
            raise SignInRefusedError("sign_in.one_time_over")
        with self._change() as change:
            # What was looked at may be gone by now.
            current = change.execute("SELECT password FROM users WHERE id = ?", (row["id"],)).fetchone()
            if current is None or current["password"] != row["password"]:
                raise SignInRefusedError("sign_in.wrong")
            change.execute("DELETE FROM attempts WHERE key IN (?, ?)", (_by_name(name), _by_address(address)))
            change.execute("DELETE FROM sessions WHERE began < ?", (now - self._absolute_s,))
            change.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (_hash(secret), row["id"], now, now))
            change.execute("UPDATE users SET last_seen = ? WHERE id = ?", (now, row["id"]))
            if self._hasher.check_needs_rehash(row["password"]):
                hashed = self._hasher.hash(password)
                change.execute("UPDATE users SET password = ? WHERE id = ?", (hashed, row["id"]))
            self._note(change, "signed_in", row["id"])
        return secret

    def _count_attempt(self, name: str, address: str) -> None:
        now = self._clock()
        refused, locked = 0.0, False
        with self._change() as change:
            change.execute("DELETE FROM attempts WHERE last < ?", (now - FORGET_TRIES_S,))
            keys = ((_by_name(name), FREE_TRIES), (_by_address(address), FREE_TRIES * 5))
            rows = {}
            for key, _ in keys:
                rows[key] = change.execute("SELECT count, until FROM attempts WHERE key = ?", (key,)).fetchone()
                if rows[key] is not None:
                    # A clock that was set back keeps nobody out for longer than the lock.
                    refused = max(refused, min(rows[key]["until"] - now, MAX_LOCK_S))
            if refused <= 0:
                for key, free in keys:
                    count = (rows[key]["count"] if rows[key] is not None else 0) + 1
                    wait = lock_seconds(count, free)
                    locked = locked or wait > 0
                    change.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", (key, count, now + wait, now))
                if locked:
                    known = change.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
                    # What was typed may be a password in the wrong field: an unknown name stands nowhere.
                    self._note(change, "locked_out", "station", user=known["id"] if known else None, address=address)
        if refused > 0:
            raise SignInRefusedError("sign_in.locked", refused)

    def _is_right(self, hashed: str, password: str) -> bool:
        if len(password) > MAX_PASSWORD:
            return False
        try:
            return self._hasher.verify(hashed, password)
        except Exception:  # noqa: BLE001 - wrong, or no hash: either way nobody is let in
            return False

    def change_password(self, who: Identity, old: str, new: str, address: str) -> str:
        """Change the password of who is signed in, end their sessions, and return a new one's secret.

        Raises AccountError.
        """
        problem = password_problem(new, who.user.name) or ("password.same" if new == old else None)
        if problem is not None:
            raise AccountError(problem, minimum=MIN_PASSWORD, maximum=MAX_PASSWORD)
        self._count_attempt(who.user.name, address)
        row = self._read("SELECT password FROM users WHERE id = ?", (who.user.id,))[0]
        if not self._is_right(row["password"], old):
            raise AccountError("password.wrong")
        hashed, secret, now = self._hasher.hash(new), secrets.token_urlsafe(32), self._clock()
        with self._change() as change:
            self._named(change, who.user.id)
            change.execute("UPDATE users SET password = ?, one_time_until = NULL WHERE id = ?", (hashed, who.user.id))
            change.execute("DELETE FROM sessions WHERE user = ?", (who.user.id,))
            change.execute("DELETE FROM attempts WHERE key IN (?, ?)", (_by_name(who.user.name), _by_address(address)))
            change.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (_hash(secret), who.user.id, now, now))
            self._note(change, "password_changed", who.user.id)
        return secret

    # --- sessions and tokens --------------------------------------------------------------------------------

    def of_session(self, secret: str) -> Identity | None:
        """Return who a session's secret belongs to; None where it has ended, or never was."""
        now, hashed = self._clock(), _hash(secret)
        rows = self._read(
            "SELECT users.*, began, seen FROM sessions JOIN users ON users.id = sessions.user"
            " WHERE hash = ? AND users.name IS NOT NULL",
            (hashed,),
        )
        if not rows:
            return None
        row = rows[0]
        if now - row["seen"] > self._idle_s or now - row["began"] > self._absolute_s:
            self.sign_out(secret)
            return None
        if now - row["seen"] > min(_TOUCH_S, self._idle_s / 2):
            with self._change() as change:
                change.execute("UPDATE sessions SET seen = ? WHERE hash = ?", (now, hashed))
        user = _user(row)
        return Identity(user, user.role, _csrf(secret), secret)

    def sign_out(self, secret: str) -> None:
        """End a session."""
        with self._change() as change:
            change.execute("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))

    def add_token(self, who: User, name: str, role: Role, ends: float) -> tuple[Token, str]:
        """Make an API token of a user, and return it with its secret, which is not kept. Raises AccountError."""
        now = self._clock()
        if not 1 <= len(name.strip()) <= 64 or not name.isprintable():
            raise AccountError("token.name", name=name)
        if not who.role.may(role):
            raise AccountError("token.role", role=role, own=who.role)
        if not now < ends <= now + MAX_TOKEN_S:
            raise AccountError("token.ends", days=MAX_TOKEN_S // 86400)
        token = Token(f"t-{secrets.token_hex(4)}", name.strip(), who.id, role, now, ends)
        secret = f"pv_{token.id[2:]}_{secrets.token_urlsafe(32)}"
        with self._change() as change:
            change.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)",
                (token.id, _hash(secret), token.user, token.name, token.role, token.made, token.ends),
            )
            self._note(change, "token_added", who.id, token=token.id, role=role, ends=ends)
        return token, secret

    def tokens(self, user_id: str | None = None) -> list[Token]:
        """Return the tokens of a user, or all, those that have ended, too."""
        rows = self._read("SELECT * FROM tokens WHERE ? IS NULL OR user = ? ORDER BY made", (user_id, user_id))
        return [Token(row["id"], row["name"], row["user"], Role(row["role"]), row["made"], row["ends"]) for row in rows]

    def remove_token(self, token_id: str, by: str, only_of: str | None = None) -> None:
        """End a token; where `only_of` is a user, no other's. Raises AccountError."""
        with self._change() as change:
            gone = change.execute(
                "DELETE FROM tokens WHERE id = ? AND (? IS NULL OR user = ?)", (token_id, only_of, only_of)
            )
            if not gone.rowcount:
                raise AccountError("token.unknown", token=token_id)
            self._note(change, "token_removed", by, token=token_id)

    def of_token(self, secret: str) -> Identity | None:
        """Return who an API token belongs to; None where it has ended, or never was."""
        rows = self._read(
            "SELECT users.*, tokens.hash, tokens.role AS token_role, ends FROM tokens"
            " JOIN users ON users.id = tokens.user WHERE tokens.hash = ? AND users.name IS NOT NULL",
            (_hash(secret),),
        )
        if not rows or not hmac.compare_digest(rows[0]["hash"], _hash(secret)) or rows[0]["ends"] <= self._clock():
            return None
        user, own = _user(rows[0]), Role(rows[0]["token_role"])
        if user.one_time:
            return None
        return Identity(user, own if user.role.may(own) else user.role, None)

    # --- for the journal ------------------------------------------------------------------------------------

    def events(self, after: int = 0, most: int = 100) -> list[tuple[int, float, dict[str, Any]]]:
        """Return what changed since an entry: number, time, and what stands in the journal."""
        rows = self._read("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", (after, most))
        return [(row["id"], row["at"], json.loads(row["content"])) for row in rows]

    def sent(self, number: int) -> None:
        """Take an entry off: it is in the ledger."""
        with self._change() as change:
            change.execute("DELETE FROM events WHERE id = ?", (number,))


def _user(row: sqlite3.Row) -> User:
    return User(
        row["id"], row["name"], Role(row["role"]), row["created"], row["last_seen"], row["one_time_until"] is not None
    )


def _hash(secret: str) -> str:
    """Of 256 random bits: nothing slower is needed, since nobody guesses them."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _csrf(secret: str) -> str:
    return hmac.digest(secret.encode(), b"csrf", "sha256").hex()


def _by_name(name: str) -> str:
    return f"name:{name.casefold()}"


def _by_address(address: str) -> str:
    return f"address:{address}"
