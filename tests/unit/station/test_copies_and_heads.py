"""A backup is a station's folder, and signed heads show what a chain alone does not."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from procvision_station.backup import BackupError, back_up
from procvision_station.commands import station
from procvision_station.heads import HeadError, HeadWriter, read_heads, signing
from procvision_station.journal.audit import audit
from procvision_station.journal.disk import FolderDisk
from procvision_station.journal.layout import Kind
from procvision_station.journal.writer import Journal, open_journal
from procvision_station.scaffold import make_station


def grown(folder: Path, count: int) -> None:
    """Add records to a line's journal of small segments."""
    with open_journal(folder / "data" / "journal" / "main", segment_bytes=2000) as journal:
        for number in range(count):
            journal.append(Kind.PRODUCT, {"key": f"{journal.sequence}-{number}", "found": "OK", "told": "OK"})
            journal.sync()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    list(make_station(folder))
    grown(folder, 30)
    picture = folder / "data" / "pictures" / "ab" / "c.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    for name in ("ballast", "projection.sqlite"):
        (folder / "data" / name).write_bytes(b"left out")
    with sqlite3.connect(folder / "data" / "accounts.sqlite") as accounts:
        accounts.execute("CREATE TABLE users (name)")
        accounts.execute("INSERT INTO users VALUES ('anna')")
    accounts.close()
    return folder


def test_a_backup_has_what_the_station_has_and_copies_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    first = back_up(folder, target)
    again = back_up(folder, target)
    assert again.files < first.files
    grown(folder, 30)
    back_up(folder, target)
    here, there = (audit(FolderDisk(each / "data" / "journal" / "main")) for each in (folder, target))
    assert (there.sequence, there.chain, there.first_break) == (60, here.chain, None)
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert {"station.toml", "recipes/board.toml", "golden/board.png", "data/pictures/ab/c.png"} <= names
    assert not {"data/ballast", "data/projection.sqlite"} & names
    with sqlite3.connect(target / "data" / "accounts.sqlite") as accounts:
        assert accounts.execute("SELECT name FROM users").fetchall() == [("anna",)]
    accounts.close()
    shutil.rmtree(folder)
    shutil.copytree(target, folder)  # restored
    grown(folder, 1)
    assert audit(FolderDisk(folder / "data" / "journal" / "main")).sequence == 61


def test_an_erasure_reaches_the_next_backup(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    back_up(folder, target)
    done = CliRunner().invoke(station, ["erase", str(folder), "main", "3", "--why", "asked for"], standalone_mode=False)
    assert done.exception is None
    back_up(folder, target)
    report = audit(FolderDisk(target / "data" / "journal" / "main"))
    assert (report.first_break, report.erased) == (None, (3,))
    for wrong in (["nobody", "3"], ["main", "4711"]):
        refused = CliRunner().invoke(station, ["erase", str(folder), *wrong, "--why", "x"], standalone_mode=False)
        assert refused.exception is not None


def test_a_backup_over_another_journal_is_refused(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    back_up(folder, target)
    shutil.rmtree(folder / "data" / "journal")
    grown(folder, 2)
    with pytest.raises(BackupError, match="another journal's"):
        back_up(folder, target)
    with pytest.raises(BackupError, match="in the station's folder"):
        back_up(folder, folder / "copy")
    with pytest.raises(BackupError, match=r"has no station\.toml"):
        back_up(tmp_path, target)


def test_signed_heads_show_a_cut_and_a_history_written_anew(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="the extra sign has the signatures")
    from procvision_tools.bundling.signing import new_key

    key, public, _ = new_key("station", tmp_path)
    _, foreign, _ = new_key("other", tmp_path)
    path, place = tmp_path / "heads.jsonl", folder / "data" / "journal" / "main"
    with open_journal(place) as journal:
        writer = HeadWriter("s", {"main": journal}, signing(key), path, 1000.0, pytest.fail)
        journal.append(Kind.EVENT, {"event": "note"})  # not synced: no head is of it
        writer.close()
    heads = read_heads(path, public)
    assert list(heads["main"]) == [30]
    audited = ["audit", str(folder), "--heads", str(path), "--public", str(public)]
    assert CliRunner().invoke(station, audited, standalone_mode=False).return_value == 0
    with pytest.raises(HeadError, match=r"heads\.jsonl:1: it is no head of this key"):
        read_heads(path, foreign)
    shutil.rmtree(place)
    grown(folder, 40)
    assert CliRunner().invoke(station, audited, standalone_mode=False).return_value == 1
    text = path.read_text()
    path.write_text(text.replace('"sequence":30', '"sequence":29'))
    with pytest.raises(HeadError, match="its signature is not of"):
        read_heads(path, public)
    path.write_text("{}\n")
    with pytest.raises(HeadError):
        read_heads(path, public)


def test_a_head_is_what_survives_a_power_cut(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert isinstance(journal, Journal)
        journal.append(Kind.EVENT, {})
        assert journal.head[0] == 0
        journal.sync()
        assert journal.head == (1, journal.chain)
