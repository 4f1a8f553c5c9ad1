"""Every file of a folder is read, or left out with a reason."""

from __future__ import annotations

import os

import pytest

from procvision_tools.sources.folder_files import AGAIN, DANGLING, HIDDEN, NO_PICTURE, NOT_READ, SPECIAL, FolderFiles


@pytest.fixture
def folder(tmp_path):
    """One file of each kind, and where a name could lead elsewhere."""
    made, far = tmp_path / "made", tmp_path / "far"
    for place in (made / "b" / "c", made / ".hidden" / "deep", far):
        place.mkdir(parents=True)
    for name in ("a.PNG", "b/c/x.jpeg", "z.jpe", ".hidden/deep/y.png", ".hidden/s.png", ".DS_Store", "._a.png",
                 "b/m.BMP", "b/notes.txt"):  # fmt: skip
        (made / name).write_bytes(b"1")
    (far / "f.png").write_bytes(b"2")
    (made / "to far").symlink_to(far)
    (made / "to file.png").symlink_to(far / "f.png")
    (made / "nowhere.png").symlink_to("gone")
    (made / "a loop").symlink_to(made)
    (made / "b" / "c" / "back").symlink_to("../..")
    os.mkfifo(made / "pipe.png")
    return made


def test_links_and_suffixes_in_any_case_are_read_and_nothing_twice(folder):
    files = FolderFiles(folder)
    assert [files.name(path) for path in files.pictures()] == [
        "a.PNG", "b/c/x.jpeg", "to far/f.png", "to file.png", "z.jpe",
    ]  # fmt: skip


def test_everything_else_is_left_out_with_its_reason(folder):
    files = FolderFiles(folder)
    files.take(*files.pictures())
    told = "\n".join(files.notes())
    assert f"4 files were left out, {HIDDEN}: .DS_Store, ._a.png, .hidden/deep/y.png, …" in told
    assert f"1 file was left out, {NOT_READ}: b/m.BMP" in told
    assert f"1 file was left out, {NO_PICTURE}: b/notes.txt" in told
    assert f"1 file was left out, {DANGLING}: nowhere.png" in told
    assert f"1 file was left out, {SPECIAL}: pipe.png" in told
    assert f"2 files were left out, {AGAIN}: a loop, b/c/back" in told


def test_what_nobody_took_is_told_and_what_was_taken_is_not(folder):
    files = FolderFiles(folder)
    files.take(folder / "a.PNG")
    files.leave_out("not wanted", folder / "z.jpe")
    told = "\n".join(files.notes())
    assert "1 file was left out, not wanted: z.jpe" in told
    assert "3 files were left out, in no place where this layout has any: b/c/x.jpeg, to far/f.png, to file.png" in told
    assert "a.PNG" not in told


def test_a_name_that_is_no_text_is_shown_by_escapes(tmp_path):
    (tmp_path / os.fsdecode(b"2\xe4.png")).write_bytes(b"1")
    files = FolderFiles(tmp_path)
    assert [files.name(path) for path in files.pictures()] == ["2\\xe4.png"]
    assert files.notes() == ("1 file was left out, in no place where this layout has any: 2\\xe4.png",)
