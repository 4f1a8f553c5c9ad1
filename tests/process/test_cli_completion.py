"""`procvision completion`: what a shell offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from procvision_runner.cli.main import COMMANDS, status_of

PROCVISION = Path(sys.executable).with_name("procvision")


def offered(words, place=None, *, environment=None, shell="zsh"):
    """What the script of a shell asks this command for, and gets."""
    done = subprocess.run(
        [sys.executable, "-m", "procvision_runner.cli.main"], capture_output=True, text=True, timeout=60,
        env=dict(environment or os.environ) | {
            "_PROCVISION_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(place if place is not None else len(words.split()) - 1),
        },
    )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    return dict(zip(lines[1::3], lines[2::3], strict=False))


def test_commands_and_options_are_offered():
    assert set(offered("procvision ", 1)) == set(COMMANDS)
    assert "--without-options" in offered("procvision conformance --w")


def test_names_of_installed_algorithms_are_offered(peer_environment):
    """Those of the environment in which the command runs, and nothing of them is imported."""
    for command in ("run", "evaluate", "validate"):
        found = offered(f"procvision {command} misb", environment=peer_environment)
        assert found["misbehaving"] == "of peer-algorithms 1.2.3"
    assert "crash-in-import" in offered("procvision run cra", environment=peer_environment)
    assert set(offered("procvision validate ./some", environment=peer_environment)) == {"./some"}


def test_rows_and_faults_are_offered():
    assert set(offered("procvision conformance --row zero-l")) == {"zero-length", "zero-length-many"}
    assert set(offered("procvision conformance --runner --row setup-")) == {"setup-crash", "setup-error", "setup-hang"}


@pytest.mark.skipif(shutil.which("bash") is None or not PROCVISION.exists(), reason="needs bash and the command")
def test_bash_completes_with_the_script():
    """The real shell: the script is read, its function called as bash calls it."""
    line = (
        f'PATH="{PROCVISION.parent}:$PATH"; source <(procvision completion bash); '
        "complete -p procvision; "
        "COMP_WORDS=(procvision val); COMP_CWORD=1; _procvision_completion procvision val procvision; "
        'echo "offered: ${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert "complete -o nosort -F _procvision_completion procvision" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "offered: validate"


@pytest.mark.parametrize(("shell", "words"), [("fish", "complete --no-files --command procvision"), ("zsh", "compdef")])
def test_other_shells_have_a_script(shell, words, capsys):
    assert status_of(["completion", shell]) == 0
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "more"]])
def test_a_wrong_command_line_is_64(arguments, capsys):
    assert status_of(["completion", *arguments]) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hint: procvision completion --help" in captured.err
