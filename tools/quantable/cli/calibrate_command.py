"""`quantable calibrate`: scales from statistics."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, graph_argument, json_option, output_option, target_option
from quantable.cli.output import say_remarks, show_graph


@click.command("calibrate")
@graph_argument
@click.option("--profile", type=FILE, required=True, help="Statistics of the float graph.")
@click.option(
    "--passes", default="calibrate,correct-bias", show_default=True,
    help="Pipeline to run, for instance another observer.",
)  # fmt: skip
@target_option
@output_option
@json_option
def command(
    graph: Path, profile: Path, passes: str, target: str | None, output: Path, as_json: bool
) -> None:
    """Fill the scales and zero points from calibration statistics. No data is needed any more.

    \b
    Example:
      quantable calibrate 02-quantize.qir --profile images.qprof -o 03-calibrate.qir
    """
    from quantable.driver import api
    from quantable.driver.report import graph_facts

    remarks: api.Remarks = []
    result = api.calibrate(
        api.load(graph), api.load_profile(profile), passes=passes, target=target, remarks=remarks
    )
    say_remarks(remarks)
    api.save(result, output)
    show_graph(graph_facts(result), as_json=as_json)
