"""Options that say where operations run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def dispatch_options(function: Function) -> Function:
    """Add `--dispatch` and `--assign`."""
    function = click.option(
        "--assign", multiple=True, metavar="OPERATION=PLATFORM",
        help="Where an operation, or an ONNX node, runs: the target's name, or float.",
    )(function)  # fmt: skip
    return click.option(
        "--dispatch", metavar="METHOD", help="conservative (default), or all-in.",
    )(function)  # fmt: skip


def dispatched(values: dict[str, Any], passes: str) -> str:
    """Take the options out of a command's values and return the pipeline with them."""
    from quantable.driver.pipelines import with_dispatch

    return with_dispatch(passes, method=values.pop("dispatch"), table=values.pop("assign"))
