"""What a shell offers for the words of a command line."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from procvision_sdk.manifest.model import ALGORITHM_GROUP


def algorithm_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the installed algorithms, from the metadata of distributions: nothing of them is imported."""
    from importlib_metadata import entry_points

    found = {point.name: point for point in entry_points(group=ALGORITHM_GROUP)}
    return [
        CompletionItem(name, help=f"of {point.dist.metadata['Name']} {point.dist.version}" if point.dist else None)
        for name, point in sorted(found.items())
        if name.startswith(incomplete)
    ]


def projects_and_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files and folders, and the installed algorithms."""
    names = algorithm_names(context, parameter, incomplete)
    return [*names, CompletionItem(incomplete, type="file")]


def row_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the rows of the conformance tables, or with --runner the faults."""
    from procvision_sdk.testing.conformance import load_rows
    from procvision_sdk.testing.conformance.faults import FAULTS

    known: dict[str, str] = (
        {fault.id: fault.title for fault in FAULTS}
        if context.params.get("of_runner")
        else {row.id: row.title for row in load_rows(role="host", kind="process")}
    )
    return [CompletionItem(name, help=title) for name, title in known.items() if name.startswith(incomplete)]
