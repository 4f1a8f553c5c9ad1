"""A projection is what its journals say: filled in any pieces, interrupted, lost or made anew."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import pytest

pytest.importorskip("sqlalchemy", reason="a projection needs SQLAlchemy")

from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, event, select
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError
from station_records import START, drawn, product

from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.layout import Kind
from procvision_station.journal.reading import segments
from procvision_station.journal.writer import Journal, open_journal
from procvision_station.projection import migrations
from procvision_station.projection.answers import EventFilter, HistoryFilter, Span
from procvision_station.projection.database import Database, ProjectionError
from procvision_station.projection.projector import Projector, contents
from procvision_station.projection.queries import ReadModel
from procvision_station.projection.tables import metadata, one_of, pictures
from procvision_station.shifts import Shifts, parsed_starts
from tests.evidence.damage import DAMAGES

SUPPORT = str(Path(__file__).parents[3] / "plugins" / "procvision-postgres" / "tests" / "support")
if SUPPORT not in sys.path:
    sys.path.append(SUPPORT)

SMALL_SEGMENT = 20_000


@pytest.fixture(scope="module")
def server() -> Iterator:
    postgres_server = pytest.importorskip("postgres_server", reason="psycopg is not installed")
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed; hint: apt-get install postgresql")
    with postgres_server.PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("server").url


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[Database]:
    database = Database(url, tmp_path, writes=True)
    database.migrate()
    database.remove()
    yield database
    database.close()


def append(journal: Journal, kind: Kind, content: dict) -> None:
    if content.get("event") == "erased":
        journal.erase(content["sequence"], content["why"])
    else:
        journal.append(kind, content)
        journal.sync()


def whole(database: Database) -> dict:
    """Everything but how far the line's bytes were read, which is the same where the records are."""
    return contents(database)


def filled(folder: Path, seed: int, count: int, line: str = "main") -> None:
    with open_journal(folder / line, segment_bytes=SMALL_SEGMENT) as journal:
        for kind, content in drawn(seed, count, line=line):
            append(journal, kind, content)


def test_a_projection_filled_in_pieces_is_equal_to_a_rebuild(database: Database, tmp_path: Path) -> None:
    """Also where records were erased that stood in it, and where another line came between."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    journals = tmp_path / "journal"
    projector = Projector(database, journals)
    for line in ("main", "side"):
        with open_journal(journals / line, segment_bytes=SMALL_SEGMENT) as journal:
            for kind, content in drawn(seed, 80, line=line):
                append(journal, kind, content)
                if rng.random() < 0.1:
                    projector.catch_up()
    projector.catch_up()
    before = whole(database)
    assert before["products"]
    assert before["recipe_versions"]
    Projector(database, journals).rebuild()
    assert whole(database) == before
    gone = {row["text"] for row in before["events"] if row["event"] == "note"}
    assert all("\x00" not in text for text in gone)


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    database.migrate()
    with database.writing() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize(
    ("url", "version"),
    [*(("sqlite", version) for version in (1, 2, 3, 4)), ("postgresql", 1), ("postgresql", 4)],
    indirect=["url"],
)
def test_tables_of_each_earlier_version_become_those_of_a_rebuild(
    database: Database, tmp_path: Path, version: int
) -> None:
    """With rows in them: what an earlier version had read, a later one shows alike."""
    filled(tmp_path / "journal", 7, 40)
    projector = Projector(database, tmp_path / "journal")
    projector.rebuild()
    before = whole(database)
    database.remove()
    with database.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, str(version))
        earlier = MetaData()
        earlier.reflect(connection)
        for table in earlier.tables.values():
            rows = [{name: row[name] for name in row if name in table.c} for row in before.get(table.name, ())]
            if rows:
                connection.execute(table.insert(), rows)
    database.close()
    Projector(database, tmp_path / "journal").catch_up()
    assert whole(database) == before
    with database.writing() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_migration_that_was_cut_off_is_made_whole(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one would be in its own way for ever."""
    filled(tmp_path / "journal", 7, 40)
    Projector(database, tmp_path / "journal").rebuild()
    before = whole(database)
    for step in ("create_table", "add_column", "drop_index", "create_index"):
        database.remove()
        with monkeypatch.context() as patch:
            patch.setattr(op, step, cut_off_after_one(getattr(op, step)))
            with pytest.raises(OSError, match="cut off"):
                database.migrate()
        database.close()
        Projector(database, tmp_path / "journal").catch_up()
        assert whole(database) == before


def cut_off_after_one(do: Any) -> Any:
    """What does something once, and fails then."""
    times = itertools.count()

    def once(*given: Any, **named: Any) -> Any:
        if next(times):
            raise OSError("cut off")
        return do(*given, **named)

    return once


def test_what_is_read_together_is_of_one_moment(database: Database, url: str, tmp_path: Path) -> None:
    """A history asks for its bins first, and then for the products in them."""
    filled(tmp_path / "journal", 7, 40)
    Projector(database, tmp_path / "journal").catch_up()
    reader, count = Database(url, tmp_path), sql("SELECT count(*) FROM products")
    with reader.reading() as connection:
        before = connection.execute(count).scalar()
        with database.writing() as other:
            other.execute(sql("DELETE FROM products"))
        assert connection.execute(count).scalar() == before > 0
    with reader.reading() as connection:
        assert connection.execute(count).scalar() == 0
    reader.close()


def test_tables_of_a_later_version_are_made_anew(database: Database, tmp_path: Path) -> None:
    filled(tmp_path / "journal", 1, 10)
    projector = Projector(database, tmp_path / "journal")
    projector.catch_up()
    before = whole(database)
    with database.writing() as connection:
        connection.execute(sql("UPDATE alembic_version SET version_num = '9999'"))
    again = Projector(database, tmp_path / "journal")
    again.catch_up()
    assert whole(database) == before
    assert "another version" in again.rebuilds[0]


def test_a_journal_that_took_records_back_is_read_anew(database: Database, tmp_path: Path) -> None:
    """What a power cut takes is a tail that was seen and never acknowledged."""
    folder = tmp_path / "journal" / "main"
    filled(folder.parent, 1, 20)
    projector = Projector(database, folder.parent)
    projector.catch_up()
    last = folder / segments(FolderDisk(folder).names())[-1]
    data = last.read_bytes()
    last.write_bytes(data[: data.rindex(b"PVRC")])
    with open_journal(folder) as journal:
        for number in range(5):
            append(journal, Kind.EVENT, {"event": "note", "key": "main-000001", "text": f"another {number}"})
    projector.catch_up()
    assert projector.rebuilds == ["main: the journal took records back"]
    after = whole(database)
    Projector(database, folder.parent).rebuild()
    assert whole(database) == after
    assert not any(row["event"] == "stopped" for row in after["events"])


def test_a_damaged_journal_is_shown_to_its_break_and_says_so(tmp_path: Path) -> None:
    database = Database("sqlite", tmp_path, writes=True)
    folder = tmp_path / "journal" / "main"
    filled(folder.parent, 1, 20)
    first = folder / segments(FolderDisk(folder).names())[0]
    data = bytearray(first.read_bytes())
    data[data.index(b"main-000003")] ^= 1
    first.write_bytes(data)
    damage = str(audit(FolderDisk(folder)).first_break)
    notices: list[str] = []
    projector = Projector(database, folder.parent, notices.append)
    for _ in range(3):
        projector.step()
    (row,) = ReadModel(database).lines()
    database.close()
    assert row.problem is not None
    assert len(notices) == 1
    assert damage in row.problem


def test_a_segment_that_is_cut_in_its_middle_is_shown_to_the_cut(tmp_path: Path) -> None:
    database = Database("sqlite", tmp_path, writes=True)
    folder = tmp_path / "journal" / "main"
    filled(folder.parent, 1, 60)
    first, second = segments(FolderDisk(folder).names())[:2]
    path = folder / first
    path.write_bytes(path.read_bytes()[:-100])
    projector = Projector(database, folder.parent)
    projector.catch_up()
    (row,) = ReadModel(database).lines()
    database.close()
    assert row.problem is not None
    assert row.problem.startswith(first)
    assert row.sequence == int(second.removesuffix(".seg")) - 2


def test_a_file_that_was_damaged_under_it_is_noticed_and_made_anew(tmp_path: Path) -> None:
    filled(tmp_path / "journal", 2, 60)
    database = Database("sqlite", tmp_path, writes=True)
    projector = Projector(database, tmp_path / "journal")
    projector.catch_up()
    shutil.copy(database.path, tmp_path / "earlier")
    expected = whole(database)
    reader = ReadModel(Database("sqlite", tmp_path))
    before = reader.history()
    for number, damage in enumerate(DAMAGES, 1):
        damage(database.path, tmp_path / "earlier")
        assert projector.step() > 0, damage.__name__
        assert projector.caught_up is None
        projector.catch_up()
        assert len(projector.rebuilds) == number, (damage.__name__, projector.rebuilds)
        assert whole(database) == expected
        assert reader.history() == before
    reader.close()
    database.close()
    # What is damaged inside is found by SQLite, here at the next start.
    for damaged in (bytes(8192), b"this is no database\n" * 500):
        database.path.write_bytes(damaged)
        projector = Projector(database, tmp_path / "journal")
        projector.catch_up()
        assert len(projector.rebuilds) == 1
        assert whole(database) == expected
        database.close()


def test_readers_in_other_processes_that_come_and_go_damage_nothing(tmp_path: Path) -> None:
    """What closes SQLite's file beside SQLite ends its locks: the next reader that leaves would remove the log."""
    filled(tmp_path / "journal", 2, 30)
    database = Database("sqlite", tmp_path, writes=True)
    projector = Projector(database, tmp_path / "journal")
    projector.catch_up()
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM products').fetchone()"
    for _ in range(2):
        projector.step()
        subprocess.run([sys.executable, "-c", program, database.path], check=True, timeout=60)
        assert not database.replaced()
    assert projector.rebuilds == []
    database.close()


def wait_for(holds) -> None:
    for _ in range(600):
        try:
            if holds():
                return
        except ProjectionError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not come")


def test_a_database_that_is_away_is_caught_up_with_when_it_is_back(server, tmp_path: Path) -> None:
    database = Database(server.url, tmp_path, writes=True)
    database.migrate()
    database.remove()
    notices: list[str] = []
    projector = Projector(database, tmp_path / "journal", notices.append)
    stop = threading.Event()
    thread = threading.Thread(target=projector.run, args=(stop,))
    thread.start()
    try:
        with open_journal(tmp_path / "journal" / "main") as journal:
            records = drawn(5, 120)
            for place, (kind, content) in enumerate(records):
                append(journal, kind, content)
                if place == 60:
                    server.kill()
                if place == 100:
                    server.start()
            expected = journal.sequence
        reader = ReadModel(Database(server.url, tmp_path))
        wait_for(lambda: reader.last_sequences().get("main") == expected)
        reader.close()
    finally:
        stop.set()
        thread.join()
    before = whole(database)
    Projector(database, tmp_path / "journal").rebuild()
    assert whole(database) == before
    assert len([text for text in notices if "is back" in text]) == 1
    database.close()


# --- what is asked ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A read model over two lines, and the products as they were written."""
    folder = tmp_path_factory.mktemp("model")
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("server").url
    written: list[dict] = []
    for line in ("main", "side"):
        rng = random.Random(line)
        with open_journal(folder / "journal" / line) as journal:
            for number in range(120):
                written.append({**product(rng, number, line=line), "line": line})
                journal.append(Kind.PRODUCT, written[-1])
            journal.append(Kind.EVENT, {"event": "overruled", "key": f"{line}-000007", "verdict": "OK", "user": "u-1"})
            journal.sync()
    database = Database(url, folder, writes=True)
    Projector(database, folder / "journal").rebuild()
    shifts = Shifts(ZoneInfo("Europe/Berlin"), parsed_starts(["06:00", "14:30", "22:00"]))
    yield ReadModel(database, shifts), written
    database.close()


def paged(ask) -> list:
    """All rows, by pages of seven."""
    rows, after = [], None
    while True:
        page = ask(after)
        rows += page.rows
        if page.after is None:
            return rows
        assert len(page.rows) == 7
        after = page.after


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({}, lambda each: True),
        ({"line": "side"}, lambda each: each["line"] == "side"),
        ({"told": "NG"}, lambda each: each["told"] == "NG"),
        ({"recipe": "other", "line": "main"}, lambda each: each["recipe"] == "other" and each["line"] == "main"),
        ({"label": "short"}, lambda each: "short" in str(each["steps"])),
        ({"serial": "S5"}, lambda each: each["serial"] == "S5"),
        ({"overruled": "any"}, lambda each: each["key"].endswith("-000007")),
        ({"overruled": "NG"}, lambda each: False),
        (
            {"since": START + timedelta(seconds=900), "until": START + timedelta(seconds=1800)},
            lambda each: 900 <= (datetime.fromisoformat(each["triggered_at"]) - START).total_seconds() < 1800,
        ),
    ],
)
def test_history_pages_hold_what_was_asked_for_once_and_in_order(model, wanted, holds) -> None:
    reader, written = model
    rows = paged(lambda after: reader.history(HistoryFilter(**wanted), limit=7, after=after))
    assert sorted(row.key for row in rows) == sorted(each["key"] for each in written if holds(each))
    order = [(row.triggered_at, row.line, row.sequence) for row in rows]
    assert order == sorted(order, reverse=True)


VALUES: dict[str, list[Any]] = {
    "line": ["main", "side", "none"],
    "told": ["OK", "NG", "ERROR"],
    "overruled": ["any", "OK", "NG", "ERROR"],
    "label": ["short", "open", "none"],
    "recipe": ["board", "other", "none"],
    "recipe_version": ["v0", "v2", "none"],
    "versions": ["pcb-compare 1.2.0", "none"],
    "product": ["board", "none"],
    "serial": ["S5", "none"],
    "key": ["main-000007", "none"],
    "since": [START + timedelta(seconds=900)],
    "until": [START + timedelta(seconds=2700)],
}


def test_any_filters_together_show_what_they_say(model) -> None:
    """Each one, and others together that are drawn, in pages of seven."""
    reader, _ = model
    everything = reader.history(limit=500).rows
    labels = {
        row.key: {each.label for step in reader.product(row.line, row.key).steps for each in step.defects}
        for row in everything
    }
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    asked = [*itertools.combinations(VALUES, 1)]
    asked += [tuple(rng.sample(sorted(VALUES), rng.randrange(2, 6))) for _ in range(25)]
    for names in asked:
        wanted = {name: rng.choice(VALUES[name][:-1] or VALUES[name]) for name in names}
        wanted |= {name: VALUES[name][-1] for name in names if rng.random() < 0.1}
        found = paged(lambda after, wanted=wanted: reader.history(HistoryFilter(**wanted), limit=7, after=after))
        assert found == [row for row in everything if _fits(row, labels[row.key], wanted)], wanted


def _fits(row: Any, labels: set[str], wanted: dict[str, Any]) -> bool:
    given = dict(wanted)
    since, until = given.pop("since", START), given.pop("until", START + timedelta(days=9))
    label = given.pop("label", None)
    if given.get("overruled") == "any":
        given["overruled"] = row.overruled or "none"
    holds = all(getattr(row, name) == value for name, value in given.items())
    return holds and since <= row.triggered_at < until and (label is None or label in labels)


def test_no_page_of_history_or_events_reads_or_sorts_more_than_it_shows(tmp_path: Path) -> None:
    """Each filter has an index in the order of the list: a week is no slower than a day. Of a key there are few.

    Of several filters an index alone says which products fit.
    """
    database = Database("sqlite", tmp_path, writes=True)
    filled(tmp_path / "journal", 1, 60)
    Projector(database, tmp_path / "journal").catch_up()
    asked: list[tuple] = []
    with database.reading() as connection:
        event.listen(connection.engine, "before_cursor_execute", lambda *of: asked.append((of[2], of[3])))
    model = ReadModel(database)
    for names in (*itertools.combinations(VALUES, 1), *itertools.combinations(VALUES, 2)):
        model.history(HistoryFilter(**{name: VALUES[name][0] for name in names}))
    for each in ({name: "x"} for name in ("line", "event", "user")):
        model.events(EventFilter(**each))
    of_bins = 0
    with database.reading() as connection:
        for statement, values in {of[0]: of for of in asked}.values():
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
            few = "products_by_key" in plan or "FROM pictures" in statement
            assert few or "TEMP B-TREE FOR ORDER BY" not in plan, (statement, plan)
            if ".bin = ?" in statement:
                of_bins += 1
                assert "USING COVERING INDEX" in plan, (statement, plan)
    assert of_bins > 5
    database.close()


def test_one_product_is_shown_whole(model) -> None:
    reader, written = model
    as_written = next(each for each in written if each["key"] == "main-000007")
    found = reader.product("main", "main-000007")
    assert found is not None
    assert found.row.overruled == "OK"
    assert (found.older, found.newer) == ("main-000006", "main-000008")
    assert [event.event for event in found.events] == ["overruled"]
    assert len(found.steps) == len(as_written["steps"])
    for step, given in zip(found.steps, as_written["steps"], strict=True):
        assert [rect.score for rect in step.defects] == [rect["score"] for rect in given["defect_rects"]]
        assert {each.name: each.value for each in step.measurements} == {
            "gap": given["debug"]["gap"]["value"],
            "contrast": given["debug"]["contrast"],
        }
    assert reader.product("main", "side-000007") is None
    assert reader.live("side").row.key == "side-000119"


@pytest.mark.parametrize("by", ["all", "shift", "recipe", "version", "line", "quarter"])
def test_counts_by_any_group_are_those_of_the_products(model, by: str) -> None:
    reader, written = model
    span = Span(since=START - timedelta(days=1), until=START + timedelta(days=2))
    rows = reader.counts(span, by)
    for verdict in ("OK", "NG", "ERROR"):
        assert sum(getattr(row, verdict.lower()) for row in rows) == sum(each["told"] == verdict for each in written)
    if by in ("shift", "quarter"):
        for row in rows:
            of = [each for each in written if row.since <= datetime.fromisoformat(each["triggered_at"]) < row.until]
            assert row.total == len(of)
    if by == "shift":  # the night that puts the clock forward has seven hours
        assert [(row.until - row.since) for row in rows if row.group == "2026-03-28 22:00"] == [timedelta(hours=7)]


def test_the_most_frequent_label_comes_first(model) -> None:
    reader, written = model
    counted: dict[str, int] = {}
    for each in written:
        for step in each["steps"]:
            for rect in step["defect_rects"]:
                label = rect["label"].replace("\x00", "\ufffd")
                counted[label] = counted.get(label, 0) + 1
    rows = reader.pareto(Span(since=START, until=START + timedelta(days=1)))
    assert [(row.label, row.defects) for row in rows] == sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    assert rows[-1].cumulative == pytest.approx(1)


def test_a_trend_has_each_value_in_its_quarter(model) -> None:
    reader, written = model
    span = Span(since=START, until=START + timedelta(days=1), line="main")
    assert {(each.step, each.name) for each in reader.measures(span)} == {
        (s, n) for s in (0, 1) for n in ("contrast", "gap")
    }
    points = reader.trend(span, 0, "gap")
    values = [each["steps"][0]["debug"]["gap"]["value"] for each in written if each["line"] == "main"]
    assert sum(point.count for point in points) == len(values)
    assert sum(point.mean * point.count for point in points) == pytest.approx(sum(values))
    assert min(point.lowest for point in points) == min(values)
    assert {(point.low, point.high) for point in points} == {(0.1, 0.9)}


def test_events_can_be_asked_by_who_did_them(model) -> None:
    reader, _ = model
    rows = reader.events(EventFilter(by_users=True)).rows
    assert {(row.event, row.user, row.key) for row in rows} == {
        ("overruled", "u-1", "side-000007"),
        ("overruled", "u-1", "main-000007"),
    }
    assert reader.events(EventFilter(user="u-2")).rows == []


@pytest.mark.parametrize("after", ["", "x", "WzFd", "bm90IGpzb24", "WyJhIiwiYiIsImMiXQ", "é" * 10, "WzFlMzAsImEiLDFd"])
def test_a_place_that_no_page_gave_is_refused(model, after: str) -> None:
    reader, _ = model
    with pytest.raises(ValueError, match="no place in a list"):
        reader.history(after=after)


def test_readers_cannot_write(database: Database, url: str, tmp_path: Path) -> None:
    database.migrate()
    reader = Database(url, tmp_path)
    with pytest.raises(Exception, match=r"readonly|read-only"), reader.reading() as connection:
        connection.execute(sql("DELETE FROM lines"))
    reader.close()


def test_a_reader_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectionError, match="there is no"):
        ReadModel(Database("sqlite", tmp_path)).lines()
    assert not list(tmp_path.iterdir())


# --- shifts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"])
@pytest.mark.parametrize("starts", [["00:00"], ["06:00", "14:00", "22:00"], ["02:30"], ["02:00", "02:30", "03:00"]])
def test_every_moment_is_in_one_shift_and_shifts_leave_no_gap(zone: str, starts: list[str]) -> None:
    shifts = Shifts(ZoneInfo(zone), parsed_starts(starts))
    for begin in (
        datetime(2026, 3, 27, tzinfo=UTC),
        datetime(2026, 10, 23, tzinfo=UTC),
        datetime(2011, 12, 28, tzinfo=UTC),
    ):
        found = shifts.between(begin, begin + timedelta(days=5))
        assert all(before.end == after.start for before, after in itertools.pairwise(found))
        for hour in range(5 * 24):
            moment = begin + timedelta(hours=hour, minutes=hour % 60)
            shift = shifts.at(moment)
            assert shift.start <= moment < shift.end


def test_lists_of_any_length_are_asked_by_a_few_statements() -> None:
    """Each is kept prepared by its connection: a projection's process grew by them for hours."""
    engine = create_engine("sqlite://")
    said: set[str] = set()
    event.listen(engine, "before_cursor_execute", lambda *given: said.add(given[2]))
    with engine.begin() as connection:
        pictures.create(connection)
        rows = [
            {"line": "a", "key": str(each), "step": 1, "file": str(each), "state": "there", "at_ms": each}
            for each in range(40)
        ]
        connection.execute(pictures.insert(), rows)
        said.clear()
        for length in range(300):
            wanted = [str(each) for each in range(35, 35 + length)]
            found = connection.execute(select(pictures.c.file).where(one_of(pictures.c.file, wanted))).scalars().all()
            assert sorted(found) == wanted[:5]
    assert len(said) == 11


def test_a_removed_journal_leaves_its_line_as_it_was(tmp_path: Path) -> None:
    """A folder that is gone is a fault of the disk's, and no reason to forget."""
    filled(tmp_path / "journal", 3, 10)
    database = Database("sqlite", tmp_path, writes=True)
    projector = Projector(database, tmp_path / "journal")
    projector.catch_up()
    before = whole(database)
    shutil.rmtree(tmp_path / "journal" / "main")
    projector.step()
    assert whole(database) == before
    database.close()


def test_a_frozen_server_is_noticed_and_asked_again_when_it_is_back(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel goes on to answer: no keepalive sees it. Neither a page nor the projector waits for ever."""
    from procvision_station.projection import postgresql

    monkeypatch.setattr(postgresql, "CONNECT_S", 2)
    for kind in (postgresql.BoundedConnection, postgresql.ReaderConnection):
        monkeypatch.setattr(kind, "within_s", 0.3)
    written, read = Database(server.url, tmp_path, writes=True), Database(server.url, tmp_path)
    written.migrate()
    model = ReadModel(read)
    before = model.lines()
    everything = [psutil.Process(server.process_id), *psutil.Process(server.process_id).children(recursive=True)]
    try:
        for each in everything:
            each.suspend()
        with pytest.raises(ProjectionError, match=r"can't be asked: .*(0\.3 s|timeout)"):
            model.lines()
        with pytest.raises(SQLAlchemyError), written.writing() as connection:
            connection.execute(sql("SELECT 1"))
    finally:
        for each in everything:
            each.resume()
    assert model.lines() == before
    with written.writing() as connection:
        assert connection.execute(sql("SELECT 1")).scalar() == 1
    model.close()
    written.close()
