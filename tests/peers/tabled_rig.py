"""Both halves of a host with sessions in a table before an SQLite file, without the processes around them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from procvision_host.algorithm.tabled_sessions import TabledSessions, with_table
from procvision_host.builtin.sqlite_store import SqliteSessionStore
from procvision_host.halves.ring import Ring
from procvision_host.halves.table_sessions import TableSessions

TTL_S = 100.0
MAX_BYTES = 40_000
ALGORITHM = "steps"


class Channel:
    """The questions of a cell, answered by the host half's code without the pipes between them."""

    def __init__(self, half: TabledSessions) -> None:
        self.half = half
        self.asked = 0

    def begin(self, *question: Any) -> None:
        pass

    def ask(self, name: str, *values: Any) -> Any:
        self.asked += 1
        answer = getattr(self.half, name)(*values)
        return list(answer) if isinstance(answer, tuple) else answer


class Compiled:
    """A cell's sessions as the compiled core has them."""

    def __init__(self, cell: TableSessions) -> None:
        self.load = cell.short_way(lambda *_: None).load
        self.save = getattr(self.load, "__self__").save  # noqa: B009 - a method's object
        self.end, self.delete = cell.end, cell.delete


class TabledHost:
    """Both halves of a host on a file, in this process."""

    def __init__(
        self,
        path: Path,
        now: list[float],
        secret: bytes = b"s" * 32,
        durability: str = "normal",
        kind: str = "python",
        ttl_s: float = TTL_S,
    ) -> None:
        self.store = SqliteSessionStore(
            path, ttl_s=ttl_s, busy_ms=50, tabled=True, durability=durability, clock=lambda: now[0]
        )
        handed: list[int] = []
        half, plan = with_table(self.store, MAX_BYTES, algorithm=ALGORITHM, secret=secret, hand_over=handed.append)
        assert isinstance(half, TabledSessions)
        self.half = half
        half._clock = lambda: now[0]
        self.channel = Channel(half)
        self.ring = Ring(64)
        self.handed = handed
        self.cell: Any = half
        if plan:
            self.cell = TableSessions(self.channel, self.ring, handed[0], max_bytes=MAX_BYTES, **plan)  # type: ignore[arg-type]
            if kind == "compiled":
                self.cell = Compiled(self.cell)

    @property
    def file(self) -> Path:
        """The table's."""
        return self.half._file.path

    def carry(self) -> None:
        """As the host half does now and then."""
        self.ring.refuse_table(not self.half.carry_sometimes(self.ring.table_writes))

    def kill(self) -> None:
        """End it as SIGKILL does: nothing is carried, every descriptor is closed."""
        assert self.store._connection is not None
        self.store._connection.close()
        for descriptor in (self.half._file.mine, *self.handed):
            os.close(descriptor)

    def close(self) -> None:
        """End it in good order."""
        self.half.close()
        for descriptor in self.handed:
            os.close(descriptor)
