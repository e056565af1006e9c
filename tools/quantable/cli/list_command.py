"""`quantable list`: what there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

import click

from quantable.cli.operation_options import operations_of, operations_option
from quantable.cli.options import json_option
from quantable.cli.output import say, table

if TYPE_CHECKING:
    from quantable.ir import OperationLibrary

LISTINGS = (
    "passes", "targets", "operations", "standard-operations", "user-operations", "stages", "efforts"
)  # fmt: skip
Listing = tuple[tuple[str, ...], list[tuple[object, ...]]]


@click.command("list")
@click.argument("what", type=click.Choice(LISTINGS))
@click.option("--target", help="With operations: what this target does with each.")
@operations_option
@json_option
def command(what: str, target: str | None, as_json: bool) -> None:
    """List passes with their options, targets, operations, the stages, or efforts.

    Standard operations are those of ONNX that are imported and executed, with what quantization
    does to them; operations are the integer ones, or, with --target, the rules of a target. User
    operations are those of installed packages, and of --operations.

    \b
    Example:
      quantable list passes
      quantable list operations --target x86-vnni
    """
    if target and what != "operations":
        raise click.UsageError("--target goes with: quantable list operations")
    listings: dict[str, Callable[[], Listing]] = {
        "standard-operations": _standard_operations,
        "user-operations": _user_operations,
        "passes": _passes,
        "targets": _targets,
        "stages": _stages,
        "efforts": _efforts,
        "operations": lambda: _rules(target) if target else _operations(),
    }
    columns, rows = listings[what]()
    table(columns, rows, as_json=as_json)


def _passes() -> Listing:
    from quantable.passes.registry import PASSES

    rows: list[tuple[object, ...]] = [
        (entry.name, entry.phase, _options(entry.load()), entry.summary)
        for entry in PASSES.values()
    ]
    return ("pass", "group", "options (default)", "what it does"), rows


def _options(cls: type) -> str:
    from quantable.text.spelling import option_text

    return ", ".join(
        f"{field.name.replace('_', '-')}={option_text(field.default)}" for field in fields(cls)
    )


def _efforts() -> Listing:
    from quantable.driver.efforts import EFFORTS

    rows: list[tuple[object, ...]] = [
        (
            effort.name, effort.summary, ",".join(effort.tuning) or "nothing",
            ",".join(effort.rewrites) or "nothing",
        )
        for effort in EFFORTS.values()
    ]  # fmt: skip
    columns = (
        "effort",
        "what it costs",
        "added to calibrate",
        "to canonicalize, per-tensor weights",
    )
    return columns, rows


def _targets() -> Listing:
    from quantable.targets.description import TARGETS, load_target

    found = [load_target(name) for name in TARGETS]
    rows: list[tuple[object, ...]] = [
        (target.name, target.backend, target.arithmetic.contract, target.summary)
        for target in found
    ]
    return ("target", "backend", "arithmetic", "what it is"), rows


def _stages() -> Listing:
    from quantable.driver.stages import STAGES

    rows: list[tuple[object, ...]] = [
        (stage.name, f"quantable {stage.command}", stage.file, stage.pipeline, stage.holds)
        for stage in STAGES
    ]
    return ("stage", "command", "file", "pipeline", "what holds after it"), rows


def _operations() -> Listing:
    from quantable.ir.integer_operations import INTEGER_OPERATIONS

    rows: list[tuple[object, ...]] = [
        (row.kind, ", ".join(row.operands), ", ".join(row.attributes), row.summary)
        for row in INTEGER_OPERATIONS.values()
    ]
    return ("integer operation", "operands", "attributes", "what it does"), rows


def _standard_operations() -> Listing:
    from quantable.ir.standard_operations import known_operations

    rows: list[tuple[object, ...]] = [
        (
            row.kind, row.family, ", ".join(map(str, row.versions)),
            f"left out: it {row.left_out}" if row.left_out else f"{row.role.value} {row.slots}",
        )
        for row in known_operations().values()
    ]  # fmt: skip
    return ("operation", "family", "opsets", "quantization"), rows


def _library() -> OperationLibrary:
    from quantable.driver.operations import library_of

    found: OperationLibrary | None = operations_of()
    return library_of() if found is None else found


def _user_operations() -> Listing:
    rows: list[tuple[object, ...]] = []
    for kind, held in _library().items():
        definition = held.definition
        integer = type(definition.integer).__name__ if definition.integer else "none: stays float"
        has_c = definition.kernel is None or definition.kernel.c is not None
        rows.append((
            kind, f"{held.package} {held.version}", held.digest[:12], ", ".join(definition.inputs),
            integer if has_c else f"{integer} without C", definition.summary,
        ))  # fmt: skip
    if not rows:
        say("none: a package registers some by an entry point 'quantable.operations', a file is "
            "given with --operations FILE.py")  # fmt: skip
    return ("operation", "package", "definition", "inputs", "integers", "what it does"), rows


def _rules(target: str) -> Listing:
    from quantable.targets.description import load_target
    from quantable.targets.user_rules import with_user_rules

    known = with_user_rules(load_target(target), _library())
    rows: list[tuple[object, ...]] = [
        (rule.kind, rule.role, ", ".join(rule.inputs), ", ".join(rule.outputs))
        for rule in known.rules.values()
    ]
    return ("operation", "role", "inputs", "outputs"), rows
