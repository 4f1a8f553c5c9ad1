"""The protocol's conformance tables, and what runs them against anything that speaks the protocol.

The tables (`tables/*.json`) are language neutral: what to send, what must come back, and the paragraph of the
reference that says so. `run_row` plays one row against a `Target`: bytes in, frames out. `ConnectionTarget` is the
wire of this package in the smallest host or runner that can be built on it; `ProcessTarget` is a host of any
language behind real pipes.

    with ProcessTarget(["procvision-host", "--algo", "pcb-compare"]) as target:
        facts = ask_host(target, 10.0)
    for row in load_rows(role="host", kind="process"):
        row = fitted(row, facts.manifest)
        with ProcessTarget(["procvision-host", "--algo", "pcb-compare"], row.options) as target:
            run_row(row, target)            # raises ConformanceError

`play` plays many rows, several at a time, and gives an `Outcome` for each, with the frames that show it.
"""

from procvision_testing.conformance.fitting import fitted
from procvision_testing.conformance.interpreter import ConformanceError, RowSkippedError, run_row
from procvision_testing.conformance.process import ProcessTarget
from procvision_testing.conformance.readiness import HostFacts, ask_host
from procvision_testing.conformance.rows import Row, TableError, load_rows, read_table, table_files
from procvision_testing.conformance.scorecard import Outcome, by_paragraph, play
from procvision_testing.conformance.targets import ConnectionTarget, Inspectable, Target

__all__ = [
    "ConformanceError",
    "ConnectionTarget",
    "HostFacts",
    "Inspectable",
    "Outcome",
    "ProcessTarget",
    "Row",
    "RowSkippedError",
    "TableError",
    "Target",
    "ask_host",
    "by_paragraph",
    "fitted",
    "load_rows",
    "play",
    "read_table",
    "run_row",
    "table_files",
]
