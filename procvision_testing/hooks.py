"""What every hook plugin must hold to: `check_hook_plugin`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from procvision_testing.hook_hosts import PATIENCE_S, HookHost, host_environment, install_plugged

CALLS: tuple[dict[str, Any], ...] = (
    {"does": "ok"},
    {"does": "ok", "publish": True, "context": {"trace_id": "0af7651916cd43dd8448eb211c80319c", "product_code": "P-1"}},
    {"does": "ng", "phase": "pre"},
    {"does": "ng", "session": "零件/…\x00", "context": {"nested": [1, None, {"a": "\u2028"}]}},
    {"does": "error"},
    {"does": "raise"},
    {"does": "ok", "pid": "nobody's"},
    {"does": "ok", "step_index": 99},
    {"does": "ok", "step_index": 2, "final": True},
    {"does": "read", "shared_mem_id": "shm:nobody-made-this:2", "image_meta": {"width": 4, "height": 4}},
    {"does": "ok", "phase": "reset"},
    {"does": "ok", "phase": "info"},
    {"does": "ok"},
)
"""One of each sort that a plugin may be told of, in one session unless they say otherwise."""


RESTS_S = (0.0, 5.0)
"""How long a host lives on after its calls: a plugin that didn't end in time gets another chance with more of it, since
on a busy machine importing its libraries alone may take seconds."""


def check_hook_plugin(
    name: str,
    *,
    options: Mapping[str, object] | None = None,
    installed: str | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Hold a hook plugin against what a host relies on, in real hosts.

    `name` is its entry point's, or, where it is no distribution yet, any name, and `installed` is its `module:Class`
    on a host's `PYTHONPATH`. `options` are values for the plugin's own options, `arguments` what a host with it is
    started with besides, as `--sessions` for a store. Raises AssertionError naming the rule that doesn't hold:

    * `procvision-host hooks` lists it as used, with what it implements, and each option says what it is for;
    * it implements a hook beside the configuration;
    * every answer, to each sort of call, is as without it: results, errors and refusals alike;
    * it raises nothing, doesn't hold calls up, and doesn't keep the host from leaving with 0;
    * a host that was killed is followed by one that is as good.
    """
    plugins = {} if installed is None else {name: installed}
    given = {f"{name}.{key}": value for key, value in (options or {}).items()}
    with tempfile.TemporaryDirectory(prefix="procvision-hook-") as folder:
        place = Path(folder)
        _check_listed(name, _listed(place, plugins, given, name))
        with HookHost(place, "--no-hook", name, installed=plugins) as host:
            expected = _answers(host)
            host.shut_down()
        with HookHost(place, "--hook", name, *arguments, options=given, installed=plugins) as host:
            _check_same(name, _answers(host), expected)
            host.kill()
        for rest_s in RESTS_S:
            with HookHost(place, "--hook", name, *arguments, options=given, installed=plugins) as host:
                _check_same(f"{name}, after a host that was killed,", _answers(host), expected)
                time.sleep(rest_s)
                status = host.shut_down()
                _hold(status == 0, f"with {name} a host ends with 0, not with {status}")
                told = _told_of(name, host.log())
            if not told or not all("did not end in time" in line for line in told):
                break
        _hold(not told, f"a host has nothing to say of {name}, it says {told}")


def _listed(place: Path, plugins: Mapping[str, str], given: Mapping[str, object], name: str) -> dict[str, Any]:
    values = [text for key, value in given.items() for text in ("--hook-option", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "procvision_host", "hooks", "--json", "--hook", name, *values],
        env=host_environment(install_plugged(place, plugins)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    _hold(done.returncode == 0, f"`procvision-host hooks` can use it: {done.stdout}{done.stderr}")
    return {row["name"]: row for row in json.loads(done.stdout)}


def _check_listed(name: str, rows: Mapping[str, Any]) -> None:
    row = rows[name]
    _hold(row["active"] and not row["error"], f"{name} is used, it is {row['error'] or row['reason']}")
    hooks = [hook for hook in row["implements"] if hook not in ("procvision_options", "procvision_configure")]
    _hold(bool(hooks), f"{name} implements a hook beside its configuration")
    for option in row["options"]:
        _hold(bool(option["help"]), f"the option {option['key']} of {name} says what it is for")


def _check_same(name: str, found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for call, with_it, without in zip(CALLS, found, expected, strict=True):
        _hold(with_it == without, f"the answer to {call} is {without}, with {name} it is {with_it}")


def _told_of(name: str, log: str) -> list[str]:
    # An observer that is slow for once may be so because this machine is.
    return [line for line in log.splitlines() if f"hook plugin {name}" in line and " is slow: " not in line]


def _answers(host: HookHost) -> list[dict[str, Any]]:
    # A session of its own each time: a store that outlives the host would go on counting.
    session = f"check-{uuid4().hex}"
    answers = []
    for number, call in enumerate(CALLS):
        answer = host.call(**{"request_id": f"check-{number}", "session": session, **call})
        answer.pop("timestamp_ms", None)
        if isinstance(answer.get("data"), dict) and answer["data"].get("debug"):
            answer["data"]["debug"].pop("latency_ms", None)
        answers.append(answer)
    return answers


def _hold(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(f"this doesn't hold: {rule}")
