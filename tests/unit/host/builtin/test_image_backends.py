"""The image backends in the box: each holds to the protocol, and to what only it promises."""

from __future__ import annotations

import mmap
import os
import threading
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from procvision_host.builtin.arena_images import ArenaImages
from procvision_host.builtin.file_images import FileImages, FileImagesPlugin
from procvision_host.builtin.posix_images import PosixImages
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.images.backend import OpenedImage
from procvision_sdk.images.files import opened_below
from procvision_sdk.images.layout import PAYLOAD_OFFSET, SlotHeader, slot_prefix, write_header
from procvision_sdk.images.meta import ImageMeta
from procvision_testing import check_image_backend
from procvision_testing.hook_hosts import HookHost

META = ImageMeta(width=4, height=3)
PIXELS = bytes(range(36))


def slot(payload: bytes, meta: ImageMeta, generation: int = 2) -> bytes:
    """A slot as a runner makes it."""
    memory = bytearray(PAYLOAD_OFFSET)
    header = SlotHeader(
        generation, meta.width, meta.height, meta.color_space, meta.encoding, len(payload), bits=meta.bits or 0
    )
    write_header(memory, header)
    return bytes(memory) + payload


@pytest.fixture
def segments() -> Iterator[list[Path]]:
    """Segments that go with the test."""
    made: list[Path] = []
    yield made
    for path in made:
        path.unlink(missing_ok=True)


def test_posix_images_hold_to_the_protocol(segments: list[Path]) -> None:
    """Slots in /dev/shm."""
    numbers = count()

    def put(payload: bytes, meta: ImageMeta) -> str:
        path = Path("/dev/shm") / f"check-{os.getpid()}-{next(numbers)}"
        segments.append(path)
        path.write_bytes(slot(payload, meta))
        return f"{slot_prefix(path.name)}2"

    check_image_backend(
        PosixImages, put, scheme="shm", remove=lambda id_: (Path("/dev/shm") / id_.split(":")[1]).unlink()
    )


@pytest.fixture
def arena() -> Iterator[tuple[int, mmap.mmap]]:
    """A descriptor that only reads, and what writes behind it."""
    writer = os.memfd_create("arena")
    os.ftruncate(writer, 2**24)
    memory = mmap.mmap(writer, 2**24)
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY)
    os.close(writer)
    yield reader, memory
    os.close(reader)


def test_arena_images_hold_to_the_protocol(arena: tuple[int, mmap.mmap]) -> None:
    """Slots in an arena: used again and again, each time with a later generation."""
    reader, memory = arena
    generations = count(2, 2)

    def put(payload: bytes, meta: ImageMeta) -> str:
        generation = next(generations)
        offset = generation % 64 * 65536 * 2
        laid = slot(payload, meta, generation)
        memory[offset : offset + len(laid)] = laid
        return f"arena:{offset}:{len(laid)}:{generation}"

    def remove(shared_mem_id: str) -> None:
        offset = int(shared_mem_id.split(":")[1])
        memory[offset : offset + 64] = bytes(64)

    check_image_backend(lambda: ArenaImages(lambda: reader), put, scheme="arena", remove=remove)


def test_arena_maps_no_more_than_a_slot(arena: tuple[int, mmap.mmap]) -> None:
    """To look at a hole would allocate it: 16 MiB of them, and one slot of a page is all there is in the end."""
    reader, memory = arena
    laid = slot(bytes(27), ImageMeta(width=3, height=3))
    memory[65536 : 65536 + len(laid)] = laid
    backend = ArenaImages(lambda: reader)
    image = backend.open(f"arena:65536:{len(laid)}:2", ImageMeta(width=3, height=3))
    assert image.array().shape == (3, 3, 3)
    assert os.fstat(reader).st_blocks * 512 <= 2 * 4096
    for bad in ("arena:0:1048576:2", "arena:16777216:64:2", "arena:65536:8:2", "arena:1:64:2"):
        with pytest.raises(CallRefusedError):
            backend.open(bad, ImageMeta(width=3, height=3))
    assert os.fstat(reader).st_blocks * 512 <= 3 * 4096
    backend.close()


@pytest.mark.parametrize("attack", ["fifo", "folder", "link", "another user", "empty"])
def test_posix_images_open_only_what_is_their_own(segments: list[Path], attack: str, tmp_path: Path) -> None:
    """Nothing there makes a host wait, and nothing of another user's is looked at."""
    path = Path("/dev/shm") / f"check-{os.getpid()}-attack"
    segments.append(path)
    meta = ImageMeta(width=3, height=3)
    if attack == "fifo":
        os.mkfifo(path, 0o666)
    elif attack == "folder":
        path.symlink_to(tmp_path)
    elif attack == "link":
        target = tmp_path / "slot"
        target.write_bytes(slot(bytes(27), meta))
        path.symlink_to(target)
    elif attack == "empty":
        path.touch()
    else:
        if os.geteuid():
            pytest.skip("to give a file to another user takes root")
        path.write_bytes(slot(bytes(27), meta))
        os.chown(path, 12345, 12345)
    with pytest.raises(CallRefusedError) as raised:
        PosixImages().open(f"shm:{path.name}:2", meta)
    assert (raised.value.error_code, raised.value.kind) == ("1002", "no_such_image")


@pytest.mark.parametrize("as_slot", [False, True])
def test_file_images_hold_to_the_protocol(tmp_path: Path, as_slot: bool) -> None:
    """Payloads alone, and slots, in folders below the configured one."""
    numbers = count()

    def put(payload: bytes, meta: ImageMeta) -> str:
        folder = tmp_path / "pictures" / "below"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"number {next(numbers)}.bin"
        path.write_bytes(slot(payload, meta) if as_slot else payload)
        return f"file:{path}#2" if as_slot else f"file:{path}"

    def remove(shared_mem_id: str) -> None:
        Path(shared_mem_id.removeprefix("file:").removesuffix("#2")).unlink()

    check_image_backend(lambda: FileImages([tmp_path / "pictures"]), put, scheme="file", remove=remove)


class Folder:
    """A configured folder with one picture, and one outside of it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "inside"
        self.outside = path / "outside"
        for folder in (self.path, self.outside):
            folder.mkdir()
            (folder / "picture").write_bytes(PIXELS)
        self.backend = FileImages([self.path])

    def open(self, name: str, meta: ImageMeta = META) -> OpenedImage:
        return self.backend.open(f"file:{self.path}/{name}", meta)

    def kind(self, name: str, meta: ImageMeta = META) -> str:
        with pytest.raises(CallRefusedError) as raised:
            self.open(name, meta)
        assert raised.value.error_code == "1002"
        return raised.value.kind


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Made for one test."""
    return Folder(tmp_path)


def test_no_link_leads_out_of_the_folder(folder: Folder) -> None:
    """Neither as the file nor on the way to it; links within are refused too, since they can be turned."""
    (folder.path / "link").symlink_to(folder.outside / "picture")
    (folder.path / "way").symlink_to(folder.outside)
    (folder.path / "near").symlink_to("picture")
    for name in ("link", "way/picture", "near"):
        assert folder.kind(name) == "no_such_image"
    assert folder.open("picture").array().tobytes() == PIXELS


@pytest.mark.parametrize(
    "name", ["../outside/picture", "./picture", "a//picture", "picture/", "", "picture/../picture", "..", "pic\0ture"]
)
def test_a_path_that_is_not_plain_is_refused(folder: Folder, name: str) -> None:
    """Before anything is looked for."""
    assert folder.kind(name) == "bad_image_id"


def test_what_is_no_regular_file_is_refused_at_once(folder: Folder) -> None:
    """A folder, a pipe that nobody writes, a device."""
    os.mkfifo(folder.path / "pipe")
    (folder.path / "folder").mkdir()
    assert folder.kind("pipe") == "no_such_image"
    assert folder.kind("folder") == "no_such_image"
    with pytest.raises(CallRefusedError, match="no regular file"):
        FileImages([Path("/dev")]).open("file:/dev/null", META)


def test_other_folders_are_not_looked_into(folder: Folder) -> None:
    """Not even one whose name begins alike."""
    with pytest.raises(CallRefusedError, match="lies below none of the folders"):
        folder.backend.open(f"file:{folder.path}-too/picture", META)
    with pytest.raises(CallRefusedError, match="lies below none of the folders"):
        folder.backend.open(f"file:{folder.outside}/picture", META)


@pytest.mark.parametrize("text", ["", ":", "relative", "/", "/a/../b"])
def test_a_folder_that_would_let_everything_in_is_a_wrong_configuration(text: str) -> None:
    """Named with its value."""
    with pytest.raises(ValueError, match="folders"):
        FileImagesPlugin().procvision_configure({"folders": text})


@pytest.mark.parametrize("size", [0, 35, 37, 10_000])
def test_a_file_of_another_size_is_another_picture(folder: Folder, size: int) -> None:
    """Exactly the pixels, or nothing."""
    (folder.path / "picture").write_bytes(bytes(size))
    assert folder.kind("picture") == "image_mismatch"


def test_a_huge_file_is_not_read(folder: Folder) -> None:
    """An encoded picture of this size takes at most so much, whatever the file holds."""
    with (folder.path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    for encoding in ("jpeg", "png", "raw"):
        assert folder.kind("huge", ImageMeta(width=4, height=3, encoding=encoding)) == "image_mismatch"


def test_a_file_that_is_cut_off_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """And no SIGBUS: it isn't mapped."""
    (tmp_path / "picture").write_bytes(PIXELS)
    with opened_below(tmp_path, ["picture"], "it") as file:
        os.truncate(tmp_path / "picture", 10)
        with pytest.raises(CallRefusedError, match="cut off") as raised:
            file.read(0, file.size)
        assert raised.value.kind == "stale_image"


def test_a_file_that_is_written_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """The same length, other pixels."""
    path = tmp_path / "picture"
    path.write_bytes(PIXELS)
    os.utime(path, ns=(1, 1))
    with opened_below(tmp_path, ["picture"], "it") as file:
        file.read(0, file.size)
        file.check_unchanged()
        with path.open("r+b") as writing:
            writing.write(b"other")
        with pytest.raises(CallRefusedError, match="was changed") as raised:
            file.check_unchanged()
        assert raised.value.kind == "stale_image"


def test_what_is_written_later_changes_no_picture(folder: Folder) -> None:
    """Written over, cut off, replaced, removed: the algorithm has a copy."""
    opened = folder.open("picture")
    array = opened.array()
    (folder.path / "picture").write_bytes(bytes(5))
    (folder.path / "picture").unlink()
    assert array.tobytes() == PIXELS
    opened.still_valid()


@pytest.mark.parametrize(("generation", "kind"), [("3", "stale_image"), ("4", "stale_image"), ("0", "stale_image")])
def test_a_slots_generation_is_held_against_the_ids(folder: Folder, generation: str, kind: str) -> None:
    """Odd or another: not this call's picture."""
    (folder.path / "slot").write_bytes(slot(PIXELS, META))
    assert folder.open("slot#2").array().tobytes() == PIXELS
    assert folder.kind(f"slot#{generation}") == kind


def test_a_slot_is_never_torn_under_a_writer(folder: Folder) -> None:
    """One writes picture after picture, another reads: a whole one, or stale."""
    meta = ImageMeta(width=200, height=200)
    path = folder.path / "slot"
    path.write_bytes(slot(bytes(meta.raw_bytes), meta, 0))
    done = threading.Event()

    def write() -> None:
        generation = 0
        with path.open("r+b", buffering=0) as file:
            while not done.is_set():
                for step in (1, 2):
                    file.seek(16)
                    file.write((generation + step).to_bytes(8, "little"))
                    if step == 1:
                        file.seek(PAYLOAD_OFFSET)
                        file.write(bytes([(generation // 2 + 1) % 256]) * meta.raw_bytes)
                generation += 2
                done.wait(0.0005)

    writer = threading.Thread(target=write)
    writer.start()
    seen = stale = 0
    try:
        while seen < 100 or stale < 20:
            generation = int.from_bytes(path.read_bytes()[16:24], "little")
            try:
                array = folder.open(f"slot#{generation}", meta).array()
            except CallRefusedError as refusal:
                assert refusal.kind == "stale_image"
                stale += 1
                continue
            assert np.unique(array).tolist() == [generation // 2 % 256]
            seen += 1
    finally:
        done.set()
        writer.join()


def test_a_host_reads_files_below_the_folders_it_was_given(tmp_path: Path, folder: Folder) -> None:
    """And has no such scheme without one."""
    call = {"shared_mem_id": f"file:{folder.path}/picture", "image_meta": {"width": 4, "height": 3}}
    with HookHost(tmp_path, options={"file-images.folders": f"{tmp_path / 'other'}{os.pathsep}{folder.path}"}) as host:
        assert host.call("read", **call)["data"]["debug"]["crc32"] == zlib.crc32(PIXELS)
        (folder.path / "picture").write_bytes(PIXELS[:-1])
        answer = host.call("read", **call)
        assert (answer["type"], answer["data"]["kind"]) == ("error", "image_mismatch")
    with HookHost(tmp_path) as host:
        assert host.call("read", **call)["data"]["kind"] == "bad_image_id"
