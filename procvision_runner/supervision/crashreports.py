"""Writes a folder per incident, with what an engineer asks for when a host was lost in the night.

cause.json      what happened, when, to which host; exit status, command, limits, versions
stacks.txt      the stacks that a hung host wrote before it was ended, where there are any
frames.jsonl    the last bytes that went out and came in, unless `crash_frames` is False: they hold parameters,
                contexts and results, no pictures
log.jsonl       the host's last log records
manifest.json   the algorithm's, where the host told it
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from procvision_sdk.jsontext import json_text
from procvision_sdk.masking import masked, masked_command, masked_value
from procvision_sdk.printable import printable
from procvision_sdk.private_files import make_private_folder, write_private
from procvision_sdk.wire.greeting import PROTOCOL_VERSION

if TYPE_CHECKING:
    from procvision_runner.exit_causes import HostEnd
    from procvision_runner.supervision.options import SupervisorOptions
    from procvision_runner.supervision.supervised_host import SupervisedHost

_log = logging.getLogger("procvision.runner")


@attrs.frozen(kw_only=True)
class Incident:
    """A host that ended, or never became ready."""

    source: str
    what: str
    end: HostEnd
    host: SupervisedHost
    options: SupervisorOptions


class CrashReports:
    """Writes the folders, and keeps the newest of them."""

    def __init__(self, folder: Path, kept: int) -> None:
        self.folder = folder
        self._kept = kept

    def write(self, incident: Incident) -> Path | None:
        """Write an incident and return its folder; None, with a line in the log, if it can't be written."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        host = incident.host
        name = "".join(char if char.isalnum() or char in "-_" else "-" for char in incident.source)[:60]
        folder = self.folder / f"{stamp}-{name}-host{host.number}-{time.time_ns() % 1_000_000_000:09d}"
        try:
            make_private_folder(folder)
            self._fill(folder, incident)
            self._drop_oldest()
        except Exception as error:  # noqa: BLE001 - whatever a host told: a report that fails stops no line
            _log.warning("the crash report %s can't be written: %s", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return folder

    def _fill(self, folder: Path, incident: Incident) -> None:
        host = incident.host
        _write_json(folder / "cause.json", _cause(incident))
        if host.stacks:
            text = "\n".join(str(record.get("message", "")) for record in host.stacks)
            write_private(folder / "stacks.txt", printable(masked(text), keep="\n\t") + "\n")
        if incident.options.crash_frames:
            _write_lines(folder / "frames.jsonl", [_frame(*entry) for entry in host.client.frames])
        _write_lines(folder / "log.jsonl", list(host.client.log.records))
        if "manifest" in host.info:
            _write_json(folder / "manifest.json", host.info["manifest"])

    def _drop_oldest(self) -> None:
        # Their names begin with their time.
        folders = sorted(path for path in self.folder.iterdir() if (path / "cause.json").is_file())
        for path in folders[: -self._kept]:
            with contextlib.suppress(OSError):
                shutil.rmtree(path)


def _cause(incident: Incident) -> dict[str, Any]:
    import platform

    host, end = incident.host, incident.end
    said = host.client.host_error
    return {
        "timestamp_ms": time.time_ns() // 1_000_000,
        "source": incident.source,
        "what": incident.what,
        "cause": str(end.kind),
        "text": end.text,
        "exit_status": end.exit_status,
        "signal": end.signal,
        "picture": attrs.asdict(host.suspect) if host.suspect is not None else None,
        "host": host.number,
        "process_id": host.process_id,
        "command": masked_command(host.command),
        "limits": incident.options.limits.as_dict(),
        "said": said.message if said is not None else None,
        "unexpected_answers": len(host.client.unexpected),
        "versions": {
            **host.info.get("versions", {}),
            "runner": _runner_version(),
            "protocol": PROTOCOL_VERSION,
            "runner_python": platform.python_version(),
            "system": platform.platform(),
        },
    }


def _frame(instant: float, direction: str, data: bytes) -> dict[str, Any]:
    age_ms = round((time.monotonic() - instant) * 1000)
    return {"age_ms": age_ms, "direction": direction, "bytes": data.decode("utf-8", "backslashreplace")}


def _runner_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("procvision")
    except PackageNotFoundError:
        return "0+unknown"


def _write_json(path: Path, value: Any) -> None:
    write_private(path, json_text(masked_value(value), indent=2) + "\n")


def _write_lines(path: Path, values: list[Any]) -> None:
    write_private(path, "".join(json_text(masked_value(value)) + "\n" for value in values))
