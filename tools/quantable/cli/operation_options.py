"""`--operations`: user operations that a command is given, beside those of installed packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
_KEY = "quantable.operations"


def operations_option(function: Function) -> Function:
    """Add `--operations`; `operations_of` and `load_graph` use what it names."""
    return click.option(
        "--operations", multiple=True, expose_value=False, callback=_keep, is_eager=True,
        metavar="FILE.py|MODULE",
        help="User operations: a Python file or module with OPERATIONS, beside installed packages.",
    )(function)  # fmt: skip


def _keep(ctx: click.Context, param: click.Parameter, sources: tuple[str, ...]) -> None:
    del param
    ctx.meta[_KEY] = sources


def operations_of() -> Any:
    """Return the library of what the command was given; None where it was given nothing.

    Raises:
        UserError: A source holds no definitions.
    """
    sources = click.get_current_context().meta.get(_KEY, ())
    if not sources:
        return None
    from quantable.driver.operations import library_of

    return library_of(sources)


def load_graph(path: Path) -> Any:
    """Read a graph that knows the command's user operations."""
    from quantable.driver import api

    return api.load(path, operations_of())
