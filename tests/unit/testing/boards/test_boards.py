"""Synthetic boards, and defects that are what their labels say."""

from __future__ import annotations

import numpy as np
import pytest

from procvision_testing.boards import DEFECT_KINDS, MIN_SIZE_PX, make_board, photograph, with_defects

cv2 = pytest.importorskip("cv2", reason="opencv counts the areas, apart from the code under test")
SEEDS = range(10)


def areas(picture):
    """Count the separate areas of copper and of substrate."""
    mask = (picture < 128).astype(np.uint8)
    copper = cv2.connectedComponents(mask, connectivity=8)[0] - 1
    substrate = cv2.connectedComponents(1 - mask, connectivity=4)[0] - 1
    return copper, substrate


def pieces_of(net, picture, board):
    """Count the areas into which what is left of a net falls, those of a pixel or two aside."""
    mask = ((board.nets == net) & (picture < 128)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] > 20).sum())


def nets_in_each_area(picture, board):
    """Give the set of nets in each area of copper."""
    _, labels = cv2.connectedComponents((picture < 128).astype(np.uint8), connectivity=8)
    many = int(board.nets.max()) + 1
    pairs = np.flatnonzero(np.bincount(labels.ravel() * many + board.nets.ravel()))
    groups: dict[int, set[int]] = {}
    for label, net in (divmod(pair, many) for pair in pairs.tolist()):
        if label and net:
            groups.setdefault(label, set()).add(net)
    return list(groups.values())


@pytest.fixture(scope="module")
def boards():
    return [make_board(seed=seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def sharp_boards():
    return [make_board(320, 320, seed=seed, antialias=False) for seed in SEEDS]


def test_a_seed_repeats_its_board_and_its_defects():
    one, two = make_board(320, 240, seed=3), make_board(320, 240, seed=3)
    assert np.array_equal(one.picture, two.picture)
    assert np.array_equal(one.nets, two.nets)
    first, placed = with_defects(one, ["spur", "copper"], seed=9)
    second, placed_again = with_defects(two, ["spur", "copper"], seed=9)
    assert np.array_equal(first, second)
    assert placed == placed_again


def test_another_seed_gives_another_board():
    assert not np.array_equal(make_board(320, 240, seed=1).picture, make_board(320, 240, seed=2).picture)


def test_a_picture_is_bytes_of_the_size_asked_for_and_read_only():
    board = make_board(321, 203, seed=1)
    assert board.picture.shape == board.nets.shape == (203, 321)
    assert (board.width, board.height) == (321, 203)
    assert board.picture.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        board.picture[0, 0] = 1


def test_every_net_is_one_area_and_every_area_one_net(boards):
    """What an open and a short are told by."""
    for board in boards:
        groups = nets_in_each_area(board.picture, board)
        assert all(len(group) == 1 for group in groups), board.seed
        assert len(groups) == len(np.unique(board.nets)) - 1 == areas(board.picture)[0]


def test_nets_are_named_exactly_where_there_is_copper(boards):
    for board in boards:
        assert np.array_equal(board.nets > 0, board.picture < 128)


def test_boards_are_neither_empty_nor_full(boards):
    for board in boards:
        copper = (board.picture < 128).mean()
        assert 0.05 < copper < 0.6, board.seed
        assert len(board.tracks) > 20
        bends = {(abs(t.x2 - t.x1) > 1, abs(t.y2 - t.y1) > 1) for t in board.tracks}
        assert bends == {(True, False), (False, True), (True, True)}, "horizontal, upright and 45 degrees"


def test_edges_are_soft_unless_asked_otherwise():
    soft, hard = make_board(200, 200, seed=4), make_board(200, 200, seed=4, antialias=False)
    assert len(np.unique(soft.picture)) > 20
    assert set(np.unique(hard.picture).tolist()) == {0, 255}
    damaged, _ = with_defects(hard, ["copper"], seed=1)
    assert set(np.unique(damaged).tolist()) == {0, 255}


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_a_defect_changes_nothing_outside_its_box(kind, boards, sharp_boards):
    for board in [*boards, *sharp_boards]:
        picture, [defect] = with_defects(board, [kind], seed=board.seed)
        rows, columns = np.nonzero(picture != board.picture)
        assert (columns.min(), rows.min()) == (defect.x, defect.y)
        assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == (defect.width, defect.height)
        assert defect.label == kind


def test_an_open_separates_its_net_and_no_other(boards):
    for board in boards:
        for seed in SEEDS:
            picture, [defect] = with_defects(board, ["open"], seed=seed)
            here = (slice(defect.y, defect.y + defect.height), slice(defect.x, defect.x + defect.width))
            [net] = set(np.unique(board.nets[here][board.picture[here] != picture[here]]).tolist()) - {0}
            assert pieces_of(net, picture, board) == 2
            assert areas(picture)[0] == areas(board.picture)[0] + 1


def test_a_short_joins_two_nets_and_no_other(boards):
    for board in boards:
        for seed in SEEDS:
            picture, _ = with_defects(board, ["short"], seed=seed)
            sizes = sorted(len(group) for group in nets_in_each_area(picture, board))
            assert sizes[-1] == 2
            assert sizes[-2] == 1
            assert areas(picture)[0] == areas(board.picture)[0] - 1


@pytest.mark.parametrize(
    ("kind", "darker", "copper", "substrate"),
    [("mousebite", False, 0, 0), ("spur", True, 0, 0), ("copper", True, 1, 0), ("pin-hole", False, 0, 1)],
)
def test_the_others_keep_all_nets_as_they_are(kind, darker, copper, substrate, boards):
    for board in boards:
        before = areas(board.picture)
        for seed in SEEDS:
            picture, _ = with_defects(board, [kind], seed=seed)
            change = picture.astype(int) - board.picture
            assert (change.max() <= 0) if darker else (change.min() >= 0)
            assert areas(picture) == (before[0] + copper, before[1] + substrate), (board.seed, seed)
            assert all(len(group) <= 1 for group in nets_in_each_area(picture, board))


def test_many_defects_on_one_board_each_keep_their_effect(boards):
    kinds = [*DEFECT_KINDS] * 2
    for board in boards:
        picture, placed = with_defects(board, kinds, seed=board.seed)
        assert [defect.label for defect in placed] == kinds
        assert areas(picture)[0] == areas(board.picture)[0] + 2 - 2 + 2
        changed = picture != board.picture
        for defect in placed:
            changed[defect.y : defect.y + defect.height, defect.x : defect.x + defect.width] = False
        assert not changed.any()


def test_no_defect_gives_the_board_itself():
    board = make_board(200, 200, seed=2)
    picture, placed = with_defects(board, [])
    assert placed == []
    assert np.array_equal(picture, board.picture)
    assert picture.flags.writeable


def test_a_margin_widens_the_boxes_but_not_over_the_edge():
    board = make_board(seed=1)
    _, [tight] = with_defects(board, ["copper"], seed=1)
    _, [wide] = with_defects(board, ["copper"], seed=1, margin_px=5)
    assert (wide.x, wide.y) == (tight.x - 5, tight.y - 5)
    assert (wide.width, wide.height) == (tight.width + 10, tight.height + 10)
    _, [huge] = with_defects(board, ["copper"], seed=1, margin_px=2000)
    assert (huge.x, huge.y, huge.width, huge.height) == (0, 0, 640, 640)


def test_unknown_kinds_small_boards_and_too_many_defects_are_refused_with_a_hint():
    with pytest.raises(ValueError, match=r"unknown kind of defect 'scratch'\nhint: one of open"):
        with_defects(make_board(200, 200), ["scratch"])
    with pytest.raises(ValueError, match=f"at least {MIN_SIZE_PX} x {MIN_SIZE_PX} pixels, got 10 x 640"):
        make_board(10, 640)
    with pytest.raises(ValueError, match=r"no room for defect \d+ \(copper\).*\nhint: fewer"):
        with_defects(make_board(MIN_SIZE_PX, MIN_SIZE_PX), ["copper"] * 200)


def test_a_photograph_is_shifted_softened_and_noisy_as_asked():
    picture = make_board(200, 200, seed=5).picture
    assert np.array_equal(photograph(picture), picture)
    assert np.array_equal(photograph(picture, shift_px=(2, 1))[1:, 2:], picture[:-1, :-2])
    assert np.array_equal(photograph(picture, shift_px=(-3, 0))[:, :-3], picture[:, 3:])
    half = photograph(picture, shift_px=(0.5, 0)).astype(int)
    assert np.abs(half[:, 1:] - (picture[:, 1:].astype(int) + picture[:, :-1]) / 2).max() <= 0.5
    assert photograph(picture, blur_px=1.2).std() < picture.std()
    noisy = photograph(np.full((200, 200), 128, np.uint8), seed=3, noise=4.0)
    assert 3.5 < noisy.std() < 4.5
    assert np.array_equal(noisy, photograph(np.full((200, 200), 128, np.uint8), seed=3, noise=4.0))


def test_a_large_board_is_made_in_seconds():
    board = make_board(2000, 1500, seed=1)
    assert board.picture.shape == (1500, 2000)
    _, placed = with_defects(board, DEFECT_KINDS, seed=1)
    assert len(placed) == 6
