"""`quantable print`: a graph as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantable.cli.options import FILE, graph_argument, json_option
from quantable.cli.output import say, show_graph

if TYPE_CHECKING:
    from quantable.ir import Graph


@click.command("print")
@graph_argument
@click.option("--elide", type=int, default=16, show_default=True,
              help="Print contents of at most so many elements; others by digest.")  # fmt: skip
@click.option("--complete", is_flag=True,
              help="Print the history, too: `quantable parse` reads it back.")  # fmt: skip
@click.option("--match", metavar="PATTERN", help="Print only operations that a pattern fits.")
@click.option("-o", "--output", type=FILE,
              help="With --complete: write it, and large contents to segments/.")  # fmt: skip
@json_option
def command(
    graph: Path, elide: int, complete: bool, match: str | None, output: Path | None, as_json: bool
) -> None:
    """Print a graph of any level as text.

    \b
    Example:
      quantable print 02-quantize.qir
      quantable print 02-quantize.qir --match "Conv|Add [single-use] -> Relu"
      quantable print 02-quantize.qir --complete -o 02-quantize.qirt
    """
    from quantable.schema import load
    from quantable.text.printer import print_graph

    if output is not None and not complete:
        raise click.UsageError("-o needs --complete: other texts cannot be read back")
    if match is not None and (complete or as_json):
        raise click.UsageError("--match goes with neither --complete nor --json")
    loaded = load(graph)
    if match is not None:
        _print_matches(loaded, match, elide)
    elif output is not None:
        from quantable.text.files import write_text

        write_text(loaded, output, elide=elide)
    elif not as_json:
        click.echo(print_graph(loaded, elide=elide, history=complete).rstrip("\n"))
    if as_json:
        from quantable.driver.report import graph_facts

        show_graph(graph_facts(loaded), as_json=True)


def _print_matches(graph: Graph, pattern: str, elide: int) -> None:
    from quantable.text.match import parse_pattern
    from quantable.text.matcher import find_matches
    from quantable.text.printer import print_operations

    found = list(find_matches(graph, parse_pattern(pattern, source="--match")))
    names = {operation.name for match in found for operation in match.operations}
    for line in print_operations(graph, names, elide=elide):
        click.echo(line)
    say(f"{len(found)} matches, {len(names)} operations")
