"""The graph: operations in SSA form over typed values. Immutable; edit through `GraphEditor`."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.errors import InvariantError
from quantable.ir.memory_plan import MemoryPlan
from quantable.ir.operation import Operation, QuantableOperation
from quantable.ir.operation_library import NO_OPERATIONS, OperationLibrary
from quantable.ir.quantization import QuantizationParameters
from quantable.ir.region import Region
from quantable.ir.values import Dim, Shape, Value

__all__ = [
    "Decision", "Dim", "Graph", "Level", "MemoryPlan", "Shape", "StageRecord", "Value",
]  # fmt: skip


class Level(enum.Enum):
    """The levels of the IR; what an operation means, and how it is executed."""

    FLOAT = "float"
    QUANTABLE = "quantable"
    INTEGER = "integer"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Something that a pass tried on held-out samples, and whether it was kept.

    Two are equal if all is, the errors bit for bit: one that is NaN equals itself.

    Attributes:
        subject: Names of the operations that it would change.
        tried: What, in words, with the numbers that matter.
        measure: What `before` and `after` are.
        before, after: The error without and with it, measured on hardened values (what the target
            would compute), not on what was trained; float64, smaller is better.
        is_accepted: Whether it was kept.
        reason: Why it was refused, '' where it was kept.
    """

    subject: tuple[str, ...]
    tried: str
    measure: str
    before: float
    after: float
    is_accepted: bool
    reason: str = ""

    def __post_init__(self) -> None:
        # Passes measure with NumPy, whose numbers print and encode in another way.
        for name, kind in (("before", float), ("after", float), ("is_accepted", bool)):
            object.__setattr__(self, name, kind(getattr(self, name)))

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Decision) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def summary(self) -> str:
        """The decision in one line, for messages."""
        verdict = "accepted" if self.is_accepted else f"refused: {self.reason or 'no reason given'}"
        errors = f"{self.measure} {self.before!r} -> {self.after!r}"
        return f"{', '.join(self.subject)}: {self.tried}: {errors}, {verdict}"

    def _key(self) -> tuple[object, ...]:
        errors = struct.pack("<dd", self.before, self.after)
        return self.subject, self.tried, self.measure, errors, self.is_accepted, self.reason


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage did: enough to do it again and to compare.

    Attributes:
        name, version: The stage.
        options: Its options in the pipeline language, defaults omitted.
        input_digest: Digest of the graph it read ('' for an import).
        output_digest: Digest of the graph it wrote.
        data_digest: Digest of model, profile or data that it read besides the graph, else ''.
        tool_version: Version of Quantable.
        decisions: What it tried, accepted and refused, in order.
    """

    name: str
    version: int
    options: str = ""
    input_digest: str = ""
    output_digest: str = ""
    data_digest: str = ""
    tool_version: str = ""
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A network at one level.

    Attributes:
        name: Name of the network.
        level: What kind of operations it holds.
        opset: Opset of the ai.onnx operations.
        inputs, outputs: Names of values, in the model's order.
        values: Every value by name, parameters included.
        operations: In topological order.
        parameters: Contents of the constant values, by value name.
        rows: Quantization parameters by id.
        target: Name of the target, '' before one is chosen.
        plan: Memory plan at the planned level.
        metadata: Free text by key.
        history: One record a stage.
        store: Holds the contents; not part of the graph's identity.
        library: The user operations at hand; not part of it, either: the metadata say which the
            graph was imported with.
    """

    name: str
    level: Level = Level.FLOAT
    opset: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    parameters: Mapping[str, ContentRef] = field(default_factory=dict)
    rows: Mapping[str, QuantizationParameters] = field(default_factory=dict)
    target: str = ""
    plan: MemoryPlan | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    history: tuple[StageRecord, ...] = ()
    store: ContentStore = field(default_factory=ContentStore, compare=False, repr=False)
    library: OperationLibrary = field(default=NO_OPERATIONS, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("values", "parameters", "rows", "metadata"):
            ordered = MappingProxyType(dict(sorted(getattr(self, name).items())))
            object.__setattr__(self, name, ordered)

    @cached_property
    def producers(self) -> Mapping[str, Operation]:
        """The operation that makes each value."""
        return {out: op for op in self.operations for out in op.outputs if out}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[tuple[Operation, int], ...]]:
        """(operation, input slot) of every use of each value, in topological order."""
        found: dict[str, list[tuple[Operation, int]]] = {}
        for op in self.operations:
            for slot, name in enumerate(op.inputs):
                if name:
                    found.setdefault(name, []).append((op, slot))
        return {name: tuple(uses) for name, uses in found.items()}

    @cached_property
    def operation_by_name(self) -> Mapping[str, Operation]:
        return {op.name: op for op in self.operations}

    @property
    def quantable_operations(self) -> tuple[QuantableOperation, ...]:
        return tuple(op for op in self.operations if isinstance(op, QuantableOperation))

    def uses(self, value: str) -> tuple[tuple[Operation, int], ...]:
        """Return (operation, input slot) of every use of a value."""
        return self.consumers.get(value, ())

    def is_parameter(self, value: str) -> bool:
        return value in self.parameters

    def array(self, parameter: str) -> npt.NDArray[np.generic]:
        """Return the current contents of a parameter, read-only."""
        return self.store.get(self.parameters[parameter])

    def shape(self, value: str) -> Shape | None:
        return self.values[value].shape

    def with_operation(self, operation: Operation) -> Graph:
        """Return the graph with the operation of the same name replaced."""
        return self.with_operations([operation])

    def with_operations(self, operations: Iterable[Operation]) -> Graph:
        """Return the graph with operations of the same names replaced; values stay as they are."""
        changed = {op.name: op for op in operations}
        return replace(self, operations=tuple(changed.get(op.name, op) for op in self.operations))

    def with_rows(self, rows: Iterable[QuantizationParameters]) -> Graph:
        """Return the graph with rows added or replaced.

        Raises:
            InvariantError: A row that a parameter is baked with would change.
        """
        new = {row.id: row for row in rows}
        for op in self.quantable_operations:
            for entry in op.baked:
                row = new.get(op.config.inputs[entry.slot].row)
                if row is not None and row.digest != entry.row_digest:
                    raise InvariantError(
                        f"row '{row.id}' cannot change while it is baked in",
                        where=f"{op.where()} in{entry.slot}",
                        help="call unbake_parameters() first",
                    )
        return replace(self, rows={**self.rows, **new})

    def graph_of(self, region: Region) -> Graph:
        """Return a region as a float graph of its own, with the same store."""
        return Graph(
            name=region.name, opset=self.opset, inputs=region.inputs, outputs=region.outputs,
            values=region.values, operations=region.operations, parameters=region.parameters,
            metadata=self.metadata, store=self.store, library=self.library,
        )  # fmt: skip

    def dequantized(self) -> Graph:
        """Return the graph with every quantable operation dequantized."""
        return self.with_operations(op.dequantize() for op in self.quantable_operations)

    def restored(self) -> Graph:
        """Return the graph with every quantable operation's state restored."""
        return self.with_operations(op.restore_quantize_state() for op in self.quantable_operations)

    def contents(self) -> Mapping[str, ContentRef]:
        """Return every content that the graph refers to, by digest, sorted."""
        refs = list(self.parameters.values())
        for op in self.operations:
            refs += op.attribute_contents()
            if isinstance(op, QuantableOperation):
                refs += [ref for _, ref in op.originals]
                refs += [entry.content for entry in op.baked]
        return {ref.digest: ref for ref in sorted(refs, key=lambda r: r.digest)}
