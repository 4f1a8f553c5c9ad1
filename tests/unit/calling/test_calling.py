"""One way to call: the four runners have the interface's signatures, and a type checker knows them."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from procvision_host.in_memory.runner import InMemoryRunner
from procvision_runner import Pool, Runner, Supervisor
from procvision_sdk.calling import AlgorithmRunner

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
METHODS = {"execute", "pre_execute", "submit", "session", "reset", "lend", "info"}
RUNNERS = [Runner, Supervisor, Pool, InMemoryRunner]
ERROR = re.compile(r"^(?P<file>.+?):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)


def test_the_interface_has_these_methods() -> None:
    assert {name for name in vars(AlgorithmRunner) if not name.startswith("_")} == METHODS


@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_each_runner_has_the_interfaces_signature(kind: type, method: str) -> None:
    """The same parameters in the same order, with the same defaults and annotations: nothing more, nothing less."""
    wanted = inspect.signature(getattr(AlgorithmRunner, method))
    assert inspect.signature(getattr(kind, method)).parameters == wanted.parameters
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted.parameters.values())


@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_each_method_says_what_it_does(kind: type, method: str) -> None:
    """In its own words, or in those of the class that has it: an editor shows them."""
    assert inspect.getdoc(getattr(kind, method))


def test_the_arguments_of_a_call_are_the_same_in_its_three_methods() -> None:
    def spelled(method: str) -> dict[str, Any]:
        return {
            name: parameter
            for name, parameter in inspect.signature(getattr(AlgorithmRunner, method)).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }

    assert spelled("execute") == spelled("pre_execute") == spelled("submit")
    told = inspect.getdoc(AlgorithmRunner.execute) or ""
    assert all(f"`{name}`" in told for name in spelled("execute"))


def checked_by_mypy(file: Path) -> dict[int, set[str]]:
    """The error codes by line; the project's own settings apply."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert not done.stderr, done.stderr
    errors: dict[int, set[str]] = {}
    for found in ERROR.finditer(done.stdout):
        assert Path(found["file"]).name == file.name, done.stdout
        errors.setdefault(int(found["line"]), set()).add(found["code"])
    assert bool(errors) == bool(done.returncode), done.stdout
    return errors


@pytest.mark.timeout(600)
def test_a_type_checker_accepts_what_is_right() -> None:
    assert checked_by_mypy(HERE / "accepted.py") == {}


@pytest.mark.timeout(600)
def test_a_type_checker_refuses_what_is_wrong() -> None:
    """Each line for the reason that stands beside it, and no other line."""
    file = HERE / "refused.py"
    wanted = {
        number: set(line.partition("# error: ")[2].split(", "))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "# error: " in line
    }
    assert len(wanted) > 20
    assert checked_by_mypy(file) == wanted


@pytest.mark.parametrize("kind", [Runner, Supervisor, lambda **given: Pool(hosts=2, **given)])
@pytest.mark.parametrize("method", ["execute", "pre_execute", "submit"])
def test_a_misspelt_argument_is_the_error_of_the_method_that_was_called(kind: Any, method: str) -> None:
    """Also where the runner doesn't run: an argument is looked at before anything else."""
    call = getattr(kind(command=["never-started"]), method)
    given = ["execute"] if method == "submit" else []
    with pytest.raises(TypeError, match=rf"{method}\(\) got an unexpected keyword argument 'sesion'"):
        call(*given, pid="A", sesion=1)
