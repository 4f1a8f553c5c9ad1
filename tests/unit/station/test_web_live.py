"""A stream of what happens now: the latest for a slow browser, nothing for one that is not let in any more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("litestar", reason="the extra station serves the page")

from station_records import product
from web_client import filled

from procvision_station.configuration.page import read_web
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import open_journal
from procvision_station.projection.database import Database
from procvision_station.projection.projector import Projector
from procvision_station.projection.queries import ReadModel
from procvision_station.web import live as module
from procvision_station.web.api.pictures import Pictures
from procvision_station.web.live import Live


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("station") / "line-3", count=5)


@contextlib.contextmanager
def following(folder: Path) -> Iterator[Live]:
    configuration = read_web(folder, {})
    data = configuration.data_folder
    with contextlib.closing(ReadModel(Database("sqlite", data), configuration.shifts)) as model:
        yield Live(model, configuration.shifts, data, ["main"], Pictures(data / "pictures", data / "live"))


def add(folder: Path, *numbers: int) -> None:
    """Record products, and bring them into the projection."""
    with open_journal(folder / "data" / "journal" / "main") as journal:
        for number in numbers:
            journal.append(Kind.PRODUCT, product(random.Random(number), number))
        journal.sync()
    database = Database("sqlite", folder / "data", writes=True)
    Projector(database, folder / "data" / "journal").catch_up()
    database.close()


def shown(message) -> str:
    return json.loads(message.data)["last"]["product"]["row"]["key"]


def test_a_browser_that_is_slow_gets_the_latest_and_nothing_waits_for_it(folder: Path) -> None:
    async def follow() -> None:
        with following(folder) as live:
            task = asyncio.create_task(live.run())
            slow, quick = live.stream(lambda: True), live.stream(lambda: True)
            first = shown(await anext(slow))
            assert shown(await anext(quick)) == first
            for number in (101, 102, 103):  # the slow one takes none of them
                await asyncio.to_thread(add, folder, number)
                # A product may be told twice, once more when its picture is there.
                while (seen := shown(await anext(quick))) == first:
                    pass
                assert seen == f"main-{number:06d}"
                first = seen
            assert shown(await anext(slow)) == "main-000103"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(slow), 0.3)
            task.cancel()

    asyncio.run(follow())


def test_a_stream_ends_when_who_opened_it_is_signed_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.05)

    async def follow() -> None:
        with following(folder) as live:
            task = asyncio.create_task(live.run())
            admitted = True
            stream = live.stream(lambda: admitted)
            await anext(stream)
            assert live.streams == 1
            admitted = False
            left = [message.event async for message in stream]
            assert left[2:] == []  # a line that was just shown, and that it is alive
            assert live.streams == 0
            task.cancel()

    asyncio.run(follow())
