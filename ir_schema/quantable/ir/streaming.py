"""Operations that can run row by row, and the order in which a stream runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quantable.ir.graph import Graph
from quantable.ir.integer_operations import ELEMENTWISE_OPERATIONS, WINDOW_OPERATIONS
from quantable.ir.memory_plan import Ring, Stream
from quantable.ir.operation import Operation


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of an operation: sizes, and the window of output position 0.

    Attributes:
        inputs, outputs: Positions of the input and of the output.
        kernel, stride, dilation, pad: Of the window; `pad` is what lies before position 0.
    """

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0

    @property
    def reach(self) -> int:
        """How far behind its first position a window ends."""
        return (self.kernel - 1) * self.dilation

    def needed(self, end: int) -> int:
        """Return where the inputs end that the outputs before `end` need."""
        last = (end - 1) * self.stride - self.pad + self.reach
        return min(max(last + 1, 0), self.inputs) if end > 0 else 0

    def first(self, output: int) -> int:
        """Return the first input that an output needs, at least 0."""
        return max(output * self.stride - self.pad, 0)


class Turn(NamedTuple):
    """Rows that an operation makes at once; without a stream `rows` is 0: all of them."""

    operation: Operation
    first: int = 0
    rows: int = 0


def axes(graph: Graph, op: Operation) -> tuple[Axis, Axis] | None:
    """Return rows and columns of an operation whose output pixels need windows of pixels.

    None for operations of other kinds, and where channels are not last.
    """
    shapes = [shape_of(graph, name) for name in (*activations(graph, op), *op.outputs)]
    if not shapes or any(len(shape) != 4 for shape in shapes):
        return None
    x, y = shapes[0], shapes[-1]
    if op.kind in ELEMENTWISE_OPERATIONS:
        same = all(shape == y for shape in shapes) and len(shapes) == _activation_count(op) + 1
        return (Axis(x[1], y[1]), Axis(x[2], y[2])) if same else None
    if op.kind not in WINDOW_OPERATIONS or op.string_attribute("layout", "NCHW") != "NHWC":
        return None
    kernel, strides, dilations, pads = (
        op.ints_attribute(name) for name in ("kernel_shape", "strides", "dilations", "pads")
    )
    if {len(kernel), len(strides), len(dilations)} != {2} or len(pads) != 4:
        return None
    first, second = (
        Axis(x[1 + i], y[1 + i], kernel[i], strides[i], dilations[i], pads[i]) for i in range(2)
    )
    return first, second


def activations(graph: Graph, op: Operation) -> list[str]:
    """Return the inputs of an operation that are no parameters, each once."""
    return [n for n in dict.fromkeys(op.inputs) if n and not graph.is_parameter(n)]


def _activation_count(op: Operation) -> int:
    """Return how many inputs of an elementwise operation are activations."""
    return len(set(op.inputs[: ELEMENTWISE_OPERATIONS[op.kind]]))


def shape_of(graph: Graph, name: str) -> tuple[int, ...]:
    """Return the shape of a value; empty where it is not known or symbolic."""
    value = graph.values.get(name)
    if value is None or value.shape is None:
        return ()
    return tuple(dim for dim in value.shape if isinstance(dim, int))


def is_streamable(graph: Graph, op: Operation) -> bool:
    """Whether an operation can be a part of a stream: one image, one output, rows of pixels."""
    if axes(graph, op) is None or len(op.outputs) != 1:
        return False
    return all(shape_of(graph, name)[0] == 1 for name in (*activations(graph, op), *op.outputs))


class RowOrder:
    """In which order the operations of a stream make rows.

    Args:
        graph: The graph; all operations are streamable in it.
        operations: Those of the stream.

    Attributes:
        operations: The operations.
        rows: By name of an operation, its axis of rows.
    """

    def __init__(self, graph: Graph, operations: Sequence[Operation]) -> None:
        self.operations = tuple(operations)
        self.rows: dict[str, Axis] = {}
        for op in operations:
            found = axes(graph, op)
            assert found is not None  # the caller's
            self.rows[op.name] = found[0]
        self._bounding = {op.name: bounding(graph, op) for op in operations}
        self._readers = {
            op.name: [other for other in operations if op.outputs[0] in other.inputs]
            for op in operations
        }

    def turns(self, stream: Stream) -> Iterator[Turn]:
        """Yield what the operations make.

        The last operation makes `stream.rows` rows a turn. Before, each of the others in their
        order makes what those behind it need of it; in the last turn all that is left, unless it is
        kept in a ring. Rows that would run over the end of a ring are made in two parts.
        """
        done = dict.fromkeys(self.rows, 0)
        bounds = {
            name: [stream.rings[n] for n in values if n in stream.rings]
            for name, values in self._bounding.items()
        }
        height = self.rows[self.operations[-1].name].outputs
        for start in range(0, height, stream.rows):
            ends = self.ends(stream.rings, min(start + stream.rows, height))
            for op in self.operations:
                while done[op.name] < ends[op.name]:
                    first = done[op.name]
                    room = [ring.rows - ring.place(first) for ring in bounds[op.name]]
                    count = min([ends[op.name] - first, *room])
                    yield Turn(op, first, count)
                    done[op.name] += count

    def ends(self, rings: Mapping[str, Ring], end: int) -> dict[str, int]:
        """Return up to which row each operation has run when the last one is at `end`."""
        last = self.operations[-1]
        ends = {last.name: end}
        for op in reversed(self.operations[:-1]):
            readers = self._readers[op.name]
            needed = [self.rows[other.name].needed(ends[other.name]) for other in readers]
            ends[op.name] = max(needed, default=0)
            if end == self.rows[last.name].outputs and op.outputs[0] not in rings:
                ends[op.name] = self.rows[op.name].outputs
        return ends


def bounding(graph: Graph, op: Operation) -> tuple[str, ...]:
    """Return the values whose rings an operation must not run over the end of in one turn.

    Windows look for the place of every row; elementwise kernels go straight on.
    """
    inputs = activations(graph, op) if op.kind in ELEMENTWISE_OPERATIONS else []
    return (*inputs, *op.outputs)
