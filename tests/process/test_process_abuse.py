"""What an algorithm may do to its process: the host still answers each call once and still leaves in time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from launching import Gate, Launch
from peer_plugins import host_command
from wire_client import WireClient, eventually, frame, gone, lives


@pytest.mark.parametrize("deed", ["close-all", "reuse-all"])
def test_closed_and_reused_descriptors_are_found_again(launch: Launch, deed: str) -> None:
    """The call that did it is answered, and so are the next ones, pictures, logs and the end included."""
    host = launch()
    assert host.call(deed)["status"] == "OK"
    host.log("closed or reused the host's descriptors", level="warning")
    assert host.ping()["state"] == "ready"
    assert host.call("raise-plain")["error_code"] == "9999"
    host.log("execute raised KeyError")
    assert host.shut_down() == 0
    assert any(record["message"] == "torn down" for record in host.whole_log())


@pytest.mark.parametrize("deed", ["close-all", "reuse-all", "close-standard"])
def test_descriptors_closed_in_a_call_that_lasts_are_found_again(launch: Launch, gate: Gate, deed: str) -> None:
    """Pings, cancel and further calls are read while the algorithm that closed them still runs."""
    host = launch()
    call = host.send_call(deed, params={"text": str(gate)})
    assert host.until_state("executing")["executing"]["request_id"] == call
    waiting = host.send_call()
    host.send({"type": "cancel", "request_id": waiting})
    assert host.answer(waiting)["error_code"] == "1008"
    gate.open()
    assert host.answer(call)["status"] == "OK"
    assert host.call()["status"] == "OK"
    assert host.shut_down() == 0


@pytest.mark.parametrize("deed", ["close-all", "reuse-all"])
def test_leaves_when_asked_with_its_descriptors_closed(launch: Launch, gate: Gate, deed: str) -> None:
    """SIGTERM in the middle of such a call: the call is given up, teardown runs after it returned."""
    host = launch("misbehaving", "--shutdown-grace-s", "0.1")
    call = host.send_call(deed, params={"text": str(gate)})
    host.until_state("executing")
    host.process.terminate()
    assert host.answer(call)["error_code"] == "1008"
    gate.open()
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


def test_descriptors_closed_in_setup_and_teardown_are_found_again(launch: Launch) -> None:
    """Before the first call, while the standby reads, and after the last."""
    host = launch("close-in-setup")
    host.until_state("ready")
    assert host.call(user_params={})["status"] == "OK"
    host.send({"type": "shutdown"})
    assert host.rest()[-1] == {"type": "shutdown", "status": "OK"}
    assert host.wait() == 0
    assert any(record["message"] == "torn down" for record in host.whole_log())


def test_nothing_is_written_into_a_file_that_got_our_numbers(host: WireClient, tmp_path: Path) -> None:
    """Frames, log lines and notices go to the runner and the guardian alone."""
    file = tmp_path / "vendors.db"
    file.touch()
    assert host.call("write-to-reused", params={"text": str(file), "count": 40})["status"] == "OK"
    host.log("this is not for the file")
    host.call("raise-plain")
    assert host.shut_down() == 0
    assert file.read_bytes() == b""


def test_ignored_signals_dont_keep_the_host(host: WireClient) -> None:
    """The launched process has handlers of its own."""
    assert host.call("ignore-signals")["status"] == "OK"
    host.process.terminate()
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


def test_default_handlers_of_an_algorithm_change_nothing_for_the_runner(host: WireClient) -> None:
    """SIGINT, SIGPIPE and SIGCHLD as they were when Python started."""
    assert host.call("default-signals")["status"] == "OK"
    assert host.call("run-child", params={"text": "x"}) is not None
    host.process.send_signal(signal.SIGINT)
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


@pytest.mark.parametrize("deed", ["fork-sleeper", "start-daemon", "start-program", "start-daemonic-process"])
@pytest.mark.parametrize("end", ["shutdown", "stdin", "crash"])
def test_nothing_that_was_started_outlives_the_host(launch: Launch, deed: str, end: str) -> None:
    """Children, daemons in sessions of their own, programs: gone when the launched process is."""
    host = launch()
    child = host.call(deed)["data"]["debug"]["child"]
    assert lives(child)
    if end == "shutdown":
        assert host.shut_down() == 0
    elif end == "stdin":
        host.close_stdin()
        assert host.wait() == 0
    else:
        host.send_call("segfault")
        assert host.wait() == -signal.SIGSEGV
    assert not lives(child)
    gone(host.host)


def test_signal_for_a_forked_child_is_not_the_hosts(host: WireClient) -> None:
    """A pool that terminates its workers doesn't make the host leave."""
    child = host.call("fork-sleeper")["data"]["debug"]["child"]
    os.kill(child, signal.SIGTERM)
    gone(child)
    assert host.ping()["state"] == "ready"
    assert host.call()["status"] == "OK"


@pytest.mark.parametrize("deed", ["fork-and-return-twice", "fork-and-raise"])
def test_forked_child_that_comes_back_answers_nothing(launch: Launch, deed: str) -> None:
    """One answer a call, whatever number of processes returns from it."""
    host = launch()
    assert [host.call(deed)["status"] for _ in range(3)] == ["OK"] * 3
    assert host.shut_down() == 0


def test_fork_in_setup_leaves_one_host(launch: Launch) -> None:
    """The copy doesn't read the frames."""
    host = launch("fork-in-setup")
    assert [host.call(user_params={})["status"] for _ in range(20)] == ["OK"] * 20
    assert host.shut_down() == 0
    assert [r["message"] for r in host.whole_log()].count("torn down") == 1


def test_thread_left_behind_doesnt_keep_the_host(host: WireClient) -> None:
    """Not even one that Python would wait for."""
    assert host.call("leave-thread")["status"] == "OK"
    assert host.shut_down() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_to_the_launched_process_ends_the_host_cleanly(launch: Launch, number: int) -> None:
    """As shutdown does: teardown, acknowledgement, status 0."""
    host = launch()
    host.call()
    host.process.send_signal(number)
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0
    assert any(record["message"] == "torn down" for record in host.whole_log())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_the_hosts_own_process_ends_it_cleanly(launch: Launch, number: int) -> None:
    """The process id that hello told."""
    host = launch()
    host.call()
    os.kill(host.host, number)
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


def test_signal_is_heard_while_the_algorithm_is_in_c(launch: Launch) -> None:
    """Where Python's handlers can't run: the call is answered for and the drain begins."""
    host = launch("misbehaving", "--shutdown-grace-s", "0.1")
    call = host.send_call("hang-in-c")
    host.until_state("executing")
    os.kill(host.host, signal.SIGTERM)
    assert host.answer(call)["error_code"] == "1008"
    assert host.ping()["state"] == "draining"


def test_signal_in_the_handshake_ends_the_host(launch: Launch) -> None:
    """As soon as it has said hello, and before that by the signal itself."""
    host = launch(shake_hands=False)
    host.hello = host.receive()
    host.process.terminate()
    assert host.rest() in ([], [{"type": "shutdown", "status": "OK"}])
    assert host.wait() in (0, -signal.SIGTERM)
    gone(host.host)


def test_running_call_is_given_its_time(launch: Launch, gate: Gate) -> None:
    """Shutdown during a call: no new one is taken, the running one is answered by the algorithm itself."""
    host = launch("misbehaving", "--shutdown-grace-s", "9")
    call, waiting = host.send_call("wait-for", params={"text": str(gate)}), host.send_call()
    host.until_state("executing")
    host.send({"type": "shutdown"})
    assert host.answer(waiting)["error_code"] == "1008"
    refused = host.answer(host.send_call())
    assert (refused["data"]["kind"], refused["data"]["retryable"]) == ("draining", True)
    assert host.ping()["state"] == "draining"
    gate.open()
    assert host.answer(call)["data"]["result_status"] == "OK"
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


def test_stdin_closed_in_the_middle_of_a_call_ends_the_host(launch: Launch, gate: Gate) -> None:
    """The call's answer still goes out, then the host is gone."""
    host = launch("misbehaving", "--shutdown-grace-s", "9")
    call = host.send_call("wait-for", params={"text": str(gate)})
    host.until_state("executing")
    host.close_stdin()
    gate.open()
    assert host.answer(call)["status"] == "OK"
    assert host.rest() == [{"type": "shutdown", "status": "OK"}]
    assert host.wait() == 0


def test_frames_before_the_end_of_stdin_are_answered(launch: Launch) -> None:
    """A script that writes its calls and closes the pipe."""
    host = launch(shake_hands=False)
    host.hello = host.receive()
    host.write(frame({"type": "hello", "runner_version": "1.0"}) + frame({"type": "ping", "request_id": "p"}))
    host.close_stdin()
    assert [message["type"] for message in host.rest()] == ["pong", "shutdown"]
    assert host.wait() == 0


def test_descriptors_of_a_quiet_host_stay_as_they_are(host: WireClient) -> None:
    """Mending never takes more than was lost."""
    host.call("close-all")
    before = sorted(os.listdir(f"/proc/{host.host}/fd"))  # noqa: PTH208
    for _ in range(5):
        host.call("close-all")
    assert eventually(lambda: len(os.listdir(f"/proc/{host.host}/fd")) <= len(before), "no more descriptors")  # noqa: PTH208


@pytest.mark.parametrize(
    "launching",
    ['exec "$@" 2>&-', 'exec "$@" 2>/dev/null', 'ulimit -n 20; exec "$@"', 'cd / && umask 777 && exec "$@"'],
    ids=["no-stderr", "null-stderr", "few-descriptors", "odd-folder"],
)
def test_host_is_content_with_little(peer_environment: dict[str, str], launching: str) -> None:
    """Launched without a stderr, with hardly a descriptor to spare, somewhere else."""
    with WireClient(["/bin/sh", "-c", launching, "sh", *host_command("misbehaving")], peer_environment) as host:
        assert host.call("close-all")["status"] == "OK"
        assert host.call("print-text", params={"text": "x"})["status"] == "OK"
        assert host.shut_down() == 0
