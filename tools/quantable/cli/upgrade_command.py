"""`quantable upgrade`: a file in another version of its format."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, json_option, output_option
from quantable.cli.output import show


@click.command("upgrade")
@click.argument("file", type=FILE, metavar="FILE")
@output_option
@click.option(
    "--format-version", metavar="MAJOR.MINOR",
    help="The oldest reader that has to read the file; default: this version.",
)  # fmt: skip
@json_option
def command(file: Path, output: Path, format_version: str | None, as_json: bool) -> None:
    """Write a .qir or .qprof file of any released version in this one, or for an older reader.

    What an older version cannot express is listed, and nothing is written.

    \b
    Example:
      quantable upgrade old.qir -o new.qir
      quantable upgrade new.qir -o for-colleague.qir --format-version 1.0
    """
    from quantable.schema import rewrite, version_of
    from quantable.schema.versions import parsed, spelled

    found = version_of(file)
    rewrite(file, output, None if format_version is None else parsed(format_version))
    show({"read": spelled(found), "written": spelled(version_of(output))}, as_json=as_json)
