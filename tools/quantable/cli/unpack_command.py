"""`quantable unpack`: large contents back into files of their own."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import graph_argument, json_option, output_option
from quantable.cli.output import show


@click.command("unpack")
@graph_argument
@output_option
@json_option
def command(graph: Path, output: Path, as_json: bool) -> None:
    """Write a graph with its large contents in `segments/` beside the file, as stages have them.

    The graph's digest stays the same, and the bytes are those that were packed.

    \b
    Example:
      quantable unpack network.qir -o build/04-opt.qir
    """
    from quantable.ir import graph_digest
    from quantable.schema import load, save

    loaded = load(graph)
    save(loaded, output)
    facts = {
        "contents": len(loaded.contents()),
        "bytes": output.stat().st_size,
        "digest": graph_digest(loaded),
    }
    show(facts, as_json=as_json)
