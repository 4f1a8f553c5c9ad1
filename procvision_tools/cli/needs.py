"""Needs on a command line."""

from __future__ import annotations

from collections.abc import Iterable

import click


def need_names(_context: click.Context, _option: click.Parameter, names: Iterable[str]) -> tuple[str, ...]:
    """Give each need its one name, as an option's callback; a wrong one is a wrong command line."""
    from procvision_sdk.manifest.needs import parse_needs

    try:
        return tuple(map(str, parse_needs(names)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def grant_names(_context: click.Context, _option: click.Parameter, names: Iterable[str]) -> tuple[str, ...]:
    """Give each grant of a distribution, NEED or ALGORITHM=NEED, its one name; a wrong one is a wrong command line."""
    from procvision_sdk.manifest.needs import parse_grant

    try:
        grants = [parse_grant(name) for name in names]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return tuple(dict.fromkeys(str(need) if whose is None else f"{whose}={need}" for whose, need in grants))
