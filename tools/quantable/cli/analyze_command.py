"""`quantable analyze`: what quantization does to a network, and where."""

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
)
from quantable.cli.output import progress, say, show, table


@click.command("analyze")
@graph_argument
@click.option("--data", help="A .npz or .npy file, or a folder of images.")
@click.option("--profile", type=FILE, help="Calibration statistics; alone, no data are needed.")
@preprocessing_options
@click.option("--samples", type=int, help="Use so many, from the start; default: 8, or all.")
@click.option("--only", multiple=True, help="Name of an analysis; default: all.")
@click.option(
    "--at", multiple=True, help="Value at which the network's error is measured; default: outputs."
)
@click.option("--html", type=FILE, help="Write it as one HTML page with plots, too.")
@quiet_option
@operations_option
@json_option
def command(
    graph: Path,
    data: str | None,
    profile: Path | None,
    samples: int | None,
    only: tuple[str, ...],
    at: tuple[str, ...],
    html: Path | None,
    quiet: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure what quantization does to a network, and where.

    FILE.qir is a quantable graph, calibrated, baked or not; it holds its float form, too.

    \b
    Example:
      quantable analyze 04-opt.qir --data test.npz --scale 1/255 --html errors.html
      quantable analyze 04-opt.qir --data test.npz --only layerwise --samples 32 --json
      quantable analyze 04-opt.qir --profile images.qprof
    """
    from quantable.ir import OptionError
    from quantable.report.analysis_text import tables, verdict

    if html is not None and not html.parent.is_dir():  # said before minutes of work
        raise OptionError("cannot be written: there is no such folder", where=str(html))
    facts = _facts(graph, data, profile, quiet=quiet, samples=samples, only=only, at=at, **how)
    for remark in facts.get("remarks", []):
        say(f"remark: {remark}")
    if html is not None:
        from quantable.driver.emission import write_text
        from quantable.report.analysis_page import analysis_page

        write_text(analysis_page(facts), html)
    if as_json:
        show(facts, as_json=True)
        return
    click.echo(verdict(facts))
    for part in tables(facts):
        click.echo(f"\n{part.title}")
        table(part.columns, part.rows, as_json=False)


def _facts(
    path: Path, data: str | None, profile: Path | None, *, quiet: bool, **how: Any
) -> dict[str, Any]:
    from quantable.driver import api
    from quantable.driver.analysis.analyze import analyze, analyze_profile

    if data is None and profile is None:
        raise click.UsageError("expected --data, --profile, or both")
    unused = [name for name in ("samples", "only", "at") if how[name] and data is None]
    if unused:
        raise click.UsageError(f"--{unused[0]} is about samples: expected --data, too")
    graph, preprocessing = load_graph(path), preprocessing_of(how)
    facts: dict[str, Any] = {}
    if profile is not None:
        facts = analyze_profile(graph, api.load_profile(profile))
    if data is not None:
        with progress("analysing", quiet=quiet) as count:
            found = analyze(graph, data, preprocessing, progress=count, **how)
        facts = {**found.facts(), **facts}
    return facts
