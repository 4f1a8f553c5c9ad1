"""A host is gone when its runner is, in whatever state it was, and in time, whatever still runs in it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from launching import Launch
from peer_plugins import environment, host_command, install_algorithm
from wire_client import WireClient, eventually, frame, gone, lives

RUNNER = """
import os, subprocess, sys, time
host = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
open(sys.argv[1] + ".launched", "w").write(str(host.pid))
os.rename(sys.argv[1] + ".launched", sys.argv[1] + ".process")
for frame in os.environ["FRAMES"].split():
    host.stdin.write(bytes.fromhex(frame))
    host.stdin.flush()
    seen = b""
    while b'"call"' in bytes.fromhex(frame) and b'"info"' in bytes.fromhex(frame) and b'"result"' not in seen:
        seen += os.read(host.stdout.fileno(), 65536)
time.sleep(3600)
"""
"""A runner that launches a host, says what it is told to say, and then does nothing until it is killed."""

HELLO = frame({"type": "hello", "runner_version": "1.0"})
INFO = frame({"type": "call", "request_id": "i", "phase": "info"})
"""Whose answer the runner waits for: the algorithm is set up then."""
SHUTDOWN = frame({"type": "shutdown"})


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
    "setup": ("slow-setup", [HELLO]),
    "setup-with-the-lock": ("hang-in-setup", [HELLO]),
    "ready": ("misbehaving", [HELLO, INFO]),
    "execute": ("misbehaving", [HELLO, INFO, call("hang")]),
    "execute-in-c": ("misbehaving", [HELLO, INFO, call("hang-in-c")]),
    "execute-with-the-lock": ("misbehaving", [HELLO, INFO, call("hang-with-lock")]),
    "execute-deaf": ("misbehaving", [HELLO, INFO, call("hang-uninterruptibly")]),
    "teardown": ("hang-in-teardown", [HELLO, INFO, SHUTDOWN]),
    "teardown-that-waits": ("slow-teardown", [HELLO, INFO, SHUTDOWN]),
    "exit-handler": ("misbehaving", [HELLO, INFO, call("register-hanging-exit")]),
}


SHORT = ("--drain-timeout-s", "3")
"""Less than the ten seconds that it is otherwise, which a unit test has."""


class KilledRunner:
    """A runner with one host, in a process of its own."""

    def __init__(self, mark: Path, environment: Mapping[str, str], name: str, frames: list[bytes]) -> None:
        self._mark = mark
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", RUNNER, str(mark), *host_command(name, "--handshake-timeout-s", "0", *SHORT)],
            env={**environment, "FRAMES": " ".join(data.hex() for data in frames)},
        )

    def launched(self) -> int:
        """The host's launched process."""
        file = self._mark.with_name(self._mark.name + ".process")
        return int(eventually(lambda: file.exists() and file.read_text(), "the launch"))

    def hosts(self) -> list[int]:
        """The three processes of the host, once they are there."""
        found = [self.launched()]
        for what in ("the reaper", "the host itself"):
            children = Path(f"/proc/{found[-1]}/task/{found[-1]}/children")
            found += map(int, eventually(lambda file=children: file.exists() and file.read_text().split(), what))
        return found

    def kill(self) -> None:
        """What an operator or the kernel does to it."""
        self.process.kill()
        self.process.wait()


ENDS: dict[str, Callable[[WireClient], object]] = {
    "shutdown": lambda host: host.send({"type": "shutdown"}),
    "stdin": lambda host: host.close_stdin(),
    "SIGTERM": lambda host: host.process.terminate(),
    "SIGINT": lambda host: host.process.send_signal(signal.SIGINT),
}
ENDLESS = [
    ("hang-in-teardown", None, "shutdown"),
    ("hang-in-teardown", None, "stdin"),
    ("hang-in-setup", None, "SIGTERM"),
    ("hang-in-setup", None, "SIGINT"),
    ("misbehaving", "hang-with-lock", "SIGTERM"),  # a host that is stuck so can't read a shutdown
    ("misbehaving", "hang-with-lock", "stdin"),
    ("misbehaving", "hang-uninterruptibly", "SIGTERM"),
]


class Leaving(NamedTuple):
    """What the watchdog has to end; begun all at once, since each takes its whole time."""

    killed: dict[str, list[int]]
    """The host's processes by the state in which its runner was killed."""
    asked: dict[tuple[str, str | None, str], WireClient]


@pytest.fixture(scope="module")
def leaving(peer_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    """Hosts that were asked to leave, or whose runner was killed, and that go on by themselves."""
    folder = tmp_path_factory.mktemp("runners")
    environment = {**peer_environment, "PEER_GATE": str(folder / "never")}
    with ExitStack() as stack:
        runners = {
            state: KilledRunner(folder / state, environment, name, frames) for state, (name, frames) in STATES.items()
        }
        for runner in runners.values():
            stack.callback(runner.kill)
        launch = Launch(stack, environment)
        asked = {case: endless(launch, *case[:2]) for case in ENDLESS}
        hosts = {state: runner.hosts() for state, runner in runners.items()}
        for (_, _, end), host in asked.items():
            ENDS[end](host)
        for runner in runners.values():
            runner.kill()
        yield Leaving(hosts, asked)


def endless(launch: Launch, name: str, deed: str | None) -> WireClient:
    """A host that is where it doesn't end."""
    host = launch(name, *SHORT)
    if name == "hang-in-setup":
        host.log("in setup")
        return host
    host.until_state("ready")
    if deed is not None:
        host.send_call(deed)
        if deed == "hang-with-lock":
            time.sleep(0.3)  # nothing can tell that it has begun: no thread of the host's runs any more
        else:
            host.until_state("executing")
    return host


@pytest.mark.parametrize("state", STATES)
def test_killed_runner_leaves_no_host(leaving: Leaving, state: str) -> None:
    """In whatever state it was: by itself, or at the latest by its watchdog."""
    gone(*leaving.killed[state])


@pytest.mark.parametrize("case", ENDLESS, ids=str)
def test_watchdog_ends_what_does_not_end(leaving: Leaving, case: tuple[str, str | None, str]) -> None:
    """In the time that the hello tells, whatever asked for the drain: stacks in the log, status 70."""
    host = leaving.asked[case]
    assert host.wait() == 70
    gone(host.host)
    log = [record["message"] for record in host.whole_log()]
    assert host.hello["drain_timeout_ms"] == 3000
    assert any("may take 3 s from when it began to drain" in message for message in log)
    if case[1] != "hang-uninterruptibly":  # which ignores the signal that asks for them
        assert any("most recent call first" in message for message in log)


def time_of_drain(host: WireClient) -> float:
    """How long the watchdog says that the drain could take, in seconds."""
    log = [record["message"] for record in host.whole_log()]
    (found,) = (match for message in log if (match := re.search(r"may take (\S+) s from when", message)))
    return float(found[1])


def test_a_runner_can_ask_for_less_time(launch: Launch) -> None:
    """In its shutdown, and in a second one: the host is ended in that time, and the running call is answered before."""
    in_teardown, in_call = launch("hang-in-teardown"), endless(launch, "misbehaving", "hang")
    in_teardown.until_state("ready")
    assert in_teardown.hello["drain_timeout_ms"] == 10_000
    in_teardown.send({"type": "shutdown", "timeout_ms": 600})
    in_call.process.terminate()
    in_call.until_state("draining")
    in_call.send({"type": "shutdown"})  # asks for nothing
    in_call.send({"type": "shutdown", "timeout_ms": 500})
    in_call.send({"type": "shutdown", "timeout_ms": 60_000})
    assert in_call.receive()["data"]["kind"] == "draining"
    assert (in_teardown.wait(), in_call.wait()) == (70, 70)
    assert time_of_drain(in_teardown) == 0.6
    assert 0.5 <= time_of_drain(in_call) < 3.0  # SHORT's, from when the signal came


@pytest.mark.parametrize("timeout_ms", [0, -1, 1.5, "100", True])
def test_a_shutdown_with_a_bad_timeout_is_refused(launch: Launch, timeout_ms: object) -> None:
    """As any bad field: the host goes on, and a right one ends it."""
    host = launch()
    host.send({"type": "shutdown", "timeout_ms": timeout_ms, "request_id": "bad"})
    refusal = host.receive()
    assert (refusal["request_id"], refusal["data"]["kind"]) == ("bad", "bad_field")
    host.send({"type": "shutdown", "timeout_ms": 10**30})
    assert host.receive() == {"type": "shutdown", "status": "OK"}
    assert host.wait() == 0


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


def test_watchdog_takes_what_was_started_along(launch: Launch) -> None:
    """A host that had to be killed leaves as little behind as any other."""
    host = launch("misbehaving", "--shutdown-grace-s", "0.1")
    daemon = host.call("start-daemon")["data"]["debug"]["child"]
    host.send_call("hang-uninterruptibly")
    host.until_state("executing")
    os.kill(host.host, signal.SIGKILL)
    assert host.wait() == -signal.SIGKILL
    assert not lives(daemon)


@pytest.mark.parametrize(
    "left",
    [
        "import concurrent.futures as cf\nself.kept = cf.ProcessPoolExecutor(2)\nself.kept.submit(abs, -1).result()",
        "import multiprocessing\nself.kept = multiprocessing.Pool(2)\nself.kept.map(abs, [-1, -2])",
        "import multiprocessing as m, time\nself.kept = m.Process(target=time.sleep, args=(600,))\nself.kept.start()",
        "import atexit, time\natexit.register(time.sleep, 600)",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()",
    ],
)
def test_what_python_waits_for_at_its_end_holds_no_host(tmp_path: Path, left: str) -> None:
    """Pools, children and exit functions: the host leaves with its own status, and nothing of it is left."""
    source = "from procvision_sdk import BaseAlgorithm, Ok\n\n"
    source += "class Vendor(BaseAlgorithm):\n    def execute(self, *_, **__):\n"
    source += "".join(f"        {line}\n" for line in left.splitlines()) + "        return Ok()\n"
    folder = install_algorithm(tmp_path, "leaver", source)
    with WireClient(host_command("leaver"), environment(folder)) as host:
        assert host.call(user_params={})["data"]["result_status"] == "OK"
        host.send({"type": "shutdown"})
        assert host.receive()["status"] == "OK"
        assert host.wait() == 0


def test_a_host_whose_stdout_is_gone_executes_nothing_further(tmp_path: Path) -> None:
    """Though its stdin is open and calls wait in it: it tears down and exits 69."""
    source = (
        "from pathlib import Path\nfrom procvision_sdk import BaseAlgorithm, Ok\n\n"
        "class Vendor(BaseAlgorithm):\n"
        "    def execute(self, *_, **__):\n"
        f"        with open({str(tmp_path / 'calls')!r}, 'a') as calls:\n            calls.write('x')\n"
        "        return Ok()\n"
        "    def teardown(self):\n"
        f"        Path({str(tmp_path / 'torn_down')!r}).touch()\n"
    )
    folder = install_algorithm(tmp_path, "counter", source)
    with subprocess.Popen(
        host_command("counter"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment(folder), bufsize=0,
    ) as host:  # fmt: skip
        assert host.stdin is not None
        assert host.stdout is not None
        host.stdin.write(HELLO + INFO)
        seen = b""
        while b'"result"' not in seen:
            seen += host.stdout.read(65536)
        host.stdout.close()
        one = {
            "type": "call",
            "phase": "execute",
            "step_index": 1,
            "pid": "A",
            "session": {"id": "s"},
            "user_params": {},
        }
        host.stdin.write(b"".join(frame({**one, "request_id": str(number)}) for number in range(3)))
        assert host.wait(30) == 69
        host.stdin.close()
    assert (tmp_path / "calls").read_text() == "x"
    assert (tmp_path / "torn_down").exists()


def test_an_algorithm_sees_its_calls_session_and_keeps_its_own_attribute(tmp_path: Path) -> None:
    """`self.session`, None between calls; many call their model's session so."""
    source = (
        "from procvision_sdk import BaseAlgorithm, Ok\n\n"
        "class Vendor(BaseAlgorithm):\n"
        "    def setup(self):\n        self.before = self.session\n"
        "    def execute(self, step_index, pid, session, *_, **__):\n"
        "        seen = self.session is session and self.before is None\n"
        "        self.session.state_store['seen'] = seen\n"
        "        return Ok(debug={'seen': session.get('seen')})\n"
    )
    own = (
        source.replace("self.before = self.session", "self.before, self.session = None, 'a model'")
        .replace("self.session is session", "self.session == 'a model'")
        .replace("self.session.state_store", "session.state_store")
    )
    for name, text in (("seer", source), ("owner", own)):
        folder = install_algorithm(tmp_path / name, name, text)
        with WireClient(host_command(name), environment(folder)) as host:
            for _ in range(2):
                assert host.call(user_params={})["data"]["debug"]["seen"] is True
