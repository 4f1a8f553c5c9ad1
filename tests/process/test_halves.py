"""Host half and cell: what an algorithm can't reach, and what outlives it."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hooking import WATCHING
from launching import Launch
from peer_plugins import install_algorithm
from wire_client import WireClient, eventually, gone

from procvision_host.process.linux import parents
from procvision_testing.hook_hosts import HookHost

VENDOR = """
import gc, os, struct, time, ctypes
from procvision_sdk import BaseAlgorithm, Ok, Prepared, read_image_from_shared_memory

def own(kind):
    return [int(name) for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}") and kind in os.readlink(f"/proc/self/fd/{name}")]

class Vendor(BaseAlgorithm):
    def pre_execute(self, *a, **k): return Prepared()
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        do = session.context.get("do", "")
        session.set("n", session.get("n", 0) + 1)
        found = {"n": session.get("n")}
        if do == "modules":
            import sys
            foreign = ("procvision_host.hooks.manager", "peer_hooks", "sqlite3")
            found["modules"] = [name for name in sys.modules if name.startswith(foreign)]
        if do == "secrets":
            gc.unfreeze()
            objects = "".join(str(vars(one)) for one in gc.get_objects() if hasattr(one, "__dict__"))
            block = open("/proc/self/environ", "rb").read()
            line = open("/proc/self/cmdline", "rb").read()
            found["seen"] = [
                "hush-hush" in objects, "hush-hush" in str(dict(os.environ)), b"hush-hush" in block + line
            ]
            found["line"] = line.decode()
        if do == "garbage":
            for descriptor in own("pipe"):
                if descriptor > 100:
                    try: os.write(descriptor, struct.pack("<I", 5) + b"\\xc1\\xc1\\xc1\\xc1\\xc1")
                    except OSError: pass
        if do.startswith("ask:"):
            gc.unfreeze()
            ends = next(one for one in gc.get_objects() if type(one).__name__ == "HostEnds")
            os.write(ends.requests, bytes.fromhex(do[4:]))
        if do == "claim":
            from procvision_host.halves.records import EVENTS, events_record
            gc.unfreeze()
            ring = next(one for one in gc.get_objects() if type(one).__name__ == "Ring")
            told = {"algorithm": "honest", "version": "1.0", "process_id": 1, "supervisor": ""}
            ring.put(EVENTS, events_record([("procvision_host_loaded", told)]))
            time.sleep(5)
        if do == "endless-line":
            gc.unfreeze()
            ends = next(one for one in gc.get_objects() if type(one).__name__ == "HostEnds")
            os.set_blocking(ends.logs, True)
            for _ in range(1600):
                os.write(ends.logs, b"x" * 65536)
        if do == "close":
            os.closerange(3, 400)
        if do == "crash-later":
            import threading
            threading.Timer(0.02, lambda: os.kill(os.getpid(), 11)).start()
        return Ok(debug=found)
"""


@pytest.fixture
def vendor(launch: Launch, tmp_path: Path, installed_hooks: Callable[..., dict[str, str]]) -> Callable[..., WireClient]:
    """Starts a host of that vendor's with a hook plugin that writes down what it is told."""
    place = install_algorithm(tmp_path / "vendor", "vendor", VENDOR, supported_pids=["*"])
    added = installed_hooks(WATCHING)

    def begin(*options: str, **variables: str) -> WireClient:
        path = f"{place}:{added['PYTHONPATH']}:{launch.environment['PYTHONPATH']}"
        told = ("--hook-option", f"watching.path={tmp_path / 'told'}")
        return launch("vendor", *told, *options, environment={**added, **variables, "PYTHONPATH": path})

    return begin


def call(host: WireClient, do: str, session: str = "s") -> dict[str, object]:
    """A call that has the vendor do something; what it found."""
    answer = host.call(user_params={}, session={"id": session, "context": {"do": do}})
    assert answer["type"] == "result", answer
    found = answer["data"]["debug"]
    assert isinstance(found, dict)
    return found


def told(tmp_path: Path, hook: str) -> list[dict[str, object]]:
    """What the hook plugin was told so far."""
    path = tmp_path / "told"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["hook"] == hook]


def test_nothing_of_a_hook_plugin_or_a_store_is_in_the_algorithms_process(
    vendor: Callable[..., WireClient], tmp_path: Path
) -> None:
    """Neither its modules nor those of its libraries."""
    host = vendor("--sessions", f"sqlite:{tmp_path}/s.db")
    assert call(host, "modules")["modules"] == []
    assert host.shut_down() == 0
    assert {line["by"] for line in told(tmp_path, "call_finished")} != {host.host}


def test_secrets_of_the_host_half_are_not_the_algorithms(vendor: Callable[..., WireClient], tmp_path: Path) -> None:
    """Neither as an object, nor in its environment as Python or the kernel shows it."""
    host = vendor(
        *("--hook-option", "sqlite-sessions.busy_ms=77", "--sessions", f"sqlite:{tmp_path}/hush-hush.db"),
        PROCVISION_SESSIONS=f"sqlite:{tmp_path}/hush-hush.db",
    )
    found = call(host, "secrets")
    assert found["seen"] == [False, False, False]
    assert str(found["line"]).rstrip("\0").split("\0") == ["procvision-host", "--algo", "vendor"]
    assert call(host, "")["n"] == 2
    assert list(tmp_path.glob("hush-hush.db"))


@pytest.mark.parametrize("wait", [False, True])
def test_a_crash_loses_no_record_of_an_answered_call(
    vendor: Callable[..., WireClient], tmp_path: Path, wait: bool
) -> None:
    """Killed at once after the answer, or a moment later: the observers live elsewhere."""
    host = vendor()
    for _ in range(50):
        call(host, "crash-later" if wait else "")
        if wait:
            break
    if not wait:
        os.kill(host.host, signal.SIGKILL)  # at once: the cell may not have said yet which call it was
    assert host.wait() in {-signal.SIGKILL, -signal.SIGSEGV}
    assert len(told(tmp_path, "call_finished")) == (1 if wait else 50)
    assert len(told(tmp_path, "session_saved")) == (1 if wait else 50)
    assert told(tmp_path, "host_closed") == []


def test_records_larger_than_the_ring_are_told_in_their_order(start: Callable[..., WireClient], tmp_path: Path) -> None:
    """A megabyte and more in one answer."""
    host = start(WATCHING, "misbehaving", "--hook-option", f"watching.path={tmp_path / 'told'}")
    for size in (10, 3_000_000, 10):
        assert host.call("return-large", params={"count": size})["type"] == "result"
    eventually(lambda: len(told(tmp_path, "call_finished")) == 3, "all three")
    seen = [len(json.dumps(line["answer"])) > 1_000_000 for line in told(tmp_path, "call_finished")]
    assert seen == [False, True, False]


def test_a_vendor_that_writes_into_the_private_channel_ends_its_host_alone(
    vendor: Callable[..., WireClient], tmp_path: Path
) -> None:
    """No call is left without an end, and the log says what it was."""
    host = vendor("--sessions", f"sqlite:{tmp_path}/s.db")
    half = parents()[parents()[host.host]]
    host.send_call(user_params={}, session={"id": "s", "context": {"do": "garbage"}})
    assert host.wait() == -signal.SIGKILL
    gone(half)
    host.log("the host half failed")
    fresh = vendor("--sessions", f"sqlite:{tmp_path}/s.db")
    assert call(fresh, "")["n"] in {1, 2}


def asked(*words: Any) -> bytes:
    """As it crosses."""
    data = msgspec.msgpack.encode(words)
    return struct.pack("<I", len(data)) + data


NEXT = 4
"""The number of the question that is due in an algorithm's first call, after plan, session and wrapper."""
BAD_QUESTIONS: dict[str, tuple[bytes, str]] = {
    "an unknown one": (asked(NEXT, "steal", "x"), "asks what nobody asks"),
    "another type": (asked(NEXT, "load", 7), "asks what nobody asks"),
    "no picture": (asked(NEXT, "open_image", "x:1", {"width": "wide"}), "no open_image"),
    "no record": (asked(NEXT, "record", 77, b"x"), "the host half failed"),
    "one that is right": (asked(NEXT, "load", "s"), "has the number"),
    "out of turn": (asked(1, "load", "s"), "has the number"),
    "no list": (struct.pack("<I", 1) + b"\x01", "no question"),
    "a length beyond all": (b"\xff\xff\xff\xff", "bytes, at most"),
    "half of one": (struct.pack("<I", 4000) + b"x", "of a question a part came"),
}


@pytest.mark.parametrize("kind", BAD_QUESTIONS)
def test_a_bad_question_ends_the_algorithm_and_says_which_it_was(
    kind: str, vendor: Callable[..., WireClient], tmp_path: Path
) -> None:
    """Nobody waits for an answer that doesn't come, and the log has a line about it, not our stack."""
    data, said = BAD_QUESTIONS[kind]
    host = vendor("--sessions", f"sqlite:{tmp_path}/s.db")
    host.send_call(user_params={}, session={"id": "s", "context": {"do": f"ask:{data.hex()}"}})
    assert host.wait() == -signal.SIGKILL
    line = host.log("the host half failed")
    # The algorithm's next question may have been read together with it.
    assert said in line["message"] or "more bytes than the message has" in line["message"]
    assert "Traceback" not in line["message"]


def test_an_algorithm_cannot_write_into_the_record_of_another(
    vendor: Callable[..., WireClient], tmp_path: Path
) -> None:
    """Nor anywhere else: the files' names come from the name that its host was asked for."""
    kept = tmp_path / "log"
    host = vendor("--hook-option", f"json-lines.directory={kept}", "--hook", "json-lines")
    assert call(host, "")["n"] == 1
    host.send_call(user_params={}, session={"id": "s", "context": {"do": "claim"}})
    assert host.wait() == -signal.SIGKILL
    assert "a second time, as 'honest'" in host.log("the host half failed")["message"]
    assert [path.name for path in kept.iterdir()] == ["vendor.jsonl"]


def test_a_log_line_that_never_ends_fills_no_memory(vendor: Callable[..., WireClient]) -> None:
    """100 MB into the pipe that the host half reads."""
    host = vendor()
    half = parents()[parents()[host.host]]
    call(host, "endless-line")
    peak = next(line for line in Path(f"/proc/{half}/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 80_000, peak
    assert host.shut_down() == 0


def test_closed_descriptors_of_the_private_channel_are_opened_again(
    vendor: Callable[..., WireClient], tmp_path: Path
) -> None:
    """As those of the frames are: the state is kept, and observers are told."""
    host = vendor("--sessions", f"sqlite:{tmp_path}/s.db")
    assert [call(host, "close")["n"] for _ in range(3)] == [1, 2, 3]
    assert host.shut_down() == 0
    assert len(told(tmp_path, "call_finished")) == 3


def test_pictures_that_the_host_half_opens_are_the_algorithms_to_read(tmp_path: Path) -> None:
    """Of several sizes, one after the other, in one memory."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with HookHost(tmp_path, options={"file-images.folders": pictures}) as host:
        for number, (height, width) in enumerate([(2, 3), (480, 640), (1, 1), (700, 900)]):
            raw = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
            (pictures / f"{number}.raw").write_bytes(raw.tobytes())
            meta = {"width": width, "height": height, "timestamp_ms": 1, "camera_id": "c", "color_space": "RGB"}
            answer = host.call("read", shared_mem_id=f"file:{pictures}/{number}.raw", image_meta=meta)
            import zlib

            assert answer["data"]["debug"]["crc32"] == zlib.crc32(raw.tobytes()), answer
