"""Makes the picture of the README, `python docs/images/make.py`: a generated board through `procvision run`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from procvision_testing.boards import DEFECT_KINDS, make_board, photograph, with_defects
from procvision_tools.report.pictures import write_png

VERDICT = Path(__file__).with_name("verdict.png")
WIDTH, HEIGHT, SEED = 720, 380, 3
COLOURS = 48
"""A palette of so many keeps the file below 150 kB, and nothing that is drawn needs more."""
NG = 1
"""The exit status of `procvision run` that a damaged board must give."""


def main() -> None:
    """Make the boards, inspect the damaged one, keep the picture with its boxes."""
    board = make_board(WIDTH, HEIGHT, seed=SEED)
    damaged, _ = with_defects(board, DEFECT_KINDS, seed=SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_png(folder / "reference.png", board.picture)
        write_png(folder / "board.png", photograph(damaged, seed=2, shift_px=(-0.3, 0.4), blur_px=0.5, noise=0.0))
        command = [sys.executable, "-m", "procvision_tools.cli.main", "run", "pcb-compare"]
        command += ["--reference", "reference.png", "--image", "board.png", "--overlay", "verdict.png"]
        done = subprocess.run([*command, "--json"], cwd=folder, check=False, stdout=subprocess.PIPE)
        if done.returncode != NG:
            sys.exit(f"expected was NG, which is exit status {NG}; this came out with {done.returncode}")
        labels = sorted(defect["label"] for defect in json.loads(done.stdout)["defect_rects"])
        if labels != sorted(DEFECT_KINDS):
            sys.exit(f"the boxes are to be one of each kind, these are {', '.join(labels)}")
        with Image.open(folder / "verdict.png") as picture:
            small = io.BytesIO()
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    VERDICT.write_bytes(small.getvalue())
    sys.stdout.write(f"wrote {VERDICT.name}, {VERDICT.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
