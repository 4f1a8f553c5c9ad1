"""What a host and its supervisor do while Redis is away, or takes no writes. All against real servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest
from redis_server import RedisServer, free_port

from procvision_runner import LaunchError, Runner, RunnerOptions, Supervisor, SupervisorOptions, SupervisorState
from procvision_runner.supervision.events import Event
from procvision_runner.supervision.restart import RestartPolicy
from procvision_testing.hook_hosts import host_environment, install_plugged

PATIENCE_S = 60.0


def options(folder: Path, url: str) -> RunnerOptions:
    """For hosts of the algorithm that counts its calls, with their sessions in a Redis."""
    return RunnerOptions(
        host_arguments=("--hook", "redis-sessions", "--sessions", url),
        environment=host_environment(install_plugged(folder, {})),
    )


def wait_until(condition: Callable[[], object]) -> None:
    """Fails if it doesn't come true."""
    deadline = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)


@pytest.mark.parametrize(
    ("server_options", "status", "retryable", "told"),
    [
        (("--replicaof", "127.0.0.1", "1"), 78, True, "read only replica"),
        (("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no"), 75, True, "Link with MASTER is down"),
        (("--min-replicas-to-write", "1"), 78, True, "NOREPLICAS"),
        (("--maxmemory", "1kb", "--maxmemory-policy", "noeviction"), 78, True, "used memory > 'maxmemory'"),
        (("--requirepass", "secret"), 78, False, "authenticate"),
    ],
)
def test_a_host_is_ready_only_if_it_can_save(
    tmp_path: Path, server_options: tuple[str, ...], status: int, retryable: bool, told: str
) -> None:
    """Not at the first call that saves; the cause is named, and whether it may pass."""
    with (
        RedisServer(tmp_path, *server_options) as server,
        pytest.raises(LaunchError, match=told) as caught,
        Runner("plugged", options=options(tmp_path, server.url)),
    ):
        pass
    assert (caught.value.exit_status, caught.value.retryable) == (status, retryable)


def test_nothing_is_left_of_the_proof(tmp_path: Path, server: RedisServer) -> None:
    """The session that proves the write is deleted again."""
    url = f"{server.url}?prefix=proof:"
    with Runner("plugged", options=options(tmp_path, url)) as runner:
        runner.execute(pid="A", session="S", user_params={"does": "ok"})
    import redis

    with redis.Redis.from_url(server.url) as client:
        assert [key.rpartition(b"/")[2] for key in client.keys("proof:*")] == [b"S"]


def test_a_store_that_is_away_at_the_first_start_is_an_error_that_passes(tmp_path: Path) -> None:
    """A supervisor that never ran is not kept waiting by a wrong port."""
    with (
        pytest.raises(LaunchError) as caught,
        Runner("plugged", options=options(tmp_path, f"redis://127.0.0.1:{free_port()}/0")),
    ):
        pass
    assert (caught.value.exit_status, caught.value.retryable) == (75, True)


def test_a_supervisor_waits_for_a_store_that_is_away(tmp_path: Path) -> None:
    """More launches fail than break a supervisor; the state says why; with the store back the line goes on."""
    heard: list[Event] = []
    with (
        RedisServer(tmp_path / "redis") as server,
        Supervisor(
            "plugged",
            options=SupervisorOptions(
                runner=options(tmp_path, server.url),
                restart=RestartPolicy(max_restarts=1, max_failed_launches=1, max_wait_s=0.2),
                crash_folder=tmp_path / "crashes",
            ),
            listeners=[heard.append],
        ) as supervisor,
    ):
        server.kill()
        assert supervisor.process_id is not None
        os.kill(supervisor.process_id, signal.SIGKILL)
        wait_until(lambda: supervisor.snapshot().counters.get("failed_launches", 0) >= 3)
        assert supervisor.state is SupervisorState.WAITING
        assert supervisor.alive
        assert "can't be opened" in (supervisor.waiting_because or "")
        result = supervisor.submit("execute", pid="A", user_params={"does": "ok"})
        server.start()
        assert result.result(PATIENCE_S).verdict == "OK"
        assert supervisor.state is SupervisorState.READY
        assert supervisor.waiting_because is None
        assert supervisor.snapshot().counters["waits"] == 1
    assert [event.NAME for event in heard if event.NAME in {"waiting_for_host", "broken"}] == ["waiting_for_host"]
    # What is away is no incident of the host's: only the kill is reported.
    assert len(list((tmp_path / "crashes").iterdir())) == 1


def test_a_cause_that_stays_breaks_the_supervisor_as_before(tmp_path: Path) -> None:
    """A password that was changed meanwhile."""
    with (
        RedisServer(tmp_path / "redis") as server,
        Supervisor(
            "plugged",
            options=SupervisorOptions(
                runner=options(tmp_path, server.url), restart=RestartPolicy(max_failed_launches=1)
            ),
        ) as supervisor,
    ):
        import redis

        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "new")
        assert supervisor.process_id is not None
        os.kill(supervisor.process_id, signal.SIGKILL)
        wait_until(lambda: supervisor.state is SupervisorState.BROKEN)
        assert "did not become ready" in (supervisor.broken_because or "")
