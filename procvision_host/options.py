"""The options of a host, as a command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from procvision_sdk.images.meta import MAX_PIXELS
from procvision_sdk.manifest.needs import Need, parse_needs
from procvision_sdk.wire.connection import DEFAULT_HANDSHAKE_TIMEOUT_S
from procvision_sdk.wire.frames import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_PENDING
from procvision_sdk.wire.greeting import MAX_DRAIN_TIMEOUT_S, MIN_DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from procvision_host.hooks.selection import HookChoice

DEFAULT_MAX_SESSION_BYTES = 4 * 1024 * 1024
"""A session carries what was found, not pictures: some kilobytes; this is a thousand times that."""
DEFAULT_SHUTDOWN_GRACE_S = 3.0
"""The protocol's default: how long a running call may still take once the host was asked to leave."""
LOG_LEVELS = ("debug", "info", "warning", "error")
ISOLATION_LEVELS = ("off", "basic", "strict")
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
    sessions: str | None = None
    max_session_bytes: int = DEFAULT_MAX_SESSION_BYTES
    hooks: bool = True
    hook: tuple[str, ...] = ()
    no_hook: tuple[str, ...] = ()
    hook_option: tuple[str, ...] = ()
    config: Path | None = None
    log_level: str = "info"
    isolation: str = "basic"
    isolation_missing: str = "error"
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    working_folder: str = "/"
    env: tuple[str, ...] = ()
    grant: tuple[Need, ...] = ()

    @property
    def max_pixels(self) -> int:
        """The pixel limit of a picture."""
        return int(self.max_megapixels * MEGA)

    def read_config(self, environment: Mapping[str, str]) -> Mapping[str, Any]:
        """Read the configuration file. Raises ConfigurationError if it can't be read."""
        return read_config(self.config, environment)

    def hook_choice(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> HookChoice:
        """Decide which hook plugins are used. Raises ConfigurationError."""
        from procvision_host.algorithm.sessions import chosen_store
        from procvision_host.hooks.selection import choose

        return choose(
            named=self.hooks,
            hook=self.hook,
            no_hook=self.no_hook,
            hook_option=self.hook_option,
            config=config,
            environment=environment,
            store=chosen_store(self.sessions, config, environment).partition(":")[0],
        )


class Finite(click.FloatRange):
    """A number in its range. NaN, which is in no range, and infinity, which no clock has, are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


_CONFIG_KEYS = ("hooks", "sessions", "grants")


def read_config(config: Path | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    """Read the file that the option or the environment names; {} where none does. Raises ConfigurationError."""
    from procvision_host.hooks.selection import CONFIG_VARIABLE, ConfigurationError

    named = config or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    if named is None:
        return {}
    import tomllib

    from procvision_sdk.regular_files import MAX_TEXT_BYTES, read_regular

    try:
        read = tomllib.loads(read_regular(named, MAX_TEXT_BYTES).decode())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the configuration file {named} can't be read: {error}") from None
    for key in sorted(read.keys() - set(_CONFIG_KEYS)):  # `[hook.lamp]` would leave the lamp out, and say nothing
        raise ConfigurationError(f"the configuration file {named} has {key!r}, it may have {', '.join(_CONFIG_KEYS)}")
    return read


def _needs(_context: click.Context, _option: click.Parameter, names: Iterable[str]) -> tuple[Need, ...]:
    """Return the needs of these names; a wrong name is a wrong command line."""
    try:
        return parse_needs(names)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_CONFINING: list[Callable[[Any], Any]] = [
    click.option(
        "--isolation",
        type=click.Choice(ISOLATION_LEVELS),
        default="basic",
        show_default=True,
        help="How far the algorithm is shut in: basic from other processes, strict from network and files, too.",
    ),
    click.option(
        "--isolation-missing",
        type=click.Choice(("error", "warn")),
        default="error",
        show_default=True,
        help="What becomes of a host where this machine can't enforce all of it.",
    ),
    click.option(
        "--readable",
        type=click.Path(path_type=Path, exists=True),
        multiple=True,
        help="With --isolation strict: a file or folder that the algorithm may read, such as a model. Repeatable.",
    ),
    click.option(
        "--writable",
        type=click.Path(path_type=Path, exists=True),
        multiple=True,
        help="With --isolation strict: a file or folder that it may write, too. Repeatable.",
    ),
    click.option(
        "--grant",
        metavar="NEED",
        callback=_needs,
        multiple=True,
        help="With --isolation strict: a need of its manifest that it gets, such as network:10.0.0.5:502. Repeatable.",
    ),
]


_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--algo", metavar="NAME[@DISTRIBUTION][==VERSION]", help="The installed algorithm to run."),
    click.option(
        "--handshake-timeout-s",
        type=Finite(min=0),
        default=DEFAULT_HANDSHAKE_TIMEOUT_S,
        show_default=True,
        help="How long to wait for the runner's hello; 0 waits for ever.",
    ),
    click.option(
        "--shutdown-grace-s",
        type=Finite(min=0, max=9),
        default=DEFAULT_SHUTDOWN_GRACE_S,
        show_default=True,
        help="How long a running call may still take when the host is asked to leave.",
    ),
    click.option(
        "--drain-timeout-s",
        type=Finite(min=MIN_DRAIN_TIMEOUT_S, max=MAX_DRAIN_TIMEOUT_S),
        default=MAX_DRAIN_TIMEOUT_S,
        show_default=True,
        expose_value=False,  # read before the hello, which tells it
        help="How long the host may take to leave in all, whatever still runs: then it is ended.",
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
        type=Finite(min=0, min_open=True),
        default=MAX_PIXELS / MEGA,
        show_default=True,
        help="The largest picture that is opened or decoded.",
    ),
    click.option(
        "--sessions",
        metavar="SCHEME[:REST]",
        help="The session store, such as sqlite:PATH; hook plugins may bring others.  [default: memory]",
    ),
    click.option(
        "--max-session-bytes",
        type=click.IntRange(min=2),
        default=DEFAULT_MAX_SESSION_BYTES,
        show_default=True,
        help="The largest state that a session may have.",
    ),
    *_CONFINING,
    click.option(
        "--working-folder",
        metavar="PATH",
        default="/",
        show_default=True,
        help="Where the algorithm works: what its parameters' relative paths are relative to.",
    ),
    click.option(
        "--env",
        metavar="NAME",
        multiple=True,
        help="An environment variable that the algorithm gets besides those allowed; PREFIX* is several. Repeatable.",
    ),
    click.option(
        "--platform-python",
        metavar="FILE",
        expose_value=False,  # read before the hello: packages are found by it
        help="The interpreter of the platform's environment: host half and hook plugins are of that, the algorithm's "
        "packages of the one that runs. Runners give it for deployments.",
    ),
    click.option(
        "--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="What is logged."
    ),
]


_HOOK_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--no-hooks",
        "hooks",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Use no installed hook plugin but those that the command line names.",
    ),
    click.option(
        "--hook",
        metavar="NAME[@DISTRIBUTION]",
        multiple=True,
        help="Use this installed hook plugin; the host leaves if it can't. Repeatable.",
    ),
    click.option("--no-hook", metavar="NAME", multiple=True, help="Leave this hook plugin out. Repeatable."),
    click.option(
        "--hook-option", metavar="NAME.KEY=VALUE", multiple=True, help="A value for a hook plugin. Repeatable."
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A TOML file with the tables [hooks.NAME], with sessions, and with grants.",
    ),
]


def hook_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Put the options that choose hook plugins onto a click command."""
    for option in reversed(_HOOK_OPTIONS):
        command = option(command)
    return command


def confining_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Put the options that say how far a program is shut in onto a click command."""
    for option in reversed(_CONFINING):
        command = option(command)
    return command


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Put the options above onto a click command."""
    for option in reversed([*_OPTIONS, *_HOOK_OPTIONS]):
        command = option(command)
    return command


@click.command(add_help_option=False)
@run_options
def _run(**values: Any) -> HostOptions:
    return HostOptions(**values)


def parse(arguments: list[str]) -> HostOptions:
    """Parse a command line that names an algorithm. Raises click.ClickException."""
    options: HostOptions = _run.main(arguments, prog_name="procvision-host", standalone_mode=False)
    return options
