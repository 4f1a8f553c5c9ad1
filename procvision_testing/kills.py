"""A session store under SIGKILL: `check_survives_kills`.

Each session is an inspection of a few calls, and at a random moment of one of them its host is killed. The call is made
again to another host, as a runner would do it, and the inspection goes on. The algorithm counts its calls in the
session's state: so each answer says which state the host has found.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs

from procvision_testing.hook_hosts import HookHost

CALLS_PER_SESSION = 4
MEASURED_CALLS = 30
KILLED = (("algorithm",), ("launched",), ("launched", "algorithm"), ("algorithm", "launched"))
"""The processes of a host that a kill is for: one of them, or both."""


@attrs.frozen
class Kills:
    """In which moments the hosts were killed, by what was left."""

    before_saving: int = 0
    """Unanswered, and the state is that of the call before."""
    saved: int = 0
    """Unanswered, and the state is that of the killed call: it is found carried out when it is made again."""
    answered: int = 0
    """The answer was out."""

    def __add__(self, other: Kills) -> Kills:
        mine, others = attrs.astuple(self), attrs.astuple(other)
        return Kills(*(one + two for one, two in zip(mine, others, strict=True)))

    @property
    def sessions(self) -> int:
        """All of them."""
        return self.before_saving + self.saved + self.answered


def check_survives_kills(
    folder: Path,
    *arguments: str,
    sessions: int = 50,
    hosts: int = 2,
    seed: int | None = None,
    **host: Any,
) -> Kills:
    """Kill a host in each of so many sessions, on a store that `arguments` name, such as `"--sessions", "sqlite:…"`.

    So many `hosts` work at once, each on sessions of its own. `folder` is for what the hosts need; further arguments
    are HookHost's. Raises AssertionError where a state of an answered call was lost, an unanswered final call had
    ended its session, or a host could not go on.
    """
    each = [sessions // hosts + (number < sessions % hosts) for number in range(hosts)]
    seed = random.randrange(2**32) if seed is None else seed

    def work(number: int) -> Kills:
        try:
            return _Station(folder / f"host{number}", arguments, host, random.Random(seed + number)).run(each[number])
        except AssertionError as error:
            raise AssertionError(f"{error} (seed {seed})") from error

    with ThreadPoolExecutor(hosts) as threads:
        return sum(threads.map(work, range(hosts)), Kills())


class _Station:
    """One host after the other."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], host: dict[str, Any], dice: random.Random) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._launch: Callable[[], HookHost] = lambda: HookHost(folder, *arguments, **host)
        self._dice = dice
        self._prefix = uuid4().hex[:8]
        self._host = self._launch()
        self._call_s = 0.0

    def run(self, sessions: int) -> Kills:
        kills = Kills()
        try:
            self._call_s = self._measured()
            for number in range(sessions):
                kills += self._session(f"{self._prefix}-{number}")
        finally:
            self._host.__exit__()
        return kills

    def _measured(self) -> float:
        """Return how long a call takes, in seconds: kills fall into twice that."""
        times = []
        for number in range(MEASURED_CALLS):
            began = time.perf_counter()
            answer = self._host.call(
                session=f"{self._prefix}-measured", publish=True, final=number == MEASURED_CALLS - 1
            )
            times.append(time.perf_counter() - began)
            self._number(answer)
        return statistics.median(times)

    def _session(self, name: str) -> Kills:
        """Return one inspection, in which one call's host is killed."""
        calls = self._dice.randint(1, CALLS_PER_SESSION)
        killed = self._dice.randint(1, calls)
        done = 0
        kills = Kills()
        for call in range(1, calls + 1):
            final = call == calls
            if call == killed:
                answer = self._killed(name, final=final)
                if answer is None:
                    found = self._number(self._host.call(session=name, publish=True, final=final)) - 1
                    allowed = {done} if final else {done, done + 1}
                    assert found in allowed, f"{done} calls of {name} were answered, the next host found {found}"
                    kills = Kills(saved=1) if found > done else Kills(before_saving=1)
                    done = found + 1
                    continue
                kills = Kills(answered=1)
            else:
                answer = self._host.call(session=name, publish=True, final=final)
            found = self._number(answer) - 1
            assert found == done, f"{done} calls of {name} were answered, the next one found {found}"
            done += 1
        return kills

    def _killed(self, name: str, *, final: bool) -> dict[str, Any] | None:
        """Return the answer to a call, if it was out before the host died; the next host stands ready."""
        with self._host as host:
            request_id = host.send_call(session=name, publish=True, final=final)
            time.sleep(self._dice.uniform(0, 2 * self._call_s))
            host.kill(*self._dice.choice(KILLED))
            answers = [message for message in host.rest() if message.get("request_id") == request_id]
        self._host = self._launch()
        assert len(answers) < 2, f"a call has two answers: {answers}"
        return answers[0] if answers else None

    def _number(self, answer: dict[str, Any]) -> int:
        assert answer.get("status") == "OK", f"a call failed: {answer}\n{self._host.log()}"
        number = answer["data"]["debug"]["number"]
        assert isinstance(number, int)
        return number
