"""The whole way as a vendor goes it, in fresh environments: from `procvision init` to a station without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")
pytest.importorskip("packaging.metadata", reason="packaging reads wheels")

from procvision_testing import make_plate, with_marks  # noqa: E402
from procvision_tools.bundling.tools import find_uv  # noqa: E402

ROOT = Path(__file__).parents[2]
STATION = """
from procvision_runner import Runner
from procvision_testing import SamplePictures

pictures = SamplePictures()
with Runner("weld-check") as runner:
    assert runner.info()["versions"]["algorithm"] == "0.2.0", runner.info()
    for picture in (pictures.good, pictures.bad):
        result = runner.execute(picture, pid="A-7")
        print(result.verdict, result.ng_reason, sorted(defect.label for defect in result.defects))
"""


class Workplace:
    """A folder, an environment of its own, and nothing of this one."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.bin = folder / name / "bin"
        steering = ("PYTHONPATH", "PYTEST", "VIRTUAL_ENV")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
        self.environment["PATH"] = f"{self.bin}:{self.environment['PATH']}"
        uv = find_uv()
        if uv is not None:
            self("an environment", uv, "venv", "--quiet", "--python", sys.executable, folder / name)
            self._installer = [uv, "pip", "install", "--quiet", "--python", str(self.bin / "python")]
        else:
            self("an environment", sys.executable, "-m", "venv", folder / name)
            self._installer = [str(self.bin / "python"), "-m", "pip", "install", "--quiet"]

    def install(self, *arguments, may_fail=False):
        """As a vendor installs."""
        return self("install", *self._installer, *arguments, may_fail=may_fail)

    def __call__(self, what, *command, status=0, folder=None, may_fail=False):
        """Runs a program of this environment and gives what it printed."""
        words = [str(word) for word in command]
        if (self.bin / words[0]).exists():
            words[0] = str(self.bin / words[0])
        done = subprocess.run(words, cwd=folder or self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=110)  # fmt: skip
        if may_fail and done.returncode != 0:
            pytest.skip(f"{what}: nothing can be had here: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == status, f"{what}\n{done.stdout}{done.stderr}"
        return done.stdout


def labelled_pictures(folder):
    """A data set in YOLO's layout: three plates, two with stains."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames:\n  0: stain\n")
    for number, marks in enumerate(([], ["spot"], ["spot", "scratch", "spot"])):
        picture, placed = with_marks(make_plate(seed=number), marks, seed=number)
        height, width = picture.shape[:2]
        Image.fromarray(picture).save(folder / f"images/{number}.png")
        lines = []
        for box in placed:
            x, y = (box.x + box.width / 2) / width, (box.y + box.height / 2) / height
            lines.append(f"0 {x} {y} {box.width / width} {box.height / height}")
        (folder / f"labels/{number}.txt").write_text("\n".join(lines))
    return folder


def edited(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.timeout(400)
def test_from_an_idea_to_a_station_without_a_network(tmp_path):
    """init, test, edit, run, evaluate, package, validate, install elsewhere with no index, run there."""
    vendor = Workplace(tmp_path, "vendor")
    links = tmp_path / "links"
    build = [find_uv(), "build", "--wheel", "--quiet", "--out-dir"] if find_uv() else [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]  # fmt: skip
    vendor("our own wheel", *build, links, ROOT, may_fail=True)
    (ours,) = links.glob("procvision-*.whl")
    vendor.install(f"procvision[bundle,cli,sign] @ {ours.as_uri()}", may_fail=True)

    assert "weld-check/" in vendor("init", "procvision", "init", "weld-check")
    project = tmp_path / "weld-check"
    vendor.install("-e", f"{project}[test]", "--find-links", links)
    assert "5 passed" in vendor("test", "pytest", "-q", folder=project)

    edited(project / "src/weld_check/algorithm.py", ('label="mark"', 'label="stain"'), ("no marks", "spotless"))
    edited(project / "src/weld_check/manifest.json", ('"0.1.0"', '"0.2.0"'))
    edited(project / "pyproject.toml", ('version = "0.1.0"', 'version = "0.2.0"'))
    vendor.install("-e", project, "--find-links", links)
    assert "5 passed" in vendor("test again", "pytest", "-q", folder=project)

    data = labelled_pictures(tmp_path / "stains")
    said = vendor("run", "procvision", "run", "weld-check", "--image", data / "images/2.png", "--json", status=1)
    assert [defect["label"] for defect in json.loads(said)["defect_rects"]] == ["stain"] * 3
    assert "spotless" in vendor("run", "procvision", "run", "weld-check", "--image", data / "images/0.png")
    vendor("evaluate", "procvision", "evaluate", "weld-check", data, "--require", "f_score>=0.99", "--json", "r.json")
    assert json.loads((tmp_path / "r.json").read_text())

    vendor("validate the project", "procvision", "validate", folder=project)
    vendor("a key", "procvision", "keys", "new", "acme")
    arguments = ("--find-links", links, "--sign", tmp_path / "acme.key", "--json")
    said = vendor("package", "procvision", "package", *arguments, folder=project)
    bundle = project / json.loads(said)["path"]
    store = tmp_path / "keys.json"
    assert "is not trusted here" in vendor("verify", "procvision", "verify", bundle, "--keys", store, status=1)
    vendor("trust it", "procvision", "keys", "trust", "acme.pub", "--keys", store, "--for", "weld-check")
    vendor("verify", "procvision", "verify", bundle, "--keys", store)
    checked = vendor("validate the bundle", "procvision", "validate", bundle, "--keys", store)
    assert "it can be installed without a network: into an environment of its own" in checked
    assert re.search(r"\n\d+ ok\n", checked)

    station = Workplace(tmp_path, "station")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "bundle")
    assert not list((tmp_path / "bundle/wheels").glob("procvision-*")), "ProcVision is the station's own"
    station.install("--no-index", "--find-links", tmp_path / "bundle/wheels", "--find-links", links, "weld-check")
    assert "weld-check" in station("list", "procvision-host", "list")
    station("check", "procvision-host", "check", "weld-check")
    said = station("run there", "python", "-c", STATION)
    assert said.splitlines() == ["OK None []", "NG 3 marks ['stain', 'stain', 'stain']"]
