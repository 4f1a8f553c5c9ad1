"""In which size pictures are looked at, and which sizes a model takes."""

from __future__ import annotations

import numpy as np
import pytest

from procvision_anomaly.errors import NotInspectableError
from procvision_anomaly.sizes import Layout, sizes_of


@pytest.mark.parametrize(
    ("shape", "working_px", "looked_at", "scales"),
    [
        ((256, 256), 320, (256, 256), (1, 2, 4)),
        ((5472, 3648), 320, (320, 224), (1, 2, 4)),
        ((100, 70), 320, (96, 64), (1, 2)),
        ((640, 64), 640, (640, 64), (1, 2)),
        ((1000, 1000), 1024, (992, 992), (1, 2, 4)),
    ],
)
def test_a_picture_is_reduced_to_multiples_of_32_and_never_enlarged(
    shape: tuple[int, int], working_px: int, looked_at: tuple[int, int], scales: tuple[int, ...]
) -> None:
    """Longer side first; scales that would leave less than 32 px are left out."""
    sizes = sizes_of([shape] * 5, "aligned", working_px)
    assert sizes.working_size(*shape) == looked_at
    assert sizes.scales == scales
    assert sizes.working(np.zeros((shape[1], shape[0], 3), np.uint8)).shape == (looked_at[1], looked_at[0], 3)


MIXED = [(300, 200), (200, 300), (100, 260), (240, 240), (400, 250)]


@pytest.mark.parametrize(("layout", "looked_at"), [("aligned", (256, 256)), ("texture", (384, 256))])
def test_mixed_sizes_are_looked_at_by_the_layout_s_rule(layout: Layout, looked_at: tuple[int, int]) -> None:
    """Aligned: all in one size. Texture: all reduced by one factor."""
    sizes = sizes_of(MIXED, layout, 320)
    assert (sizes.width, sizes.height, sizes.told()) == (240, 250, "100..400 x 200..300 px")
    assert sizes.working_size(400, 250) == looked_at


def test_a_model_of_one_size_takes_that_size_and_one_of_mixed_sizes_takes_some_more() -> None:
    """Beyond it is an error with the bound and the value."""
    one = sizes_of([(300, 200)] * 5, "aligned", 320)
    one.check(300, 200)
    with pytest.raises(NotInspectableError, match="is 301 x 200 px, the model was learnt from 300 x 200 px"):
        one.check(301, 200)
    mixed = sizes_of(MIXED, "texture", 320)
    for size in ((64, 100), (800, 600), (300, 200)):
        mixed.check(*size)
    for size in ((63, 200), (801, 200), (300, 99), (300, 601)):
        with pytest.raises(NotInspectableError, match=r"takes 64\.\.800 x 100\.\.600 px"):
            mixed.check(*size)


def test_a_working_size_that_leaves_nothing_to_see_is_refused() -> None:
    """A long strip reduced to its longer side."""
    with pytest.raises(NotInspectableError, match="64 x 10 px, each side has at least 32 px; hint: raise working_size"):
        sizes_of([(640, 100)] * 5, "aligned", 64)
