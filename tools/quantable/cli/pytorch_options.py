"""Options of commands that take a PyTorch module in place of an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from quantable.cli.operation_options import operations_of
from quantable.cli.options import FILE

Function = TypeVar("Function", bound=Callable[..., Any])

model_argument = click.argument("model", type=FILE, metavar="MODEL.onnx|NET.py:NAME")
_OPTIONS = (
    click.option(
        "--input-shape", multiple=True, metavar="NAME=DIMS[:TYPE]",
        help="For a PyTorch module: shape of an input, such as x=1x3x224x224 or "
        "tokens=N,128:int64; a word is a dimension of any size.",
    ),
    click.option(
        "--example", metavar="FILE.py:NAME",
        help="For a PyTorch module: example inputs, instead of shapes.",
    ),
    click.option(
        "--dynamic", multiple=True, metavar="NAME.AXIS=SYMBOL",
        help="For an example: a dimension of any size, such as x.0=batch.",
    ),
    click.option("--opset", type=int, help="For a PyTorch module: opset to export to."),
    click.option(
        "--output-name", multiple=True, help="For a PyTorch module: names of its outputs, in order."
    ),
)  # fmt: skip


def pytorch_options(function: Function) -> Function:
    """Add the options that say how a PyTorch module is exported."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def pytorch_graph(model: Path, how: dict[str, Any]) -> Any:
    """Take the options of `pytorch_options` out of a command's values and return the float graph.

    Returns:
        The graph; None where the model is an ONNX file.

    Raises:
        UsageError: There are such options beside an ONNX file.
    """
    from quantable.driver.pytorch import Export, import_pytorch, is_reference

    names = ("input_shape", "example", "dynamic", "opset", "output_name")
    given = {name: how.pop(name) for name in names}
    if is_reference(model):
        return import_pytorch(str(model), Export.of(*given.values()), operations_of())
    wrong = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if wrong:
        raise click.UsageError(f"{wrong[0]} goes with a PyTorch module: NET.py:NAME")
    return None
