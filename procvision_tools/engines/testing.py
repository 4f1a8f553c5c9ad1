"""A check for engines of one's own: it raises AssertionError with what does not hold.

def test_our_engine(tmp_path):
    check_engine(OurEngine(2), tmp_path)
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from procvision_tools.engines.protocol import MAX_TRIES, Done, Engine, Lost, Stop, Worked

STOP_WITHIN_S = 15.0
"""After a map was cancelled: the example's picture takes a tenth of a second."""
PICTURE_S = 0.1
_LISTEN = "0A"


class ExampleError(Exception):
    """What the example's work raises."""


@frozen
class Example:
    """A work that squares numbers, and goes wrong as it is told. What happens is noted as files in a folder."""

    folder: Path
    wrong: Literal["", "raises", "breaks", "dies once", "dies always", "takes long", "can't open"] = ""
    on: int = -1
    """The shard that it goes wrong on."""

    @contextmanager
    def open(self) -> Iterator[Worked]:
        """Note that it is opened, and closed."""
        if self.wrong == "can't open":
            raise ExampleError("it can't be opened")
        self._note("opened")
        try:
            yield self._worked
        finally:
            self._note("closed")

    def _worked(self, shard: int, stop: Stop) -> tuple[int, int]:
        self._note(f"begun-{shard}")
        if shard == self.on:
            self._go_wrong(shard, stop)
        return shard * shard, os.getpid()

    def _go_wrong(self, shard: int, stop: Stop) -> None:
        if self.wrong == "raises":
            raise ExampleError(f"shard {shard} can't be done")
        if self.wrong == "breaks":
            raise ConnectionResetError(f"the place of shard {shard} is gone")
        tries = len(list(self.folder.glob(f"begun-{shard}.*")))
        if self.wrong == "dies always" or (self.wrong == "dies once" and tries == 1):
            os._exit(7)
        while self.wrong == "takes long" and not stop():
            time.sleep(PICTURE_S)
        if self.wrong == "takes long":
            self._note("stopped")

    def _note(self, what: str) -> None:
        self.folder.joinpath(f"{what}.{os.getpid()}.{time.monotonic_ns()}").touch()


def check_engine(engine: Engine, folder: Path, *, address: str | None = "127.0.0.1", deaths: bool = True) -> None:
    """Check an engine of two workers or more, which are processes of this machine, on a folder that they can write.

    All ports that its processes listen on must be of ``address``: of a loopback address, any of loopback; None looks at
    no port. Without ``deaths`` no worker dies: where workers take long to start, this is the check for every day.
    """
    before = listening_addresses()
    with engine:
        deadly = (_a_death, _a_killer) if deaths else ()
        for check in (_all_once, _empty, _raised, _not_opened, *deadly, _cancelled, _left_early, _all_once):
            place = folder / f"{check.__name__.strip('_')}-{time.monotonic_ns()}"
            place.mkdir()
            check(engine, place)
        opened = listening_addresses() - before if address is not None else set()
        strange = [at for at in opened if not _allowed(at, str(address))]
        assert not strange, f"ports are open on {', '.join(strange)}, beside {address}"


def _mapped(engine: Engine, work: Example, shards: Sequence[int]) -> list[Done | Lost]:
    return list(engine.map(work, shards, threading.Event()))


def _squares(outcomes: Sequence[Done | Lost]) -> dict[int, int]:
    numbers = [outcome.number for outcome in outcomes]
    assert len(set(numbers)) == len(numbers), f"a shard has two outcomes: {sorted(numbers)}"
    return {outcome.number: outcome.result[0] for outcome in outcomes if isinstance(outcome, Done)}


def _all_once(engine: Engine, folder: Path) -> None:
    """Every shard is done once, in other processes, which open the work once and close it."""
    shards = [*range(20), *range(20)]
    outcomes = _mapped(engine, Example(folder), shards)
    assert _squares(outcomes) == {number: shard * shard for number, shard in enumerate(shards)}, "results are wrong"
    begun = list(folder.glob("begun-*"))
    assert len(begun) == len(shards), f"{len(shards)} shards were begun {len(begun)} times"
    workers = {outcome.result[1] for outcome in outcomes if isinstance(outcome, Done)}
    assert os.getpid() not in workers, "a worker is this process: its death would be this one's"
    _wait_for(lambda: _count(folder, "opened") == _count(folder, "closed"), "an opened work was never closed")
    opened = [path.name.split(".")[1] for path in folder.glob("opened.*")]
    assert len(set(opened)) == len(opened), "a worker opened the work twice: nothing stays warm"


def _empty(engine: Engine, folder: Path) -> None:
    """Of no shards there is no outcome."""
    assert _mapped(engine, Example(folder), []) == []


def _raised(engine: Engine, folder: Path) -> None:
    """What the work raises is raised here, as it was, also where it is what an engine's own connection raises."""
    told = _raises(lambda: _mapped(engine, Example(folder, "raises", 3), range(6)), ExampleError)
    assert told == "shard 3 can't be done", f"the work's exception became {told!r}"
    told = _raises(lambda: _mapped(engine, Example(folder, "breaks", 3), range(6)), ConnectionResetError)
    assert told == "the place of shard 3 is gone", f"the work's exception became {told!r}"


def _not_opened(engine: Engine, folder: Path) -> None:
    """So is what it raises when it is opened."""
    told = _raises(lambda: _mapped(engine, Example(folder, "can't open"), range(3)), ExampleError)
    assert told == "it can't be opened", f"the exception of opening became {told!r}"


def _a_death(engine: Engine, folder: Path) -> None:
    """The shard of a worker that died is done by another."""
    found = _squares(_mapped(engine, Example(folder, "dies once", 4), range(10)))
    assert found == {number: number * number for number in range(10)}, "a worker died, and its shard is missing"


def _a_killer(engine: Engine, folder: Path) -> None:
    """A shard that ends every worker is lost, and no other."""
    outcomes = _mapped(engine, Example(folder, "dies always", 2), range(8))
    assert _squares(outcomes).keys() | {2} == set(range(8)), "shards are missing beside the one that ends workers"
    lost = [outcome for outcome in outcomes if isinstance(outcome, Lost)]
    assert [outcome.number for outcome in lost] == [2], f"lost is shard 2, told were {lost}"
    assert lost[0].reason, "it isn't said why a shard is lost"
    assert len(list(folder.glob("begun-2.*"))) <= MAX_TRIES, "a shard that ends workers is tried too often"


def _cancelled(engine: Engine, folder: Path) -> None:
    """A map that is cancelled ends soon, and stops what it has begun between two pictures."""
    cancelled = threading.Event()

    def cancel() -> None:
        _wait_for(lambda: list(folder.glob("begun-0.*")), "nothing was begun")
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    began = time.monotonic()
    outcomes = list(engine.map(Example(folder, "takes long", 0), range(200), cancelled))
    thread.join()
    assert time.monotonic() - began < 2 * STOP_WITHIN_S, "a cancelled map doesn't end"
    assert 0 not in _squares(outcomes), "a shard that was stopped counts as done"
    _wait_for(lambda: _count(folder, "stopped"), "a cancelled shard was not stopped")
    _wait_for(lambda: _count(folder, "opened") == _count(folder, "closed"), "a cancelled work was never closed")


def _left_early(engine: Engine, folder: Path) -> None:
    """Leaving the iterator cancels, too."""
    outcomes = engine.map(Example(folder, "takes long", 0), range(200), threading.Event())
    assert isinstance(next(outcomes), Done)
    outcomes.close()  # type: ignore[attr-defined]
    _wait_for(lambda: _count(folder, "opened") == _count(folder, "closed"), "a work that was left was never closed")
    begun = len(list(folder.glob("begun-*")))
    time.sleep(3 * PICTURE_S)
    assert len(list(folder.glob("begun-*"))) == begun, "shards are begun after their map was left"


def _raises(called: Callable[[], Any], kind: type[Exception]) -> str:
    try:
        called()
    except kind as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - what is raised in its place is what is asked
        return repr(error)
    return "no exception"


def _count(folder: Path, what: str) -> int:
    return len(list(folder.glob(f"{what}.*")))


def _wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + STOP_WITHIN_S
    while not condition():
        assert time.monotonic() < end, f"{what} within {STOP_WITHIN_S:g} s"
        time.sleep(PICTURE_S / 10)


# --- ports ----------------------------------------------------------------------------------------------------


def listening_addresses() -> set[str]:
    """Return `HOST:PORT` of each TCP port on which this process or one below it listens (Linux)."""
    sockets = _sockets_of(_family(os.getpid()))
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/self/net", table).read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in sockets:
                packed, _, port = fields[1].partition(":")
                words = [int(packed[at : at + 8], 16) for at in range(0, len(packed), 8)]
                host = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
                found.add(f"{host}:{int(port, 16)}")
    return found


def _allowed(found: str, address: str) -> bool:
    host, wanted = (ipaddress.ip_address(text) for text in (found.rpartition(":")[0], address))
    return host == wanted or (wanted.is_loopback and host.is_loopback)


def _family(process_id: int) -> set[int]:
    """Return a process and all below it."""
    found, waiting = set(), [process_id]
    while waiting:
        here = waiting.pop()
        found.add(here)
        for task in _listed(Path("/proc", str(here), "task")):
            try:
                waiting += map(int, (task / "children").read_text("ascii").split())
            except OSError:
                continue
    return found


def _sockets_of(process_ids: set[int]) -> set[str]:
    """Return the inodes of their sockets."""
    found = set()
    for process_id in process_ids:
        for descriptor in _listed(Path("/proc", str(process_id), "fd")):
            try:
                goal = str(descriptor.readlink())
            except OSError:
                continue
            if goal.startswith("socket:["):
                found.add(goal[len("socket:[") : -1])
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
