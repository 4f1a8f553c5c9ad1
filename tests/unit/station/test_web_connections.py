"""A client that is slow, silent or greedy loses its connection, and nobody else's is the worse for it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra station serves the page")

import uvicorn

from procvision_station.web.connections import bounded

BIG = 64 * 1024 * 1024
"""More than the kernel takes for a client that reads nothing."""
MOST_OF_ONE = 12
BOUNDS = {"look_s": 0.02, "header_within_s": 0.5, "body_within_s": 0.5, "stalled_s": 0.6, "most_of_one": MOST_OF_ONE}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was sent, or with a lot."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    size = BIG if scope["path"] in ("/big", "/whole") else 0
    headers = [(b"content-length", str(size or len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    part = bytes(BIG if scope["path"] == "/whole" else 1024 * 1024)
    for place in range(size // len(part)):
        await send({"type": "http.response.body", "body": part, "more_body": place + 1 < size // len(part)})
    if not size:
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port() -> Iterator[int]:
    """A server whose bounds are short."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, http=bounded(proxies=False, **BOUNDS), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = server.force_exit = True
    thread.join(10)
    listener.close()


@contextlib.contextmanager
def connected(port: int, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0)) as client:
        yield client


def answered(client: socket.socket, body: bytes = b"") -> bool:
    """Whether a whole request is answered with what it sent."""
    head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    client.sendall(head + body)
    read = b""
    while not (read.endswith(body) and b"\r\n\r\n" in read):
        part = client.recv(65536)
        if not part:
            return False
        read += part
    return read.startswith(b"HTTP/1.1 200")


def dripped(client: socket.socket, text: bytes, pause_s: float = 0.05) -> bytes | None:
    """What came back before the connection ended, while bytes were sent one by one; None where all were taken."""
    client.settimeout(pause_s)
    read = b""
    for byte in text:
        try:
            client.sendall(bytes([byte]))
            part = client.recv(4096)
            if not part:
                return read
            read += part
        except TimeoutError:
            continue
        except OSError:
            return read
    return None


def test_a_header_or_a_body_that_drips_in_ends_its_connection_alone(port: int) -> None:
    """Slowloris: a byte at a time, for longer than any bound. Others are answered all the while."""
    for beginning, said in (
        (b"", b"HTTP/1.1 400"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n", b""),
    ):
        with connected(port) as client, connected(port) as other:
            client.sendall(beginning)
            seen: list[bytes | None] = []
            slow = threading.Thread(target=lambda client=client, seen=seen: seen.append(dripped(client, b"G" * 400)))
            slow.start()
            asked = 0
            while slow.is_alive():
                assert answered(other, b"x" * 1000)
                asked += 1
            assert asked > 5
            assert seen[0] is not None, "it was let go on"
            assert seen[0].startswith(said)


def test_a_silent_client_and_one_that_takes_nothing_lose_their_connections(port: int) -> None:
    with connected(port) as client:
        read = b""
        while part := client.recv(100):
            read += part
        assert read.startswith(b"HTTP/1.1 400")
    # In parts, or in one, behind which the server closes at once.
    for request in (
        b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ):
        with connected(port) as client:
            client.sendall(request)
            assert client.recv(1, socket.MSG_PEEK)
            # It takes nothing until the server has given up: what is in the kernel's hands still comes.
            taken = 0
            with contextlib.suppress(ConnectionResetError):
                time.sleep(1.5)
                while part := client.recv(1 << 20):
                    taken += len(part)
            assert taken < BIG


def test_a_slow_but_steady_reader_and_a_busy_client_keep_theirs(port: int) -> None:
    with connected(port) as client:
        for _ in range(60):  # for longer than a header may take
            assert answered(client, b"abc")
            time.sleep(0.02)
    with connected(port) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        taken = 0
        while part := client.recv(1 << 20):
            taken += len(part)
            time.sleep(0.01)
        assert taken >= BIG


def test_one_address_has_a_bounded_number_of_connections(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            assert answered(stack.enter_context(connected(port)))
        with connected(port) as one_more, contextlib.suppress(OSError):
            one_more.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert one_more.recv(100) == b""
        with connected(port, "127.0.0.2") as another:
            assert answered(another)
    with connected(port) as later:
        assert answered(later) or answered(stack.enter_context(connected(port)))
