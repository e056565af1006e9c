"""`quantable parse`: a text as a graph."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, json_option, output_option
from quantable.cli.output import show_graph


@click.command("parse")
@click.argument("text", type=FILE, metavar="FILE.qirt")
@output_option
@click.option("--unchecked", is_flag=True,
              help="Accept a graph that breaks the rules of the IR, to look at it.")  # fmt: skip
@json_option
def command(text: Path, output: Path, unchecked: bool, as_json: bool) -> None:
    """Read what `quantable print --complete` wrote, and write the same graph as a .qir file.

    \b
    Example:
      quantable print 02-quantize.qir --complete -o 02-quantize.qirt
      quantable parse 02-quantize.qirt -o again.qir
    """
    from quantable.driver.report import graph_facts
    from quantable.ir import verify
    from quantable.schema import save
    from quantable.text.files import read_text

    graph = read_text(text, checked=not unchecked)
    if not unchecked:
        verify(graph)
    save(graph, output)
    show_graph(graph_facts(graph), as_json=as_json)
