"""`quantable import`: ONNX to a float graph."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, json_option, output_option
from quantable.cli.output import show_graph


@click.command("import")
@click.argument("model", type=FILE, metavar="MODEL.onnx")
@output_option
@json_option
def command(model: Path, output: Path, as_json: bool) -> None:
    """Read an ONNX file of opset 7 or newer.

    \b
    Example:
      quantable import resnet20.onnx -o 00-import.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    graph = api.import_model(model)
    api.save(graph, output)
    show_graph(graph_facts(graph), as_json=as_json)
