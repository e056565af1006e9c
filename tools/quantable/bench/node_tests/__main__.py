"""Run the standard's own tests: ``python -m quantable.bench.node_tests``.

Without options all of them run, and ``docs/operators.md`` is written.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from quantable.bench.machine import installed_version
from quantable.bench.node_tests.judge import Status
from quantable.bench.node_tests.page import page
from quantable.bench.node_tests.run import run_cases

PAGE = Path("docs/operators.md")


def main() -> None:
    """Run tests, print those that do not pass, and write the page where all ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", action="append", default=[], help="run these groups alone")
    parser.add_argument("--name", action="append", default=[], help="run tests with this in names")
    given = parser.parse_args()
    outcomes = run_cases(given.group, given.name)
    for outcome in outcomes:
        if outcome.verdict.status is not Status.PASS:
            verdict = outcome.verdict
            sys.stdout.write(f"{outcome.name}: {verdict.status.value}: {verdict.reason}\n")
    counts = Counter(outcome.verdict.status.value for outcome in outcomes)
    sys.stdout.write(f"{len(outcomes)} tests: {dict(sorted(counts.items()))}\n")
    if not given.group and not given.name:
        PAGE.write_text(page(outcomes, installed_version("onnx")), encoding="utf-8")


if __name__ == "__main__":
    main()
