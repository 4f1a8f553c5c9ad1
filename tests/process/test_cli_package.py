"""`procvision package`: what is in a bundle, for whom, and what is refused; and `procvision validate` on it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import zipfile

import pytest

pytest.importorskip("packaging.metadata", reason="packaging reads wheels")
from made_wheels import ENTRY_POINTS, MANIFEST, algorithm_wheel, make_wheel

from procvision_tools.bundling.bundle import unpack
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.target import NoTargetError, Target
from procvision_tools.cli.main import status_of

LINUX = "manylinux_2_28_x86_64"


def procvision(*arguments, folder):
    """The command in this process: what it starts are processes of their own."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = status_of([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def package(wheel, *arguments, folder, links="links"):
    return procvision("package", wheel, "--no-index", "--find-links", links, *arguments, folder=folder)


@pytest.fixture
def links(tmp_path):
    """What can be had: for two platforms, two Pythons, and what nobody needs."""
    folder = tmp_path / "links"
    make_wheel(folder, "light", "2.0", requires=["lamp[bright]>=1; sys_platform == 'linux'"])
    make_wheel(folder, "light", "3.0", python=">=3.13")
    make_wheel(folder, "lamp", "1.5", requires=["bulb; extra == 'bright'", "never; extra == 'dark'"])
    for tag in (f"cp311-cp311-{LINUX}", "cp311-cp311-win_amd64", "cp313-cp313-manylinux_2_17_aarch64"):
        make_wheel(folder, "bulb", "1.1", tag=tag)
    make_wheel(folder, "bulb", "0.9")
    make_wheel(folder, "winding", "1.0")
    make_wheel(folder, "typing-old", "1.0")
    return folder


REQUIRES = [
    "light>=2",
    "winding; sys_platform == 'win32'",
    "typing-old; python_version < '3.12'",
    "never; platform_machine == 's390x'",
]


def names_in(path):
    with zipfile.ZipFile(path) as bundle:
        return [name.removeprefix("wheels/") for name in bundle.namelist() if name.startswith("wheels/")]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            ["--platform", LINUX, "--python", "3.11"],
            {f"bulb-1.1-cp311-cp311-{LINUX}", "lamp-1.5-py3-none-any", "light-2.0-py3-none-any"}
            | {"typing_old-1.0-py3-none-any"},
        ),
        (
            ["--platform", "manylinux_2_35_aarch64", "--python", "3.13"],
            {"light-3.0-py3-none-any"},
        ),
    ],
)  # fmt: skip
def test_wheels_are_those_that_the_target_needs(target, expected, links, tmp_path):
    """Markers, tags and Python versions are the target's, whatever machine this is."""
    wheel = algorithm_wheel(tmp_path, REQUIRES)
    done = package(wheel, *target, "--out", "x.zip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {name.removesuffix(".whl") for name in names_in(tmp_path / "x.zip")} - {"seam_check-1.0-py3-none-any"}
    assert found == expected


def test_what_procvision_needs_comes_along_where_it_is_asked_for_and_itself_stays_behind(tmp_path):
    """The station supplies its own: what a bundle brings of it would be a vendor's copy."""
    core = ("attrs", "click", "google-re2", "importlib-metadata", "msgspec", "numpy", "pluggy")
    for name in (*core, "pillow", "simplejpeg"):
        make_wheel(tmp_path / "links", name, "99.0")
    make_wheel(tmp_path / "links", "procvision", "77.0")
    wheel = algorithm_wheel(tmp_path, ["procvision[images]>=0.1"])
    done = package(wheel, "--out", "x.zip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    brought = {name.partition("-")[0] for name in names_in(tmp_path / "x.zip")}
    assert {"numpy", "msgspec", "pillow", "simplejpeg"} < brought
    assert "procvision" not in brought


def test_a_procvision_that_does_not_run_here_is_not_bundled_for(tmp_path):
    done = procvision("package", algorithm_wheel(tmp_path, ["procvision>=50"]), "--no-index", folder=tmp_path)
    assert done.returncode == 2
    assert "[2004]" in done.stderr
    assert "procvision" in done.stderr


def test_hook_plugins_come_along_and_are_bundled_alone(tmp_path):
    """Nothing needs them, so the index names them."""
    hooks = "[procvision.hooks]\nlamp = lamp:plugin\n"
    make_wheel(tmp_path / "links", "bulb", "1.0")
    lamp = make_wheel(tmp_path / "links", "lamp-hooks", "1.5", requires=["bulb"], entry_points=hooks)
    for what in ("lamp-hooks>=1", lamp):
        done = package(algorithm_wheel(tmp_path), "--with", what, "--out", "x.zip", "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["also"] == ["lamp-hooks==1.5"]
        assert {name.partition("-")[0] for name in names_in(tmp_path / "x.zip")} == {"seam_check", "lamp_hooks", "bulb"}
        assert unpack(tmp_path / "x.zip", tmp_path / "there").index.also == ["lamp-hooks==1.5"]
    done = package(lamp, "--out", "y.zip", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["algorithms"] == []


def test_the_same_wheels_give_the_same_bytes(links, tmp_path):
    wheel = algorithm_wheel(tmp_path, ["light<3"])
    made = []
    for number in (1, 2):
        done = package(wheel, "--json", "--out", f"{number}/x.zip", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        data = (tmp_path / f"{number}/x.zip").read_bytes()
        assert told["sha256"] == hashlib.sha256(data).hexdigest()
        made.append(data)
    assert made[0] == made[1]
    with zipfile.ZipFile(tmp_path / "1/x.zip") as bundle:
        assert bundle.namelist()[0] == "bundle.json"
        assert json.loads(bundle.read("manifests/seam-check.json")) == MANIFEST
        index = json.loads(bundle.read("bundle.json"))
        for file in index["files"]:
            assert hashlib.sha256(bundle.read(file["path"])).hexdigest() == file["sha256"]
        assert {file["path"] for file in index["files"]} | {"bundle.json"} == set(bundle.namelist())
    assert unpack(tmp_path / "1/x.zip", tmp_path / "there").index.distribution == "seam-check"


def test_without_out_it_lands_in_dist_under_its_names(tmp_path):
    done = procvision("package", algorithm_wheel(tmp_path), "--no-index", "--platform", LINUX, "--python", "3.12",
                      folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"dist/seam-check-1.0-cp312-{LINUX}.zip").is_file()
    assert f"procvision validate dist/seam-check-1.0-cp312-{LINUX}.zip --allow-unsigned" in done.stdout


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"deploy__pem": "x"}, ["seam_check/deploy.pem: its name is that of a secret"]),
        ({"__env": "x"}, ["seam_check/.env: its name"]),
        ({"settings__py": "-----BEGIN RSA PRIVATE KEY-----\n"}, ["settings.py: it holds a private key"]),
        ({"net__py": 'URL = "https://bob:hunter2@example.com/x"'}, ["net.py: it holds a password in a URL"]),
        ({"aws__json": '{"key": "AKIA' + "A" * 16 + '"}'}, ["aws.json: it holds an access key of AWS"]),
        ({"algorithm__pyc": b"x"}, ["algorithm.pyc: a cache"]),
        ({"model__onnx": b"x" * 1_200_000}, ["model.onnx: it has 1.2 MB, the bound is 1 MB"]),
    ],
)
def test_what_does_not_belong_there_is_refused_unless_it_is_named(files, words, tmp_path):
    wheel = algorithm_wheel(tmp_path, **files)
    arguments = ("package", wheel, "--no-index", "--max-file-mb", 1, "--out", "x.zip")
    done = procvision(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "error: [2001] " in done.stderr
    for word in words:
        assert word in done.stderr
    hint = done.stderr.splitlines()[-1]
    assert hint.startswith("hint: leave them out of the wheel, or --allow seam_check/")
    assert not (tmp_path / "x.zip").exists()
    done = procvision(*arguments, *hint.split(", or ")[1].split(), folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_is_no_secret_passes(tmp_path):
    harmless = 'HOST = "https://example.com/a:b@c"\nPATTERN = "postgresql://{user}:{word}@db"\nKEY = "monkey.keys"\n'
    done = procvision("package", algorithm_wheel(tmp_path, keys__py=harmless), "--no-index", folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("requires", "python", "code", "words"),
    [
        (["absent>=1"], "", 2004, ["absent"]),
        (["bulb==1.1"], "", 2004, ["bulb"]),
        (["light>=9"], "", 2004, ["light"]),
        ([], ">=3.14", 2003, ["needs Python >=3.14, the target has 3.12"]),
    ],
)
def test_what_cannot_be_had_for_the_target_is_said_with_its_code(requires, python, code, words, links, tmp_path):
    wheel = algorithm_wheel(tmp_path, requires, python=python)
    done = package(wheel, "--platform", LINUX, "--python", "3.12", "--out", "x.zip", folder=tmp_path)
    assert done.returncode == 2
    assert f"[{code}]" in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize(
    ("files", "points", "code", "words"),
    [
        ({}, "", 2001, "no entry point in the group procvision.algorithms"),
        ({}, ENTRY_POINTS, 2002, "no manifest.json in the package of seam_check"),
        ({"seam_check/manifest.json": "{"}, ENTRY_POINTS, 2002, "manifest.json"),
        ({"seam_check/manifest.json": json.dumps(MANIFEST | {"version": "7"})}, ENTRY_POINTS, 2002, "seam-check 7"),
    ],
)
def test_a_wheel_that_is_no_algorithm_is_refused(files, points, code, words, tmp_path):
    wheel = make_wheel(tmp_path, "seam-check", files=files, entry_points=points)
    done = procvision("package", wheel, "--no-index", folder=tmp_path)
    assert done.returncode == 2
    assert f"[{code}]" in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["no/such/folder"], 64, ["no/such/folder", "hint: "]),
        ([".", "--platform", "win_amd64"], 64, ["without hosts", "hint: hosts run on Linux alone"]),
        ([".", "--platform", "macosx_11_0_arm64"], 64, ["without hosts"]),
        ([".", "--platform", "commodore_64"], 64, ["is no platform of wheels", "hint: manylinux"]),
        ([".", "--python", "2.7"], 64, ["is no version of Python", "hint: 3.11"]),
        ([".", "--abi", "x"], 64, ["is no ABI"]),
        ([".", "--find-links", "absent"], 64, ["absent"]),
        ([".", "--max-file-mb", "0"], 64, ["--max-file-mb"]),
        (["."], 2, ["[2001]", "can't be built"]),
        (["text.whl"], 2, ["[2001]", "text.whl is no wheel"]),
        (["seam_check-1.0-py3-none-any.whl", "--no-index", "--out", "file/x.zip"], 2, ["can't be written"]),
    ],
)
def test_a_wrong_command_line_is_told(arguments, status, words, tmp_path):
    (tmp_path / "text.whl").write_text("text")
    (tmp_path / "file").write_text("")
    algorithm_wheel(tmp_path)
    done = procvision("package", *arguments, folder=tmp_path)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def rewritten(source, goal, change):
    """The bundle with its files changed by a function from name and data to data, None takes it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(goal, "w") as new:
        for entry in old.infolist():
            data = change(entry.filename, old.read(entry))
            if data is not None:
                new.writestr(entry.filename, data)
        for name, data in change("", b"") or ():
            new.writestr(name, data)


def _index_with(**changes):
    return lambda name, data: (
        json.dumps(json.loads(data) | changes) if name == "bundle.json" else data if name else None
    )


def _without(end):
    return lambda name, data: None if name.endswith(end) else data if name else None


def _without_wheel(start):
    """The index says nothing of it either."""

    def change(name, data):
        if name == "bundle.json":
            index = json.loads(data)
            index["files"] = [file for file in index["files"] if not file["path"].startswith(f"wheels/{start}")]
            return json.dumps(index)
        return None if name.startswith(f"wheels/{start}") or not name else data

    return change


BROKEN = {
    "a wheel's byte is another": (lambda n, d: d[:-30] + b"?" + d[-29:] if "light" in n else d or None, 2001, "hash"),
    "a manifest is another": (lambda n, d: d + b" " if "manifests" in n else d or None, 2001, "hash differs"),
    "a file is not listed": (lambda n, d: d if n else [("wheels/more.whl", b"")], 2001, "more.whl is not listed"),
    "a file is missing": (_without("light-2.0-py3-none-any.whl"), 2001, "is listed and not there"),
    "a name leads outside": (lambda n, d: d if n else [("../evil.py", b"")], 2001, "'../evil.py' is no name"),
    "there is no index": (_without("bundle.json"), 2001, "there is no bundle.json"),
    "the index is no JSON": (lambda n, d: b"{" if n == "bundle.json" else d or None, 2001, "bundle.json"),
    "the format is of tomorrow": (_index_with(format=2), 2001, "format 2"),
    "the target is none": (_index_with(target={"platform": "x", "python": "3.11", "abi": "cp311"}), 2001, "platform"),
    "the target has another Python": (
        _index_with(target={"platform": LINUX, "python": "3.13", "abi": "cp313"}), 2003, "needs Python <3.13"),
    "what is needed was never there": (_without_wheel("light"), 2004, "no wheel of light, which seam-check needs"),
    "the algorithm itself was never there": (_without_wheel("seam_check"), 2004, "no wheel of seam-check 1.0"),
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    make_wheel(folder / "links", "light", "2.0")
    wheel = algorithm_wheel(folder, ["light"], python="<3.13")
    done = package(wheel, "--platform", LINUX, "--python", "3.11", "--out", "x.zip", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "x.zip"


@pytest.mark.parametrize("how", BROKEN)
def test_a_bundle_that_was_tampered_with_is_refused(how, bundle, tmp_path):
    change, code, words = BROKEN[how]
    rewritten(bundle, tmp_path / "broken.zip", change)
    with pytest.raises(BundleError) as caught:
        unpack(tmp_path / "broken.zip", tmp_path / "into")
    assert caught.value.error_code == str(code)
    assert words in str(caught.value)
    assert not (tmp_path / "evil.py").exists()


def test_two_versions_of_one_distribution_are_refused(bundle, tmp_path):
    make_wheel(tmp_path, "light", "3.0")
    more = (tmp_path / "light-3.0-py3-none-any.whl").read_bytes()

    def change(name, data):
        if name == "bundle.json":
            index = json.loads(data)
            file = {"path": "wheels/light-3.0-py3-none-any.whl", "sha256": hashlib.sha256(more).hexdigest()}
            index["files"].append(file | {"bytes": len(more)})
            return json.dumps(index)
        return data if name else [("wheels/light-3.0-py3-none-any.whl", more)]

    rewritten(bundle, tmp_path / "broken.zip", change)
    with pytest.raises(BundleError, match=r"light is there in versions 2\.0 and 3\.0") as caught:
        unpack(tmp_path / "broken.zip", tmp_path / "into")
    assert caught.value.error_code == "2006"


def test_validate_says_what_is_wrong_with_a_bundle(bundle, tmp_path):
    rewritten(bundle, tmp_path / "broken.zip", BROKEN["a wheel's byte is another"][0])
    done = procvision("validate", "broken.zip", folder=tmp_path)
    assert done.returncode == 1
    assert "FAILED  the bundle is whole, and as it was made: [2001] wheels/light" in done.stdout
    (tmp_path / "text.zip").write_text("no zip")
    done = procvision("validate", "text.zip", "--json", folder=tmp_path)
    assert done.returncode == 1
    assert "[2001] text.zip can't be read" in json.loads(done.stdout)["algorithms"][0]["findings"][0]["detail"]


def test_validate_of_a_bundle_for_another_machine_looks_at_what_it_can(tmp_path):
    target = ["--platform", "manylinux_2_17_aarch64"]
    done = procvision("package", algorithm_wheel(tmp_path), "--no-index", *target, "--out", "x.zip", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = procvision("validate", "x.zip", "--allow-unsigned", folder=tmp_path)
    assert done.returncode == 0
    assert "skipped  it can be installed without a network: it is for manylinux_2_17_aarch64" in done.stdout
    assert "2 ok, 1 warning, 1 skipped" in done.stdout


def test_what_does_not_run_where_it_is_installed_fails(tmp_path):
    """Found in an environment with this ProcVision and what it needs, which the bundle doesn't bring."""
    assert (
        procvision("package", algorithm_wheel(tmp_path), "--no-index", "--out", "x.zip", folder=tmp_path).returncode
        == 0
    )
    done = procvision("validate", "x.zip", "--allow-unsigned", folder=tmp_path)
    assert done.returncode == 1
    assert "ok  it can be installed without a network" in done.stdout
    assert "FAILED  imported, set up and torn down in a process of its own" in done.stdout


def test_what_cannot_be_installed_here_has_its_code(tmp_path):
    """A marker that no target answers, and that only the machine itself makes true."""
    wheel = algorithm_wheel(tmp_path, ["never; platform_release != ''"])
    assert procvision("package", wheel, "--no-index", "--out", "x.zip", folder=tmp_path).returncode == 0
    done = procvision("validate", "x.zip", "--allow-unsigned", folder=tmp_path)
    assert done.returncode == 1
    assert "FAILED  it can be installed without a network: [2005] it can't be installed from its own" in done.stdout
    assert "never" in done.stdout


def test_a_target_is_its_own_and_not_this_machines():
    target = Target.of("manylinux_2_17_aarch64", "3.12")
    assert (target.abi, target.is_here) == ("cp312", False)
    assert target.platforms[:3] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_16_aarch64")
    facts = target.environment
    assert (facts["platform_machine"], facts["sys_platform"], facts["python_version"]) == ("aarch64", "linux", "3.12")
    assert (target.glibc, target.musl) == ((2, 17), False)
    musl = Target.of("musllinux_1_2_x86_64")
    assert (musl.platforms[0], musl.glibc, musl.musl) == ("musllinux_1_2_x86_64", None, True)
    assert musl.environment["platform_machine"] == "x86_64"
    assert Target.of("manylinux_2_50_x86_64").uv_platform == "x86_64-manylinux_2_40"
    assert Target.of("manylinux_2_17_s390x").uv_platform is None
    assert Target.of().is_here
    with pytest.raises(NoTargetError, match="hint: "):
        Target.of("x86_64")
