"""What every session store must hold to: `check_session_store`."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from procvision_sdk.session import SessionStore

ODD_IDS = (
    "a",
    "A",
    "a ",
    " a",
    "a/b",
    "../a",
    "a\x00b",
    "a'b\"c;--",
    "%",
    "é",
    "e\u0301",
    "零件",
    "🔩",
    "x" * 240,
)
"""Ids that a careless store mixes up, takes for a path or can't keep. Ids are 1 to 256 characters, any of them."""
STATES = (b"{}", b'{"n":1}', '{"serial":"零件 \\u0000"}'.encode(), b'{"big":"' + b"x" * 200_000 + b'"}')


def check_session_store(open_store: Callable[[], SessionStore], *, shared: bool = True) -> None:
    """Holds a store against the protocol `procvision_sdk.session.SessionStore`.

    `open_store` opens a store, each time on the same data; `shared` says that two stores on it see each other's
    sessions, as those of two hosts do; a store in memory has `shared=False`. Sessions get ids of their own, so that
    the check can run against a store in use. Raises AssertionError naming the rule that doesn't hold.
    """
    prefix = uuid4().hex[:8]
    store = open_store()
    try:
        _hold(isinstance(store, SessionStore), f"{type(store).__name__} lacks one of load, save, delete, close")
        _check_keeping(store, prefix)
        _check_ids(store, prefix)
        if shared:
            _check_sharing(open_store, store, prefix)
    finally:
        store.close()
        store.close()  # a second call does nothing


def _check_keeping(store: SessionStore, prefix: str) -> None:
    name = f"{prefix}-kept"
    _hold(store.load(name) is None, "load of an id that was never saved gives None")
    for state in STATES:
        store.load(name)
        store.save(name, state)
        _hold(store.load(name) == state, f"load gives what was saved, byte for byte ({len(state)} bytes)")
    store.save(name, STATES[0])
    store.save(name, STATES[1])
    _hold(store.load(name) == STATES[1], "of two savings after one load the last counts")
    store.delete(name)
    _hold(store.load(name) is None, "load after delete gives None")
    store.delete(name)
    store.save(name, STATES[1])
    _hold(store.load(name) == STATES[1], "an id that was deleted can be saved again")
    store.delete(name)


def _check_ids(store: SessionStore, prefix: str) -> None:
    names = {prefix + odd: f'{{"n":{number}}}'.encode() for number, odd in enumerate(ODD_IDS)}
    for name, state in names.items():
        _hold(store.load(name) is None, f"the id {name!r:.60} is another's")
        store.save(name, state)
    for name, state in names.items():
        _hold(store.load(name) == state, f"the id {name!r:.60} keeps its own state")
        store.delete(name)
        _hold(store.load(name) is None, f"the id {name!r:.60} can be deleted")


def _check_sharing(open_store: Callable[[], SessionStore], first: SessionStore, prefix: str) -> None:
    name = f"{prefix}-shared"
    second = open_store()
    try:
        first.load(name)
        first.save(name, b'{"by":1}')
        _hold(second.load(name) == b'{"by":1}', "what one host saved, another finds")
        first.load(name)
        first.save(name, b'{"by":11}')
        _refuses(second, name, "a save over what another host saved since the load is refused")
        _hold(first.load(name) == b'{"by":11}', "a refused save changes nothing")
        second.load(name)
        first.delete(name)
        _refuses(second, name, "a save of a session that another host ended since the load is refused")
        first.load(name)
        second.load(name)
        first.save(name, b'{"by":1}')
        _refuses(second, name, "of two hosts that begin one session the second is refused")
        second.load(name)
        first.delete(name)
        first.load(name)
        first.save(name, b'{"by":1}')
        _refuses(second, name, "a session that was ended and begun again is another one")
    finally:
        second.close()
    third = open_store()
    try:
        _hold(third.load(name) == b'{"by":1}', "what was saved outlives the store that saved it")
        third.delete(name)
    finally:
        third.close()


def _refuses(store: SessionStore, name: str, rule: str) -> None:
    try:
        store.save(name, b'{"by":2}')
    except Exception:  # noqa: BLE001 - which exception is the store's affair
        return
    raise AssertionError(f"{type(store).__name__}: {rule}")


def _hold(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(f"this doesn't hold: {rule}")
