"""The page to scrape, on the first free port of a range, and its announcement for Prometheus' file_sd_configs.

Whoever has bound a port has it: hosts need no other agreement. A host that is started again takes the lowest free port,
which is the one that its predecessor left, so that its series go on under the same `instance`; and it writes the same
announcement, so that of a host that was killed no second one remains: its page is announced, and its `up` is 0.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

_TAKEN = (errno.EADDRINUSE, errno.EACCES)


class Page:
    """One open page."""

    def __init__(self, address: str, port: int) -> None:
        self.target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._port = port
        self._announcement: Path | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.target}/metrics"

    def announce(self, folder: Path, labels: Mapping[str, str]) -> None:
        """Writes `procvision-PORT.json` in one step. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"procvision-{self._port}.json"
        draft = path.with_suffix(f".{os.getpid()}.new")  # not *.json: Prometheus must not read it
        draft.write_text(json.dumps([{"targets": [self.target], "labels": dict(labels)}]) + "\n", "utf-8")
        draft.replace(path)
        self._announcement = path

    def close(self) -> None:
        """Takes the announcement back."""
        if self._announcement is not None:
            self._announcement.unlink(missing_ok=True)


def open_page(registry: CollectorRegistry, address: str, first: int, ports: int) -> Page:
    """Serves the registry on the first port of the range that is free; 0 takes any. Raises OSError."""
    last = min(first + ports - 1, 65_535)
    for port in range(first, last + 1) if first else (0,):
        try:
            server, _ = start_http_server(port, address, registry)
        except OSError as error:
            if error.errno in _TAKEN:
                continue
            raise
        return Page(address, server.server_port)
    raise OSError(
        f"none of the ports {first} to {last} of {address} is free; hint: [hooks.prometheus] ports, or port = 0"
    )
