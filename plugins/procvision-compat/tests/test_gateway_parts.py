"""The gateway's parts by themselves: the field's frames, picture files and guides. Adapters run in the tests beside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from procvision_compat.gateway.calls import FieldCall
from procvision_compat.gateway.dialect import FieldConnection
from procvision_compat.gateway.guides import SessionGuides
from procvision_compat.gateway.pictures import FieldFolder, FieldPicture
from procvision_runner import Picture
from procvision_runner.images.slots import SlotPool
from procvision_sdk.errors import CallRefusedError
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.messages import Call, HostHello, Pong, Result, SessionRef

FIELD = ["ping", "call", "shutdown", "shared_memory:v1"]
PICTURE = np.full((4, 6, 3), 7, np.uint8)


def hello(version: str, capabilities: list[str]) -> bytes:
    return frame(json.dumps({"type": "hello", "sdk_version": version, "capabilities": capabilities}).encode())


def spoken(version: str) -> FieldConnection:
    connection = FieldConnection()
    (event,) = connection.receive(hello(version, FIELD))
    assert isinstance(event, HostHello)
    return connection


def sent(framed: bytes) -> object:
    assert int.from_bytes(framed[:4], "big") == len(framed) - 4
    return json.loads(framed[4:])


class Slots:
    """Pictures in slots of a runner's, as files of a gateway's."""

    def __init__(self, folder: Path) -> None:
        self.folder = FieldFolder(str(folder))
        self.folder.open()
        self._slots = SlotPool(4)
        self._slots.suit(arena=False)

    def taken(self, picture: Picture, **more: object) -> FieldPicture:
        lease = self._slots.lease(picture, 1)
        with lease:
            lease.fill(picture)
            return self.folder.take(lease.publish(), self.meta(picture, **more))

    @staticmethod
    def meta(picture: Picture, **more: object) -> dict[str, object]:
        meta = {
            "width": picture.width,
            "height": picture.height,
            "color_space": picture.color_space,
            "encoding": picture.encoding,
            **({"bits": picture.bits} if picture.bits else {}),
        }
        return meta | more

    def close(self) -> None:
        self._slots.close()


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    made = Slots(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("version", "capabilities"), [("0.0.7", []), ("unknown", FIELD), ("0.1.0", FIELD), ("2.0", FIELD), ("0", FIELD)]
)
def test_what_it_doesn_t_know_is_refused(version: str, capabilities: list[str]) -> None:
    connection = FieldConnection()
    (event,) = connection.receive(hello(version, capabilities))
    assert isinstance(event, RemoteProtocolError)
    assert (event.kind, event.fatal) == ("incompatible_version", True)
    assert connection.hello is None
    assert connection.receive(hello("0.0.7", FIELD)) == []


def test_nothing_is_taken_before_the_hello() -> None:
    (event,) = FieldConnection().receive(frame(b'{"type":"result","request_id":"c","status":"OK","data":{}}'))
    assert isinstance(event, RemoteProtocolError)
    assert event.fatal


def test_a_call_of_0_0_x_has_its_fields_in_data() -> None:
    """All of them but the time, which is the gateway's to look after."""
    call = Call(
        request_id="c",
        phase="pre",
        step_index=2,
        pid="p",
        session=SessionRef(id="s"),
        shared_mem_id="dev-shm:1",
        timeout_ms=5,
    )
    fields = {"phase": "pre", "step_index": 2, "pid": "p", "session": {"id": "s"}, "shared_mem_id": "dev-shm:1"}
    assert sent(spoken("0.0.7").call(call)) == {"type": "call", "request_id": "c", "data": fields}


def test_a_call_of_0_3_x_has_its_own_names() -> None:
    """The step's parameters are arguments there."""
    call = Call(
        request_id="c",
        phase="execute",
        step_index=2,
        pid="p",
        shared_mem_id="dev-shm:1",
        image_meta={"width": 1},
        user_params={"step_desc": "d"},
    )
    assert sent(spoken("0.3.2").call(call)) == {
        "type": "call",
        "request_id": "c",
        "data": {
            "step_index": 2,
            "cur_image_shm_id": "dev-shm:1",
            "cur_image_meta": {"width": 1},
            "step_desc": "d",
        },
    }


def test_a_result_s_phase_and_step_are_lifted_out_of_its_data() -> None:
    """0.3.x names no phase, and a pong no state."""
    connection = spoken("0.0.7")
    answer = {"type": "result", "request_id": "c", "status": "OK", "data": {"phase": "pre", "step_index": 3, "a": 1}}
    (result,) = connection.receive(frame(json.dumps(answer).encode()))
    assert isinstance(result, Result)
    assert (result.phase, result.step_index, result.data) == ("pre", 3, {"a": 1})
    result, pong = connection.receive(
        frame(b'{"type":"result","request_id":"d","status":"OK","data":{"info":{}}}')
        + frame(b'{"type":"pong","request_id":"p","status":"OK"}')
    )
    assert isinstance(result, Result)
    assert result.phase == ""
    assert isinstance(pong, Pong)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100,
        b'{"type":"result","status":"FAIL"}',
        b'{"type":"result","status":"OK","data":[]}',
        b'{"type":"result","request_id":7,"status":"OK"}',
        b'{"type":"pong","state":3}',
        b'{"type":"result","status":"OK","data":{"phase":7}}',
        b'{"type":"dance"}',
    ],
)
def test_what_our_codec_refuses_is_refused(raw: bytes) -> None:
    """Its checks hold for the field's frames, and the next frame is read."""
    refused, understood = spoken("0.0.7").receive(frame(raw) + frame(b'{"type":"shutdown","status":"OK"}'))
    assert isinstance(refused, RemoteProtocolError)
    assert not refused.fatal
    assert not isinstance(understood, RemoteProtocolError)


def test_a_picture_that_was_touched_is_not_intact(slots: Slots, tmp_path: Path) -> None:
    """Removed, or written anew."""
    for touch in (Path.unlink, lambda path: path.write_bytes(b"")):
        picture = slots.taken(Picture.of(PICTURE))
        (file,) = tmp_path.iterdir()
        assert np.array_equal(np.load(file), PICTURE)
        assert picture.intact()
        touch(file)
        assert not picture.intact()
        picture.release()
        assert list(tmp_path.iterdir()) == []


def test_a_call_s_files_are_its_picture_and_its_guide(slots: Slots) -> None:
    """Releasing it leaves the guide."""
    guide = slots.taken(Picture.of(PICTURE))
    call = FieldCall(Call(), "call-1", b"", slots.taken(Picture.of(PICTURE)), guide)
    assert call.intact()
    call.release()
    assert not call.intact()
    assert guide.intact()
    call = FieldCall(Call(), "call-2", b"", slots.taken(Picture.of(PICTURE)), guide)
    guide.release()
    assert not call.intact()


def test_a_picture_lies_as_it_came_and_with_8_bits(slots: Slots, tmp_path: Path) -> None:
    """In its color space; the field's own SDK would wrap sixteen bits around."""
    deep = np.arange(0, 4096, 8, np.uint16).reshape(16, 32)
    colored = np.random.default_rng(2).integers(0, 1 << 12, (5, 7, 3)).astype(np.uint16)
    flat = np.arange(12, dtype=np.uint8).reshape(3, 4)
    bgr = PICTURE * np.array([1, 2, 3], np.uint8)
    for given, expected, color_space in (
        (Picture.of(deep, bits=12), deep >> 4, "MONO"),
        (Picture.of(colored, "BGR", bits=12), colored >> 4, "BGR"),
        (Picture.of(flat), flat, "MONO"),
        (Picture.of(bgr, "BGR"), bgr, "BGR"),
    ):
        picture = slots.taken(given, camera_id="top")
        (file,) = tmp_path.iterdir()
        found = np.load(file)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
        assert picture.meta == {
            "width": given.width,
            "height": given.height,
            "color_space": color_space,
            "camera_id": "top",
        }
        assert picture.size == (given.width, given.height)
        picture.release()
    with pytest.raises(CallRefusedError, match="at most 1023"):
        slots.taken(Picture.of(deep, bits=10))


def test_an_encoded_picture_lies_as_its_pixels(slots: Slots, tmp_path: Path) -> None:
    """RGB, whatever it was encoded from."""
    import simplejpeg

    jpeg = simplejpeg.encode_jpeg(np.full((8, 8, 3), 200, np.uint8))
    picture = slots.taken(Picture.encoded(jpeg, 8, 8))
    (file,) = tmp_path.iterdir()
    np.testing.assert_array_equal(np.load(file), np.full((8, 8, 3), 200, np.uint8))
    assert picture.meta == {"width": 8, "height": 8, "color_space": "RGB"}
    with pytest.raises(CallRefusedError, match="damaged"):
        slots.taken(Picture.encoded(jpeg[:-40], 8, 8))


def test_a_slot_that_holds_another_picture_by_now_is_refused(slots: Slots) -> None:
    """Its id names a generation."""
    lease = slots._slots.lease(Picture.of(PICTURE), 1)
    with lease:
        lease.fill(Picture.of(PICTURE))
        name = lease.publish()
        segment, generation = name.rsplit(":", 1)
        for other in (f"{segment}:{int(generation) + 2}", f"{segment}:{int(generation) + 1}"):
            with pytest.raises(CallRefusedError, match="generation") as raised:
                slots.folder.take(other, slots.meta(Picture.of(PICTURE)))
            assert raised.value.kind == "stale_image"
        with pytest.raises(CallRefusedError) as raised:
            slots.folder.take(name, slots.meta(Picture.of(PICTURE), width=5))
        assert raised.value.kind == "image_mismatch"


def test_a_folder_that_can_t_be_written_is_an_error(slots: Slots, tmp_path: Path) -> None:
    """Theirs says nothing and inspects black."""
    slots.folder = FieldFolder(str(tmp_path / "gone"))
    with pytest.raises(CallRefusedError, match="can't be written"):
        slots.taken(Picture.of(PICTURE))


def test_what_a_killed_gateway_left_goes_and_a_living_one_s_stays() -> None:
    """By the lock on the folder."""
    living, dead = FieldFolder(), FieldFolder()
    living.open()
    dead.path.mkdir()
    try:
        another = FieldFolder()
        another.open()
        another.close()
        assert living.path.exists()
        assert not dead.path.exists()
        assert not another.path.exists()
    finally:
        living.close()


def test_guides_of_few_sessions_are_kept(slots: Slots, tmp_path: Path) -> None:
    """The one used longest ago goes first, with its files."""
    guides = SessionGuides(max_sessions=2)
    first, again, second, third = (slots.taken(Picture.of(PICTURE)) for _ in range(4))
    guides.keep("a", 1, first)
    guides.keep("a", 1, again)
    guides.keep("b", 1, second)
    assert not first.intact()
    assert guides.of("a", 5) is again
    guides.keep("c", 1, third)
    assert guides.of("b", 1) is None
    assert not second.intact()
    guides.drop("a")
    guides.drop("nobody")
    assert len(list(tmp_path.iterdir())) == 1
