"""`quantable pack`: one self-contained file."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import graph_argument, json_option, output_option
from quantable.cli.output import show


@click.command("pack")
@graph_argument
@output_option
@json_option
def command(graph: Path, output: Path, as_json: bool) -> None:
    """Write a graph with all its contents as one file, to mail or to keep.

    The graph's digest stays the same; `quantable unpack` is the way back.

    \b
    Example:
      quantable pack build/04-opt.qir -o network.qir
    """
    from quantable.ir import graph_digest
    from quantable.schema import load, save

    loaded = load(graph)
    save(loaded, output, inline_limit=None)
    facts = {
        "contents": len(loaded.contents()),
        "bytes": output.stat().st_size,
        "digest": graph_digest(loaded),
    }
    show(facts, as_json=as_json)
