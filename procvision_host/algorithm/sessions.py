"""Guards the session store that a host was asked for: its failure is the call's error, by a name of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from os import getpid, urandom
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from procvision_host import exits
from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_host.configuration import ConfigurationError, HookPluginError
from procvision_host.logs import HOST_LOGGER
from procvision_sdk.errors import CallRefusedError, ErrorCode
from procvision_sdk.session import ReadOnlyStoreError, SessionInUseError, SessionStore, SessionStoreError

if TYPE_CHECKING:
    from types import ModuleType

SESSIONS_VARIABLE = "PROCVISION_SESSIONS"
DEFAULT_SESSIONS = "memory"
WRITE_CHECK_PREFIX = "procvision-write-check-"
"""What the id of the session begins with that proves a write at the start."""
MAX_REMEMBERED_ENDS = 1024
"""How many sessions that could not be dropped are remembered, to be dropped when their id comes again."""

_log = logging.getLogger(HOST_LOGGER)


class StoreFailedError(HookPluginError):
    """The session store can't be used. One that doesn't answer ends the host with 75, any other with 78."""

    def __init__(self, message: str, error: Exception) -> None:
        super().__init__(message)
        self.retryable = _retryable(error)
        away = self.retryable and not isinstance(error, ReadOnlyStoreError)
        self.exit_status = exits.AWAY if away else exits.CONFIGURATION


def chosen_store(option: str | None, config: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return the store's text: `--sessions`, else `sessions` in the file, else the variable, else in memory.

    Raises ConfigurationError for a file that says something else than a text.
    """
    if option is not None:
        return option
    in_file = config.get("sessions")
    if in_file is None:
        return environment.get(SESSIONS_VARIABLE) or DEFAULT_SESSIONS
    if not isinstance(in_file, str):
        raise ConfigurationError(
            f'sessions in the configuration file is {in_file!r:.80}: it is a text; hint: sessions = "sqlite:PATH"'
        )
    return in_file


def open_store(sessions: str, factories: Mapping[str, Callable[[str], SessionStore]]) -> SessionStore:
    """Open the store that a text names, and prove that it keeps what is saved.

    Raises ConfigurationError: nothing else comes out of a foreign factory.
    """
    from procvision_sdk.storetext import shown

    scheme = sessions.partition(":")[0]
    if scheme not in factories:
        raise ConfigurationError(
            f"the session store {shown(sessions)!r} is of the scheme {scheme!r}, known are "
            f"{', '.join(sorted(factories))}; hint: {_hint(scheme)}"
        )
    named = f"the session store {shown(sessions)!r}"
    try:
        store = factories[scheme](sessions)
    except Exception as error:
        raise StoreFailedError(f"{named} can't be opened: {_told(error)}", error) from error
    try:
        _prove_a_write(store)
    except Exception as error:
        with contextlib.suppress(Exception):
            store.close()
        raise StoreFailedError(
            f"{named} can be opened, but not written: {_told(error)}; hint: a host is ready only if it can save", error
        ) from error
    return store


def _prove_a_write(store: SessionStore) -> None:
    """Save, load and delete a session that is nobody's. One that is left by a kill in between expires."""
    from procvision_sdk.sealing import seal

    session_id = f"{WRITE_CHECK_PREFIX}{urandom(8).hex()}"
    store.load(session_id)
    state = seal(session_id, b"{}")
    store.save(session_id, state)
    found = store.load(session_id)
    store.delete(session_id)
    if found != state:
        raise SessionStoreError(f"what was saved is not what is loaded: {found!r:.80}")


def _hint(scheme: str) -> str:
    from procvision_host.hooks.selection import OUR_STORES

    if scheme in OUR_STORES:
        return f"pip install {OUR_STORES[scheme][1]}"
    return "procvision-host hooks shows which hook plugins are used"


class Sessions(Protocol):
    """What the worker needs of the sessions. `load`, `save` and `delete` raise CallRefusedError and nothing else."""

    def expect(self, session_id: str) -> None:
        """Prepare for a `load` that follows."""

    def load(self, session_id: str) -> bytes | None:
        """Return the state last saved."""

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state."""

    def delete(self, session_id: str) -> None:
        """Forget the session, as part of a call."""

    def end(self, session_id: str) -> None:
        """Forget the session, after its last answer went out."""


class GuardedSessions:
    """A store as the worker uses it: bounded, sealed where others reach it, and failing with CallRefusedError alone."""

    __slots__ = ("_ended", "_max_bytes", "_prefix", "_process_id", "_sealing", "_secret", "_store")

    def __init__(self, store: SessionStore, max_bytes: int, *, algorithm: str = "", secret: bytes = b"") -> None:
        """`algorithm` stands in the keys: two algorithms with one session id have two sessions."""
        self._store = store
        self._prefix = f"{algorithm}/" if algorithm else ""
        self._secret = secret
        self._sealing: ModuleType | None = None
        """Seals a state. None for one in this process's own memory: who could change it there could seal it, too."""
        if type(store) is not MemorySessionStore:
            from procvision_sdk import sealing

            self._sealing = sealing
        self._max_bytes = max_bytes
        self._process_id = getpid()
        self._ended: dict[str, None] = {}
        """Sessions that are over and that the store still has, since it failed at that moment; the newest of them."""

    def expect(self, session_id: str) -> None:
        """Do nothing: a store in this process is asked when the state is needed."""

    def load(self, session_id: str) -> bytes | None:
        """As the store. Raises CallRefusedError."""
        if self._ended and session_id in self._ended:
            self.delete(session_id)
        try:
            key = self._prefix + session_id
            kept, sealing = self._store.load(key), self._sealing
            return kept if kept is None or sealing is None else sealing.unseal(key, kept, self._secret)
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            refuse("loaded", error)

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state. Raises CallRefusedError, also for a state over the bound: what was saved before stays."""
        self._not_in_a_copy()
        self._hold_to_the_bound(state)
        try:
            key = self._prefix + session_id
            sealing = self._sealing
            self._store.save(key, state if sealing is None else sealing.seal(key, state, self._secret))
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            refuse("saved", error)

    def delete(self, session_id: str) -> None:
        """As the store. Raises CallRefusedError."""
        self._not_in_a_copy()
        try:
            self._store.delete(self._prefix + session_id)
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            refuse("dropped", error)
        self._ended.pop(session_id, None)

    def end(self, session_id: str) -> None:
        """Forget a session whose last answer is out. Never raises.

        Where the store fails, it is tried again before this host would meet the session's state once more.
        """
        try:
            self.delete(session_id)
        except CallRefusedError as refusal:
            self._ended[session_id] = None
            if len(self._ended) > MAX_REMEMBERED_ENDS:
                del self._ended[next(iter(self._ended))]
            _log.error("the session %.80r is over, but %s; it will expire", session_id, refusal)

    def close(self) -> None:
        """Close the store. A failure is a line in the log: at the host's end there is no call to refuse."""
        if getpid() != self._process_id:
            return
        try:
            self._store.close()
        except Exception as error:  # noqa: BLE001 - a store is foreign code
            _log.error("the session store could not be closed", exc_info=error)

    def _hold_to_the_bound(self, state: bytes) -> None:
        if len(state) > self._max_bytes:
            raise CallRefusedError(
                ErrorCode.INVALID_PARAMS,
                "session_too_large",
                f"the session's state has {len(state)} bytes, the bound is {self._max_bytes}; "
                "hint: keep large things in the algorithm under session.id, or raise --max-session-bytes",
            )

    def _not_in_a_copy(self) -> None:
        # A child that the algorithm forked has the parent's file or connection: two on one would spoil it.
        if getpid() != self._process_id:
            refuse_a_copy()


def refuse_a_copy() -> NoReturn:
    """Raise the CallRefusedError for a process that the algorithm forked, which may not use its parent's sessions."""
    raise CallRefusedError(
        ErrorCode.UNKNOWN, "session_store", "a process that the algorithm forked can't use the host's sessions"
    )


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SessionStoreError) else f"{type(error).__name__}: {error}"


def _retryable(error: Exception) -> bool:
    return isinstance(error, SessionStoreError) and error.retryable


def refuse(what: str, error: Exception) -> NoReturn:
    """Raise the CallRefusedError that a store's exception is for a call; `what` it should have been."""
    if isinstance(error, SessionInUseError):
        raise CallRefusedError(ErrorCode.UNKNOWN, "session_in_use", str(error), retryable=True) from error
    retryable = _retryable(error)
    text = f"the session can't be {what}: {_told(error)}"
    raise CallRefusedError(ErrorCode.UNKNOWN, "session_store", text, retryable=retryable) from error
