"""`procvision validate`: what is sound passes; whatever is wrong is named, in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="jinja2 makes the project")
pytest.importorskip("cv2", reason="what the template makes runs on OpenCV")

from procvision_tools.scaffold.names import Names
from procvision_tools.scaffold.project import Project, write

PROCVISION = (sys.executable, "-m", "procvision_tools.cli.main")


@pytest.fixture
def project(tmp_path):
    write(Project(names=Names.of("weld-check"), description="x", author="", pids=("A", "B")), tmp_path / "weld-check")
    return tmp_path / "weld-check"


def validate(*arguments, folder, timeout=60):
    return subprocess.run([*PROCVISION, "validate", *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout)  # fmt: skip


def changed(path, pattern, replacement):
    text = path.read_text()
    path.write_text(re.sub(pattern, lambda _: replacement, text, count=1))
    assert path.read_text() != text


def test_a_new_project_passes_and_nothing_is_left_behind(project):
    before = sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts)
    done = validate(folder=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == "weld-check"
    assert re.search(r"\d+ ok$", done.stdout.strip())
    assert "product B: pre and execute with a black picture: OK, then NG" in done.stdout
    assert "\x1b" not in done.stdout
    assert before == sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts)


def test_the_report_for_machines(project):
    done = validate(project, "--json", folder=project.parent)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    (algorithm,) = report["algorithms"]
    assert algorithm["name"] == "weld-check"
    assert algorithm["counts"] == {"ok": len(algorithm["findings"]), "warning": 0, "failed": 0, "skipped": 0}
    assert set(algorithm["findings"][0]) == {"title", "level", "detail", "hint"}


def test_a_wheel_is_looked_into(project):
    wheel = project.parent / "weld_check-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for path in (project / "src").rglob("*"):
            file.write(path, path.relative_to(project / "src"))
        info = "weld_check-0.1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: weld-check\nVersion: 0.1.0\n")
        points = "[console_scripts]\na = b:c\n\n[procvision.algorithms]\nweld-check = weld_check.algorithm:WeldCheck\n"
        file.writestr(f"{info}/entry_points.txt", points)
    done = validate(wheel, folder=project.parent)
    assert done.returncode == 0, done.stdout + done.stderr


MANIFEST, ALGORITHM, PYPROJECT = "src/weld_check/manifest.json", "src/weld_check/algorithm.py", "pyproject.toml"


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "told"),
    [
        (MANIFEST, r'"version": "0.1.0"', '"version": "0.2.0"', "version is '0.2.0', the distribution's '0.1.0'"),
        (MANIFEST, r'"name": "weld-check"', '"name": "seam-check"', "name is 'seam-check', the entry point's"),
        (MANIFEST, r'"default": 90', '"default": 300', "its default is 300, allowed is 0..255"),
        (MANIFEST, r'"index": 1', '"index": 2', "count from 1 without gaps"),
        (MANIFEST, r'"min": 0', '"mni": 0', "unknown field `mni`"),
        (MANIFEST, r'"required_assets": {}', '"required_assets": {"A": ["model.onnx"]}', "model.onnx (for A)"),
        (MANIFEST, r'\["A", "B"\]', '["A", "A"]', "A: declared more than once"),
        (PYPROJECT, r"WeldCheck", "Missing", "they name one class"),
        (PYPROJECT, r'\[project.entry-points."procvision.algorithms"\]', "[tool.x]", "names none"),
        (ALGORITHM, r"import cv2", "import os; os._exit(7)", "ended with status 7"),
        (ALGORITHM, r"import cv2", "import no_such_module", "No module named 'no_such_module'"),
        (ALGORITHM, r'{"labels": \["mark"\]}', '{"version": "9"}', "version is '9', the manifest has '0.1.0'"),
        (ALGORITHM, r'return Ok\(message="no marks"\)', "return None", "missing or None|malformed: it returned"),
        (ALGORITHM, r"        picture = read", "        os.kill(os.getpid(), 9) if pid == 'B' else 0; picture = read",
         "pre and execute with a good picture: .*"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_failed_row_and_status_1(file, pattern, replacement, told, project):
    changed(project / file, pattern, replacement)
    if "os.kill" in replacement:
        changed(project / file, r"import cv2", "import os\n\nimport cv2")
    done = validate("--json", folder=project)
    assert done.returncode == 1, done.stdout + done.stderr
    rows = json.loads(done.stdout)["algorithms"][0]["findings"]
    failed = [f"{row['title']}: {row['detail']}" for row in rows if row["level"] == "failed"]
    assert any(told in text or re.search(told, text) for text in failed), failed
    if "os.kill" in replacement:
        assert rows[-1]["level"] == "skipped"
        assert "SIGKILL" in failed[-1]


def test_what_is_only_odd_is_a_warning(project):
    changed(project / PYPROJECT, r', "procvision\[images\]>=0.1"', "")
    changed(project / PYPROJECT, r'version = "0.1.0"', 'dynamic = ["version"]')
    changed(project / MANIFEST, r'"Smaller marks are not reported"', '""')
    changed(project / MANIFEST, r'"description": "x"', '"description": "", "reads_pictures": false, "x-line": 3')
    done = validate("--json", folder=project)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    warned = [row["title"] for row in report["algorithms"][0]["findings"] if row["level"] == "warning"]
    expected = ["it depends on procvision", "the version is stated", "steps and parameters", "description"]
    assert warned == [*expected, "keys of the manifest"]
    (ignored,) = (row for row in report["algorithms"][0]["findings"] if row["title"] == "keys of the manifest")
    assert (ignored["detail"], ignored["hint"]) == (
        "nobody reads reads_pictures",
        "did you mean reads_picture for reads_pictures?",
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no/such/folder"], "no/such/folder is not there"),
        (["x.whl"], "x.whl is not there"),
        (["text.whl"], "text.whl is no wheel"),
        (["empty"], "can't be read"),
        (["broken"], "is no TOML"),
        (["nameless"], "has no [project] with a name"),
        ([".", "--image", "text.whl"], "no picture that can be read"),
        ([".", "--timeout-s", "0"], "0"),
    ],
)
def test_what_cannot_be_looked_at_is_64_with_a_hint(arguments, text, tmp_path):
    for name, content in (("empty", None), ("broken", "[project"), ("nameless", "[tool.x]\n")):
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "pyproject.toml").write_text(content)
    (tmp_path / "text.whl").write_text("not zipped")
    done = validate(*arguments, folder=tmp_path)
    assert done.returncode == 64
    assert text in done.stderr
    if "--image" not in arguments:
        assert "hint: " in done.stderr


def test_a_name_that_is_not_installed_is_a_failed_row(tmp_path):
    done = validate("no-such-algorithm", folder=tmp_path)
    assert done.returncode == 1
    assert "no algorithm 'no-such-algorithm' is installed" in done.stdout


def test_an_installed_algorithm_passes_with_a_picture_of_its_own(tmp_path):
    pytest.importorskip("procvision_pcb", reason="plugins/procvision-pcb is not installed")
    from procvision_testing.boards import make_board
    from procvision_tools.report.pictures import write_png

    write_png(tmp_path / "board.png", make_board(seed=3).picture)
    done = validate("pcb-compare", "--image", "board.png", folder=Path(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pre and execute with a board.png picture: OK, then OK" in done.stdout


def test_its_code_is_shut_in_and_what_it_needs_is_named(project):
    """While it is imported as while it is called; what was granted it has."""
    secret = project.parent / "secret"
    secret.write_text("secret")
    need = f"read:{secret}"
    changed(project / ALGORITHM, r"import cv2", f"import cv2; open({str(secret)!r}).read()")
    changed(project / MANIFEST, '"needs": {}', json.dumps({"needs": {need: "a file of its own"}})[1:-1])
    done = validate(folder=project)
    assert done.returncode == 1, done.stdout
    assert f"weld-check needs to read {secret}, which isn't granted" in done.stdout
    assert f"grant it by --grant {need}" in done.stdout
    done = validate("--grant", need, folder=project)
    assert done.returncode == 0, done.stdout
    assert f"{need}: a file of its own" in done.stdout
