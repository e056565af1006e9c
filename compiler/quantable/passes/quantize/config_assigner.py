"""Configs of the slots of quantable operations, as the target's rules have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from quantable.ir import (
    Graph,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
)
from quantable.passes.quantize.schemes import ActivationSchemes, rule_scheme
from quantable.passes.slot_editor import Slot
from quantable.targets.description import FLOAT, PASSIVE, Rule, Scheme, Target

_FP32 = TensorQuantizationConfig()


class ConfigAssigner:
    """Gives slots the schemes that a target's rules have for them.

    Args:
        graph: Whose operations are dispatched.
        target: Of the operations.
        assigned: Schemes that the user gave to slots.

    Attributes:
        rows: Of the slots that own one and were given it here, empty but for fixed ranges.
    """

    def __init__(
        self, graph: Graph, target: Target, assigned: Mapping[Slot, str] = MappingProxyType({})
    ) -> None:
        self.rows: list[QuantizationParameters] = []
        self._graph = graph
        self._target = target
        self._schemes = ActivationSchemes.of(graph, target, assigned)

    def assign(self, op: QuantableOperation) -> QuantableOperation:
        """Return the operation with a config for every slot; what has a row keeps its own."""
        rule = self._target.rules[op.kind]
        outputs = tuple(
            self._output(op, rule, index) if not config.row else config
            for index, config in enumerate(op.config.outputs)
        )
        inputs: list[TensorQuantizationConfig] = []
        for index, config in enumerate(op.config.inputs):
            inputs.append(config if config.row else self._input(op, rule, index, inputs, outputs))
        return replace(op, config=OperationQuantizationConfig(tuple(inputs), outputs))

    def _output(self, op: QuantableOperation, rule: Rule, index: int) -> TensorQuantizationConfig:
        if rule.output_scheme(index) == FLOAT:
            return _FP32
        return self._own(op, "out", index, self._schemes.made.get(op.outputs[index], FLOAT))

    def _input(
        self,
        op: QuantableOperation,
        rule: Rule,
        index: int,
        inputs: list[TensorQuantizationConfig],
        outputs: tuple[TensorQuantizationConfig, ...],
    ) -> TensorQuantizationConfig:
        scheme = rule_scheme(self._graph, self._target, op, index)
        if scheme == FLOAT:
            return _FP32
        if scheme == PASSIVE:
            return _passive(inputs[0] if rule.role == "passive" else outputs[0])
        if scheme == "bias":
            return self._bias(op, index, inputs)
        if scheme == "weight":
            return self._weight(op, rule, index)
        return self._own(op, "in", index, self._schemes.reads(op, index, scheme))

    def _weight(self, op: QuantableOperation, rule: Rule, index: int) -> TensorQuantizationConfig:
        name = self._schemes.reads(op, index, "weight")
        if name == FLOAT:
            return _FP32
        scheme = self._target.schemes[name]
        if scheme.policy.is_per_block:
            if self._has_blocks(op, rule, index, scheme):
                return self._own(op, "in", index, scheme.name, rule.input_axis)
            scheme = self._target.schemes[scheme.otherwise]
        axis = None if _is_grouped_transposed(op) else rule.weight_axis
        return self._own(op, "in", index, scheme.name, axis)

    def _has_blocks(self, op: QuantableOperation, rule: Rule, index: int, scheme: Scheme) -> bool:
        """Whether a weight is a matrix of at least one block."""
        ref = self._graph.parameters.get(op.inputs[index])
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
        found = self._target.schemes[scheme]
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
        config = self._target.schemes["bias"].config(axis)
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
