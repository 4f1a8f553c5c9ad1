"""The options of a host, as a command line gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import click

from procvision_sdk.images.meta import MAX_PIXELS
from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S, DEFAULT_MAX_PENDING
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES

DEFAULT_SHUTDOWN_GRACE_S = 3.0
"""The protocol's default: how long a running call may still take once the host was asked to leave."""
LOG_LEVELS = ("debug", "info", "warning", "error")
MEGA = 1_000_000


@attrs.frozen(kw_only=True)
class HostOptions:
    """What `procvision-host --algo NAME` was asked for."""

    algo: str
    handshake_timeout_s: float = DEFAULT_HANDSHAKE_TIMEOUT_S
    shutdown_grace_s: float = DEFAULT_SHUTDOWN_GRACE_S
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    max_pending: int = DEFAULT_MAX_PENDING
    max_megapixels: float = MAX_PIXELS / MEGA
    sessions: str = "memory"
    hooks: bool = True
    log_level: str = "info"

    @property
    def max_pixels(self) -> int:
        """The pixel limit of a picture."""
        return int(self.max_megapixels * MEGA)


_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--algo", metavar="NAME[==VERSION]", help="The installed algorithm to run."),
    click.option(
        "--handshake-timeout-s",
        type=click.FloatRange(min=0),
        default=DEFAULT_HANDSHAKE_TIMEOUT_S,
        show_default=True,
        help="How long to wait for the runner's hello; 0 waits for ever.",
    ),
    click.option(
        "--shutdown-grace-s",
        type=click.FloatRange(min=0, max=9),
        default=DEFAULT_SHUTDOWN_GRACE_S,
        show_default=True,
        help="How long a running call may still take when the host is asked to leave.",
    ),
    click.option(
        "--max-frame-bytes",
        type=click.IntRange(min=1024, max=2**32 - 1),
        default=DEFAULT_MAX_FRAME_BYTES,
        show_default=True,
        help="The largest frame that is taken or sent.",
    ),
    click.option(
        "--max-pending",
        type=click.IntRange(min=1, max=1024),
        default=DEFAULT_MAX_PENDING,
        show_default=True,
        help="How many calls may wait for their answer.",
    ),
    click.option(
        "--max-megapixels",
        type=click.FloatRange(min=0, min_open=True),
        default=MAX_PIXELS / MEGA,
        show_default=True,
        help="The largest picture that is opened or decoded.",
    ),
    click.option(
        "--sessions",
        metavar="SCHEME[:REST]",
        default="memory",
        show_default=True,
        help="The session store; hook plugins may bring others.",
    ),
    click.option("--hooks/--no-hooks", default=True, show_default=True, help="Load the installed hook plugins."),
    click.option(
        "--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="What is logged."
    ),
]


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Puts the options above onto a click command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(add_help_option=False)
@run_options
def _run(**values: Any) -> HostOptions:
    return HostOptions(**values)


def parse(arguments: list[str]) -> HostOptions:
    """The options of a command line that names an algorithm. Raises click.ClickException."""
    options: HostOptions = _run.main(arguments, prog_name="procvision-host", standalone_mode=False)
    return options
