"""`quantable why`: what happened to an operation, what was decided, and whence its scales."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantable.cli.operation_options import operations_of, operations_option
from quantable.cli.options import graph_argument, json_option, target_option
from quantable.cli.output import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantable.driver.why import Decided, Explanation, Origin


@click.command("why")
@graph_argument
@click.option(
    "--operation", required=True, help="Name of an operation, of an ONNX node, or of a value."
)
@click.option("--slot", default="", help="Only this slot: in0, out0 ...")
@target_option
@operations_option
@json_option
def command(graph: Path, operation: str, slot: str, target: str | None, as_json: bool) -> None:
    """Tell which passes touched an operation, what they tried, and where its scales come from.

    In a folder that `quantable compile` made, the stage files beside the file are used.

    \b
    Example:
      quantable why build/06-plan.qir --operation conv1
      quantable why build/04-opt.qir --operation conv1 --slot in1
    """
    from quantable.driver.why import explain

    found = explain(graph, operation, slot=slot, target=target, operations=operations_of())
    if as_json:
        show({**asdict(found), "decided": [_facts(one) for one in found.decided]}, as_json=True)
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: Explanation) -> Iterator[str]:
    yield f"operation '{found.operation}' ({found.kind})"
    yield f"  from the ONNX nodes: {', '.join(found.sources) or 'none: a pass made it'}"
    yield "touched by" if found.touched else "touched by no pass that is known here"
    for touch in found.touched:
        yield f"  {touch.stage}"
        yield from (f"    {text}" for text in touch.what)
    if not found.is_complete:
        yield "  passes before the first stage file that is at hand are not known"
    if found.decided:
        yield "decided"
    for one in found.decided:
        yield from _decided(one)
    if found.origins:
        yield f"scales{f' (as in {found.scales_of})' if found.scales_of else ''}"
    for origin in found.origins:
        yield from _origin(origin)


def _facts(one: Decided) -> dict[str, object]:
    from quantable.driver.report import decision_facts

    return {"stage": one.stage, **decision_facts(one.decision)}


def _decided(one: Decided) -> Iterator[str]:
    held = one.decision
    others = f" (of {', '.join(held.subject)})" if len(held.subject) > 1 else ""
    yield f"  {one.stage}: {held.tried}{others}"
    verdict = "accepted" if held.is_accepted else f"refused: {held.reason or 'no reason given'}"
    yield f"    {held.measure}: {held.before:.6g} -> {held.after:.6g}, {verdict}"


def _origin(origin: Origin) -> Iterator[str]:
    yield f"  {origin.operation}.{origin.slot} '{origin.value}': {origin.scheme}"
    if origin.row:
        yield f"    row '{origin.row}': {origin.scale}"
        yield f"    {origin.reason}"
        yield from (f"    product of row {part}" for part in origin.derived_from)
        if origin.shared_with:
            yield f"    the same row: {', '.join(origin.shared_with)}"
