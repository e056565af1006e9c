"""`quantable replay`: redo a file's history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import (
    FILE,
    graph_argument,
    json_option,
    target_option,
    tuning_of,
    tuning_options,
)
from quantable.cli.output import say, table


@click.command("replay")
@graph_argument
@click.option("--model", type=FILE, help="The ONNX file that the history begins with.")
@click.option("--from", "start", type=FILE, help="An earlier stage file to begin with instead.")
@click.option("--profile", type=FILE, help="Statistics, where the history read some.")
@target_option
@tuning_options
@operations_option
@json_option
def command(
    graph: Path,
    model: Path | None,
    start: Path | None,
    profile: Path | None,
    target: str | None,
    as_json: bool,
    **tuning: Any,
) -> int:
    """Redo the history of a file from its source, and compare every digest.

    Exit code 0: all are equal; 1: one is not, and the first is named.

    \b
    Example:
      quantable replay build/06-plan.qir --model net.onnx --profile build/calibration.qprof
      quantable replay build/04-opt.qir --from build/03-calibrate.qir
    """
    from quantable.driver import api
    from quantable.driver.replay import replay_history

    if model is not None and start is not None:
        raise click.UsageError("give either --model or --from")
    loaded = load_graph(graph)
    done = replay_history(
        loaded, model=model, start=load_graph(start) if start else None,
        profile=api.load_profile(profile) if profile else None, target=target,
        tuning=tuning_of(loaded, tuning),
    )  # fmt: skip
    rows = [
        (one.stage, one.expected[:16], one.found[:16], one.fault or _verdict(one.is_equal))
        for one in done
    ]
    table(("stage", "expected", "found", "verdict"), rows, as_json=as_json)
    first = next((one for one in done if not one.is_equal), None)
    if first is not None:
        say(f"the first stage that differs: {first.stage}")
        return 1
    return 0


def _verdict(is_equal: bool) -> str:
    return "equal" if is_equal else "differs"
