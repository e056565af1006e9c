"""`quantable quantize`: dispatch and configs."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import graph_argument, json_option, output_option
from quantable.cli.output import say_remarks, show_graph


@click.command("quantize")
@graph_argument
@click.option("--target", required=True, help="Name of a target, or a description file.")
@click.option("--passes", default="quantize", show_default=True, help="Pipeline to run.")
@output_option
@json_option
def command(graph: Path, target: str, passes: str, output: Path, as_json: bool) -> None:
    """Decide where each operation runs, and how each of its tensors is quantized.

    \b
    Example:
      quantable quantize 01-opt.qir --target x86-vnni -o 02-quantize.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    remarks: api.Remarks = []
    result = api.quantize(api.load(graph), target, passes=passes, remarks=remarks)
    say_remarks(remarks)
    api.save(result, output)
    show_graph(graph_facts(result), as_json=as_json)
