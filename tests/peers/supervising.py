"""Supervised peers for tests, and the proof that nothing is left of them."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import procvision_testing
from procvision_runner.options import RunnerOptions
from procvision_runner.supervision.limits import EnvironmentPolicy
from procvision_runner.supervision.options import SupervisorOptions
from procvision_runner.supervision.restart import RestartPolicy
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor
from procvision_sdk.wire.heartbeat import HeartbeatPolicy

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
HOST_PROGRAM = str(Path(procvision_testing.__file__).parent / "peers" / "misbehaving_host.py")
MARK = "PROCVISION_TEST_MARK"
PATIENCE_S = 10.0

QUICK_RUNNER = RunnerOptions(
    handshake_timeout_s=5.0,
    ready_timeout_s=5.0,
    pre_timeout_s=0.6,
    execute_timeout_s=0.6,
    shutdown_timeout_s=0.5,
    terminate_timeout_s=0.5,
)
QUICK = SupervisorOptions(
    runner=QUICK_RUNNER,
    restart=RestartPolicy(max_restarts=20, first_delay_s=0.01, max_delay_s=0.05),
    retry=RetryPolicy(retries=0),
    cancel_grace_s=0.2,
    dump_timeout_s=0.2,
    queue_timeout_s=20.0,
)
QUICK_HEARTBEAT = HeartbeatPolicy(interval_s=0.15, grace_s=0.15)


def with_runner(options: SupervisorOptions, **changes: Any) -> SupervisorOptions:
    return attrs.evolve(options, runner=attrs.evolve(options.runner, **changes))


def marked(options: SupervisorOptions, mark: str, environment: Mapping[str, str] | None = None) -> SupervisorOptions:
    """Options by which every process of a host, wherever it goes, can be found again."""
    extra = {**(environment or {}), MARK: mark}
    return attrs.evolve(options, environment=EnvironmentPolicy(extra=extra))


def processes_with(mark: str) -> list[int]:
    """The living processes that were started with a mark."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                if state not in "ZX" and needle in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def segments() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob(f"pv-{os.getpid()}-*")}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@contextlib.contextmanager
def nothing_left() -> Iterator[str]:
    """Yields a mark for hosts' environments; fails if a process, descriptor, thread or segment outlives the block."""
    mark = secrets.token_hex(8)
    before = descriptors(), segments(), threads()
    yield mark

    def left() -> dict[str, Any]:
        now = descriptors(), segments(), threads()
        return {
            "processes": processes_with(mark),
            "descriptors": max(0, now[0] - before[0]),
            "segments": now[1] - before[1],
            "threads": {name for name in now[2] - before[2] if name.startswith("procvision")},
        }

    wait_until(lambda: not any(left().values()), 3.0)
    assert not any(left().values()), left()


def wait_until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextlib.contextmanager
def supervised(*arguments: str, options: SupervisorOptions = QUICK, **more: Any) -> Iterator[Supervisor]:
    """A supervised host program; afterwards nothing of it is left, and every slot came back."""
    with nothing_left() as mark:
        options = marked(options, mark)
        with Supervisor(command=peer(*arguments), options=options, name="peer", **more) as supervisor:
            slots = supervisor.slots
            yield supervisor
            if not supervisor.stopping:
                assert wait_until(lambda: slots.leased == 0), f"{slots.leased} slots are still on lease"


def peer(*arguments: str) -> list[str]:
    """The command of a host program; -S and no more, so that it starts in a moment."""
    return [sys.executable, "-S", HOST_PROGRAM, *arguments]


def ready_again(supervisor: Supervisor) -> bool:
    return wait_until(lambda: supervisor.state is SupervisorState.READY)


def echo(supervisor: Any, number: int, **more: Any) -> Any:
    """A call's own number, as the answer repeats it."""
    params = {"number": number, **more.pop("params", {})}
    result = supervisor.execute(PICTURE, pid="A", user_params=params, timeout_s=5.0, **more)
    return result.debug["echo"]["number"]
