"""The hook plugin: what it is told becomes messages in the spool, which the sender gets to the broker."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Mapping, Sequence
from os import urandom
from time import time_ns
from typing import TYPE_CHECKING, Any

import msgspec

from procvision_mqtt.places import trouble
from procvision_mqtt.settings import OPTIONS, Settings, read
from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.records import call_record, debug_record

if TYPE_CHECKING:
    from procvision_mqtt.sender import Sender
    from procvision_mqtt.spool import Spool

END_S = 1.5
"""Of the two seconds that a host gives its plugins at its end."""
_log = logging.getLogger("procvision_mqtt")
_encoder = msgspec.json.Encoder(enc_hook=repr)


class Mqtt:
    """Appends on the plugin's own thread; the sender has another."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._spool: Spool | None = None
        self._trouble: str | None = None
        self._sender: Sender | None = None
        self._run = urandom(6).hex()
        self._sequence = 0
        self._topic = ""
        self._host: dict[str, Any] = {}

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Where to, and how."""
        return OPTIONS

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Check the options; nothing is opened or connected yet."""
        self._settings = settings = read(values)
        self._trouble = trouble(settings.spool)
        if self._trouble is not None:
            _log.warning(
                "there is no spool: %s; what isn't sent is held in memory, and lost with the host; "
                "hint: spool = a folder that the host's user may write",
                self._trouble,
            )

    @hookimpl
    def procvision_host_loaded(self, algorithm: str, version: str, process_id: int, supervisor: str) -> None:
        """Open the spool and begin to connect."""
        from procvision_mqtt.sender import Sender
        from procvision_mqtt.spool import open_spool

        settings = self._settings
        assert settings is not None
        name = re.sub(r"[^\w.-]", "_", algorithm)
        folder = settings.spool / re.sub(r"[^\w.-]", "_", settings.station) / name
        self._spool, number = open_spool(folder, settings.max_spool_bytes, told=self._trouble is not None)
        self._topic = f"{settings.topics}/{name}/{number}"
        self._host = {
            "station": settings.station,
            "algorithm": algorithm,
            "version": version,
            "host": number,
            "process_id": process_id,
            "supervisor": supervisor,
        }
        client_id = f"procvision-{settings.station}-{name}-{number}-{self._run}"
        self._sender = Sender(settings, self._spool, client_id, f"{self._topic}/health")
        self._tell_health("loaded")
        self._sender.start()

    @hookimpl
    def procvision_host_ready(self) -> None:
        """Health `ready`."""
        self._tell_health("ready")

    @hookimpl
    def procvision_host_draining(self, exit_status: int) -> None:
        """Health `draining`."""
        self._tell_health("draining", exit_status)

    @hookimpl
    def procvision_host_closed(self, exit_status: int) -> None:
        """Health `closed`, after what still waits, as far as there is time; the rest stays for the next host."""
        self._tell_health("closed", exit_status)
        if self._sender is not None:
            self._sender.close(END_S)
        if self._spool is not None:
            self._spool.close()

    @hookimpl
    def procvision_call_finished(
        self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
    ) -> None:
        """A message under `result`."""
        self._append("result", call_record(call, answer, elapsed_ms, ended_at_ns))

    @hookimpl
    def procvision_call_failed(
        self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
    ) -> None:
        """A message under `alarm`."""
        self._append("alarm", call_record(call, answer, elapsed_ms, ended_at_ns))

    @hookimpl
    def procvision_diagnostics_published(
        self, call: Mapping[str, Any], diagnostics: Mapping[str, Any], ended_at_ns: int
    ) -> None:
        """A message under `diagnostics`."""
        self._append("diagnostics", debug_record(call, diagnostics, ended_at_ns))

    def _append(self, kind: str, record: Mapping[str, Any]) -> None:
        if self._spool is None or self._sender is None or self._settings is None:
            return
        self._sequence += 1
        named = {"id": f"{self._run}-{self._sequence}", "run": self._run, "sequence": self._sequence, **self._host}
        payload = _encoder.encode({"kind": kind, **named, **record})
        if len(payload) > self._settings.max_message_bytes:
            short = {key: value for key, value in record.items() if key not in ("data", "context", "diagnostics")}
            short["message"] = str(short.get("message") or "")[:1024]
            payload = _encoder.encode({"kind": kind, **named, **short, "cut_bytes": len(payload)})
        self._spool.append(f"{self._topic}/{kind}", payload)
        self._sender.message_was_appended()

    def _tell_health(self, state: str, exit_status: int | None = None) -> None:
        if self._sender is not None:
            now_ms = time_ns() // 1_000_000
            self._sender.tell_health(
                {
                    "kind": "health",
                    "state": state,
                    "run": self._run,
                    "machine": platform.node(),
                    **self._host,
                    "timestamp_ms": now_ms,
                    "exit_status": exit_status,
                }
            )
