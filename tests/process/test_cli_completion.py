"""`procvision completion`: what a shell offers."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peer_plugins import environment, install_algorithm

from procvision_tools.cli.main import COMMANDS, status_of

PROCVISION = Path(sys.executable).with_name("procvision")


def offered(words, place=None, *, environment=None, shell="zsh"):
    """What the script of a shell asks this command for, and gets."""
    done = subprocess.run(
        [sys.executable, "-m", "procvision_tools.cli.main"], capture_output=True, text=True, timeout=60,
        env=dict(environment or os.environ) | {
            "_PROCVISION_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(place if place is not None else len(words.split()) - (not words.endswith(" "))),
        },
    )  # fmt: skip
    assert done.stderr == ""
    offers = [line.split("\t") for line in done.stdout.splitlines() if line]
    return {value: told[0] if told else None for _, value, *told in offers}


def test_commands_and_options_are_offered():
    assert set(offered("procvision ", 1)) == {*COMMANDS, "station"}
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


def test_parameters_of_the_named_algorithm_are_offered(peer_environment):
    """From its manifest, of all steps or of the one that is named."""
    for command in ("run", "evaluate", "run --camera any"):
        found = offered(f"procvision {command} steps --param ", 99, environment=peer_environment)
        assert set(found) == {"threshold=", "scale=", "strict=", "serial=", "mode=", "region="}
    of_first = offered("procvision run --step 1 steps --param s", environment=peer_environment)
    assert set(of_first) == {"scale=", "strict="}
    assert set(offered("procvision run steps==1.2.3 --param thr", environment=peer_environment)) == {"threshold="}
    assert set(offered("procvision run steps --param=thr", environment=peer_environment)) == {"--param=threshold="}
    for name in ("no-such-one", "no-manifest", "bad-manifest", "legacy:folder", ""):
        assert offered(f"procvision run {name} --param ", 99, environment=peer_environment) == {}


def test_values_are_offered_where_there_are_few(peer_environment):
    for begun, values in {
        "mode=": {"mode=fast", "mode=exact"},
        "mode=f": {"mode=fast"},
        "strict=": {"strict=true", "strict=false"},
        "threshold=": set(),
        "no-such=": set(),
    }.items():
        assert set(offered(f"procvision run steps --param {begun}", environment=peer_environment)) == values


def test_what_a_vendor_wrote_is_harmless_on_the_terminal(tmp_path):
    """No control character of a description, and no value that a shell would read as something else."""
    params = [
        {"type": "enum", "key": "side", "choices": ["top", "a b", "$(id)"], "description": "Which\nside \x1b[31mis"},
        {"type": "bool", "key": "silent"},
    ]
    install_algorithm(tmp_path, "odd", "", steps=[{"index": 1, "name": "only", "params": params}])
    found = offered("procvision run odd --param s", environment=environment(tmp_path))
    assert found == {"side=": "Which side \\x1b[31mis", "silent=": None}
    assert set(offered("procvision run odd --param side=", environment=environment(tmp_path))) == {"side=top"}


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


SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set bell-style none'; source <(procvision completion bash)",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -Uz compinit; compinit -D -u; bindkey -e; source <(procvision completion zsh)",
    ),
}
"""How a shell is started as its user has it, and what its start-up file says."""


def typed(shell, line, environment):
    """What becomes of a line at the prompt of a real shell when Tab is pressed behind it, and then 7."""
    command, start_up = SHELLS[shell]
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, {**environment, "TERM": "dumb", "PS1": "", "PROMPT": "", "HISTFILE": ""})
    heard = b""

    def say(text, until):
        nonlocal heard
        os.write(terminal, text.encode())
        deadline = time.monotonic() + 60
        while not (found := re.search(until, heard.decode(errors="replace"))):
            ready = select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]
            assert ready, heard
            heard += os.read(terminal, 4096)
        heard = b""
        return found[1]

    try:
        # What is typed is echoed: what the shell prints is told from it by a sum that is no sum yet.
        say(f"{start_up}; echo ready $((40 + 2))\n", r"(ready 42)")
        # To the line's beginning, and `echo` before it: the shell tells what the line is.
        return say(f'{line}\t7\x01echo "[\x05]" $((40 + 2))\n', r"\[(procvision [^\]\r\n]*)\] 42")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("procvision run steps --param thr", "procvision run steps --param threshold=7"),
        ("procvision run steps --param mode=f", "procvision run steps --param mode=fast 7"),
        ("procvision run steps --param=mode=f", "procvision run steps --param=mode=fast 7"),
        ("procvision run steps==1.2.3 --param mode=e", "procvision run steps==1.2.3 --param mode=exact 7"),
        ("procvision val", "procvision validate 7"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.skipif(not PROCVISION.exists(), reason="needs the command")
def test_a_line_is_completed_at_the_prompt_of_a_real_shell(shell, line, completed, peer_environment):
    """A key stays ready for its value, and a value ends the word."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    path = f"{PROCVISION.parent}{os.pathsep}{peer_environment['PATH']}"
    assert typed(shell, line, {**peer_environment, "PATH": path}) == completed


@pytest.mark.skipif(shutil.which("fish") is None or not PROCVISION.exists(), reason="needs fish and the command")
def test_fish_offers_keys_and_values(peer_environment, tmp_path):
    """As it would show them."""
    lines = {
        "--param thr": {"threshold="},
        "--param mode=": {"mode=fast", "mode=exact"},
        "--param=str": {"--param=strict="},
    }
    asked = "; ".join(f"complete -C 'procvision run steps {begun}'" for begun in lines)
    path = f"{PROCVISION.parent}{os.pathsep}{peer_environment['PATH']}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"procvision completion fish | source; {asked}"], capture_output=True, text=True,
        timeout=60, env={**peer_environment, "PATH": path, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == set().union(*lines.values()), done.stderr


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
