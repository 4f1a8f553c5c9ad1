"""A host whose pong is late: held up by the machine, or not."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import attrs
import pytest
from scripted_host import PATIENCE_S, ScriptedProcess, eventually, hello, in_thread

from procvision_runner.connection.client import Client
from procvision_runner.connection.observer import Observer
from procvision_runner.exit_causes import EndKind
from procvision_runner.options import HeartbeatPolicy, RunnerOptions
from procvision_runner.process.held_up import held_up, waits
from procvision_runner.process.host_log import HostLog
from procvision_sdk.wire.messages import Ping, RunnerHello

SPIN = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.write(1, b'x')\nwhile True: pass"
SLEEP = "import os, time; os.write(1, b'x'); time.sleep(600)"
GRACE_S = 0.1
PATIENT = RunnerOptions(handshake_timeout_s=PATIENCE_S, shutdown_timeout_s=PATIENCE_S)


@contextlib.contextmanager
def started(program: str, count: int = 1) -> Iterator[int]:
    """Run a program so many times. Give the process id of one."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            # In one session: sessions may share the processors among each other first.
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.read(1) == b"x"
        yield process.pid


@pytest.fixture
def starved() -> Iterator[int]:
    """One of five processes that share a core, each of which would take all of it."""
    with started(SPIN, 5) as process_id:
        if not any(name.isdigit() for name in waits(process_id)):
            pytest.skip("this kernel doesn't count how long threads wait for a processor")
        yield process_id


def test_a_process_that_gets_no_processor_is_held_up(starved: int) -> None:
    before = waits(starved)
    eventually(lambda: held_up(starved, before, 0.0, GRACE_S), "it waited for half of the time")
    assert not held_up(starved, waits(starved), 0.0, 3600.0)


def test_a_process_that_could_run_is_not_held_up() -> None:
    """Asleep, stopped, gone, or never there."""
    with started(SLEEP) as process_id:
        before = {name: waited for name, waited in waits(process_id).items() if name.isdigit()}
        time.sleep(GRACE_S)
        assert not held_up(process_id, before, 0.0, GRACE_S)
        os.kill(process_id, signal.SIGSTOP)
        time.sleep(GRACE_S)
        assert not held_up(process_id, before, 0.0, GRACE_S)
    for gone in (process_id, None, -1):
        assert not held_up(gone, before, 0.0, 2.0)


def test_a_processor_that_is_anothers_holds_up_who_ran_on_it() -> None:
    """As the kernel of a virtual machine tells it; on others it is 0."""
    now = waits(None)
    assert now
    assert all(name.startswith("cpu") for name in now)
    assert not held_up(None, now, 0.0, 3600.0)
    before = {name: waited - 10**9 for name, waited in now.items()}
    assert held_up(None, before, 0.0, 2.0)
    assert not held_up(None, before, 0.0, 3600.0)


def test_who_looks_too_late_was_held_up_itself() -> None:
    assert held_up(None, {}, 1.0, 2.0)
    assert not held_up(None, {}, 0.9, 2.0)


@attrs.define
class _Misses(Observer):
    count: int = 0

    def missed_pong(self, misses: int) -> None:
        self.count = misses


@pytest.mark.parametrize("held_up_s", [0.0, 3600.0])
def test_a_host_that_is_held_up_is_not_ended_for_late_pongs(starved: int, held_up_s: float) -> None:
    """It is, where the policy gives it no time for that."""
    policy = HeartbeatPolicy(interval_s=0.02, grace_s=GRACE_S, held_up_s=held_up_s)
    host, misses = ScriptedProcess(), _Misses()
    client = Client(host, attrs.evolve(PATIENT, heartbeat=policy), HostLog(host.stderr, 20, None), misses)  # type: ignore[arg-type]
    try:
        shaking = in_thread(client.shake_hands)
        told = hello()
        told.process_id = starved
        host.say(told)
        host.hear(RunnerHello)
        shaking.result()
        if not held_up_s:
            eventually(lambda: client.end is not None, "it is ended")
            assert client.end is not None
            assert (client.end.kind, misses.count) == (EndKind.UNRESPONSIVE, 2)
            return
        host.hear(Ping)
        # Four times as long as both pongs may take: nothing comes, neither the next ping nor the end.
        poller = select.poll()
        poller.register(host._in, select.POLLIN)
        assert not poller.poll(8 * GRACE_S * 1000)
        assert (client.end, misses.count) == (None, 0)
    finally:
        host.end(0)
        client.stop()
