"""PostgreSQL behind a projection: connections that notice when nobody answers any more.

A server that is frozen, or whose machine is gone, closes no connection: its kernel answers, or nobody does, and a query
would wait for ever. TCP's keepalives and its user timeout notice a machine that is gone, a deadline of our own one that
is frozen: the connection is closed then, and the next one finds out whether the server is back.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.waiting import Ready

if TYPE_CHECKING:
    from sqlalchemy import Engine

CONNECT_S = 5
"""So long a server may take to answer at all."""
STATEMENT_MS = 10_000
"""A page's query that takes longer is ended by the server: each one is bounded, and takes some milliseconds."""
READER_S, WRITER_S = 15.0, 120.0
"""So long a server may keep silent within one question of a page, and within one statement of the projector."""
KEEPALIVES = {
    "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 11_000,
}  # fmt: skip
"""libpq's words: a peer that is gone is noticed after 11 s. Over a Unix socket they mean nothing."""

_T = TypeVar("_T")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which each wait for the server has an end."""

    within_s = WRITER_S

    def wait(self, gen: Generator[Any, Any, _T], *arguments: Any, **options: Any) -> _T:
        """Wait as psycopg does. Raises OperationalError, and is closed, after `within_s` without the end of it."""
        return super().wait(_bounded(gen, self), *arguments, **options)


class ReaderConnection(BoundedConnection):
    """The same, of a page."""

    within_s = READER_S


def _bounded(gen: Generator[Any, Any, _T], connection: BoundedConnection) -> Generator[Any, Any, _T]:
    """Do what a generator of psycopg's does, until it takes too long: psycopg looks at the clock ten times a second."""
    until = time.monotonic() + connection.within_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and time.monotonic() > until:
                gen.close()
                connection.pgconn.finish()
                raise psycopg.OperationalError(f"it has not answered for {connection.within_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as ended:
        answer: _T = ended.value
        return answer


def make_engine(url: str, *, writes: bool) -> Engine:
    """Return SQLAlchemy's engine for a server."""
    from sqlalchemy import create_engine, event

    options = f"-c timezone=UTC -c statement_timeout={0 if writes else STATEMENT_MS}"
    engine = create_engine(
        url, connect_args={"connect_timeout": CONNECT_S, "options": options, **KEEPALIVES}, pool_pre_ping=True
    )
    kind = BoundedConnection if writes else ReaderConnection

    def connect(_: Any, __: Any, arguments: Any, named: Any) -> Any:
        return kind.connect(*arguments, **named)

    event.listen(engine, "do_connect", connect)
    return engine if writes else engine.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
