"""What the cell puts down for observers, from either of its threads."""

from __future__ import annotations

import time
from threading import Thread

import msgspec

from procvision_host.halves.cell import Records
from procvision_host.halves.messages import Plan
from procvision_host.halves.ring import Ring


class Ends:
    """A guardian that needs no waking."""

    def notify_guardian(self, notice: bytes) -> None:
        raise AssertionError(notice)


def test_two_threads_that_wait_for_room_lose_and_mix_up_nothing() -> None:
    """One tells that the host drains, while the other tells that a session has ended."""
    ring = Ring(4096)
    records = Records(Plan(life=True), ring, Ends(), None)  # type: ignore[arg-type]

    def tell(number: int) -> None:
        records.tell("procvision_host_draining", exit_status=number)

    filling = 0
    while ring._size - ring._counts[0] > 80:
        tell(filling)
        filling += 1
    threads = [Thread(target=tell, args=(filling + more,)) for more in range(6)]
    for thread in threads:
        thread.start()
    found: list[int] = []
    while any(thread.is_alive() for thread in threads) or ring.waiting:
        time.sleep(0.01)
        found += [msgspec.msgpack.decode(data)[0][1]["exit_status"] for _, data in ring.take()]
    assert sorted(found) == list(range(filling + 6))
