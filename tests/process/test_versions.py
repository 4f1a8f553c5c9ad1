"""Versions on a station: installed side by side, activated through the gate, rolled back, never half of anything."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("packaging.metadata", reason="packaging reads wheels")
pytest.importorskip("cryptography", reason="the extra sign")
from made_wheels import ENTRY_POINTS, MANIFEST, make_wheel

from procvision_runner import LaunchError, Pool, Runner, RunnerOptions, Supervisor, SupervisorOptions
from procvision_runner.connection.launch import host_command
from procvision_runner.deployments import active_deployment
from procvision_sdk.private_files import write_private
from procvision_station.exporting import records
from procvision_tools.bundling.errors import BundleError
from procvision_tools.bundling.own_wheel import repacked
from procvision_tools.cli.main import status_of
from procvision_tools.deployments import history
from procvision_tools.deployments.history import History
from procvision_tools.deployments.plan import Wish
from procvision_tools.deployments.store import Store, changing, remove
from procvision_tools.sealed import seal_of

ALGORITHM = '''
import time

import lamp
from procvision_sdk import BaseAlgorithm, Defect, Ng, Ok, Prepared, read_image_from_shared_memory


class Check(BaseAlgorithm):
    """A bright spot is a defect; version 3 is blind."""

    def setup(self):
        time.sleep(lamp.SETUP_S)

    def pre_execute(self, *args):
        return Prepared()

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = read_image_from_shared_memory(shared_mem_id, image_meta)
        self.diagnostics.publish("lamp", lamp.BRIGHTNESS)
        if picture.max() > 200 and lamp.BRIGHTNESS < 3:
            return Ng("spot", [Defect(1, 1, 2, 2, label="spot", score=0.9)])
        return Ok()
'''
SETUP_S = 2 if "PROCVISION_CALLS" in os.environ else 0
NEED = "memory:5000MB"
GOOD = np.full((8, 8, 3), 100, np.uint8)
BAD = np.full((8, 8, 3), 100, np.uint8)
BAD[1:3, 1:3] = 250


def procvision(*arguments, folder):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = status_of([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def done(*arguments, folder):
    result = procvision(*arguments, folder=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def bundle(folder, version):
    """Each version needs another lamp: the two can't be in one environment."""
    make_wheel(
        folder / "links",
        "lamp",
        f"{version}.0",
        files={"lamp/__init__.py": f"BRIGHTNESS, SETUP_S = {version}, {SETUP_S}\n"},
    )
    manifest = json.dumps(MANIFEST | {"version": f"{version}.0", "needs": {NEED: "a large model"}})
    files = {"seam_check/__init__.py": ALGORITHM, "seam_check/manifest.json": manifest}
    wheel = make_wheel(folder, "seam-check", f"{version}.0", requires=[f"lamp=={version}.0"], files=files,
                       entry_points=ENTRY_POINTS)  # fmt: skip
    done("package", wheel, "--no-index", "--find-links", "links", "--sign", "acme.key", "--out", f"{version}.zip",
         folder=folder)  # fmt: skip
    return folder / f"{version}.zip"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A vendor's key, three versions, and a station that has installed them."""
    folder = tmp_path_factory.mktemp("station")
    done("keys", "new", "acme", folder=folder)
    done("keys", "trust", "acme.pub", "--keys", "keys.json", folder=folder)
    for version in (1, 2, 3):
        path = bundle(folder, version)
        done("install", path, "--root", "installed", "--keys", "keys.json", folder=folder)
    for verdict, picture in (("OK", GOOD), ("NG", BAD)):
        (folder / "golden" / verdict).mkdir(parents=True)
        Image.fromarray(picture).save(folder / "golden" / verdict / "a.png")
    yield folder
    remove(folder / "installed")


@pytest.fixture
def root(place, tmp_path):
    """A root of its own."""
    yield copied(place / "installed", tmp_path / "root")
    remove(tmp_path / "root")


def copied(root, copy):
    """What is installed is linked, since nobody writes into it; what is appended to is copied."""
    subprocess.run(["cp", "-al", root, copy], check=True)
    (copy / "history.jsonl").unlink()
    shutil.copy2(root / "history.jsonl", copy)
    return copy


def at(root, place):
    return ("--root", root, "--keys", place / "keys.json")


def by(place):
    """What an activation by the command has on record, for one that is made without its gate."""
    return {"keys": str(place / "keys.json")}


def activate(version, root, place, *more):
    return procvision("activate", f"seam-check=={version}.0", *more, *at(root, place), folder=place)


def made_active(root, place, *versions, pid="*"):
    """What a test begins with: one version after the other, without the gate, which starts a host each time."""
    with changing(root) as store:
        for version in versions:
            store.fulfil(Wish("activate", "seam-check", f"{version}.0", (pid,)), facts=by(place))


def rows(root):
    return {row["version"]: row for row in Store(root).versions()}


def lamp_of(result):
    return result.debug["lamp"]


def test_versions_that_exclude_each_other_run_side_by_side(root, place):
    assert activate(1, root, place, "--pid", "A").returncode == 0
    assert activate(2, root, place, "--golden", "golden").returncode == 0
    with Runner("seam-check", deployments=root, pid="A") as old, Runner("seam-check", deployments=root) as new:
        assert (lamp_of(old.execute(BAD, pid="A")), lamp_of(new.execute(BAD, pid="A"))) == (1, 2)
        assert old.execute(BAD, pid="A").verdict == new.execute(BAD, pid="A").verdict == "NG"
        assert "/seam-check/1.0/" in old.command[0]
    told = json.loads(done("versions", "--root", root, "--json", folder=place))["versions"]
    assert [(row["version"], row["active"], row["fault"]) for row in told] == [
        ("1.0", ["A"], None), ("2.0", ["*"], None), ("3.0", [], None),
    ]  # fmt: skip
    assert told[0]["signed_by"]["name"] == "acme"
    assert Path(told[0]["python"]["path"]).is_file()
    # What it ran wrote nothing into it.
    active_deployment(root, "seam-check", "A")


MARKS = """
def _marked():
    import os, sys
    with open({file!r}, "a") as file:
        file.write(f"{name} {{os.getpid()}}\\n")
_marked()
"""
LIBRARIES = {"attrs": "attr", "msgspec": "msgspec"}
"""What both halves import, by distribution and module."""


def marked_wheel(name, module, mark, folder):
    """The library as it is installed here, with a line more: it says in which process it was imported."""
    plain = repacked(name, folder / "plain").path
    with zipfile.ZipFile(plain) as held, zipfile.ZipFile(folder / "links" / plain.name, "w") as made:
        for entry in held.namelist():
            data = held.read(entry)
            if entry == f"{module}/__init__.py":
                head, future, rest = data.decode().rpartition("from __future__ import annotations\n")
                data = (head + future + mark + rest).encode()
            made.writestr(entry, b"" if entry.endswith("/RECORD") else data)
    return f"{name}=={plain.name.split('-')[1]}"


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_nothing_of_a_vendors_environment_is_code_of_the_host_half(tmp_path):
    """A bundle brings its own libraries, which mark each process that imports them: it is the cell alone."""
    (tmp_path / "links").mkdir()
    marks = tmp_path / "marks"
    requires = [
        marked_wheel(name, module, MARKS.format(file=str(marks), name=name), tmp_path)
        for name, module in LIBRARIES.items()
    ]
    text = ALGORITHM.replace("import lamp\n", "import os\n").replace("lamp.SETUP_S", "0").replace(
        '"lamp", lamp.BRIGHTNESS', '"cell", os.getpid()').replace("lamp.BRIGHTNESS", "1")  # fmt: skip
    files = {"seam_check/__init__.py": text, "seam_check/manifest.json": json.dumps(MANIFEST)}
    wheel = make_wheel(tmp_path, "seam-check", "1.0", requires=requires, files=files, entry_points=ENTRY_POINTS)
    done("package", wheel, "--no-index", "--find-links", "links", "--out", "1.zip", folder=tmp_path)
    done("install", "1.zip", "--root", "root", "--allow-unsigned", folder=tmp_path)
    with changing(tmp_path / "root") as store:
        store.fulfil(Wish("activate", "seam-check", "1.0", ("*",)))
    environment = tmp_path / "root" / "seam-check" / "1.0" / "lib"
    options = RunnerOptions(isolation="off", host_arguments=("--sessions", f"sqlite:{tmp_path}/sessions.db"))
    with Runner("seam-check", deployments=tmp_path / "root", options=options) as runner:
        result = runner.execute(BAD, pid="A", session=runner.session())
        cell = int(result.debug["cell"])
        launched = parent_of(parent_of(cell))
        assert parent_of(launched) == os.getpid()
        maps = {process: Path(f"/proc/{process}/maps").read_text() for process in (cell, launched)}
    assert result.verdict == "NG"
    assert set(marks.read_text().splitlines()) == {f"{name} {cell}" for name in LIBRARIES}
    # What native code there is: of the vendor's environment here, of the platform's there.
    assert str(environment) in maps[cell]
    assert str(environment) not in maps[launched]
    assert "/msgspec/" in maps[launched]
    remove(tmp_path / "root")


def test_the_gate_keeps_out_what_judges_golden_pictures_otherwise(root, place):
    assert activate(1, root, place).returncode == 0
    result = activate(3, root, place, "--golden", "golden", "--grant", NEED)
    assert result.returncode == 1
    assert "NG/a.png: it should be NG, and is OK" in result.stdout
    assert rows(root)["1.0"]["active"] == ["*"]
    event = History(root).events[-1]
    assert (event["event"], event["version"], event["grants"]) == ("refused", "3.0", [NEED])
    assert event["gate"][-1]["level"] == "failed"
    (place / "boxes").mkdir(exist_ok=True)
    Image.fromarray(BAD).save(place / "boxes" / "b.png")
    for x, status in ((1, 0), (5, 1)):
        box = {"label": "spot", "x": x, "y": 1, "width": 2, "height": 2}
        expected = [{"file": "b.png", "expected": "NG", "pid": "A", "boxes": [box]}]
        (place / "boxes" / "golden.json").write_text(json.dumps(expected))
        assert activate(2, root, place, "--golden", "boxes").returncode == status


def test_a_rollback_gives_the_version_before_and_the_history_says_why(root, place):
    for version in (1, 2):
        assert activate(version, root, place).returncode == 0
    with Runner("seam-check", deployments=root) as running:
        assert running.command[-2:] == ("--isolation", "strict")
        done("rollback", "seam-check", "--why", "escapes", "--root", root, folder=place)
        result = procvision("uninstall", "seam-check==2.0", "--root", root, folder=place)
        assert result.returncode == 2
        assert "[2007] seam-check==2.0 is running" in result.stderr
        assert lamp_of(running.execute(BAD, pid="A")) == 2
    assert rows(root)["1.0"]["active"] == ["*"]
    result = procvision("rollback", "seam-check", "--root", root, folder=place)
    assert result.returncode == 2
    assert "[2006] nothing of seam-check was active for * before 1.0" in result.stderr
    result = procvision("uninstall", "seam-check==1.0", "--root", root, folder=place)
    assert result.returncode == 2
    assert "[2007] seam-check==1.0 is active for *" in result.stderr
    done("uninstall", "seam-check==2.0", "--root", root, folder=place)
    assert set(rows(root)) == {"1.0", "3.0"}
    shown = done("history", "seam-check", "--root", root, folder=place)
    assert "rolled back seam-check==1.0 for *: escapes" in shown
    assert [event["event"] for event in History(root).events][3:] == [
        "activated", "activated", "rolled back", "uninstalled",
    ]  # fmt: skip


def test_grants_belong_to_an_activation_and_reach_the_host(root, place):
    granted = ("--grant", NEED)
    assert activate(1, root, place, *granted).returncode == 0
    first = active_deployment(root, "seam-check")
    assert first.grants == (NEED,)
    assert rows(root)["1.0"]["grants"] == {"*": [NEED]}
    with Runner("seam-check", deployments=root) as runner:
        assert granted == runner.command[-2:]
        assert runner.execute(BAD, pid="A").verdict == "NG"
    with changing(root) as store:
        for grants in ((NEED,), ()):  # the same again changes nothing
            store.fulfil(Wish("activate", "seam-check", "1.0", ("*",), grants), facts={})
    assert active_deployment(root, "seam-check").grants == ()
    done("rollback", "seam-check", "--root", root, folder=place)
    assert active_deployment(root, "seam-check").grants == (NEED,)
    assert [(event["event"], event["grants"]) for event in History(root).events[3:]] == [
        ("activated", [NEED]), ("activated", []), ("rolled back", [NEED]),
    ]  # fmt: skip
    shown = done("history", "--root", root, folder=place)
    assert f"rolled back seam-check==1.0 for *, granted {NEED}" in shown
    with changing(root) as store:
        store.fulfil(Wish("activate", "seam-check", "1.0", ("*",), ("other=read:/srv", f"seam-check={NEED}")), facts={})
    assert host_command("seam-check", None, RunnerOptions(), root)[-4:] == ("--isolation", "strict", *granted)
    refused = activate(2, root, place, "--grant", f"other={NEED}")
    assert (refused.returncode, "it has no other" in refused.stdout + refused.stderr) == (1, True)
    result = activate(2, root, place, "--grant", "write:/tmp")
    assert result.returncode == 1
    assert "doesn't ask for write:/tmp" in result.stdout


def test_a_requalification_that_is_not_this_ones_or_misses_a_bound_keeps_the_version_out(root, place, tmp_path):
    """Reports as the command writes them, for a version that says the same, and for one that is blind."""
    pytest.importorskip("pyarrow", reason="the extra requalify")
    made_active(root, place, 1)
    made = {}
    for version, status in ((2, 0), (3, 1)):
        made[version] = tmp_path / f"{version}.json"
        words = ("requalify", f"seam-check=={version}.0", "golden", "--against", "seam-check==1.0", "--root", root)
        more = ("--jobs", 1, "--require", "flips<=0", "--json", made[version])
        result = procvision(*words, *more, folder=place)
        assert result.returncode == status, result.stdout + result.stderr
    report = json.loads(made[2].read_text())

    def refused(version, text, words):
        file = tmp_path / "b.json"
        file.write_bytes(text)
        result = activate(version, root, place, "--report", file)
        assert result.returncode == 1, words
        assert words in result.stdout, result.stdout
        assert rows(root)["1.0"]["active"] == ["*"]

    def written(**changed):
        return json.dumps({**report, **changed}).encode()

    def sealed(**changed):
        record = {**report, **changed}
        return json.dumps({**record, "digest": seal_of(record, "digest")}).encode()

    blind = made[3].read_bytes()
    refused(3, blind, "flips<=0: 1.0")
    refused(3, made[2].read_bytes(), "is about seam-check==2.0, not about this installation of seam-check==3.0")
    by_hand = blind.replace(b'"kept": false', b'"kept": true').replace(b'"holds": false', b'"holds": true')
    assert by_hand != blind
    refused(3, by_hand, "was changed after it was made")
    refused(2, written(digest=None), "was changed after it was made")
    refused(2, sealed(new={**report["new"], "identity": "another installation"}), "not about this installation")
    refused(2, sealed(new={**report["new"], "kind": "algorithm"}), "not about this installation")
    refused(2, sealed(kept=False), "a bound is missed")
    refused(2, sealed(format="procvision-requalification/2"), "has the format")
    for text in (b"[]", b"", made[2].read_bytes()[:-9]):
        refused(2, text, "is no report of a requalification")
    assert activate(2, root, place, "--report", made[2]).returncode == 0
    gate = {row["title"]: row for row in History(root).events[-1]["gate"]}
    digest = hashlib.sha256(made[2].read_bytes()).hexdigest()
    assert digest in gate["its requalification speaks for it"]["detail"]


def test_a_history_that_was_changed_is_noticed_and_a_torn_line_never_happened(root, place):
    path = root / "history.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"number":4,"eve')
    assert len(History(root).events) == 3
    assert activate(1, root, place).returncode == 0
    assert [event["number"] for event in History(root).events] == [1, 2, 3, 4]
    lines = whole.splitlines(keepends=True)
    for bad in (
        whole.replace(b'"1.0"', b'"9.0"', 1),
        b"".join(lines[1:]),
        b"".join([lines[0], lines[2]]),
        b"{}\n" + whole,
    ):
        path.write_bytes(bad)
        result = procvision("history", "--root", root, folder=place)
        assert result.returncode == 2
        assert "is not the one that was written" in result.stderr
        assert activate(2, root, place).returncode == 2


@pytest.mark.parametrize("harm", ["changed", "added", "gone", "same size and date", "linked elsewhere"])
def test_files_that_are_not_as_they_were_installed_are_never_run(harm, root, place):
    made_active(root, place, 1)
    folder = root / "seam-check" / "1.0"
    file = next(folder.glob("lib/python3*/site-packages/seam_check/__init__.py"))
    before = file.stat()
    data = file.read_bytes()
    for path in (file.parent, file.parent.parent, folder / "bin"):
        path.chmod(0o700)
    if harm == "changed":
        file.unlink()
        file.write_text("x = 1\n")
    elif harm == "added":
        (file.parent.parent / "sitecustomize.py").write_text("")
    elif harm == "gone":
        file.unlink()
    elif harm == "linked elsewhere":
        (folder / "bin" / "python3").unlink()
        (folder / "bin" / "python3").symlink_to("/bin/true")
    else:
        file.unlink()
        file.write_bytes(bytes(reversed(data)))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        file.chmod(before.st_mode)
    with pytest.raises(LaunchError, match="is not as it was installed"), Supervisor("seam-check", deployments=root):
        pass
    if harm != "same size and date":  # only hashes see that: where a supervisor or a pool starts, and in the gate
        with pytest.raises(LaunchError, match="is not as it was installed") as caught:
            Runner("seam-check", deployments=root).start()
        assert caught.value.error_code == "2001"
        assert rows(root)["1.0"]["fault"] is not None
    result = activate(1, root, place, "--pid", "B")
    assert result.returncode == 1
    assert "FAILED  every file is as it was installed: [2001]" in result.stdout


def test_a_key_that_was_revoked_or_a_clock_set_back_opens_no_gate(root, place, tmp_path):
    shutil.copy2(place / "keys.json", tmp_path / "keys.json")
    done("keys", "revoke", "acme", "--keys", "keys.json", folder=tmp_path)
    result = procvision("activate", "seam-check==1.0", "--root", root, "--keys", "keys.json", folder=tmp_path)
    assert result.returncode == 1
    assert "acme that signed it was revoked" in result.stdout
    held = json.loads((place / "keys.json").read_text())
    held["keys"][0]["until"] = "2030-01-01"
    (tmp_path / "ended.json").write_text(json.dumps(held))
    (tmp_path / "ended.json").chmod(0o600)
    History(root).append("noted", name="seam-check", version="", at="2031-01-01T00:00:00.000+00:00")
    result = procvision("activate", "seam-check==1.0", "--root", root, "--keys", "ended.json", folder=tmp_path)
    assert result.returncode == 1
    assert "acme that signed it ended on 2030-01-01" in result.stdout


@pytest.fixture
def back(root, place):
    """A root whose second version is active, and the keys of its own by which both were."""
    keys = root.parent / "keys.json"
    shutil.copy2(place / "keys.json", keys)
    with changing(root) as store:
        for version in ("1.0", "2.0"):
            store.fulfil(Wish("activate", "seam-check", version, ("*",)), facts={"keys": str(keys)})
    return keys


def test_a_rollback_never_takes_files_that_are_others_than_installed(root, place, back):
    """Of the same size and date, too: only hashes see that."""
    file = next(root.glob("seam-check/1.0/lib/python3*/site-packages/seam_check/__init__.py"))
    file.parent.chmod(0o700)
    before, data = file.stat(), file.read_bytes()
    file.unlink()
    file.write_bytes(bytes(reversed(data)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    file.chmod(before.st_mode)
    result = procvision("rollback", "seam-check", "--root", root, folder=place)
    assert result.returncode == 2
    assert "[2001] seam-check==1.0: " in result.stderr
    assert "seam_check/__init__.py has other bytes" in result.stderr
    assert "--allow-revoked" not in result.stderr
    assert rows(root)["2.0"]["active"] == ["*"]
    event = History(root).events[-1]
    assert (event["event"], event["version"], event["gate"][-1]["level"]) == ("refused", "1.0", "failed")


def test_a_rollback_to_a_version_of_a_revoked_key_takes_a_word_and_a_reason(root, place, back):
    done("keys", "revoke", "acme", "--keys", back, "--why", "stolen", folder=place)
    words = ("rollback", "seam-check", "--root", root)
    for more, status, said in (
        ((), 2, "[2001] seam-check==1.0: the key acme that signed it was revoked"),
        (("--allow-revoked",), 64, "--allow-revoked is given without --why"),
        (("--keys", place / "nobody.json", "--allow-revoked", "--why", "x"), 2, "is not trusted here"),
    ):
        result = procvision(*words, *more, folder=place)
        assert (result.returncode, said in result.stderr) == (status, True), result.stderr
        assert rows(root)["2.0"]["active"] == ["*"]
    result = procvision(*words, "--allow-revoked", "--why", "the line stands", "--for-user", "u-7", folder=place)
    assert result.returncode == 0, result.stderr
    assert "was revoked on" in result.stderr
    assert rows(root)["1.0"]["active"] == ["*"]
    event = History(root).events[-1]
    assert (event["event"], event["why"], event["user"]) == ("rolled back", "the line stands", "u-7")
    assert [row["level"] for row in event["gate"]] == ["warning", "ok"]


def test_a_rollback_to_a_version_of_a_key_that_has_ended_goes_on_and_says_so(root, place, back):
    held = json.loads(back.read_text())
    held["keys"][0]["until"] = "2020-01-01"
    write_private(back, json.dumps(held).encode())
    result = procvision("rollback", "seam-check", "--root", root, folder=place)
    assert result.returncode == 0, result.stderr
    assert "acme that signed it ended on 2020-01-01" in result.stderr
    assert rows(root)["1.0"]["active"] == ["*"]


def test_unsigned_bundles_are_installed_only_by_an_explicit_word_that_is_kept(place, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROCVISION_KEYS", str(tmp_path / "nobody.json"))
        result = procvision("install", place / "1.zip", "--root", "r", folder=tmp_path)
        assert result.returncode == 2
        assert "[2001] the key" in result.stderr
        assert "is not trusted here" in result.stderr
        assert (
            procvision("install", place / "1.zip", "--root", "r", "--allow-unsigned", folder=tmp_path).returncode == 2
        )
    assert Store(tmp_path / "r").versions() == []


CALLS = int(os.environ.get("PROCVISION_CALLS", "60"))
EVERY_S = 0.1
"""Ten calls a second, each at its time, whatever the one before took."""


def test_a_running_supervisor_changes_over_and_back_and_loses_no_call(root, place, capsys):
    """The short form; `nox -s versions` makes 1,000 calls over as many changes as fit, with a setup of two seconds."""
    made_active(root, place, 1)
    lamps, failed, told, took_s, from_link_s, changes = [], [], [], [], [], 0
    link = root / "seam-check" / "active" / "%2A"
    done_with = threading.Event()
    options = SupervisorOptions(spare=True)
    with Supervisor("seam-check", deployments=root, options=options, listeners=[told.append]) as station:

        def call():
            try:
                lamps.append(lamp_of(station.execute(BAD, pid="A")))
            except Exception as error:
                failed.append(error)

        def work():
            begin, number, calls = time.monotonic(), 0, []
            while number < CALLS or not done_with.is_set():
                time.sleep(max(0.0, begin + number * EVERY_S - time.monotonic()))
                calls.append(threading.Thread(target=call))
                calls[-1].start()
                number += 1
            for thread in calls:
                thread.join()

        worker = threading.Thread(target=work)
        worker.start()
        while not changes or len(lamps) < CALLS - 100:
            assert activate(2, root, place).returncode == 0
            wait_for(lambda: lamps and lamps[-1] == 2)
            wait_for(lambda: station.fallback.process_id is not None)
            before = len(told)
            begin = time.monotonic()
            command = [sys.executable, "-m", "procvision_tools", "rollback", "seam-check", "--root", str(root)]
            subprocess.run(command, check=True, capture_output=True)
            wait_for(lambda: lamps[-1] == 1)
            took_s.append(time.monotonic() - begin)
            from_link_s.append(time.time() - link.lstat().st_mtime)
            changes += 2
            # It took no launch: what stood by took over.
            kinds = [type(event).__name__ for event in told[before:]]
            assert "SpareTookOver" in kinds[: kinds.index("Swapped")]
            wait_for(lambda: station.spare.process_id is not None)
        done_with.set()
        worker.join()
    with capsys.disabled():
        print(f"\n{len(lamps)} calls over {changes} changes, {len(failed)} failed")
        for what, times in (("back, from the link's change", from_link_s), ("with the command's start", took_s)):
            print(f"{what}: median {statistics.median(times):.2f} s, at most {max(times):.2f} s")
    assert failed == []
    assert set(lamps) == {1, 2}
    assert len(lamps) >= CALLS


def wait_for(what, timeout_s=60):
    until = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


STATION = """
[station]
name = "line-3"
[pictures]
keep_ok = 0.0
keep_ng = 0.0
keep_error = 0.0
[web]
port = 0
[deployments]
root = "{root}"
keys = "{keys}"
golden = "golden"
[lines.main]
recipe = "seam"
deadline_ms = 20000
max_products = 100
[lines.main.trigger]
kind = "interval"
every_s = 0.1
[lines.main.cameras.top]
kind = "simulated"
"""
RECIPE = """
product = "A"
[[steps]]
camera = "top"
algorithm = "seam-check"
"""


@contextlib.contextmanager
def running_station(folder):
    """A station with its page, an administrator who is signed in, and the header that changes carry."""
    httpx = pytest.importorskip("httpx", reason="asks the page")
    command = [sys.executable, "-m", "procvision_tools", "station", "run", folder]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    try:
        told = {}
        for line in process.stderr:
            for what, pattern in (("page", r"page: (http://\S+)/"), ("word", r"one-time password (\S+)")):
                found = re.search(pattern, line)
                told |= {what: found[1]} if found is not None else {}
            if len(told) == 2:
                break
        with httpx.Client(base_url=told["page"], timeout=300) as browser:
            given = {"name": "admin", "password": told["word"]}
            csrf = browser.post("/api/session", json=given).json()["csrf"]
            new = {"old": told["word"], "new": "a long walk in spring"}
            csrf = browser.post("/api/password", json=new, headers={"x-csrf-token": csrf}).json()["csrf"]
            yield browser, {"x-csrf-token": csrf}
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_a_line_runs_what_is_active_and_its_page_changes_it_while_products_pass(root, place, tmp_path):
    """Activated, refused by golden pictures and taken back: each record says which package gave its verdict."""
    pytest.importorskip("litestar", reason="the extra station serves the page")
    with changing(root) as store:
        store.fulfil(Wish("activate", "seam-check", "1.0", ("*",)), facts=by(place))
    folder = tmp_path / "line-3"
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "seam.toml").write_text(RECIPE)
    (folder / "station.toml").write_text(STATION.format(root=root, keys=place / "keys.json"))
    shutil.copytree(place / "golden", folder / "golden" / "seam-check")
    packages = {row["version"]: row["bundle"] for row in Store(root).versions()}
    journal = folder / "data" / "journal"

    def products():
        return [each for each in records("main", journal / "main") if "steps" in each and "told" in each]

    def answered_by(version):
        steps = [step for product in products()[-1:] for step in product["steps"]]
        return steps and steps[0]["version"] == version

    with running_station(folder) as (browser, token):
        wait_for(lambda: answered_by("1.0"))
        for path, body, status, word in (
            ("activate", {"version": "2.0", "why": "fewer false alarms"}, 201, "2.0"),
            ("activate", {"version": "3.0", "why": "x"}, 409, "it should be NG, and is OK"),
            ("activate", {"version": "9.0", "why": "x"}, 409, "is no deployment"),
            ("rollback", {"why": "escapes"}, 201, "1.0"),
            ("rollback", {"why": "more"}, 409, "nothing of seam-check was active for * before 1.0"),
        ):
            answer = browser.post(f"/api/versions/{path}", json={"name": "seam-check", **body}, headers=token)
            assert answer.status_code == status, answer.text
            assert status == 201 or word in answer.text, answer.text
            if status == 201:
                wait_for(lambda word=word: answered_by(word))
        shown = browser.get("/api/versions").json()
        names = browser.get("/api/names").json()
    rows = {row["version"]: (row["active"], row["package"]) for row in shown["installed"]}
    assert rows == {"1.0": (["*"], packages["1.0"]), "2.0": ([], packages["2.0"]), "3.0": ([], packages["3.0"])}
    assert [(each["event"], each["version"], each["why"]) for each in shown["history"][:3]] == [
        ("rolled back", "1.0", "escapes"), ("refused", "3.0", "x"), ("activated", "2.0", "fewer false alarms"),
    ]  # fmt: skip
    steps = [step for product in products() for step in product["steps"]]
    assert {product["told"] for product in products()} <= {"OK", "NG"}
    seen = list(dict.fromkeys((step["distribution"], step["version"], step["package"]) for step in steps))
    assert sorted(seen) == [("seam-check", "1.0", packages["1.0"]), ("seam-check", "2.0", packages["2.0"])]
    assert {(step["version"], step["debug"]["lamp"]) for step in steps} == {("1.0", 1), ("2.0", 2)}
    events = [each for each in records("main", journal / "main") if each.get("event") == "version"]
    assert [(each["old"], each["new"]) for each in events] == [("1.0", "2.0"), ("2.0", "1.0")]
    said = [each for each in records("_station", journal / "_station") if str(each.get("event")).startswith("version_")]
    assert [(each["event"], each["version"], each["why"]) for each in said] == [
        ("version_activated", "2.0", "fewer false alarms"), ("version_refused", "3.0", "x"),
        ("version_taken_back", "1.0", "escapes"),
    ]  # fmt: skip
    users = {each["user"] for each in said}
    assert {names[user] for user in users} == {"admin"}
    assert {each["by"] for each in shown["history"][:3]} == users
    assert said[0]["bundle"] == packages["2.0"]


class VersionsPage:
    """The page of versions in a window of Chromium, as an administrator uses it."""

    def __init__(self, window, address):
        self.window, self.address = window, address
        window.set_default_timeout(60_000)
        window.goto(f"{address}/versions")

    def answer(self, why, yes):
        dialog = self.window.locator("dialog[open]")
        dialog.locator("input[name=answer]").fill(why)
        dialog.get_by_role("button", name=yes, exact=True).click()
        dialog.wait_for(state="detached")

    def pressed(self, button, why, yes):
        """First the dialog is cancelled."""
        for answer in ("Cancel", yes):
            button.click()
            self.answer(why, answer)

    def row(self, version):
        return self.window.get_by_role("region", name="Installed", exact=True).locator("tbody tr", has_text=version)

    def uploaded(self, path, *refusal):
        self.window.locator("#bundle").set_input_files(path)
        self.pressed(self.window.get_by_role("button", name="Upload and install"), "by hand", "Install")
        self.refused(*refusal)

    def activated(self, version, *refusal):
        self.pressed(self.row(version).get_by_role("button", name="Activate"), "fewer false alarms", "Activate")
        self.refused(*refusal)

    def refused(self, *words):
        """It says so in these words, where there are some."""
        for word in words:
            self.window.locator("#messages .bad", has_text=word).last.wait_for()


def test_the_versions_page_installs_activates_refuses_and_takes_back_by_its_dialogs(place, tmp_path):
    """In Chromium: a bundle of a folder and one that is uploaded; what is refused says why, and all is in the audit."""
    pytest.importorskip("litestar", reason="the extra station serves the page")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    chromium = shutil.which("chromium") or pytest.skip("Chromium is not installed; hint: apt-get install chromium")
    root, folder = tmp_path / "root", tmp_path / "line-3"
    done("install", place / "1.zip", *at(root, place), folder=place)
    made_active(root, place, 1)
    for below in ("recipes", "bundles"):
        (folder / below).mkdir(parents=True)
    (folder / "recipes" / "seam.toml").write_text(RECIPE)
    bundles = 'golden = "golden"\nbundles = "bundles"\nmax_bundle_mb = 1'
    text = STATION.format(root=root, keys=place / "keys.json").replace('golden = "golden"', bundles)
    (folder / "station.toml").write_text(text)
    shutil.copytree(place / "golden", folder / "golden" / "seam-check")
    shutil.copy2(place / "2.zip", folder / "bundles" / "seam-2.zip")
    (folder / "bundles" / "notes.txt").write_text("no bundle")
    for name, data in (("broken", (place / "3.zip").read_bytes()[:-100]), ("large", bytes(1_000_001))):
        (tmp_path / f"{name}.zip").write_bytes(data)
    with running_station(folder) as (browser, _), sync_api.sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context, address = chrome.new_context(), str(browser.base_url)
        context.add_cookies([{"name": each.name, "value": each.value, "url": address} for each in browser.cookies.jar])
        page = VersionsPage(context.new_page(), address)
        install = page.window.locator("#bundles tbody tr").get_by_role("button", name="Install")
        page.pressed(install, "the new lamp", "Install")
        page.row("2.0").wait_for()
        page.uploaded(tmp_path / "large.zip", "more than 1000000 bytes")
        page.uploaded(tmp_path / "broken.zip", "2001")
        page.uploaded(place / "3.zip")
        page.row("3.0").wait_for()
        page.activated("3.0", "it should be NG, and is OK")
        page.activated("2.0")
        page.row("2.0").get_by_text("every product").wait_for()
        page.pressed(page.row("2.0").get_by_role("button", name="Roll back"), "escapes", "Roll back")
        page.row("1.0").get_by_text("every product").wait_for()
        packages = {row["version"]: row["bundle"] for row in Store(root).versions()}
        product = browser.get("/api/products?limit=1").json()["rows"][0]
        page.window.goto(f"{address}/lines/main/products/{product['key']}")
        page.window.get_by_title(re.compile("^[0-9a-f]{64}$")).wait_for()
        (step,) = browser.get(f"/api/lines/main/products/{product['key']}").json()["product"]["steps"]
        assert (step["distribution"], step["package"]) == ("seam-check", packages[step["version"]])
        chrome.close()
    assert list((folder / "data" / "uploads").iterdir()) == []
    ledger = records("_station", folder / "data" / "journal" / "_station")
    said = [each for each in ledger if str(each.get("event")).startswith("version_")]
    assert [(each["event"], each.get("version"), each["why"]) for each in said] == [
        ("version_installed", "2.0", "the new lamp"), ("version_not_installed", None, "by hand"),
        ("version_installed", "3.0", "by hand"), ("version_refused", "3.0", "fewer false alarms"),
        ("version_activated", "2.0", "fewer false alarms"), ("version_taken_back", "1.0", "escapes"),
    ]  # fmt: skip
    assert {each["signed_by"] for each in said if each["event"] == "version_installed"} == {"acme"}
    assert len({each["user"] for each in said}) == 1
    installed = [each for each in Store(root).history.events if each["event"] == "installed"][1]
    assert (installed["user"], installed["why"]) == (said[0]["user"], "the new lamp")


def test_a_pool_follows_too(root, place):
    made_active(root, place, 1, pid="A")
    with Pool("seam-check", hosts=2, deployments=root, pid="A") as pool:
        assert lamp_of(pool.execute(BAD, pid="A")) == 1
        assert activate(2, root, place, "--pid", "A").returncode == 0
        wait_for(lambda: lamp_of(pool.execute(BAD, pid="A")) == 2)


def test_what_is_not_there_is_said_with_its_code(root, place, tmp_path):
    for where, pid, words in (
        (root, None, "no version of seam-check is active in"),
        (root, "A", "no version of seam-check is active for product A"),
        (tmp_path / "nowhere", None, "is no folder of deployments"),
    ):
        with pytest.raises(LaunchError, match=words) as caught:
            Runner("seam-check", deployments=where, pid=pid)
        assert caught.value.error_code in ("2005", "2006")
        assert "hint: " in str(caught.value)
    with pytest.raises(ValueError, match="give deployments=ROOT"):
        Runner("seam-check", pid="A")


def test_a_product_may_be_called_anything(root, place):
    pids = ["../x", ".", "..", "a/b", "*", "%2A", "Ü 1", ".new"]
    assert activate(1, root, place, *(word for pid in pids for word in ("--pid", pid))).returncode == 0
    assert rows(root)["1.0"]["active"] == sorted(pids)
    assert active_deployment(root, "seam-check", "..").version == "1.0"
    assert sorted(path.name for path in root.iterdir()) == [".lock", "history.jsonl", "seam-check"]


def test_two_commands_at_once_are_one_after_the_other(root, place):
    with changing(root):
        result = activate(1, root, place)
    assert result.returncode == 2
    assert "[2006] another command changes" in result.stderr
    assert activate(1, root, place).returncode == 0


# --- killed, full, read-only ----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from procvision_tools.deployments import store
from procvision_tools.cli.main import main
at, seen = int(sys.argv[1]), 0

def fault(event, arguments):
    global seen
    if event in {"os.rename", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.truncate"} or (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    ):
        if ROOT in str(arguments[0]) or isinstance(arguments[0], int):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

ROOT = sys.argv[2]
sys.addaudithook(fault)
main(sys.argv[3:])
"""
"""The process ends before its Nth change of the folder: wherever that is between two of its system calls."""


def killed_at(number, root, *arguments, folder):
    words = [sys.executable, "-c", KILLED, str(number), str(root), *map(str, arguments)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True).returncode


def whole(root):
    """Nothing that a killed command left, and what history and links say is the same."""
    store = Store(root)
    state = store.state()
    assert state.left == frozenset()
    assert {path.name for path in root.iterdir()} == {".lock", "history.jsonl", "seam-check"}
    links = {"active"} if state.active else set()
    assert {path.name for path in (root / "seam-check").iterdir()} == {v for _, v in state.installed} | links
    assert {product: versions[-1] for product, versions in state.wanted.items()} == dict(state.active)
    for row in store.versions():
        assert row["fault"] is None
    return state


@pytest.mark.parametrize("what", ["activate", "rollback", "uninstall"])
def test_killed_at_any_change_leaves_the_old_or_the_new_and_the_next_command_completes(what, root, place, tmp_path):
    """Short: some of the changes. `PROCVISION_KILLS=all` kills at each of them."""
    made_active(root, place, 1, 2)
    if what == "uninstall":
        done("rollback", "seam-check", "--root", root, folder=place)
    command = {
        "activate": ("activate", "seam-check==3.0", *at(root, place)),
        "rollback": ("rollback", "seam-check", "--root", root),
        "uninstall": ("uninstall", "seam-check==2.0", "--root", root),
    }[what]
    old, new = {"activate": ("2.0", "3.0"), "rollback": ("2.0", "1.0"), "uninstall": ("1.0", "1.0")}[what]
    spare = "1.0" if what == "activate" else "3.0"
    every = os.environ.get("PROCVISION_KILLS") == "all"
    numbers = range(1, 100_000) if every else [1, 2, 4, 6, 200]
    kills = 0
    for number in numbers:
        trial = copied(root, tmp_path / "trial")
        words = [trial if word == root else word for word in command]
        status = killed_at(number, trial, *words, folder=place)
        seen = {version for version, row in rows(trial).items() if row["active"]}
        assert seen in ({old}, {new}), (number, seen)
        with Runner("seam-check", deployments=trial) as runner:
            assert runner.execute(BAD, pid="A").status == "OK"
        done("uninstall", f"seam-check=={spare}", "--root", trial, folder=place)
        state = whole(trial)
        assert state.active["seam-check", "*"] in (old, new)
        remove(trial)
        if status != -signal.SIGKILL:
            assert status == 0
            break
        kills += 1
    assert kills >= 3


# --- killed between two of its system calls -------------------------------------------------------------------------

CHANGES = {
    "chmod", "clone", "clone3", "fchmod", "fchmodat", "fsync", "ftruncate", "mkdir", "pwrite64", "rename", "renameat",
    "rmdir", "symlink", "symlinkat", "syncfs", "unlink", "unlinkat", "vfork", "write",
}  # fmt: skip
LONG = os.environ.get("PROCVISION_KILLS") == "all"
NEEDS_STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the faults")


def strace(log, *words, folder, more=()):
    command = ["strace", "-o", log, *more, sys.executable, "-m", "procvision_tools", *words]
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True)


def calls_of(log):
    """The system calls after the lock was taken, each by its name and how many of that name there were with it."""
    made, found, locked = {}, [], False
    for line in log.read_text(errors="replace").splitlines():
        name = line.partition("(")[0]
        if not name.isidentifier():
            continue
        made[name] = made.get(name, 0) + 1
        if locked and name != "exit_group":
            found.append((name, made[name]))
        locked = locked or (name == "flock" and "LOCK_EX" in line)
    return found


def sampled(calls):
    """Of each name that changes something the first, the last and ten others, and twenty others; in short a few."""
    changes = [call for call in calls if call[0] in CHANGES]
    others = [call for call in calls if call[0] not in CHANGES]
    dice = random.Random(15)
    if LONG:
        chosen = set(dice.sample(others, min(20, len(others))))
        for name in CHANGES:
            ones = [call for call in changes if call[0] == name]
            chosen |= {*ones[:1], *ones[-1:], *dice.sample(ones, min(10, len(ones)))}
    else:
        chosen = {*changes[-3:], *dice.sample(changes, min(2, len(changes)))}
    return [call for call in calls if call in chosen]


@NEEDS_STRACE
@pytest.mark.parametrize("what", ["rollback", *(["activate", "uninstall", "install"] if LONG else [])])
def test_killed_between_two_system_calls_leaves_the_old_or_the_new(what, root, place, tmp_path, capsys):
    """`nox -s versions` takes a sample of every command's; in short some of a rollback's."""
    wishes = {
        "rollback": ("rollback", "seam-check", "--root"),
        "uninstall": ("uninstall", "seam-check==3.0", "--root"),
        "activate": ("activate", "seam-check==3.0", *at("", place)),
        "install": ("install", place / "3.zip", *at("", place)),
    }
    for version in (1, 2):
        History(root).append("activated", name="seam-check", version=f"{version}.0", pid="*", grants=[], **by(place))
    with changing(root) as store:
        store.fulfil(Wish("uninstall", "seam-check", "3.0") if what == "install" else Wish("mend"))
    seen = {"killed": 0, "old": 0, "new": 0}

    def attempt(*more):
        trial = copied(root, tmp_path / "trial")
        words = [*wishes[what], trial] if what in ("rollback", "uninstall") else [
            trial if word == "" else word for word in wishes[what]]  # fmt: skip
        return trial, strace(tmp_path / "log", *words, folder=place, more=more)

    trial, done = attempt()
    assert done.returncode == 0, done.stderr
    calls = calls_of(tmp_path / "log")
    after = whole(trial)
    remove(trial)
    before = whole(root)
    for name, number in sampled(calls):
        trial, done = attempt("-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={number}")
        seen["killed"] += done.returncode == -signal.SIGKILL
        shown = {version: row["active"] for version, row in rows(trial).items()}
        old, new = ({v: sorted(p for (_, p), w in s.active.items() if w == v) for _, v in s.installed}
                    for s in (before, after))  # fmt: skip
        assert shown in (old, new), (name, number, shown)
        with Runner("seam-check", deployments=trial) as runner:
            result = runner.execute(BAD, pid="A")
            assert (result.status, shown[f"{lamp_of(result)}.0"]) == ("OK", ["*"])
        with changing(trial) as store:
            store.fulfil(Wish("mend"))
        state = whole(trial)
        is_new = (state.installed.keys(), state.active) == (after.installed.keys(), after.active)
        assert is_new or (state.installed.keys(), state.active) == (before.installed.keys(), before.active)
        seen["new" if is_new else "old"] += 1
        remove(trial)
    with capsys.disabled():
        print(f"\n{what}: {seen} of {len(calls)} system calls")
    assert seen["killed"] > len(sampled(calls)) / 2  # how often it waits for a host is never the same


def test_killed_while_it_installs_leaves_nothing_that_is_seen(place, tmp_path):
    """Short: at the first changes, in the middle, and at the last."""
    root = tmp_path / "root"
    arguments = ("install", place / "1.zip", *at(root, place))
    for number in (1, 4, 6, 30):
        assert killed_at(number, root, *arguments, folder=place) == -signal.SIGKILL
        assert json.loads(done("versions", "--root", root, "--json", folder=place))["versions"] == []
    done(*arguments, folder=place)
    assert set(whole(root).installed) == {("seam-check", "1.0")}
    assert [event["event"] for event in History(root).events] == ["installed"]
    remove(root)


SMALL_DISK = """
import contextlib, io, json, os, subprocess, sys, time
from pathlib import Path
import numpy as np
from procvision_runner import Runner, Supervisor
from procvision_tools.cli.main import status_of
from procvision_tools.deployments.history import History
root, disk, place = map(Path, sys.argv[1:])
picture = np.full((8, 8, 3), 250, np.uint8)
megabytes = sum(file.lstat().st_blocks for file in root.rglob("*")) // 2048 + 40

def mount(*words):
    subprocess.run(["mount", *words], check=True)

def command(*words):
    words = [*words, "--root", disk]
    words += ["--keys", place / "keys.json"] if words[0] in ("install", "activate") else []
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.redirect_stderr(text):
        status = status_of([str(word) for word in words])
    return status, text.getvalue()

def seen():
    status, text = command("versions", "--json")
    rows = {row["version"]: row["active"] for row in json.loads(text)["versions"]}
    hidden = sorted(path.name for path in disk.rglob(".*") if path.parent in (disk, disk / "seam-check"))
    with Runner("seam-check", deployments=disk) as runner:
        fresh = runner.execute(picture, pid="A").verdict
    return rows, hidden, fresh, station.execute(picture, pid="A").debug["lamp"]

def fill(free):
    with open(disk / ".fill", "wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"0" * 65536)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - free))

mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk)
subprocess.run(["cp", "-a", f"{root}/.", disk], check=True)
# Up to the end of a page of the disk, so that no further line finds room.
file, length = disk / "history.jsonl", 0
for _ in range(2):
    before = file.stat().st_size
    History(disk).append("noted", name="seam-check", version="", pad="x" * (-(before + length) % 4096 if length else 0))
    length = file.stat().st_size - before
assert file.stat().st_size % 4096 == 0
told = []
with Supervisor("seam-check", deployments=disk) as station:
    for free, wish in ((0, ("install", place / "3.zip")), (8 << 20, ("install", place / "3.zip")),
                       (0, ("activate", "seam-check==2.0")), (0, ("rollback", "seam-check")),
                       (0, ("uninstall", "seam-check==2.0"))):
        fill(free)
        told.append((" ".join(map(str, wish)), *command(*wish), *seen(), len(History(disk).events)))
    (disk / ".fill").unlink()
    mount("-o", "remount,ro", disk)
    for wish in (("activate", "seam-check==2.0"), ("rollback", "seam-check")):
        told.append((" ".join(map(str, wish)), *command(*wish), *seen(), len(History(disk).events)))
    mount("-o", "remount,rw", disk)
    told.append(("then", *command("activate", "seam-check==2.0"), *seen(), len(History(disk).events)))
    until = time.monotonic() + 60
    while station.execute(picture, pid="A").debug["lamp"] != 2 and time.monotonic() < until:
        time.sleep(0.05)
    told[-1] = (*told[-1][:6], station.execute(picture, pid="A").debug["lamp"], told[-1][7])
print(json.dumps(told))
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes a mount of its own")
def test_a_disk_that_is_full_or_read_only_leaves_the_old_version_running(root, place):
    """The root lies on a small disk; a supervisor runs from it, and a runner is launched after each command."""
    with changing(root) as store:
        store.fulfil(Wish("uninstall", "seam-check", "3.0"))
        for version in ("2.0", "1.0"):
            store.fulfil(Wish("activate", "seam-check", version, ("*",)), facts=by(place))
    (root.parent / "disk").mkdir()
    words = ["unshare", "--mount", sys.executable, "-c", SMALL_DISK, root, root.parent / "disk", place]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *told, then = json.loads(done.stdout)
    before = len(History(root).events) + 2
    assert len(told) == 7
    for wish, status, text, shown, hidden, fresh, lamp, events in told:
        assert (wish, status) == (wish, 2), text
        assert "[2005]" in text, (wish, text)
        assert "hint: " in text, (wish, text)
        assert "No space left" in text or "Read-only" in text, (wish, text)
        assert shown == {"1.0": ["*"], "2.0": []}, wish
        assert set(hidden) <= {".lock", ".fill"}, wish
        assert (fresh, lamp, events) == ("NG", 1, before), wish
    assert then[1] == 0, then[2]
    assert then[3] == {"1.0": [], "2.0": ["*"]}
    assert then[6] == 2


def test_a_clock_that_was_set_back_makes_no_ended_key_count_again(root, place, tmp_path, monkeypatch):
    """The key ended yesterday; the history has an event of today; now the clock says the day before yesterday."""
    today = datetime.datetime.now(datetime.UTC)
    made_active(root, place, 1)
    keys = json.loads((place / "keys.json").read_text())
    keys["keys"][0]["until"] = (today - datetime.timedelta(days=1)).date().isoformat()
    write_private(tmp_path / "keys.json", json.dumps(keys).encode())
    with changing(root) as store:
        store.fulfil(Wish("uninstall", "seam-check", "3.0"))
    monkeypatch.setattr(history, "now", lambda: today - datetime.timedelta(days=2))
    for wish, status in ((("activate", "seam-check==2.0"), 1), (("install", place / "3.zip"), 2)):
        result = procvision(*wish, "--root", root, "--keys", tmp_path / "keys.json", folder=place)
        assert result.returncode == status
        assert "the key acme that signed it ended on" in result.stdout + result.stderr
        assert {version: row["active"] for version, row in rows(root).items()} == {"1.0": ["*"], "2.0": []}
    # What is no question of keys goes on, and the order is by number.
    with changing(root) as store:
        store.fulfil(Wish("activate", "seam-check", "2.0", ("*",)), facts={})
    done("rollback", "seam-check", "--root", root, folder=place)
    events = History(root).events
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["at"] < events[0]["at"]
    with Runner("seam-check", deployments=root) as runner:
        assert lamp_of(runner.execute(BAD, pid="A")) == 1


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes a network namespace of its own")
def test_nothing_is_fetched(place, tmp_path):
    """Installed where there is no network interface at all."""
    words = [
        "unshare",
        "--net",
        sys.executable,
        "-m",
        "procvision_tools",
        "install",
        place / "2.zip",
        *at(tmp_path / "r", place),
    ]
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert set(rows(tmp_path / "r")) == {"2.0"}
    links = [path.stat().st_nlink for path in (tmp_path / "r").rglob("*.py")]
    assert set(links) == {1}, "a write in one version would change the other"
    remove(tmp_path / "r")


def test_a_bundle_error_is_what_changing_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="can't be written") as caught, changing(tmp_path / "file" / "root"):
        pass
    assert caught.value.error_code == "2005"
