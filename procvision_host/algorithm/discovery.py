"""Finds the installed algorithms: entry points become rows of name, manifest, distribution or error.

Nothing of a plugin is imported. The manifest is found next to the module that the entry point names, or in a
package above it; one broken plugin is a row with its reason and leaves the others usable. SCHEME:REST is asked of the
source that is installed for the scheme, and becomes a row like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, TypeVar

import msgspec

from procvision_host.process.packages import OWN_FOLDER
from procvision_sdk.distributions import AmbiguousNameError, canonical, of_one_distribution, split
from procvision_sdk.errors import ManifestError, ProcVisionError
from procvision_sdk.installed import Declared, declared, version_of
from procvision_sdk.manifest.finding import manifest_place
from procvision_sdk.manifest.model import ALGORITHM_GROUP, MANIFEST_FILE, Manifest
from procvision_sdk.manifest.reading import read_manifest

if TYPE_CHECKING:
    from procvision_host.algorithm.sources import SourceRow
    from procvision_sdk.sources import Made

_Row = TypeVar("_Row", "AlgorithmRow", "SourceRow")


class UnknownAlgorithmError(ProcVisionError):
    """No installed algorithm has this name, or not in this version, or it is broken."""


class AlgorithmRow(msgspec.Struct, frozen=True):
    """One installed algorithm, usable if `error` is None."""

    name: str
    entry_point: str
    distribution: str | None
    distribution_version: str | None
    manifest: Manifest | None
    package_folder: str | PathLike[str] | None
    error: str | None
    make: Callable[[], Made] | None = None
    """How its source makes it; None where the entry point names its class."""
    also_in: tuple[str, ...] = ()
    """Other distributions that have an algorithm of this name: it is used only where its distribution is named."""

    @property
    def version(self) -> str | None:
        """The algorithm's version: the manifest's, which is the distribution's."""
        return self.manifest.version if self.manifest else self.distribution_version

    def __repr__(self) -> str:
        return f"AlgorithmRow({self.name!r}, {self.entry_point!r}, {self.version!r}, error={self.error!r})"


def discover(name: str | None = None) -> list[AlgorithmRow]:
    """Return all installed algorithms, or those of one name. Broken ones are rows with an error.

    Of the others' packages nothing but their metadata is read then: what is wrong with them costs this one no time.
    """
    rows = [_row(entry_point) for entry_point in declared(ALGORITHM_GROUP, name)]
    of_a_name: dict[str, set[str]] = {}
    for row in rows:
        of_a_name.setdefault(row.name, set()).add(row.distribution or "?")
    return [
        msgspec.structs.replace(row, also_in=_others(row, of_a_name[row.name]))
        for row in sorted(rows, key=lambda row: (row.name, row.version or ""))
    ]


def _others(row: AlgorithmRow, distributions: set[str]) -> tuple[str, ...]:
    own = canonical(row.distribution or "?")
    return tuple(sorted(other for other in distributions if canonical(other) != own))


def find(requirement: str, rows: list[AlgorithmRow] | None = None) -> AlgorithmRow:
    """Return the row that NAME[@DISTRIBUTION][==VERSION] or SCHEME[@DISTRIBUTION]:REST asks for.

    Raises UnknownAlgorithmError with what there is instead. A name that two distributions have is refused unless the
    distribution is named, whatever their versions: a stranger's package chooses its version itself.
    """
    if ":" in requirement:
        return _sourced(requirement)
    text, _, version = requirement.partition("==")
    try:
        name, distribution = split(text)
    except ValueError as error:
        raise UnknownAlgorithmError(str(error)) from None
    named = discover(name) if rows is None else [row for row in rows if row.name == name]
    if not named:
        known = {row.name for row in rows} if rows is not None else {point.name for point in declared(ALGORITHM_GROUP)}
        import difflib

        names = ", ".join(sorted(known)) or "none"
        close = difflib.get_close_matches(name[:64], known, n=1)
        raise UnknownAlgorithmError(
            f"no algorithm {name!r} is installed in {sys.prefix}; installed: {names}; hint: "
            + (f"did you mean {close[0]}? If not, " if close else "")
            + "pip install the plugin into the host's environment, procvision-host list shows what is there"
        )
    named = _of_one(f"the algorithm {name!r}", named, distribution)
    fitting = [row for row in named if not version or row.version == version]
    if not fitting:
        there = ", ".join(row.version or "?" for row in named)
        raise UnknownAlgorithmError(f"{name} is installed in version {there}, asked for is {version}")
    for row in fitting:
        if row.error is None:
            return row
    raise UnknownAlgorithmError(f"{name} is installed but broken: {fitting[0].error}")


def _of_one(what: str, rows: list[_Row], distribution: str | None) -> list[_Row]:
    try:
        return of_one_distribution(what, rows, lambda row: row.distribution, distribution)
    except AmbiguousNameError as error:
        raise UnknownAlgorithmError(str(error)) from None


def _sourced(requirement: str) -> AlgorithmRow:
    text, _, rest = requirement.partition(":")
    try:
        scheme, distribution = split(text)
    except ValueError as error:
        raise UnknownAlgorithmError(str(error)) from None
    from procvision_host.algorithm.sources import sources

    known = sources()
    found = [source for source in known if source.scheme == scheme]
    if not found:
        schemes = ", ".join(f"{source.scheme}:" for source in known) or "none"
        raise UnknownAlgorithmError(
            f"no source of algorithms is installed in {sys.prefix} for {scheme[:40]!r}; installed: {schemes}; "
            "hint: pip install the plugin that provides it into the host's environment"
        )
    row = _offered(_of_one(f"the source {scheme}:", found, distribution)[0], requirement, rest)
    if row.error is not None:
        raise UnknownAlgorithmError(f"{requirement} can't be used: {row.error}")
    return row


def _offered(source: SourceRow, requirement: str, rest: str) -> AlgorithmRow:
    """Return the row of what a source has under `rest`. Whatever goes wrong there is the row's error."""
    distribution = (source.distribution, source.distribution_version)
    try:
        offer = source.offer(rest)
    except Exception as cause:  # noqa: BLE001 - foreign code: whatever it raises, it is a row
        error = str(cause) if isinstance(cause, ProcVisionError) else f"{type(cause).__name__}: {cause}"
        return AlgorithmRow(requirement, source.entry_point, *distribution, None, None, error)
    manifest = offer.manifest
    return AlgorithmRow(
        manifest.name, manifest.entry_point, *distribution, manifest, offer.package_folder, None, offer.make
    )


def _row(entry_point: Declared) -> AlgorithmRow:
    manifest, folder, error = None, None, None
    name, version = entry_point.distribution, entry_point.distribution_version
    try:
        folder = manifest_place(entry_point.value)
        manifest = read_manifest(f"{folder}/{MANIFEST_FILE}")
        _check_agreement(entry_point, manifest, version)
    except Exception as cause:  # noqa: BLE001 - whatever a plugin's metadata does, it is a row
        error = str(cause) or repr(cause)
    return AlgorithmRow(entry_point.name, entry_point.value, name, version, manifest, folder, error)


def _check_agreement(entry_point: Declared, manifest: Manifest, version: str | None) -> None:
    if manifest.name != entry_point.name:
        raise ManifestError(
            f"the manifest's name is {manifest.name!r}, the entry point's {entry_point.name!r}: they are one name"
        )
    if manifest.entry_point != entry_point.value:
        raise ManifestError(
            f"the manifest's entry_point is {manifest.entry_point!r}, the distribution's {entry_point.value!r}: "
            "they name one class"
        )
    if version is not None and manifest.version != version:
        raise ManifestError(
            f"the manifest's version is {manifest.version!r}, the distribution's {version!r}: they are one version; "
            "hint: after a change of pyproject.toml install it again, also where it is installed with pip's -e"
        )


def host_version() -> str:
    """Return the version of the installed procvision distribution: of the one that this is, where that is known."""
    return version_of("procvision", [OWN_FOLDER]) or version_of("procvision") or "0+unknown"
