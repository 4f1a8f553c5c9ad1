"""The options of a host for click, made from their table: for help, for lines that aren't plain, and for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

import click

from procvision_host.options import (
    CONFINING,
    HOOKS,
    RUNNING,
    Choice,
    Flag,
    Granted,
    HostOptions,
    Number,
    Option,
    Place,
    WrongCommandLineError,
)
from procvision_sdk.manifest.needs import Need, parse_needs

_DEFAULTS = HostOptions(algo="")


class _Finite(click.FloatRange):
    """A number in its range. NaN, which is in no range, and infinity, which no clock has, are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


def _needs(_context: click.Context, _option: click.Parameter, names: Iterable[str]) -> tuple[Need, ...]:
    """Return the needs of these names; a wrong name is a wrong command line."""
    try:
        return parse_needs(names)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _clicks(option: Option) -> Callable[[Any], Any]:
    """Return click's decorator of an option."""
    kind = option.kind
    default = getattr(_DEFAULTS, option.field) if option.kept and option.name != "--algo" else option.default
    if isinstance(kind, Flag):
        return click.option(
            option.name, option.field, is_flag=True, flag_value=kind.meaning, default=default, help=option.help
        )
    more: dict[str, Any] = {} if option.multiple or default is None else {"default": default, "show_default": True}
    if isinstance(kind, Choice):
        more["type"] = click.Choice(kind.texts)
    elif isinstance(kind, Number):
        range_of: Any = click.IntRange if kind.whole else _Finite
        more["type"] = range_of(min=kind.least, max=kind.most, min_open=kind.above)
    elif isinstance(kind, Place):
        more["type"] = click.Path(exists=kind.exists, dir_okay=kind.folder)
    elif isinstance(kind, Granted):
        more["callback"] = _needs
    return click.option(
        option.name,
        metavar=option.metavar,
        multiple=option.multiple,
        expose_value=option.kept,
        help=option.help,
        **more,
    )


def _with(options: Sequence[Option]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = _clicks(option)(command)
        return command

    return decorate


run_options = _with(RUNNING)
"""Puts all options of a host onto a click command."""
hook_options = _with(HOOKS)
"""Puts those that choose hook plugins onto a click command."""
confining_options = _with(CONFINING)
"""Puts those that say how far a program is shut in onto a click command."""


@click.command(add_help_option=False)
@run_options
def _run(**values: Any) -> HostOptions:
    return HostOptions(**values)


def parse(arguments: Sequence[str]) -> HostOptions:
    """Parse a command line that names an algorithm. Raises WrongCommandLineError."""
    try:
        options: HostOptions = _run.main(list(arguments), prog_name="procvision-host", standalone_mode=False)
    except click.ClickException as error:
        raise WrongCommandLineError(error.format_message()) from error
    return options
