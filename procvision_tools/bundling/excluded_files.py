"""What doesn't belong into a package that is given away: secrets, caches, and files that are surprisingly large."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

DEFAULT_MAX_FILE_MB = 100
"""Models of this size exist, and are meant; a forgotten recording is larger than most of them."""
_SCANNED_BYTES = 4 << 20
"""Secrets stand in small files; a model's weights look like anything."""
_SECRET_NAMES = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "id_rsa*", "id_ed25519*", "id_ecdsa*",
    ".netrc", ".pypirc", ".npmrc", ".htpasswd", "credentials", "credentials.json", "*.kdbx", "secrets.*",
)  # fmt: skip
_CACHE_NAMES = (
    "__pycache__", "*.pyc", "*.pyo", ".git", ".hg", ".svn", ".venv", "venv", "node_modules", ".pytest_cache",
    ".mypy_cache", ".ruff_cache", ".tox", ".nox", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "*.swp", "*~",
)  # fmt: skip
_SECRET_TEXTS = {
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    "an access key of AWS": re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    "a token of GitLab": re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}\b"),
    "a token of Slack": re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{10,}\b"),
    "a token of PyPI": re.compile(rb"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}\b"),
    "a password in a URL": re.compile(rb"\b[a-z][a-z0-9+]{2,20}://[^\s/:@'\"{}<>$]+:[^\s/:@'\"{}<>$]+@[a-z0-9]"),
}


def refusals(wheel: Path, max_file_mb: float, allowed: Collection[str]) -> Iterator[str]:
    """Say for each file of a wheel that doesn't belong there which and why; ``allowed`` are paths inside it."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            if not entry.is_dir() and entry.filename not in allowed:
                why = _why(archive, entry, max_file_mb)
                if why is not None:
                    yield f"{entry.filename}: {why}"


def _why(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_file_mb: float) -> str | None:
    path = PurePosixPath(entry.filename)
    if any(fnmatch(path.name, pattern) for pattern in _SECRET_NAMES):
        return "its name is that of a secret"
    if any(fnmatch(part, pattern) for part in path.parts for pattern in _CACHE_NAMES):
        return "a cache or a tool's own file"
    if entry.file_size > max_file_mb * 1e6:
        return f"it has {entry.file_size / 1e6:.1f} MB, the bound is {max_file_mb:g} MB"
    if entry.file_size <= _SCANNED_BYTES:
        data = archive.read(entry)
        return next((f"it holds {what}" for what, pattern in _SECRET_TEXTS.items() if pattern.search(data)), None)
    return None
