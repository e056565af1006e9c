"""Give every quantable operation its config from the target.

Before (target c-portable):
    c = Conv(x, w, b)
    y = Relu(c)
    c.in0 fp32
    c.in1 fp32
    c.in2 fp32
    c.out0 fp32
After:
    c.in0 initial own c.in0
    c.in1 initial own c.in1
    c.in2 passive-init derived c.in2
    c.out0 initial own c.out0

Every quantized slot gets a row ``<operation>.<in|out><slot>``, empty until calibration; a range
that the target fixes (Softmax) is filled at once.

Preconditions:
    1. The operation was dispatched and has no config yet.
    2. A slot is quantized only if its tensor is float and the target's rule says so. Tail tensors,
       from which no compute operation can be reached, get the scheme's tail form; the first and
       the last compute operations get the edge form of their inputs' and weights' schemes
       (`schemes`, `edges`).
    3. A parameter in an activation slot gets the scheme 'constant'.
    4. Entries of the table ("operation.slot=scheme", "operation=scheme") come before 2 and 3.
       Schemes are those that the target's description lists as alternatives.
    5. Weights whose target asks for blocks get them where they are a matrix (Linear, pointwise
       Conv) with at least one whole block of input channels; others get the scheme `otherwise`. A
       bias stays float beside weights in blocks and floating ones: their products are no integers.
    6. A grouped ConvTranspose has more output channels than its weight has rows along the channel
       axis: its weight is quantized per tensor.

Numerics: bit-exact (no slot is in force before calibration; fixed ranges are, and are lossy).
See: PPQ's quantizers (init_quantize_config).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import (
    Graph,
    Level,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.quantize.accumulators import check_accumulators
from quantable.passes.quantize.assignments import read_assignments
from quantable.passes.quantize.dispatch import chosen_target
from quantable.passes.quantize.schemes import ActivationSchemes, rule_scheme
from quantable.passes.slot_editor import Slot
from quantable.targets.description import FLOAT, PASSIVE, Rule, Scheme, Target

_FP32 = TensorQuantizationConfig()


@dataclass(frozen=True)
class AssignConfigs(Pass):
    """See the module's docstring.

    Attributes:
        table: Entries "operation.slot=scheme" or "operation=scheme", see `assignments`.
    """

    name: ClassVar[str] = "assign-configs"
    summary: ClassVar[str] = "give every quantable operation its config from the target"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    table: tuple[str, ...] = ()

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        target = chosen_target(context)
        fresh = [op for op in graph.quantable_operations if not _is_assigned(op)]
        if not fresh:
            return graph
        assigner = _Assigner(graph, target, read_assignments(graph, target, self.table))
        changed = [assigner.assign(op) for op in fresh if context.rewrites.admit(op.name)]
        if target.has_integer_level:
            check_accumulators(graph, target, changed)
        return graph.with_operations(changed).with_rows(assigner.rows)


def _is_assigned(op: QuantableOperation) -> bool:
    return any(config.row for _, _, config in op.config.slots())


class _Assigner:
    def __init__(self, graph: Graph, target: Target, assigned: Mapping[Slot, str]) -> None:
        self.graph = graph
        self.target = target
        self.schemes = ActivationSchemes.of(graph, target, assigned)
        self.rows: list[QuantizationParameters] = []

    def assign(self, op: QuantableOperation) -> QuantableOperation:
        """Return the operation with a config for every slot."""
        rule = self.target.rules[op.kind]
        outputs = tuple(
            self._own(op, "out", index, self.schemes.made.get(name, FLOAT))
            if rule.output_scheme(index) != FLOAT else _FP32
            for index, name in enumerate(op.outputs)
        )  # fmt: skip
        inputs: list[TensorQuantizationConfig] = []
        for index in range(len(op.inputs)):
            inputs.append(self._input(op, rule, index, inputs, outputs))
        return replace(op, config=OperationQuantizationConfig(tuple(inputs), outputs))

    def _input(
        self,
        op: QuantableOperation,
        rule: Rule,
        index: int,
        inputs: list[TensorQuantizationConfig],
        outputs: tuple[TensorQuantizationConfig, ...],
    ) -> TensorQuantizationConfig:
        scheme = rule_scheme(self.graph, self.target, op, index)
        if scheme == FLOAT:
            return _FP32
        if scheme == PASSIVE:
            return _passive(inputs[0] if rule.role == "passive" else outputs[0])
        if scheme == "bias":
            return self._bias(op, index, inputs)
        if scheme == "weight":
            return self._weight(op, rule, index)
        return self._own(op, "in", index, self.schemes.reads(op, index, scheme))

    def _weight(self, op: QuantableOperation, rule: Rule, index: int) -> TensorQuantizationConfig:
        name = self.schemes.reads(op, index, "weight")
        if name == FLOAT:
            return _FP32
        scheme = self.target.schemes[name]
        if scheme.policy.is_per_block:
            if self._has_blocks(op, rule, index, scheme):
                return self._own(op, "in", index, scheme.name, rule.input_axis)
            scheme = self.target.schemes[scheme.otherwise]
        axis = None if _is_grouped_transposed(op) else rule.weight_axis
        return self._own(op, "in", index, scheme.name, axis)

    def _has_blocks(self, op: QuantableOperation, rule: Rule, index: int, scheme: Scheme) -> bool:
        """Whether a weight is a matrix of at least one block."""
        ref = self.graph.parameters.get(op.inputs[index])
        if ref is None or rule.input_axis is None or op.int_attribute("group", 1) > 1:
            return False
        rest = [d for a, d in enumerate(ref.shape) if a not in (rule.input_axis, rule.weight_axis)]
        return all(dim == 1 for dim in rest) and ref.shape[rule.input_axis] >= scheme.block_size

    def _own(
        self, op: QuantableOperation, side: str, index: int, scheme: str, axis: int | None = None
    ) -> TensorQuantizationConfig:
        if scheme == FLOAT:
            return _FP32
        row = QuantizationParameters(f"{op.name}.{side}{index}")
        found = self.target.schemes[scheme]
        config = replace(found.config(axis), relation=Relation.OWN, row=row.id)
        if found.is_fixed:
            row = row.filled(found.scale, found.zero_point, f"assign-configs: fixed by '{scheme}'")
        self.rows.append(row)
        return replace(config, state=State.ACTIVATED if found.is_fixed else State.INITIAL)

    def _bias(
        self, op: QuantableOperation, index: int, inputs: list[TensorQuantizationConfig]
    ) -> TensorQuantizationConfig:
        if not inputs[0].row or not inputs[1].row or not _is_integer_product(*inputs[:2]):
            return _FP32
        row = QuantizationParameters(
            f"{op.name}.in{index}", derived_from=(inputs[0].row, inputs[1].row)
        )
        self.rows.append(row)
        axis = 0 if inputs[1].policy.is_per_channel else None
        config = self.target.schemes["bias"].config(axis)
        return replace(config, state=State.PASSIVE_INIT, relation=Relation.DERIVED, row=row.id)


def _is_grouped_transposed(op: QuantableOperation) -> bool:
    return op.kind == "ConvTranspose" and op.int_attribute("group", 1) > 1


def _is_integer_product(source: TensorQuantizationConfig, weight: TensorQuantizationConfig) -> bool:
    """Whether sums of products are integers of one scale, to which a bias adds as it is."""
    return not (
        source.policy.is_floating or weight.policy.is_floating or weight.policy.is_per_block
    )


def _passive(of: TensorQuantizationConfig) -> TensorQuantizationConfig:
    if not of.row:
        return _FP32
    return replace(of, state=State.PASSIVE_INIT, relation=Relation.SHARED, observer="")
