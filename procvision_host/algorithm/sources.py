"""Finds the plugins that provide algorithms by scheme, as `legacy:PATH`."""

from __future__ import annotations

import msgspec

from procvision_sdk.installed import Declared, declared
from procvision_sdk.sources import SOURCE_GROUP, Offer


class SourceRow(msgspec.Struct, frozen=True):
    """One installed source; nothing of it is imported until it is asked."""

    scheme: str
    entry_point: str
    distribution: str | None
    distribution_version: str | None
    declared: Declared

    def offer(self, rest: str) -> Offer:
        """Return what the source has under `rest`. Raises what foreign code raises, and TypeError for no offer."""
        offer = self.declared.load()(rest)
        if not isinstance(offer, Offer):
            raise TypeError(
                f"{self.entry_point} gave {type(offer).__name__}, a source gives procvision_sdk.sources.Offer"
            )
        return offer


def sources() -> list[SourceRow]:
    """Return the installed sources by scheme."""
    rows = [
        SourceRow(
            point.name,
            point.value,
            point.distribution,
            point.distribution_version,
            point,
        )
        for point in declared(SOURCE_GROUP)
    ]
    return sorted(rows, key=lambda row: row.scheme)
