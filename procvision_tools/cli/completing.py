"""What a shell offers for the words of a command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from procvision_tools.report.text import printable

if TYPE_CHECKING:
    from procvision_sdk.manifest.parameters import Parameter


def algorithm_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the installed algorithms, from the metadata of distributions: nothing of them is imported."""
    from procvision_sdk.installed import declared
    from procvision_sdk.manifest.model import ALGORITHM_GROUP

    found = {point.name: point for point in declared(ALGORITHM_GROUP)}
    return [
        CompletionItem(name, help=point.distribution and f"of {point.distribution} {point.distribution_version}")
        for name, point in sorted(found.items())
        if name.startswith(incomplete)
    ]


def projects_and_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files and folders, and the installed algorithms."""
    names = algorithm_names(context, parameter, incomplete)
    return [*names, CompletionItem(incomplete, type="file")]


def param_pairs(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the parameters that the named algorithm's manifest declares, ``key=``; behind it the values, where few."""
    key, equals, _begun = incomplete.partition("=")
    parameters = {parameter.key: parameter for parameter in _declared(_algorithm_of(context), context)}
    if not equals:
        found = {f"{parameter.key}=": _in_words(parameter) for parameter in parameters.values()}
    elif key in parameters:
        found = {f"{key}={value}": None for value in _values(parameters[key])}
    else:
        found = {}
    return [CompletionItem(pair, help=told) for pair, told in found.items() if pair.startswith(incomplete)]


def _algorithm_of(context: click.Context) -> str:
    """Return the name on the line: click reads no arguments of a line that ends with an option without its value."""
    given = context.params.get("algorithm") or next(iter(context.args), "")
    return str(given).partition("==")[0].partition("@")[0]


def _declared(algorithm: str, context: click.Context) -> Iterable[Parameter]:
    """Return the parameters of the algorithm, of the step that is named or of all; none where there is no manifest."""
    from procvision_sdk.errors import ManifestError
    from procvision_sdk.installed import declared
    from procvision_sdk.manifest.finding import manifest_folder
    from procvision_sdk.manifest.model import ALGORITHM_GROUP, MANIFEST_FILE
    from procvision_sdk.manifest.reading import read_manifest

    for point in declared(ALGORITHM_GROUP, algorithm):
        try:
            manifest = read_manifest(manifest_folder(point.value) / MANIFEST_FILE)
        except ManifestError:
            continue
        only = context.params.get("step_index")
        return [parameter for step in manifest.steps if only in (None, step.index) for parameter in step.params]
    return []


def _in_words(parameter: Parameter) -> str | None:
    # A manifest is a vendor's: nothing of it reaches the terminal as a control character.
    return printable(" ".join(parameter.description.split())) or None


def _values(parameter: Parameter) -> Iterable[str]:
    from procvision_sdk.manifest.parameters import BoolParameter, EnumParameter

    if isinstance(parameter, BoolParameter):
        return ("true", "false")
    if isinstance(parameter, EnumParameter):
        # A shell inserts them as they are: one that has to be quoted would become something else.
        return [choice for choice in parameter.choices if shlex.quote(choice) == choice]
    return ()


def row_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the rows of the conformance tables, or with --runner the faults."""
    from procvision_testing.conformance import load_rows
    from procvision_testing.conformance.faults import FAULTS

    known: dict[str, str] = (
        {fault.id: fault.title for fault in FAULTS}
        if context.params.get("of_runner")
        else {row.id: row.title for row in load_rows(role="host", kind="process")}
    )
    return [CompletionItem(name, help=title) for name, title in known.items() if name.startswith(incomplete)]
