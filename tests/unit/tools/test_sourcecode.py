"""Where an algorithm's code lies, and how a change in it is seen."""

from __future__ import annotations

from peer_plugins import install

from procvision_tools.sourcecode import code_roots, look_at


def test_the_package_is_found_and_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "far_check"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner.py").write_text("")
    (tmp_path / "near_check.py").write_text("raise SystemExit('imported')")
    install(tmp_path, "far", {"procvision.algorithms": {"far": "far_check.inner:Check"}}, "1.0")
    install(tmp_path, "near", {"procvision.algorithms": {"near": "near_check:Check"}}, "1.0")
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
