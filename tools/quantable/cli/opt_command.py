"""`quantable opt`: run passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.instrument_options import instrument_options, selection_of
from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import (
    FILE,
    graph_argument,
    json_option,
    target_option,
    tuning_of,
    tuning_options,
)
from quantable.cli.output import show_graph


@click.command("opt")
@graph_argument
@click.option("--passes", default="", help="Pipeline: passes and groups, with options.")
@click.option("--replay", is_flag=True, help="Run what a reproducer (repro-*.qir) holds.")
@target_option
@click.option("--profile", type=FILE, help="Statistics, for passes that calibrate.")
@click.option("-o", "--output", type=FILE, help="Where to write; without it nothing is written.")
@tuning_options
@instrument_options
@operations_option
@json_option
def command(
    graph: Path,
    passes: str,
    replay: bool,
    target: str | None,
    profile: Path | None,
    output: Path | None,
    as_json: bool,
    **watch: Any,
) -> None:
    """Run passes on a graph of any level.

    \b
    Example:
      quantable opt 00-import.qir --passes "canonicalize" -o 01-opt.qir
      quantable opt 03.qir --passes "align,passive-parameters,bake" -o 04.qir --timing
      quantable opt 03.qir --passes gptq --data images.npz --scale 1/255 -o 03-fitted.qir
      quantable opt repro-bake-1f2e3d4c5b6a.qir --replay
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    if replay == bool(passes):
        raise click.UsageError("give either --passes or --replay")
    loaded = load_graph(graph)
    tuning = tuning_of(loaded, watch)
    selected = selection_of(watch)
    remarks: api.Remarks = []
    if replay:
        result = api.replay(loaded, target=target, instruments=selected.instruments)
    else:
        statistics = api.load_profile(profile) if profile else None
        result = api.optimize(
            loaded, passes, target=target, profile=statistics, tuning=tuning, remarks=remarks,
            instruments=selected.instruments,
        )  # fmt: skip
    if output is not None:
        with selected.measure("serialisation"):
            api.save(result, output)
    selected.finish(remarks)
    show_graph(graph_facts(result), as_json=as_json)
