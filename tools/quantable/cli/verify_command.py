"""`quantable verify`: every rule of the format and the IR."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, json_option
from quantable.cli.output import table


@click.command("verify")
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@json_option
def command(files: tuple[Path, ...], as_json: bool) -> int:
    """Check .qir and .qprof files: bytes, contents, and every invariant of the graph's level.

    Exit code 0: all files are good; 1: one is not.

    \b
    Example:
      quantable verify build/*.qir build/calibration.qprof
    """
    from quantable.driver.files import problem_of

    problems = [(path, problem_of(path)) for path in files]
    rows = [(str(path), "good" if problem is None else str(problem)) for path, problem in problems]
    table(("file", "result"), rows, as_json=as_json)
    return 1 if any(problem is not None for _, problem in problems) else 0
