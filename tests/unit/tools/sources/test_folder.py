"""A folder that is being written into."""

from __future__ import annotations

import os

import pytest

from procvision_tools.sources.folder import Arrivals

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")


@pytest.fixture(params=["png", "jpg"])
def whole(request, tmp_path_factory):
    """A picture's bytes and the suffix it is written with."""
    path = tmp_path_factory.mktemp("w") / f"p.{request.param}"
    Image.new("RGB", (30, 20)).save(path)
    return path.read_bytes(), request.param


def test_what_was_there_before_is_left_alone(whole, tmp_path):
    data, suffix = whole
    (tmp_path / f"old.{suffix}").write_bytes(data)
    arrivals = Arrivals(tmp_path)
    assert arrivals.poll(0) == arrivals.poll(1) == []


def test_a_picture_is_taken_once_when_two_looks_find_it_whole(whole, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path)
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(data)
    assert [arrivals.poll(now) for now in (0, 1, 2)] == [[], [path], []]


def test_a_picture_that_is_still_written_waits_for_its_end(whole, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path)
    path = tmp_path / f"p.{suffix}"
    part = len(data) // 7
    with path.open("wb") as file:
        for number in range(6):
            file.write(data[number * part : (number + 1) * part])
            file.flush()
            # Looked at twice between two writes: unchanged, and not whole.
            assert arrivals.poll(number) == arrivals.poll(number + 0.5) == []
        file.write(data[6 * part :])
    assert (arrivals.poll(6), arrivals.poll(6.5)) == ([], [path])


def test_a_picture_that_never_ends_is_taken_after_all_to_become_an_error(whole, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path, settle_s=5)
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(data[: len(data) // 2])
    assert arrivals.poll(0) == arrivals.poll(4.9) == []
    assert arrivals.poll(5) == [path]
    assert arrivals.poll(99) == []


def test_a_renamed_file_and_one_written_anew_are_arrivals_in_their_order(whole, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path)
    first, second = tmp_path / f"z.{suffix}", tmp_path / f"a.{suffix}"
    (tmp_path / "z.part").write_bytes(data)
    assert arrivals.poll(0) == arrivals.poll(1) == []
    (tmp_path / "z.part").rename(first)
    second.write_bytes(data)
    os.utime(first, ns=(1, 1))
    assert arrivals.poll(2) == []
    assert arrivals.poll(3) == [first, second]
    os.utime(first, ns=(2, 2))
    assert (arrivals.poll(4), arrivals.poll(5)) == ([], [first])


def test_a_folder_that_goes_is_said(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    arrivals = Arrivals(folder)
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match="is gone"):
        arrivals.poll(0)


@pytest.mark.parametrize("tail", [b"", b"x" * 5000, b"\0" * 300])
def test_a_picture_is_whole_at_its_end_whatever_lies_behind_it(whole, tail, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path)
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(data + tail)
    assert [arrivals.poll(now) for now in (0, 0.2)] == [[], [path]]


def test_an_inspected_picture_that_is_renamed_is_no_other_product(whole, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path)
    first, later = tmp_path / f"p.{suffix}", tmp_path / f"p_OK.{suffix}"
    first.write_bytes(data)
    assert [arrivals.poll(now) for now in (0, 1)] == [[], [first]]
    first.rename(later)
    assert arrivals.poll(2) == arrivals.poll(3) == []
    later.write_bytes(data + b" ")
    assert [arrivals.poll(now) for now in (4, 5)] == [[], [later]]


def test_a_share_that_was_away_shows_nothing_new(whole, tmp_path):
    data, suffix = whole
    folder, away = tmp_path / "f", tmp_path / "away"
    folder.mkdir()
    (folder / f"old.{suffix}").write_bytes(data)
    arrivals = Arrivals(folder)
    (folder / f"p.{suffix}").write_bytes(data + b"1")
    assert [arrivals.poll(now) for now in (0, 1)] == [[], [folder / f"p.{suffix}"]]
    folder.rename(away)
    folder.mkdir()
    assert arrivals.poll(2) == []
    folder.rmdir()
    # Copied: the same names, sizes and times, other numbers of the files.
    folder.mkdir()
    for path in away.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
        os.utime(folder / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert arrivals.poll(3) == arrivals.poll(4) == []


def test_pictures_that_are_written_over_before_they_are_inspected_are_counted_and_said_once(whole, tmp_path):
    data, suffix = whole
    told = []
    arrivals = Arrivals(tmp_path, tell=told.append)
    latest = tmp_path / f"latest.{suffix}"
    for number in range(5):
        (tmp_path / "t.part").write_bytes(data + bytes(number))
        (tmp_path / "t.part").rename(latest)
        assert arrivals.poll(number) == []
    assert arrivals.poll(6) == [latest]
    gone = tmp_path / f"gone.{suffix}"
    gone.write_bytes(data + b"gone")
    arrivals.poll(7)
    gone.unlink()
    arrivals.poll(8)
    assert told == [
        f"latest.{suffix} was written over, or taken away, before it was inspected: such pictures are counted"
    ]
    assert arrivals.totals() == [
        f"pictures were written over, or gone, before they were inspected: 5 (latest.{suffix}, gone.{suffix})"
    ]


def test_a_picture_that_grows_is_not_one_that_was_written_over(whole, tmp_path):
    data, suffix = whole
    arrivals = Arrivals(tmp_path)
    with (tmp_path / f"p.{suffix}").open("wb") as file:
        for at in range(0, len(data), 100):
            file.write(data[at : at + 100])
            file.flush()
            arrivals.poll(at)
    arrivals.poll(1e6)
    assert arrivals.totals() == []


def test_what_lies_there_and_is_not_inspected_is_said_once_with_its_number_at_the_end(whole, tmp_path):
    data, suffix = whole
    (tmp_path / f"old.{suffix}").write_bytes(data)
    told = []
    arrivals = Arrivals(tmp_path, tell=told.append)
    for name in ("a.bmp", "b.BMP", "c.tif", f".d.{suffix}", "e.part", "sub/f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    for now in range(4):
        assert arrivals.poll(now) == []
    assert sorted(told) == [
        ".bmp files were not inspected, JPEG and PNG are read; the first is a.bmp",
        ".tif files were not inspected, JPEG and PNG are read; the first is c.tif",
        "folders below were not looked into; the first is sub",
        f"hidden pictures were not inspected, whose names begin with a dot; the first is .d.{suffix}",
        "pictures that were there before are left alone: 1",
    ]
    assert sorted(arrivals.totals()) == [
        ".bmp files were not inspected, JPEG and PNG are read: 2",
        ".tif files were not inspected, JPEG and PNG are read: 1",
        "folders below were not looked into: 1",
        "hidden pictures were not inspected, whose names begin with a dot: 1",
    ]
