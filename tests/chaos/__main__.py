"""`python -m tests.chaos --seconds N`.

The exit status is 0 if no call was lost, unanswered, ended twice or wrong, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.chaos.run import MAX_SECONDS, Report, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help=f"of load and faults, {MAX_SECONDS:g} at the most")
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of pictures and faults, not of their timing"
    )
    parser.add_argument("--spare", action="store_true", help="a spare host stands by, and is struck too")
    parser.add_argument("--isolation", choices=("off", "basic", "strict"), help="how far the hosts are shut in")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    report = run(options.seconds, options.seed, options.hosts, spare=options.spare, isolation=options.isolation)
    if options.json:
        print(json.dumps(report.as_dict()))
    else:
        show(report, options.seed)
    sys.exit(0 if report.passed else 1)


def show(report: Report, seed: int) -> None:
    rows = {
        "run": f"{report.seconds:g} s, {report.hosts} hosts, seed {seed}",
        "calls": f"{report.calls} ({report.calls_per_s:g} a second)",
        "ended": ", ".join(f"{count} {name}" for name, count in sorted(report.outcomes.items())),
        "faults": ", ".join(f"{count} {name}" for name, count in sorted(report.faults.items())),
        "restarts": f"{report.restarts}, {report.takeovers} of them by a spare host",
        "retries": str(report.retries),
        "sessions": f"{report.sessions_lost} lost with their host, and told",
        "swaps refused": str(report.swaps_refused),
        "unanswered": f"{report.unanswered} outside sessions",
        "lost": str(report.lost),
        "ended twice": str(report.doubled),
        "wrong": str(report.wrong),
        "left behind": str(report.left),
        "to recover": f"p50 {report.recover_p50_s} s, p99 {report.recover_p99_s} s, at most {report.recover_max_s} s",
    }
    for name, value in rows.items():
        print(f"{name:>14}  {value}")
    for note in report.notes:
        print(f"{'note':>14}  {note}")


if __name__ == "__main__":
    main()
