"""The forms in which operations are run, and what a change of some of them changes.

A network is run one operation at a time, so that an operation can be run in another form than those
around it, and so that only what lies behind a change is run again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantable.driver import runtime
from quantable.driver.analysis.groups import Group
from quantable.ir import Graph, QuantableOperation, State
from quantable.passes.subgraph import subgraph

Array = npt.NDArray[np.generic]
Values = dict[str, Array]
"""By value name, for one sample."""


@dataclass(frozen=True)
class Form:
    """One form of a network; each operation is compiled when it is run for the first time.

    Attributes:
        graph: Says how its operations are quantized.
    """

    graph: Graph
    _steps: dict[str, runtime.Runtime] = field(default_factory=dict)

    def run_operation(self, name: str, values: Mapping[str, Array]) -> Values:
        """Run one operation on the values that it reads."""
        if name not in self._steps:
            self._steps[name] = runtime.reference(subgraph(self.graph, {name}))
        op = self.graph.operation_by_name[name]
        read = {n: values[n] for n in op.inputs if n and n not in self.graph.parameters}
        return self._steps[name].run(read)

    def run(self, sample: Mapping[str, Array]) -> Values:
        """Return every value of the network that is no parameter."""
        values = dict(sample)
        for op in self.graph.operations:
            values.update(self.run_operation(op.name, values))
        return values


def rerun(values: Mapping[str, Array], changed: Collection[str], form: Form, rest: Form) -> Values:
    """Return what changes when some operations are run in another form.

    Args:
        values: Every value of the network as it was.
        changed: Names of the operations that run in another form.
        form: Their form.
        rest: The form of everything behind them.

    Returns:
        The values that are not what they were, bit for bit.
    """
    new: Values = {}
    for op in rest.graph.operations:
        if op.name not in changed and new.keys().isdisjoint(op.inputs):
            continue
        read = {n: new.get(n, values.get(n)) for n in op.inputs if n in new or n in values}
        made = (form if op.name in changed else rest).run_operation(op.name, read)  # type: ignore[arg-type] # one of the two holds each
        new.update((n, array) for n, array in made.items() if not _is_same(array, values[n]))
    return new


def _is_same(left: Array, right: Array) -> bool:
    return left.shape == right.shape and bool(np.array_equal(left, right))


def alone(graph: Graph, group: Group) -> Graph:
    """Return a graph in which a group quantizes all that the target would, were it alone.

    Slots at the group's border that leave their tensor to another operation's slot (overlapped)
    quantize it themselves, with the same row: the operation that does it is float then. Inside the
    group they stay as they are.
    """
    chain = [graph.operation_by_name[name] for name in group.operations]
    inner = {name for op in chain[:-1] for name in op.outputs}
    return graph.with_operations(
        _opened(graph, op, inner) for op in chain if isinstance(op, QuantableOperation)
    )


def _opened(graph: Graph, op: QuantableOperation, inner: Collection[str]) -> QuantableOperation:
    for side, index, config in op.config.slots():
        name = (op.inputs if side == "in" else op.outputs)[index]
        is_border = name and name not in inner and name not in graph.parameters
        if is_border and config.state is State.OVERLAPPED:
            where = f"{op.where()} {side}{index}"
            op = op.with_slot(side, index, config.sharing(graph.rows[config.row], where))
    return op
