"""What of its launcher's environment an algorithm gets: what is allowed, and what was named."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_program import PROCVISION
from peer_plugins import environment, install_algorithm
from wire_client import WireClient

from procvision_runner import EnvironmentPolicy, Pool, Runner, RunnerOptions, Supervisor, SupervisorOptions
from procvision_runner.connection.launch import own_host

SECRETS = {
    "LINE_TOKEN": "tok-5e1f0c9a7b", "PGPASSWORD": "pg-92ab41c07d", "AWS_SECRET_ACCESS_KEY": "aws-0d31f7e2b8",
    "DATABASE_URL": "postgres://line:db-7c41e09a@db/line", "http_proxy": "http://u:px-1b2c3d4e5f@proxy:3128",
    "PROCVISION_SESSION_KEY": "key-4f6a8c0e2d", "PROCVISION_HOOK_MQTT_PASSWORD": "mq-aa17b3c9d1",
}  # fmt: skip
ALGORITHM = """
import json, os, re
from procvision_sdk import BaseAlgorithm, Ok

AT_IMPORT = dict(os.environ)

def in_memory(parts):
    # Every byte that this process can read of itself. No text that is looked for is ever put together here.
    found = set()
    with open("/proc/self/mem", "rb", 0) as memory:
        for line in open("/proc/self/maps"):
            area = re.match("([0-9a-f]+)-([0-9a-f]+) r", line)
            if not area or "[v" in line:
                continue
            start, end = (int(one, 16) for one in area.groups())
            try:
                memory.seek(start)
                data = memory.read(min(end - start, 1 << 28))
            except (OSError, ValueError, OverflowError):
                continue
            for one, two in parts:
                for place in re.finditer(two.encode(), data):
                    at = place.start() - 1
                    if data[at : at + 1] == b"-" and data[at - len(one) : at] == one.encode():
                        found.add(one)
    return sorted(found)

class Vendor(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        told = open("/proc/self/environ", "rb").read()
        return Ok(message=json.dumps({
            "now": dict(os.environ), "at import": AT_IMPORT, "told": told.decode(errors="replace"),
            "memory": in_memory(session.context.get("parts", [])),
        }))
"""
PICTURE = np.zeros((8, 8, 3), np.uint8)
PARTS = [list(value.rpartition("-")[::2]) for value in SECRETS.values() if value.count("-") == 1 and ":" not in value]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed in, with code that runs at every start of a Python there."""
    folder = install_algorithm(tmp_path_factory.mktemp("vendor"), "nosy", ALGORITHM, reads_picture=False)
    (folder / "sitecustomize.py").write_text("import os, builtins\nbuiltins.AT_START = dict(os.environ)\n")
    package = folder / "vendor_nosy" / "__init__.py"
    package.write_text(package.read_text().replace("AT_IMPORT = dict(os.environ)", "AT_IMPORT = AT_START"))
    return folder


@pytest.fixture
def own(vendor: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """This process's environment is that of a platform with secrets."""
    told = environment(vendor)
    for name, value in {**told, **SECRETS, "PLANT_LINE": "7", "PLANT_CELL": "b"}.items():
        monkeypatch.setenv(name, value)
    yield dict(os.environ)


def seen_by(caller: Any) -> dict[str, Any]:
    """What the algorithm of a runner saw."""
    session = caller.session({"parts": PARTS})
    found: dict[str, Any] = json.loads(caller.execute(PICTURE, pid="A", session=session, timeout_s=60.0).message)
    return found


def check(seen: Mapping[str, Any], **named: str) -> None:
    """Nothing but what is allowed and named, at no time and nowhere."""
    for when in ("now", "at import"):
        assert not SECRETS.keys() & seen[when].keys(), when
        assert {name: value for name, value in seen[when].items() if name.startswith("PLANT_")} == named
        assert seen[when]["PATH"] == os.environ["PATH"]
    assert not [name for name, value in SECRETS.items() if name in seen["told"] or value in seen["told"]]
    assert seen["memory"] == []


@pytest.mark.parametrize("kind", [Runner, Supervisor, Pool])
def test_secrets_of_a_runners_environment_reach_no_algorithm(kind: Any, own: dict[str, str]) -> None:
    """Neither as variables, nor in its memory, nor to code that runs before it."""
    runner = RunnerOptions(ready_timeout_s=60.0, handshake_timeout_s=60.0)
    options = runner if kind is Runner else SupervisorOptions(runner=runner)
    more = {"hosts": 1} if kind is Pool else {}
    with kind("nosy", options=options, **more) as caller:
        check(seen_by(caller))


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        (Runner, RunnerOptions(pass_environment=("PLANT_LINE",)), {"PLANT_LINE": "7"}),
        (Runner, RunnerOptions(pass_environment=("PLANT_*", "PROCVISION_*")), {"PLANT_LINE": "7", "PLANT_CELL": "b"}),
        (Supervisor, SupervisorOptions(runner=RunnerOptions(pass_environment=("PLANT_L*",))), {"PLANT_LINE": "7"}),
        (
            Supervisor,
            SupervisorOptions(environment=EnvironmentPolicy(extra={"PLANT_LINE": "9"})),
            {"PLANT_LINE": "9"},
        ),
    ],
)
def test_what_is_named_is_passed(kind: Any, options: Any, named: dict[str, str], own: dict[str, str]) -> None:
    """And nothing beside it; what is the host half's can't be named."""
    with kind("nosy", options=options) as caller:
        check(seen_by(caller), **named)


def test_what_a_runner_sets_anew_is_named_by_that(own: dict[str, str]) -> None:
    """A copy of its own environment with one more variable passes on that one."""
    with Runner("nosy", options=RunnerOptions(environment={**own, "PLANT_LINE": "8"})) as caller:
        check(seen_by(caller), PLANT_LINE="8")


def test_a_host_of_another_runner_passes_what_its_command_line_names(own: dict[str, str]) -> None:
    """By `--env`."""
    with WireClient([*own_host(), "--algo", "nosy", "--env", "PLANT_CELL"], own) as host:
        answer = host.call(session={"id": "s", "context": {"parts": PARTS}}, user_params={})
    check(json.loads(answer["message"]), PLANT_CELL="b")


def test_the_command_passes_what_it_is_told(own: dict[str, str], tmp_path: Path) -> None:
    """`procvision run --env`."""
    import cv2

    cv2.imwrite(str(tmp_path / "picture.png"), PICTURE)
    words = [*PROCVISION, "run", "nosy", "picture.png", "--pid", "A", "--json", "--env", "PLANT_LINE"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "PLANT_LINE" in done.stdout, done.stderr
    assert "PLANT_CELL" not in done.stdout
    assert not any(secret in done.stdout for secret in (*SECRETS, *SECRETS.values()))


def test_what_is_passed_is_found_in_memory(own: dict[str, str]) -> None:
    """So the search above would find what shouldn't be there."""
    with Runner("nosy", options=RunnerOptions(pass_environment=("LINE_TOKEN",))) as caller:
        seen = seen_by(caller)
    assert seen["now"]["LINE_TOKEN"] == SECRETS["LINE_TOKEN"]
    assert seen["memory"] == ["tok"]
