"""Bundles that would hurt a station are refused before anything of them is unpacked, installed or run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("packaging.metadata", reason="packaging reads wheels")
from made_wheels import algorithm_wheel, make_wheel

from procvision_tools.bundling.archives import opened_archive
from procvision_tools.bundling.bundle import unpack
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.native import misfits
from procvision_tools.bundling.target import Target
from procvision_tools.bundling.wheels import Wheel
from procvision_tools.cli.main import status_of

HERE = Target.of()


def bundle_of(folder, *wheels, raw=None, target=HERE):
    """A bundle as anybody may write one: whatever is in it, with right hashes."""
    with zipfile.ZipFile(wheels[0]) as wheel:
        manifest = wheel.read("seam_check/manifest.json")
    held = {"manifests/seam-check.json": manifest, **{f"wheels/{path.name}": path.read_bytes() for path in wheels}}
    held |= raw or {}
    listed = [
        {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in held.items()
    ]
    names = {"platform": target.platform, "python": target.python, "abi": target.abi}
    algorithms = [{"name": "seam-check", "version": "1.0", "manifest": "manifests/seam-check.json"}]
    index = {"format": 1, "distribution": "seam-check", "version": "1.0", "target": names}
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", json.dumps({**index, "algorithms": algorithms, "files": listed}))
        for name, data in held.items():
            archive.writestr(name, data)
    return path


def refusal(path, folder):
    with pytest.raises(BundleError) as caught:
        unpack(path, folder / "into")
    return str(caught.value.error_code), str(caught.value)


def with_files(wheel, files):
    with zipfile.ZipFile(wheel, "a") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return wheel


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("seam.pth", "Python runs what stands in a .pth file"),
        ("SEAM.PTH", "Python runs what stands in a .pth file"),
        ("seam_check-1.0.data/purelib/seam.pth", "Python runs what stands in a .pth file"),
        ("seam_check-1.0.data/platlib/sitecustomize.py", "Python imports it at every start"),
        ("sitecustomize.py", "Python imports it at every start"),
        ("usercustomize/__init__.py", "Python imports it at every start"),
        ("sitecustomize.cpython-311-x86_64-linux-gnu.so", "Python imports it at every start"),
        ("_virtualenv.py", "Python imports it at every start"),
        ("procvision_runner/results.py", "procvision_runner/results.py: it is ProcVision's own"),
        ("procvision_sdk.py", "it is ProcVision's own"),
        ("procvision_host.abi3.so", "it is ProcVision's own"),
        ("seam_check-1.0.data/purelib/procvision_tools/x.py", "it is ProcVision's own"),
        ("procvision-9.0.dist-info/METADATA", "ProcVision's own metadata"),
        ("other-1.0.dist-info/METADATA", "its metadata lies in"),
        ("seam_check-1.0.data/scripts/procvision-host", "ProcVision's or the interpreter's"),
        ("seam_check-1.0.data/scripts/procvision", "ProcVision's or the interpreter's"),
        ("seam_check-1.0.data/scripts/python3", "ProcVision's or the interpreter's"),
        ("seam_check-1.0.data/scripts/python3.11", "ProcVision's or the interpreter's"),
        ("seam_check-1.0.data/scripts/pip", "ProcVision's or the interpreter's"),
        ("seam_check-1.0.data/scripts/activate.fish", "ProcVision's or the interpreter's"),
        ("seam_check-1.0.data/scripts/sub/x", "it is no name of a program"),
        ("seam_check-1.0.data/data/etc/passwd", "outside the folders of modules and programs"),
        ("seam_check-1.0.data/headers/x.h", "outside the folders of modules and programs"),
        ("other-1.0.data/purelib/x.py", "outside the folders of modules and programs"),
    ],
)
def test_what_python_runs_by_itself_or_is_not_the_vendors_is_refused(file, why, tmp_path):
    wheel = with_files(algorithm_wheel(tmp_path), {file: "x = 1\n"})
    code, text = refusal(bundle_of(tmp_path, wheel), tmp_path)
    assert code == "2001"
    assert file in text or "other-1.0.dist-info" in text
    assert why in text


@pytest.mark.parametrize("program", ["procvision-host", "python", "../python", "pip3"])
def test_programs_that_an_installer_makes_are_looked_at_too(program, tmp_path):
    points = f"[procvision.algorithms]\nseam-check = seam_check:Check\n[console_scripts]\n{program} = seam_check:main\n"
    wheel = algorithm_wheel(tmp_path)
    manifest = zipfile.ZipFile(wheel).read("seam_check/manifest.json")
    wheel = make_wheel(tmp_path, "seam-check", files={"seam_check/manifest.json": manifest}, entry_points=points)
    code, text = refusal(bundle_of(tmp_path, wheel), tmp_path)
    assert code == "2001"
    assert "program" in text


def test_files_of_two_wheels_are_refused_unless_they_are_the_same(tmp_path):
    root = algorithm_wheel(tmp_path, ["one", "two"])
    for second, words in (("b = 2\n", "one-1.0-py3-none-any.whl has one of that name, too"), ("a = 1\n", None)):
        one = make_wheel(tmp_path, "one", files={"shared/__init__.py": "a = 1\n"})
        two = make_wheel(tmp_path, "two", files={"shared/__init__.py": second})
        path = bundle_of(tmp_path, root, one, two)
        if words is None:
            assert set(unpack(path, tmp_path / "into").wheels) == {"seam-check", "one", "two"}
        else:
            assert words in refusal(path, tmp_path)[1]
    two = make_wheel(tmp_path, "two", files={"one.py": "a = 1\n"})
    assert "one has a package of that name, too" in refusal(bundle_of(tmp_path, root, one, two), tmp_path)[1]


def test_every_harm_is_told_and_nothing_of_it_is_installed(tmp_path):
    wheel = with_files(algorithm_wheel(tmp_path), {"seam.pth": "import os\n", "procvision_runner/x.py": ""})
    bundle_of(tmp_path, wheel)
    status, said = validated(tmp_path / "x.zip")
    assert status == 1
    assert "seam.pth" in said
    assert "procvision_runner/x.py" in said
    assert "ok  it can be installed" not in said
    status, said = validated(wheel)
    assert status == 1
    assert "seam.pth" in said


def validated(path):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = status_of(["validate", str(path), "--allow-unsigned"])
    return status, out.getvalue()


def test_an_sdist_among_the_wheels_is_refused_and_never_built(tmp_path):
    proof = tmp_path / "built"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        text = f"open({str(proof)!r}, 'w')\n".encode()
        entry = tarfile.TarInfo("helper-9.0/setup.py")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    wheels = [algorithm_wheel(tmp_path, ["helper"]), make_wheel(tmp_path, "helper")]
    for name in ("helper-9.0.tar.gz", "helper-9.0.zip", "helper", "helper-9.0-py3.egg", "x.whl.tar"):
        path = bundle_of(tmp_path, *wheels, raw={f"wheels/{name}": data.getvalue()})
        assert validated(path)[0] == 1
        assert "is no name of a file in a bundle" in refusal(path, tmp_path)[1]
    assert not proof.exists()


BOMB = b"\0" * (200 << 20)


@pytest.mark.parametrize("where", ["the bundle", "a manifest", "the metadata", "a module", "the index"])
def test_what_inflates_is_refused_before_it_is_read(where, tmp_path):
    """In a process whose memory has no room for it."""
    wheel = algorithm_wheel(tmp_path)
    raw = {}
    place = {"a manifest": "seam_check/manifest.json", "the metadata": "seam_check-1.0.dist-info/METADATA",
             "a module": "seam_check/zeros.bin"}.get(where)  # fmt: skip
    if place is not None:
        blown = tmp_path / "blown" / wheel.name
        blown.parent.mkdir()
        with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(blown, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                if name != place:
                    new.writestr(name, old.read(name))
            new.writestr(place, BOMB)
        raw = {f"wheels/{wheel.name}": blown.read_bytes()}
    if where == "the bundle":
        raw = {"wheels/zero-1.0-py3-none-any.whl": BOMB}
    path = bundle_of(tmp_path, wheel, raw=raw)
    if where == "the index":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bundle.json", BOMB)
    assert path.stat().st_size < 2 << 20
    program = (
        "import sys; from pathlib import Path; from procvision_tools.bundling.bundle import unpack; "
        "unpack(*map(Path, sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "into"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (150 << 20, 150 << 20)),
    )  # fmt: skip
    assert "BundleError" in done.stderr, done.stderr
    assert "MemoryError" not in done.stderr
    assert "bound" in done.stderr.splitlines()[-1]
    assert sum(file.stat().st_size for file in (tmp_path / "into").rglob("*") if file.is_file()) < 2 << 20


def rewritten_name(path, old, new):
    """An entry's name changed in the zip's bytes, as zipfile would not write it."""
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


@pytest.mark.parametrize(
    "name", [b"seam_check/../../evi", b"/am_check/zzzzzzzzzz", b"seam_check\\zzzzzzzzz", b"C:am_check/zzzzzzzzz",
             b"seam_check/zzz\0zzzzz", b"seam_check//zzzzzzzz", b"seam_check/./zzzzzzz", b"seam_check/zzz\nzzzzz"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused_and_not_mended(name, tmp_path):
    wheel = with_files(algorithm_wheel(tmp_path), {"seam_check/ZZZZZZZZZ": "x"})
    rewritten_name(wheel, b"seam_check/ZZZZZZZZZ", name)
    assert refusal(bundle_of(tmp_path, wheel), tmp_path)[0] == "2001"


def test_links_doubles_and_files_that_are_folders_are_refused(tmp_path):
    def link(archive):
        entry = zipfile.ZipInfo("seam_check/link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")

    def double(archive):
        with pytest.warns(UserWarning):
            archive.writestr("seam_check/__init__.py", "x = 2\n")

    def folder(archive):
        archive.writestr("seam_check/__init__.py/x", "x")

    for change, words in (
        (link, "is a link or a device"),
        (double, "is there twice"),
        (folder, "both a file and a folder"),
    ):
        wheel = algorithm_wheel(tmp_path)
        with zipfile.ZipFile(wheel, "a") as archive:
            change(archive)
        assert words in refusal(bundle_of(tmp_path, wheel), tmp_path)[1]


def test_too_many_files_are_refused_before_the_directory_is_read(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(300):
            archive.writestr(f"{number:04}", b"")
    with pytest.raises(BundleError, match="has 300 files, the bound is 200"), opened_archive(path, 200):
        pass
    data = bytearray(path.read_bytes())
    data[-10:-6] = struct.pack("<L", 0x7FFFFFFF)  # the directory's size, as the zip's end says it
    path.write_bytes(data)
    with pytest.raises(BundleError, match="lists more than 200 files"), opened_archive(path, 200):
        pass


# --- native code ----------------------------------------------------------------------------------------------------

SOURCE = """
#include <stdlib.h>
#include <string.h>
unsigned f(void) { return arc4random(); }
"""
OLD_SOURCE = "int f(int x) { return x + 1; }\n"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Shared objects of this machine: one that needs a recent glibc, one that needs none."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("compiled")
    made = {}
    for name, text, flags in (("new", SOURCE, []), ("old", OLD_SOURCE, ["-nostdlib"])):
        (folder / f"{name}.c").write_text(text)
        command = [compiler, "-shared", "-fPIC", "-o", folder / f"{name}.so", folder / f"{name}.c", *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no arc4random in this C library: {done.stderr.splitlines()[-1]}")
        made[name] = (folder / f"{name}.so").read_bytes()
    return made


def misfits_of(folder, tag, data, target, name="nat/_core.abi3.so"):
    wheel = Wheel.read(make_wheel(folder, "nat", tag=tag, files={name: data}))
    return [f"{error.error_code}: {error}" for error in misfits(wheel, Target.of(target, "3.11"))]


MACHINE = HERE.machine
OLD = f"manylinux_2_17_{MACHINE}"


def test_a_symbol_of_a_later_glibc_is_seen(compiled, tmp_path):
    said = misfits_of(tmp_path, f"cp311-cp311-linux_{MACHINE}", compiled["new"], OLD)
    wheel = f"nat-1.0-cp311-cp311-linux_{MACHINE}.whl"
    assert said == [f"2004: {wheel} says nothing of the C library and needs GLIBC_2.36; the target has 2.17"]
    said = misfits_of(tmp_path, f"cp311-cp311-manylinux_2_17_{MACHINE}", compiled["new"], OLD)
    assert said == [f"2004: nat-1.0-cp311-cp311-manylinux_2_17_{MACHINE}.whl needs GLIBC_2.36; the target has 2.17"]
    assert "GLIBC_2.36" in misfits_of(tmp_path, "py3-none-any", compiled["new"], OLD)[0]
    assert misfits_of(tmp_path, f"cp311-cp311-linux_{MACHINE}", compiled["new"], f"manylinux_2_38_{MACHINE}") == []
    assert misfits_of(tmp_path, f"cp311-cp311-linux_{MACHINE}", compiled["old"], OLD) == []


def test_glibc_is_not_musl(compiled, tmp_path):
    said = misfits_of(tmp_path, f"cp311-cp311-linux_{MACHINE}", compiled["new"], f"musllinux_1_2_{MACHINE}")
    assert len(said) == 1
    assert "needs glibc, the target has musl" in said[0]
    musl = compiled["new"].replace(b"libc.so.6\0", b"ld-musl-x\0")
    assert musl != compiled["new"]
    said = misfits_of(tmp_path, f"cp311-cp311-linux_{MACHINE}", musl, f"manylinux_2_38_{MACHINE}")
    assert "needs musl, the target has glibc" in said[0]


def test_another_machine_is_seen_by_the_code_not_by_the_name(compiled, tmp_path):
    other = "aarch64" if MACHINE == "x86_64" else "x86_64"
    for tag in (f"cp311-cp311-linux_{other}", "py3-none-any"):
        said = misfits_of(tmp_path, tag, compiled["old"], f"manylinux_2_28_{other}")
        assert f"nat/_core.abi3.so is for {MACHINE}, the target is {other}" in said[0]
    name = "nat/bin/tool-for-each-machine"
    assert misfits_of(tmp_path, "py3-none-any", compiled["old"], f"manylinux_2_28_{other}", name) == []


@pytest.mark.parametrize("cut", [5, 40, 64, 300, 4000])
def test_native_code_that_cannot_be_read_is_a_misfit(cut, compiled, tmp_path):
    said = misfits_of(tmp_path, f"cp311-cp311-linux_{MACHINE}", compiled["new"][:cut], OLD)
    assert len(said) <= 2
    assert all(line.startswith("2004: ") for line in said)
    assert said


def test_package_refuses_native_code_that_would_not_load(compiled, tmp_path):
    tag = f"cp311-cp311-linux_{MACHINE}"
    make_wheel(tmp_path / "links", "nat", tag=tag, files={"nat/_core.abi3.so": compiled["new"]})
    algorithm_wheel(tmp_path, ["nat"])
    out = io.StringIO()
    arguments = ["--platform", OLD, "--python", "3.11", "--no-index", "--find-links", tmp_path / "links"]
    wheel = tmp_path / "seam_check-1.0-py3-none-any.whl"
    with contextlib.chdir(tmp_path), contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
        status = status_of([str(word) for word in ("package", wheel, *arguments, "--out", "x.zip")])
    assert status == 2
    assert "[2004] nat-1.0" in out.getvalue()
    assert "needs GLIBC_2.36; the target has 2.17" in out.getvalue()
    assert not Path(tmp_path / "x.zip").exists()
