"""A host's command line, and its status."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procvision_host import command_line
from procvision_host.__main__ import asked_for, drain_timeout_s
from procvision_host.conversation.status import StatusMachine
from procvision_host.options import (
    RUNNING,
    Choice,
    Flag,
    Granted,
    HostOptions,
    Number,
    Option,
    Place,
    Text,
    WrongCommandLineError,
    parse,
    plain,
)
from procvision_runner import RunnerOptions
from procvision_runner.connection.launch import host_command
from procvision_sdk.wire.tables import HostStatus


def test_defaults_are_the_protocols() -> None:
    """Whether they are asked for or not."""
    assert parse(["--algo", "weld"]) == HostOptions(algo="weld")
    options = HostOptions(algo="weld")
    assert (options.handshake_timeout_s, options.shutdown_grace_s, options.max_pending) == (2.0, 3.0, 4)
    assert (options.max_frame_bytes, options.max_pixels) == (64 << 20, 200_000_000)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-pending", "0"],
        ["--max-pending", "many"],
        ["--max-frame-bytes", "10"],
        ["--max-frame-bytes", str(2**32)],
        ["--handshake-timeout-s", "-1"],
        ["--handshake-timeout-s", "nan"],
        ["--handshake-timeout-s", "inf"],
        ["--shutdown-grace-s", "10"],
        ["--shutdown-grace-s", "NaN"],
        ["--drain-timeout-s", "0"],
        ["--drain-timeout-s", "11"],
        ["--drain-timeout-s", "nan"],
        ["--max-megapixels", "inf"],
        ["--max-megapixels", "0"],
        ["--log-level", "loud"],
        ["--unheard-of"],
        ["--algo"],
        ["weld"],
    ],
    ids=str,
)
def test_value_out_of_its_bounds_is_refused(arguments: list[str]) -> None:
    """The grace stays below the watchdog's ten seconds."""
    with pytest.raises(WrongCommandLineError):
        parse(["--algo", "weld", *arguments])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--algo", "weld"], "weld"),
        (["--algo=weld==1.0"], "weld==1.0"),
        (["--max-pending", "2", "--algo", "weld"], "weld"),
        (["--algo"], None),
        (["list"], None),
        ([], None),
        (["--algo", "weld", "--help"], None),
        (["-h", "--algo", "weld"], None),
        (["--version", "--algo", "weld"], None),
    ],
    ids=str,
)
def test_name_is_read_before_anything_is_imported(arguments: list[str], name: str | None) -> None:
    """The hello needs no more of the command line."""
    assert asked_for(arguments) == name


def test_status_follows_its_table() -> None:
    """And refuses what the table doesn't know."""
    status = StatusMachine()
    for event, now in [
        ("loaded", HostStatus.READY),
        ("call", HostStatus.EXECUTING),
        ("answered", HostStatus.READY),
        ("call", HostStatus.EXECUTING),
        ("drain", HostStatus.DRAINING),
        ("answered", HostStatus.DRAINING),
    ]:
        status.on(event)
        assert status.now is now
    with pytest.raises(KeyError):
        StatusMachine().on("call")


@pytest.mark.parametrize(
    ("arguments", "expected_s"),
    [
        ([], 10.0),
        (["--drain-timeout-s", "4"], 4.0),
        (["--drain-timeout-s=0.5", "--algo", "weld"], 0.5),
        (["--drain-timeout-s", "4", "--drain-timeout-s", "2"], 2.0),
    ],
    ids=str,
)
def test_the_time_that_the_hello_tells_is_the_last_one_given(arguments: list[str], expected_s: float) -> None:
    """Click takes the last one too, and finds nothing wrong with it."""
    assert drain_timeout_s(arguments) == expected_s
    parse(["--algo", "weld", *arguments])


@pytest.mark.parametrize("text", ["0", "-1", "11", "nan", "inf", "soon", ""])
def test_what_will_be_refused_is_not_told_in_the_hello(text: str) -> None:
    """The default holds until the host has said what is wrong."""
    assert drain_timeout_s(["--drain-timeout-s", text]) == 10.0
    assert drain_timeout_s(["--drain-timeout-s"]) == 10.0
    with pytest.raises(WrongCommandLineError):
        parse(["--algo", "weld", "--drain-timeout-s", text])


NUMBERS = (
    "0",
    "1",
    "2.0",
    "0.5",
    "3",
    "1024",
    "1e3",
    "1_000",
    " 7",
    "-1",
    "nan",
    "inf",
    "٣",
    "5.",
    ".5",
    "9" * 20,
    "4",
)
TEXTS = ("weld", "basic", "strict", "warn", "error", "info", "loud", "", "-", "--algo", "a=b", "ä\udcff", "lamp.key=-1")
PATHS = ("/", "/etc/passwd", "/nowhere/at/all", ".")
NEEDS = ("read:/srv/models", "read:/srv//models", "network:10.0.0.5:502", "network:10.0.0.5", "memory:8000MB")
NAMES = (*(option.name for option in RUNNING), "--help", "--al", "--", "-x", "list")
VALUES = (*NUMBERS, *TEXTS, *PATHS, *NEEDS)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Right, odd and wrong options in any order, each with a value beside it, joined to it, or alone."""
    pieces = [["--algo", "weld"]] * draw(st.integers(0, 1))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=5)):
        value = draw(st.sampled_from(VALUES))
        pieces.append(draw(st.sampled_from(([name, value], [f"{name}={value}"], [name]))))
    return [word for piece in draw(st.permutations(pieces)) for word in piece]


@given(command_lines())
def test_a_plain_line_is_read_as_click_reads_it(line: list[str]) -> None:
    """Whatever stands in it; what isn't plain is left to click, which may refuse it."""
    found = plain(line)
    if found is not None:
        assert found == command_line.parse(line)


@pytest.mark.parametrize("option", RUNNING, ids=lambda option: option.name)
def test_every_option_is_plain_as_it_is_usually_written(option: Option, tmp_path: Path) -> None:
    """So a launch with any of them imports no click."""
    usual: dict[type[object], object] = {Text: "weld", Place: tmp_path / "file", Granted: "read:/srv/models"}
    if isinstance(option.kind, Choice):
        usual[Choice] = option.kind.texts[-1]
    elif isinstance(option.kind, Number):
        usual[Number] = 2048 if option.kind.whole and option.kind.least > 2 else 2
    (tmp_path / "file").touch()
    words = [option.name] if isinstance(option.kind, Flag) else [option.name, str(usual[type(option.kind)])]
    line = ["--algo", "weld", *words]
    assert plain(line) is not None
    assert plain(line) == command_line.parse(line)


def test_what_a_runner_writes_is_plain(tmp_path: Path) -> None:
    """With all that its options can put onto the line."""
    options = RunnerOptions(
        isolation="strict",
        isolation_missing="warn",
        working_folder=tmp_path,
        grants=("network:[::1]:502", "memory:8000MB"),
        readable=(tmp_path,),
        host_arguments=("--sessions", "sqlite:/x?ttl_s=5", "--hook", "lamp", "--hook-option", "lamp.key=a=b"),
    )
    command = host_command("weld@one==1.0", None, options)
    line = list(command[command.index("--algo") :])
    found = plain(line)
    assert found is not None
    assert found == command_line.parse(line)
    assert (found.isolation, found.hook_option) == ("strict", ("lamp.key=a=b",))
