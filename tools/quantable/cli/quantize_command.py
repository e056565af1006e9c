"""`quantable quantize`: dispatch and configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.dispatch_options import dispatch_options, dispatched
from quantable.cli.instrument_options import instrument_options, selection_of
from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import graph_argument, json_option, output_option
from quantable.cli.output import show_graph


@click.command("quantize")
@graph_argument
@click.option("--target", required=True, help="Name of a target, or a description file.")
@click.option("--passes", default="quantize", show_default=True, help="Pipeline to run.")
@click.option(
    "--complete", is_flag=True,
    help="Leave what a quantized model does not quantize to `calibrate`, for targets of integers.",
)  # fmt: skip
@dispatch_options
@output_option
@instrument_options
@operations_option
@json_option
def command(
    graph: Path,
    target: str,
    passes: str,
    complete: bool,
    output: Path,
    as_json: bool,
    **watch: Any,
) -> None:
    """Decide where each operation runs, and how each of its tensors is quantized.

    A network whose model has quantizers keeps them: then `quantize` stands for `adopt-quantizers`.

    \b
    Example:
      quantable quantize 01-opt.qir --target x86-vnni -o 02-quantize.qir
      quantable quantize 01-opt.qir --target onnxruntime -o 02-quantize.qir --remarks
      quantable quantize 01-opt.qir --target onnxruntime --assign conv1=float -o 02-quantize.qir
      quantable quantize 01-opt.qir --target c-portable --assign conv1.in0=wide -o 02-quantize.qir
      quantable quantize 01-opt.qir --target c-portable --complete -o 02-quantize.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    pipeline = dispatched(watch, passes, target)
    selected = selection_of(watch)
    loaded = load_graph(graph)
    remarks: api.Remarks = []
    result = api.quantize(
        loaded, target, passes=pipeline, complete=complete, remarks=remarks,
        instruments=selected.instruments,
    )  # fmt: skip
    with selected.measure("serialisation"):
        api.save(result, output)
    selected.finish(remarks)
    show_graph(graph_facts(result), as_json=as_json)
