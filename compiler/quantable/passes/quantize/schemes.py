"""Which scheme every activation is made in, and in which one every slot reads it.

A tensor has the scheme of the slot that makes it (on tails, its tail form). A slot of a compute
operation may ask for another one: the target's rule names it, or the operation is at the edge of
the network. Then

1. a tensor is made in the widest of the schemes that its readers ask for, its own where a reader
   asks for none, so that one that only a 4-bit convolution reads is made in 4 bits at once;
2. a slot that asked reads the tensor in what it asked for: where the tensor was made in another
   scheme, it is quantized again on the way in;
3. passive operations hand on what is asked for, and so do those that align inputs with the output;
4. a range that the target fixes is not replaced for the sake of a reader;
5. what the user assigns to a slot (`assignments`) comes before all of this: an output is made in
   it, and an input asks for it. Float counts as wider than any number of bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from quantable.ir import Graph, Operation, QuantableOperation
from quantable.passes.quantize.edges import edge_operations
from quantable.passes.quantize.tails import tail_values
from quantable.passes.slot_editor import Slot
from quantable.targets.description import ACTIVATION, FLOAT, OPERAND, PASSIVE, Rule, Target

_UNASKED = (ACTIVATION, FLOAT, OPERAND, PASSIVE, "bias", "weight")
"""Schemes of rules that say nothing of the tensor: it is read as it was made."""


@dataclass(frozen=True)
class Asking:
    """What input slots ask for.

    Attributes:
        target: Whose rules they are.
        edges: Names of the operations at the edge of the network.
        assigned: Schemes that the user gave to slots.
    """

    target: Target
    edges: frozenset[str]
    assigned: Mapping[Slot, str]

    def at_edge(self, scheme: str, op: Operation) -> str:
        """Return the scheme, or what replaces it where the operation is at the edge."""
        edge = self.target.schemes[scheme].edge
        return edge if edge and op.name in self.edges else scheme

    def asked(self, op: Operation, slot: int) -> str:
        """Return the scheme that an input slot asks for; '' where it reads what there is."""
        assigned = self.assigned.get(Slot(op.name, "in", slot), "")
        if assigned:
            return assigned
        scheme = self.target.rules[op.kind].input_scheme(slot)
        if scheme not in self.target.schemes:
            return ""
        replaced = self.at_edge(scheme, op)
        return "" if replaced == scheme and scheme in _UNASKED else replaced


@dataclass(frozen=True)
class ActivationSchemes:
    """Scheme names of activations ('float': not quantized).

    Attributes:
        asking: What input slots ask for.
        own: By value: the scheme of the slot that makes it.
        made: By value: the scheme that it is made in, for the sake of its readers.
    """

    asking: Asking
    own: Mapping[str, str] = field(repr=False)
    made: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(
        cls, graph: Graph, target: Target, assigned: Mapping[Slot, str] = MappingProxyType({})
    ) -> ActivationSchemes:
        """Return the schemes of a graph whose operations are dispatched and have no config.

        Args:
            graph, target: Of the operations.
            assigned: Schemes that the user gave to slots.
        """
        asking = Asking(target, frozenset(edge_operations(graph, target)), assigned)
        own, made = _Chooser(graph, asking).choose()
        return cls(asking, own, made)

    def reads(self, op: Operation, slot: int, scheme: str) -> str:
        """Return the scheme of an input slot that is quantized with a row of its own.

        Args:
            op, slot: Which.
            scheme: What `rule_scheme` says.
        """
        assigned = self.asking.assigned.get(Slot(op.name, "in", slot), "")
        if assigned:
            return assigned
        if scheme == "weight":
            return self.asking.at_edge(scheme, op)
        if scheme == "constant":
            return self._constant(op)
        return self._activation(op, slot)

    def _constant(self, op: Operation) -> str:
        schemes = self.asking.target.schemes
        constant, output = schemes["constant"], self.own.get(op.outputs[0], FLOAT)
        is_tail = output == schemes[ACTIVATION].tail
        # A constant is never left float beside a quantized operand: kernels want one type.
        return constant.tail if is_tail and constant.tail not in ("", FLOAT) else constant.name

    def _activation(self, op: Operation, slot: int) -> str:
        name, target = op.inputs[slot], self.asking.target
        own, made = self.own.get(name, FLOAT), self.made.get(name, FLOAT)
        if own == FLOAT or target.schemes[own].is_fixed:
            return made
        wanted = self.asking.asked(op, slot)
        if wanted:
            return wanted
        # What another reader asked for does not widen the arithmetic of a compute operation.
        return own if target.rules[op.kind].role == "compute" else made


def rule_scheme(graph: Graph, target: Target, op: Operation, slot: int) -> str:
    """Return the scheme of an input slot as the target's rule has it, its operand looked at.

    Returns:
        'float' for a slot that is not quantized; 'constant' for a parameter where the rule expects
        an activation; else what the rule says, which is 'activation' for 'operand'.
    """
    name, scheme = op.inputs[slot], target.rules[op.kind].input_scheme(slot)
    if not name or scheme == FLOAT or not graph.values[name].is_real:
        return FLOAT
    if scheme in (PASSIVE, "bias", "weight"):
        return scheme
    if graph.is_parameter(name):
        return FLOAT if scheme == OPERAND else "constant"
    return ACTIVATION if scheme == OPERAND else scheme


class _Chooser:
    def __init__(self, graph: Graph, asking: Asking) -> None:
        self.graph, self.asking, self.target = graph, asking, asking.target
        self.tails = tail_values(graph, self.target)
        self.wanted = self._wanted()
        self.own: dict[str, str] = {}
        self.made: dict[str, str] = {}

    def choose(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the own scheme of every float activation, and the one that it is made in."""
        for name in self.graph.inputs:
            self._put(name, self._tail_form(name, ACTIVATION))
        for op in self.graph.operations:
            rule = self._rule(op)
            for index, name in enumerate(op.outputs):
                assigned = self._assigned(op, index)
                if assigned:
                    self.own[name] = self.made[name] = assigned
                elif rule is not None and rule.role == "passive" and op.inputs[0] in self.own:
                    self.own[name] = self.own[op.inputs[0]]
                    self.made[name] = self.made[op.inputs[0]]
                elif name:
                    scheme = rule.output_scheme(index) if rule else ACTIVATION
                    self._put(name, FLOAT if scheme == FLOAT else self._tail_form(name, scheme))
        floats = {n for n in self.own if self.graph.values[n].is_real}
        return (
            {name: scheme for name, scheme in self.own.items() if name in floats},
            {name: scheme for name, scheme in self.made.items() if name in floats},
        )

    def _put(self, name: str, own: str) -> None:
        self.own[name], self.made[name] = own, own
        if own == FLOAT or self.target.schemes[own].is_fixed:
            return
        found = {scheme or own for scheme in self.wanted.get(name, ())}
        if found:
            self.made[name] = max(found, key=lambda s: (self._bits(s), s == own, s))

    def _bits(self, scheme: str) -> float:
        return math.inf if scheme == FLOAT else self.target.schemes[scheme].bits

    def _tail_form(self, value: str, scheme: str) -> str:
        tail = self.target.schemes[scheme].tail
        return tail if value in self.tails and tail else scheme

    def _rule(self, op: Operation) -> Rule | None:
        return self.target.rules.get(op.kind) if isinstance(op, QuantableOperation) else None

    def _assigned(self, op: Operation, index: int) -> str:
        return self.asking.assigned.get(Slot(op.name, "out", index), "")

    def _wanted(self) -> dict[str, set[str]]:
        """Return what the readers of each value ask for; '' stands for the value's own scheme."""
        wanted: dict[str, set[str]] = {name: {""} for name in self.graph.outputs}
        for op in reversed(self.graph.operations):
            rule = self._rule(op)
            for slot, name in enumerate(op.inputs):
                if not name or self.graph.is_parameter(name):
                    continue
                held = wanted.setdefault(name, set())
                asked = self.asking.asked(op, slot) if rule is not None else ""
                is_moved = rule is not None and rule.role == "passive" and slot == 0
                if asked or not (is_moved or (rule is not None and rule.align == "output")):
                    held.add(asked)
                    continue
                for index, out in enumerate(op.outputs):
                    assigned = self._assigned(op, index)
                    held.update({"" if is_moved else assigned} if assigned
                                else wanted.get(out, {""}))  # fmt: skip
        return wanted
