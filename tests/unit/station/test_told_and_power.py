"""What a line was told survives a power cut at any moment: machine, recorder and journal on a disk that takes notes."""

from __future__ import annotations

import contextlib
import random
from queue import Empty, SimpleQueue

import pytest
from power_cut import RecordedDisk, after_power_cut

from procvision_station.journal.audit import audit
from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import ReadRecord, read_journal
from procvision_station.journal.writer import Journal
from procvision_station.line.machine import Line, LineOptions
from procvision_station.line.messages import Answered, Call, Grab, PictureTaken, Record, Tell, TimePassed, Triggered
from procvision_station.recorder import Recorder

PRODUCTS = 14


def ran(disk: RecordedDisk, rng: random.Random) -> dict[str, tuple[str, int]]:
    """Run a line on a disk; what was told of each product, and after how many of the disk's operations."""
    inbox: SimpleQueue = SimpleQueue()
    recorder = Recorder(Journal(disk, segment_bytes=900), inbox.put)
    line = Line(LineOptions(deadline_s=5.0, max_products=3, retry_s=0.1))
    told: dict[str, tuple[str, int]] = {}
    now, waiting, number = 0.0, [], 0
    for _ in range(3000):
        with contextlib.suppress(Empty):
            while True:
                waiting.append(inbox.get(timeout=0.0 if waiting or number < PRODUCTS else 0.005))
        if number < PRODUCTS and rng.random() < 0.3:
            number += 1
            event = Triggered(f"p-{number}", 1)
        elif waiting:
            event = waiting.pop(0)
        else:
            event = TimePassed()
            now += rng.choice((0.0, 0.05, 0.05, 2.0) if number < PRODUCTS else (0.05,))
        for command in line.receive(event, now):
            if isinstance(command, Tell):
                assert command.key not in told
                told[command.key] = (command.verdict, len(disk.operations))
            elif isinstance(command, Grab):
                waiting.append(PictureTaken(command.key, command.step))
            elif isinstance(command, Call):
                waiting.append(Answered(command.key, command.step, rng.choice(("OK", "NG", "ERROR"))))
            else:
                assert isinstance(command, Record)
                content = {"key": command.key, "found": command.found, "told": command.told}
                recorder.record(command.key, command.kind, content)
                if rng.random() < 0.5:
                    waiting.append(inbox.get())  # the disk's answer comes before anything else
        if number == PRODUCTS and line.idle:
            break
    assert line.idle
    recorder.stop()
    return told


def recorded(disk: RecordedDisk) -> dict[str, str]:
    """What a journal says was told at last; no product stands there twice."""
    found: dict[str, str] = {}
    for each in read_journal(disk):
        assert isinstance(each, ReadRecord), each
        content = each.content()
        assert each.header.kind != Kind.PRODUCT or content["key"] not in found
        found[content["key"]] = content["told"]
    return found


@pytest.mark.parametrize("seed", range(6))
def test_an_ok_or_ng_that_was_told_is_recorded_whenever_the_power_goes(seed: int) -> None:
    """After each single operation of the disk, with several fates of what was not synced."""
    rng = random.Random(seed)
    disk = RecordedDisk()
    told = ran(disk, rng)
    assert len(told) == PRODUCTS
    assert {key: verdict for key, (verdict, _) in told.items()} == recorded(disk)
    for end in range(len(disk.operations) + 1):
        for _ in range(3):
            left = RecordedDisk(after_power_cut(disk.operations[:end], rng))
            Journal(left).close()  # the next start
            found = recorded(left)
            for key, (verdict, at) in told.items():
                if at <= end and verdict != "ERROR":
                    assert found.get(key) == verdict, (key, end)


@pytest.mark.parametrize("seed", range(6))
def test_a_disk_that_fails_now_and_then_is_told_as_error_and_recorded_at_last(seed: int) -> None:
    rng = random.Random(seed)
    disk = RecordedDisk(fail_at=set(rng.sample(range(8, 120), 40)))
    told = ran(disk, rng)
    assert {key: verdict for key, (verdict, _) in told.items()} == recorded(disk)
    assert audit(disk).first_break is None
