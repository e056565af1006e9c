"""Which scheme every activation is made in, and in which one every slot reads it.

A tensor has the scheme of the slot that makes it (on tails, its tail form). A slot of a compute
operation may ask for another one: the target's rule names it, or the operation is at the edge of
the network. Then

1. a tensor is made in the widest of the schemes that its readers ask for, its own where a reader
   asks for none, so that one that only a 4-bit convolution reads is made in 4 bits at once;
2. a slot that asked reads the tensor in what it asked for: where the tensor was made in another
   scheme, it is quantized again on the way in;
3. passive operations hand on what is asked for, and so do those that align inputs with the output;
4. a range that the target fixes is never replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantable.ir import Graph, Operation, QuantableOperation
from quantable.passes.quantize.edges import edge_operations
from quantable.passes.quantize.tails import tail_values
from quantable.targets.description import ACTIVATION, FLOAT, OPERAND, PASSIVE, Rule, Target

_UNASKED = (ACTIVATION, FLOAT, OPERAND, PASSIVE, "bias", "weight")
"""Schemes of rules that say nothing of the tensor: it is read as it was made."""


@dataclass(frozen=True)
class ActivationSchemes:
    """Scheme names of activations ('float': not quantized).

    Attributes:
        own: By value: the scheme of the slot that makes it.
        made: By value: the scheme that it is made in, for the sake of its readers.
    """

    target: Target
    edges: frozenset[str]
    own: Mapping[str, str] = field(repr=False)
    made: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, graph: Graph, target: Target) -> ActivationSchemes:
        """Return the schemes of a graph whose operations are dispatched and have no config."""
        edges = frozenset(edge_operations(graph, target))
        chooser = _Chooser(graph, target, edges)
        own, made = chooser.choose()
        return cls(target, edges, own, made)

    def reads(self, op: Operation, slot: int) -> str:
        """Return the scheme in which an input slot reads an activation."""
        name = op.inputs[slot]
        own, made = self.own.get(name, FLOAT), self.made.get(name, FLOAT)
        if own == FLOAT or self.target.schemes[own].is_fixed:
            return made
        rule = self.target.rules[op.kind]
        wanted = asked(self.target, op, slot, self.edges)
        if wanted:
            return wanted
        # What another reader asked for does not widen the arithmetic of a compute operation.
        return own if rule.role == "compute" else made

    def weight(self, op: Operation) -> str:
        """Return the scheme of an operation's weight."""
        return at_edge(self.target, "weight", op, self.edges)


def at_edge(target: Target, scheme: str, op: Operation, edges: frozenset[str]) -> str:
    """Return the scheme, or what replaces it where the operation is at the edge."""
    edge = target.schemes[scheme].edge
    return edge if edge and op.name in edges else scheme


def asked(target: Target, op: Operation, slot: int, edges: frozenset[str]) -> str:
    """Return the scheme that an input slot asks for; '' where it reads what there is."""
    scheme = target.rules[op.kind].input_scheme(slot)
    if scheme not in target.schemes:
        return ""
    replaced = at_edge(target, scheme, op, edges)
    return "" if replaced == scheme and scheme in _UNASKED else replaced


class _Chooser:
    def __init__(self, graph: Graph, target: Target, edges: frozenset[str]) -> None:
        self.graph, self.target, self.edges = graph, target, edges
        self.tails = tail_values(graph, target)
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
                if not name:
                    continue
                if rule is not None and rule.role == "passive" and op.inputs[0] in self.own:
                    self.own[name] = self.own[op.inputs[0]]
                    self.made[name] = self.made[op.inputs[0]]
                    continue
                scheme = rule.output_scheme(index) if rule else ACTIVATION
                self._put(name, FLOAT if scheme == FLOAT else self._tail_form(name, scheme))
        floats = {n for n in self.own if self.graph.values[n].dtype.is_float}
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
            bits = {scheme: self.target.schemes[scheme].bits for scheme in found}
            self.made[name] = max(found, key=lambda s: (bits[s], s == own, s))

    def _tail_form(self, value: str, scheme: str) -> str:
        tail = self.target.schemes[scheme].tail
        return tail if value in self.tails and tail else scheme

    def _rule(self, op: Operation) -> Rule | None:
        return self.target.rules.get(op.kind) if isinstance(op, QuantableOperation) else None

    def _wanted(self) -> dict[str, set[str]]:
        """Return what the readers of each value ask for; '' stands for the value's own scheme."""
        wanted: dict[str, set[str]] = {name: {""} for name in self.graph.outputs}
        for op in reversed(self.graph.operations):
            rule = self._rule(op)
            for slot, name in enumerate(op.inputs):
                if not name or self.graph.is_parameter(name):
                    continue
                held = wanted.setdefault(name, set())
                if rule is None:
                    held.add("")
                elif (rule.role == "passive" and slot == 0) or rule.align == "output":
                    held.update(*(wanted.get(out, {""}) for out in op.outputs if out))
                else:
                    held.add(asked(self.target, op, slot, self.edges))
        return wanted
