"""Options that say where operations run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def dispatch_options(function: Function) -> Function:
    """Add `--dispatch` and `--assign`."""
    function = click.option(
        "--assign", multiple=True, metavar="OPERATION[.SLOT]=WHAT",
        help="Where an operation, or an ONNX node, runs (the target's name, or float), or which "
        "scheme of the target a slot or all slots have (conv1.in0=wide).",
    )(function)  # fmt: skip
    return click.option(
        "--dispatch", metavar="METHOD",
        help="conservative (default), aggressive, pplnn, pointwise, perseus, or all-in.",
    )(function)  # fmt: skip


def dispatched(values: dict[str, Any], passes: str, target: str) -> str:
    """Take the options out of a command's values and return the pipeline with them."""
    from quantable.driver.pipelines import split_assignments, with_dispatch
    from quantable.targets.description import load_target

    method, entries = values.pop("dispatch"), values.pop("assign")
    if not entries:
        return with_dispatch(passes, method=method)
    table, schemes = split_assignments(entries, load_target(target))
    return with_dispatch(passes, method=method, table=table, schemes=schemes)
