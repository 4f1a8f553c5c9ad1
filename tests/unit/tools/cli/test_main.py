"""The command's frame: help, version, errors, exit statuses."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys

import click
import pytest

from procvision_tools.cli import exits, main, program
from procvision_tools.cli.errors import CommandError


def fails_with(monkeypatch, error):
    @click.command()
    def broken():
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: broken)
    return main.status_of(["broken"])


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ConnectionResetError(104, "reset")])
def test_another_pipe_that_broke_is_told(monkeypatch, capfd, error):
    """Nothing is said only where nobody hears it."""
    assert fails_with(monkeypatch, error) == exits.ERROR
    assert error.strerror in capfd.readouterr().err


def test_every_command_is_there_and_has_help(capsys):
    for name, home in main.COMMANDS.items():
        module, _, attribute = home.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
        assert main.status_of([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert "Examples:" in out
        assert f"procvision {name}" in out
        assert "Exit statuses:" in out


def test_the_groups_help_and_version(capsys):
    assert main.status_of(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in main.COMMANDS)
    assert main.status_of(["--version"]) == 0
    assert capsys.readouterr().out.startswith("procvision ")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["run"], ["run", "x"], ["run", "x", "--image", "/absent"]]
)
def test_a_wrong_command_line_is_64_with_a_hint(arguments, capsys):
    assert main.status_of(arguments) == exits.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.splitlines()[-1].startswith("hint: procvision")
    assert captured.out == ""


def test_the_name_alone_shows_what_there_is(capsys):
    assert main.status_of([]) == exits.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(name in captured.err for name in main.COMMANDS)


def test_a_mistyped_command_is_named_as_it_was_meant(capsys):
    assert main.status_of(["rnu"]) == exits.USAGE
    assert "Did you mean 'run'?" in capsys.readouterr().err


def test_each_commands_line_in_the_help_is_whole(capsys, monkeypatch):
    """On the narrowest usual terminal: a line that ends in dots doesn't say what it is for."""
    monkeypatch.setenv("COLUMNS", "80")
    main.status_of(["--help"])
    commands = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in commands] == main.cli.list_commands(click.Context(main.cli))
    assert not any(line.endswith("...") for line in commands)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (CommandError("it broke\nsecond", "mend it"), exits.ERROR, "error: it broke\n  second\nhint: mend it\n"),
        (CommandError("x", status=7), 7, "error: x\n"),
        (click.ClickException("y"), exits.ERROR, "error: y\n"),
        (KeyboardInterrupt(), exits.INTERRUPTED, "\nerror: interrupted\n"),
    ],
)
def test_an_error_is_told_and_becomes_a_status(error, status, text, monkeypatch, capsys):
    assert fails_with(monkeypatch, error) == status
    assert capsys.readouterr().err.lstrip("\n") == text.lstrip("\n")


def test_help_imports_nothing_heavy():
    """What a command needs is imported when it runs."""
    code = (
        "import sys; from procvision_tools.cli.main import status_of; status_of(['run', '--help']);"
        "print(sorted({'numpy', 'PIL', 'jinja2'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_suggested_commands_name_the_program_as_it_is_found(monkeypatch, tmp_path):
    bin_folder = tmp_path / "venv" / "bin"
    bin_folder.mkdir(parents=True)
    started = bin_folder / "procvision"
    started.write_text("")
    monkeypatch.setattr(sys, "argv", [str(started)])
    monkeypatch.setattr(shutil, "which", lambda _: str(started))
    assert program.program() == "procvision"
    assert program.program("procvision-host") == "procvision-host"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.chdir(tmp_path)
    assert program.program("procvision-host") == "venv/bin/procvision-host"
    monkeypatch.chdir("/")
    assert program.program() == str(started).lstrip("/")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    assert program.program() == "procvision"


def distribution(folder, name, **commands):
    """A distribution that adds commands, on a search path of its own."""
    metadata = folder / name / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{command} = {home}\n" for command, home in commands.items())
    (metadata / "entry_points.txt").write_text(f"[procvision.commands]\n{lines}")
    (folder / name / f"{name}_module.py").write_text(
        "import click\n@click.command()\ndef greet():\n    click.echo('hello')\n    return 7\nnumber = 5\n"
    )
    return folder / name


def test_another_distribution_adds_a_command_and_takes_none_of_ours(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(distribution(tmp_path, "one", greet="one_module:greet", run="one_module:greet"))
    assert main.status_of(["greet"]) == 7
    assert capsys.readouterr().out == "hello\n"
    assert main.status_of(["run", "--help"]) == 0
    assert "Inspect" in capsys.readouterr().out
    assert main.status_of(["greeet"]) == exits.USAGE
    assert "Did you mean 'greet'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("home", "reason"),
    [
        ("one_module:number", "is int, no click command"),
        ("one_module:gone", "AttributeError"),
        ("gone_module:greet", "ModuleNotFoundError"),
    ],
)
def test_a_command_that_cant_be_used_says_why_and_leaves_the_others(home, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(distribution(tmp_path, "one", broken=home, greet="one_module:greet"))
    assert main.status_of(["--help"]) == 0
    assert "can't be used" in capsys.readouterr().out
    assert main.status_of(["broken"]) == exits.ERROR
    assert reason in capsys.readouterr().err
    assert main.status_of(["greet"]) == 7


def test_a_command_of_two_distributions_is_nobodys(tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        monkeypatch.syspath_prepend(distribution(tmp_path, name, greet=f"{name}_module:greet"))
    assert main.status_of(["greet"]) == exits.ERROR
    assert "it is in the distributions two and one" in capsys.readouterr().err
