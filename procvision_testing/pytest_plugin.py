"""pytest's fixtures that need no host: pytest finds them by the entry point `procvision`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from procvision_sdk.session import Session
    from procvision_testing.lent import LentPictures
    from procvision_testing.samples import SamplePictures


@pytest.fixture(scope="session")
def sample_pictures() -> SamplePictures:
    """A good plate, a bad one and where its defects are, a mono one, a black one."""
    from procvision_testing.samples import SamplePictures

    return SamplePictures()


@pytest.fixture
def inspection_session() -> Session:
    """A session as an algorithm sees it, empty, for tests that call the algorithm's methods by hand."""
    from procvision_sdk.session import Session

    return Session("test-session", {"product_code": "TEST"})


@pytest.fixture
def lent_pictures() -> Iterator[LentPictures]:
    """Shared memory for `read_image_from_shared_memory`, for tests that call the algorithm's methods by hand."""
    from procvision_sdk.images.reading import bind_image_reader
    from procvision_testing.lent import LentPictures

    lent = LentPictures()
    with bind_image_reader(lent.read):
        yield lent
