"""Options of the commands that use the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quantable.cli.options import FILE

if TYPE_CHECKING:
    from quantable.driver.cache import Cache

Function = TypeVar("Function", bound=Callable[..., Any])

CACHE_VARIABLE, LIMIT_VARIABLE = "QUANTABLE_CACHE", "QUANTABLE_CACHE_LIMIT"
_CACHE = click.option(
    "--cache", type=FILE, metavar="DIR", envvar=CACHE_VARIABLE,
    help=f"Folder of results that are taken again; default: {CACHE_VARIABLE}, else none.",
)  # fmt: skip
_LIMIT = click.option(
    "--cache-limit", type=click.IntRange(min=0), default=4096, show_default=True, metavar="MIB",
    envvar=LIMIT_VARIABLE, help=f"Size that the cache is kept to; {LIMIT_VARIABLE} sets it, too.",
)  # fmt: skip


def cache_options(function: Function) -> Function:
    """Add `--cache` and `--cache-limit`."""
    return _CACHE(_LIMIT(function))


def open_cache(folder: Path | None, limit: int, say: Callable[[str], None]) -> Cache | None:
    """Return the cache that the options name; None without one.

    Args:
        folder: Where it lies.
        limit: In MiB.
        say: Told about damaged entries.
    """
    if folder is None:
        return None
    from quantable.driver.cache import Cache

    return Cache(folder.expanduser(), limit << 20, say)
