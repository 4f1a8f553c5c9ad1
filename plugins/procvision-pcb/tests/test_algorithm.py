"""PcbCompare through the vendor's interface."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from procvision_pcb.algorithm import MAX_DEFECTS, PcbCompare
from procvision_pcb.references import References, content_key
from procvision_sdk import Failed, Ng, Ok, Prepared, Session
from procvision_sdk.answers import check_returned
from procvision_sdk.manifest.reading import parse_manifest
from procvision_testing.boards import DEFECT_KINDS, make_board, with_defects
from procvision_testing.lent import LentPictures

Gray = NDArray[np.uint8]
MANIFEST_BYTES = files("procvision_pcb").joinpath("manifest.json").read_bytes()
DEFAULTS: dict[str, Any] = {p["key"]: p["default"] for p in json.loads(MANIFEST_BYTES)["steps"][0]["params"]}


class Station:
    """One algorithm and pictures for it."""

    def __init__(self, pictures: LentPictures) -> None:
        self.algorithm = PcbCompare()
        self.algorithm.setup()
        self._pictures = pictures

    def pre(self, session: Session, picture: Gray, **params: Any) -> Any:
        return self.algorithm.pre_execute(1, "P1", session, DEFAULTS | params, *self._pictures.put(picture))

    def execute(self, session: Session, picture: Gray, **params: Any) -> Any:
        returned = self.algorithm.execute(1, "P1", session, DEFAULTS | params, *self._pictures.put(picture))
        check_returned(returned, "execute", (picture.shape[1], picture.shape[0]))
        return returned


@pytest.fixture
def station(lent_pictures: LentPictures) -> Station:
    return Station(lent_pictures)


def damaged(board: Gray) -> Gray:
    picture = board.copy()
    picture[300:305, 120:125] = 230
    return picture


def test_the_manifest_is_valid_and_says_the_distribution_s_version() -> None:
    """One version, in two files."""
    manifest = parse_manifest(MANIFEST_BYTES)
    assert manifest.version == version("procvision-pcb")
    assert manifest.entry_point == f"{PcbCompare.__module__}:{PcbCompare.__name__}"


def test_get_info_says_what_the_manifest_says() -> None:
    """And the labels."""
    info = PcbCompare().get_info()
    assert json.loads(MANIFEST_BYTES).items() <= info.items()
    assert sorted(info["labels"]) == sorted(DEFECT_KINDS)


def test_a_good_product_is_ok_and_a_damaged_one_ng(station: Station, board: Gray) -> None:
    """The whole way, with the reason in words."""
    session = Session("s1")
    assert isinstance(station.pre(session, board), Prepared)
    assert isinstance(station.execute(session, board), Ok)
    verdict = station.execute(session, damaged(board))
    assert isinstance(verdict, Ng)
    assert verdict.reason == "1 pin-hole"


def test_what_was_measured_is_published(station: Station, board: Gray) -> None:
    """Shift and correlation stand beside every verdict."""
    session = Session("s1")
    station.pre(session, board)
    station.execute(session, np.roll(board, 3, axis=0))
    published = station.algorithm.diagnostics.take()
    assert published["shift_px"] == pytest.approx(3, abs=0.2)
    assert published["correlation"] > 0.9


def test_without_a_reference_there_is_no_verdict(station: Station, board: Gray) -> None:
    """Not for a new session, not for one whose reference another session learnt."""
    station.pre(Session("other"), board)
    answer = station.execute(Session("s1"), board)
    assert isinstance(answer, Failed)
    assert answer.error_code == "1003"
    assert "hint:" in answer.message


def test_reset_forgets_the_reference(station: Station, board: Gray) -> None:
    """What was learnt before doesn't count any more."""
    session = Session("s1")
    station.pre(session, board)
    station.algorithm.reset(session)
    assert station.execute(session, board).error_code == "1003"


def test_a_reference_that_can_t_be_learnt_leaves_the_session_without_one(station: Station, board: Gray) -> None:
    """Not with the one from before."""
    session = Session("s1")
    station.pre(session, board)
    refused = station.pre(session, np.zeros_like(board))
    assert isinstance(refused, Failed)
    assert refused.error_code == "1003"
    assert station.execute(session, board).error_code == "1003"


def test_after_a_restart_the_session_is_told_to_learn_again(
    station: Station, lent_pictures: LentPictures, board: Gray
) -> None:
    """Its state came back from a store, the learnt reference didn't."""
    session = Session("s1")
    station.pre(session, board)
    answer = Station(lent_pictures).execute(session, board)
    assert answer.error_code == "1003"
    assert "restarted" in answer.message


def test_a_picture_that_can_t_be_compared_is_an_error(station: Station, board: Gray) -> None:
    """Another size and a black picture."""
    session = Session("s1")
    station.pre(session, board)
    for picture in (board[:-1], np.zeros_like(board)):
        answer = station.execute(session, picture)
        assert isinstance(answer, Failed)
        assert answer.error_code == "1006"


@pytest.mark.parametrize("change", [{"copper": "bright"}, {"edge_tolerance": 5}])
def test_a_parameter_that_pre_used_otherwise_is_an_error(station: Station, board: Gray, change: dict[str, Any]) -> None:
    """It is neither ignored nor guessed at."""
    session = Session("s1")
    station.pre(session, board)
    answer = station.execute(session, board, **change)
    assert answer.error_code == "1006"
    assert next(iter(change)) in answer.message


def test_min_score_decides_what_is_reported(station: Station, board: Gray) -> None:
    """At 0.99 a hole of two by three pixels isn't sure enough."""
    picture = board.copy()
    picture[300:303, 120:122] = 230
    session = Session("s1")
    station.pre(session, board)
    assert isinstance(station.execute(session, picture), Ng)
    station.algorithm.diagnostics.take()
    assert isinstance(station.execute(session, picture, min_score=0.99), Ok)
    assert station.algorithm.diagnostics.take()["below_min_score"] == 1


def test_of_many_defects_the_best_scored_are_kept(station: Station, board: Gray) -> None:
    """As many as the protocol takes; the reason counts all."""
    picture = board.copy()
    for x in range(95, 320, 16):
        for y in (275, 290):
            picture[y : y + 4 + x % 3, x : x + 5] = 230
    session = Session("s1")
    station.pre(session, board)
    verdict = station.execute(session, picture)
    assert len(verdict.rects) == MAX_DEFECTS
    assert verdict.reason == "30 pin-hole"
    scores = [rect.score for rect in verdict.rects]
    assert scores == sorted(scores, reverse=True)


def test_the_same_reference_is_learnt_once(station: Station, board: Gray) -> None:
    """By whatever session, and again after other parameters."""
    first = station.pre(Session("s1"), board)
    second = station.pre(Session("s2"), board.copy())
    other = station.pre(Session("s3"), board, edge_tolerance=3)
    assert [answer.debug["known"] for answer in (first, second, other)] == [False, True, False]


def test_references_are_kept_up_to_their_bound_and_the_oldest_used_goes(board: Gray) -> None:
    """A bound in pixels, because that is what they cost."""
    from procvision_pcb.compare import Reference

    references = References(max_kept_px=2 * board.size)
    for key in "ab":
        references.keep(key, Reference(board))
    references.get("a")
    references.keep("c", Reference(board))
    assert [references.get(key) is not None for key in "abc"] == [True, False, True]


def test_a_reference_that_is_kept_again_takes_up_its_room_once(board: Gray) -> None:
    """Else references would go before the bound is reached."""
    from procvision_pcb.compare import Reference

    references = References(max_kept_px=2 * board.size)
    for key in "aab":
        references.keep(key, Reference(board))
    assert [references.get(key) is not None for key in "ab"] == [True, True]


def test_content_keys_tell_pictures_and_parameters_apart(board: Gray) -> None:
    """One grey level of one pixel is another picture; the same bytes in another shape too."""
    changed = board.copy()
    changed[0, 0] ^= 1
    keys = {
        content_key(board, "dark", 2),
        content_key(changed, "dark", 2),
        content_key(board, "bright", 2),
        content_key(board, "dark", 3),
        content_key(board.reshape(640, 480), "dark", 2),
    }
    assert len(keys) == 5


def test_teardown_forgets_all(station: Station, board: Gray) -> None:
    """Nothing is left in the instance."""
    station.pre(Session("s1"), board)
    station.algorithm.teardown()
    assert station.algorithm.get_info()["references_kept"] == 0


def test_generated_boards_are_judged_right(station: Station) -> None:
    """The SDK's own boards, which nothing here was made for."""
    for seed in range(6):
        made = make_board(640, 640, seed=seed)
        picture, placed = with_defects(made, DEFECT_KINDS, seed=seed)
        session = Session(f"s{seed}")
        station.pre(session, made.picture)
        assert isinstance(station.execute(session, made.picture), Ok)
        verdict = station.execute(session, picture)
        assert isinstance(verdict, Ng)
        assert len(verdict.rects) >= len(placed) - 1
