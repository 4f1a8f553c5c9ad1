"""The heartbeat, whatever the algorithm does: what a pong says, and that it comes while the call still runs."""

from __future__ import annotations

import pytest
from launching import Gate, Launch
from wire_client import HostSilentError, WireClient


def test_ping_during_a_long_execute_is_answered_before_the_call(host: WireClient, gate: Gate) -> None:
    """The pong comes while the call runs, which only the test itself lets end, and names it."""
    call = host.send_call("wait-for", params={"text": str(gate)})
    pong = host.until_state("executing")
    assert pong["executing"]["request_id"] == call
    assert pong["executing"]["elapsed_ms"] >= 0
    later = host.ping("later")
    assert later["executing"]["elapsed_ms"] >= pong["executing"]["elapsed_ms"]
    gate.open()
    assert host.answer(call)["status"] == "OK"
    assert "executing" not in host.until_state("ready")


def test_ping_during_a_slow_setup_tells_starting(launch: Launch, gate: Gate) -> None:
    """Pings are answered and calls wait for the end of setup()."""
    host = launch("slow-setup", environment={"PEER_GATE": str(gate)})
    calls = [host.send_call(params={"does": None}, user_params={}) for _ in range(2)]
    for number in range(3):
        assert host.ping(f"p{number}")["state"] == "starting"
    gate.open()
    assert [host.answer(call)["status"] for call in calls] == ["OK", "OK"]


def test_ping_during_a_slow_teardown_tells_draining(launch: Launch, gate: Gate) -> None:
    """A host is there until it is gone."""
    host = launch("slow-teardown", environment={"PEER_GATE": str(gate)})
    assert host.call(user_params={})["status"] == "OK"
    host.send({"type": "shutdown"})
    for number in range(3):
        assert host.ping(f"p{number}")["state"] == "draining"
    gate.open()
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


@pytest.mark.parametrize("deed", ["hang", "hang-in-python", "hang-in-c"])
def test_ping_is_answered_while_an_algorithm_hangs(launch: Launch, deed: str) -> None:
    """A hung call is not a dead host: the pong says which call it is."""
    host = launch()
    call = host.send_call(deed)
    assert host.until_state("executing")["executing"]["request_id"] == call


def test_missing_pong_tells_a_held_interpreter_lock(host: WireClient) -> None:
    """No Python code can run then; that no pong comes is how a runner learns it."""
    host.send_call("hang-with-lock")
    host.send({"type": "ping"})
    with pytest.raises(HostSilentError):
        while True:
            # The first pings may come before the lock is taken.
            host.receive(timeout_s=1.0)


def test_first_pong_in_state_ready_tells_the_versions(host: WireClient) -> None:
    """What takes looking up doesn't delay the hello."""
    host.call()
    pong = host.ping()
    assert pong["algorithm"] == {"name": "misbehaving", "version": "1.2.3"}
    assert pong["host_version"]


def test_thousand_pings_in_one_write_get_a_thousand_pongs(lasting_host: WireClient) -> None:
    """In order, none lost, none doubled."""
    from wire_client import frame

    lasting_host.write(b"".join(frame({"type": "ping", "request_id": str(number)}) for number in range(1000)))
    assert [lasting_host.receive()["request_id"] for _ in range(1000)] == [str(number) for number in range(1000)]


def test_ping_without_an_id_is_answered_without_one(lasting_host: WireClient) -> None:
    """The seed's ping carries nothing."""
    lasting_host.send({"type": "ping"})
    pong = lasting_host.receive()
    assert pong["type"] == "pong"
    assert "request_id" not in pong
