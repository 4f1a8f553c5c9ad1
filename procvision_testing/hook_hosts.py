"""A real host with hook plugins in it: `HookHost`.

    with HookHost(tmp_path, options={"line-alarm.address": "127.0.0.1:9"}) as host:
        answer = host.call("raise", session="s1")

The host finds what is installed, and what `installed` names besides: hook plugins that are no distribution yet. Those
are named to it, unless `arguments` say something of them. Its algorithm is
`procvision_testing.peers.plugged`, which does what a call asks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from procvision_sdk.wire.frames import frame
from procvision_testing.conformance.process import ProcessTarget

ALGORITHM = "plugged"
PATIENCE_S = 30.0
"""How long what must come is waited for; only a host that hangs takes it."""
_PACKAGE = "procvision_plugged"


PARTS = ("algorithm", "launched")
"""A host's processes: the one that runs the algorithm, and the one that was launched."""


class HookHost:
    """One host process, which ends with the block. Raises AssertionError where it doesn't answer."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        options: Mapping[str, object] | None = None,
        installed: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        found = install_plugged(folder, installed or {})
        named = [text for name in installed or {} if name not in arguments for text in ("--hook", name)]
        given = [text for key, value in (options or {}).items() for text in ("--hook-option", f"{key}={value}")]
        command = [sys.executable, "-P", "-m", "procvision_host", "--algo", ALGORITHM, *named, *given, *arguments]
        self._target = ProcessTarget(command, environment={**host_environment(found), **(environment or {})})
        self._numbers = count(1)
        hello = self.receive()
        assert hello["type"] == "hello", hello
        self.process_id: int = hello["process_id"]
        """The process that runs the algorithm."""
        self._algorithm = os.pidfd_open(self.process_id)
        self.launched_process_id: int = self._target.process_id
        """The process that was launched, which has the hook plugins."""
        self.send({"type": "hello", "runner_version": "1.0"})

    def __enter__(self) -> HookHost:
        return self

    def __exit__(self, *_: object) -> None:
        self._target.close()
        if self._algorithm >= 0:  # a block may stand within another
            os.close(self._algorithm)
            self._algorithm = -1

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message."""
        self._target.write(frame(msgspec.json.encode(message)))

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message = self._target.frame(PATIENCE_S)
        assert message is not None, f"the host said nothing more\n{self._target.evidence()}"
        return message

    def send_call(self, does: str = "ok", *, session: str = "s", **fields: Any) -> str:
        """Send a call; return its `request_id`. Further fields are the call's; `context` and `final` its session's."""
        request_id: str = fields.pop("request_id", None) or f"call-{next(self._numbers)}"
        params = {"does": does} | {key: fields.pop(key) for key in ("wait_ms", "publish") if key in fields}
        reference = {"id": session, "context": fields.pop("context", {}), "final": fields.pop("final", False)}
        self.send(
            {
                "type": "call",
                "request_id": request_id,
                "phase": "execute",
                "step_index": 1,
                "pid": "A",
                "session": reference,
                "user_params": params,
                **fields,
            }
        )
        return request_id

    def call(self, does: str = "ok", **fields: Any) -> dict[str, Any]:
        """Send a call and return its answer."""
        request_id = self.send_call(does, **fields)
        answer = self.receive()
        assert answer.get("request_id") == request_id, answer
        return answer

    def shut_down(self) -> int:
        """Return an orderly end; gives the exit status."""
        self.send({"type": "shutdown"})
        acknowledged = self.receive()
        assert acknowledged["type"] == "shutdown", acknowledged
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        status = self._target.exit_status(PATIENCE_S)
        assert status is not None, f"the host did not end\n{self._target.evidence()}"
        return status

    def kill(self, *parts: str) -> None:
        """SIGKILL, to the process that runs the algorithm; `parts` of PARTS say otherwise, in their order."""
        for part in parts or PARTS[:1]:
            with contextlib.suppress(ProcessLookupError):
                if part == "algorithm":
                    signal.pidfd_send_signal(self._algorithm, signal.SIGKILL)
                else:
                    os.kill(self.launched_process_id, signal.SIGKILL)  # its number is its own until `wait`
        self.wait()

    def rest(self) -> list[dict[str, Any]]:
        """Return what a host that has ended had written and nobody has received."""
        messages = []
        while (message := self._target.frame(PATIENCE_S)) is not None:
            messages.append(message)
        return messages

    def log(self) -> str:
        """Return the last lines of its stderr."""
        return self._target.evidence()


def install_plugged(folder: Path, installed: Mapping[str, str]) -> Path:
    """Return a folder in which a host finds the algorithm, and hook plugins as `{"name": "module:Class"}`."""
    place = folder / "installed"
    if not place.exists():
        source = Path(__file__).parent / "peers" / "plugged"
        shutil.copytree(source, place / _PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    version = json.loads((place / _PACKAGE / "manifest.json").read_text("utf-8"))["version"]
    metadata = place / f"{_PACKAGE}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: procvision-plugged\nVersion: {version}\n")
    lines = ["[procvision.algorithms]", f"{ALGORITHM} = {_PACKAGE}.algorithm:Plugged", "[procvision.hooks]"]
    lines += [f"{name} = {value}" for name, value in installed.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return place


def host_environment(*folders: Path, paths: Sequence[str] = ()) -> dict[str, str]:
    """Return this process's environment, in which a host finds these folders first."""
    found = [*map(str, folders), *paths, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
