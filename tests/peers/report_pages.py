"""A page of an evaluation that has all that such a page can have."""

from __future__ import annotations

import numpy as np

from procvision_sdk.results import Defect
from procvision_tools.datasets import Dataset, Sample, Truth
from procvision_tools.evaluation.evaluated import Evaluation
from procvision_tools.evaluation.observations import Observation, Rules
from procvision_tools.evaluation.sweeps import measure
from procvision_tools.report import evaluation_html
from procvision_tools.report.pictures import write_png

PAINT = (250, 240, 60)
"""Fills the inspected picture, and nothing else on the page has it."""


def evaluation_page(folder):
    """A page with one picture, a truth that is missed in it and one that is found; and every chart there is."""
    picture = np.empty((300, 400, 3), np.uint8)
    picture[:] = PAINT
    write_png(folder / "p.png", picture)
    missed, found = Truth(60, 150, 80, 40, "open"), Truth(260, 90, 30, 120, "copper")
    bad = Sample(name="p</script>", image=folder / "p.png", truths=(missed, found), group="g1", defective=True)
    good = Sample(name="good", image=folder / "p.png", group="g2", defective=False)
    observations = (
        Observation(sample=bad, verdict="NG", findings=(Defect(260, 90, 30, 120, "copper", 0.8),)),
        Observation(sample=good, verdict="OK", times_ms={"execute": 2.0}),
        Observation(sample=good, verdict="OK", times_ms={"execute": 3.0}),
    )
    swept = {value: (observations, Rules(threshold=float(value))) for value in ("0.1", "0.9")}
    dataset = Dataset(layout="coco", folder=folder, samples=(bad, good, good), notes=("<b>note</b>",))
    html_page = folder / "evaluation.html"
    evaluation_html.write(html_page, Evaluation(
        algorithm="x", version="1", dataset=dataset, rules=Rules(), observations=observations, params={"<i>": "</i>"},
        sweep=measure("threshold", swept, dataset.groups), baseline="old.json", earlier={"": {"recall": 0.1}},
    ))  # fmt: skip
    return html_page, missed, found
