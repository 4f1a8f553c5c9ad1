"""The conformance check: the stores in the box pass it, wrong ones don't."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from procvision_host.builtin.memory_store import MemorySessionStore
from procvision_host.builtin.sqlite_store import SqliteSessionStore
from procvision_sdk.session import SessionInUseError, SessionStoreError
from procvision_testing import check_session_store


def test_memory_store_holds() -> None:
    """Alone, since it is one host's."""
    store = MemorySessionStore()

    def damage(session_id: str) -> None:
        store.save(session_id, store.load(session_id)[:-1])  # type: ignore[index]

    check_session_store(
        lambda: store,
        shared=False,
        open_expiring=lambda seconds: MemorySessionStore(ttl_s=seconds),
        damage=damage,
    )


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_sqlite_store_holds(tmp_path: Path, durability: str) -> None:
    """Shared by several."""
    path = tmp_path / "sessions.db"

    def damage(session_id: str) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE sessions SET state = substr(state, 1, 30) WHERE id = ?", (session_id,))

    check_session_store(
        lambda: SqliteSessionStore(path, durability=durability),
        open_expiring=lambda seconds: SqliteSessionStore(path, ttl_s=seconds),
        damage=damage,
    )


# --- the check can fail -------------------------------------------------------------------------------------


class FoldsCase(MemorySessionStore):
    def load(self, session_id: str) -> bytes | None:
        return super().load(session_id.lower())

    def save(self, session_id: str, state: bytes) -> None:
        super().save(session_id.lower(), state)


class CutsIds(MemorySessionStore):
    def load(self, session_id: str) -> bytes | None:
        return super().load(session_id[:255])

    def save(self, session_id: str, state: bytes) -> None:
        super().save(session_id[:255], state)


class Forgets(MemorySessionStore):
    def save(self, session_id: str, state: bytes) -> None:
        pass


class KeepsDeleted(MemorySessionStore):
    def delete(self, session_id: str) -> None:
        pass


class KeepsText(MemorySessionStore):
    def save(self, session_id: str, state: bytes) -> None:
        super().save(session_id, state.decode("utf-8", "replace").encode())


class CutsLarge(MemorySessionStore):
    def save(self, session_id: str, state: bytes) -> None:
        super().save(session_id, state[: 1 << 20])


class Keeps(MemorySessionStore):
    """The file that two stores share, without a look at who was there before."""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("wrong", [FoldsCase, CutsIds, Forgets, KeepsDeleted, KeepsText, CutsLarge])
def test_a_wrong_store_is_found(wrong: Callable[[], MemorySessionStore]) -> None:
    """One store per way of being wrong."""
    store = wrong()
    with pytest.raises(AssertionError):
        check_session_store(lambda: store, shared=False)


def test_a_store_that_loses_updates_is_found() -> None:
    """Two hosts that overwrite each other are what `shared` is about."""
    store = Keeps()
    with pytest.raises(AssertionError, match="a save over what another host saved since the load is refused"):
        check_session_store(lambda: store)


def test_a_store_that_refuses_by_another_name_is_found(tmp_path: Path) -> None:
    """Only one name tells a host that the call may be made again on what the other left."""

    class Renames(SqliteSessionStore):
        def save(self, session_id: str, state: bytes) -> None:
            try:
                super().save(session_id, state)
            except SessionInUseError as error:
                raise SessionStoreError(str(error)) from None

    with pytest.raises(AssertionError, match="with SessionInUseError"):
        check_session_store(lambda: Renames(tmp_path / "sessions.db"))


def test_a_store_that_never_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waited for as long as the check's patience."""
    monkeypatch.setattr("procvision_testing.stores.PATIENCE_S", 0.5)
    store = MemorySessionStore()
    with pytest.raises(AssertionError, match="over"):
        check_session_store(lambda: store, shared=False, open_expiring=lambda _: MemorySessionStore())


def test_a_store_that_gives_what_was_spoilt_is_found() -> None:
    """Damage that wasn't done is damage that isn't seen."""
    store = MemorySessionStore()
    with pytest.raises(AssertionError, match="spoilt"):
        check_session_store(lambda: store, shared=False, damage=lambda _: None)


class Served(MemorySessionStore):
    """A store whose server may be away."""

    away = False

    def take_away(self) -> None:
        self.away = True

    def bring_back(self) -> None:
        self.away = False

    def must_be_there(self) -> None:
        if self.away:
            raise SessionStoreError("the server is away", retryable=True)

    def load(self, session_id: str) -> bytes | None:
        self.must_be_there()
        return super().load(session_id)

    def save(self, session_id: str, state: bytes) -> None:
        self.must_be_there()
        super().save(session_id, state)


class TakesAwayForNew(Served):
    def load(self, session_id: str) -> bytes | None:
        return None if self.away else super().load(session_id)


class DropsSavings(Served):
    def save(self, session_id: str, state: bytes) -> None:
        if not self.away:
            super().save(session_id, state)


class GivesUp(Served):
    def must_be_there(self) -> None:
        if self.away:
            raise SessionStoreError("the server is away")


class RaisesAnything(Served):
    def must_be_there(self) -> None:
        if self.away:
            raise ConnectionError("away")


class NeverConnectsAgain(Served):
    was_away = False

    def must_be_there(self) -> None:
        self.was_away = self.was_away or self.away
        if self.was_away:
            raise SessionStoreError("the connection is closed", retryable=True)


class ComesBackEmpty(Served):
    def bring_back(self) -> None:
        super().bring_back()
        self._states.clear()


def test_a_store_whose_server_was_away_holds() -> None:
    """It fails the calls of the outage, and no other."""
    store = Served()
    check_session_store(lambda: store, shared=False, outage=(store.take_away, store.bring_back))


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (TakesAwayForNew, "load in an outage raises a SessionStoreError that is retryable, here it gives None"),
        (DropsSavings, "save in an outage raises"),
        (GivesUp, "that is retryable, not SessionStoreError"),
        (RaisesAnything, "not ConnectionError"),
        (NeverConnectsAgain, "after an outage the next call works"),
        (ComesBackEmpty, "what was saved before an outage is there after it, here it is None"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_store_that_is_wrong_about_an_outage_is_found(wrong: Callable[[], Served], rule: str) -> None:
    """A server that is down must not make new sessions of those that were begun."""
    store = wrong()
    with pytest.raises(AssertionError, match=rule):
        check_session_store(lambda: store, shared=False, outage=(store.take_away, store.bring_back))
