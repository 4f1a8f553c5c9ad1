"""What `check` says of the disk: the need by the line's own figures, and for how many days there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from procvision_station.ballast import BALLAST_BYTES
from procvision_station.cameras import SimulatedCamera, SimulatedOptions
from procvision_station.configuration.model import PicturesSection
from procvision_station.configuration.reading import read_station
from procvision_station.disk_need import DAY_S, LEDGER_DAYS, LineLoad, disk_need, held_against, in_words
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import Journal, open_journal
from procvision_station.kinds import Fired
from procvision_station.pictures import encoded
from procvision_station.retention import MEGABYTE
from procvision_station.scaffold import make_station

GB = 10**9
LOAD = LineLoad("main", 2.0, {"OK": 0.9, "NG": 0.1, "ERROR": 0.0}, dict.fromkeys(("OK", "NG", "ERROR"), 1e6), 1000)
LEDGER = LEDGER_DAYS * 2 * DAY_S * 1000


def policy(**keys) -> PicturesSection:
    return PicturesSection(**{"keep_ok": 0.5, "keep_ng": 1, "keep_error": 1, "free_mb": 0, **keys})


def said(need, of: PicturesSection, level: str) -> list[str]:
    return [text for each, text, hint in in_words(need, of) if each == level and (hint or level == "info")]


def test_bad_products_pictures_get_their_room_first() -> None:
    """A day has 17.28 GB of NG and 77.76 GB of OK pictures; there is room for ten days of NG and two of OK."""
    of = policy(ok_days=5, ng_days=10)
    free = round(10 * 17.28 * GB + 2 * 77.76 * GB + LEDGER + BALLAST_BYTES)
    need = held_against(of, [LOAD], free, 0)
    assert [(stay.verdict, stay.days and round(stay.days, 6)) for stay in need.stays] == [("NG", None), ("OK", 2)]
    (warning,) = [text for text in said(need, of, "warning") if "pictures" in text]
    assert warning == "disk: OK pictures of 5.0 days take 388.8 GB, and there is room for 2.0 days"
    assert not any("pictures" in text for text in said(held_against(of, [LOAD], free, 233 * GB + GB), of, "warning"))


def test_what_goes_by_room_alone_shares_what_is_left() -> None:
    of = policy()
    need = held_against(of, [LOAD], round(95.04 * GB * 3 + LEDGER + BALLAST_BYTES), 0)
    assert said(need, of, "info")[1] == "disk: NG and OK pictures go by room alone: they fill it in 3.0 days"


def test_a_disk_with_less_than_is_to_stay_free_is_an_error() -> None:
    of = policy(free_mb=500)
    (error,) = said(held_against(of, [LOAD], 400 * MEGABYTE, 0), of, "error")
    assert error == ("disk: pictures.free_mb is 500 MB, and 400 MB are free: every kept picture would go at once")


def test_a_ledger_that_fills_the_disk_within_a_year_is_told() -> None:
    of = policy(keep_ok=0, keep_ng=0, keep_error=0)
    free = 100 * 2 * DAY_S * 1000 + BALLAST_BYTES
    assert "fills it in 100 days by itself" in said(held_against(of, [LOAD], free, 0), of, "warning")[0]
    assert said(held_against(of, [LOAD], 4 * free, 0), of, "warning") == []


@pytest.mark.parametrize(("per_second", "unknown"), [(None, ["how often a product comes to main"]), (3.0, [])])
def test_what_nobody_knows_is_told_and_left_out(tmp_path: Path, per_second, unknown) -> None:
    list(make_station(tmp_path))
    path = tmp_path / "station.toml"
    path.write_text(path.read_text().replace('kind = "interval"\nevery_s = 0.5', 'kind = "http"\nport = 0'))
    need = disk_need(read_station(tmp_path), per_second)
    assert list(need.unknown) == unknown
    assert bool(need.stays) is (per_second is not None)


def test_the_size_is_the_references_with_a_sensors_noise_until_there_are_pictures(tmp_path: Path) -> None:
    list(make_station(tmp_path))
    station = read_station(tmp_path)
    taken = SimulatedCamera(SimulatedOptions(), tmp_path).grab(Fired())
    (ng,) = [stay for stay in disk_need(station).stays if stay.verdict == "NG"]
    assert ng.bytes_per_day == pytest.approx(2 * DAY_S * 0.05 * len(encoded(taken)[0]), rel=0.3)
    ticks = iter(range(10**18, 10**19, 250_000_000))
    with open_journal(station.journal_folder("main")) as opened:
        journal = Journal(opened.disk, clock_ns=lambda: next(ticks))
        for number in range(60):
            told = "NG" if number % 2 else "OK"
            journal.append(Kind.PRODUCT, {"key": str(number), "told": told, "found": told, "steps": []})
            journal.append(Kind.EVENT, {"event": "picture", "key": str(number), "step": 0, "bytes": 7000})
        journal.sync()
    stays = {stay.verdict: stay.bytes_per_day for stay in disk_need(station).stays}
    # Half are NG; of neither verdict there are fifty pictures yet.
    assert stays["NG"] == pytest.approx(10 * ng.bytes_per_day)
    with open_journal(station.journal_folder("main")) as journal:
        for number in range(60, 160):
            told = "NG" if number % 2 else "OK"
            journal.append(Kind.PRODUCT, {"key": str(number), "told": told, "found": told, "steps": []})
            journal.append(Kind.EVENT, {"event": "picture", "key": str(number), "step": 0, "bytes": 7000})
        journal.sync()
    assert disk_need(station).stays[0].bytes_per_day == pytest.approx(2 * DAY_S * 0.5 * 7000)
