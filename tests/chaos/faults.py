"""What is done to the hosts, and how long they take to come back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from procvision_host.process.linux import parents
from procvision_runner.errors import SwapError
from procvision_runner.supervision.events import Event, HostRestarted, Swapped
from procvision_runner.supervision.pool import Pool
from procvision_runner.supervision.state import SupervisorState
from procvision_runner.supervision.supervisor import Supervisor
from procvision_runner.supervision.swap import GoldenPicture
from tests.chaos.pictures import number, picture
from tests.peers.background import Background
from tests.peers.chaos_plugins import named

SIGNALS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV)
SPARE_SHARE = 0.15
"""How much of what is struck is the spare host, where there is one."""


class Recovery:
    """A listener: from a fault to the next host that is ready in its place, by a restart or by a swap."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._struck: dict[str, float] = {}
        self._lock = threading.Lock()

    def struck(self, source: str) -> None:
        with self._lock:
            self._struck.setdefault(source, time.time())

    def __call__(self, event: Event) -> None:
        if isinstance(event, (HostRestarted, Swapped)):
            with self._lock:
                struck = self._struck.pop(event.source, None)
            if struck is not None:
                self.seconds.append(max(0.0, event.timestamp_ms / 1000 - struck))


class Faults(Background):
    """Two threads: one strikes, one swaps."""

    def __init__(self, pool: Pool, recovery: Recovery, seed: int, pause_s: tuple[float, float], swap_s: float) -> None:
        super().__init__(
            *(
                partial(self._repeatedly, act, random.Random(f"{seed} {act.__name__}"))
                for act in (self._strike, self._swap)
            )
        )
        self.counts: Counter[str] = Counter()
        self.swap_failures: list[str] = []
        self._pool = pool
        self._recovery = recovery
        self._pause_s = pause_s
        self._swap_s = swap_s

    def _repeatedly(self, act: Callable[[random.Random], None], random_: random.Random) -> None:
        while not self.stopping.is_set():
            act(random_)

    def _strike(self, random_: random.Random) -> None:
        if self.stopping.wait(random_.uniform(*self._pause_s)):
            return
        spare = self._pool.spare
        if spare is not None and random_.random() < SPARE_SHARE:
            if spare.process_id is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(spare.process_id, random_.choice(SIGNALS))
                    self.counts["spare struck"] += 1
            return
        supervisor = random_.choice(self._pool.supervisors)
        host = supervisor.admission.current
        if host is None or not host.ready:
            return
        number_ = random_.choice(SIGNALS)
        # The guardian and the reaper, too, may be what is killed; one that is stopped harms nobody.
        others = [host.process.process_id, parents().get(host.process_id, host.process_id)]
        victims = [host.process_id] * 3 + (others if number_ != signal.SIGSTOP else [])
        with contextlib.suppress(ProcessLookupError):
            self._recovery.struck(supervisor.name)
            os.kill(random_.choice(victims), number_)
            self.counts[number_.name] += 1

    def _swap(self, random_: random.Random) -> None:
        if self.stopping.wait(self._swap_s):
            return
        supervisor = random_.choice(self._pool.supervisors)
        if supervisor.state is not SupervisorState.READY:
            return
        self._swap_one(supervisor, random_)

    def _swap_one(self, supervisor: Supervisor, random_: random.Random) -> None:
        pixels = picture(random_)
        golden = GoldenPicture(
            name="random", image=pixels, pid="A", expected="OK" if number(pixels) % 2 == 0 else "NG", reference=pixels
        )
        version = named("2.0" if named("1.0") in supervisor.command else "1.0")
        try:
            supervisor.swap(version, golden=[golden])
            self.counts["swap"] += 1
            if self._pool.spare is not None:
                # The pool is never of one version here, and its spare is now of this one's.
                self._pool.spare.renew(supervisor.command)
        except SwapError as error:
            self.swap_failures.append(str(error)[:300])
