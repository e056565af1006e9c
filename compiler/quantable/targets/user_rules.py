"""Rules of a target for user operations, which their definitions say in the target's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from quantable.ir import OperationLibrary, OptionError
from quantable.ir.operation_library import RegisteredOperation
from quantable.ir.user_operations import IntegerKernel, Table
from quantable.targets.description import FLOAT, OPERAND, PASSIVE, Rule, Target


def with_user_rules(target: Target, library: OperationLibrary) -> Target:
    """Return a target that has a rule for every user operation that it can run.

    A target of integers alone runs those with integer semantics; one that needs C, those with C.

    Raises:
        OptionError: A rule names a scheme that the target lacks.
    """
    rules = {rule.kind: rule for held in library.values() for rule in _rules(target, held)}
    return replace(target, rules={**target.rules, **rules}) if rules else target


def missing_form(target: Target, held: RegisteredOperation) -> str:
    """Return what a definition lacks for a target, '' for nothing."""
    definition = held.definition
    if definition.integer is None and target.has_integer_level:
        return "its definition has no integer semantics"
    if definition.rule is None and not isinstance(definition.integer, Table):
        return "its definition has no quantization rule"
    if isinstance(definition.integer, IntegerKernel) and definition.integer.c is None:
        return "its definition has no C" if target.backend == "c" else ""
    return ""


def _rules(target: Target, held: RegisteredOperation) -> Iterator[Rule]:
    if missing_form(target, held):
        return
    definition = held.definition
    if isinstance(definition.integer, Table):
        inputs = definition.rule.inputs if definition.rule else (OPERAND,)
        yield Rule(
            definition.kind, "elementwise", inputs, ("activation",), needs=("function-of-one",)
        )
        return
    rule = definition.rule
    assert rule is not None  # the definition checked it
    known = {*target.schemes, FLOAT, PASSIVE, OPERAND}
    for scheme in (*rule.inputs, *rule.outputs):
        if scheme not in known:
            raise OptionError(
                f"user operation '{definition.kind}': expected schemes of target '{target.name}' "
                f"({', '.join(sorted(target.schemes))}), found '{scheme}'"
            )
    yield Rule(
        definition.kind, rule.role, rule.inputs, rule.outputs, weight_axis=rule.weight_axis,
        align=rule.align,
    )  # fmt: skip
