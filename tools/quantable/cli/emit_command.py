"""`quantable emit`: target code."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import graph_argument, json_option, output_option, target_option
from quantable.cli.output import show_manifest


@click.command("emit")
@graph_argument
@target_option
@output_option
@operations_option
@json_option
def command(graph: Path, target: str | None, output: Path, as_json: bool) -> None:
    """Write target code into a folder, with a manifest.

    A C target takes an integer or a planned graph, `onnxruntime` a quantable one.

    \b
    Example:
      quantable emit 06-plan.qir -o build/
    """
    from quantable.driver import api

    manifest = api.emit(load_graph(graph), output, target=target)
    show_manifest(manifest, as_json=as_json)
