"""`quantable lower`: explicit integer operations."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import graph_argument, json_option, output_option, target_option
from quantable.cli.output import say_remarks, show_graph


@click.command("lower")
@graph_argument
@click.option("--passes", default="lower", show_default=True, help="Pipeline to run.")
@target_option
@output_option
@operations_option
@json_option
def command(graph: Path, passes: str, target: str | None, output: Path, as_json: bool) -> None:
    """Make the target's arithmetic explicit: integer operations that define the result.

    \b
    Example:
      quantable lower 04-opt.qir -o 05-lower.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    remarks: api.Remarks = []
    result = api.lower(load_graph(graph), passes=passes, target=target, remarks=remarks)
    say_remarks(remarks)
    api.save(result, output)
    show_graph(graph_facts(result), as_json=as_json)
