"""Archives by path and URL, shards and their keys, results on the disk."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_tools.requalification.archive import (
    UNREAD,
    ArchiveError,
    Product,
    Rect,
    Said,
    Shot,
    Stored,
    open_archive,
    stored,
)
from procvision_tools.requalification.urls import load_from
from procvision_tools.sources.picture_files import PictureFileError, UnreadFileError

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")


def pictures(folder: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 10), at, np.uint8)).save(path)
    return folder


def products(count: int, stamp: str = "1") -> list[Product]:
    return [Product(f"p{at:05d}", (Shot(Stored(f"/p/{at}.png", stamp)),)) for at in range(count)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that a web server of this machine shows."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_folder_says_by_its_names_what_is_known(tmp_path: Path) -> None:
    names = ("a.png", "ok/b.png", "line/NG/c.png", "ok/ng/d.png", "ok/ng.png", ".hidden/e.png")
    (pictures(tmp_path, *names) / "notes.txt").write_text("no picture")
    archive = open_archive(str(tmp_path), "x")
    assert [(product.name, product.truth) for product in archive.products] == [
        ("a.png", "unknown"), ("line/NG/c.png", "defective"), ("ok/b.png", "good"), ("ok/ng.png", "good"),
        ("ok/ng/d.png", "unknown"),
    ]  # fmt: skip
    assert any("notes.txt" in note for note in archive.notes)


def test_a_data_set_brings_its_truth_and_references(tmp_path: Path) -> None:
    pictures(tmp_path / "group1", "1_temp.jpg", "1_test.jpg", "2_temp.jpg", "2_test.jpg")
    (tmp_path / "group1" / "1.txt").write_text("1 1 5 5 1\n")
    (tmp_path / "group1" / "2.txt").write_text("")
    found = open_archive(str(tmp_path), "x")
    assert found.kind == "deeppcb"
    assert [product.truth for product in found.products] == ["defective", "good"]
    assert [(rect.width, rect.label) for rect in found.products[0].truths] == [(5, "open")]
    reference = found.products[0].shots[0].reference
    assert reference is not None
    assert reference.place.endswith("1_temp.jpg")


def test_an_archive_behind_http_is_listed_and_read(served: tuple[Path, str]) -> None:
    pytest.importorskip("aiohttp", reason="fsspec needs aiohttp for http://")
    folder, url = served
    pictures(folder / "archive", "ok/a.png", "ng/b.png")
    archive = open_archive(f"{url}/archive/", "x")
    assert [(product.name, product.truth) for product in archive.products] == [
        ("ng/b.png", "defective"), ("ok/a.png", "good"),
    ]  # fmt: skip
    one = archive.products[0].shots[0].picture
    assert load_from(one.place, one.stamp).width == 10
    with pytest.raises(UnreadFileError, match="can't be read"):
        load_from(f"{url}/archive/none.png", "")
    (folder / "archive" / "ng" / "b.png").write_bytes(b"half a")
    with pytest.raises(UnreadFileError, match="was changed"):
        load_from(one.place, one.stamp)


def test_an_archive_in_s3_is_listed_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a real server on loopback."""
    moto = pytest.importorskip("moto.server", reason="moto is the server")
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs", reason="fsspec needs s3fs for s3://")
    pictures(tmp_path, "a.png", "b.png")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in (("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any"),
                            ("AWS_DEFAULT_REGION", "us-east-1"),
                            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")):  # fmt: skip
            monkeypatch.setenv(name, value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("plant")
        for name in ("a.png", "b.png"):
            files.put(str(tmp_path / name), f"plant/welds/{name}")
        first = open_archive("s3://plant/welds", "x").products
        assert [product.name for product in first] == ["a.png", "b.png"]
        one = first[0].shots[0].picture
        assert load_from(one.place, one.stamp).height == 8
        files.put(str(tmp_path / "b.png"), "plant/welds/a.png")
        with pytest.raises(UnreadFileError):
            load_from(one.place, one.stamp)
        fsspec.filesystem("s3").invalidate_cache()
        second = open_archive("s3://plant/welds", "x").products
        assert first[0].shots != second[0].shots, "another content has another ETag"
        assert first[1].shots == second[1].shots
        with pytest.raises(ArchiveError, match=r"can't be listed|holds no product"):
            open_archive("s3://plant/none", "x")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nothing://here", "nothing"),
        ("/no/such/folder", "does not exist"),
        ("http://127.0.0.1:9/x/", "can't be listed"),
    ],
)
def test_a_place_that_there_is_not_is_an_error(place: str, message: str) -> None:
    from procvision_sdk.errors import ProcVisionError

    with pytest.raises(ProcVisionError, match=message):
        open_archive(place, "x")


def test_a_sample_is_the_same_each_time_and_grows_by_more() -> None:
    from procvision_tools.requalification.archive import Archive

    archive = Archive(place="x", kind="pictures", products=tuple(products(500)))
    few, more = archive.sampled(20), archive.sampled(60)
    assert few.products == archive.sampled(20).products
    assert {product.name for product in few.products} < {product.name for product in more.products}
    assert few.notes == ("a sample of 20 of 500 products",)
    assert archive.sampled(500) is archive


@pytest.mark.parametrize("count", [1, 7, 100, 20_000])
def test_every_product_is_in_one_shard_and_one_more_changes_one(count: int) -> None:
    from procvision_tools.requalification.archive import Archive

    all_products = products(count)
    shards = Archive(place="x", kind="pictures", products=tuple(all_products)).shards()
    assert [product for shard in shards for product in shard] == all_products
    assert max(map(len, shards)) <= 512
    if count > 1000:
        fewer = Archive(place="x", kind="pictures", products=tuple(all_products[:300] + all_products[301:])).shards()
        before, after = ({tuple(product.name for product in shard) for shard in each} for each in (shards, fewer))
        assert len(before - after) <= 2


def test_a_key_is_of_everything_that_a_result_depends_on() -> None:
    pytest.importorskip("pyarrow", reason="the extra `requalify` is not installed")
    from procvision_tools.requalification.results import key_of

    base = products(3)
    keys = {
        key_of(base, {"a": 1}),
        key_of(base, {"a": 2}),
        key_of(base[:2], {"a": 1}),
        key_of(products(3, "2"), {"a": 1}),
        key_of([Product(p.name, p.shots, pid="B") for p in base], {"a": 1}),
        key_of([Product(p.name, (Shot(p.shots[0].picture, user_params={"x": 1}),)) for p in base], {"a": 1}),
    }
    assert len(keys) == 6
    known = [Product(p.name, p.shots, truth="good", parts={"day": "today"}) for p in base]
    assert key_of(known, {"a": 1}) == key_of(base, {"a": 1}), "a truth may become known later"


def test_a_picture_that_is_another_one_by_now_is_not_read(tmp_path: Path) -> None:
    """Its result would be kept under what it was when it was listed."""
    first, second = (
        product.shots[0].picture for product in open_archive(str(pictures(tmp_path, "a.png", "b.png")), "x").products
    )
    assert load_from(first.place, first.stamp).width == 10
    Path(first.place).write_bytes(b"\x89PNG half")  # what is being written looks damaged
    Path(second.place).unlink()
    with pytest.raises(UnreadFileError, match="was changed after"):
        load_from(first.place, first.stamp)
    with pytest.raises(UnreadFileError, match="No such file"):
        load_from(second.place, second.stamp)
    with pytest.raises(PictureFileError, match=r"damaged|no picture"):
        load_from(first.place, stored(Path(first.place)).stamp)


def test_what_said_nothing_of_its_picture_is_not_kept(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `requalify` is not installed")
    from procvision_tools.requalification.results import Results, Row

    rows = [Row("a", Said("OK")), Row("b", Said("OK"), Said("UNSTABLE", failure=UNREAD, message="gone"))]
    results = Results(tmp_path)
    results.write("k", rows)
    assert "k" not in results
    assert list(results.read("k")) == rows
    results.close()
    assert not list((tmp_path / "passing").iterdir())


def test_results_come_back_as_they_were_and_damage_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `requalify` is not installed")
    from procvision_tools.requalification.results import Results, ResultsError, Row

    rows = [
        Row("a", Said("NG", defect_rects=(Rect(1, 2, 3, 4.5, "dent", 0.5),), values={"w": 1.25}, took_ms=3.5)),
        Row("b", Said("ERROR", failure="exited", message="é", killed=True), Said("OK", took_ms=1.0)),
    ]
    results = Results(tmp_path)
    with pytest.raises(ResultsError, match="another command has"):
        Results(tmp_path)
    assert "k" not in results
    results.write("k", rows)
    assert "k" in results
    assert list(results.read("k")) == rows
    (tmp_path / "results" / ".k.parquet.1.part").write_bytes(b"half")
    results.close()
    results = Results(tmp_path)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["k.parquet"]
    (tmp_path / "results" / "k.parquet").write_bytes(b"half")
    with pytest.raises(ResultsError, match="hint: take it away"):
        list(results.read("k"))
    results.close()
    Results(tmp_path).close()
