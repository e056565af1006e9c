"""`quantable calibrate`: scales from statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import (
    FILE,
    graph_argument,
    json_option,
    output_option,
    target_option,
    tuning_of,
    tuning_options,
)
from quantable.cli.output import say_remarks, show_graph


@click.command("calibrate")
@graph_argument
@click.option("--profile", type=FILE, required=True, help="Statistics of the float graph.")
@click.option(
    "--effort", default="fast", show_default=True,
    help="fast (needs no data), balanced, or best; see `quantable list efforts`.",
)  # fmt: skip
@click.option("--passes", help="Pipeline to run instead, for instance with another observer.")
@target_option
@tuning_options
@output_option
@operations_option
@json_option
def command(
    graph: Path,
    profile: Path,
    effort: str,
    passes: str | None,
    target: str | None,
    output: Path,
    as_json: bool,
    **tuning: Any,
) -> None:
    """Fill the scales and zero points from calibration statistics, and fit to samples.

    After this no data is needed any more.

    \b
    Example:
      quantable calibrate 02-quantize.qir --profile images.qprof -o 03-calibrate.qir
      quantable calibrate 02-quantize.qir --profile images.qprof --effort balanced \
          --data images.npz --scale 1/255 -o 03-calibrate.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    remarks: api.Remarks = []
    loaded = load_graph(graph)
    chosen = passes or _passes(effort, target or loaded.target)
    result = api.calibrate(
        loaded, api.load_profile(profile), passes=chosen, target=target,
        tuning=tuning_of(loaded, tuning), remarks=remarks,
    )  # fmt: skip
    say_remarks(remarks)
    api.save(result, output)
    show_graph(graph_facts(result), as_json=as_json)


def _passes(effort: str, target: str) -> str:
    from quantable.driver.efforts import pipelines_of
    from quantable.driver.stages import STAGE
    from quantable.targets.description import load_target

    return pipelines_of(effort, load_target(target)).get("calibrate", STAGE["calibrate"].pipeline)
