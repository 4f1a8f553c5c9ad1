"""The field's frames as our messages; the adapters themselves run in procvision-compat's tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from procvision_runner.errors import SlotsExhaustedError
from procvision_runner.field.calls import FieldLease
from procvision_runner.field.dialect import FieldDialect
from procvision_runner.field.guides import SessionGuides
from procvision_runner.field.pictures import FieldFolder
from procvision_sdk.wire.connection import Connection
from procvision_sdk.wire.errors import RemoteProtocolError
from procvision_sdk.wire.events import Violation
from procvision_sdk.wire.frames import frame
from procvision_sdk.wire.heartbeat import HeartbeatPolicy
from procvision_sdk.wire.messages import Call, HostHello, Result, RunnerHello, SessionRef
from procvision_sdk.wire.tables import ConnectionState, Role

FIELD = ["ping", "call", "shutdown", "shared_memory:v1"]
PICTURE = np.full((4, 6, 3), 7, np.uint8)


def spoken(version: str) -> FieldDialect:
    dialect = FieldDialect()
    assert dialect.understands(HostHello(sdk_version=version, capabilities=FIELD))
    return dialect


def hello(version: str, capabilities: list[str]) -> bytes:
    return frame(json.dumps({"type": "hello", "sdk_version": version, "capabilities": capabilities}).encode())


@pytest.mark.parametrize(
    ("version", "capabilities"), [("0.0.7", []), ("unknown", FIELD), ("0.1.0", FIELD), ("2.0", FIELD), ("0", FIELD)]
)
def test_what_it_doesn_t_know_is_refused(version: str, capabilities: list[str]) -> None:
    """As without a dialect."""
    connection = Connection(Role.RUNNER, now=0, dialect=FieldDialect())
    (event,) = connection.receive(hello(version, capabilities))
    assert isinstance(event, Violation)
    assert (event.kind, event.fatal) == ("incompatible_version", True)


def test_a_connection_without_the_dialect_refuses_them() -> None:
    """A supervisor's: it would send slots, which they can't read."""
    (event,) = Connection(Role.RUNNER, now=0).receive(hello("0.0.7", FIELD))
    assert isinstance(event, Violation)
    assert event.fatal


def test_a_host_of_the_field_is_not_pinged() -> None:
    """Its pong waits for the call that runs."""
    connection = Connection(Role.RUNNER, now=0, heartbeat=HeartbeatPolicy(interval_s=1), dialect=FieldDialect())
    connection.receive(hello("0.3.2", FIELD))
    connection.send(RunnerHello(runner_version="1.0"))
    assert connection.state is ConnectionState.OPEN
    assert connection.deadline is None
    assert connection.tick(1e6) == []


def test_a_call_of_0_0_x_has_its_fields_in_data() -> None:
    """All of them."""
    call = Call(
        request_id="c", phase="pre", step_index=2, pid="p", session=SessionRef(id="s"), shared_mem_id="dev-shm:1"
    )
    sent = json.loads(spoken("0.0.7").encode(call))
    fields = {"phase": "pre", "step_index": 2, "pid": "p", "session": {"id": "s"}, "shared_mem_id": "dev-shm:1"}
    assert sent == {"type": "call", "request_id": "c", "data": fields}


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
    sent = json.loads(spoken("0.3.2").encode(call))["data"]
    assert sent == {
        "step_index": 2,
        "cur_image_shm_id": "dev-shm:1",
        "cur_image_meta": {"width": 1},
        "step_desc": "d",
    }


def test_a_result_s_phase_and_step_are_lifted_out_of_its_data() -> None:
    """0.3.x names no phase: it is that of the call."""
    dialect = spoken("0.0.7")
    answer = {"type": "result", "request_id": "c", "status": "OK", "data": {"phase": "pre", "step_index": 3, "a": 1}}
    result = dialect.decode(json.dumps(answer).encode())
    assert isinstance(result, Result)
    assert (result.phase, result.step_index, result.data) == ("pre", 3, {"a": 1})
    dialect.encode(Call(request_id="d", phase="info"))
    result = dialect.decode(b'{"type":"result","request_id":"d","status":"OK","data":{"info":{}}}')
    assert isinstance(result, Result)
    assert result.phase == "info"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100, b'{"type":"result","status":"FAIL"}'])
def test_what_our_codec_refuses_is_refused(raw: bytes) -> None:
    """Its checks hold for the field's frames."""
    with pytest.raises(RemoteProtocolError):
        spoken("0.0.7").decode(raw)


def test_a_picture_that_was_touched_is_not_intact(tmp_path: Path) -> None:
    """Removed, or written anew."""
    folder = FieldFolder(str(tmp_path))
    folder.open()
    for touch in (Path.unlink, lambda path: path.write_bytes(b"")):
        picture = folder.write(PICTURE)
        (file,) = tmp_path.iterdir()
        assert np.array_equal(np.load(file), PICTURE)
        assert picture.intact()
        touch(file)
        assert not picture.intact()
        picture.release()
        assert list(tmp_path.iterdir()) == []


def test_whether_a_call_s_files_were_there_can_be_asked_at_any_time(tmp_path: Path) -> None:
    """Before they are released, and after: what counts then is how they lay when they were."""
    folder = FieldFolder(str(tmp_path))
    folder.open()
    guide = folder.write(PICTURE)
    good, bad = (FieldLease(folder.write(PICTURE), guide, None) for _ in range(2))
    assert good.intact()
    good.release()
    good.release()
    assert good.intact()
    guide.release()
    assert good.intact()
    assert not bad.intact()
    bad.release()
    assert not bad.intact()


def test_a_folder_that_can_t_be_written_is_an_error(tmp_path: Path) -> None:
    """Theirs says nothing and inspects black."""
    folder = FieldFolder(str(tmp_path / "gone"))
    with pytest.raises(SlotsExhaustedError, match="can't be written"):
        folder.write(PICTURE)


def test_what_a_killed_runner_left_goes_and_a_living_one_s_stays() -> None:
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


def test_guides_of_few_sessions_are_kept(tmp_path: Path) -> None:
    """The one used longest ago goes first, with its files."""
    folder = FieldFolder(str(tmp_path))
    folder.open()
    guides = SessionGuides(max_sessions=2)
    first, again, second, third = (folder.write(PICTURE) for _ in range(4))
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
