"""Turn a graph into the tables of a .qir file. Every table is in an order that the graph fixes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from quantable.ir.contents import ContentRef
from quantable.ir.dtypes import DType
from quantable.ir.errors import InternalError
from quantable.ir.graph import Decision, Graph, StageRecord
from quantable.ir.memory_plan import MemoryPlan, Stream
from quantable.ir.operation import Attribute, Operation, QuantableOperation
from quantable.ir.quantization import QuantizationParameters, TensorQuantizationConfig
from quantable.ir.region import Region
from quantable.ir.values import Container, Shape, Value
from quantable.schema.enums import CODES
from quantable.schema.segments import SegmentTable
from quantable.schema.tables import T

Key = TypeVar("Key", bound=Hashable)
Type = tuple[DType, Shape | None, Container]


class _Interned(Generic[Key]):
    """Numbers distinct items in the order in which they are first seen."""

    def __init__(self, *first: Key) -> None:
        self.index: dict[Key, int] = {key: number for number, key in enumerate(first)}

    def of(self, key: Key) -> int:
        return self.index.setdefault(key, len(self.index))


class GraphWriter:
    """Writes one graph; `table` is the result, of which only the versions are still missing.

    Args:
        graph: The graph.
        segments: Where the contents of the graph will lie in the file.

    Raises:
        InternalError: The graph holds what a file cannot.
    """

    def __init__(self, graph: Graph, segments: SegmentTable) -> None:
        self._segments = segments
        self._segment_index = segments.index()
        self._strings = _Interned("")
        self._regions: list[Any] = []
        self._types: _Interned[Type] = _Interned()
        self._contents: _Interned[ContentRef] = _Interned()
        self._schemes: _Interned[tuple[Any, ...]] = _Interned()
        _check_names(graph)
        fields = self._fields(graph)
        self.table = T.Graph(segments=self._segments.tables(), **self._interned_tables(), **fields)

    def _fields(self, graph: Graph) -> dict[str, Any]:
        string, names = self._strings.of, self._names
        return {
            "name": string(graph.name),
            "level": CODES[graph.level],
            "opset": graph.opset,
            "target": string(graph.target),
            "inputs": names(graph.inputs),
            "outputs": names(graph.outputs),
            "values": self._values(graph.values),
            "parameters": self._parameters(graph.parameters),
            "rows": tuple(map(self._row, graph.rows.values())),
            "operations": tuple(map(self._operation, graph.operations)),
            "plan": None if graph.plan is None else self._plan(graph.plan),
            "metadata": tuple(
                T.Metadata(string(key), string(text)) for key, text in graph.metadata.items()
            ),
            "history": tuple(map(self._record, graph.history)),
            "regions": tuple(self._regions),
        }

    def _values(self, values: Mapping[str, Value]) -> tuple[Any, ...]:
        return tuple(
            T.Value(self._strings.of(v.name), self._types.of((v.dtype, v.shape, v.container)))
            for v in values.values()
        )

    def _parameters(self, parameters: Mapping[str, ContentRef]) -> tuple[Any, ...]:
        return tuple(
            T.Parameter(self._strings.of(name), self._contents.of(ref))
            for name, ref in parameters.items()
        )

    def _region(self, region: Region) -> int:
        """Write a region behind those inside it, and return its index."""
        name = self._strings.of(region.name)
        inputs, outputs = self._names(region.inputs), self._names(region.outputs)
        values, parameters = self._values(region.values), self._parameters(region.parameters)
        operations = tuple(map(self._operation, region.operations))
        self._regions.append(T.Region(name, inputs, outputs, values, parameters, operations))
        return len(self._regions) - 1

    def _interned_tables(self) -> dict[str, Any]:
        """Return the tables of all that was interned; types last, since contents refer to them."""
        contents = tuple(
            T.Content(
                self._segment_index[ref.digest],
                self._types.of((ref.dtype, ref.shape, Container.TENSOR)),
            )
            for ref in self._contents.index
        )
        schemes = tuple(map(self._scheme, self._schemes.index))
        types = tuple(self._type(*item) for item in self._types.index)
        strings = tuple(self._strings.index)
        return {"contents": contents, "schemes": schemes, "types": types, "strings": strings}

    def _names(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(map(self._strings.of, names))

    def _type(self, dtype: DType, shape: Shape | None, container: Container) -> Any:
        held = 0 if container is Container.TENSOR else CODES[container]
        if shape is None:
            return T.TensorType(CODES[dtype], container=held)
        for dim in shape:
            if dim == "" or (not isinstance(dim, str) and dim < 0):
                raise InternalError(f"shape {shape}: expected dimensions >= 0 or names")
        symbols = tuple(self._strings.of(dim) if isinstance(dim, str) else 0 for dim in shape)
        dims = tuple(0 if isinstance(dim, str) else dim for dim in shape)
        return T.TensorType(CODES[dtype], True, dims, symbols if any(symbols) else (), held)

    def _scheme(self, scheme: tuple[Any, ...]) -> Any:
        policy, bits, exponent_bits, low, high, rounding, axis, observer, visibility, block = scheme
        return T.Scheme(
            granularity=CODES[policy.granularity],
            arithmetic=CODES[policy.arithmetic],
            symmetry=CODES[policy.symmetry],
            power_of_two=policy.power_of_two,
            dynamic=policy.dynamic,
            bits=bits,
            exponent_bits=exponent_bits,
            quant_min=low,
            quant_max=high,
            rounding=CODES[rounding],
            channel_axis=0 if axis is None else axis,
            observer=observer,
            visibility=CODES[visibility],
            block_size=block,
        )

    def _row(self, row: QuantizationParameters) -> Any:
        return T.QuantizationParameters(
            self._strings.of(row.id),
            row.scale,
            row.zero_point,
            self._names(row.derived_from),
            self._strings.of(row.provenance),
        )

    def _config(self, config: TensorQuantizationConfig) -> Any:
        scheme = (
            config.policy, config.bits, config.exponent_bits, config.quant_min, config.quant_max,
            config.rounding, config.channel_axis, self._strings.of(config.observer),
            config.visibility, config.block_size,
        )  # fmt: skip
        return T.TensorQuantizationConfig(
            self._schemes.of(scheme),
            CODES[config.state],
            CODES[config.relation],
            self._strings.of(config.row),
            0 if config.suspended is None else CODES[config.suspended],
        )

    def _operation(self, op: Operation) -> Any:
        return T.Operation(
            self._strings.of(op.name),
            self._strings.of(op.kind),
            self._names(op.inputs),
            self._names(op.outputs),
            tuple(
                T.Attribute(self._strings.of(name), self._attribute(op, name, value))
                for name, value in op.attributes.items()
            ),
            self._names(op.sources),
            self._quantization(op) if isinstance(op, QuantableOperation) else None,
        )

    def _quantization(self, op: QuantableOperation) -> Any:
        return T.Quantization(
            self._strings.of(op.platform),
            tuple(map(self._config, op.config.inputs)),
            tuple(map(self._config, op.config.outputs)),
            tuple(T.Original(slot, self._contents.of(ref)) for slot, ref in op.originals),
            tuple(
                T.BakedParameter(
                    entry.slot,
                    self._contents.of(entry.content),
                    self._strings.of(entry.row_digest),
                )
                for entry in op.baked
            ),
        )

    def _attribute(self, op: Operation, name: str, value: Attribute) -> Any:
        match value:
            case int():
                return T.IntAttribute(value)
            case float():
                return T.FloatAttribute(value)
            case str():
                return T.StringAttribute(self._strings.of(value))
            case ContentRef():
                return T.ContentAttribute(self._contents.of(value))
            case Region():
                return T.RegionAttribute(self._region(value))
        kinds = set(map(type, value))
        if kinds <= {int}:
            return T.IntsAttribute(value)
        if kinds == {float}:
            return T.FloatsAttribute(value)
        if kinds == {str}:
            return T.StringsAttribute(tuple(self._strings.of(str(text)) for text in value))
        raise InternalError(f"attribute '{name}' holds {value!r:.80}", where=op.where())

    def _plan(self, plan: MemoryPlan) -> Any:
        offsets = sorted(plan.offsets.items())
        return T.MemoryPlan(
            plan.arena_bytes,
            plan.alignment,
            tuple(T.Offset(self._strings.of(name), offset) for name, offset in offsets),
            plan.is_ordered,
            tuple(map(self._stream, plan.streams)),
        )

    def _stream(self, stream: Stream) -> Any:
        rings = (
            T.Ring(self._strings.of(name), ring.rows, ring.phase)
            for name, ring in sorted(stream.rings.items())
        )
        return T.Stream(self._names(stream.operations), stream.rows, tuple(rings))

    def _record(self, record: StageRecord) -> Any:
        string = self._strings.of
        return T.StageRecord(
            string(record.name), record.version, string(record.options),
            string(record.input_digest), string(record.output_digest), string(record.data_digest),
            string(record.tool_version), tuple(map(self._decision, record.decisions)),
        )  # fmt: skip

    def _decision(self, decision: Decision) -> Any:
        return T.Decision(
            self._names(decision.subject),
            self._strings.of(decision.tried),
            self._strings.of(decision.measure),
            decision.before,
            decision.after,
            decision.is_accepted,
            self._strings.of(decision.reason),
        )


def _check_names(graph: Graph) -> None:
    held = {name: value.name for name, value in graph.values.items()}
    for name, own in (*held.items(), *((key, row.id) for key, row in graph.rows.items())):
        if own != name:
            raise InternalError(f"'{own}' is held under the name '{name}'")
