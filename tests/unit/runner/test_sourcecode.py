"""Where an algorithm's code lies, and how a change in it is seen."""

from __future__ import annotations

from procvision_runner.sourcecode import code_roots, look_at


def installed(folder, name, module):
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[procvision.algorithms]\n{name} = {module}:Check\n")


def test_the_package_is_found_and_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "far_check"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner.py").write_text("")
    (tmp_path / "near_check.py").write_text("raise SystemExit('imported')")
    installed(tmp_path, "far", "far_check.inner")
    installed(tmp_path, "near", "near_check")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert code_roots("far") == code_roots("far==1.0") == [package]
    assert code_roots("near") == [tmp_path / "near_check.py"]
    assert code_roots("absent") == []
    assert code_roots(f"legacy:{package}") == [package]


def test_a_change_a_new_file_and_a_lost_one_are_seen(tmp_path):
    code, other = tmp_path / "a.py", tmp_path / "notes.txt"
    code.write_text("1")
    look = look_at([tmp_path])
    other.write_text("no part of an algorithm")
    assert look_at([tmp_path]) == look
    code.write_text("12")
    changed = look_at([tmp_path])
    assert changed != look
    (tmp_path / "model.onnx").write_bytes(b"")
    assert len(look_at([tmp_path])) == 2
    code.unlink()
    (tmp_path / "model.onnx").unlink()
    assert look_at([tmp_path]) == look_at([tmp_path / "gone.png"]) == {}
