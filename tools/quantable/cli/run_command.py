"""`quantable run`: the reference runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import (
    FILE,
    graph_argument,
    json_option,
    preprocessing_of,
    preprocessing_options,
    quiet_option,
    samples_option,
    threads_option,
)
from quantable.cli.output import progress, show


@click.command("run")
@graph_argument
@click.option("--data", required=True, help="A .npz or .npy file, or a folder of images.")
@preprocessing_options
@samples_option
@threads_option
@click.option("--output-value", multiple=True, help="Name of any value; default: the outputs.")
@click.option("--labels", help="Name of an array of class labels in the data: prints top-1.")
@click.option("-o", "--output", type=FILE, help="Where to write the results, as .npz.")
@quiet_option
@operations_option
@json_option
def command(
    graph: Path,
    data: str,
    samples: int | None,
    threads: int,
    output_value: tuple[str, ...],
    labels: str | None,
    output: Path | None,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Run a graph of any level in the reference runtime.

    \b
    Example:
      quantable run 04-opt.qir --data test.npz -o out.npz
      quantable run 05-lower.qir --data test.npz --scale 1/255 --labels label
    """
    from quantable.driver import api

    loaded = load_graph(graph)
    found = api.open_samples(data, loaded, preprocessing_of(how), samples=samples)
    with progress("running", quiet=quiet) as count:
        results = api.run(
            loaded, found, outputs=output_value or None, threads=threads, progress=count
        )
    if output is not None:
        api.save_arrays(results, output)
    facts: dict[str, object] = {"level": loaded.level.value, "samples": len(found)}
    facts.update({name: f"{array.dtype}{list(array.shape)}" for name, array in results.items()})
    if labels:
        facts["top_1"] = api.top_1(next(iter(results.values())), found.label(labels))
    show(facts, as_json=as_json)
