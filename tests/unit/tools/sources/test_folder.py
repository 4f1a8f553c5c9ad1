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
