"""Sessions in real hosts: which store is used, what a killed host leaves, and several hosts on one file."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from launching import Launch
from peer_plugins import environment, install, install_algorithm
from wire_client import WireClient

from procvision_host.process.linux import parents
from procvision_testing import check_survives_kills

KILLS = int(os.environ.get("PROCVISION_KILLS", "15"))
"""`nox -s kill` takes 500."""


def call(host: WireClient, session: str = "s", **fields: Any) -> dict[str, Any]:
    """A call of `steps`."""
    final = fields.pop("final", False)
    return host.call(user_params={}, session={"id": session, "final": final}, **fields)


def counted(answer: dict[str, Any]) -> int:
    """How many calls of the session this one was."""
    assert answer["status"] == "OK", answer
    number = answer["data"]["debug"]["counted"]
    assert isinstance(number, int)
    return number


# --- which store --------------------------------------------------------------------------------------------


def used(folder: Path) -> set[str]:
    """The files in which there are sessions."""
    return {path.name for path in folder.glob("*.db")}


def test_the_command_line_is_stronger_than_the_file_and_that_than_the_environment(
    launch: Launch, tmp_path: Path
) -> None:
    """For the session store as for everything else."""
    config = tmp_path / "procvision.toml"
    config.write_text(f'sessions = "sqlite:{tmp_path}/file.db"\n')
    variable = {"PROCVISION_SESSIONS": f"sqlite:{tmp_path}/variable.db"}
    wanted = set()
    for name, options in (
        ("variable", []),
        ("file", ["--config", str(config)]),
        ("option", ["--config", str(config), "--sessions", f"sqlite:{tmp_path}/option.db"]),
    ):
        assert counted(call(launch("steps", *options, environment=variable))) == 1
        wanted.add(f"{name}.db")
        assert used(tmp_path) == wanted


def test_a_plugin_that_is_not_there_is_named(launch: Launch) -> None:
    """With the distribution that brings it."""
    host = launch("steps", "--no-hook", "postgres-sessions", "--sessions", "postgresql://station:secret@db/line4")
    message = host.receive()["message"]
    assert "pip install procvision-postgres" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("sessions", "code", "text", "status"),
    [
        ("sqlite:/nowhere/s.db", "1009", "/nowhere/s.db", 78),
        ("memory:?ttl_s=never", "1009", "ttl_s", 78),
        ("floppy:a", "1010", "known are memory", 78),
        ("redis://:secret@127.0.0.1:1/0", "1009", "127.0.0.1:1", 75),
    ],
)
def test_a_store_that_cannot_be_used_stops_the_host(
    launch: Launch, sessions: str, code: str, text: str, status: int
) -> None:
    """With 78, or 75 where it may be back soon, the reason and its code, and without the password."""
    host = launch("steps", "--sessions", sessions)
    error = host.receive()
    message = error["message"]
    assert (error["error_code"], text in message) == (code, True)
    assert "secret" not in message
    assert error["data"]["retryable"] is (status == 75) if "retryable" in error["data"] else status == 78
    assert host.wait() == status


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed: root writes through any mode")
@pytest.mark.parametrize("disk", ["read-only", "full", "small"])
def test_an_sqlite_file_that_takes_no_write_stops_the_host(launch: Launch, tmp_path: Path, disk: str) -> None:
    """On a read-only mount, on a full disk, on one without room for the table: not at the first call that saves."""
    folder = tmp_path / "kept"
    folder.mkdir()
    store = folder / "s.db"
    call(launch("steps", "--sessions", f"sqlite:{store}"))
    bound = ["--ro-bind", str(store), str(store)]
    if disk == "small":
        copy = f'cp /proc/self/fd/9 {store}; exec "$@"'
        bound = ["--size", str(1 << 20), "--tmpfs", str(folder), "--", "sh", "-c", copy, "sh"]
    if disk == "full":
        fill = f'cp /proc/self/fd/9 {store}; head -c 999999 /dev/zero > {folder}/filler; exec "$@"'
        bound = ["--size", "65536", "--tmpfs", str(folder), "--", "sh", "-c", fill, "sh"]
    command = ["sh", "-c", 'exec 9<"$0"; exec "$@"', str(store), "bwrap", "--dev-bind", "/", "/", *bound]
    host = launch("steps", "--sessions", f"sqlite:{store}", before=command)
    message = host.receive()["message"]
    # SQLite finds out at its first look where it can't make the index of its log.
    said = {"read-only": "can be opened, but not written: ", "full": "disk", "small": "No space left on device"}
    assert said[disk] in message
    assert host.wait() == 78


def test_a_file_that_says_no_text_is_a_wrong_configuration(launch: Launch, tmp_path: Path) -> None:
    """With the value."""
    config = tmp_path / "procvision.toml"
    config.write_text("sessions = 7\n")
    error = launch("steps", "--config", str(config)).receive()
    assert "is 7: it is a text" in error["message"]
    assert error["error_code"] == "1010"


@pytest.fixture
def installed_twin(launch: Launch, tmp_path: Path) -> str:
    """The path on which an algorithm lies that counts as `steps` does, under another name."""
    source = "from algorithms.steps import Steps as Vendor\n"
    steps = [{"index": 1, "name": "only"}]
    folder = install_algorithm(tmp_path / "twin", "steps-twin", source, supported_pids=["*"], steps=steps)
    return f"{folder}:{launch.environment['PYTHONPATH']}"


def test_two_algorithms_on_one_store_have_two_sessions_of_one_id(
    launch: Launch, tmp_path: Path, installed_twin: str
) -> None:
    """Neither finds what the other has kept; the next version of an algorithm finds its own."""
    store = ("--sessions", f"sqlite:{tmp_path}/s.db")
    first = launch("steps", *store)
    assert [counted(call(first)) for _ in range(3)] == [1, 2, 3]
    twin = launch("steps-twin", *store, environment={"PYTHONPATH": installed_twin})
    assert counted(call(twin)) == 1
    assert first.shut_down() == 0
    assert counted(call(launch("steps==1.2.3", *store))) == 4


def test_a_state_that_another_program_put_there_is_an_error(launch: Launch, tmp_path: Path) -> None:
    """It hasn't the secret; and a host with another secret reads nothing."""
    store = ("--sessions", f"sqlite:{tmp_path}/s.db")
    assert counted(call(launch("steps", *store))) == 1
    other = launch("steps", *store, environment={"PROCVISION_SESSION_KEY": str(tmp_path / "other.key")})
    answer = call(other)
    assert (answer["type"], answer["data"]["kind"]) == ("error", "session_store")
    assert "another secret" in answer["message"]


# --- what a killed host leaves ------------------------------------------------------------------------------


@pytest.fixture
def start_dying(launch: Launch, tmp_path: Path) -> Callable[[str], WireClient]:
    """Starts hosts on one file; the first that comes to the moment is killed there."""
    folder = install(tmp_path / "hooks", "dying", {"procvision.hooks": {"dying": "peer_hooks.dying:Dying"}})
    found = environment(folder)["PYTHONPATH"] + ":" + launch.environment["PYTHONPATH"]

    def begin(moment: str) -> WireClient:
        return launch(
            "steps",
            "--hook",
            "dying",
            "--sessions",
            f"dying:{moment}:{tmp_path}/s.db",
            environment={"PYTHONPATH": found},
        )

    return begin


@pytest.mark.parametrize(
    ("moment", "answered", "next_found"),
    [
        ("before-load", 2, 2),
        ("after-load", 2, 2),
        ("before-save", 2, 2),
        ("after-save", 2, 3),  # carried out, and the answer died with the host
    ],
)
def test_the_next_host_finds_the_last_answered_call(
    start_dying: Callable[[str], WireClient], tmp_path: Path, moment: str, answered: int, next_found: int
) -> None:
    """Whatever the host was just about to do."""
    (tmp_path / "s.db.died").touch()
    host = start_dying(moment)
    for number in range(answered):
        assert counted(call(host)) == number + 1
    (tmp_path / "s.db.died").unlink()
    with pytest.raises(EOFError):
        call(host)
    assert counted(call(start_dying(moment))) == next_found + 1


@pytest.mark.parametrize("moment", ["after-load", "before-delete", "after-delete"])
def test_a_final_call_ends_its_session_only_when_it_is_answered(
    start_dying: Callable[[str], WireClient], tmp_path: Path, moment: str
) -> None:
    """One whose answer died with the host is made again on the whole session."""
    host = start_dying(moment)
    (tmp_path / "s.db.died").touch()
    assert counted(call(host)) == 1
    (tmp_path / "s.db.died").unlink()
    if moment == "after-load":
        with pytest.raises(EOFError):
            call(host, final=True)
        assert counted(call(start_dying(moment), final=True)) == 2
    else:
        assert counted(call(host, final=True)) == 2
        host.wait()
        left = {"before-delete": 1, "after-delete": 0}[moment]
        assert counted(call(start_dying(moment))) == left + 1


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a busy machine a host takes seconds to start
def test_no_answered_state_is_lost_to_a_kill(tmp_path: Path) -> None:
    """At random moments, with two hosts on one file."""
    kills = check_survives_kills(tmp_path, "--sessions", f"sqlite:{tmp_path}/s.db", sessions=KILLS)
    print(kills)
    assert kills.sessions == KILLS
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("isolation", ["basic", "strict"])
def test_a_state_that_was_told_outlives_the_whole_tree(launch: Launch, tmp_path: Path, isolation: str) -> None:
    """Killed at once, before anything of it is in SQLite's file."""
    store = ("--sessions", f"sqlite:{tmp_path}/s.db", "--isolation", isolation)
    host = launch("steps", *store)
    half = parents()[parents()[host.host]]
    assert [counted(call(host)) for _ in range(5)] == [1, 2, 3, 4, 5]
    for process in (half, host.host):
        os.kill(process, signal.SIGKILL)
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        found = connection.execute("SELECT state FROM sessions").fetchall()
    assert not any(state.endswith(b'"counted":5}') for (state,) in found), "the table is not used"
    assert counted(call(launch("steps", *store))) == 6


# --- several hosts ------------------------------------------------------------------------------------------


def test_several_hosts_on_one_session_lose_nothing(launch: Launch, tmp_path: Path) -> None:
    """Each call is either counted or refused, and then made again."""
    hosts = [launch("steps", "--sessions", f"sqlite:{tmp_path}/s.db?busy_ms=30000") for _ in range(3)]
    calls_each = 30

    def work(host: WireClient) -> tuple[list[int], int]:
        numbers: list[int] = []
        refused = 0
        while len(numbers) < calls_each:
            answer = call(host)
            if answer["type"] == "error":
                assert answer["data"]["kind"] == "session_in_use", answer
                assert answer["data"]["retryable"]
                refused += 1
            else:
                numbers.append(counted(answer))
        return numbers, refused

    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(work, hosts))
    assert sorted(number for numbers, _ in done for number in numbers) == list(range(1, 3 * calls_each + 1))


def test_a_host_finds_what_another_left(launch: Launch, tmp_path: Path) -> None:
    """One after the other, call by call."""
    one, other = (launch("steps", "--sessions", f"sqlite:{tmp_path}/s.db") for _ in range(2))
    assert [counted(call(host)) for host in (one, other, other, one)] == [1, 2, 3, 4]
    assert counted(call(one, final=True)) == 5
    assert counted(call(one, session="t")) == 1  # by now the other has ended: that is after its answer
    assert counted(call(other)) == 1


# --- what goes wrong in a session ---------------------------------------------------------------------------


def test_a_spoilt_state_fails_the_call_and_a_reset_clears_it(launch: Launch, tmp_path: Path) -> None:
    """It is never taken for an empty session."""
    host = launch("steps", "--sessions", f"sqlite:{tmp_path}/s.db")
    assert counted(call(host)) == 1
    assert host.shut_down() == 0
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as connection:
        connection.execute("UPDATE sessions SET state = CAST(replace(state, '1}', '7}') AS BLOB)")
    host = launch("steps", "--sessions", f"sqlite:{tmp_path}/s.db")
    answer = call(host)
    assert (answer["type"], answer["data"]["kind"]) == ("error", "session_store")
    assert "damaged" in answer["message"]
    reset = call(host, phase="reset")
    assert reset["status"] == "OK", reset
    assert counted(call(host)) == 1


FORKING = """
import os

from procvision_sdk import BaseAlgorithm, Ok


class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        session.set("counted", session.get("counted", 0) + 1)
        child = os.fork()
        if child:
            os.waitpid(child, 0)  # it is over before the host goes on
        else:
            session.set("by", "the child")
        self.diagnostics.publish("counted", session.get("counted"))
        return Ok()
"""


def test_a_child_that_the_algorithm_forked_does_not_touch_the_session(launch: Launch, tmp_path: Path) -> None:
    """Even one that comes back from the vendor's code as if it were the host."""
    folder = install_algorithm(tmp_path / "forking", "forking", FORKING)
    path = f"{folder}:{launch.environment['PYTHONPATH']}"
    host = launch("forking", "--sessions", f"sqlite:{tmp_path}/s.db", environment={"PYTHONPATH": path})
    assert [counted(call(host)) for _ in range(3)] == [1, 2, 3]
    assert host.shut_down() == 0
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        ((state,),) = connection.execute("SELECT state FROM sessions").fetchall()
    assert state.endswith(b'\n{"counted":3}')
