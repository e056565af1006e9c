"""`quantable observe`: calibration statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from quantable.cli.operation_options import load_graph, operations_option
from quantable.cli.options import (
    graph_argument,
    json_option,
    output_option,
    preprocessing_of,
    preprocessing_options,
    quiet_option,
    samples_option,
    threads_option,
)
from quantable.cli.output import progress, say_warnings, show


@click.command("observe")
@graph_argument
@click.option("--data", required=True, help="A .npz or .npy file, or a folder of images.")
@preprocessing_options
@samples_option
@click.option("--shard", default="", help="i/n: every n-th sample, from the i-th on.")
@threads_option
@click.option(
    "--elements", type=click.IntRange(min=0), default=None,
    help="Most elements of a value that one sample counts; 0: all.  [default: 16384]",
)  # fmt: skip
@output_option
@quiet_option
@operations_option
@json_option
def command(
    graph: Path,
    data: str,
    samples: int | None,
    shard: str,
    threads: int,
    elements: int | None,
    output: Path,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure a float graph on calibration data.

    The statistics serve any target and any observer. Those of shards add up: quantable merge.

    \b
    Example:
      quantable observe 01-opt.qir --data images.npz --scale 1/255 -o images.qprof
      quantable observe 01-opt.qir --data photos/ --resize crop --crop 0.875 \\
          --scale 1/127.5 --mean 1 -o photos.qprof
    """
    from quantable.driver import api
    from quantable.driver.calibration_warnings import calibration_warnings

    with progress("observing", quiet=quiet) as count:
        loaded = load_graph(graph)
        profile = api.observe(
            loaded, data, preprocessing_of(how), samples=samples, shard=shard,
            threads=threads, elements=elements, progress=count,
        )  # fmt: skip
    say_warnings(calibration_warnings(loaded, profile), quiet=quiet)
    api.save_profile(profile, output)
    show(api.profile_facts(profile), as_json=as_json)
