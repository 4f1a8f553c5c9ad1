"""The page to scrape, on the first free port of a range, and its announcement for Prometheus' file_sd_configs.

The host that has bound a port has it: hosts need no other agreement. A host that is started again takes the lowest free
port, which is the one that its predecessor left, so that its series go on under the same `instance`; and it writes the
same announcement. Of a host that was killed the announcement stays, and its `up` is 0, until the next host comes: the
kernel gives back the lock that a living host holds on its own, and a host that announces itself takes away those that
nobody holds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

_ALL_ADDRESSES = ("", "0.0.0.0", "::")
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


class Page:
    """One open page."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._announcement: Path | None = None
        self._lock = -1

    @property
    def target(self) -> str:
        """HOST:PORT, with an address that another machine can ask where the page is served on all of them."""
        address = self._address
        if address in _ALL_ADDRESSES:
            address = address_of_this_machine()
        return f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.target}/metrics"

    def announce(self, folder: Path, labels: Mapping[str, str]) -> None:
        """Write `procvision-PORT.json` in one step. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        path = folder / f"procvision-{self._port}.json"
        draft = path.with_suffix(f".{os.getpid()}.new")  # not *.json: Prometheus must not read it
        text = json.dumps([{"targets": [self.target], "labels": dict(labels)}]) + "\n"
        self._lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        os.write(self._lock, text.encode())
        with contextlib.suppress(OSError):  # on a file system without locks it is taken for abandoned, and written anew
            fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        draft.replace(path)
        self._announcement = path

    def close(self) -> None:
        """Take the announcement back."""
        if self._announcement is not None:
            self._announcement.unlink(missing_ok=True)
            os.close(self._lock)
            self._announcement = None


def _remove_abandoned(folder: Path) -> None:
    """Remove the announcements of hosts that are gone, of any port."""
    for path in folder.glob("procvision-*.json"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its own: another host may have put its announcement there since it was opened.
                if os.path.samestat(os.fstat(lock), path.stat()):
                    path.unlink()
            finally:
                os.close(lock)


def address_of_this_machine() -> str:
    """Return the address by which this machine reaches others, or its name where it reaches none. Sends nothing."""
    for family, anybody in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # RFC 5737, RFC 3849
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((anybody, 9))
            return str(probe.getsockname()[0])
    return platform.node() or "localhost"


def open_page(registry: CollectorRegistry, address: str, first: int, ports: int, advertise: str = "") -> Page:
    """Serve the registry on the first port of the range that is free; 0 takes any. Raises OSError.

    `advertise` is the name or address that others are told.
    """
    last = min(first + ports - 1, 65_535)
    for port in range(first, last + 1) if first else (0,):
        try:
            server, _ = start_http_server(port, address, registry)
        except OSError as error:
            if error.errno in _TAKEN:
                continue
            raise
        return Page(advertise or address, server.server_port)
    raise OSError(
        f"none of the ports {first} to {last} of {address} is free; hint: [hooks.prometheus] ports, or port = 0"
    )
