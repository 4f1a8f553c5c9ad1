"""MCP over stdin and stdout, as an agent speaks to its tools: a ping, and a tool that is given a call.

Pictures aren't sent: the protocol would have them in base64 within JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.floors import payload
from benchmarks.measure import Once

ROOT = Path(__file__).parents[2]


async def _connected(session_ready: asyncio.Future[Any], leave: asyncio.Event) -> None:
    """Hold a session open: it has to be left by the task that entered it."""
    from mcp import ClientSession, StdioServerParameters, stdio_client

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "benchmarks.peers.mcp_server"], env=environment
    )
    try:
        async with stdio_client(parameters) as (reading, writing), ClientSession(reading, writing) as session:
            await session.initialize()
            session_ready.set_result(session)
            await leave.wait()
    except BaseException as error:
        if session_ready.done():
            raise
        session_ready.set_exception(error)


@contextmanager
def _asked(ask: Callable[[Any], Awaitable[object]]) -> Iterator[Once]:
    """Asks a server's session each time, on one event loop."""
    loop = asyncio.new_event_loop()
    ready: asyncio.Future[Any] = loop.create_future()
    leave = asyncio.Event()
    holding = loop.create_task(_connected(ready, leave))
    try:
        session = loop.run_until_complete(ready)
        yield lambda: loop.run_until_complete(ask(session))
    finally:
        leave.set()
        loop.run_until_complete(holding)
        loop.close()


@contextmanager
def ping(_width: int, _height: int) -> Iterator[Once]:
    """The protocol's own question."""
    with _asked(lambda session: session.send_ping()) as once:
        yield once


@contextmanager
def tool(_width: int, _height: int) -> Iterator[Once]:
    """A tool that is called with what our runner sends, and answers as our host."""
    fields = {"fields": payload(0, 0)}

    async def ask(session: Any) -> None:
        result = await session.call_tool("call", fields)
        if result.is_error:
            raise RuntimeError(f"the tool failed: {result.content}")

    with _asked(ask) as once:
        yield once
