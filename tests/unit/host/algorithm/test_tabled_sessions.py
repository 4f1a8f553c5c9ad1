"""Sessions in a table before an SQLite file: several hosts on it, by turns and one after the other; what spoils it."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tabled_rig import ALGORITHM, MAX_BYTES, TTL_S
from tabled_rig import TabledHost as Host

from procvision_host.algorithm.session_table import (
    CARRIED_AT,
    CARRIER,
    FIRST_AT,
    HALF_BYTES,
    SLOTS,
    STATE,
    TABLE_BYTES,
    SessionTable,
    half_at,
    packed,
    set_of,
)
from procvision_host.algorithm.sessions import StoreFailedError
from procvision_host.builtin.sqlite_store import SqliteSessionStore
from procvision_host.halves.table_sessions import CORE
from procvision_sdk.compiled import compiled
from procvision_sdk.errors import CallRefusedError


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, for both halves."""
    clock = [1_700_000_000.0]
    monkeypatch.setattr("procvision_host.halves.table_sessions.time", lambda: clock[0])
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def kind_of(refusal: CallRefusedError) -> str:
    return refusal.kind


# --- what is promised -----------------------------------------------------------------------------------------

IDS = ["a", "b", "é" * 200, "c/" + "x" * 250, *(f"n{number}" for number in range(90))]
STATES = st.sampled_from([b"{}", b'{"n":1}', b"x" * 900, b"y" * 1100, b"z" * (HALF_BYTES - 700), b"w" * 20_000])


KINDS = ("python", "compiled") if compiled(CORE) else ("python",)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_hosts_on_one_file_are_as_one_that_never_dies(  # noqa: PLR0912, PLR0915 - one deed a branch
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever they do by turns, and killed at any time: what was kept last is found, of two at once one counts."""
    # The compiled form looks at the clock itself.
    now = [1_700_000_000.0 if kind == "python" else time.time()]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("procvision_host.halves.table_sessions.time", lambda: now[0])
        path = tmp_path_factory.mktemp("model") / "s.db"
        durable = [data.draw(st.sampled_from(["normal", "normal", "full"])) for _ in range(3)]
        kinds = [kind if durability == "normal" else "python" for durability in durable]
        hosts = [Host(path, now, durability=one, kind=kind) for one, kind in zip(durable, kinds, strict=True)]
        kept: dict[str, tuple[int, float, bytes]] = {}
        based: dict[int, tuple[str, int]] = {}
        number = 0
        some = data.draw(st.sampled_from([IDS[:4], IDS]))

        def there(name: str) -> int:
            found = kept.get(name)
            return 0 if found is None or found[1] < now[0] - TTL_S else found[0]

        for _ in range(data.draw(st.integers(5, 60))):
            which = data.draw(st.integers(0, 2))
            host, name = hosts[which], data.draw(st.sampled_from(some))
            match data.draw(st.integers(0, 11)):
                case 0 | 1 | 2 | 3:
                    found = host.cell.load(name)
                    assert found == (kept[name][2] if there(name) else None)
                    based[which] = (name, there(name))
                case 4 | 5 | 6 | 7:
                    loaded, base = based.get(which, ("", 0))
                    name, state = loaded or name, data.draw(STATES)
                    base = base if loaded else 0
                    at = kept[name][0] if name in kept else 0
                    try:
                        host.cell.save(name, state)
                    except CallRefusedError as refusal:
                        assert refusal.kind == "session_in_use"
                        # Over, or as it was loaded: of a session that is both either may be said.
                        assert base != there(name)
                        host.cell.load(name)
                        based[which] = (name, there(name))
                    else:
                        assert base in {there(name), at}
                        number += 1
                        kept[name] = (number, now[0], state)
                        based[which] = (name, number)
                case 8:
                    deed = data.draw(st.sampled_from(["end", "delete"]))
                    getattr(host.cell, deed)(name)
                    kept.pop(name, None)
                    if based.get(which, ("",))[0] == name:
                        host.cell.load(name)
                        based[which] = (name, 0)
                case 9:
                    host.carry()
                case 10:
                    now[0] += 0 if kind == "compiled" else data.draw(st.sampled_from([0.1, TTL_S + 1]))
                case _:
                    host.kill() if data.draw(st.booleans()) else host.close()
                    hosts[which] = Host(path, now, durability=durable[which], kind=kinds[which])
                    based.pop(which, None)
        for host in hosts:
            for name in kept:
                assert host.cell.load(name) == (kept[name][2] if there(name) else None)
        for host in hosts:
            host.close()
        # What is in the file now is all of it.
        alone = Host(path, now)
        alone.file.unlink()
        with contextlib.closing(SqliteSessionStore(path, ttl_s=TTL_S, clock=lambda: now[0])) as store:
            for name in kept:
                row = store.load(f"{ALGORITHM}/{name}")
                assert (row is not None) == bool(there(name))
        alone.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_expires_in_the_table(path: Path, kind: str) -> None:
    """And is begun again by the same id; one that is saved now and then goes on."""
    host = Host(path, [time.time()], kind=kind, ttl_s=0.2)
    host.half._clock = time.time
    host.cell.load("s")
    for number in range(4):
        host.cell.save("s", b"%d" % number)
        time.sleep(0.1)
        assert host.cell.load("s") == b"%d" % number
    time.sleep(0.15)
    assert host.cell.load("s") is None
    host.cell.save("s", b"anew")
    assert host.cell.load("s") == b"anew"
    host.close()


@pytest.mark.skipif(len(KINDS) < 2, reason="no C compiler was there at the installation")
def test_both_forms_write_the_same_and_see_what_the_other_wrote(path: Path) -> None:
    """Byte for byte, but for the stamp and the time."""
    now = [time.time()]
    one, other = Host(path, now), Host(path, now, kind="compiled")
    sizes = [0, 1, 100, 1000, HALF_BYTES - 100, HALF_BYTES - 45, HALF_BYTES - 41, HALF_BYTES - 40, HALF_BYTES]
    for name in ("s", "é" * 100, "x" * 256):
        for number, size in enumerate(sizes):
            for host in (one, other):
                host.cell.load(name)
                host.cell.save(name, b"%d" % (number % 10) * size)
                found = host.half._table.find(name.encode())
                if found is not None:
                    half = found.half
                    record = packed(*half[:6], half.state)
                    place = half_at(found.number, half.version % 2)
                    assert os.pread(host.half._file.mine, len(record), place) == record
                    assert half.mark == one.half.mark
            assert one.cell.load(name) == other.cell.load(name) == b"%d" % (number % 10) * size
    one.close()
    other.close()


@pytest.mark.skipif(len(KINDS) < 2, reason="no C compiler was there at the installation")
@pytest.mark.parametrize("spoilt", ["slot", "version", "stamp", "saved_at_ms", "name", "own", "other", "state", "base"])
def test_what_an_algorithm_does_to_our_objects_crashes_nothing(path: Path, now: list[float], spoilt: str) -> None:
    """Values of any kind and size, wherever the compiled form looks."""
    for value in (None, -1, 2**63, 2**70, 1.5, "x", b"", b"x" * 39, [], (1,), ("s",), ("s", None), ("s", -1)):
        host = Host(path, now, kind="compiled")
        host.cell.load("s")
        host.cell.save("s", b"1")
        cell = host.cell.end.__self__
        if spoilt == "base":
            cell._base = value
        else:
            setattr(cell._known["s"], spoilt, value)
        with contextlib.suppress(Exception):
            host.cell.save("s", b"2")
        with contextlib.suppress(Exception):
            host.cell.load("s")
        host.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_session_is_no_question(path: Path, now: list[float], kind: str) -> None:
    """Neither its load nor its save, nor its end; and another host sees each."""
    now[0] = time.time()
    one, other = Host(path, now), Host(path, now, kind=kind)
    assert one.cell.load("s") is None
    assert other.cell.load("s") is None
    asked = [one.channel.asked, other.channel.asked]
    for number in range(20):
        host = (one, other)[number % 2]
        before = host.cell.load("s")
        assert before == (b"%d" % (number - 1) if number else None)
        host.cell.save("s", b"%d" % number)
    one.cell.end("s")
    assert other.cell.load("s") is None
    assert [one.channel.asked, other.channel.asked] == asked
    one.close()
    other.close()


@pytest.mark.parametrize("beyond", [HALF_BYTES, MAX_BYTES + 1])
def test_a_state_without_room_in_the_table_is_the_stores(path: Path, now: list[float], beyond: int) -> None:
    """Up to the bound, beyond which the state before stays."""
    host = Host(path, now)
    host.cell.load("s")
    host.cell.save("s", b"before")
    if beyond > MAX_BYTES:
        with pytest.raises(CallRefusedError, match="the bound is"):
            host.cell.save("s", b"x" * beyond)
        assert host.cell.load("s") == b"before"
    else:
        host.cell.save("s", b"x" * beyond)
        assert Host(path, now).cell.load("s") == b"x" * beyond
        host.cell.load("s")
        host.cell.save("s", b"small again")
        assert Host(path, now).cell.load("s") == b"small again"
    host.close()


def test_a_host_with_another_secret_reads_nothing(path: Path, now: list[float]) -> None:
    """Neither in the store nor what is still on its way there; a reset clears it."""
    one, other = Host(path, now), Host(path, now, secret=b"t" * 32)
    one.cell.load("s")
    one.cell.save("s", b"1")
    for _ in range(2):
        with pytest.raises(CallRefusedError, match="another secret") as caught:
            other.cell.load("s")
        assert caught.value.kind == "session_store"
        other.carry()
        assert one.cell.load("s") == b"1"
        one.carry()
    other.cell.delete("s")
    assert other.cell.load("s") is None
    one.close()
    other.close()


# --- what is not as it should be ------------------------------------------------------------------------------


def test_whatever_an_algorithm_writes_into_the_table_harms_no_host(  # noqa: PLR0915
    path: Path, now: list[float]
) -> None:
    """Bytes of any kind, lengths beyond all, while they are read: its own sessions may be lost, nothing else."""
    dice = random.Random(7)
    store = SqliteSessionStore(path)
    store.put("another/s", (1, int(now[0] * 1000), b"another algorithm's"))
    store.close()
    host = Host(path, now)
    attacker = os.open(host.file, os.O_RDWR)
    ending = threading.Event()

    def attack() -> None:
        numbers = [0, 1, 2, 3, 5, 2**16 - 1, 2**31, 2**32 - 1, 2**56, 2**62 - 1, 2**62, 2**63, 2**64 - 1]
        while not ending.is_set():
            slot, which = dice.randrange(SLOTS), dice.randrange(2)
            name = dice.choice([b"s", b"t", b"../x", b"\xff\xfe", b"", b"another/s", b"n" * 60_000])
            match dice.randrange(5):
                case 0:
                    data = dice.randbytes(dice.choice([1, 40, 300, HALF_BYTES]))
                case 1:
                    data = b"".join(dice.choice(numbers).to_bytes(8, "little") for _ in range(8))
                case 2:
                    data = packed(
                        dice.choice(numbers), dice.choice(numbers), dice.choice(numbers), 1, STATE, name[:99], b"{}"
                    )
                case 3:
                    version = 2 * dice.choice([1, 7, 2**60]) + which
                    kind = dice.randrange(7)
                    data = packed(
                        version, dice.choice(numbers[:8]), dice.choice(numbers), host.half.mark, kind, name[:99], b"["
                    )
                case _:
                    data = b"".join(dice.choice(numbers).to_bytes(8, "little") for _ in range(SLOTS))
                    os.pwrite(attacker, data, CARRIED_AT)
                    continue
            os.pwrite(attacker, data, half_at(slot, which))

    writer = threading.Thread(target=attack)
    writer.start()
    try:
        for number in range(400):
            for sessions in (host.cell, host.half):
                name = dice.choice(["s", "t", f"n{number}"])
                with contextlib.suppress(CallRefusedError):
                    sessions.load(name)
                    sessions.save(name, b"{}")
            host.carry()
    finally:
        ending.set()
        writer.join()
    for bad in (b"", b"x" * 10):
        os.ftruncate(attacker, len(bad))
        host.carry()
        with contextlib.suppress(CallRefusedError):
            host.cell.load("s")
            host.cell.save("s", b"{}")
    os.close(attacker)
    assert host.store.row("another/s") == (1, int(now[0] * 1000), b"another algorithm's")
    host.close()
    fresh = Host(path, now)
    fresh.cell.load("fresh")
    fresh.cell.save("fresh", b"{}")
    assert fresh.cell.load("fresh") == b"{}"
    fresh.close()


@pytest.mark.parametrize("at", [0, 3, 20, 39, 40, 45, 60, 400])
def test_a_writer_that_is_killed_leaves_what_was_there(path: Path, now: list[float], at: int) -> None:
    """Wherever its write was cut off."""
    host = Host(path, now)
    host.cell.load("s")
    host.cell.save("s", b"told")
    slot = host.half._table.find(b"s")
    assert slot is not None
    record = packed(slot.half.version + 1, 99, 10**14, host.half.mark, STATE, b"s", b"x" * 500)
    os.pwrite(host.handed[0], record[:at], half_at(slot.number, (slot.half.version + 1) % 2))
    assert host.cell.load("s") == b"told"
    host.kill()
    after = Host(path, now)
    assert after.cell.load("s") == b"told"
    after.cell.save("s", b"more")
    assert after.cell.load("s") == b"more"
    after.close()


def test_a_host_starts_while_another_one_carries(path: Path, now: list[float]) -> None:
    """Or while an algorithm holds that lock: it waits a while, and sees what was told."""
    first = Host(path, now)
    first.cell.load("s")
    first.cell.save("s", b"told")
    holder = SessionTable(os.open(first.file, os.O_RDWR), 1.0)
    assert holder.try_lock(CARRIER)
    second = Host(path, now)
    assert second.cell.load("s") == b"told"
    os.close(holder.descriptor)
    second.close()
    first.close()


@pytest.mark.parametrize("number", [set_of(b"s"), CARRIER])
def test_a_lock_that_is_never_given_back_is_an_error_that_may_pass(path: Path, now: list[float], number: int) -> None:
    """Nobody waits for ever, and the host goes on once it is free."""
    host = Host(path, now)
    host.cell.load("s")
    holder = SessionTable(os.open(host.file, os.O_RDWR), 1.0)
    assert holder.try_lock(number)
    host.carry()
    with pytest.raises(CallRefusedError) as caught:
        host.cell.save("s", b"x" * (20_000 if number == CARRIER else 1))
    assert caught.value.retryable
    os.close(holder.descriptor)
    host.cell.load("s")
    host.cell.save("s", b"1")
    assert host.cell.load("s") == b"1"
    host.close()


@pytest.mark.parametrize("gone", ["table", "store", "both"])
def test_what_was_removed_is_an_error(path: Path, now: list[float], gone: str) -> None:
    """What would be kept there nobody would find."""
    host = Host(path, now)
    host.cell.load("s")
    host.cell.save("s", b"1")
    if gone != "store":
        host.file.unlink()
    if gone != "table":
        path.unlink()
        host.carry()
    with pytest.raises(CallRefusedError, match="was removed") as caught:
        host.cell.save("s", b"2")
    assert not caught.value.retryable
    host.close()


@pytest.mark.parametrize("deed", ["close", "another file"])
def test_a_descriptor_that_the_algorithm_took_is_left_to_it(path: Path, now: list[float], deed: str) -> None:
    """The host half is asked from then on, and nothing is written into a vendor's file."""
    host = Host(path, now)
    host.cell.load("s")
    host.cell.save("s", b"1")
    (descriptor,) = host.handed
    if deed == "close":
        os.close(descriptor)
        host.handed.clear()
    else:
        other = os.open(path.with_name("vendor"), os.O_RDWR | os.O_CREAT)
        os.dup2(other, descriptor)
        os.close(other)
    for number in range(2, 5):
        assert host.cell.load("s") == b"%d" % (number - 1)
        host.cell.save("s", b"%d" % number)
    assert not path.with_name("vendor").exists() or path.with_name("vendor").stat().st_size == 0
    host.close()


def test_a_store_that_takes_nothing_is_the_calls_error_until_it_does(path: Path, now: list[float]) -> None:
    """What was told before waits in the table, also for the next host."""
    import sqlite3

    host = Host(path, now)
    host.cell.load("s")
    host.cell.save("s", b"told")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    host.carry()
    assert host.cell.load("s") == b"told"
    with pytest.raises(CallRefusedError, match="locked") as caught:
        host.cell.save("s", b"more")
    assert caught.value.retryable
    blocker.execute("ROLLBACK")
    blocker.close()
    host.carry()
    host.cell.load("s")
    host.cell.save("s", b"more")
    host.kill()
    after = Host(path, now)
    assert after.cell.load("s") == b"more"
    after.close()


def test_after_a_power_cut_the_later_of_both_counts(path: Path, now: list[float]) -> None:
    """The table's pages and the store's may have reached the disk in any order."""
    host = Host(path, now)
    for name in ("older", "newer"):
        host.cell.load(name)
        host.cell.save(name, b"in the table")
    stamps = {name: int(now[0] * 1000) + shift for name, shift in (("older", 10_000), ("newer", -10_000))}
    host.carry()
    for name, saved_at_ms in stamps.items():
        found = host.half._table.find(name.encode())
        assert found is not None
        host.half._table.note_carried(found.number, 0)
        row = host.store.row(f"{ALGORITHM}/{name}")
        assert row is not None
        host.store.put(f"{ALGORITHM}/{name}", (7, saved_at_ms, row[2]))
    table = host.file
    host.kill()
    with table.open("r+b") as file:
        file.seek(40)
        file.write(b"another boot".ljust(36))
    after = Host(path, now)
    stamp = {name: (after.store.row(f"{ALGORITHM}/{name}") or (0,))[0] for name in stamps}
    assert stamp["older"] == 7
    assert stamp["newer"] != 7
    after.close()


@pytest.mark.parametrize("spoilt", ["cut", "random", "missing", "another"])
def test_a_table_that_is_none_is_made_anew(path: Path, now: list[float], spoilt: str) -> None:
    """What was carried is in the store."""
    host = Host(path, now)
    host.cell.load("s")
    host.cell.save("s", b"1")
    table = host.file
    host.close()
    if spoilt == "missing":
        table.unlink()
    elif spoilt == "cut":
        os.truncate(table, 100)
    else:
        data = b"\xa5" * 4096 if spoilt == "random" else table.read_bytes()[:32] + b"\x07" * 8
        with table.open("r+b") as file:
            file.write(data)
    after = Host(path, now)
    assert table.stat().st_size == TABLE_BYTES > FIRST_AT
    assert after.cell.load("s") == b"1"
    after.close()


@pytest.mark.parametrize("foreign", ["mode", "link", "folder", "fifo"])
def test_a_file_in_the_tables_place_that_is_not_the_owners_alone_stops_the_host(
    path: Path, now: list[float], foreign: str
) -> None:
    """At its start, named."""
    host = Host(path, now)
    table = host.file
    host.close()
    if foreign == "mode":
        table.chmod(0o666)
    elif foreign == "link":
        table.rename(table.with_name("elsewhere"))
        table.symlink_to(table.with_name("elsewhere"))
    else:
        table.unlink()
        table.mkdir() if foreign == "folder" else os.mkfifo(table)
    with pytest.raises(StoreFailedError, match=r"\.table"):
        Host(path, now)


def test_a_file_that_others_may_use_has_no_table(path: Path, now: list[float]) -> None:
    """Others could not open it: then no host has one."""
    SqliteSessionStore(path).close()
    path.chmod(0o660)
    with pytest.raises(AssertionError):
        Host(path, now)
    assert not list(path.parent.glob("*.table"))
