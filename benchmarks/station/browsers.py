"""`python -m benchmarks.station.browsers HOST PORT TOKEN STALLED BUSY`: browsers of a page, until they are ended.

Stalled ones open the live stream and read nothing of it. Busy ones ask for history and lines without a pause, and one
more exports all products, again and again. It prints a line when all of them are at work.

A browser runs on a machine of its own. Here they take what is left of the processor.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from procvision_station.companions import give_way

QUESTIONS = ("/api/products?limit=500", "/api/lines", "/api/statistics/counts?by=quarter", "/api/labels")
HEAVY = "/api/export/products.json"


async def main(host: str, port: int, token: str, stalled: int, busy: int) -> None:
    """Run all of them."""

    def request(path: str, kind: str = "application/json") -> bytes:
        lines = (f"GET {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {token}", f"Accept: {kind}")
        return "\r\n".join((*lines, "Connection: close", "", "")).encode()

    async def stall() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection(host, port, limit=1024)
        writer.write(request("/api/live", "text/event-stream"))
        assert b" 200 " in await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        return writer

    async def ask(path: str) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request(path))
        first = await reader.readline()
        while await reader.read(65536):
            pass
        writer.close()
        assert b" 200 " in first, first

    async def keep_asking(number: int) -> None:
        while True:
            with contextlib.suppress(ConnectionError):
                await ask(QUESTIONS[number % len(QUESTIONS)] if number < busy else HEAVY)

    held = await asyncio.gather(*(stall() for _ in range(stalled)))
    asking = [asyncio.create_task(keep_asking(number)) for number in range(busy + 1)]
    await asyncio.gather(*(ask(path) for path in QUESTIONS))
    print(f"{len(held)} stalled, {busy} busy", flush=True)
    await asyncio.gather(*asking)


if __name__ == "__main__":
    give_way(19)
    _, address, at, secret, *counts = sys.argv
    asyncio.run(main(address, int(at), secret, int(counts[0]), int(counts[1])))
