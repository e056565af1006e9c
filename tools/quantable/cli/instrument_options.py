"""Options that watch passes; shared by the commands that run some. No result depends on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quantable.cli.options import FILE
from quantable.cli.output import say

if TYPE_CHECKING:
    from quantable.driver.instruments.selection import Selection

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--timing", is_flag=True, help="Say what each pass cost: time and memory."),
    click.option("--statistics", is_flag=True, help="Say what each pass did to the operations."),
    click.option("--remarks", is_flag=True, help="Say what each pass declined, and why."),
    click.option(
        "--dump", type=FILE, metavar="DIR",
        help="Write the graph around each pass that changes it (.qir and .txt) to a folder.",
    ),
    click.option("--dump-filter", default="", metavar="REGEX", help="Dump only these passes."),
    click.option(
        "--dump-when", default="changed", show_default=True,
        help="before, after, or changed: before and after those that change something.",
    ),
)  # fmt: skip
INSTRUMENT_KEYS = ("timing", "statistics", "remarks", "dump", "dump_filter", "dump_when")
"""Names of the options above: never part of a cache key."""


def instrument_options(function: Function) -> Function:
    """Add `--timing`, `--statistics`, `--remarks`, `--dump` and what goes with it."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def selection_of(values: dict[str, Any]) -> Selection:
    """Take the instrument options out of a command's values and return the instruments."""
    from quantable.driver.instruments.selection import Selection

    given = {key: values.pop(key) for key in INSTRUMENT_KEYS}
    folder: Path | None = given["dump"]
    if folder is None and given["dump_filter"]:
        raise click.UsageError("--dump-filter goes with --dump DIR")
    return Selection.of(say, **given)
