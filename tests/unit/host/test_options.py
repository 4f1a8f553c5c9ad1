"""A host's command line, and its status."""

from __future__ import annotations

import click
import pytest

from procvision_host.__main__ import asked_for, drain_timeout_s
from procvision_host.conversation.status import StatusMachine
from procvision_host.options import HostOptions, parse
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
    with pytest.raises(click.ClickException):
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
    with pytest.raises(click.BadParameter):
        parse(["--algo", "weld", "--drain-timeout-s", text])
