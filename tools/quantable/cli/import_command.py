"""`quantable import`: ONNX or PyTorch to a float graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import operations_of, operations_option
from quantable.cli.options import json_option, output_option
from quantable.cli.output import show_graph
from quantable.cli.pytorch_options import model_argument, pytorch_graph, pytorch_options


@click.command("import")
@model_argument
@pytorch_options
@output_option
@operations_option
@json_option
def command(model: Path, output: Path, as_json: bool, **how: Any) -> None:
    """Read an ONNX file, or export a PyTorch module and read that.

    A module is named by a Python file (or an importable module) and what it calls the nn.Module, or
    a function that returns one, alone or with its example inputs.

    \b
    Example:
      quantable import resnet20.onnx -o 00-import.qir
      quantable import net.py:net --input-shape x=1x3x32x32 -o 00-import.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    graph = pytorch_graph(model, how) or api.import_model(model, operations_of())
    api.save(graph, output)
    show_graph(graph_facts(graph), as_json=as_json)
