"""Damage to a data set's files: the figures stay those of the undamaged one, with notes, or the file is named.

On DeepPCB's own files where DEEPPCB_DIR is set, elsewhere on a generated set of the same layout.
"""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from cli_program import procvision

pytest.importorskip("procvision_pcb", reason="plugins/procvision-pcb is not installed")
Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")

from procvision_testing.boards import DEFECT_KINDS, make_board, photograph, with_defects  # noqa: E402

PAIRS = 6
LABELS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
TIMED = ("_ms", "_per_s")


def deeppcb_subset(folder: Path) -> None:
    """Some pairs of two board groups, as they are."""
    home = Path(os.environ["DEEPPCB_DIR"]) / "pairs"
    for group in sorted(path for path in home.iterdir() if path.is_dir())[:2]:
        (folder / group.name).mkdir(parents=True)
        for test in sorted(group.glob("*_test.jpg"))[: PAIRS // 2]:
            number = test.name.removesuffix("_test.jpg")
            for name in (test.name, f"{number}_temp.jpg", f"{number}.txt"):
                shutil.copy(group / name, folder / group.name / name)


def generated(folder: Path) -> None:
    """Boards of the test kit, in the same layout."""
    for number in range(PAIRS):
        home = folder / f"group{number % 2}"
        home.mkdir(parents=True, exist_ok=True)
        board = make_board(seed=number)
        product, defects = with_defects(board, DEFECT_KINDS, seed=number, margin_px=3)
        for name, pixels in (("temp", board.picture), ("test", product)):
            Image.fromarray(photograph(pixels, number, noise=2)).save(home / f"{number}_{name}.jpg", quality=95)
        lines = [f"{d.x} {d.y} {d.x + d.width - 1} {d.y + d.height - 1} {LABELS.index(d.label) + 1}\n" for d in defects]
        (home / f"{number}.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A data set, its figures but for times, and what is said of it."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    folder.mkdir()
    if "DEEPPCB_DIR" in os.environ:
        deeppcb_subset(folder)
    else:
        generated(folder)
    done = procvision("evaluate", "pcb-compare", folder, "--json", "-")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["figures"]["truths"] > 10
    return folder, judged(record), record["dataset"]["notes"]


def judged(record):
    """What an evaluation says of the algorithm, without times."""
    parts = {"": record["figures"], **record["groups"], **record["labels"]}
    return {
        part: {name: value for name, value in told.items() if not name.endswith(TIMED)} for part, told in parts.items()
    }


def first_pair(folder: Path) -> tuple[Path, str]:
    test = sorted(folder.rglob("*_test.jpg"))[0]
    return test.parent, test.name.removesuffix("_test.jpg")


def copied(folder: Path, number: str, place: Path | None = None, suffix: str = ".jpg") -> Path:
    """Another pair, beside the others."""
    home, first = first_pair(folder)
    place = home if place is None else place
    place.mkdir(parents=True, exist_ok=True)
    for part in ("test", "temp"):
        if suffix == ".jpg":
            shutil.copy(home / f"{first}_{part}.jpg", place / f"{number}_{part}.jpg")
        else:
            with Image.open(home / f"{first}_{part}.jpg") as picture:
                picture.save(place / f"{number}_{part}{suffix}")
    shutil.copy(home / f"{first}.txt", place / f"{number}.txt")
    return place / f"{number}_test{suffix}"


def hidden(folder: Path) -> str:
    copied(folder, "1", folder / ".ipynb_checkpoints")
    return ".ipynb_checkpoints/1"


def other_format(folder: Path) -> str:
    return copied(folder, "900", suffix=".bmp").name


def unmatched_text(folder: Path) -> str:
    home, number = first_pair(folder)
    shutil.copy(home / f"{number}.txt", home / "901.txt")
    return "901.txt"


def lists_and_readme(folder: Path) -> str:
    (folder / "trainval.txt").write_text("group/1.jpg group_not/1.txt\n")
    (folder / "README.md").write_text("# data\n")
    return "trainval.txt"


def cut(folder: Path) -> str:
    path = copied(folder, "902")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3] + b"\xff\xd9")
    return "902_test.jpg"


def first_scan(folder: Path) -> str:
    """Of the reference: progressive, and only its first scan came."""
    path = copied(folder, "903").with_name("903_temp.jpg")
    out = BytesIO()
    with Image.open(path) as picture:
        picture.save(out, "JPEG", progressive=True)
    data = out.getvalue()
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    path.write_bytes(data[: scans[1]] + b"\xff\xd9")
    return "903_temp.jpg"


def box_off_the_picture(folder: Path) -> str:
    path = copied(folder, "904").with_name("904.txt")
    path.write_text("10 10 30 30 1\n9000 9000 9030 9030 2\n")
    return "904.txt:2"


def id_of_two(folder: Path) -> str:
    home, number = first_pair(folder)
    shutil.copy(home / f"{number}_test.jpg", home / f"{number}_test.jpeg")
    return f"{number}_test.jpeg"


def writers_of_texts(folder: Path) -> str:
    """A byte order mark, CRLF, commas, upper-case suffixes: nothing of it is damage."""
    home, number = first_pair(folder)
    text = (home / f"{number}.txt").read_text()
    (home / f"{number}.txt").write_bytes(("\ufeff" + text.replace(" ", ",").replace("\n", "\r\n")).encode())
    (home / f"{number}_test.jpg").rename(home / f"{number}_test.JPG")
    (home / f"{number}.txt").rename(home / f"{number}.TXT")
    return ""


def pipes_and_loops(folder: Path) -> str:
    os.mkfifo(folder / "905_test.jpg")
    (folder / "nowhere").symlink_to("gone")
    (folder / "loop").symlink_to(folder)
    return "905_test.jpg"


def no_reference(folder: Path) -> str:
    copied(folder, "906").with_name("906_temp.jpg").unlink()
    return "906_test.jpg"


def no_picture_at_all(folder: Path) -> str:
    copied(folder, "907").write_bytes(b"")
    return "907_test.jpg"


def name_that_is_no_text(folder: Path) -> str:
    """The first pair's, as a share of another code page has it."""
    home, number = first_pair(folder)
    for name in (f"{number}_test.jpg", f"{number}_temp.jpg", f"{number}.txt"):
        (home / name).rename(home / (os.fsdecode(b"\xe4") + name))
    return ""


def broken_line(folder: Path) -> str:
    path = copied(folder, "908").with_name("908.txt")
    path.write_text("10 10 30 30 1\n10 10 30 30\n")
    return "908.txt:2"


LEFT_OUT: list[Callable[[Path], str]] = [
    hidden, other_format, lists_and_readme, writers_of_texts, pipes_and_loops, name_that_is_no_text,
]  # fmt: skip
REFUSED: list[Callable[[Path], str]] = [
    unmatched_text, cut, first_scan, box_off_the_picture, id_of_two, no_reference, no_picture_at_all, broken_line,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", LEFT_OUT)
def test_the_figures_stay_those_of_the_undamaged_files(damage, whole, tmp_path):
    """What was left out is said, with a count, on the terminal, in the report and on the page."""
    folder, wanted, usual = whole
    shutil.copytree(folder, tmp_path / "set")
    named = damage(tmp_path / "set")
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    done = procvision("evaluate", "pcb-compare", tmp_path / "set", "--json", report, "--html", page)
    assert done.returncode == 0, done.stderr
    record = json.loads(report.read_text())
    assert judged(record) == wanted
    notes = [note for note in record["dataset"]["notes"] if note not in usual]
    assert bool(notes) == bool(named)
    assert named in " ".join(notes)
    for note in notes:
        assert note in done.stdout
        assert note in html.unescape(page.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("damage", REFUSED)
def test_what_would_change_them_is_refused_by_its_name(damage, whole, tmp_path):
    """No figure of it is shown."""
    folder, _, _ = whole
    shutil.copytree(folder, tmp_path / "set")
    named = damage(tmp_path / "set")
    done = procvision("evaluate", "pcb-compare", tmp_path / "set", "--json", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
