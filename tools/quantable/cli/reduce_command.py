"""`quantable reduce`: the smallest graph that still shows a fault."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import FILE, graph_argument, json_option, output_option
from quantable.cli.output import show


@click.command("reduce")
@graph_argument
@click.option(
    "--oracle", required=True,
    help="Command that judges a graph: its path replaces {}, or comes last; {inputs} is that of "
    "the data. Exit 0: still interesting.",
)  # fmt: skip
@click.option(
    "--inputs", type=FILE, help="A .npz file with one array a graph input; reduced along."
)
@output_option
@operations_option
@json_option
def command(graph: Path, oracle: str, inputs: Path | None, output: Path, as_json: bool) -> None:
    """Make a graph as small as it can be while a command exits with 0.

    The result holds its weights, and its inputs where there are any.

    \b
    Example:
      quantable reduce 01-opt.qir --oracle "sh -c '! quantable opt {} --passes bake'" -o small.qir
      quantable reduce 05-lower.qir --inputs x.npz --oracle "./differs {} {inputs}" -o small.qir
    """
    from quantable.driver.oracle import CommandOracle
    from quantable.driver.reduce.files import load_inputs, write_reduced
    from quantable.driver.reduce.reduction import reduce_graph, size_facts

    loaded = load_graph(graph)
    data = load_inputs(loaded, inputs)
    reduced = reduce_graph(loaded, CommandOracle(oracle).is_interesting, data)
    write_reduced(reduced.case, output)
    before, after = size_facts(loaded), size_facts(reduced.case.graph)
    facts: dict[str, object] = {name: f"{before[name]} -> {after[name]}" for name in before}
    if as_json:
        facts = {"before": before, "after": after}
    show({**facts, "oracle_calls": reduced.calls}, as_json=as_json)
