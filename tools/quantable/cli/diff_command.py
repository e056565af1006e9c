"""`quantable diff`: what differs, in terms of operations and quantization."""

from __future__ import annotations

import json
from pathlib import Path

import click

from quantable.cli.comparison import DIFFERENT, SAME, Comparison
from quantable.cli.options import FILE, json_option
from quantable.cli.output import show_lines


@click.command("diff", cls=Comparison)
@click.argument("before", type=FILE, metavar="A.qir")
@click.argument("after", type=FILE, metavar="B.qir")
@click.option("--structure", is_flag=True, help="Only operations, wires, attributes and types.")
@click.option("--quantization", is_flag=True, help="Only configs and rows.")
@click.option("--values", is_flag=True, help="Only contents of parameters.")
@click.option("--html", type=FILE, help="Write the diff side by side to one HTML file, too.")
@json_option
def command(
    before: Path,
    after: Path,
    structure: bool,
    quantization: bool,
    values: bool,
    html: Path | None,
    as_json: bool,
) -> int:
    """Show what differs between two graphs of any level.

    Names and order are no difference: operations are matched by what they are and where they
    came from. --structure, --quantization and --values add up, and decide the exit code, too.
    Exit code 0: same; 1: different; 2: trouble.

    \b
    Example:
      quantable diff 03-calibrate.qir 04-opt.qir
      quantable diff 03-calibrate.qir 04-opt.qir --quantization --html diff.html
    """
    from quantable.ir.diff import Attention, diff_graphs
    from quantable.schema import load

    asked = {
        Attention.STRUCTURE: structure,
        Attention.QUANTIZATION: quantization,
        Attention.VALUES: values,
    }
    chosen = [attention for attention, is_asked in asked.items() if is_asked]
    found = diff_graphs(load(before), load(after), chosen)
    if html is not None:
        from quantable.report.diff_page import diff_page

        html.write_text(diff_page(found, before.name, after.name), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found.facts(), indent=2, ensure_ascii=False))
    else:
        from quantable.report.diff_text import diff_lines

        show_lines(diff_lines(found))
    return SAME if found.is_same else DIFFERENT
