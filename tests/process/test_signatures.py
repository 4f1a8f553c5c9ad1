"""Whose bundle it is: made, trusted, ended, revoked; and no byte of a signed bundle can be another."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("packaging.metadata", reason="packaging reads wheels")
pytest.importorskip("cryptography", reason="the extra sign")
import other_bundle_tool
from made_wheels import algorithm_wheel, make_wheel

from procvision_tools.bundling.bundle import read_signed, unpack
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.examining import examined
from procvision_tools.bundling.signing import verified
from procvision_tools.bundling.trust_store import TrustError, TrustStore
from procvision_tools.cli.main import status_of

NOW = datetime.datetime.now(datetime.UTC)


def procvision(*arguments, folder):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = status_of([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A vendor's key, a bundle that it signed, and a station's store that trusts it."""
    folder = tmp_path_factory.mktemp("signed")
    for arguments in (
        ["keys", "new", "acme"],
        ["keys", "trust", "acme.pub", "--keys", "keys.json", "--for", "seam-check"],
        ["package", algorithm_wheel(folder), "--no-index", "--sign", "acme.key", "--out", "x.zip"],
    ):
        done = procvision(*arguments, folder=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_signed_bundle_is_verified_by_hand(place):
    done = procvision("verify", "x.zip", "--keys", "keys.json", folder=place)
    assert done.returncode == 0, done.stdout
    assert "a key that is trusted here has signed it: acme" in done.stdout
    assert "the bundle is whole, and as it was made" in done.stdout


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed")
def test_another_tool_verifies_by_the_reference_alone(place, tmp_path):
    with zipfile.ZipFile(place / "x.zip") as bundle:
        (tmp_path / "index").write_bytes(bundle.read("bundle.json"))
        words = bundle.read("bundle.sig").decode().split(" ")
    assert words[:3] == ["procvision-signature", "1", "ed25519"]
    (tmp_path / "signature").write_bytes(bytes.fromhex(words[4]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", place / "acme.pub", "-rawin", "-in",
               tmp_path / "index", "-sigfile", tmp_path / "signature"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout, done.stderr


def other_tool(*words, folder):
    command = [sys.executable, "-I", other_bundle_tool.__file__, *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_tool_that_knows_the_reference_alone_verifies_what_we_make(place):
    done = other_tool("verify", "x.zip", "acme.pub", folder=place)
    assert done.stdout == "seam-check==1.0\n", done.stderr
    source = Path(other_bundle_tool.__file__).read_text("utf-8")
    assert "import procvision" not in source
    assert "from procvision" not in source


def test_what_a_tool_makes_that_knows_the_reference_alone_is_taken(place, tmp_path):
    with zipfile.ZipFile(place / "x.zip") as bundle:
        index = json.loads(bundle.read("bundle.json"))
        bundle.extractall(tmp_path)
    target = index["target"]
    wheels = sorted((tmp_path / "wheels").iterdir())
    done = other_tool("make", tmp_path / "y.zip", "acme.key", "seam-check", "1.0", target["platform"], target["python"],
                      target["abi"], tmp_path / "manifests" / "seam-check.json", *wheels, folder=place)  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken = procvision("verify", tmp_path / "y.zip", "--keys", "keys.json", folder=place)
    assert taken.returncode == 0, taken.stdout
    assert "the bundle is whole, and as it was made" in taken.stdout


def test_secrets_and_the_store_are_their_owners_alone(place):
    old = os.umask(0)
    try:
        assert procvision("keys", "new", "open", folder=place).returncode == 0
        done = procvision("keys", "trust", "open.pub", "--keys", "sub/keys.json", folder=place)
        assert done.returncode == 0, done.stderr
    finally:
        os.umask(old)
    for name in ("open.key", "sub/keys.json"):
        assert (place / name).stat().st_mode & 0o777 == 0o600
    (place / "open.key").chmod(0o640)
    done = procvision("package", ".", "--sign", "open.key", folder=place)
    assert done.returncode == 2
    assert "others may read; hint" in done.stderr.replace("\n", "; ")
    (place / "sub/keys.json").chmod(0o660)
    done = procvision("verify", "x.zip", "--keys", "sub/keys.json", folder=place)
    assert done.returncode == 2
    assert "could be changed by others" in done.stderr


def test_an_unsigned_bundle_is_run_only_where_that_is_allowed(tmp_path):
    done = procvision("package", algorithm_wheel(tmp_path), "--no-index", "--out", "x.zip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = procvision("validate", "x.zip", "--keys", "none.json", folder=tmp_path)
    assert done.returncode == 1
    assert "FAILED  a key that is trusted here has signed it: [2001] it is unsigned" in done.stdout
    assert "skipped  it can be installed without a network: nothing of it is run" in done.stdout
    assert "as it was made" not in done.stdout
    done = procvision("validate", "x.zip", "--keys", "none.json", "--allow-unsigned", "--json", folder=tmp_path)
    rows = json.loads(done.stdout)["algorithms"][0]["findings"]
    assert rows[0]["level"] == "warning"
    assert any(row["title"].startswith("it can be installed") and row["level"] == "ok" for row in rows)


def store_with(folder, place, **changes):
    """The station's store with its one key changed."""
    held = json.loads((place / "keys.json").read_text())
    held["keys"][0] |= changes
    (folder / "changed.json").write_text(json.dumps(held))
    (folder / "changed.json").chmod(0o600)
    return TrustStore.read(folder / "changed.json")


YESTERDAY = (NOW - datetime.timedelta(days=1)).date().isoformat()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"until": YESTERDAY}, f"the key acme that signed it ended on {YESTERDAY}"),
        ({"revoked": "2026-01-02T03:04:05+00:00", "why": "lost"}, "was revoked on 2026-01-02: lost"),
        ({"roles": []}, "has no role bundles"),
        ({"distributions": ["other"]}, "is trusted for other, not for seam-check"),
    ],
)
def test_a_key_counts_for_what_it_was_trusted_with(changes, words, place, tmp_path):
    data, signature, index = read_signed(place / "x.zip")
    store = store_with(tmp_path, place, **changes)
    for allowed in (False, True):  # a bad signature is worse than none
        seen = examined(place / "x.zip", tmp_path / f"into-{allowed}", store, allow_unsigned=allowed)
        assert seen.refusal is not None
        assert seen.refusal.error_code == "2001"
        assert words in str(seen.refusal)
    good = store_with(tmp_path, place, until=NOW.date().isoformat())
    assert verified(data, signature, index.distribution, good, NOW).name == "acme"


def test_a_store_is_changed_by_commands_and_a_revoked_key_stays_revoked(place, tmp_path):
    shutil.copy2(place / "keys.json", tmp_path / "keys.json")
    shutil.copy2(place / "acme.pub", tmp_path / "acme.pub")
    assert procvision("keys", "new", "other", folder=tmp_path).returncode == 0

    def run(*arguments):
        return procvision("keys", *arguments, "--keys", "keys.json", folder=tmp_path)

    assert "another key is called acme" in run("trust", "other.pub", "--name", "acme").stderr
    assert run("trust", "other.pub", "--until", "2031-02-03", "--for", "b", "--for", "a").returncode == 0
    rows = {key["name"]: key for key in json.loads(run("list", "--json").stdout)["keys"]}
    assert (rows["other"]["until"], rows["other"]["distributions"]) == ("2031-02-03", ["a", "b"])
    assert run("revoke", rows["acme"]["id"][:12], "--why", "left").returncode == 0
    assert "revoked" in run("list").stdout
    done = run("trust", "acme.pub", "--name", "acme")
    assert done.returncode == 2
    assert "it isn't trusted again" in done.stderr
    assert run("revoke", "nobody").returncode == 2
    assert run("trust", "keys.json").returncode == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "keys": []}', '{"format": 1, "keys": [{}]}'])
def test_a_store_that_cannot_be_read_trusts_nobody(text, tmp_path):
    (tmp_path / "keys.json").write_text(text)
    (tmp_path / "keys.json").chmod(0o600)
    if text:
        with pytest.raises(TrustError, match="hint: "):
            TrustStore.read(tmp_path / "keys.json")
    else:
        assert TrustStore.read(tmp_path / "keys.json").keys == []


def spans(path):
    """Where in the file the bytes of index and signature lie."""
    found = []
    with zipfile.ZipFile(path) as bundle:
        for name in ("bundle.json", "bundle.sig"):
            entry = bundle.getinfo(name)
            start = entry.header_offset + 30 + len(name)
            found += range(start, start + entry.file_size)
    return found


def test_every_flipped_byte_is_refused(place, tmp_path):
    """All of index and signature, and a sample of the rest: headers, directory, manifests, wheels."""
    store = TrustStore.read(place / "keys.json")
    data = (place / "x.zip").read_bytes()
    chosen = spans(place / "x.zip")
    rest = sorted({*range(len(data))} - {*chosen})
    every = os.environ.get("PROCVISION_FLIPS") == "all"
    sample = rest if every else random.Random(15).sample(rest, 200)
    broken = tmp_path / "broken.zip"
    public = (place / "acme.pub").read_bytes()
    passed = []
    for at in [*chosen, *sample]:
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        broken.write_bytes(changed)
        try:
            index, signature, said = read_signed(broken)
            verified(index, signature, said.distribution, store, NOW)
            unpack(broken, tmp_path / "into")
        except BundleError:
            try:
                other_bundle_tool.verify(bytes(changed), public)
            except (other_bundle_tool.RefusedError, ValueError):
                continue
        passed.append(at)
    assert passed == []


@pytest.mark.parametrize("more", [b"", b"\0", b"PK\x05\x06" + b"\0" * 18])
def test_bytes_before_or_behind_a_signed_bundle_are_refused(more, place, tmp_path):
    store = TrustStore.read(place / "keys.json")
    for data in ((place / "x.zip").read_bytes() + more, more + (place / "x.zip").read_bytes()):
        (tmp_path / "y.zip").write_bytes(data)
        seen = examined(tmp_path / "y.zip", tmp_path / "into", store)
        assert (seen.refusal is None) == (not more)


def test_another_bundles_signature_is_not_this_ones(place, tmp_path):
    """Files of one, index and signature of the other; and the signature alone."""
    wheel = make_wheel(tmp_path, "lamp", entry_points="[procvision.hooks]\nlamp = lamp:plugin\n")
    done = procvision("package", wheel, "--no-index", "--sign", place / "acme.key", "--out", "y.zip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "y.zip") as other:
        foreign = other.read("bundle.sig")
    with zipfile.ZipFile(place / "x.zip") as own, zipfile.ZipFile(tmp_path / "z.zip", "w") as mixed:
        for name in own.namelist():
            mixed.writestr(name, foreign if name == "bundle.sig" else own.read(name))
    seen = examined(tmp_path / "z.zip", tmp_path / "into", TrustStore.read(place / "keys.json"))
    assert "bundle.json was changed" in str(seen.refusal)
