"""The hook plugin: what it is told becomes metrics, on a page of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procvision_sdk.hookspecs import HookOption, hookimpl

if TYPE_CHECKING:
    from procvision_prometheus.metrics import HostMetrics
    from procvision_prometheus.page import Page

_log = logging.getLogger("procvision_prometheus")


class Prometheus:
    """Counts on the plugin's own thread; prometheus_client is imported with the first event, not before."""

    def __init__(self) -> None:
        self._values: Mapping[str, Any] = {}
        self._metrics: HostMetrics | None = None
        self._page: Page | None = None

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Where the page is."""
        return [
            HookOption("port", int, help="the first port that is tried; 0 takes any that is free", minimum=0),
            HookOption("ports", int, 64, "how many ports from there on: hosts on one machine share them", minimum=1),
            HookOption("address", str, "127.0.0.1", "the address that the page is served on"),
            HookOption(
                "advertise", str, "", "the name or address in `discovery`; empty takes `address`, or this machine's"
            ),
            HookOption("discovery", str, "", "a folder for Prometheus' file_sd_configs; empty writes none"),
        ]

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Checked here, opened with the first event."""
        if values["port"] == 0 and not values["discovery"]:
            raise ValueError("port 0 takes any free port, and nobody could know it; hint: set discovery to a folder")
        if values["port"] > 65_535:
            raise ValueError(f"port is {values['port']}, the highest is 65535")
        self._values = values

    @hookimpl
    def procvision_host_loaded(self, algorithm: str, version: str, process_id: int, supervisor: str) -> None:
        """Open the page. Without a free port there is none, and the log says so."""
        from procvision_prometheus.metrics import HostMetrics
        from procvision_prometheus.page import open_page

        self._metrics = metrics = HostMetrics(algorithm, version, process_id, supervisor)
        values = self._values
        try:
            self._page = page = open_page(
                metrics.registry, values["address"], values["port"], values["ports"], values["advertise"]
            )
        except OSError as error:
            _log.error("no page of metrics: %s", error)
            return
        _log.info("metrics are on %s", page.url)
        if values["discovery"]:
            labels = {"algorithm": algorithm, **({"supervisor": supervisor} if supervisor else {})}
            try:
                page.announce(Path(values["discovery"]), labels)
            except OSError as error:
                _log.error("the page %s can't be announced in %s: %s", page.url, values["discovery"], error)

    @hookimpl
    def procvision_host_ready(self) -> None:
        """`procvision_host_ready` becomes 1."""
        if self._metrics is not None:
            self._metrics.ready(True)

    @hookimpl
    def procvision_host_draining(self) -> None:
        """`procvision_host_ready` becomes 0."""
        if self._metrics is not None:
            self._metrics.ready(False)

    @hookimpl
    def procvision_host_closed(self) -> None:
        """Take the announcement back; the page itself ends with the process."""
        if self._page is not None:
            self._page.close()

    @hookimpl
    def procvision_call_finished(self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float) -> None:
        """Count the call, its verdict or error, and its time."""
        if self._metrics is not None:
            self._metrics.call_finished(call, answer, elapsed_ms / 1000)

    @hookimpl
    def procvision_session_opened(self, session_id: str) -> None:
        """One more session."""
        if self._metrics is not None:
            self._metrics.session_opened(session_id)

    @hookimpl
    def procvision_session_ended(self, session_id: str) -> None:
        """One less."""
        if self._metrics is not None:
            self._metrics.session_ended(session_id)
