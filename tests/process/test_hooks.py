"""Hook plugins in a real host: what each hook is told, how plugins are chosen, and that broken ones change nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching import Launch
from peer_plugins import environment, install
from wire_client import WireClient, eventually

GROUP = "procvision.hooks"
WATCHING = {"watching": "peer_hooks.watching:Watching"}
BROKEN = {
    "import-error": "peer_hooks.import_error",
    "no-such-attribute": "peer_hooks.broken:NotThere",
    "bad-signature": "peer_hooks.broken:BadSignature",
    "misspelt": "peer_hooks.broken:Misspelt",
    "raises-in-options": "peer_hooks.broken:RaisesInOptions",
    "raises-in-configure": "peer_hooks.broken:RaisesInConfigure",
    "raises-in-stores": "peer_hooks.broken:RaisesInStores",
    "raises-always": "peer_hooks.broken:RaisesAlways",
    "raises-sometimes": "peer_hooks.broken:RaisesSometimes",
    "blocks-five-seconds": "peer_hooks.broken:BlocksFiveSeconds",
    "holds-calls-up": "peer_hooks.broken:HoldsCallsUp",
    "yields-twice": "peer_hooks.broken:YieldsTwice",
    "returns-no-generator": "peer_hooks.broken:ReturnsNoGenerator",
    "changes-everything": "peer_hooks.broken:ChangesEverything",
}
DEEDS: list[tuple[str, dict[str, Any]]] = [
    ("nothing", {}),
    ("return-rects", {"count": 2}),
    ("return-rects", {"count": 21}),
    ("return-none", {}),
    ("raise-recoverable", {}),
    ("return-no-verdict", {}),
    ("print-text", {"text": "a line", "count": 1}),
]
STEPS_CALL: dict[str, Any] = {
    "user_params": {},
    "session": {"id": "one", "context": {"product_code": "P", "trace_id": "t"}},
}

Installed = Callable[..., dict[str, str]]


@pytest.fixture
def installed_hooks(tmp_path: Path) -> Installed:
    """Installs hook plugins for one test and gives the environment in which a host finds them."""

    def put(members: dict[str, str], **more: str) -> dict[str, str]:
        folder = install(tmp_path / "hooks", "peer-hooks", {GROUP: members})
        return {"PYTHONPATH": f"{folder}:{environment()['PYTHONPATH']}", **more}

    return put


@pytest.fixture
def start(launch: Launch, installed_hooks: Installed) -> Callable[..., WireClient]:
    """Starts a host that finds these hook plugins beside the peer algorithms."""

    def begin(members: dict[str, str], name: str, *options: str, **more: str) -> WireClient:
        added = installed_hooks(members, **more)
        path = f"{added['PYTHONPATH']}:{launch.environment['PYTHONPATH']}"
        return launch(name, *options, environment={**added, "PYTHONPATH": path})

    return begin


class Watched:
    """A host with `watching` in it, and what that has written."""

    def __init__(self, host: WireClient, path: Path) -> None:
        self.host = host
        self._path = path

    def told(self, hook: str) -> list[dict[str, Any]]:
        """What was told so far under this hook, in order."""
        if not self._path.exists():
            return []
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [line for line in lines if line["hook"] == hook]

    def first(self, hook: str) -> dict[str, Any]:
        """Waits for the first of them."""
        found = eventually(lambda: self.told(hook), f"{hook} being told")
        assert isinstance(found[0], dict)
        return found[0]


@pytest.fixture
def watched(start: Callable[..., WireClient], tmp_path: Path) -> Callable[..., Watched]:
    """Starts a host with `watching` in it."""

    def begin(name: str = "steps", *options: str) -> Watched:
        path = tmp_path / "told.jsonl"
        return Watched(start(WATCHING, name, *options, "--hook-option", f"watching.path={path}"), path)

    return begin


# --- every hook ---------------------------------------------------------------------------------------------


def test_options(watched: Callable[..., Watched]) -> None:
    """What the plugin declares is what it is configured with, defaults included."""
    told = watched("steps", "--hook-option", "watching.count=7").first("configure")
    assert told["values"]["colour"] == "red"
    assert told["values"]["count"] == 7


def test_configure(watched: Callable[..., Watched]) -> None:
    """Comes first, on the main thread."""
    assert watched().first("configure")["thread"] == "MainThread"


def test_host_loaded(watched: Callable[..., Watched]) -> None:
    """Names the algorithm and the host's process."""
    seen = watched()
    told = seen.first("host_loaded")
    assert (told["algorithm"], told["version"]) == ("steps", "1.2.3")
    assert told["process_id"] == seen.host.host


def test_host_ready(watched: Callable[..., Watched]) -> None:
    """Told on the plugin's own thread."""
    told = watched().first("host_ready")
    assert told["algorithm"] == "steps"
    assert told["thread"] == "procvision-hook-watching"


def test_host_draining(watched: Callable[..., Watched]) -> None:
    """Told when the host was asked to leave, before it has left."""
    seen = watched()
    seen.host.until_state("ready")
    assert seen.told("host_draining") == []
    seen.host.shut_down()
    assert seen.first("host_draining")["exit_status"] == 0


def test_host_closed(watched: Callable[..., Watched]) -> None:
    """The last of all, with the exit status, and the host waits for it."""
    seen = watched("misbehaving")
    seen.host.call("raise-fatal")
    assert seen.host.wait() == 70
    assert [told["exit_status"] for told in seen.told("host_closed")] == [70]


def test_around_call(watched: Callable[..., Watched]) -> None:
    """Both parts on the algorithm's thread; the second has the answer as it went out."""
    seen = watched()
    answer = seen.host.call(**STEPS_CALL)
    assert answer["status"] == "OK"
    ends = seen.first("around_ends")
    begins = seen.first("around_begins")
    assert begins["thread"] == ends["thread"] == "MainThread"
    assert begins["call"]["session_id"] == "one"
    assert ends["answer"]["data"] == answer["data"]


def test_call_finished(watched: Callable[..., Watched]) -> None:
    """Tells of results and errors alike, in order."""
    seen = watched("misbehaving")
    answers = [seen.host.call(deed, params=params) for deed, params in DEEDS]
    eventually(lambda: len(seen.told("call_finished")) == len(DEEDS), "every call")
    told = seen.told("call_finished")
    assert [one["answer"] for one in told] == answers
    assert [one["call"]["request_id"] for one in told] == [answer["request_id"] for answer in answers]
    assert all(one["elapsed_ms"] >= 0 for one in told)


def test_call_finished_is_told_of_a_call_that_timed_out(watched: Callable[..., Watched]) -> None:
    """With the answer that the host gave for the algorithm."""
    seen = watched("misbehaving")
    seen.host.until_state("ready")
    answer = seen.host.call("wait-for-cancel", timeout_ms=150)
    assert answer["error_code"] == "1005"
    assert seen.first("call_finished")["answer"] == answer


def test_call_failed(watched: Callable[..., Watched]) -> None:
    """Tells of what has no verdict, and only of that."""
    seen = watched("misbehaving")
    for deed in ("nothing", "return-none", "nothing", "raise-recoverable"):
        seen.host.call(deed)
    seen.host.shut_down()
    assert [told["answer"]["data"]["kind"] for told in seen.told("call_failed")] == ["bad_result", "recoverable"]


def test_diagnostics_published(watched: Callable[..., Watched]) -> None:
    """What the algorithm published."""
    seen = watched()
    seen.host.call(**STEPS_CALL)
    assert seen.first("diagnostics_published")["diagnostics"]["counted"] == 1


def test_session_opened(watched: Callable[..., Watched]) -> None:
    """Once a session, and again after its end."""
    seen = watched()
    for final in (False, True, False):
        seen.host.call(user_params={}, session={"id": "one", "final": final})
    seen.host.shut_down()
    assert [(told["session_id"], told["known"]) for told in seen.told("session_opened")] == [("one", False)] * 2


def test_session_saved(watched: Callable[..., Watched]) -> None:
    """The state that a call left."""
    seen = watched()
    seen.host.call(**STEPS_CALL)
    assert json.loads(seen.first("session_saved")["state"]) == {"counted": 1}


def test_session_ended(watched: Callable[..., Watched]) -> None:
    """By `final`, and by a reset."""
    seen = watched("misbehaving")
    seen.host.call(session={"id": "one", "final": True})
    seen.host.call(phase="reset", session={"id": "two"})
    seen.host.shut_down()
    assert [told["session_id"] for told in seen.told("session_ended")] == ["one", "two"]


def test_log_record(watched: Callable[..., Watched]) -> None:
    """The lines of the log, with the call they belong to."""
    seen = watched("misbehaving")
    seen.host.call("log-everywhere", params={"text": "a line"})
    seen.host.shut_down()
    records = [told["record"] for told in seen.told("log_record")]
    ours = [record for record in records if "a line" in record["message"]]
    assert ours
    assert all(record["request_id"] == "c1" for record in ours)


def test_image_backends(start: Callable[..., WireClient]) -> None:
    """A backend that fails fails its call, by its own name, and nothing else."""
    host = start({"bad": "peer_hooks.broken:BadStores"}, "misbehaving")
    meta = {"width": 2, "height": 2}
    for scheme, text in (("failing", "TimeoutError"), ("unmakeable", "ConnectionError")):
        answer = host.call(shared_mem_id=f"{scheme}:x", image_meta=meta)
        assert (answer["error_code"], answer["data"]["kind"]) == ("1002", "image_backend")
        assert text in answer["message"]
    assert host.call()["status"] == "OK"
    assert host.shut_down() == 0
    assert any("could not be closed" in record["message"] for record in host.whole_log())


@pytest.mark.parametrize("at", ["load", "save", "delete"])
def test_session_stores(start: Callable[..., WireClient], at: str) -> None:
    """A store that fails fails the call: it is never taken for an empty session."""
    host = start({"bad": "peer_hooks.broken:BadStores"}, "steps", "--sessions", f"failing:{at}")
    fields: dict[str, Any] = {"user_params": {}, "session": {"id": "one"}}
    if at == "delete":
        # The last answer is out when a session is dropped; what failed then is tried before the id is met again.
        assert host.call(user_params={}, session={"id": "one", "final": True})["status"] == "OK"
        host.log("the session 'one' is over, but")
    answer = host.call(**fields)
    assert (answer["type"], answer["error_code"], answer["data"]["kind"]) == ("error", "9999", "session_store")
    assert f"{at} took too long" in answer["message"]


def test_a_store_that_cannot_be_opened_is_a_wrong_configuration(start: Callable[..., WireClient]) -> None:
    """The host says so and exits 78."""
    host = start({"bad": "peer_hooks.broken:BadStores"}, "steps", "--sessions", "unopenable:x")
    error = host.receive()
    assert "nobody there" in error["message"]
    assert host.wait() == 78


def test_a_session_over_its_bound_is_refused(launch: Launch) -> None:
    """And what was saved before stays."""
    host = launch("steps", "--max-session-bytes", "30")
    assert host.call(user_params={})["status"] == "OK"
    answer = host.call(user_params={}, phase="pre")
    assert answer["data"]["kind"] == "session_too_large"
    assert host.call(user_params={})["data"]["debug"]["counted"] == 2


# --- broken plugins -----------------------------------------------------------------------------------------


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from run to run."""
    answer = json.loads(json.dumps(answer))
    answer.pop("timestamp_ms", None)
    (answer["data"].get("debug") or {}).pop("latency_ms", None)
    return answer


@pytest.fixture(scope="module")
def answers_without(peer_environment: dict[str, str]) -> list[dict[str, Any]]:
    """What a host without any hook plugin answers."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        host = Launch(stack, peer_environment)("misbehaving")
        return [without_times(host.call(deed, params=params)) for deed, params in DEEDS]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_leaves_the_verdicts_as_they_are(
    start: Callable[..., WireClient], answers_without: list[dict[str, Any]], name: str
) -> None:
    """Whatever is wrong with it, it is named, and the host is as it is without it."""
    host = start({name: BROKEN[name]}, "misbehaving")
    began = time.monotonic()
    answers = [without_times(host.call(deed, params=params)) for deed, params in DEEDS]
    assert answers == answers_without
    assert time.monotonic() - began < 4.5  # not one of them waited for a plugin that blocks for five seconds
    assert host.shut_down() == 0
    if name != "changes-everything":  # nobody can see what it did
        assert any(f"hook plugin {name}" in record["message"] for record in host.whole_log())


def test_a_plugin_that_always_fails_is_switched_off(start: Callable[..., WireClient]) -> None:
    """After as many failures as its table says."""
    host = start({"bad": BROKEN["raises-always"]}, "misbehaving", "--hook-option", "bad.max_failures=4")
    for _ in range(10):
        host.call()
    host.shut_down()
    log = [record["message"] for record in host.whole_log()]
    assert sum("its observer is switched off: 4 failures" in message for message in log) == 1
    assert not any("(failure 7)" in message for message in log)


def test_a_wrapper_that_holds_calls_up_is_switched_off(start: Callable[..., WireClient]) -> None:
    """Its time is the call's, so being slow counts as failing."""
    host = start({"bad": BROKEN["holds-calls-up"]}, "misbehaving")
    for _ in range(12):
        host.call()
    log = host.log("hook plugin bad: its wrapper is switched off")
    assert log["level"] == "error"


def test_a_slow_observer_is_named_with_its_time(start: Callable[..., WireClient]) -> None:
    """And what it had not seen at the end is counted."""
    host = start({"bad": BROKEN["blocks-five-seconds"]}, "misbehaving")
    for _ in range(3):
        host.call()
    began = time.monotonic()
    host.shut_down()
    assert time.monotonic() - began < 4.5
    assert any("did not end in time: 3 events are lost" in record["message"] for record in host.whole_log())


# --- choosing -----------------------------------------------------------------------------------------------


def listed(environment_: dict[str, str], *options: str) -> tuple[int, Any]:
    """What `procvision-host hooks --json` says."""
    done = subprocess.run(
        [sys.executable, "-m", "procvision_host", "hooks", "--json", *options],
        env=environment_,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def rows(environment_: dict[str, str], *options: str) -> dict[str, dict[str, Any]]:
    """The same by name."""
    status, found = listed(environment_, *options)
    assert status == 0
    return {row["name"]: row for row in found}


def test_hooks_lists_what_is_there(installed_hooks: Installed) -> None:
    """What is used, what each implements, what is broken and why."""
    found = rows(environment() | installed_hooks(WATCHING | BROKEN))
    assert found["memory-sessions"]["active"]
    assert found["memory-sessions"]["implements"][-1] == "procvision_session_stores"
    assert found["raises-always"]["distribution"] == "peer-hooks"
    assert "a_library_that_is_not_installed" in found["import-error"]["error"]
    assert "kall" in found["bad-signature"]["error"]
    assert "procvision_call_finnished" in found["misspelt"]["error"]
    assert not found["misspelt"]["active"]
    watching = found["watching"]
    assert not watching["active"]
    assert "path" in watching["reason"]
    assert len(watching["implements"]) == 14
    assert {option["key"] for option in watching["options"]} == {"path", "colour", "count"}


def test_a_plugin_without_its_required_value_stays_unused(installed_hooks: Installed) -> None:
    """Installing is no harm; asking for it by name makes the value a must."""
    env = environment() | installed_hooks(WATCHING)
    assert not rows(env)["watching"]["active"]
    status, told = listed(env, "--hook", "watching")
    assert status == 78
    assert "watching.path=" in told["error"]


@pytest.mark.parametrize("name", ["import-error", "bad-signature", "raises-in-configure", "not-installed"])
def test_a_broken_plugin_that_was_asked_for_stops_the_host(start: Callable[..., WireClient], name: str) -> None:
    """With 78 and its name: an operator who asked for it wants to know."""
    host = start(BROKEN, "misbehaving", "--hook", name)
    assert name in host.receive()["message"]
    assert host.wait() == 78


def test_the_command_line_is_stronger_than_the_file_and_that_than_the_environment(
    installed_hooks: Installed, tmp_path: Path
) -> None:
    """For values and for the choice."""
    env = environment() | installed_hooks(
        WATCHING,
        PROCVISION_HOOKS="watching",
        PROCVISION_HOOK_WATCHING_PATH="/of/environment",
        PROCVISION_HOOK_WATCHING_COUNT="4",
        PROCVISION_HOOK_WATCHING_COLOUR="blue",
    )
    config = tmp_path / "procvision.toml"
    config.write_text('[hooks.watching]\npath = "/of/file"\ncount = 5\n')

    def values(*options: str) -> dict[str, Any]:
        return {option["key"]: option["value"] for option in rows(env, *options)["watching"]["options"]}

    # Nothing is written: `configure` alone can't, and a plugin that can't is broken; so look at what was chosen.
    status, told = listed(env)
    assert (status, "/of/environment" in told["error"]) == (78, True)
    status, told = listed(env, "--config", str(config))
    assert (status, "/of/file" in told["error"]) == (78, True)
    path = str(tmp_path / "told")
    assert values("--config", str(config), "--hook-option", f"watching.path={path}") == {
        "path": path,
        "colour": "blue",
        "count": 5,
    }
    off = rows(env, "--config", str(config), "--no-hook", "watching")["watching"]
    assert not off["active"]
    config.write_text("[hooks.watching]\nenabled = false\n")
    assert rows(env, "--config", str(config))["watching"]["chosen_by"] == "[hooks.watching]"
    config.write_text(f'[hooks.watching]\nenabled = false\npath = "{path}"\n')
    on = rows(env, "--config", str(config), "--hook", "watching", "--no-hook", "watching")["watching"]
    assert on["active"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--hook-option", "watching.count=many"], "watching.count"),
        (["--hook-option", "watching.count=0"], "at least 1"),
        (["--hook-option", "watching.colour=green"], "red, blue"),
        (["--hook-option", "watching.shape=round"], "no such option"),
        (["--hook-option", "nothing"], "NAME.KEY=VALUE"),
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    installed_hooks: Installed, tmp_path: Path, options: list[str], text: str
) -> None:
    """What, where, the bound and the value."""
    env = environment() | installed_hooks(WATCHING)
    given = ["--hook", "watching", "--hook-option", f"watching.path={tmp_path / 'told'}"]
    status, told = listed(env, *given, *options)
    assert status == 78
    assert text in told["error"]


def test_no_hooks_leaves_the_installed_out_but_for_those_asked_for(installed_hooks: Installed) -> None:
    """`--no-hooks --hook NAME`: only that one, and the box."""
    env = environment() | installed_hooks({**BROKEN, "good": "peer_hooks.broken:HoldsCallsUp"})
    found = rows(env, "--no-hooks", "--hook", "good")
    assert "good" in found
    assert "posix-images" in found
    assert not set(BROKEN) & set(found)


def test_two_plugins_with_one_scheme_are_a_wrong_configuration(start: Callable[..., WireClient]) -> None:
    """Which of them would answer is not left to chance."""
    host = start({"twin": "peer_hooks.broken:SameScheme"}, "misbehaving")
    assert "--no-hook twin" in host.receive()["message"]
    assert host.wait() == 78
