"""An algorithm that can't be had: the host says why, once, and leaves with the status that fits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from launching import Gate, Launch
from peer_plugins import environment, install
from wire_client import WireClient, eventually, gone


def left(host: WireClient, status: int) -> tuple[dict[str, object], list[str]]:
    """The one error frame that a host left with, its acknowledgement after it, and the log's messages."""
    error, goodbye = host.rest()
    assert error["type"] == "error"
    assert "request_id" not in error
    assert goodbye == {"type": "shutdown", "status": "ERROR"}
    assert host.wait() == status
    gone(host.host)
    return error, [record["message"] for record in host.whole_log()]


@pytest.mark.parametrize(
    ("name", "code", "kind", "text"),
    [
        ("crash-in-import", "9999", "load_failed", "RuntimeError in load: the model library is not there"),
        ("exit-in-import", "9999", "load_failed", "SystemExit"),
        ("no-algorithm", "2001", "load_failed", "not a subclass of procvision_sdk.BaseAlgorithm"),
        ("no-super", "2001", "load_failed", "super().__init__()"),
        ("missing-asset", "1003", "load_failed", "files are missing"),
        ("raise-in-setup", "1004", "setup_failed", "the model takes 12 GiB"),
    ],
)
def test_algorithm_that_fails_to_load_is_told_and_70(
    launch: Launch, name: str, code: str, kind: str, text: str
) -> None:
    """The exception with its code, then the end; teardown() only if setup() had begun."""
    error, log = left(launch(name), 70)
    assert error["error_code"] == code
    assert error["data"]["kind"] == kind  # type: ignore[index]
    assert text in str(error["message"])
    assert any("could not be loaded" in message for message in log)
    assert ("torn down" in log) == (name == "raise-in-setup")


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("unheard-of", "2001", "no algorithm 'unheard-of' is installed"),
        ("misbehaving==9.9.9", "2001", "is installed in version 1.2.3, asked for is 9.9.9"),
        ("no-manifest", "2001", "broken"),
        ("bad-manifest", "2001", "steps"),
    ],
)
def test_configuration_that_is_wrong_is_told_and_78(launch: Launch, name: str, code: str, text: str) -> None:
    """Nothing of a vendor's was imported."""
    error, _ = left(launch(name), 78)
    assert (error["error_code"], error["data"]["kind"]) == (code, "configuration")  # type: ignore[index]
    assert text in str(error["message"])


@pytest.mark.parametrize("options", [["--max-pending", "many"], ["--unheard-of"], ["--sessions"]])
def test_wrong_command_line_is_told_and_64(launch: Launch, options: list[str]) -> None:
    """In a frame, for a runner that reads no stderr, and in the log."""
    host = launch("misbehaving", *options, shake_hands=False)
    host.hello = host.receive()
    error = host.receive()
    assert (error["error_code"], error["data"]["kind"]) == ("1010", "usage")
    host.rest()
    assert host.wait() == 64
    assert any("wrong command line" in record["message"] for record in host.whole_log())


def test_calls_that_waited_for_a_setup_that_failed_are_answered(launch: Launch) -> None:
    """One answer a call, also where there was nobody to make it."""
    host = launch("raise-in-setup", shake_hands=False)
    host.hello = host.receive()
    host.send({"type": "hello", "runner_version": "1.0"})
    try:
        calls = [host.send_call(user_params={}) for _ in range(2)]
    except BrokenPipeError:
        calls = []
    messages = host.rest()
    answered = [message["request_id"] for message in messages if "request_id" in message]
    assert answered == calls[: len(answered)]
    assert len(answered) in {0, len(calls)} or messages[-1]["type"] == "shutdown"
    assert host.wait() == 70


def test_calls_that_wait_when_setup_is_abandoned_are_answered(launch: Launch, gate: Gate) -> None:
    """Shutdown during setup(): the calls are given back at once, teardown follows the end of setup()."""
    host = launch("slow-setup", environment={"PEER_GATE": str(gate)})
    host.log("in setup")
    calls = [host.send_call(user_params={}) for _ in range(2)]
    host.send({"type": "shutdown"})
    for call in calls:
        answer = host.answer(call)
        assert (answer["error_code"], answer["data"]["retryable"]) == ("1008", True)
    assert host.ping()["state"] == "draining"
    gate.open()
    assert host.rest()[-1] == {"type": "shutdown", "status": "OK"}
    assert host.wait() == 0


def test_teardown_that_raises_is_no_clean_end(launch: Launch) -> None:
    """Status 70, and the last frame says so."""
    host = launch("raise-in-teardown")
    assert host.call(user_params={})["status"] == "OK"
    host.send({"type": "shutdown"})
    assert host.rest() == [{"type": "shutdown", "status": "ERROR"}]
    assert host.wait() == 70
    assert eventually(lambda: any("teardown raised" in r["message"] for r in host.whole_log()), "the log")


SAYS = """
from procvision_sdk import BaseAlgorithm, Ok, Prepared
class Vendor(BaseAlgorithm):
    def pre_execute(self, *a, **k): return Prepared()
    def execute(self, *a, **k): return Ok(debug={{"of": {name!r}}})
"""


@pytest.fixture
def twins(tmp_path: Path) -> dict[str, str]:
    """Two distributions with an algorithm of one name; that of the second has another version."""
    for name, version in (("first", "1.2.3"), ("second", "2.0.0")):
        package = tmp_path / name / f"vendor_{name}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(SAYS.format(name=name))
        declared = {"name": "weld", "version": version, "entry_point": f"vendor_{name}:Vendor", "supported_pids": ["A"]}
        steps = [{"index": 1, "name": "only"}]
        (package / "manifest.json").write_text(json.dumps({**declared, "steps": steps}))
        entry_points = {
            "procvision.algorithms": {"weld": f"vendor_{name}:Vendor"},
            "procvision.algorithm_sources": {"weld": f"vendor_{name}:offer"},
        }
        install(tmp_path / name, name, entry_points, version)
    return environment(tmp_path / "first", tmp_path / "second")


@pytest.mark.parametrize("asked", ["weld", "weld==1.2.3", "weld==2.0.0", "weld@third", "weld@", "@first", "weld:x"])
def test_a_name_of_two_distributions_is_refused(launch: Launch, twins: dict[str, str], asked: str) -> None:
    """Whatever their versions: a stranger's package chooses its own."""
    host = launch(asked, environment=twins)
    error = host.receive()
    assert error["error_code"] == "2001", error
    assert "@" in asked or "first and second" in error["message"]
    assert host.wait() == 78


@pytest.mark.parametrize(("asked", "of"), [("weld@first", "first"), ("weld@SECOND==2.0.0", "second")])
def test_the_named_distributions_algorithm_is_run(launch: Launch, twins: dict[str, str], asked: str, of: str) -> None:
    """And the list says that there are two."""
    host = launch(asked, environment=twins)
    assert host.call(user_params={}, pid="A")["data"]["debug"]["of"] == of
    listed = [sys.executable, "-m", "procvision_host", "list"]
    done = subprocess.run([*listed, "--json"], env=twins, capture_output=True, text=True, timeout=60)
    found = {row["distribution"]: row["also_in"] for row in json.loads(done.stdout) if row["name"] == "weld"}
    assert found == {"first": ["second"], "second": ["first"]}
    done = subprocess.run(listed, env=twins, capture_output=True, text=True, timeout=60)
    assert "also of second; hint: --algo weld@first" in done.stdout
