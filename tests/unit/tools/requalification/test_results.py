"""A folder of results is of one comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from procvision_tools.requalification.archive import Said
from procvision_tools.requalification.results import Results, ResultsError, Row


def test_a_folder_without_a_result_is_whose_command_comes_next(tmp_path: Path) -> None:
    """One that ended before its first, as where no cluster was there, has nothing to mix."""
    results = Results(tmp_path)
    results.claim({"timeout_s": 5})
    results.claim({"timeout_s": 6})
    results.write("0" * 64, [Row("board", new=Said("OK"), old=Said("OK"))])
    results.claim({"timeout_s": 6})
    with pytest.raises(ResultsError, match="timeout_s was 6, and is 5"):
        results.claim({"timeout_s": 5})
    results.close()
