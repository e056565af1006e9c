"""What keeps an operation from being quantized for a target."""

from __future__ import annotations

from quantable.ir import DType, Graph, Operation
from quantable.ir.standard_operations import known_operations
from quantable.targets.conditions import CONDITIONS
from quantable.targets.description import FLOAT, Target
from quantable.targets.user_rules import missing_form

Faults = dict[str, tuple[str, str]]
"""By operation name: (which rule it breaks, what the reader can do)."""

_DATA_SIZED = ("Compress", "NonMaxSuppression", "NonZero", "Unique")
_UNROLLED = ("GRU", "LSTM", "RNN")
_UNROLL = (
    "write its steps out: "
    "--pipeline 'canonicalize=bind-symbols,fold-shapes,unroll-recurrent,canonicalize'"
)


def index_operations(graph: Graph, target: Target) -> set[str]:
    """Return the names of shape-or-index operations.

    They work on integer or boolean tensors, or everything that they compute goes into shape inputs.
    """
    found: set[str] = set()
    outputs = set(graph.outputs)
    for op in reversed(graph.operations):
        if all(
            not graph.values[name].dtype.is_float
            or (name not in outputs and _feeds_only_shapes(graph, target, name, found))
            for name in op.outputs
            if name
        ):
            found.add(op.name)
    return found


def _feeds_only_shapes(graph: Graph, target: Target, value: str, index: set[str]) -> bool:
    uses = graph.uses(value)
    return bool(uses) and all(
        op.name in index or _is_shape_slot(target, op, slot) for op, slot in uses
    )


def _is_shape_slot(target: Target, op: Operation, slot: int) -> bool:
    rule = target.rule(op.kind)
    return rule is not None and rule.role == "passive" and rule.input_scheme(slot) == FLOAT


def find_faults(graph: Graph, target: Target, index: set[str]) -> Faults:
    """Return every operation that the target cannot quantize, with the reason and a way out."""
    faults: Faults = {}
    for op in graph.operations:
        fault = _fault(graph, target, op, op.name in index)
        if fault is not None:
            faults[op.name] = fault
    return faults


def _fault(graph: Graph, target: Target, op: Operation, is_index: bool) -> tuple[str, str] | None:
    odd = [n for n in (*op.inputs, *op.outputs) if n and not graph.values[n].is_tensor]
    if odd:
        return (
            f"works on a {graph.values[odd[0]].container.value.replace('.', ' ')}",
            "export the model so that tensors alone go from operation to operation",
        )
    if op.kind in _DATA_SIZED:
        return (
            "makes an output whose length depends on the data",
            "make what it reads the outputs of the network, and do the rest outside of it",
        )
    if is_index:
        return (
            "computes shapes or indices at run time",
            "give the model fixed input shapes, so that they fold to constants: "
            "--pipeline 'canonicalize=bind-symbols,canonicalize'",
        )
    rule = target.rule(op.kind)
    if rule is None:
        return _without_rule(graph, target, op)
    read = op.inputs[:1] if rule.input_scheme(0) != FLOAT else ()
    for name in (*read, *op.outputs[:1]):
        dtype = graph.values[name].dtype if name else DType.FLOAT32
        if dtype is not DType.FLOAT32:
            return (
                f"expected float32 tensors, found {dtype.value} in '{name}'",
                "convert the model to float32",
            )
    for need in rule.needs:
        condition = CONDITIONS[need]
        if not condition.holds(graph, op):
            return f"expected that {condition.rule}, found otherwise", condition.help
    return None


def _without_rule(graph: Graph, target: Target, op: Operation) -> tuple[str, str]:
    """Return why a target has no rule for an operation, and a way out."""
    row = known_operations().get(op.kind)
    if row is not None and row.family == "quantization":
        return (
            f"the model is quantized already: {op.kind}",
            "give the float model; it is quantized for the target here",
        )
    if op.kind in _UNROLLED:
        return f"the target has no rule for {op.kind}", _UNROLL
    user = graph.library.get(op.kind)
    if user is not None:
        return (
            f"the target cannot run this user operation: {missing_form(target, user)}",
            f"complete the definition in package '{user.package}', see docs/user-operations.md,"
            " or choose a target that leaves operations float",
        )
    known = ", ".join(target.rules)
    return (
        f"the target has no rule for {op.kind}",
        f"replace it by operations that target '{target.name}' has ({known}), or choose another"
        " target",
    )
