"""The session store that a host was asked for, guarded: what goes wrong in it is the call's error, by its own name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NoReturn

from procvision_host.hookchoice import HookPluginError
from procvision_host.logs import HOST_LOGGER
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.session import SessionStore, SessionStoreError

_log = logging.getLogger(HOST_LOGGER)


def open_store(sessions: str, factories: Mapping[str, Callable[[str], SessionStore]]) -> SessionStore:
    """The store that `--sessions` names. Raises HookPluginError: nothing else comes out of a foreign factory."""
    scheme = sessions.partition(":")[0]
    if scheme not in factories:
        raise HookPluginError(
            f"--sessions names the scheme {scheme!r}, known are {', '.join(sorted(factories))}; "
            "hint: procvision-host hooks shows which hook plugins are used"
        )
    try:
        return factories[scheme](sessions)
    except Exception as error:
        raise HookPluginError(f"the session store {sessions!r} can't be opened: {error}") from error


class GuardedSessions:
    """A store as the worker uses it: bounded, and failing with `error` 9999 `session_store` and nothing else."""

    __slots__ = ("_max_bytes", "_store")

    def __init__(self, store: SessionStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    def load(self, session_id: str) -> bytes | None:
        """As the store. Raises CallRefusedError."""
        try:
            return self._store.load(session_id)
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            _refuse("loaded", error)

    def save(self, session_id: str, state: bytes) -> None:
        """As the store. Raises CallRefusedError, also for a state over the bound: what was saved before stays."""
        if len(state) > self._max_bytes:
            raise CallRefusedError(
                ErrorCode.INVALID_PARAMS,
                "session_too_large",
                f"the session's state has {len(state)} bytes, the bound is {self._max_bytes}; "
                "hint: keep large things in the algorithm under session.id, or raise --max-session-bytes",
            )
        try:
            self._store.save(session_id, state)
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            _refuse("saved", error)

    def delete(self, session_id: str) -> None:
        """As the store. Raises CallRefusedError."""
        try:
            self._store.delete(session_id)
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            _refuse("dropped", error)

    def close(self) -> None:
        """As the store; at the host's end nothing can be refused any more, so a failure is a line in the log."""
        try:
            self._store.close()
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            _log.error("the session store could not be closed", exc_info=error)


def _refuse(what: str, error: Exception) -> NoReturn:
    known = isinstance(error, SessionStoreError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    raise CallRefusedError(
        ErrorCode.UNKNOWN,
        "session_store",
        f"the session can't be {what}: {text}",
        retryable=isinstance(error, SessionStoreError) and error.retryable,
    ) from error
