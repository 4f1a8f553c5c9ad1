"""Results, diagnostics and alarms as JSON lines: `[hooks.json-lines] directory = "/var/log/procvision"`.

The files themselves are `json_lines_file`'s; here is what becomes a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from procvision_sdk.hookspecs import HookOption, hookimpl
from procvision_sdk.records import call_record, debug_record

if TYPE_CHECKING:
    from procvision_host.builtin.json_lines_file import JsonLinesFile

DEFAULT_MAX_BYTES = 16 * 1024 * 1024
"""Some ten thousand results: a file that an editor still opens."""
DEFAULT_MAX_FILES = 10


class JsonLines:
    """Writes one line for each call, for what an algorithm published, and for each turn in the host's life."""

    def __init__(self) -> None:
        self._values: Mapping[str, Any] = {}
        self._file: JsonLinesFile | None = None
        self._host: dict[str, Any] = {}

    @hookimpl
    def procvision_options(self) -> Sequence[HookOption]:
        """Return where, and how much is kept."""
        return [
            HookOption("directory", str, help="the folder of the files; it is made if it isn't there", hidden="folder"),
            HookOption("max_bytes", int, DEFAULT_MAX_BYTES, "a file that would be larger is put aside", minimum=4096),
            HookOption("max_files", int, DEFAULT_MAX_FILES, "how many are kept for an algorithm", minimum=1),
        ]

    @hookimpl
    def procvision_configure(self, values: Mapping[str, Any]) -> None:
        """Kept until the first line; nothing is opened here."""
        self._values = values

    @hookimpl
    def procvision_host_loaded(self, algorithm: str, version: str, process_id: int, supervisor: str) -> None:
        """The first line of a host."""
        from procvision_host.builtin.json_lines_file import JsonLinesFile

        values = self._values
        self._host = {"algorithm": algorithm, "version": version, "process_id": process_id, "supervisor": supervisor}
        path = Path(values["directory"]) / f"{algorithm}.jsonl"
        self._file = JsonLinesFile(path, values["max_bytes"], values["max_files"])
        self._life("loaded")

    @hookimpl
    def procvision_host_ready(self) -> None:
        """A line of kind `host`."""
        self._life("ready")

    @hookimpl
    def procvision_host_draining(self, exit_status: int) -> None:
        """A line of kind `host`."""
        self._life("draining", exit_status)

    @hookimpl
    def procvision_host_closed(self, exit_status: int) -> None:
        """The last line of a host."""
        self._life("closed", exit_status)

    @hookimpl
    def procvision_call_finished(
        self, call: Mapping[str, Any], answer: Mapping[str, Any], elapsed_ms: float, ended_at_ns: int
    ) -> None:
        """One line a call: `alarm` if its status is ERROR, else `result`."""
        record = call_record(call, answer, elapsed_ms, ended_at_ns)
        self._write("result" if record["status"] == "OK" else "alarm", record)

    @hookimpl
    def procvision_diagnostics_published(
        self, call: Mapping[str, Any], diagnostics: Mapping[str, Any], ended_at_ns: int
    ) -> None:
        """A line of kind `diagnostics`."""
        self._write("diagnostics", debug_record(call, diagnostics, ended_at_ns))

    def _life(self, state: str, exit_status: int | None = None) -> None:
        from procvision_host.logs import timestamp_ms

        self._write("host", {"timestamp_ms": timestamp_ms(), "state": state, "exit_status": exit_status})

    def _write(self, kind: str, record: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write({"kind": kind, **self._host, **record})
