"""Byte streams that a careful runner never sends, and those that every pipe may make of it."""

from __future__ import annotations

import json
import resource
import struct
from pathlib import Path

import pytest
from launching import Launch
from wire_client import WireClient, frame


def virtual_bytes(process_id: int) -> int:
    """How much memory a process has asked for."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[0]) * resource.getpagesize()


def test_one_byte_at_a_time_is_understood(lasting_host: WireClient) -> None:
    """Frames are cut by their length, not by what arrives together."""
    call = {
        "type": "call",
        "request_id": "slow",
        "phase": "execute",
        "step_index": 1,
        "pid": "A",
        "session": {"id": "s"},
    }
    for byte in frame({"type": "ping", "request_id": "p"}) + frame(call):
        lasting_host.write(bytes([byte]))
    assert lasting_host.receive()["request_id"] == "p"
    assert lasting_host.answer("slow")["status"] == "OK"


def test_length_of_four_gib_costs_nothing(host: WireClient) -> None:
    """The limit is checked on the header: an error and exit status 65, where 64 MiB more couldn't be had."""
    host.call()
    room = 64 << 20
    for process_id in (host.process.pid, host.host):
        resource.prlimit(process_id, resource.RLIMIT_AS, (virtual_bytes(process_id) + room, resource.RLIM_INFINITY))
    host.write(struct.pack(">I", 0xFFFFFFFF))
    error = host.receive()
    assert (error["error_code"], error["data"]["kind"]) == ("1000", "frame_too_large")
    assert host.rest() == []
    assert host.wait() == 65


def test_teardown_runs_after_the_frames_are_lost(host: WireClient) -> None:
    """What setup() took is given back."""
    host.call()
    host.write(struct.pack(">I", 0xFFFFFFFF) + b"x" * 100)
    assert host.wait() == 65
    assert any(record["message"] == "torn down" for record in host.whole_log())


def test_smaller_frame_limit_is_kept(launch: Launch) -> None:
    """--max-frame-bytes bounds what comes in and what goes out."""
    host = launch("misbehaving", "--max-frame-bytes", "2048")
    large = host.call("return-large", params={"count": 4096})
    assert (large["type"], large["error_code"]) == ("error", "1006")
    host.send({"type": "ping", "request_id": "x" * 100, "padding": "x" * 4096})
    assert host.receive()["data"]["kind"] == "frame_too_large"
    assert host.wait() == 65


@pytest.mark.parametrize("cut", [b"\0", b"\0\0\0", b"\0\0\0\x10", b"\0\0\0\x10" + b'{"type":"pin'])
def test_end_of_stdin_inside_a_frame_is_lost_framing(launch: Launch, cut: bytes) -> None:
    """An error and exit status 65, wherever the frame was cut."""
    host = launch()
    host.call()
    host.write(cut)
    host.close_stdin()
    assert [message.get("data", {}).get("kind") for message in host.rest()] == ["cut_frame"]
    assert host.wait() == 65


def nested(depth: int) -> bytes:
    """A ping that nests so deep."""
    return b'{"type":"ping","request_id":"deep","x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_json_of_sixty_four_levels_is_taken(lasting_host: WireClient) -> None:
    """The bound itself is allowed."""
    lasting_host.send(nested(64))
    assert lasting_host.receive()["type"] == "pong"


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_deeper_json_is_refused_and_the_loop_goes_on(lasting_host: WireClient, depth: int) -> None:
    """No recursion of ours follows a peer's nesting."""
    lasting_host.send(nested(depth))
    assert lasting_host.receive()["data"]["kind"] == "too_deep"
    lasting_host.send(b"[" * depth)
    assert lasting_host.receive()["error_code"] == "1000"
    assert lasting_host.call()["status"] == "OK"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"type":"ping","request_id":"\xff"}',
        b'{"type":"unheard-of","request_id":"r"}',
        b'{"type":["ping"]}',
        b'{"type":"call","phase":7}',
        b'{"type":"ping","x":NaN}',
        b'{"type":"ping","timestamp_ms":1e400}',
        b"\0" * 64,
        b'{"type":"ping"}{"type":"ping"}',
    ],
)
def test_frame_that_can_be_skipped_is_refused_and_the_loop_goes_on(lasting_host: WireClient, payload: bytes) -> None:
    """An error frame for each, and the next call is answered."""
    lasting_host.send(payload)
    error = lasting_host.receive()
    assert (error["type"], error["error_code"]) == ("error", "1000")
    assert lasting_host.call()["status"] == "OK"


def test_frames_after_the_lost_one_are_not_read(host: WireClient) -> None:
    """Nothing behind it can be told apart."""
    host.write(struct.pack(">I", 0xFFFFFFFF) + frame({"type": "ping", "request_id": "behind"}))
    assert [message["type"] for message in host.rest()] == ["error"]
    assert host.wait() == 65


def test_large_frame_is_answered(lasting_host: WireClient) -> None:
    """Some megabytes, in as many pieces as the pipe makes of them."""
    text = "ä" * (3 << 20)
    answer = lasting_host.call("nothing", params={"text": text})
    assert answer["status"] == "OK"
    answer = lasting_host.call("return-large", params={"count": 8 << 20})
    assert len(answer["data"]["debug"]["padding"]) == 8 << 20


def test_fields_of_a_newer_runner_are_ignored(lasting_host: WireClient) -> None:
    """Old and new sides talk."""
    assert lasting_host.call(new_field={"a": [1]}, timestamp_ms=5)["status"] == "OK"


def test_fields_inside_data_are_read_too(lasting_host: WireClient) -> None:
    """Where hosts in the field look for them."""
    inner = {"phase": "execute", "step_index": 1, "pid": "A", "session": {"id": "s"}}
    lasting_host.send(json.dumps({"type": "call", "request_id": "inner", "data": inner}).encode())
    assert lasting_host.answer("inner")["data"]["result_status"] == "OK"
