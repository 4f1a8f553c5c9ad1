"""Distributions are found as `importlib.metadata` finds them, and what is wrong with one costs no other."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import importlib_metadata
import pytest
from click.testing import CliRunner

from procvision_host.cli import cli
from procvision_sdk.installed import MAX_METADATA_BYTES, declared, version_of

GROUP = "procvision.algorithms"


def distribution(root: Path, name: str, points: str = "", version: str = "1.0", *, metadata: bool = True) -> Path:
    folder = root / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    if metadata:
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: other\n")
    (folder / "entry_points.txt").write_text(points)
    return folder


def found(name: str | None = None) -> list[tuple[str, str, str | None, str | None]]:
    return [(one.name, one.value, one.distribution, one.distribution_version) for one in declared(GROUP, name)]


def asked() -> list[tuple[str, str, str | None, str | None]]:
    points = importlib_metadata.entry_points(group=GROUP)
    return [(one.name, one.value, one.dist.name, one.dist.version) for one in points if one.dist is not None]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder) for folder in folders])
    return folders


def test_what_is_found_is_what_importlib_metadata_finds(path: list[Path]) -> None:
    """Comments, spaces, extras, other groups, a name twice, a left-over folder and one in another spelling."""
    first, second = path
    distribution(
        first, "weld", f"# a = b\n[other]\nx = y:z\n\n[{GROUP}]\n  weld=weld:A\n# c = d\nseam = weld.s : B [fast]\n"
    )
    distribution(second, "Weld", f"[{GROUP}]\nshadowed = weld:C\n", "2.0")
    distribution(first, "left", f"[{GROUP}]\nleft = gone:A\n", metadata=False)
    distribution(second, "left", f"[{GROUP}]\nleft = left:A\n", "3.0")
    distribution(second, "plain")
    assert sorted(found()) == sorted(asked())
    assert {one[0] for one in found()} == {"weld", "seam", "left"}
    assert found("left") == [("left", "left:A", "left", "3.0")]
    assert (version_of("WELD"), version_of("left"), version_of("nobody")) == ("1.0", "3.0", None)


def test_what_lies_in_an_archive_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("packed-1.0.dist-info/METADATA", "Name: packed\nVersion: 1.0\n")
        zipped.writestr("packed-1.0.dist-info/entry_points.txt", f"[{GROUP}]\npacked = packed:A\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(archive)])
    assert found("packed") == [("packed", "packed:A", "packed", "1.0")]
    assert version_of("packed") == "1.0"


def test_what_steers_a_terminal_is_shown_as_escapes_and_many_take_no_longer_each(path: list[Path]) -> None:
    """A vendor chooses the names in its metadata, and how many there are."""
    names = "".join(f"n{number} = gone:A\n" for number in range(2000))
    distribution(path[0], "ev\x1b[2Jil", f"[{GROUP}]\nna\x1b[2Jme = \x1b]0;x\x07:A\n{names}", "1\x07")
    done = CliRunner().invoke(cli, ["list"])
    assert done.exit_code == 0
    assert "na\\x1b[2Jme" in done.output
    assert not set("\x1b\x07") & set(done.output)
    assert done.output.count("broken") == 2001


@pytest.mark.parametrize("what", ["fifo", "folder", "bytes", "endless"])
def test_one_that_cannot_be_read_costs_no_other(path: list[Path], what: str) -> None:
    """Neither time nor an error: the next is found."""
    points = distribution(path[0], "evil") / "entry_points.txt"
    points.unlink()
    if what == "fifo":
        os.mkfifo(points)
    elif what == "folder":
        points.mkdir()
    elif what == "bytes":
        points.write_bytes(b"\xff\xfe[" + GROUP.encode() + b"]\n")
    else:
        with points.open("wb") as file:
            file.truncate(1000 * MAX_METADATA_BYTES)
    distribution(path[1], "weld", f"[{GROUP}]\nweld = weld:A\n")
    assert found() == [("weld", "weld:A", "weld", "1.0")]
