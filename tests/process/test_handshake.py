"""From the launch to the ready host."""

from __future__ import annotations

import time

import pytest
from launching import Gate, Launch
from wire_client import gone


def test_late_runner_hello_ends_the_host(launch: Launch) -> None:
    """Error 1005, exit status 69, and nothing of the algorithm was imported."""
    host = launch("crash-in-import", "--handshake-timeout-s", "0.2", shake_hands=False)
    host.hello = host.receive()
    error = host.receive()
    assert (error["type"], error["error_code"]) == ("error", "1005")
    assert host.rest() == []
    assert host.wait() == 69
    assert not any("model library" in record["message"] for record in host.whole_log())


def test_handshake_timeout_of_zero_waits(launch: Launch) -> None:
    """A host that is started by hand waits as long as its runner takes, and answers pings meanwhile."""
    host = launch("misbehaving", "--handshake-timeout-s", "0", shake_hands=False)
    host.hello = host.receive()
    for number in range(3):
        assert host.ping(str(number))["state"] == "starting"
        time.sleep(0.05)
    host.send({"type": "hello", "runner_version": "1.9", "new_in_1_9": True})
    assert host.call()["status"] == "OK"


@pytest.mark.parametrize("version", ["2.0", "0.9", "", "one"])
def test_other_major_version_is_refused(launch: Launch, version: str) -> None:
    """A clear error and exit status 69."""
    host = launch(shake_hands=False)
    host.hello = host.receive()
    host.send({"type": "hello", "runner_version": version})
    error = host.receive()
    assert (error["type"], error["error_code"], error["data"]["kind"]) == ("error", "1000", "incompatible_version")
    assert host.rest() == []
    assert host.wait() == 69


def test_call_before_the_handshake_is_refused(launch: Launch) -> None:
    """The call gets an error of its own, the handshake still works."""
    host = launch(shake_hands=False)
    host.hello = host.receive()
    refusal = host.answer(host.send_call())
    assert (refusal["type"], refusal["error_code"]) == ("error", "1000")
    host.send({"type": "hello", "runner_version": "1.0"})
    assert host.call()["status"] == "OK"


def test_second_hello_is_refused(launch: Launch) -> None:
    """One handshake; the host goes on."""
    host = launch()
    host.send({"type": "hello", "runner_version": "1.0", "request_id": "again"})
    assert host.receive()["error_code"] == "1000"
    assert host.call()["status"] == "OK"


def test_end_of_stdin_instead_of_a_hello_ends_the_host(launch: Launch) -> None:
    """No handshake: 69."""
    host = launch(shake_hands=False)
    host.hello = host.receive()
    host.close_stdin()
    assert host.wait() == 69


def test_runner_that_reads_nothing_and_is_gone_leaves_no_host(launch: Launch) -> None:
    """Not even the hello could be written."""
    host = launch(shake_hands=False)
    host.process.stdout.close()  # type: ignore[union-attr]
    host.close_stdin()
    assert host.wait() == 69


def test_hello_comes_before_the_algorithm_is_imported(launch: Launch, gate: Gate) -> None:
    """A host whose algorithm takes its time has said hello long since, and says that it is starting."""
    host = launch("slow-setup", environment={"PEER_GATE": str(gate)})
    assert host.hello["algorithm"]["name"] == "slow-setup"
    assert host.ping()["state"] == "starting"
    gate.open()
    assert host.until_state("ready")["algorithm"] == {"name": "slow-setup", "version": "1.2.3"}


def test_shutdown_instead_of_a_hello_ends_the_host(launch: Launch) -> None:
    """A runner that changed its mind is obeyed."""
    host = launch(shake_hands=False)
    host.hello = host.receive()
    host.send({"type": "shutdown"})
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    host.wait()
    gone(host.host)
