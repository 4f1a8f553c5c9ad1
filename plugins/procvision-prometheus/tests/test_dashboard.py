"""The dashboard for Grafana asks for what the plugin exports, and for nothing else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from procvision_prometheus.metrics import HostMetrics

DASHBOARD = json.loads((Path(__file__).parents[1] / "grafana" / "procvision.json").read_text("utf-8"))
_WORDS = {"sum", "by", "rate", "on", "group_left", "histogram_quantile", "label_values"}
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each sample's name, of a host with some of everything."""
    metrics = HostMetrics("a", "1", os.getpid(), "line-3")
    call: dict[str, Any] = {"phase": "execute", "step_index": 1, "session_id": "s", "final": True}
    metrics.session_opened("s")
    for answer in (
        {"type": "result", "status": "OK", "data": {"result_status": "NG"}},
        {"type": "error", "status": "ERROR", "error_code": "9999", "data": {"kind": "exception"}},
    ):
        metrics.call_finished(call, answer, 0.01)
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    found: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            # `instance` is Prometheus' own.
            found.setdefault(sample.name, {"instance"}).update(sample.labels)
    return found


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_each_query_names_metrics_and_labels_that_are_exported(
    title: str, query: str, exported: dict[str, set[str]]
) -> None:
    """A word in a query is a function, a metric, or a label of one of its metrics."""
    assert query.count("(") == query.count(")"), title
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", query)
    words = set(re.findall(r"[a-z_]{2,}", bare)) - _WORDS
    metrics = words & exported.keys()
    assert metrics
    labels = set.union(*(exported[metric] for metric in metrics))
    assert words - metrics <= labels, (title, words - metrics - labels)


def test_the_list_of_algorithms_is_asked_of_a_metric(exported: dict[str, set[str]]) -> None:
    """The variable by which the dashboard is narrowed."""
    asked = DASHBOARD["templating"]["list"][1]["query"]["query"]
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", asked).groups()  # type: ignore[union-attr]
    assert label in exported[metric]


def test_panels_are_apart() -> None:
    """No two have one id, or one place."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells
        assert at["x"] + at["w"] <= 24
