"""Whose signatures count on this machine: a file of public keys with names, roles and end dates.

It is its owner's alone (0600) and written whole. A key that ended or was revoked stays in it, so that what it signed
can still be told. One that could be changed by others is refused rather than read.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.private_files import make_private_folder, touch_private, write_private
from procvision_sdk.regular_files import read_regular

FORMAT = 1
MAX_STORE_BYTES = 4 << 20
STORE_VARIABLE = "PROCVISION_KEYS"
ROLE_BUNDLES = "bundles"
ROLES = (ROLE_BUNDLES,)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class TrustError(ProcVisionError):
    """The store of keys can't be used, or not so. The text ends with a hint."""


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One public key, and what it is trusted with."""

    id: str
    """The SHA-256 of the public key's 32 bytes, in hex."""
    name: str
    public: str
    """The 32 bytes in hex."""
    roles: list[str] = msgspec.field(default_factory=lambda: [ROLE_BUNDLES])
    distributions: list[str] = []
    """Those whose bundles it may sign; empty for all."""
    until: str | None = None
    """The last day on which it counts, UTC, as YYYY-MM-DD."""
    added: str = ""
    revoked: str | None = None
    """When it was revoked."""
    why: str = ""
    """Why it was revoked."""

    @property
    def public_bytes(self) -> bytes:
        """The public key's 32 bytes."""
        return bytes.fromhex(self.public)

    def refusal(self, now: datetime.datetime, role: str, distribution: str) -> str | None:
        """Say why it doesn't count for a bundle of a distribution now; None where it does."""
        if self.revoked is not None:
            return f"was revoked on {self.revoked[:10]}{f': {self.why}' if self.why else ''}"
        if self.until is not None and now.date().isoformat() > self.until:
            return f"ended on {self.until}"
        if role not in self.roles:
            return f"has no role {role}"
        if self.distributions and distribution not in self.distributions:
            return f"is trusted for {', '.join(self.distributions)}, not for {distribution}"
        return None


class _Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    keys: list[TrustedKey]


def key_id(public: bytes) -> str:
    """Give the id of a public key of 32 bytes."""
    return hashlib.sha256(public).hexdigest()


def store_path(given: Path | None = None) -> Path:
    """Give the store's file: the one named, $PROCVISION_KEYS, or the one in the user's configuration."""
    if given is not None:
        return given
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "procvision" / "trusted-keys.json"


class TrustStore:
    """The trusted keys of a file; none where it isn't there."""

    def __init__(self, path: Path, keys: list[TrustedKey]) -> None:
        self.path = path
        self.keys = keys

    @classmethod
    def read(cls, path: Path) -> TrustStore:
        """Read a store. Raises TrustError."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return cls(path, [])
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from error
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in (0, os.geteuid()):
            raise TrustError(
                f"{path} could be changed by others, so it is not believed; hint: chmod 600, and its owner"
            )
        try:
            data = read_regular(path, MAX_STORE_BYTES)
            store = msgspec.json.decode(data, type=_Store) if data else _Store(FORMAT, [])
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from error
        except ValueError as error:
            raise _unreadable(path, str(error)) from error
        if store.format != FORMAT:
            raise _unreadable(path, f"it has format {store.format}, this reads {FORMAT}")
        for key in store.keys:
            if not re.fullmatch(r"[0-9a-f]{64}", key.public) or key.id != key_id(key.public_bytes):
                raise _unreadable(path, f"the key {key.name} is not the one of its id")
        return cls(path, store.keys)

    def find(self, identity: str) -> TrustedKey | None:
        """Give the key with this id."""
        return next((key for key in self.keys if key.id == identity), None)

    def trust(self, public: bytes, name: str, *, until: str | None, distributions: list[str], now: str) -> TrustedKey:
        """Trust a key, from now on or under other conditions. Raises TrustError."""
        if _NAME.fullmatch(name) is None:
            raise TrustError(f"{name[:80]!r} is no name of a key; hint: letters, digits, and . _ @ + - between them")
        key = TrustedKey(
            id=key_id(public), name=name, public=public.hex(), distributions=distributions, until=until, added=now
        )
        with self._changing():
            before = self.find(key.id)
            if before is not None and before.revoked is not None:
                raise TrustError(f"this key was revoked as {before.name}: it isn't trusted again; hint: a new key")
            if any(other.name == name and other.id != key.id for other in self.keys):
                raise TrustError(f"another key is called {name}; hint: revoke that one, or --name NAME")
            self.keys = [other for other in self.keys if other.id != key.id] + [key]
        return key

    def revoke(self, which: str, why: str, now: str) -> TrustedKey:
        """Take back the trust in the key of a name, or of an id's beginning. Raises TrustError."""
        with self._changing():
            found = [key for key in self.keys if key.name == which or (len(which) >= 8 and key.id.startswith(which))]
            if len(found) != 1:
                known = ", ".join(key.name for key in self.keys) or "none"
                raise TrustError(f"{which[:80]!r} is no key of {self.path}; hint: its keys are {known}")
            revoked = msgspec.structs.replace(found[0], revoked=found[0].revoked or now, why=found[0].why or why)
            self.keys = [revoked if key is found[0] else key for key in self.keys]
        return revoked

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Read the file again, let the block change the keys, and write it: one process after the other."""
        try:
            make_private_folder(self.path.parent)
            lock = self.path.with_name(f".{self.path.name}.lock")
            touch_private(lock)
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self.keys = TrustStore.read(self.path).keys
                yield
                data = msgspec.json.format(msgspec.json.encode(_Store(FORMAT, self.keys)), indent=2)
                write_private(self.path, data + b"\n")
                self.path.chmod(0o600)
        except OSError as error:
            raise TrustError(
                f"{error.filename or self.path} can't be written: {error.strerror}; hint: --keys FILE"
            ) from error


def _unreadable(path: Path, why: str) -> TrustError:
    return TrustError(f"{path} is no store of keys that can be read: {why}; hint: procvision keys trust makes one")
