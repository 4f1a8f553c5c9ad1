"""CodeReader through the vendor's interface."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from code_pictures import DEFAULTS, MANIFEST, Gray, code, placed

from procvision_codes import symbologies
from procvision_codes.algorithm import CodeReader
from procvision_sdk import Failed, Ng, Ok, Prepared, Session
from procvision_sdk.answers import check_returned
from procvision_sdk.manifest.parameters import ParameterSchema
from procvision_sdk.manifest.reading import parse_manifest
from procvision_testing.lent import LentPictures

GS1_TEXT = "(01)09501101020917(17)271231(21)SN42"


class Station:
    """One algorithm and pictures for it."""

    def __init__(self, pictures: LentPictures) -> None:
        self.algorithm = CodeReader()
        self.algorithm.setup()
        self._pictures = pictures

    def execute(self, picture: Any, session: Session | None = None, step: int = 1, **params: Any) -> Any:
        session = session if session is not None else Session("s1")
        returned = self.algorithm.execute(step, "P1", session, DEFAULTS | params, *self._pictures.put(picture))
        check_returned(returned, "execute", (picture.shape[1], picture.shape[0]))
        return returned

    def ng(self, picture: Any, label: str, text: str, **more: Any) -> Ng:
        """An NG with one kind of defect and these words."""
        returned = self.execute(picture, **more)
        assert isinstance(returned, Ng), returned
        assert text in returned.reason
        assert {rect.label for rect in returned.rects} == {label}  # type: ignore[union-attr]
        return returned


@pytest.fixture
def station(lent_pictures: LentPictures) -> Station:
    return Station(lent_pictures)


@pytest.fixture
def label() -> Gray:
    """A serial number as a Data Matrix and the part number as a Code 128."""
    return placed(code("DataMatrix", "SN42"), code("Code128", "PN-7"))


def test_the_manifest_is_valid_and_its_steps_are_alike() -> None:
    """One set of parameters; every name of a symbology is in its description."""
    manifest = parse_manifest(files("procvision_codes").joinpath("manifest.json").read_bytes())
    assert manifest.entry_point == f"{CodeReader.__module__}:{CodeReader.__name__}"
    assert all(step["params"] == MANIFEST["steps"][0]["params"] for step in MANIFEST["steps"])
    assert all(name in MANIFEST["steps"][0]["params"][0]["description"] for name in symbologies.NAMES)
    assert ParameterSchema(1, manifest.steps[0].params).completed({}, None) == DEFAULTS


def test_get_info_says_what_the_manifest_says() -> None:
    """And the symbologies."""
    info = CodeReader().get_info()
    assert MANIFEST.items() <= info.items()
    assert info["symbologies"] == list(symbologies.NAMES)


def test_a_code_is_ok_with_its_place_and_content(station: Station) -> None:
    """Content, contrast and what zxing-cpp tells of the error correction are published."""
    verdict = station.execute(placed(code("DataMatrix", "SN42")))
    assert isinstance(verdict, Ok)
    (rect,) = verdict.position_rects
    assert (rect.label, rect.x, rect.y) == ("DataMatrix", 80, 80)  # type: ignore[union-attr]
    (told,) = station.algorithm.diagnostics.take()["codes"]
    assert (told["content"], told["unused_error_correction"]) == ("SN42", 1.0)
    assert told["module_px"] == pytest.approx(4.0, abs=0.2)
    assert told["contrast"] > 0.95


@pytest.mark.parametrize("value", [0, 255, 128])
@pytest.mark.parametrize("shape", [(1, 1), (480, 640), (2, 900, 3)])
def test_a_blank_picture_is_ng_over_all_of_it(station: Station, shape: tuple[int, ...], value: int) -> None:
    """Never an OK where nothing was inspected."""
    verdict = station.ng(np.full(shape, value, np.uint8), "missing", "no code read in the region x=0, y=0")
    assert (verdict.rects[0].width, verdict.rects[0].height) == (shape[1], shape[0])  # type: ignore[union-attr]


def test_colour_pictures_are_read_whatever_way_they_lie(station: Station, label: Gray) -> None:
    """RGB, a reversed view as BGR gives it, and a broadcast one."""
    colour = np.dstack([label, label // 2 + 127, label])
    for picture in (colour, colour[:, :, ::-1], label):
        assert isinstance(station.execute(picture, max_codes=2, min_codes=2), Ok)


def test_the_region_alone_is_searched(station: Station, label: Gray) -> None:
    """And its codes stand in the picture's coordinates; what is outside isn't there."""
    region = {"x": 40.5, "y": 230, "width": 560, "height": 240}
    verdict = station.execute(label, region=region)
    assert isinstance(verdict, Ok)
    assert [rect.label for rect in verdict.position_rects] == ["Code128"]  # type: ignore[union-attr]
    assert verdict.position_rects[0].y >= 260  # type: ignore[union-attr]
    empty = {"x": 300, "y": 100, "width": 100, "height": 50}
    missing = station.ng(label, "missing", "x=300, y=100, 100 x 50 px", region=empty)
    assert missing.rects[0].to_dict().items() >= empty.items()  # type: ignore[union-attr]


def test_too_few_and_too_many_are_ng(station: Station, label: Gray) -> None:
    """With how many were asked for."""
    station.ng(label, "surplus", "2 codes read, at most 1 expected")
    station.ng(
        label, "missing", "2 of at least 3 codes read", min_codes=3, max_codes=3, symbologies="DataMatrix,Code128"
    )
    assert isinstance(station.execute(label, symbologies="Code128"), Ok)


def test_what_can_t_be_read_is_pointed_at(station: Station) -> None:
    """The code's box, not the whole picture."""
    made = code("DataMatrix", scale=6)
    made[40:100, 40:100] = 128
    verdict = station.ng(placed(made), "unreadable", "something unreadable: DataMatrix")
    assert verdict.rects[0].width < 200  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("params", "good"),
    [
        ({"match": "exact", "expected": "SN42"}, True),
        ({"match": "exact", "expected": "SN4"}, False),
        ({"match": "prefix", "expected": "SN4"}, True),
        ({"match": "prefix", "expected": "N4"}, False),
        ({"match": "pattern", "expected": r"SN\d{2}"}, True),
        ({"match": "pattern", "expected": r"SN\d"}, False),
        ({"match": "exact", "expected_from": "serial"}, True),
        ({"match": "exact", "expected_from": "product.serial"}, True),
        ({"match": "exact", "expected_from": "number"}, False),
        ({"match": "exact", "expected_from": "serials"}, False),
    ],
)
def test_contents_are_held_against_what_is_expected(station: Station, params: dict[str, Any], good: bool) -> None:
    """From the parameters or from the session's context; every expected content must be there."""
    context = {"serial": "SN42", "product": {"serial": "SN42"}, "number": 42, "serials": ["SN42", "SN43"]}
    picture = placed(code("DataMatrix", "SN42"))
    verdict = station.execute(picture, Session("s1", context), **params | {"max_codes": 2})
    assert isinstance(verdict, Ok if good else Ng)


def test_a_wrong_content_is_ng_at_the_code(station: Station) -> None:
    """With both contents in the reason."""
    verdict = station.ng(
        placed(code("DataMatrix", "SN42")), "wrong", "DataMatrix 'SN42' is not 'SN43' (context['serial'])",
        session=Session("s1", {"serial": "SN43"}), match="exact", expected_from="serial",
    )  # fmt: skip
    assert verdict.rects[0].x == 80  # type: ignore[union-attr]


def test_a_list_of_expected_contents_must_be_there_entirely(station: Station, label: Gray) -> None:
    """And nothing else, unless that is allowed."""
    both = {"min_codes": 2, "max_codes": 2, "match": "exact", "expected_from": "all"}
    assert isinstance(station.execute(label, Session("s1", {"all": ["PN-7", "SN42"]}), **both), Ok)
    station.ng(label, "wrong", "'PN-7' is not 'SN42'", session=Session("s1", {"all": ["SN42"]}), **both)
    allowed = both | {"allow_other_codes": True}
    assert isinstance(station.execute(label, Session("s1", {"all": ["SN42"]}), **allowed), Ok)
    station.ng(label, "missing", "'SN43' of context['all'] not found",
               session=Session("s1", {"all": ["SN42", "SN43"]}), **allowed)  # fmt: skip


def test_gs1_is_parsed_and_a_field_compared(station: Station) -> None:
    """The serial number of a GS1 Data Matrix against the context."""
    picture = placed(code("DataMatrix", GS1_TEXT, gs1=True))
    params = {"syntax": "GS1", "match": "exact", "field": "21", "expected_from": "serial"}
    assert isinstance(station.execute(picture, Session("s1", {"serial": "SN42"}), **params), Ok)
    (told,) = station.algorithm.diagnostics.take()["codes"]
    assert [(e["identifier"], e["value"]) for e in told["elements"]][::2] == [("01", "09501101020917"), ("21", "SN42")]
    station.ng(
        picture, "wrong", "in field 21, 'SN42', is not 'SN4'", session=Session("s1", {"serial": "SN4"}), **params
    )
    station.ng(
        picture, "malformed", "has no field 10", **params | {"field": "10", "expected_from": "", "expected": "A"}
    )


def test_broken_syntax_is_ng_with_its_place(station: Station) -> None:
    """A month 13, a code without FNC1, an envelope without its end, a retail code."""
    bad_date = code("Code128", "(01)09501101020917(17)271331", gs1=True)
    station.ng(placed(bad_date), "malformed", "character 19: (17): the date 271331 has the month 13", syntax="GS1")
    station.ng(placed(code("DataMatrix", "0109501101020917")), "malformed", "FNC1 isn't in the first", syntax="GS1")
    station.ng(placed(code("DataMatrix", "[)>\x1e06\x1dSA1\x1e")), "malformed", "not with EOT", syntax="ISO15434")
    assert isinstance(station.execute(placed(code("EAN-13")), syntax="GS1"), Ok)


def test_an_envelope_is_parsed_and_a_field_compared(station: Station) -> None:
    """Format 06."""
    picture = placed(code("DataMatrix", "[)>\x1e06\x1d17V1JCK0\x1d1P47\x1dS42\x1e\x04"))
    assert isinstance(station.execute(picture, syntax="ISO15434", match="exact", field="S", expected="42"), Ok)
    station.ng(picture, "wrong", "in field 1P", syntax="ISO15434", match="exact", field="1P", expected="48")


def test_with_other_codes_allowed_only_the_expected_one_needs_the_syntax(station: Station) -> None:
    """A bar code beside it isn't malformed; if the expected one is missing, its flaw is told."""
    picture = placed(code("DataMatrix", GS1_TEXT, gs1=True), code("Code128", "PN-7"))
    params = {"syntax": "GS1", "match": "exact", "field": "21", "max_codes": 2, "allow_other_codes": True}
    assert isinstance(station.execute(picture, expected="SN42", **params), Ok)
    verdict = station.execute(picture, expected="SN43", **params)
    assert "FNC1" in verdict.reason and "'SN43' of expected not found" in verdict.reason


def test_duplicates_within_the_session_are_ng(station: Station) -> None:
    """Another step found it; the same step may look again; another session knows nothing; reset forgets."""
    picture, session = placed(code("DataMatrix", "SN42")), Session("s1")
    params = {"duplicates_are_ng": True}
    assert isinstance(station.execute(picture, session, 1, **params), Ok)
    assert isinstance(station.execute(picture, session, 1, **params), Ok)
    station.ng(picture, "duplicate", "'SN42' was read in step 1 already", session=session, step=2, **params)
    assert isinstance(station.execute(picture, session, 2), Ok)
    assert isinstance(station.execute(picture, Session("s2"), 2, **params), Ok)
    station.algorithm.reset(session)
    assert isinstance(station.execute(picture, session, 3, **params), Ok)
    state = session.changed_state()
    assert state is not None and json.loads(state)


def test_the_same_content_twice_in_a_picture_is_a_duplicate(station: Station) -> None:
    """Both are pointed at; unless it is allowed."""
    picture = placed(code("DataMatrix", "SN42"), code("DataMatrix", "SN42"))
    verdict = station.ng(picture, "duplicate", "is there twice", max_codes=2, min_codes=2, duplicates_are_ng=True)
    assert len(verdict.rects) == 2
    assert isinstance(station.execute(picture, max_codes=2, min_codes=2), Ok)


def test_poor_codes_are_ng_if_so_asked(station: Station) -> None:
    """By contrast and by what is left of the error correction."""
    faint = (120 + placed(code("DataMatrix")) // 16).astype(np.uint8)
    station.ng(faint, "poor", "a contrast of 0.06, at least 0.3", min_contrast=0.3)
    covered = placed(code("QR"))
    x, y = 60 + code("QR").shape[1] // 2, 60 + code("QR").shape[0] // 2
    covered[y : y + 12, x : x + 12] = 128
    station.ng(covered, "poor", "of its error correction left, at least 1", min_unused_error_correction=1.0)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"min_codes": 3, "max_codes": 2}, "min_codes is 3 and max_codes is 2"),
        ({"symbologies": "DataMatrx"}, "names 'DataMatrx', which isn't known"),
        ({"expected": "A"}, "expected is 'A', but match is none"),
        ({"expected_from": "serial"}, "expected_from is 'serial', but match is none"),
        ({"match": "exact"}, "neither expected nor expected_from"),
        ({"match": "exact", "expected": "A", "expected_from": "serial"}, "which is it?"),
        ({"match": "pattern", "expected": "("}, "no regular expression"),
        ({"match": "exact", "expected_from": "lot"}, "context doesn't have; it has serial, none, many, list"),
        ({"match": "exact", "expected_from": "serial.x"}, "context doesn't have"),
        ({"match": "exact", "expected_from": "none"}, "a text, a whole number or a list"),
        ({"match": "exact", "expected_from": "list"}, "a text, a whole number or a list"),
        ({"match": "exact", "expected_from": "many"}, "lists 2 contents, but max_codes is 1"),
        ({"field": "21"}, "syntax is none"),
        ({"field": "?", "syntax": "GS1"}, "no identifier"),
        ({"allow_other_codes": True}, "allow_other_codes is on, but match is none"),
    ],
)
def test_contradictions_are_errors_in_pre_and_execute(station: Station, params: dict[str, Any], text: str) -> None:
    """1006 with a hint, and no verdict."""
    session = Session("s1", {"serial": "SN42", "none": None, "many": ["A", "B"], "list": ["A", ""]})
    answers = [
        station.algorithm.pre_execute(1, "P1", session, DEFAULTS | params, "", {}),
        station.execute(placed(code("DataMatrix", "SN42")), session, **params),
    ]
    for answer in answers:
        assert isinstance(answer, Failed), answer
        assert answer.error_code == "1006"
        assert text in answer.message and "; hint: " in answer.message


def test_pre_says_what_will_be_read(station: Station) -> None:
    """Without a picture."""
    answer = station.algorithm.pre_execute(1, "P1", Session("s1"), DEFAULTS | {"symbologies": "QR"}, "", {})
    assert isinstance(answer, Prepared)
    assert answer.message == "reads QR"


def test_a_cancelled_call_has_no_verdict(station: Station, label: Gray) -> None:
    """1008, and nothing is remembered."""
    station.algorithm.cancellation.requested = True
    session = Session("s1")
    answer = station.execute(label, session)
    assert isinstance(answer, Failed) and answer.error_code == "1008"
    assert session.changed_state() is None


def test_many_problems_stay_within_what_an_answer_holds(station: Station) -> None:
    """Twenty-five wrong codes: twenty rects, five reasons and a count."""
    picture = np.full((900, 900), 255, np.uint8)
    for at in range(25):
        made = code("DataMatrix", f"N{at:02}", 4)
        picture[20 + 170 * (at // 5) :, 20 + 170 * (at % 5) :][: made.shape[0], : made.shape[1]] = made
    verdict = station.ng(picture, "wrong", "and 20 more", max_codes=25, min_codes=25, match="exact", expected="X",
                         symbologies="DataMatrix")  # fmt: skip
    assert len(verdict.rects) == 20
    assert station.algorithm.diagnostics.take()["problems"] == 25


def test_a_content_of_bytes_is_told_in_print(station: Station) -> None:
    """Control characters by name, and nothing that JSON can't carry."""
    assert isinstance(station.execute(placed(code("DataMatrix", bytes(range(0, 256, 5))))), Ok)
    (told,) = station.algorithm.diagnostics.take()["codes"]
    assert told["content"].startswith("<NUL><ENQ>")
