"""JSON lines, in the box: one line a call, whole whatever happens to hosts, files and disk."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from wire_client import eventually

from procvision_testing.hook_hosts import HookHost

Start = Callable[..., HookHost]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts hosts that log into one folder."""
    with ExitStack() as stack:

        def begin(**options: object) -> HookHost:
            values = {"directory": tmp_path / "log", **options}
            named = {f"json-lines.{key}": value for key, value in values.items()}
            return stack.enter_context(HookHost(tmp_path, options=named))

        yield begin


def lines(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """All lines of all files, oldest first. Each must be a JSON object."""
    files = sorted((folder / "log").glob("plugged.jsonl.*"), key=lambda path: -int(path.suffix[1:]))
    files.append(folder / "log" / "plugged.jsonl")
    found = [json.loads(line) for path in files if path.exists() for line in path.read_text("utf-8").splitlines()]
    return [line for line in found if kind in (None, line["kind"])]


def test_each_call_is_one_line(start: Start, tmp_path: Path) -> None:
    """A result or an alarm, what was published besides, and the host's life around them."""
    host = start()
    context = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "product_code": "P"}
    answers = [host.call("ok", publish=True, context=context), host.call("ng"), host.call("error"), host.call("raise")]
    assert host.shut_down() == 0
    told = lines(tmp_path)
    assert [line.get("state") or line["kind"] for line in told] == [
        *("loaded", "ready"),
        *("result", "diagnostics", "result", "alarm", "alarm"),
        *("draining", "closed"),
    ]
    calls = [line for line in told if line["kind"] in {"result", "alarm"}]
    assert [line["request_id"] for line in calls] == [answer["request_id"] for answer in answers]
    assert [line["verdict"] for line in calls] == ["OK", "NG", "NONE", "NONE"]
    assert [line["error_kind"] for line in calls] == [None, None, "returned", "recoverable"]
    assert [line["error_code"] for line in calls] == [None, None, "1003", answers[3]["error_code"]]
    assert calls[1]["data"]["defect_rects"] == answers[1]["data"]["defect_rects"]
    assert "debug" not in calls[0]["data"]
    assert (calls[0]["trace_id"], calls[0]["context"]) == (context["trace_id"], context)
    assert told[3]["diagnostics"]["number"] == 1
    assert {(line["algorithm"], line["version"], line["process_id"]) for line in told} == {
        ("plugged", "1.0", host.process_id)
    }


def test_several_hosts_write_one_file_and_every_line_stays_whole(start: Start, tmp_path: Path) -> None:
    """Put aside under their hands many times, no line is torn, doubled or lost."""
    hosts = [start(max_bytes=4096, max_files=1000) for _ in range(3)]

    def drive(host: HookHost) -> list[str]:
        ids = [host.call("ng", request_id=f"{host.process_id}-{number}")["request_id"] for number in range(60)]
        assert host.shut_down() == 0
        return ids

    with ThreadPoolExecutor(3) as pool:
        expected = [request_id for ids in pool.map(drive, hosts) for request_id in ids]
    written = [line["request_id"] for line in lines(tmp_path, "result")]
    assert sorted(written) == sorted(expected)
    assert len(list((tmp_path / "log").iterdir())) > 5
    assert all(path.stat().st_size <= 4096 for path in (tmp_path / "log").iterdir())
    for host in hosts:
        own = [request_id for request_id in written if request_id.startswith(f"{host.process_id}-")]
        assert own == [f"{host.process_id}-{number}" for number in range(60)]


def test_only_so_many_files_are_kept(start: Start, tmp_path: Path) -> None:
    """The oldest go."""
    host = start(max_bytes=4096, max_files=3)
    for _ in range(60):
        host.call("ng")
    assert host.shut_down() == 0
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [
        "plugged.jsonl",
        "plugged.jsonl.1",
        "plugged.jsonl.2",
    ]
    assert lines(tmp_path, "result")[-1]["request_id"] == "call-60"


def test_a_full_disk_changes_no_verdict_and_what_is_missing_is_said(start: Start, tmp_path: Path) -> None:
    """The file may not grow for a while: no torn line, and a count of the missing ones afterwards."""
    host = start()
    path = tmp_path / "log" / "plugged.jsonl"
    host.call()
    eventually(lambda: len(lines(tmp_path, "result")) == 1, "the first line")
    writer = host.launched_process_id
    _, hard = resource.prlimit(writer, resource.RLIMIT_FSIZE)
    resource.prlimit(writer, resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    answers = [host.call("ng") for _ in range(5)]
    assert [answer["data"]["result_status"] for answer in answers] == ["NG"] * 5
    eventually(lambda: "4 lines are missing" in host.log(), "the log naming it")
    assert path.read_bytes().endswith(b"}\n")
    resource.prlimit(writer, resource.RLIMIT_FSIZE, (hard, hard))
    host.call()
    assert host.shut_down() == 0
    assert [line["lines"] for line in lines(tmp_path, "missing")] == [5]
    assert [line["request_id"] for line in lines(tmp_path, "result")] == ["call-1", "call-7"]


def test_a_folder_that_cannot_be_made_changes_no_verdict(start: Start, tmp_path: Path) -> None:
    """A file is where the folder should be."""
    (tmp_path / "taken").write_text("")
    host = start(directory=tmp_path / "taken")
    assert host.call()["data"]["result_status"] == "OK"
    eventually(lambda: "can't be written" in host.log(), "the log naming it")
    assert host.shut_down() == 0


def test_a_line_that_its_writer_did_not_finish_stands_alone(start: Start, tmp_path: Path) -> None:
    """What a killed host left behind spoils no line of the next."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "plugged.jsonl").write_text('{"kind":"result","request')
    host = start()
    host.call()
    assert host.shut_down() == 0
    first, *rest = (tmp_path / "log" / "plugged.jsonl").read_text().splitlines()
    assert first == '{"kind":"result","request'
    assert [json.loads(line)["kind"] for line in rest] == ["host", "host", "result", "host", "host"]


def test_the_file_can_be_moved_away_under_the_host(start: Start, tmp_path: Path) -> None:
    """As logrotate does: the next line goes into a new file."""
    host = start()
    host.call()
    eventually(lambda: lines(tmp_path, "result"), "the first line")
    (tmp_path / "log" / "plugged.jsonl").rename(tmp_path / "moved")
    host.call()
    assert host.shut_down() == 0
    assert [line["request_id"] for line in lines(tmp_path, "result")] == ["call-2"]
