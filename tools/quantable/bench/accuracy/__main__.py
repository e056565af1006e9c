"""Regenerate ``docs/accuracy.md``: ``python -m quantable.bench.accuracy``.

Every tool is given the same float network (a last Softmax cut off, so that logits are compared) and
the same inputs. Each result is a file in a folder, so that a run that was stopped, or that measured
only some suites, networks or tools, is completed by the next one; the page is written from all
results that the folder has for the present sources and versions.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from quantable.bench.accuracy.measure import Bench, MeasurementError
from quantable.bench.accuracy.page import page
from quantable.bench.accuracy.results import OTHER_SOURCES, Results
from quantable.bench.accuracy.rows import Row, compared, grouped, row
from quantable.bench.accuracy.suites import SUITES, Case, cases
from quantable.bench.datasets import DEFAULT_SHARED, network
from quantable.bench.ending import ROOT, add_page
from quantable.bench.machine import describe_machine, versions
from quantable.ir import UserError

PACKAGES = ("onnxruntime", "nncf", "openvino", "torch", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, write the page, and return 0 where all bars hold.

    1 means that a bar is missed or something is not measured, 2 that a tool failed.
    """
    options = _parse(arguments)
    try:
        chosen = list(cases(options.suites, options.networks, options.tools))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    allowed = OTHER_SOURCES if options.other_sources else frozenset()
    with tempfile.TemporaryDirectory(prefix="quantable-accuracy-") as scratch:
        bench = Bench(options.shared, Results(options.results), Path(scratch))
        failed = 0 if options.page_only else _measure(bench, chosen, allowed)
        rows, missing = collect(bench, allowed)
    if options.output:
        facts = {**versions(PACKAGES), "machine:": describe_machine()}
        options.output.write_text(page(rows, missing, facts), encoding="utf-8")
    if failed:
        return 2
    holds = all(verdict.holds for item in rows for verdict in item.verdicts)
    return 0 if holds and not missing else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.accuracy",
        description="Measure the accuracy of quantized networks beside other quantizers.",
        epilog="Example: python -m quantable.bench.accuracy --networks resnet8 --tools '*/fast'",
    )
    parser.add_argument("--suites", nargs="+", metavar="NAME", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--networks", nargs="+", metavar="NAME")
    parser.add_argument("--tools", nargs="+", metavar="PATTERN", help="such as nncf or '*/fast'")
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED, help="models and data")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "build" / "accuracy", help="folder of results"
    )
    parser.add_argument(
        "--other-sources", action="store_true",
        help="take results of other sources of Quantable too; the page marks them",
    )  # fmt: skip
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    add_page(parser, "accuracy.md")
    return parser.parse_args(arguments)


def _measure(bench: Bench, chosen: Sequence[Case], allowed: frozenset[str]) -> int:
    """Measure what is not there; return how many tools failed."""
    failed = 0
    for done, case in enumerate(chosen, 1):
        if bench.current(case, allowed) is not None:
            continue
        sys.stderr.write(f"{done} of {len(chosen)}: {case} ...\n")
        start = perf_counter()
        try:
            result = bench.measure(case)
        except (MeasurementError, UserError) as error:
            failed += 1
            sys.stderr.write(f"failed: {error}\n")
            continue
        sys.stderr.write(
            f"  quantized in {result.seconds:.1f} s, {perf_counter() - start:.1f} s in all\n"
        )
    return failed


def collect(bench: Bench, allowed: frozenset[str]) -> tuple[list[Row], list[Case]]:
    """Return the rows of all results that there are, and the cases that have none."""
    rows: list[Row] = []
    missing: list[Case] = []
    for case in cases():
        result = bench.current(case, allowed)
        if result is None:
            missing.append(case)
            continue
        real = bench.reference(network(case.network))
        rows.append(row(case, result, real, is_stale=bench.current(case) is None))
    judged = [item for group in grouped(rows).values() for item in compared(group)]
    return judged, missing


def run() -> None:
    """Run the command; asked to end, it takes its tool and its scratch files along."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())


if __name__ == "__main__":
    run()
