"""`quantable merge`: add up statistics."""

from __future__ import annotations

from pathlib import Path

import click

from quantable.cli.options import FILE, json_option, output_option
from quantable.cli.output import show


@click.command("merge")
@click.argument("profiles", type=FILE, nargs=-1, required=True, metavar="FILE.qprof...")
@output_option
@json_option
def command(profiles: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Add up the statistics of shards: the same bytes in any order, and as from all the data.

    \b
    Example:
      quantable merge shard1.qprof shard2.qprof shard3.qprof -o images.qprof
    """
    from quantable.driver import api

    merged = api.merge_profiles(api.load_profile(path) for path in profiles)
    api.save_profile(merged, output)
    show(api.profile_facts(merged), as_json=as_json)
