"""`quantable opt`: run passes."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, graph_argument, json_option, target_option
from quantable.cli.output import say_remarks, show_graph


@click.command("opt")
@graph_argument
@click.option("--passes", default="", help="Pipeline: passes and groups, with options.")
@click.option("--replay", is_flag=True, help="Run what a reproducer (repro-*.qir) holds.")
@target_option
@click.option("--profile", type=FILE, help="Statistics, for passes that calibrate.")
@click.option("-o", "--output", type=FILE, help="Where to write; without it nothing is written.")
@json_option
def command(
    graph: Path,
    passes: str,
    replay: bool,
    target: str | None,
    profile: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run passes on a graph of any level.

    \b
    Example:
      quantable opt 00-import.qir --passes "canonicalize" -o 01-opt.qir
      quantable opt 03.qir --passes "align,passive-parameters,bake" -o 04.qir
      quantable opt repro-bake-1f2e3d4c5b6a.qir --replay
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    if replay == bool(passes):
        raise click.UsageError("give either --passes or --replay")
    loaded = api.load(graph)
    remarks: api.Remarks = []
    if replay:
        result = api.replay(loaded, target=target)
    else:
        statistics = api.load_profile(profile) if profile else None
        result = api.optimize(
            loaded, passes, target=target, profile=statistics, remarks=remarks
        )  # fmt: skip
    say_remarks(remarks)
    if output is not None:
        api.save(result, output)
    show_graph(graph_facts(result), as_json=as_json)
