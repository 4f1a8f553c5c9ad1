"""The operator's live view of a supervised host: drawn anew on a terminal, lines of JSON anywhere else."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import attrs
from supervising import QUICK, marked, nothing_left, peer, wait_until
from terminal_screen import on_screen

from procvision_runner import Supervisor
from procvision_tools.report.live import watching


def station(mark: str, *arguments: str, spare: bool = False) -> Supervisor:
    options = attrs.evolve(marked(QUICK, mark), spare=spare)
    return Supervisor(command=peer(*arguments), options=options, name="line 3")


def plain(stream: io.StringIO) -> str:
    """What was written, without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())


def test_terminal_shows_events_above_numbers_that_are_redrawn(tmp_path: Path) -> None:
    stream = io.StringIO()
    with nothing_left() as mark:
        supervisor = station(mark, "crash", "--after", "2", "--once", str(tmp_path / "once"))
        with watching(supervisor, stream, drawn=True, interval_s=0.05) as view, supervisor:
            process_id = supervisor.process_id
            for _ in range(2):
                supervisor.execute(pid="A")
            assert wait_until(lambda: "p99" in stream.getvalue())
            future = supervisor.submit("execute", pid="A")
            assert future.exception(10) is not None
            assert wait_until(lambda: supervisor.process_id not in (None, process_id))
            view.show("the inspection says so")
    screen = on_screen(stream.getvalue())
    text = "\n".join(screen)
    for event in ("host starting", "host ready", "host ended  host 1, cause crashed", "host restarted", "stopped"):
        assert event in text
    assert "the inspection says so" in screen
    assert "executing" not in text
    # However often they were drawn, the numbers stand there once, last.
    assert [line.startswith("line 3  stopped") for line in screen].count(True) == 1
    assert "line 3  ready" not in text
    assert "calls 3   calls OK 2   calls crashed 1" in text
    assert re.search(r"^  execute  p50 [\d.]+ ms   p90 [\d.]+ ms   p99 [\d.]+ ms   max [\d.]+ ms", text, re.MULTILINE)
    assert f"process {process_id}, " not in screen[-3]


def test_pipe_gets_every_event_and_snapshots_as_lines_of_json() -> None:
    stream = io.StringIO()
    with nothing_left() as mark:
        supervisor = station(mark)
        with watching(supervisor, stream, interval_s=0.05), supervisor:
            supervisor.execute(pid="A")
            assert wait_until(lambda: '"calls": 1' in stream.getvalue())
            assert wait_until(lambda: '"processes": 1' in stream.getvalue())
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    names = [record["event"] for record in records]
    told = [name for name in names if name not in {"snapshot", "measured"}]
    assert told == ["host_starting", "host_ready", "executing", "call_ended", "host_ended", "stopped"]
    last = records[-1]
    assert (last["event"], last["state"], last["counters"]["calls_OK"]) == ("snapshot", "stopped", 1)
    assert set(last["latencies"]["execute"]) == {"calls", "p50_ms", "p90_ms", "p99_ms", "max_ms"}
    assert any(record.get("memory_bytes") for record in records)


def test_spare_host_has_a_line_of_its_own_and_its_events_a_source() -> None:
    stream = io.StringIO()
    with nothing_left() as mark:
        supervisor = station(mark, spare=True)
        with watching(supervisor, stream, drawn=True, interval_s=0.05), supervisor:
            spare = supervisor.spare
            assert spare is not None
            assert wait_until(lambda: f"line 3/spare  ready  process {spare.process_id}" in plain(stream))
    last = on_screen(stream.getvalue())
    assert [line.startswith("line 3/spare  stopped") for line in last].count(True) == 1
    assert any("line 3/spare  host ready  host 1" in line for line in last)


def test_snapshot_of_a_spare_is_a_line_of_json() -> None:
    stream = io.StringIO()
    with nothing_left() as mark:
        supervisor = station(mark, spare=True)
        with watching(supervisor, stream, interval_s=0.05), supervisor:
            assert wait_until(lambda: '"source": "line 3/spare", "state": "ready"' in stream.getvalue())
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [record for record in records if record["event"] == "snapshot" and record["source"] == "line 3/spare"]
    assert "in_host" not in told[-1]
    assert told[-1]["counters"] == {"hosts_stopped": 1}


def test_what_is_pinned_stays_above_the_numbers_while_events_scroll_by(tmp_path: Path) -> None:
    """However many hosts end and begin, a verdict is where it was looked for, and is there once."""
    stream = io.StringIO()
    with nothing_left() as mark:
        supervisor = station(mark, "crash", "--after", "1", "--once", str(tmp_path / "once"))
        with watching(supervisor, stream, drawn=True, interval_s=0.05) as view, supervisor:
            view.pin("inspecting")
            view.pin("at 10:00:00:\n  NG  " + "划" * 500)
            supervisor.execute(pid="A")
            assert supervisor.submit("execute", pid="A").exception(10) is not None
            assert wait_until(lambda: "host restarted" in plain(stream))
    screen = on_screen(stream.getvalue())
    assert "inspecting" not in screen
    [pinned] = [at for at, line in enumerate(screen) if line.startswith("  NG  ")]
    assert screen[pinned - 1] == "at 10:00:00:"
    assert screen[pinned].endswith("划…")
    assert screen[pinned + 2].startswith("line 3  stopped")
    assert [at for at, line in enumerate(screen) if "host restarted" in line][-1] < pinned
    assert not [line for line in screen[pinned + 1 :] if re.match(r"\d\d:\d\d:\d\d  ", line)]
