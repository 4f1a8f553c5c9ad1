"""Signatures of bundles: Ed25519 over `bundle.json`, which holds every other file's hash.

`bundle.sig` is one line with single blanks: `procvision-signature 1 ed25519 KEY SIGNATURE`, and a line feed. KEY is the
SHA-256 of the public key's 32 bytes, SIGNATURE the 64 bytes of RFC 8032, both in lower case hex. Anything else is none.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from procvision_sdk.errors import ErrorCode, ProcVisionError
from procvision_sdk.private_files import write_private
from procvision_sdk.regular_files import read_regular
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.trust_store import ROLE_BUNDLES, TrustedKey, TrustStore, key_id
from procvision_tools.extras import need

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_KEY_BYTES = 16 << 10
_LINE = re.compile(rb"procvision-signature 1 ed25519 ([0-9a-f]{64}) ([0-9a-f]{128})\n")


class KeyFileError(ProcVisionError):
    """A file of a key can't be read or written. The text ends with a hint."""


@frozen
class Unsigned:
    """A bundle that was taken although nobody vouches for it."""

    reason: str


def new_key(name: str, folder: Path) -> tuple[Path, Path, str]:
    """Make a key: `NAME.key`, which stays with its owner, and `NAME.pub`. Give both and the key's id.

    Both are PEM, as OpenSSL reads them: PKCS 8 without a password, and SubjectPublicKeyInfo. Raises KeyFileError.
    """
    need("cryptography", "cryptography", "a key", "sign")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    for path in (secret, public):
        if path.exists():
            raise KeyFileError(f"{path} is there already; hint: another name, or --out FOLDER")
    key = Ed25519PrivateKey.generate()
    pem, spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        write_private(secret, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        write_private(public, key.public_key().public_bytes(pem, spki))
    except OSError as error:
        raise KeyFileError(
            f"{error.filename or folder} can't be written: {error.strerror}; hint: --out FOLDER"
        ) from error
    return secret, public, key_id(key.public_key().public_bytes_raw())


def read_public(path: Path) -> bytes:
    """Give the 32 bytes of a public key's file. Raises KeyFileError."""
    need("cryptography", "cryptography", "a key", "sign")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_regular(path, MAX_KEY_BYTES))
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"{path} is no public key: {_said(error)}; hint: the .pub file of procvision keys new"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path} is no Ed25519 key; hint: procvision keys new makes one")
    return key.public_bytes_raw()


def signer(path: Path) -> Callable[[bytes], bytes]:
    """Give the function that makes the signature file of a `bundle.json`. Raises KeyFileError."""
    secret = read_secret(path)
    return lambda data: signature_file(secret, data)


def read_secret(path: Path) -> Ed25519PrivateKey:
    """Give the key of a secret key's file, which nobody else may read. Raises KeyFileError."""
    need("cryptography", "cryptography", "a signature", "sign")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        status = path.stat()
        key = load_pem_private_key(read_regular(path, MAX_KEY_BYTES), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"{path} is no secret key: {_said(error)}; hint: the .key file of procvision keys new"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is no Ed25519 key; hint: procvision keys new makes one")
    if status.st_mode & 0o077:
        raise KeyFileError(f"{path} is a secret that others may read; hint: chmod 600 {path}")
    return key


def signature_file(key: Ed25519PrivateKey, data: bytes) -> bytes:
    """Give the signature file of these bytes."""
    identity = key_id(key.public_key().public_bytes_raw())
    return f"procvision-signature 1 ed25519 {identity} {key.sign(data).hex()}\n".encode()


def verified(
    data: bytes, signature: bytes | None, distribution: str, store: TrustStore, now: datetime.datetime
) -> TrustedKey:
    """Give the trusted key by which a `bundle.json` is signed. Raises BundleError 2001."""
    if signature is None:
        raise _refused("it is unsigned; hint: procvision package --sign KEY, or --allow-unsigned, which is recorded")
    found = _LINE.fullmatch(signature)
    if found is None:
        raise _refused("its signature is none of the form that is known; hint: procvision package --sign KEY")
    identity = found[1].decode()
    key = store.find(identity)
    if key is None:
        raise _refused(
            f"the key {identity[:16]}… that signed it is not trusted here; hint: procvision keys trust FILE.pub"
        )
    why = key.refusal(now, ROLE_BUNDLES, distribution)
    if why is not None:
        raise _refused(f"the key {key.name} that signed it {why}; hint: procvision keys list")
    need("cryptography", "cryptography", "a signature", "sign")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public: Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(key.public_bytes)
    try:
        public.verify(bytes.fromhex(found[2].decode()), data)
    except InvalidSignature as error:
        raise _refused(
            f"its signature is not {key.name}'s: bundle.json was changed; hint: get it from its vendor"
        ) from error
    return key


def _refused(text: str) -> BundleError:
    return BundleError(ErrorCode.INVALID_PACKAGE, text)


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or "it can't be read"
