"""Who may import whom, and what an import may cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules_after(statement: str) -> set[str]:
    """The modules that are loaded in a fresh interpreter after a statement."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_import_contracts_hold() -> None:
    """The arrows between the three packages, as pyproject.toml states them."""
    # In a process of its own: import-linter configures logging, and that disables the loggers of the other tests.
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["connection", "codec", "tables", "heartbeat", "messages", "frames"])
def test_wire_imports_no_numpy(module: str) -> None:
    """A runner or a tool that only talks pays for no picture."""
    loaded = modules_after(f"import procvision_sdk.wire.{module}")
    assert f"procvision_sdk.wire.{module}" in loaded
    assert not loaded & {"numpy", "cv2", "PIL", "click", "pluggy", "importlib_metadata"}


def test_greeting_imports_nothing_that_takes_time() -> None:
    """A host says hello before the codec is there."""
    loaded = modules_after("import procvision_sdk.wire.greeting") - modules_after("pass")
    ours = {"procvision_sdk", "procvision_sdk._lazy", "procvision_sdk.wire", "procvision_sdk.wire.greeting"}
    assert loaded == ours | ({"__future__"} & loaded)


def test_a_guardian_imports_nothing_that_takes_time() -> None:
    """It is started beside the cell, often on the same core."""
    loaded = modules_after("import procvision_host.__main__, procvision_host.process.guardian") - modules_after("pass")
    foreign = {name for name in loaded if not name.startswith("procvision_")}
    assert foreign <= {"__future__", "_json", "fcntl", "mmap", "select"}


def test_tables_need_nothing_of_the_wire() -> None:
    """The rules are data: no codec, no connection."""
    loaded = modules_after("import procvision_sdk.wire.tables")
    assert not loaded & {"msgspec", "attrs", "procvision_sdk.wire.connection", "procvision_sdk.wire.codec"}


def test_what_a_host_is_spawned_with_is_little() -> None:
    """A command spawns its host before it imports what speaks with it, keeps it alive or shows its answer."""
    loaded = modules_after("import procvision_tools.cli.commands.run, procvision_tools.cli.hosts")
    assert "procvision_runner.process.host_process" in loaded
    later = {"procvision_runner.connection.client", "procvision_runner.runner", "procvision_sdk.results"}
    later |= {"numpy", "importlib_metadata", "procvision_tools.report.inspection", "procvision_sdk.manifest.model"}
    later |= {"hashlib", "secrets", "difflib", "procvision_sdk.wire.messages", "procvision_runner.exit_causes"}
    assert not {name for name in loaded if name in later or name.startswith("procvision_runner.supervision")}


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_what_is_asked_of_the_command_itself_is_answered_without_a_parser_of_mails(word: str) -> None:
    """The commands that other distributions add, and our version, are read by what a host reads them with."""
    loaded = modules_after(f"from procvision_tools.cli.main import status_of; status_of([{word!r}])")
    assert "procvision_sdk.installed" in loaded
    assert not loaded & {"importlib_metadata", "email.parser", "numpy"}


def test_one_inspection_imports_no_more_than_it_uses() -> None:
    """A picture goes to the host as its file has it; nothing of what keeps hosts alive is needed for one."""
    loaded = modules_after(
        "import procvision_tools.cli.inspecting, procvision_tools.report.terminal, procvision_runner.runner"
    )
    assert "procvision_runner.connection.client" in loaded
    assert not {name for name in loaded if name == "numpy" or name.startswith("procvision_runner.supervision")}
