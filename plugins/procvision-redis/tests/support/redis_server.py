"""A real Redis on a free port, with an append-only file in a folder of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

PATIENCE_S = 30.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class RedisServer:
    """A context manager; within it the server can be killed and started again on the same port and folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._options = options or ("--appendonly", "yes", "--appendfsync", "everysec")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes connections."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen([*command, "--save", "", *self._options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None, "redis-server has left"
            try:
                with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
                    connection.sendall(b"PING\r\n")
                    answer = connection.recv(16)
                    if answer and not answer.startswith(b"-LOADING"):
                        return
            except OSError:
                assert time.monotonic() < deadline, "redis-server doesn't answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """As a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
