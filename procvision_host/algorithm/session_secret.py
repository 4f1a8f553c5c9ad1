"""The secret that seals sessions in a store: 32 bytes in a file of the own user's, made where there is none.

It lies with the host half, and no cell is given it. Hosts that share a store share the file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from procvision_host.configuration import ConfigurationError
from procvision_sdk.sealing import SECRET_BYTES

VARIABLE = "PROCVISION_SESSION_KEY"


def secret_path(environment: Mapping[str, str]) -> Path:
    """Return where it lies: in the file that the variable names, else below XDG_STATE_HOME (basedir-spec)."""
    named = environment.get(VARIABLE)
    if named:
        return Path(named)
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "procvision" / "session.key"


def session_secret(environment: Mapping[str, str]) -> bytes:
    """Return the secret. Raises ConfigurationError for a file that others can read, or that can't be read or made."""
    path = secret_path(environment)
    hint = f"hint: {VARIABLE}=FILE names another"
    try:
        if not os.path.lexists(path):
            _make(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            secret = os.read(descriptor, SECRET_BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"the key of sessions, {path}, can't be read or made: {error}; {hint}") from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ConfigurationError(
            f"the key of sessions, {path}, is not a file that this user alone can read "
            f"(owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}); hint: chmod 600 {path}"
        )
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(f"the key of sessions, {path}, has not exactly {SECRET_BYTES} bytes; {hint}")
    return secret


def _make(path: Path) -> None:
    """A file that is there whole or not at all; another host may be faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, os.urandom(SECRET_BYTES))
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink()
