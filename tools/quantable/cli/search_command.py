"""`quantable search`: bit widths under a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import (
    FILE,
    PREPROCESSING_KEYS,
    graph_argument,
    json_option,
    output_option,
    quiet_option,
    tuning_of,
    tuning_options,
)
from quantable.cli.output import progress, show


@click.command("search")
@graph_argument
@click.option("--target", required=True, help="Name of a target, or a description file.")
@click.option("--profile", type=FILE, required=True, help="Statistics of the float graph.")
@click.option(
    "--budget", required=True, metavar="NAME=NUMBER",
    help="average-bits (weights and activations, each), weight-bits, activation-bits, size (bytes "
    "of weights), operations (products times bits of both operands), or latency (C targets).",
)  # fmt: skip
@click.option(
    "--widths",
    default="4,5,6,8,16",
    show_default=True,
    help="Bits to choose from, among the target's alternatives; 32 is float.",
)
@click.option(
    "--held-out", type=int, default=32, show_default=True,
    help="Judge on at most so many held-out samples, and round weights by twice as many others.",
)  # fmt: skip
@click.option(
    "--trials",
    type=int,
    default=2,
    show_default=True,
    help="Neighbours of the best assignment that are quantized and measured, too.",
)
@tuning_options
@output_option
@quiet_option
@operations_option
@json_option
def command(
    graph: Path,
    target: str,
    profile: Path,
    budget: str,
    widths: str,
    held_out: int,
    trials: int,
    output: Path,
    quiet: bool,
    as_json: bool,
    **tuning: Any,
) -> None:
    """Find how many bits each weight and activation needs, and write a recipe with them.

    FILE.qir is a float graph in its canonical form. With --checkpoint, what was measured is kept: a
    stopped search goes on from there, and another budget measures nothing but its own result.

    \b
    Example:
      quantable search 01-opt.qir --target onnxruntime-w4a4 --profile images.qprof \\
          --data images.npz --scale 1/255 --budget average-bits=5 -o mixed.toml
      quantable compile net.onnx --recipe mixed.toml --calibration images.npz -o build/
    """
    from quantable.driver import api
    from quantable.driver.emission import write_text
    from quantable.driver.mixed_precision.budgets import Budget
    from quantable.driver.mixed_precision.recipe import recipe
    from quantable.driver.mixed_precision.search import Search

    wanted, chosen = Budget.parse(budget), _widths(widths)
    options = {key: tuning[key] for key in PREPROCESSING_KEYS if tuning[key] is not None}
    loaded = load_graph(graph)
    samples = tuning_of(loaded, tuning)
    if samples is None:
        raise click.UsageError("expected --data: calibration samples to measure with")
    with progress("searching", quiet=quiet) as count:
        search = Search(
            loaded, target, api.load_profile(profile), samples.laboratory, samples.checkpoint,
            samples=held_out, widths=chosen,
            progress=lambda _, done, total: count(done, total),
        )  # fmt: skip
        found = search.best(wanted, trials)
    write_text(recipe(found, target, options), output)
    facts = found.facts()
    brief = ("budget", "amounts", "predicted_noise", "measured_noise")
    show(facts if as_json else {name: facts[name] for name in brief}, as_json=as_json)


def _widths(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words):
        raise click.UsageError(f"--widths: expected numbers such as 4,8,16, found '{text}'")
    return tuple(int(word) for word in words)
