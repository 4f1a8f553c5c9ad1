"""A real PostgreSQL on a free port, in a folder of its own, run by a user that isn't root: it refuses that one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg

PATIENCE_S = 60.0
USER = "postgres"


def programs() -> Path | None:
    """The folder with PostgreSQL's programs, which Debian doesn't put on the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _runs(process_id: str) -> bool:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


class PostgresServer:
    """A context manager; within it the server can be killed and started again on the same port and folder."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self._folder = Path(tempfile.mkdtemp(prefix="procvision-postgres-"))
        self.port = free_port()
        self.url = f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes connections."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port)]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "30"}
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + PATIENCE_S
        self._process = None
        while True:
            if self._process is None or self._process.poll() is not None:
                # After a crash it refuses to start as long as one of its former children is still there.
                self._process = subprocess.Popen(
                    command, user=self._user(), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "postgres takes no connections"
                time.sleep(0.02)
            else:
                return

    @property
    def process_id(self) -> int:
        """Of the first of its processes."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As a crash does: all of its processes at once. Its children would answer for a while without their parent."""
        assert self._process is not None
        process_id = self._process.pid
        children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
        self._process.kill()
        self._process.wait()
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        while any(map(_runs, children)):
            time.sleep(0.005)

    def stop(self) -> None:
        """In good order, without waiting for clients."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_S)

    def _user(self) -> str | None:
        return USER if os.geteuid() == 0 else None

    def __enter__(self) -> PostgresServer:
        if self._user():
            shutil.chown(self._folder, USER)
        command = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", USER, "-A", "trust"]
        subprocess.run(
            [*command, "--no-sync", "--no-locale", "-E", "UTF8"],
            user=self._user(), cwd="/", check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
