"""What every session store must hold to: `check_session_store`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any
from uuid import uuid4

from procvision_sdk.sealing import seal, unseal
from procvision_sdk.session import Session, SessionInUseError, SessionStore, SessionStoreError

ODD_IDS = (
    "",
    "a",
    "A",
    "a ",
    " a",
    "a/b",
    "../a",
    ".",
    "a\x00b",
    "a\nb",
    "a'b\"c;--",
    "%",
    "*",
    "{a}",
    "é",
    "e\u0301",
    "零件",
    "🔩",
    "x" * 248,
    "🔩" * 248,
)
"""Ids that a careless store mixes up, takes for a path or can't keep. Ids have up to 256 characters, any of them."""
LARGEST_STATE_BYTES = 4 * 1024 * 1024 + 64
"""A host's default bound on a state, and the line that it puts before it."""
STATES = (b"{}", b"", bytes(range(256)), b"n" * LARGEST_STATE_BYTES)
VALUES: dict[str, Any] = {
    "none": None,
    "truth": [True, False],
    "int": [0, -1, 2**53 + 1, 2**63 - 1],
    "float": [0.5, -0.0, 1e300, 1.0],
    "text": ["", "零件 \x00 \U0001f529"],
    "nested": [{"a": [[], {}]}, None],
}
"""Every type that JSON has; 1 is not 1.0 and True is neither."""
EXPIRES_AFTER_S = 0.2
PATIENCE_S = 30.0
RIVALS = 3
SAVINGS_EACH = 20


def check_session_store(
    open_store: Callable[[], SessionStore],
    *,
    shared: bool = True,
    open_expiring: Callable[[float], SessionStore] | None = None,
    damage: Callable[[str], None] | None = None,
    outage: tuple[Callable[[], object], Callable[[], object]] | None = None,
) -> None:
    """Hold a store against the protocol `procvision_sdk.session.SessionStore`.

    `open_store` opens a store, each time on the same data. `shared` says that two stores on it see each other's
    sessions, as those of two hosts do, and that what was saved outlives them; a store in memory has `shared=False`.
    `open_expiring` opens one with a time to live of so many seconds, `damage` spoils what is kept under an id behind
    the store's back. Of `outage` the first takes away what keeps the sessions, its server or its disk, and the second
    brings it back with all that was saved. Sessions get ids of their own, so that the check can run against a store in
    use.

    Raises AssertionError naming the rule that doesn't hold.
    """
    prefix = uuid4().hex[:8]
    store = open_store()
    try:
        _hold(isinstance(store, SessionStore), f"{type(store).__name__} has load, save, delete and close")
        _check_keeping(store, prefix)
        _check_types(store, prefix)
        _check_ids(store, prefix)
        if damage is not None:
            _check_damage(store, damage, prefix)
        if shared:
            _check_sharing(open_store, store, prefix)
            _check_rivals(open_store, prefix)
    finally:
        store.close()
        store.close()  # a second call does nothing
    if shared:
        _check_lasting(open_store, prefix)
    if open_expiring is not None:
        _check_expiry(open_expiring, prefix)
    if outage is not None:
        _check_outage(open_store, *outage, prefix)


def _check_keeping(store: SessionStore, prefix: str) -> None:
    name = f"{prefix}-kept"
    _hold(store.load(name) is None, "load of an id that was never saved gives None")
    for state in STATES:
        store.load(name)
        store.save(name, state)
        _hold(store.load(name) == state, f"load gives what was saved, byte for byte ({len(state)} bytes)")
    _hold(type(store.load(name)) is bytes, "load gives bytes")
    store.save(name, STATES[0])
    store.save(name, STATES[2])
    _hold(store.load(name) == STATES[2], "of two savings after one load the last counts")
    store.delete(name)
    _hold(store.load(name) is None, "load after delete gives None")
    store.delete(name)
    store.save(name, STATES[2])
    _hold(store.load(name) == STATES[2], "an id that was deleted can be saved again")
    store.delete(name)


def _check_types(store: SessionStore, prefix: str) -> None:
    name = f"{prefix}-types"
    before = Session(name, {}, _loaded(store, name))
    for key, value in VALUES.items():
        before.set(key, value)
    state = before.changed_state()
    assert state is not None
    store.save(name, seal(name, state))
    after = Session(name, {}, _loaded(store, name))
    for key, value in VALUES.items():
        _hold(repr(after.get(key)) == repr(value), f"a session keeps {key} as it was")
    store.delete(name)


def _check_ids(store: SessionStore, prefix: str) -> None:
    names = {prefix + odd: b'{"n":%d}' % number for number, odd in enumerate(ODD_IDS)}
    for name, state in names.items():
        _hold(store.load(name) is None, f"the id {name!r:.60} is nobody else's")
        store.save(name, state)
    for name, state in names.items():
        _hold(store.load(name) == state, f"the id {name!r:.60} keeps its own state")
        store.delete(name)
        _hold(store.load(name) is None, f"the id {name!r:.60} can be deleted")


def _check_damage(store: SessionStore, damage: Callable[[str], None], prefix: str) -> None:
    name = f"{prefix}-damaged"
    store.load(name)
    store.save(name, seal(name, b'{"n":1}'))
    damage(name)
    try:
        state = _loaded(store, name)
    except SessionStoreError:
        pass
    else:
        _hold(False, f"what was spoilt is an error, here it is {state!r}")
    store.delete(name)
    _hold(store.load(name) is None, "what was spoilt can be deleted")


def _check_sharing(open_store: Callable[[], SessionStore], first: SessionStore, prefix: str) -> None:
    name = f"{prefix}-shared"
    with closing(open_store()) as second:
        first.load(name)
        first.save(name, b'{"by":1}')
        _hold(second.load(name) == b'{"by":1}', "what one host saved, another finds")
        first.load(name)
        first.save(name, b'{"by":11}')
        _refuses(second, name, "a save over what another host saved since the load is refused")
        _hold(first.load(name) == b'{"by":11}', "a refused save changes nothing")
        _hold(second.load(name) == b'{"by":11}', "after a refusal the session can be loaded again")
        second.save(name, b'{"by":2}')
        first.load(name)
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
        first.delete(name)


def _check_rivals(open_store: Callable[[], SessionStore], prefix: str) -> None:
    """Several hosts count in one session at once: every saving that was not refused is in the end there."""
    name = f"{prefix}-rivals"
    problems: list[BaseException] = []

    def count() -> None:
        try:
            with closing(open_store()) as store:
                done = 0
                while done < SAVINGS_EACH:
                    number = int(store.load(name) or b"0")
                    try:
                        store.save(name, b"%d" % (number + 1))
                        done += 1
                    except SessionInUseError:
                        continue
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            problems.append(error)

    rivals = [threading.Thread(target=count, daemon=True) for _ in range(RIVALS)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    if problems:
        raise AssertionError(f"of several hosts on one session one failed: {problems[0]!r}") from problems[0]
    with closing(open_store()) as store:
        found = store.load(name)
        _hold(found == b"%d" % (RIVALS * SAVINGS_EACH), f"no update is lost between hosts, here {found!r} are left")
        store.delete(name)


def _check_lasting(open_store: Callable[[], SessionStore], prefix: str) -> None:
    name = f"{prefix}-lasting"
    with closing(open_store()) as store:
        store.load(name)
        store.save(name, b'{"by":1}')
    with closing(open_store()) as store:
        _hold(store.load(name) == b'{"by":1}', "what was saved outlives the store that saved it")
        store.save(name, b'{"by":2}')
        store.delete(name)


def _check_expiry(open_expiring: Callable[[float], SessionStore], prefix: str) -> None:
    name = f"{prefix}-expiring"
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_expiring(3600.0)))
        store.load(name)
        store.save(name, b"{}")
        _hold(store.load(name) == b"{}", "a session is there before its time to live is over")
        store.delete(name)
        store = stack.enter_context(closing(open_expiring(EXPIRES_AFTER_S)))
        store.load(name)
        store.save(name, b'{"n":1}')
        deadline = time.monotonic() + PATIENCE_S
        while store.load(name) is not None:
            _hold(time.monotonic() < deadline, f"a session is over {EXPIRES_AFTER_S} s after it was saved")
            time.sleep(EXPIRES_AFTER_S / 4)
        store.save(name, b'{"n":2}')
        store.delete(name)


def _check_outage(
    open_store: Callable[[], SessionStore], begin: Callable[[], object], end: Callable[[], object], prefix: str
) -> None:
    name = f"{prefix}-outage"
    with closing(open_store()) as store:
        store.load(name)
        store.save(name, b'{"n":1}')
        store.load(name)
        begin()
        try:
            _fails_for_now(lambda: store.save(name, b'{"n":2}'), "save")
            _fails_for_now(lambda: store.load(name), "load")
        finally:
            end()
        try:
            found = store.load(name)
            store.save(name, b'{"n":3}')
            store.delete(name)
        except Exception as error:
            raise AssertionError(f"after an outage the next call works, not {error!r}") from error
        _hold(found == b'{"n":1}', f"what was saved before an outage is there after it, here it is {found!r}")


def _fails_for_now(call: Callable[[], object], name: str) -> None:
    rule = f"{name} in an outage raises a SessionStoreError that is retryable"
    try:
        given = call()
    except Exception as error:
        if not (isinstance(error, SessionStoreError) and error.retryable):
            raise AssertionError(f"{rule}, not {error!r}") from error
    else:
        _hold(False, f"{rule}, here it gives {given!r}")


def _loaded(store: SessionStore, name: str) -> bytes | None:
    """As a host loads."""
    sealed = store.load(name)
    return None if sealed is None else unseal(name, sealed)


def _refuses(store: SessionStore, name: str, rule: str) -> None:
    try:
        store.save(name, b'{"by":2}')
    except SessionInUseError:
        return
    except Exception as error:
        raise AssertionError(f"{type(store).__name__}: {rule} with SessionInUseError, not {error!r}") from error
    raise AssertionError(f"{type(store).__name__}: {rule}")


def _hold(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(f"this doesn't hold: {rule}")
