"""`quantable bisect`: which pass, and which of its rewrites, is at fault."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import FILE, graph_argument, json_option, target_option
from quantable.cli.output import show


@click.command("bisect")
@graph_argument
@click.option("--passes", default="", help="Pipeline; default: what the reproducer FILE.qir holds.")
@click.option(
    "--oracle", required=True,
    help="Command that judges a graph: its path replaces {}, or comes last. Exit 0: good, 1-127: "
    "bad, 125: cannot be judged.",
)  # fmt: skip
@click.option("--then", default="", help="Pipeline that runs before the oracle looks.")
@target_option
@click.option("--profile", type=FILE, help="Statistics, for passes that calibrate.")
@click.option(
    "-o", "--output", type=FILE, default=Path(), help="Folder for the last good and first bad file."
)
@operations_option
@json_option
def command(
    graph: Path,
    passes: str,
    oracle: str,
    then: str,
    target: str | None,
    profile: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Find the pass, and the rewrite of that pass, which make a graph bad.

    \b
    Example:
      quantable bisect 00-import.qir --passes canonicalize --oracle "python check.py {}"
      quantable bisect 01-opt.qir --passes quantize --then calibrate,refine \\
        --target x86-vnni --profile calibration.qprof --oracle ./top1-above-0.9
      quantable bisect repro-bake-1f2e3d4c5b6a.qir --oracle true
    """
    from quantable.driver import api
    from quantable.driver.bisect.files import finding_facts, write_finding
    from quantable.driver.bisect.task import bisect_task
    from quantable.driver.oracle import CommandOracle

    judge = CommandOracle(oracle).is_good
    statistics = api.load_profile(profile) if profile else None
    task = bisect_task(
        load_graph(graph), passes, then=then, target=target, profile=statistics
    )  # fmt: skip
    finding = task.run(judge)
    files = write_finding(finding, task.context, output)
    show(finding_facts(finding, files), as_json=as_json)
