"""A host is gone when its runner is, in whatever state it was, and in time, whatever still runs in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from launching import Gate, Launch
from peer_plugins import host_command
from wire_client import WireClient, eventually, frame, gone, lives

RUNNER = """
import os, subprocess, sys, time
host = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
open(sys.argv[1] + ".launched", "w").write(str(host.pid))
os.rename(sys.argv[1] + ".launched", sys.argv[1] + ".process")
for frame in os.environ["FRAMES"].split():
    host.stdin.write(bytes.fromhex(frame))
host.stdin.flush()
time.sleep(3600)
"""
"""A runner that launches a host, says what it is told to say, and then does nothing until it is killed."""

HELLO = frame({"type": "hello", "runner_version": "1.0"})


def call(does: str) -> bytes:
    """A call's frame."""
    return frame(
        {
            "type": "call",
            "request_id": "c",
            "phase": "execute",
            "step_index": 1,
            "pid": "A",
            "session": {"id": "s"},
            "user_params": {"does": does},
        }
    )


STATES: dict[str, tuple[str, list[bytes]]] = {
    "before-its-hello-is-answered": ("misbehaving", []),
    "import": ("hang-in-import", [HELLO]),
    "setup": ("hang-in-setup", [HELLO]),
    "ready": ("misbehaving", [HELLO]),
    "execute": ("misbehaving", [HELLO, call("hang")]),
    "execute-in-c": ("misbehaving", [HELLO, call("hang-in-c")]),
    "teardown": ("slow-teardown", [HELLO, frame({"type": "shutdown"})]),
}
STUBBORN = {
    "setup-with-the-lock": ("hang-in-setup", [HELLO]),
    "import": ("hang-in-import", [HELLO]),
    "execute": ("misbehaving", [HELLO, call("hang-uninterruptibly")]),
    "execute-with-the-lock": ("misbehaving", [HELLO, call("hang-with-lock")]),
    "teardown": ("hang-in-teardown", [HELLO, frame({"type": "shutdown"})]),
    "exit-handler": ("misbehaving", [HELLO, call("register-hanging-exit")]),
}
"""Where nothing but the watchdog ends a host."""


class KilledRunner:
    """A runner with one host, in a process of its own."""

    def __init__(self, mark: Path, environment: Mapping[str, str], name: str, frames: list[bytes]) -> None:
        self._mark = mark
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", RUNNER, str(mark), *host_command(name, "--handshake-timeout-s", "0")],
            env={**environment, "FRAMES": " ".join(data.hex() for data in frames)},
        )

    def launched(self) -> int:
        """The host's launched process."""
        file = self._mark.with_name(self._mark.name + ".process")
        return int(eventually(lambda: file.exists() and file.read_text(), "the launch"))

    def hosts(self) -> list[int]:
        """Both processes of the host, once both are there."""
        launched = self.launched()
        children = Path(f"/proc/{launched}/task/{launched}/children")
        inner = eventually(lambda: children.exists() and children.read_text().split(), "the host itself")
        return [launched, *map(int, inner)]

    def kill(self) -> None:
        """What an operator or the kernel does to it."""
        self.process.kill()
        self.process.wait()


def test_killed_runner_leaves_no_host_in_any_state(
    peer_environment: dict[str, str], tmp_path: Path, gate: Gate
) -> None:
    """Before its hello is answered, in import, setup, execute and teardown: at the latest the watchdog ends it.

    All at once, since some of them take the watchdog's ten seconds.
    """
    cases = {**STATES, **{f"stubborn-{state}": case for state, case in STUBBORN.items()}}
    environment = {**peer_environment, "PEER_GATE": str(gate)}
    runners = {
        state: KilledRunner(tmp_path / state, environment, name, frames) for state, (name, frames) in cases.items()
    }
    try:
        hosts = {state: runner.hosts() for state, runner in runners.items()}
        busy = {"execute", "execute-in-c", "stubborn-execute", "stubborn-execute-with-the-lock"}
        time.sleep(1.0)  # into the state; a host that is not there yet has to leave as well
        assert all(lives(process_id) for state in busy for process_id in hosts[state])
    finally:
        for runner in runners.values():
            runner.kill()
    for state in STATES:
        if state not in {"import", "setup", "execute-in-c", "teardown", "execute"}:
            gone(*hosts[state])
    gone(*(process_id for state in hosts for process_id in hosts[state]))


def test_runner_killed_at_the_very_start_leaves_no_host(peer_environment: dict[str, str], tmp_path: Path) -> None:
    """Before the host has even forked, or just after."""
    launched = []
    for number in range(12):
        runner = KilledRunner(tmp_path / str(number), peer_environment, "misbehaving", [])
        process_id = runner.launched()
        time.sleep(number * 0.004)
        runner.kill()
        launched.append(process_id)
    gone(*launched)
    eventually(lambda: not orphans(peer_environment), "the hosts")


def orphans(environment: Mapping[str, str]) -> list[int]:
    """Hosts of this test run whose parent is gone."""
    found = []
    mark = environment["PYTHONPYCACHEPREFIX"].encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command, surroundings = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if b"procvision_host" in command and mark in surroundings and parent == 1:
                found.append(int(entry.name))
    return found


ENDS: dict[str, Callable[[WireClient], object]] = {
    "shutdown": lambda host: host.send({"type": "shutdown"}),
    "stdin": lambda host: host.close_stdin(),
    "SIGTERM": lambda host: host.process.terminate(),
    "SIGINT": lambda host: host.process.send_signal(signal.SIGINT),
}


def test_watchdog_ends_what_does_not_end(launch: Launch) -> None:
    """Ten seconds after the drain began, whatever asked for it; the stacks are in the log, the status is 70."""
    cases = [
        ("hang-in-teardown", None, "shutdown"),
        ("hang-in-teardown", None, "stdin"),
        ("hang-in-setup", None, "SIGTERM"),
        ("hang-in-setup", None, "SIGINT"),
        ("misbehaving", "hang-with-lock", "shutdown"),
        ("misbehaving", "hang-uninterruptibly", "SIGTERM"),
        ("misbehaving", "register-hanging-exit", "shutdown"),
    ]
    hosts = []
    for name, deed, end in cases:
        host = launch(name)
        if name == "hang-in-setup":
            host.log("in setup")
        elif deed is None:
            host.until_state("ready")
        elif deed == "hang-with-lock":
            host.until_state("ready")
            host.send_call(deed)
            time.sleep(0.3)  # nothing can tell that it has begun: no thread of the host's runs any more
        elif deed == "register-hanging-exit":
            host.call(deed)
        else:
            host.send_call(deed)
            host.until_state("executing")
        ENDS[end](host)
        hosts.append(host)
    began = time.monotonic()
    for (name, deed, end), host in zip(cases, hosts, strict=True):
        assert host.wait() == 70, (name, deed, end)
        gone(host.host)
        log = host.whole_log()
        assert any("still ran 10 s after it began to drain" in record["message"] for record in log), (name, deed, end)
        assert any("most recent call first" in record["message"] for record in log), (name, deed, end)
    assert time.monotonic() - began < 30


def test_watchdog_takes_what_was_started_along(launch: Launch) -> None:
    """A host that had to be killed leaves as little behind as any other."""
    host = launch("misbehaving", "--shutdown-grace-s", "0.1")
    daemon = host.call("start-daemon")["data"]["debug"]["child"]
    host.send_call("hang-uninterruptibly")
    host.until_state("executing")
    os.kill(host.host, signal.SIGKILL)
    assert host.wait() == -signal.SIGKILL
    assert not lives(daemon)
