"""Every hook is documented and tested, and costs nothing where it is not used."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from procvision_sdk import hookspecs

ROOT = Path(__file__).parents[2]
TESTS = (ROOT / "tests" / "process" / "test_hooks.py").read_text("utf-8")
PAGE = ROOT / "docs" / "reference" / "hooks.md"


def test_every_specification_has_a_sort() -> None:
    """What runs when is decided by it."""
    specified = {name for name, value in vars(hookspecs).items() if hasattr(value, "procvision_spec")}
    assert specified == set(hookspecs.SORTS)


@pytest.mark.parametrize("hook", hookspecs.SORTS)
def test_every_hook_is_documented(hook: str) -> None:
    """When it runs, on which thread, what it may change, what its failure does."""
    told = inspect.getdoc(getattr(hookspecs, hook)) or ""
    for part in ("When: ", "Thread: ", "May change: ", "Failure: "):
        assert part in told, f"{hook} doesn't say: {part}"
    assert len(told.splitlines()[0]) > 30
    assert f"### `{hook}" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("hook", hookspecs.SORTS)
def test_every_hook_is_tested(hook: str) -> None:
    """With real processes, in a test of its name."""
    assert re.search(rf"^def test_{hook.removeprefix('procvision_')}\(", TESTS, re.MULTILINE)


def test_a_plugin_that_is_not_made_yet_costs_its_own_module_and_no_library() -> None:
    """What `procvision-host hooks` and every host that names it imports."""
    libraries = {"numpy", "prometheus_client", "opentelemetry", "paho", "redis", "psycopg", "sqlite3", "PIL"}
    program = (
        "import sys; from importlib.metadata import entry_points;"
        f"print(*[entry.name for entry in entry_points(group={hookspecs.ENTRY_POINT_GROUP!r}) if entry.load()]);"
        f"print(*sorted({libraries!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded, found = done.stdout.split("\n")[:2]
    assert {"mqtt", "prometheus", "opentelemetry", "legacy-images"} <= set(loaded.split())
    assert found == ""
