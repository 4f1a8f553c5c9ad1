"""`check_algorithm`: a sound algorithm passes, each way of breaking the contract is named."""

from __future__ import annotations

import json

import pytest

from procvision_host.in_memory.runner import InMemoryRunner
from procvision_sdk import BaseAlgorithm, Defect, Failed, Ng, Ok, Prepared, ProgramError
from procvision_sdk import read_image_from_shared_memory as read
from procvision_sdk.manifest.parameters import EnumParameter, IntParameter, RectParameter, StringParameter
from procvision_sdk.manifest.reading import parse_manifest
from procvision_testing import ContractBrokenError, check_algorithm
from procvision_testing.parameters import UnknownValueError, bounds, sample_params


def manifest(**changes):
    params = [{"type": "int", "key": "level", "default": 100, "min": 0, "max": 255}]
    fields = {
        "name": "sound",
        "version": "1.0",
        "entry_point": "sound:Sound",
        "supported_pids": ["A", "B"],
        "steps": [{"index": 1, "name": "look", "params": params}],
    }
    return parse_manifest(json.dumps(fields | changes).encode())


class Sound(BaseAlgorithm):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        dark = read(shared_mem_id, image_meta).mean() < user_params["level"]
        return Ng("dark", [Defect(0, 0, 2, 2, "dark", 0.5)]) if dark else Ok()


class Blind(Sound):
    def execute(self, *_):
        return Ok()


class Seeing(Blind):
    """Looks at whether there is a picture, and never at the picture."""

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return Ok() if shared_mem_id else Failed("1002", "no picture")


class Crashing(Sound):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return [Ok()][0 if read(shared_mem_id, image_meta).any() else 1]


class Meaning(Sound):
    def execute(self, *_):
        raise ProgramError("this product can't be inspected")


class NeedsPre(Sound):
    def pre_execute(self, step_index, pid, session, *_):
        session.set("ready", True)
        return Prepared()

    def execute(self, step_index, pid, session, *more):
        return super().execute(step_index, pid, session, *more) if session.get("ready") else Failed("1003", "no pre")


class Boundless(Sound):
    def execute(self, step_index, pid, session, user_params, *more):
        return (
            [][user_params["level"]]
            if user_params["level"] == 255
            else super().execute(step_index, pid, session, user_params, *more)
        )


class Drawing(Sound):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        read(shared_mem_id, image_meta)[0, 0] = 255
        return Ok()


class Publishing(Sound):
    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        self.diagnostics.publish("row", read(shared_mem_id, image_meta)[0])
        return Ok()


class Returning(Sound):
    def execute(self, *_):
        return {"status": "OK", "result": "good"}


class Liar(Sound):
    def get_info(self):
        return {"version": "2.0", "steps": [{"index": 1, "name": "look", "params": []}], "vendor": "me"}


class Silent(Sound):
    def get_info(self):
        return {"model": b"bytes"}


def findings_of(algorithm, **changes):
    with InMemoryRunner(algorithm, manifest=manifest(**changes)) as runner:
        return check_algorithm(runner)


@pytest.mark.parametrize("algorithm", [Sound, Meaning, NeedsPre])
def test_an_algorithm_that_keeps_the_contract_passes(algorithm):
    findings = findings_of(algorithm)
    unseen = [finding for finding in findings if finding.level == "warning"]
    assert [finding.title for finding in unseen] == (["step 1: a verdict is seen"] if algorithm is Meaning else [])
    assert {finding.level for finding in findings if finding not in unseen} == {"ok"}
    # get_info, products x pictures, no pre and no picture, bounds, reset
    assert len(findings) - len(unseen) == 1 + 2 * 4 + 2 + 2 + 1


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        (Blind, "no picture is never OK: a call without a picture was answered OK"),
        (Seeing, r"execute with a mono picture: \[1006 picture_not_read\] (.|\n)*reads_picture"),
        (Crashing, r"execute with a black picture: \[9999 program\] IndexError: .* in execute\)"),
        (Boundless, "level = 255"),
        (Liar, "version is '2.0', the manifest has '1.0'"),
        (Silent, "get_info\\(\\) answers"),
        (Drawing, "9999 program.*read-only.*\\n  hint: .*picture.copy"),
        (Publishing, "PlainValueError: row is a ndarray.*in execute\\)\\n  hint: array.tolist"),
        (Returning, "data.result_status is missing or None.*\\n  hint: return Ok"),
    ],
)
def test_what_breaks_the_contract_is_named(algorithm, text):
    with pytest.raises(ContractBrokenError, match=text) as failure:
        findings_of(algorithm)
    assert any(finding.level == "failed" for finding in failure.value.findings)


def test_an_algorithm_that_needs_no_picture_says_so_in_its_manifest():
    assert {finding.level for finding in findings_of(Seeing, reads_picture=False)} == {"ok"}


def test_a_step_whose_parameters_nobody_can_guess_is_skipped_with_a_hint():
    params = [{"type": "string", "key": "serial", "required": True, "pattern": "[0-9]{4}"}]
    findings = findings_of(Sound, steps=[{"index": 1, "name": "look", "params": params}])
    assert [finding.level for finding in findings] == ["ok", "skipped"]
    assert "default" in findings[1].hint


def test_required_parameters_get_values_that_their_declarations_allow():
    params = [
        IntParameter(key="a", required=True, min=3),
        EnumParameter(key="b", required=True, choices=["x", "y"]),
        RectParameter(key="c", required=True),
        StringParameter(key="d", required=True, min_length=2),
        StringParameter(key="e", default="kept"),
    ]
    values = sample_params(params, (64, 48))
    assert values == {"a": 3, "b": "x", "c": {"x": 0, "y": 0, "width": 64, "height": 48}, "d": "xx"}
    assert list(bounds(params)) == [("a", 3), ("b", "x"), ("b", "y")]
    with pytest.raises(UnknownValueError, match="'f' is required"):
        sample_params([StringParameter(key="f", required=True, pattern="[0-9]")], (64, 48))
