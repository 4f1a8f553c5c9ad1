"""What can be said of a bundle without installing it: rows for people, and the verdict on whether it may go on."""

from __future__ import annotations

import datetime
from pathlib import Path

from attrs import frozen

from procvision_testing import Finding
from procvision_tools.bundling.bundle import Bundle, read_signed, unpack
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.signing import verified
from procvision_tools.bundling.trust_store import TrustedKey, TrustStore
from procvision_tools.hints import split_hint


@frozen
class Examined:
    """The rows, the unpacked bundle where it is sound, and whose key signed it."""

    findings: tuple[Finding, ...]
    bundle: Bundle | None
    key: TrustedKey | None
    refusal: BundleError | None
    """Why it must not be used."""


def examined(
    path: Path,
    folder: Path,
    store: TrustStore,
    *,
    allow_unsigned: bool = False,
    now: datetime.datetime | None = None,
) -> Examined:
    """Look at a bundle's signature, then at all of it. It is unpacked into ``folder``.

    A signature that is there is verified also where ``allow_unsigned`` lets a bundle without one pass.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    findings: list[Finding] = []
    refusals: list[BundleError] = []
    key = bundle = None
    title = "a key that is trusted here has signed it"
    try:
        data, signature, index = read_signed(path)
        if signature is None and allow_unsigned:
            findings.append(Finding(title, "warning", "it is unsigned, and allowed to be", "sign what goes to a line"))
        else:
            key = verified(data, signature, index.distribution, store, now)
            findings.append(Finding(title, detail=f"{key.name}, {key.id[:16]}"))
    except BundleError as error:
        findings.append(_failed(title, error))
        refusals.append(error)
    title = "the bundle is whole, and as it was made"
    try:
        bundle = unpack(path, folder)
        detail = f"{len(bundle.index.files)} files, every hash is right"
        if key is not None:
            findings.append(Finding(title, detail=detail))
        else:
            # Anybody can make the hashes anew: without a signature they say that nothing was damaged.
            findings.append(Finding("every file has the hash that the bundle states", detail=detail))
        detail = f"{len(bundle.wheels)} wheels for {bundle.target}"
        findings.append(Finding("everything that it needs on its target is in it", detail=detail))
    except BundleError as error:
        findings.append(_failed(title, error))
        refusals.append(error)
    return Examined(tuple(findings), bundle, key, refusals[0] if refusals else None)


def _failed(title: str, error: BundleError) -> Finding:
    message, hint = split_hint(str(error))
    return Finding(title, "failed", f"[{error.error_code}] {message}", hint)
