"""What a target computes as one operation: found through the relations of slots to rows.

In `Conv -> Relu` on a target that fuses the two, the convolution's output and the Relu's input are
overlapped: the row of the Relu's output quantizes them, behind the Relu. Switching on one of the
two alone would quantize nothing between them, or something that the target never computes. So the
two are one group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quantable.ir import (
    Graph,
    Operation,
    QuantableOperation,
    Relation,
    State,
    TensorQuantizationConfig,
)


@dataclass(frozen=True, slots=True)
class Group:
    """Operations that are quantized together.

    Attributes:
        operations: Their names, in topological order; a chain.
        kinds: Their kinds.
        outputs: The values that leave the group.
        quantizes: Whether a slot of theirs quantizes; what only moves elements does not.
    """

    operations: tuple[str, ...]
    kinds: tuple[str, ...]
    outputs: tuple[str, ...]
    quantizes: bool

    @property
    def name(self) -> str:
        """The first operation, which holds the weights where there are any."""
        return self.operations[0]

    @property
    def kind(self) -> str:
        """``Conv + Relu``."""
        return " + ".join(self.kinds)


def groups(graph: Graph) -> tuple[Group, ...]:
    """Return every quantable operation in one group, in topological order of the first ones."""
    place = {op.name: index for index, op in enumerate(graph.operations)}
    owners = _owners(graph)
    chains: dict[str, list[Operation]] = {}
    chain_of: dict[str, list[Operation]] = {}
    for op in graph.quantable_operations:
        chain = chain_of.setdefault(op.name, chains.setdefault(op.name, [op]))
        then = _fused_with(graph, op, owners, place)
        if then is not None:
            chain.append(then)
            chain_of[then.name] = chain
            chains[then.name] = []
    return tuple(_group(graph, chain) for chain in chains.values() if chain)


def group_facts(graph: Graph, group: Group) -> dict[str, object]:
    """Return how facts name a group."""
    operations = [graph.operation_by_name[name] for name in group.operations]
    sources = dict.fromkeys(source for op in operations for source in op.sources)
    return {"group": group.name, "kind": group.kind, "operations": list(group.operations),
            "sources": list(sources)}  # fmt: skip


def is_executed(config: TensorQuantizationConfig) -> bool:
    """Whether a slot quantizes its tensor, or holds it quantized."""
    return config.state.is_in_force or config.state.is_baked


def _owners(graph: Graph) -> dict[str, str]:
    """Return the name of the operation that owns each row."""
    return {
        config.row: op.name
        for op in graph.quantable_operations
        for _, _, config in op.config.slots()
        if config.relation in (Relation.OWN, Relation.DERIVED)
    }


def _fused_with(
    graph: Graph, op: QuantableOperation, owners: dict[str, str], place: dict[str, int]
) -> QuantableOperation | None:
    """Return the operation that quantizes the output of another one behind itself.

    The row's owner stands behind; where it stands before, the operation only moves elements of a
    tensor that is quantized already. Where the next operation has several inputs on the row (a
    Concat), each of them could be quantized with it by itself: that is no fusion.
    """
    if not op.outputs or len([name for name in op.outputs if name]) != 1:
        return None
    config, value = op.config.outputs[0], op.outputs[0]
    uses = graph.uses(value)
    if config.state is not State.OVERLAPPED or len(uses) != 1 or value in graph.outputs:
        return None
    then, slot = uses[0]
    if not isinstance(then, QuantableOperation) or place[owners[config.row]] <= place[op.name]:
        return None
    held = [index for index, other in _activations(graph, then) if other.row == config.row]
    is_overlapped = then.config.inputs[slot].state is State.OVERLAPPED
    return then if held == [slot] and is_overlapped else None


def _activations(
    graph: Graph, op: QuantableOperation
) -> Iterator[tuple[int, TensorQuantizationConfig]]:
    for index, config in enumerate(op.config.inputs):
        if op.inputs[index] and not graph.is_parameter(op.inputs[index]):
            yield index, config


def _group(graph: Graph, chain: list[Operation]) -> Group:
    inner = {name for op in chain[:-1] for name in op.outputs}
    made = {name: index for op in chain for index, name in enumerate(op.outputs) if name}
    # An optional output that nobody reads (a mask, a variance) is not computed.
    outputs = tuple(
        name
        for name, index in made.items()
        if name not in inner
        and graph.values[name].is_real
        and (not index or graph.uses(name) or name in graph.outputs)
    )
    slots = (
        config
        for op in chain
        if isinstance(op, QuantableOperation)
        for _, _, config in op.config.slots()
    )
    return Group(
        tuple(op.name for op in chain), tuple(op.kind for op in chain), outputs,
        any(is_executed(config) for config in slots),
    )  # fmt: skip
