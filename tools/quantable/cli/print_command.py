"""`quantable print`: a graph as text."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import graph_argument, json_option
from quantable.cli.output import show_graph


@click.command("print")
@graph_argument
@click.option("--elide", type=int, default=16, show_default=True,
              help="Print parameters of at most so many elements.")  # fmt: skip
@json_option
def command(graph: Path, elide: int, as_json: bool) -> None:
    """Print a graph of any level as text.

    \b
    Example:
      quantable print 02-quantize.qir
    """
    from quantable.driver.report import graph_facts
    from quantable.schema import load
    from quantable.text.printer import print_graph

    loaded = load(graph)
    if as_json:
        show_graph(graph_facts(loaded), as_json=True)
    else:
        click.echo(print_graph(loaded, elide=elide).rstrip("\n"))
