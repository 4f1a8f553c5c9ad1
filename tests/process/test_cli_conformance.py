"""`procvision conformance`: a scorecard for any host, good, bad, silent or absent."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import procvision_testing
from procvision_testing.conformance import ProcessTarget, load_rows
from procvision_testing.conformance.faults import FAULTS
from procvision_testing.conformance.scorecard import anchor
from procvision_testing.peers.misbehaving_host import option_parser

CONFORMANCE = (sys.executable, "-m", "procvision_tools.cli.main", "conformance")
PEER = Path(procvision_testing.__file__).parent / "peers" / "misbehaving_host.py"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "protocol.md"
FIELD_SDK = "procvision-algorithm-sdk==0.0.7"
FIELD_ALGORITHM = """
from procvision_algorithm_sdk.base import BaseAlgorithm

class Algorithm(BaseAlgorithm):
    def get_info(self):
        return {}
    def pre_execute(self, *_):
        return {"status": "OK"}
    def execute(self, *_):
        return {"status": "OK", "data": {"result_status": "OK"}}
"""


LYING_HOST = """
import json, os, sys, threading, time

lies = set(sys.argv[1:])
states = {"now": "starting", "call": None}
lock = threading.Lock()
calls, wakes = [], threading.Semaphore(0)

def receive():
    length = sys.stdin.buffer.read(4)
    return json.loads(sys.stdin.buffer.read(int.from_bytes(length, "big"))) if length else worker.join()

def send(**message):
    payload = json.dumps(message).encode()
    sys.stdout.buffer.write(len(payload).to_bytes(4, "big") + payload)
    sys.stdout.buffer.flush()

def work():
    time.sleep(0.3)  # the algorithm is loaded
    with lock:
        states["now"] = "ready"
    while True:
        wakes.acquire()
        call = calls.pop(0)
        if call["type"] == "shutdown":
            with lock:
                send(type="shutdown", status="OK")
                os._exit(0)
        with lock:
            states["call"] = call["request_id"]
        time.sleep(0.2)
        data = {} if "latency" in lies else {"debug": {"latency_ms": "untimed" in lies or 200.0}}
        if call["phase"] == "execute":
            data["result_status"] = "OK"
        with lock:
            states["call"] = None
            for _ in range(1 + states.pop("again", 0)):
                send(type="result", request_id=call["request_id"], phase=call["phase"], status="OK", data=data)

def status():
    if states["now"] == "ready" and (calls or states["call"]):
        return {"state": "executing", "executing": {"request_id": states["call"] or calls[0]["request_id"],
                                                    "elapsed_ms": 0}}
    return {"state": states["now"]}

worker = threading.Thread(target=work, daemon=True)
send(type="hello", sdk_version="1.0", capabilities=["info", "pending"])
worker.start()
while True:
    message = receive()
    with lock:
        if message["type"] in ("call", "shutdown"):
            calls.append(message)
            wakes.release()
        if message["type"] == "shutdown":
            states["now"] = "draining"
        elif message["type"] == "ping" and "twice" in lies:
            states["again"] = 1
        elif message["type"] == "ping":
            pong = status()
            if pong["state"] in lies:
                pong = {"state": "ready"}
            send(type="pong", request_id=message["request_id"], **pong)
            while "flood" in lies and pong["state"] == "draining":
                send(type="pong", request_id=message["request_id"], **pong)
"""
"""Takes its time to load and for each call, reads meanwhile, and is truthful in all but what its arguments name.

`twice` gives a call's answer once more in place of a pong, `untimed` says `true` where a time belongs, `flood` answers
a ping for ever.
"""


def conformance(*arguments, timeout=60, **more):
    return subprocess.run(
        [*CONFORMANCE, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, **more,
    )  # fmt: skip


def rows_of(done):
    return {row["id"]: row for row in json.loads(done.stdout)["rows"]}


def test_a_failure_is_told_with_its_frames_and_its_paragraph():
    """The peer takes a frame of no JSON for its end, and says so on stderr."""
    arguments = ("--row", "not-json", "--row", "shutdown", "--row", "unknown-fields", "--", sys.executable, PEER)
    done = conformance(*arguments)
    assert done.returncode == 1
    assert "FAILED frames/not-json: A payload that is not JSON is refused\n" in done.stdout
    assert "docs/reference/protocol.md#refusals" in done.stdout
    assert "its output has ended, expected {'type': 'error'" in done.stdout
    assert "JSONDecodeError" in done.stdout
    assert "    runner -> host  hello, world\n" in done.stdout
    assert "1 failed" in done.stdout
    row = rows_of(conformance("--json", *arguments))["not-json"]
    assert (row["level"], row["step"]) == ("failed", 2)
    assert row["frames"][-1] == {"sender": "runner", "text": "hello, world", "times": 1}


def test_a_silent_host_is_asked_once_and_not_a_hundred_times():
    done = conformance("--patience-s", 1, "--json", "--", sys.executable, PEER, "--silent")
    assert done.returncode == 1
    rows = rows_of(done)
    assert len(rows) == len(load_rows(role="host", kind="process"))
    assert {row["level"] for row in rows.values()} == {"failed", "skipped"}
    assert rows["hello-first"]["level"] == "failed"
    assert rows["shutdown"]["reason"].startswith("no hello came")


def test_a_row_that_goes_on_for_ever_is_cut():
    """Each frame comes in time, and the row doesn't."""
    host = (
        "import os, time\n"
        'hello = b\'{"type":"hello","sdk_version":"1.0","capabilities":[]}\'\n'
        "os.write(1, len(hello).to_bytes(4, 'big') + hello)\n"
        "while True:\n"
        "    time.sleep(0.3)\n"
        '    error = b\'{"type":"error","status":"ERROR","error_code":"1000","message":"","data":'
        '{"kind":"empty","retryable":false}}\'\n'
        "    os.write(1, len(error).to_bytes(4, 'big') + error)\n"
    )
    done = conformance("--deadline-s", 2, "--json", "--row", "zero-length-many", "--", sys.executable, "-c", host)
    row = rows_of(done)["zero-length-many"]
    assert row["level"] == "failed"
    assert row["seconds"] < 20
    assert "no frame came in time" in row["reason"]


def test_a_host_that_cannot_start_is_told_once_and_not_a_hundred_times():
    host = (sys.executable, "-m", "procvision_host", "--algo", "pcb-compare", "--pid", "A")
    done = conformance("--", *host)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "--algo pcb-compare --pid A can't start: No such option '--pid'" in done.stderr
    assert "\nhint: procvision-host --help" in done.stderr


def test_no_row_asks_more_of_an_algorithm_than_that_it_loads():
    """pcb-compare wants a picture in each call, and a reference before it looks at one."""
    rows = ("endless-timeout", "sessions-apart", "slot-rgb", "slot-bgr", "slot-mono")
    done = conformance(*(word for row in rows for word in ("--row", row)), "--",
                       sys.executable, "-m", "procvision_host", "--algo", "pcb-compare")  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_rows_with_options_can_be_left_out():
    done = conformance("--without-options", "--json", "--row", "late-hello", "--row", "shutdown", "--",
                       sys.executable, PEER)  # fmt: skip
    rows = rows_of(done)
    assert rows["late-hello"]["level"] == "skipped"
    assert rows["shutdown"]["level"] == "ok"
    assert done.returncode == 0


def test_a_host_that_never_looks_at_pictures_is_found_out():
    """The peer answers OK whatever the slot holds; the product id is the one that was asked for."""
    done = conformance("--row", "slot-stale", "--row", "slot-rgb", "--pid", "P-7", "--json", "--",
                       sys.executable, PEER)  # fmt: skip
    rows = rows_of(done)
    assert rows["slot-rgb"]["level"] == "ok"
    assert rows["slot-stale"]["level"] == "failed"
    assert rows["slot-stale"]["reason"].startswith("frame.type is 'result'")
    call = next(frame["text"] for frame in rows["slot-stale"]["frames"] if '"execute"' in frame["text"])
    assert '"pid":"P-7"' in call
    segment = re.search(r'"shm:(conformance-[^:]+):2"', call)
    assert segment is not None
    assert not Path("/dev/shm", segment[1]).exists()


def test_a_result_without_a_verdict_fails_the_row_that_provoked_it():
    """The row asks that a picture is taken, and the frame must be a message of the protocol besides."""
    done = conformance("--row", "slot-rgb", "--json", "--", sys.executable, PEER, "no-verdict")
    row = rows_of(done)["slot-rgb"]
    assert row["level"] == "failed"
    assert row["reason"].startswith("a runner can't take this result (bad_result): ")


@pytest.mark.parametrize("lie", ["nothing", "starting", "executing", "draining", "latency"])
def test_a_host_that_lies_about_one_thing_fails_the_row_about_it_alone(lie):
    """A pong that says ready whatever the host does, and an answer without its time."""
    about = {state: f"ping-tells-{state}" for state in ("starting", "executing", "draining", "ready")}
    about["latency"] = "latency-told"
    done = conformance(*(word for row in about.values() for word in ("--row", row)), "--jobs", 4, "--json", "--",
                       sys.executable, "-c", LYING_HOST, lie)  # fmt: skip
    rows = rows_of(done)
    assert {name for name, row in rows.items() if row["level"] != "ok"} == ({about[lie]} if lie in about else set())
    if lie in about:
        assert ("'state': 'ready'" in rows[about[lie]]["reason"]) is (lie != "latency")


@pytest.mark.parametrize(
    ("lie", "failing", "text"),
    [
        ("twice", ["ping-tells-starting", "ping-tells-executing"], "{'type': 'result', 'request_id': 'c1'"),
        ("untimed", ["latency-told"], "'latency_ms': True"),
        ("flood", ["ping-tells-draining"], "{'type': 'pong', 'request_id': 'p', 'state': 'draining'} is none of"),
    ],
)
def test_a_host_that_answers_beside_the_question_is_found_out(lie, failing, text):
    """Each frame would be right elsewhere; a row is over after as many as it asks for, however many come."""
    done = conformance(*(word for row in failing for word in ("--row", row)), "--jobs", 2, "--json", "--",
                       sys.executable, "-c", LYING_HOST, lie)  # fmt: skip
    rows = rows_of(done)
    assert {name for name, row in rows.items() if row["level"] == "failed"} == set(failing)
    for row in rows.values():
        assert text in row["reason"]


def test_a_host_that_is_deaf_to_signals_is_found_out():
    """`sh` waits for its child, as a host does whose handler is missing or is caught in its algorithm."""
    host = ["sh", "-c", "trap '' TERM; " + f"{sys.executable} {PEER}"]
    done = conformance("--row", "sigterm", "--row", "shutdown", "--patience-s", 2, "--json", "--", *host)
    rows = rows_of(done)
    assert rows["shutdown"]["level"] == "ok"
    assert rows["sigterm"]["level"] == "failed"
    assert rows["sigterm"]["frames"][-1] == {"sender": "runner", "text": "(SIGTERM)", "times": 1}


def test_the_rows_can_be_listed():
    done = conformance("--list")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(load_rows(role="host", kind="process"))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 64, ["no command is given", "hint: procvision conformance -- "]),
        (["--row", "no-such", "--", "true"], 64, ["--row no-such: there is no such row", "hint: "]),
        (["--runner", "--row", "no-such", "--", "true"], 64, ["--row no-such: there is no such row"]),
        (["--runner", "--", "/no/such/runner"], 2, ["/no/such/runner can't be started", "hint: "]),
        (["--patience-s", "0", "--", "true"], 64, ["--patience-s"]),
        (["--jobs", "none", "--", "true"], 64, ["--jobs"]),
        (["--", "/no/such/host"], 2, ["/no/such/host can't be started", "hint: "]),
        (["--", "/tmp"], 2, ["can't be started"]),
    ],
)
def test_a_wrong_command_line_is_told(arguments, status, words):
    done = conformance(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_what_is_no_host_at_all_fails_and_ends():
    """A program that prints text, and one that leaves at once."""
    for command in (["echo", "hello"], ["true"]):
        done = conformance("--json", "--", *command)
        assert done.returncode == 1
        assert rows_of(done)["hello-first"]["level"] == "failed"


def test_ctrl_c_leaves_no_host_behind(tmp_path):
    """The hosts write their ids, and never say hello."""
    seen = tmp_path / "seen"
    host = f"import os, time; open({str(seen)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    with subprocess.Popen(
        [*CONFORMANCE, "--patience-s", "60", "--", sys.executable, "-c", host], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as run:  # fmt: skip
        deadline = time.monotonic() + 40
        while not seen.exists() or not seen.read_text().endswith("\n"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGINT)
        _, err = run.communicate(timeout=40)
    assert run.returncode == 130
    assert err.strip() == "error: interrupted"
    for process_id in seen.read_text().split():
        assert not Path(f"/proc/{process_id}").exists()


def test_an_interrupt_while_a_host_starts_leaves_none_behind(monkeypatch):
    """Between the process and the first of its threads nobody else could end it."""
    started = []

    class Spied(subprocess.Popen):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            started.append(self)

    def interrupted(_thread):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Spied)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ProcessTarget(["sleep", "600"])
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    for stream in (started[0].stdin, started[0].stdout, started[0].stderr):
        stream.close()


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-host.md"
GULLIBLE_RUNNER = """
import json, subprocess, sys
pipe = subprocess.PIPE
host = subprocess.Popen(sys.argv[1:], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0)
def receive():
    return json.loads(host.stdout.read(int.from_bytes(host.stdout.read(4), "big")))
def send(message):
    payload = json.dumps(message).encode()
    host.stdin.write(len(payload).to_bytes(4, "big") + payload)
receive()
send({"type": "hello", "runner_version": "1.0"} if "double" not in sys.argv else {"type": "hello"})
send({"type": "call", "request_id": "c", "phase": "execute", "step_index": 1, "pid": "A", "session": {"id": "s"}})
print(str(receive().get("data", {}).get("result_status", "OK")).upper(), flush=True)
"""


@pytest.fixture(scope="module")
def inspect_once(tmp_path_factory):
    """The how-to's own program."""
    path = tmp_path_factory.mktemp("runner") / "inspect_once.py"
    code = re.search(r'```python title="inspect_once.py"\n(.*?)```', HOW_TO.read_text(), re.DOTALL)
    assert code is not None
    path.write_text(code[1])
    return path


def test_our_runner_gets_full_marks(inspect_once):
    done = conformance("--runner", "--deadline-s", 40, "--jobs", 4, "--json", "--", sys.executable, inspect_once,
                       timeout=115)  # fmt: skip
    report = json.loads(done.stdout)
    assert [row for row in report["rows"] if row["level"] != "ok"] == []
    assert report["counts"] == {"ok": len(FAULTS), "failed": 0, "skipped": 0}
    assert done.returncode == 0


def test_a_gullible_runner_is_found_out():
    """It believes whatever comes first, waits for ever, and leaves its host behind."""
    names = ("behaves", "no-verdict", "lower-case-verdict", "hang", "double", "ignores-sigterm")
    rows = [word for name in names for word in ("--row", name)]
    done = conformance("--runner", *rows, "--deadline-s", 6, "--jobs", 6, "--json", "--", sys.executable, "-c",
                       GULLIBLE_RUNNER)  # fmt: skip
    assert done.returncode == 1
    found = rows_of(done)
    assert found["behaves"]["level"] == "ok", found["behaves"]
    assert found["no-verdict"]["reason"] == "its verdict is OK, expected ERROR"
    assert found["lower-case-verdict"]["reason"] == "its verdict is OK, expected ERROR"
    assert found["hang"]["reason"] == "it did not end within 6 s"
    assert found["double"]["reason"].startswith("the host has to refuse what it heard: bad_field")
    assert found["ignores-sigterm"]["reason"] == "1 of the host's processes were left running"
    assert found["hang"]["reference"] == "docs/reference/protocol.md#heartbeat"
    assert [frame["sender"] for frame in found["no-verdict"]["frames"]] == ["host", "runner", "runner", "host"]


def test_a_program_that_says_no_verdict_fails():
    done = conformance("--runner", "--row", "behaves", "--", "echo")
    assert done.returncode == 1
    assert "it printed no line that is OK, NG or ERROR" in done.stdout
    assert "misbehaving_host.py" in done.stdout


def test_every_fault_names_a_heading_and_something_the_host_can_do():
    """A host that doesn't start would look like most faults."""
    headings = {line.lstrip("# ").strip() for line in REFERENCE.read_text().splitlines() if line[:1] == "#"}
    for fault in FAULTS:
        assert fault.paragraph in headings
        assert option_parser().parse_args(fault.arguments)
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)


def test_every_link_leads_to_a_heading():
    """The fragments are those that the site's table of contents makes."""
    headings = {anchor(line.lstrip("# ").strip()) for line in REFERENCE.read_text().splitlines() if line[:1] == "#"}
    assert {anchor(row.paragraph) for row in load_rows()} <= headings
    assert anchor("ping and pong") == "ping-and-pong"
    assert anchor("The host's") == "the-hosts"


@pytest.fixture(scope="module")
def field_host(tmp_path_factory):
    """The host that is in the field: the other SDK's adapter, in an environment of its own."""
    folder = tmp_path_factory.mktemp("field")
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-compile", FIELD_SDK], capture_output=True, text=True,
        timeout=110,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"{FIELD_SDK} can't be had: {done.stderr.strip().splitlines()[-1]}")
    (folder / "field_algorithm.py").write_text(FIELD_ALGORITHM)
    return folder, [python, "-m", "procvision_algorithm_sdk.adapter", "--entry", "field_algorithm:Algorithm"]


HELD_BY_THE_FIELD = {"shutdown", "unknown-fields", "depth-64-objects", "one-byte-at-a-time"}
BROKEN_BY_THE_FIELD = {
    "not-json": "its output has ended",
    "zero-length": "its output has ended",
    "major-version": "no frame came in time",
    "no-session": "frame.type is 'result'",
}
"""It leaves at a frame that it can't read, talks to any version, and answers what it doesn't know with a verdict."""


def test_the_field_s_sdk_gets_a_truthful_scorecard(field_host):
    folder, command = field_host
    ids = [word for name in ("hello-first", *HELD_BY_THE_FIELD, *BROKEN_BY_THE_FIELD) for word in ("--row", name)]
    done = conformance(*ids, "--jobs", 4, "--json", "--", *command, cwd=folder, timeout=110)
    assert done.returncode == 1, done.stderr
    rows = rows_of(done)
    assert {name for name, row in rows.items() if row["level"] == "ok"} == HELD_BY_THE_FIELD
    assert "frame.sdk_version is '0.0.7'" in rows["hello-first"]["reason"]
    for name, reason in BROKEN_BY_THE_FIELD.items():
        assert reason in rows[name]["reason"]
        assert len(rows[name]["frames"]) >= 2


@pytest.mark.skipif("PROCVISION_FIELD_SCORECARD" not in os.environ, reason="a minute: set PROCVISION_FIELD_SCORECARD")
def test_every_row_ends_with_the_field_s_sdk(field_host):
    folder, command = field_host
    done = conformance("--jobs", 8, "--patience-s", 5, "--json", "--", *command, cwd=folder, timeout=115)
    assert done.returncode == 1
    assert len(rows_of(done)) == len(load_rows(role="host", kind="process"))


ANY_PRODUCT = """
import json, sys
def receive():
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    return json.loads(sys.stdin.buffer.read(length) or b"null")
def send(**message):
    payload = json.dumps(message).encode()
    sys.stdout.buffer.write(len(payload).to_bytes(4, "big") + payload)
    sys.stdout.buffer.flush()
MANIFEST = {"name": "any", "version": "1", "entry_point": "a:B", "supported_pids": ["*"], "steps": [
    {"index": 7, "name": "only", "params": [{"type": "int", "key": "gain", "min": 3, "required": True}]}]}
send(type="hello", sdk_version="1.0", capabilities=["info"])
while message := receive():
    common = {name: message.get(name) for name in ("request_id", "phase", "step_index")}
    if message["type"] == "ping":
        send(type="pong", request_id=message.get("request_id"), state="ready")
    elif message["type"] == "shutdown":
        send(type="shutdown", status="OK")
        break
    elif message.get("phase") == "info":
        send(type="result", status="OK", data={"manifest": MANIFEST, "info": {}, "versions": {}}, **common)
    elif message["type"] == "call":
        step, params = message.get("step_index"), message.get("user_params") or {}
        if step != 7 or params.keys() != {"gain"} or params["gain"] < 3:
            send(type="error", error_code="1006", status="ERROR", message="no", request_id=message["request_id"])
        else:
            send(type="result", status="OK", data={"result_status": "OK"}, **common)
"""
"""A host of another make, whose algorithm takes any product in a step 7 that needs a parameter."""


def test_rows_are_fitted_to_what_the_host_says_of_itself():
    """Its step and parameters are called; a row that its manifest or hello makes meaningless is no failure."""
    ids = ("unknown-pid", "unknown-parameter", "step-index-too-high", "step-index-0", "cancel-unknown", "reset",
           "four-calls-in-one-write", "shutdown-without-time", "sessions-apart", "info")  # fmt: skip
    wanted = [word for name in ids for word in ("--row", name)]
    rows = rows_of(conformance("--json", *wanted, "--", sys.executable, "-S", "-c", ANY_PRODUCT))
    told = {name: row["reason"].removeprefix("not applicable: ") for name, row in rows.items() if row["reason"]}
    assert told == {
        "unknown-pid": "its algorithm takes any product",
        "cancel-unknown": "its hello doesn't show `cancel`",
        "reset": "its hello doesn't show `reset`",
        "four-calls-in-one-write": "its hello doesn't show `pending`",
        "shutdown-without-time": "its hello doesn't tell `drain_timeout_ms`",
        "sessions-apart": told["sessions-apart"],
    }
    assert rows["sessions-apart"]["level"] == "failed"  # it takes no `pre`: that is heard, since its calls fit
    assert "'pre'" in told["sessions-apart"] or "bad_result" in told["sessions-apart"]
    played = {name for name, row in rows.items() if row["level"] == "ok"}
    assert played == {"unknown-parameter", "step-index-too-high", "step-index-0", "info"}
