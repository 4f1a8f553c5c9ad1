"""`python -m tests.evidence --kills N`: the exit status is 0 if the ledger has what was told, once, and is whole."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.evidence.kills import Kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of victims and moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="procvision-evidence-") as folder:
        report = Kills(Path(folder) / "line", options.seed).run(options.kills)
    print(json.dumps({"seed": options.seed, **report}, indent=2))
    sys.exit(1 if report["wrong"] else 0)


if __name__ == "__main__":
    main()
