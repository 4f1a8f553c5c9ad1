"""What an algorithm and its children write and read beside the frames, and what becomes of it in the log."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from launching import Gate, Launch
from shared_picture import grey, shared_picture
from wire_client import WireClient, eventually


def strays(host: WireClient, request_id: str) -> list[dict[str, object]]:
    """The records about output of this call."""
    return [record for record in host.logs if record.get("request_id") == request_id and "stream" in record]


@pytest.mark.parametrize(
    ("deed", "params", "text", "count"),
    [
        ("print-text", {"text": "hello", "count": 3}, "hello\nhello\nhello", 18),
        ("print-without-newline", {"text": "no end"}, "no end", 6),
        ("write-frame", {}, '{"type":"result"}', 21),
        ("printf", {"text": "from C"}, "from C", 7),
        ("run-child", {"text": "from a child"}, "from a child", 13),
        ("print-text", {"text": "größer", "count": 1}, "größer", 9),
    ],
)
def test_output_is_logged_once_per_call_and_never_in_the_frames(
    lasting_host: WireClient, deed: str, params: dict[str, object], text: str, count: int
) -> None:
    """One warning with the text and the count of bytes, and it names its call."""
    call = lasting_host.send_call(deed, params=params)
    assert lasting_host.answer(call)["data"]["result_status"] == "OK"
    after = lasting_host.send_call("print-text", params={"text": "the next call"})
    assert lasting_host.answer(after)["status"] == "OK"
    record = lasting_host.log(text, request_id=call, stream="stdout", level="warning")
    assert record["bytes"] == count
    lasting_host.log("the next call", request_id=after)
    assert len(strays(lasting_host, call)) == 1


def test_output_at_both_ends_of_a_long_call_belongs_to_it(lasting_host: WireClient, gate: Gate) -> None:
    """What came before a long pause and what came after it are both the call's, and nothing is told twice."""
    call = lasting_host.send_call("print-and-wait", params={"text": str(gate)})
    lasting_host.until_state("executing")
    gate.open()
    lasting_host.answer(call)
    lasting_host.call()
    lasting_host.log("after", request_id=call)
    records = strays(lasting_host, call)
    assert sum(int(str(record["bytes"])) for record in records) == len("before\nafter\n")
    assert "".join(str(record["message"]).rpartition(": ")[2] for record in records).replace("\n", "") == "beforeafter"


def test_calls_in_a_row_have_a_record_each(lasting_host: WireClient) -> None:
    """Sent ahead of their answers, so that one begins as the other ends."""
    for _ in range(5):
        calls = [lasting_host.send_call("print-text", params={"text": f"of call {n}"}) for n in range(4)]
        for number, call in enumerate(calls):
            lasting_host.answer(call)
            record = lasting_host.log(f"of call {number}", request_id=call)
            assert record["message"].endswith(f": of call {number}")


def test_output_on_stderr_is_a_record_too(lasting_host: WireClient) -> None:
    """At the level of a remark: banners go there."""
    call = lasting_host.send_call("print-to-stderr", params={"text": "loading weights"})
    lasting_host.answer(call)
    lasting_host.log("loading weights", stream="stderr", level="info")


@pytest.mark.parametrize("deed", ["read-stdin", "run-child-that-reads"])
def test_stdin_of_the_algorithm_is_empty(lasting_host: WireClient, deed: str) -> None:
    """Neither the algorithm nor its children can eat a frame."""
    call = lasting_host.send_call(deed)
    lasting_host.send({"type": "ping", "request_id": "behind"})
    messages = [lasting_host.receive(), lasting_host.receive()]
    answer = next(message for message in messages if message["type"] == "result")
    assert answer["request_id"] == call
    assert answer["data"]["debug"]["read"] == 0
    assert {message["type"] for message in messages} == {"result", "pong"}


def test_every_way_of_logging_becomes_a_json_line(host: WireClient) -> None:
    """Structured, plain, warnings, a malformed record, and a handler of the vendor's own; each names its call."""
    call = host.send_call(
        "log-everywhere", params={"text": "something"}, session={"id": "p1", "context": {"trace_id": "t"}}
    )
    host.answer(call)
    record = host.log("structured", request_id=call, session_id="p1", trace_id="t", step_index=1)
    assert (record["lamp"], record["level"], record["algorithm"]) == (3, "info", "misbehaving")
    host.log("plain something", logger="vendor", level="warning", request_id=call)
    host.log("UserWarning: something", level="warning")
    host.log("own handler something", stream="stdout")
    host.log("can't be written", level="error")
    # The vendor cleared the root logger: the host is heard all the same.
    host.call("raise-plain")
    host.log("execute raised KeyError", level="error")


def test_exception_in_a_vendors_thread_is_logged(lasting_host: WireClient) -> None:
    """With its traceback and the thread's name, as one record."""
    assert lasting_host.call("raise-in-thread")["status"] == "OK"
    record = lasting_host.log("uncaught exception in thread vendor-thread", level="error")
    assert "in a thread of its own" in record["message"]


def test_log_level_is_kept(launch: Launch) -> None:
    """--log-level error leaves out the rest."""
    host = launch("misbehaving", "--log-level", "error")
    host.call("log-everywhere", params={"text": "something"})
    host.shut_down()
    assert {r["level"] for r in host.whole_log() if r["logger"] != "procvision.guardian"} <= {"error"}


def test_runner_that_never_reads_stderr_is_no_obstacle(launch: Launch) -> None:
    """10 MiB of output and as much of log: the calls are answered, the host leaves, and what was lost is told."""
    host = launch(read_stderr=False)
    for _ in range(5):
        assert host.call("flood", params={"count": 2})["status"] == "OK"
    assert host.ping()["state"] == "ready"
    host.send({"type": "shutdown"})
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0
    host.start_reading_stderr()
    assert host.whole_log()


def test_lines_lost_to_an_unread_stderr_are_counted(launch: Launch) -> None:
    """Once it is read again, a record says how many are missing."""
    host = launch(read_stderr=False)
    host.call("flood", params={"count": 24})
    host.start_reading_stderr()
    told = lambda: any("log lines were dropped" in record["message"] for record in host.logs)  # noqa: E731
    eventually(told, "the count of what was dropped")


def test_log_that_is_read_is_whole_or_what_is_missing_is_told(launch: Launch) -> None:
    """Four megabytes as fast as they go: each line arrives, or is among those whose number a line tells."""
    host = launch()
    count, text = 4000, "x" * 1000
    for number in range(4):
        host.call("log-many", params={"text": f"{number} {text}", "count": count // 4})
    host.shut_down()
    records = host.whole_log()
    lines = [record for record in records if record["logger"] == "vendor"]
    told = [match for record in records if (match := re.match(r"(\d+) log lines were dropped", record["message"]))]
    assert len(lines) + sum(int(match[1]) for match in told) == count
    assert lines


def test_closed_stderr_is_no_obstacle(launch: Launch) -> None:
    """A runner that doesn't want the log at all."""
    host = launch(read_stderr=False)
    host.process.stderr.close()  # type: ignore[union-attr]
    for _ in range(3):
        assert host.call("flood", params={"count": 1})["status"] == "OK"
    assert host.shut_down() == 0


def test_long_log_lines_stay_whole(lasting_host: WireClient) -> None:
    """Longer than a pipe takes at once: each is one JSON object, and what is too long for a line is left out of it."""
    # Where the guardian gets no time to read, lines are dropped, each as a whole: then they are logged once more.
    seen: dict[str, dict[str, Any]] = {}
    for _ in range(20):
        call = lasting_host.send_call("log-large", params={"text": "blob", "count": 12})
        lasting_host.answer(call)
        deadline = time.monotonic() + 1.0
        while len(seen) < 24 and time.monotonic() < deadline:
            time.sleep(0.05)
            records = [r for r in lasting_host.logs if r["message"].startswith("blob ")]
            seen = {r["message"].split(": ")[0] + (":" if ": " in r["message"] else ""): r for r in records}
        if len(seen) == 24:
            break
    assert set(seen) == {f"blob {number}{end}" for number in range(12) for end in ("", ":")}
    assert [len(seen[f"blob {n}"]["blob"]) for n in range(9)] == [n * 7500 for n in range(9)]
    assert all(seen[f"blob {n}"]["left_out_bytes"] > 64 * 1024 for n in range(9, 12))
    assert max(len(r["message"]) for r in seen.values()) == 8192


def test_flood_is_cut_and_counted(lasting_host: WireClient) -> None:
    """One record of bounded length for a mebibyte of output."""
    call = lasting_host.send_call("flood", params={"count": 1})
    lasting_host.answer(call)
    lasting_host.call()
    record = eventually(lambda: strays(lasting_host, call), "the record")[0]
    assert record["bytes"] == 1 << 20
    assert len(json.dumps(record)) < 10_000


def test_replaced_modules_and_streams_change_nothing(host: WireClient) -> None:
    """sys.stdout, json, print, the folder, the umask and the environment are the algorithm's to spoil."""
    assert host.call("replace-streams")["status"] == "OK"
    assert host.call("read-stdin") is not None
    assert host.call("printf", params={"text": "still there"})["status"] == "OK"
    host.log("still there")
    assert host.call("raise-plain")["error_code"] == "9999"
    host.log("execute raised KeyError")
    with shared_picture(grey(), 8, 6) as picture:
        assert host.call("read", **picture.fields)["status"] == "OK"
    assert host.shut_down() == 0
