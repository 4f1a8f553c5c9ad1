"""One inspection of one product, as an algorithm sees it, and what keeps its state between calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NoReturn, Protocol, runtime_checkable

import msgspec

from procvision_sdk.errors import ProcVisionError
from procvision_sdk.plain import plain, refuse_surrogates

_EMPTY_STATE = b"{}"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
encode_state = msgspec.json.Encoder().encode
"""A state as it is kept."""
_ATOMS = frozenset((str, bool, int, type(None)))
"""What JSON carries as it is, and nobody can change in place."""


class SessionStoreError(ProcVisionError):
    """A store can't give or keep a session: it is unreachable, damaged, of another release, or changed elsewhere.

    The text says what and where; `retryable` whether the same call may succeed if it is made again.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class ReadOnlyStoreError(SessionStoreError):
    """A store answers and takes no writes now: a replica, a standby, a server whose disk is full. Retryable.

    A host that meets it at its start exits 78, since what is read-only was often named by mistake.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class SessionInUseError(SessionStoreError):
    """A `save` that came too late: another host changed or ended the session since it was loaded here.

    What that host left stays. The same call may be made again: it is then executed on what that host left.
    """

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"another host changed or ended the session {session_id[:80]!r} while this call ran: its state stays as "
            "that one left it; hint: let one host at a time work on a session",
            retryable=True,
        )


@runtime_checkable
class SessionStore(Protocol):
    """Keeps the state of sessions between calls, as bytes of any value. A host calls it from one thread.

    A host calls `load` at the start of each call, then at most one of `save` and `delete` for the same id. A store
    that several hosts share refuses a `save` with SessionInUseError if another host changed the session since that
    `load`, or ended it: of two calls at once one counts, and the other is answered with an error that may be tried
    again. A session that isn't saved for the store's time to live is over, as if it had been deleted.

    Any other exception fails the call with its text, best a SessionStoreError that says what and where: a store that
    can't answer is never taken for an empty session. After a failure the next call is made as usual, so that a store
    connects again by itself. Hosts seal what they give (`procvision_sdk.sealing`), so a store needs no checksum.
    `procvision_testing.check_session_store` checks all this.
    """

    def load(self, session_id: str) -> bytes | None:
        """Return the state last saved under this id; None if there is none."""

    def save(self, session_id: str, state: bytes) -> None:
        """Keep the state; when this returns, a later `load` finds it."""

    def delete(self, session_id: str) -> None:
        """Forget the id; one that isn't known is no error."""

    def close(self) -> None:
        """Give back what the store holds; a second call does nothing."""


class ReadOnlyDict(dict[str, Any]):
    """A dict that can be read, copied and encoded like any, and not changed."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("session.context is the runner's: it can't be changed; hint: dict(...) makes a copy")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> Any:
        return dict, (dict(self),)  # a deep copy, and what is pickled, can be changed


class ReadOnlyList(list[Any]):
    """The same for a list."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("session.context is the runner's: it can't be changed; hint: list(...) makes a copy")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> Any:
        return list, (list(self),)


def _frozen(value: Any) -> Any:
    """Return a copy of what JSON carries that can't be changed at any depth."""
    if isinstance(value, dict):
        return ReadOnlyDict((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return ReadOnlyList(map(_frozen, value))
    return value


class Session:
    """A key-value store that lives as long as the inspection of one product.

    `id` and `context` are the runner's and read-only, at any depth. The state is the algorithm's: values are what JSON
    can carry, every later call with the same id sees them, no other id does. A value that `get` returned may be
    changed in place; what it holds when the call ends is what is kept.
    """

    __slots__ = ("_context", "_id", "_lent", "_loaded", "_saved")

    def __init__(self, session_id: str, context: Mapping[str, Any] | None = None, state: bytes | None = None) -> None:
        self._id = session_id
        self._context: Mapping[str, Any] = context if context is not None else {}
        self._saved = state
        self._loaded: dict[str, Any] | None = None
        self._lent = False
        """Whether the algorithm was given a list or an object of the state: it may have put anything in there."""

    @property
    def id(self) -> str:
        """The inspection's name, the runner's. Read-only."""
        return self._id

    @property
    def context(self) -> Mapping[str, Any]:
        """What the runner says of the product: product code, trace id and the like. Read-only, and so is all in it."""
        context = self._context
        if type(context) is not ReadOnlyDict:
            self._context = context = ReadOnlyDict((key, _frozen(value)) for key, value in context.items())
        return context

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under `key`, or `default`."""
        value = self._state().get(key, default)
        if type(value) not in _ATOMS:
            self._lent = True
        return value

    def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key`.

        Raises ValueError naming the place of what JSON can't carry: an array, NaN, bytes, an object. Keep such
        things in the algorithm itself, under `session.id`.
        """
        if not isinstance(key, str):
            raise ValueError(f"a session's keys are strings, this is {key!r:.80}")  # noqa: TRY004 - one error type for the vendor
        if not key.isascii():
            refuse_surrogates(key, "a session's key")
        if type(value) is str and not value.isascii():
            refuse_surrogates(value, f"session[{key!r}]")
        self._state()[key] = value if type(value) in _ATOMS else plain(value, f"session[{key!r}]", surrogates=False)

    @property
    def state_store(self) -> MutableMapping[str, Any]:
        """The state as a mapping, under the same rules as `get` and `set`."""
        return _StateStore(self)

    def delete(self, key: str) -> bool:
        """Forget `key`; False if it wasn't there."""
        state = self._state()
        if key not in state:
            return False
        del state[key]
        return True

    def exists(self, key: str) -> bool:
        """Return whether there is a value under `key`."""
        return key in self._state()

    def clear(self) -> None:
        """Empty the state."""
        self._state().clear()

    def _state(self) -> dict[str, Any]:
        # Decoded at the first look: most calls never take one.
        if self._loaded is None:
            self._loaded = _decode(self._saved) if self._saved else {}
        return self._loaded

    def changed_state(self) -> bytes | None:
        """Return the state to save, or None where it is as it was loaded.

        Raises ValueError if a value was changed in place into what JSON can't carry.
        """
        if self._loaded is None:
            return None
        # What `set` took was looked at then, and is a copy.
        state = encode_state(plain(self._loaded, "session", surrogates=False) if self._lent else self._loaded)
        if state == (self._saved if self._saved is not None else _EMPTY_STATE):
            return None
        self._saved = state
        return state


class _StateStore(MutableMapping[str, Any]):
    """A session's state; every change is `Session.set`'s or `Session.delete`'s."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getitem__(self, key: str) -> Any:
        if not self._session.exists(key):
            raise KeyError(key)
        return self._session.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._session.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self._session.delete(key):
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._session._state()))

    def __len__(self) -> int:
        return len(self._session._state())

    def __repr__(self) -> str:
        return repr(dict(self))
