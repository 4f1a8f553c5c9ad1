"""Pictures in shared memory: what can't be read for certain is an error, and never a picture of something else."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching import Gate
from PIL import Image
from shared_picture import SHM, grey, shared_picture
from wire_client import WireClient, eventually

WIDTH, HEIGHT = 8, 6


def encoded(kind: str, width: int = WIDTH, height: int = HEIGHT, level: int = 90) -> bytes:
    """A file of one grey level."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (level, level, level)).save(file, kind)
    return file.getvalue()


def refused(host: WireClient, kind: str, **fields: Any) -> dict[str, Any]:
    """A call whose picture is refused; the algorithm would say OK to any, and the host goes on."""
    answer = host.call("nothing", **fields)
    assert (answer["type"], answer.get("error_code")) == ("error", "1002"), answer
    assert answer["data"]["kind"] == kind, answer
    assert host.call()["data"]["result_status"] == "OK"
    return answer


# --- what is read is what was written -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("color_space", "first", "rgb"),
    [("RGB", (1, 2, 3), (1, 2, 3)), ("BGR", (1, 2, 3), (3, 2, 1)), ("MONO", (9,), (9, 9, 9))],
)
def test_raw_picture_is_read_as_rgb(
    lasting_host: WireClient, color_space: str, first: tuple[int, ...], rgb: tuple[int, ...]
) -> None:
    """H x W x 3, whatever the order in memory."""
    payload = bytes(first) * (WIDTH * HEIGHT)
    with shared_picture(payload, WIDTH, HEIGHT, color_space=color_space) as picture:
        debug = lasting_host.call("read", **picture.fields)["data"]["debug"]
    assert debug["shape"] == [HEIGHT, WIDTH, 3]
    assert tuple(debug["first"]) == rgb


@pytest.mark.parametrize(("kind", "encoding"), [("PNG", "png"), ("JPEG", "jpeg")])
def test_encoded_picture_is_decoded(lasting_host: WireClient, kind: str, encoding: str) -> None:
    """By the host, before the algorithm sees the call."""
    with shared_picture(encoded(kind), WIDTH, HEIGHT, encoding=encoding) as picture:
        debug = lasting_host.call("read", **picture.fields)["data"]["debug"]
    assert debug["shape"] == [HEIGHT, WIDTH, 3]
    assert all(abs(value - 90) <= 2 for value in debug["first"])


def test_slot_that_is_written_again_is_read_again(lasting_host: WireClient) -> None:
    """The mapping is kept, the picture isn't."""
    with shared_picture(grey(level=10), WIDTH, HEIGHT) as picture:
        assert lasting_host.call("read", **picture.fields)["data"]["debug"]["first"] == [10, 10, 10]
        with picture.path.open("r+b") as file:
            file.seek(4096)
            file.write(grey(level=20))
        picture.set_generation(4)
        picture.generation = 4
        assert lasting_host.call("read", **picture.fields)["data"]["debug"]["first"] == [20, 20, 20]


# --- ids ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "shm",
        "shm:",
        "shm::",
        "shm:name",
        "shm:name:",
        "shm::2",
        "shm:../../etc/passwd:2",
        "shm:/etc/passwd:2",
        "shm:..:2",
        "shm:.:2",
        "shm:a/b:2",
        "shm:a\u0000b:2",
        "shm:a b:2",
        "shm:\u00e4:2",
        "shm:\u0661:2",
        "shm:name:-2",
        "shm:name:+2",
        "shm:name: 2",
        "shm:name:2\n",
        "shm:name:\u0662",
        "shm:name:2:3",
        "shm:name:" + "9" * 21,
        "shm:" + "n" * 65 + ":2",
        "shm:" + "n" * 1_000_000 + ":2",
        "SHM:name:2",
        "file:name:2",
        "name",
    ],
    ids=lambda text: text[:24].encode("unicode_escape").decode(),
)
def test_id_of_another_form_is_refused_before_it_is_a_name(lasting_host: WireClient, identity: str) -> None:
    """Paths, separators, other scripts' digits, lengths: none of them gets as far as the file system."""
    meta = {"width": WIDTH, "height": HEIGHT}
    answer = refused(lasting_host, "bad_image_id", shared_mem_id=identity, image_meta=meta)
    assert len(answer["message"]) < 500


def test_forged_id_names_no_picture(lasting_host: WireClient) -> None:
    """Well formed, and nothing there."""
    refused(
        lasting_host, "no_such_image", shared_mem_id="shm:pv-0-0123:2", image_meta={"width": WIDTH, "height": HEIGHT}
    )


def test_generation_that_no_picture_can_have_is_stale(lasting_host: WireClient) -> None:
    """The largest number that the id's form allows doesn't fit a header."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        identity = f"shm:{picture.name}:{'9' * 20}"
        refused(lasting_host, "stale_image", shared_mem_id=identity, image_meta=picture.meta)


@pytest.mark.parametrize("target", ["link", "folder", "fifo", "device"])
def test_what_is_no_regular_file_is_no_picture(lasting_host: WireClient, target: str, tmp_path: Path) -> None:
    """A link isn't followed, a pipe isn't waited for."""
    name = f"peer-{os.getpid()}-{target}"
    path = SHM / name
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 8192)
    made: Callable[[], object] = {
        "link": lambda: path.symlink_to(secret),
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
    }[target]
    made()
    try:
        refused(
            lasting_host, "no_such_image", shared_mem_id=f"shm:{name}:2", image_meta={"width": WIDTH, "height": HEIGHT}
        )
    finally:
        path.rmdir() if target == "folder" else path.unlink()


def test_stale_id_is_refused(lasting_host: WireClient) -> None:
    """One picture late is another picture."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        late = picture.fields
        picture.set_generation(4)
        refused(lasting_host, "stale_image", **late)
        picture.set_generation(3)
        refused(lasting_host, "stale_image", shared_mem_id=f"shm:{picture.name}:3", image_meta=picture.meta)


def test_slot_written_during_the_call_drops_the_answer(host: WireClient, gate: Gate) -> None:
    """Whatever the algorithm saw, it was not one picture."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        call = host.send_call("read-while-waiting", params={"text": str(gate)}, **picture.fields)
        host.until_state("executing")
        picture.set_generation(3)
        gate.open()
        answer = host.answer(call)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "1002", "stale_image")


# --- headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("slot_overrun", {"payload_bytes": 1 << 40}),
        ("slot_overrun", {"payload_bytes": 2**64 - 1}),
        ("slot_overrun", {"payload_offset": 1 << 20}),
        ("slot_overrun", {"payload_offset": 2**32 - 1}),
        ("slot_overrun", {"payload_offset": 0}),
        ("slot_overrun", {"payload_bytes": WIDTH * HEIGHT * 3 - 1}),
        ("image_mismatch", {"header_width": WIDTH + 1}),
        ("image_mismatch", {"header_height": 2**32 - 1}),
        ("image_mismatch", {"color_code": 2}),
        ("image_mismatch", {"encoding_code": 2}),
        ("bad_slot", {"color_code": 9}),
        ("bad_slot", {"encoding_code": 0}),
        ("bad_slot", {"layout": 2}),
        ("bad_slot", {"magic": b"PVSLOT\n\n"}),
    ],
    ids=str,
)
def test_header_that_claims_what_is_not_there_is_refused(
    lasting_host: WireClient, kind: str, header: dict[str, Any]
) -> None:
    """Never a read outside of the segment."""
    with shared_picture(grey(), WIDTH, HEIGHT, **header) as picture:
        refused(lasting_host, kind, **picture.fields)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 4096, 4097])
def test_segment_that_is_too_short_is_refused(lasting_host: WireClient, length: int) -> None:
    """Wherever it ends."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        picture.path.write_bytes(picture.path.read_bytes()[:length])
        answer = lasting_host.call("read", **picture.fields)
    assert (answer["type"], answer["error_code"]) == ("error", "1002")
    assert answer["data"]["kind"] in {"no_such_image", "bad_slot", "slot_overrun"}


@pytest.mark.parametrize(
    ("code", "meta"),
    [
        ("1006", {"width": 0}),
        ("1006", {"width": -1}),
        ("1006", {"width": 1.5}),
        ("1006", {"width": "8"}),
        ("1006", {"width": True}),
        ("1006", {"width": None}),
        ("1006", {"height": 10**30}),
        ("1006", {"width": 1_000_000, "height": 1_000_000}),
        ("1006", {"color_space": "CMYK"}),
        ("1006", {"encoding": "bmp"}),
        ("1002", {"width": WIDTH * 2, "height": HEIGHT // 2}),
        ("1002", {"color_space": "BGR"}),
        ("1002", {"color_space": "MONO"}),
        ("1002", {"encoding": "png"}),
    ],
    ids=str,
)
def test_image_meta_that_the_picture_contradicts_is_refused(
    lasting_host: WireClient, code: str, meta: dict[str, Any]
) -> None:
    """The one is held against the other; a form that no picture has is the caller's mistake."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        answer = lasting_host.call(shared_mem_id=picture.id, image_meta={**picture.meta, **meta})
    assert (answer["type"], answer.get("error_code")) == ("error", code), answer


def test_picture_without_meta_and_meta_without_picture_are_refused(lasting_host: WireClient) -> None:
    """A half-named picture is never left out in silence."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        assert lasting_host.call(shared_mem_id=picture.id)["data"]["kind"] == "image_meta"
        assert lasting_host.call(image_meta=picture.meta)["data"]["kind"] == "bad_image_id"


# --- encoded ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "encoding"), [("PNG", "png"), ("JPEG", "jpeg")])
def test_cut_or_corrupted_file_is_damaged_wherever_it_was_cut(
    lasting_host: WireClient, kind: str, encoding: str
) -> None:
    """Never a partly grey picture."""
    whole = encoded(kind, 64, 48)
    pieces = [whole[: len(whole) * tenth // 10] for tenth in range(1, 10)]
    for data in [*pieces, b"x" * 300, whole[:2] + b"\0" * 200]:
        with shared_picture(data, 64, 48, encoding=encoding) as picture:
            refused(lasting_host, "image_damaged", **picture.fields)


def test_flipped_byte_is_found_by_the_slots_checksum(lasting_host: WireClient) -> None:
    """A JPEG has no checksum of its own."""
    whole = bytearray(encoded("JPEG", 64, 48))
    checksum = zlib.crc32(whole)
    whole[len(whole) // 2] ^= 1
    with shared_picture(bytes(whole), 64, 48, encoding="jpeg", crc32=checksum) as picture:
        refused(lasting_host, "image_damaged", **picture.fields)


def test_file_of_another_format_is_not_decoded(lasting_host: WireClient) -> None:
    """The encoding is what image_meta says, not what the file looks like."""
    with shared_picture(encoded("GIF"), WIDTH, HEIGHT, encoding="png") as picture:
        assert lasting_host.call(**picture.fields)["error_code"] == "1002"
    with shared_picture(encoded("PNG"), WIDTH, HEIGHT, encoding="jpeg") as picture:
        assert lasting_host.call(**picture.fields)["error_code"] == "1002"


def bomb(width: int, height: int) -> bytes:
    """A PNG of some kilobytes that unpacks to a bit a pixel of nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(b"\0" * ((width // 8 + 1) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("claimed", [(100, 100), (20_000, 20_000)])
def test_decompression_bomb_is_refused_before_it_is_unpacked(host: WireClient, claimed: tuple[int, int]) -> None:
    """By the file's own header against image_meta, and by the pixel limit; the memory doesn't grow."""
    with shared_picture(encoded("PNG"), WIDTH, HEIGHT, encoding="png") as picture:
        assert host.call(**picture.fields)["status"] == "OK"  # the decoder is loaded
    before = peak_bytes(host.host)
    with shared_picture(bomb(20_000, 20_000), *claimed, encoding="png") as picture:
        answer = host.call(**picture.fields)
    assert answer["type"] == "error"
    assert answer["error_code"] == ("1006" if claimed[0] == 20_000 else "1002")
    assert peak_bytes(host.host) - before < 64 << 20


def peak_bytes(process_id: int) -> int:
    """The most memory that a process ever had in use."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


# --- the algorithm's side -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["write-picture", "unlock-picture"])
def test_algorithm_that_writes_into_its_picture_is_told(lasting_host: WireClient, deed: str) -> None:
    """The array is read-only and stays so."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        before = picture.path.read_bytes()
        answer = lasting_host.call(deed, **picture.fields)
        assert (answer["type"], answer["data"]["kind"]) == ("error", "program")
        assert "ValueError" in answer["message"]
        assert picture.path.read_bytes() == before


def test_writing_past_python_hits_the_mappings_protection(host: WireClient) -> None:
    """Even C code can't spoil the runner's picture: the process ends, by its signal."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        before = picture.path.read_bytes()
        host.send_call("write-picture-in-c", **picture.fields)
        assert host.rest() == []
        assert host.wait() == -11
        assert picture.path.read_bytes() == before


@pytest.mark.parametrize("deed", ["read-another", "read-another-in-silence"])
def test_another_calls_picture_is_never_read(lasting_host: WireClient, deed: str) -> None:
    """Not even where the algorithm swallows the error and says OK."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture, shared_picture(grey(), WIDTH, HEIGHT) as other:
        answer = lasting_host.call(deed, params={"text": other.id}, **picture.fields)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "1002", "not_this_calls_image")


def test_picture_that_an_algorithm_keeps_costs_nothing(host: WireClient) -> None:
    """The segment is gone, the mapping is there as long as somebody looks at it, and no longer than 64 others."""
    for _ in range(5):
        with shared_picture(grey(), WIDTH, HEIGHT) as picture:
            assert host.call("read-and-keep", **picture.fields)["status"] == "OK"
    for _ in range(80):
        with shared_picture(grey(), WIDTH, HEIGHT) as picture:
            assert host.call("read", **picture.fields)["status"] == "OK"
    assert mapped_segments(host.host) <= 64 + 5
    assert host.shut_down() == 0


def mapped_segments(process_id: int) -> int:
    """How many of the test's segments a process has mapped."""
    return Path(f"/proc/{process_id}/maps").read_text().count(f"/dev/shm/peer-{os.getpid()}-")


def test_host_leaves_the_runners_segment_where_it_is(host: WireClient) -> None:
    """The runner owns the memory; a host's end, clean or not, removes nothing."""
    with shared_picture(grey(), WIDTH, HEIGHT) as picture:
        assert host.call("read", **picture.fields)["status"] == "OK"
        host.send_call("segfault")
        host.wait()
        assert eventually(picture.path.exists, "the segment")
