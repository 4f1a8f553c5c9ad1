"""asyncio users await a supervised call's Future: the loop goes on meanwhile, whatever the host does."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import attrs
import pytest
from supervising import PICTURE, QUICK, marked, nothing_left, peer, supervised, wait_until, with_runner

from procvision_runner.errors import HostDiedError
from procvision_runner.supervision.retry import RetryPolicy
from procvision_runner.supervision.supervisor import Supervisor

PATIENT = with_runner(QUICK, execute_timeout_s=30.0)


class Ticks:
    """Counts how often the loop came round."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self.count += 1

    def stop(self) -> None:
        self._task.cancel()


async def inspect(station: Supervisor, number: int, takes: float = 0.0) -> int:
    params = {"number": number, "takes": takes}
    result = await asyncio.wrap_future(station.submit("execute", PICTURE, pid="A", user_params=params))
    return int(result.debug["echo"]["number"])


def test_loop_goes_on_while_calls_are_executed_and_wait_for_room() -> None:
    """Six calls, two of them in the host at once: everybody's own answer, and the loop is never held up for one."""

    async def main(station: Supervisor) -> None:
        ticks = Ticks()
        calls = [asyncio.create_task(inspect(station, number, 0.2)) for number in range(6)]
        await asyncio.sleep(0)
        for call in calls:
            before = ticks.count
            await call
            # A submit or an answer that blocked would let the loop come round once or twice while a call is executed.
            assert ticks.count - before > 3
        ticks.stop()
        assert [call.result() for call in calls] == list(range(6))

    with supervised(options=PATIENT) as station:
        asyncio.run(main(station))


def test_loop_goes_on_while_a_host_is_lost_and_the_next_is_started(tmp_path: Path) -> None:
    async def main(station: Supervisor) -> None:
        ticks = Ticks()
        with pytest.raises(HostDiedError):
            await inspect(station, 1)
        before = ticks.count
        assert await inspect(station, 2) == 2
        assert ticks.count - before > 3
        ticks.stop()

    with supervised("crash", "--once", str(tmp_path / "once"), options=PATIENT) as station:
        asyncio.run(main(station))


def test_cancelled_task_gives_up_waiting_and_leaves_the_station_in_order() -> None:
    """The call goes on to its end, its slot comes back, and the next has its own answer."""

    async def main(station: Supervisor) -> None:
        task = asyncio.create_task(inspect(station, 1, 0.3))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await inspect(station, 2) == 2

    with supervised(options=PATIENT) as station:
        asyncio.run(main(station))
        assert wait_until(lambda: station.slots.leased == 0)
        assert station.snapshot().counters["calls_OK"] == 2


def test_station_is_started_and_stopped_beside_the_loop() -> None:
    """With a retry in between: what is awaited is the call's one end."""

    async def main(station: Supervisor) -> None:
        await asyncio.to_thread(station.start)
        ticks = Ticks()
        slow = asyncio.create_task(inspect(station, 7, 0.3))
        await asyncio.sleep(0.1)
        assert station.process_id is not None
        os.kill(station.process_id, signal.SIGKILL)
        assert await slow == 7
        before = ticks.count
        await asyncio.to_thread(station.stop)
        assert ticks.count - before > 3
        ticks.stop()

    with nothing_left() as mark:
        options = marked(attrs.evolve(PATIENT, retry=RetryPolicy(retries=2)), mark)
        asyncio.run(main(Supervisor(command=peer(), options=options)))
