"""Findings as a person reads them."""

from __future__ import annotations

from procvision_testing import Finding
from procvision_tools.cli.findings_output import tell


def test_one_mistake_that_fails_many_checks_is_read_once_and_is_whole_for_a_program(capsys):
    rows = [
        Finding("a good picture", "failed", "it returned nothing", "return Ok()"),
        Finding("a black picture", "failed", "it returned nothing", "return Ok()"),
        Finding("a mono picture", "failed", "it returned nothing"),
    ]
    told = tell("weld-check", rows, as_json=False)
    printed = capsys.readouterr().out
    assert "FAILED  a good picture: it returned nothing\n          hint: return Ok()\n" in printed
    assert "FAILED  a black picture: as above\n" in printed
    assert "FAILED  a mono picture: it returned nothing\n" in printed
    assert [row["detail"] for row in told["findings"]] == ["it returned nothing"] * 3
    assert told["counts"]["failed"] == 3
