"""Turn a graph into the tables of a .qir file. Every table is in an order that the graph fixes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

from quantable.ir.contents import ContentRef
from quantable.ir.dtypes import DType
from quantable.ir.errors import InternalError
from quantable.ir.graph import Graph, MemoryPlan, Shape, StageRecord
from quantable.ir.operation import Attribute, Operation, QuantableOperation
from quantable.ir.quantization import QuantizationParameters, TensorQuantizationConfig
from quantable.schema import tables, versions
from quantable.schema.enums import CODES
from quantable.schema.segments import SegmentTable

Key = TypeVar("Key", bound=Hashable)
Type = tuple[DType, Shape | None]
_UNION = tables.AttributeValue


class _Interned(Generic[Key]):
    """Numbers distinct items in the order in which they are first seen."""

    def __init__(self, *first: Key) -> None:
        self.index: dict[Key, int] = {key: number for number, key in enumerate(first)}

    def of(self, key: Key) -> int:
        return self.index.setdefault(key, len(self.index))


def _table(cls: Any, **fields: object) -> Any:
    """Return a generated object with fields set."""
    made = cls()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class GraphWriter:
    """Writes one graph; `table` is the result.

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
        self._types: _Interned[Type] = _Interned()
        self._contents: _Interned[ContentRef] = _Interned()
        self._schemes: _Interned[tuple[Any, ...]] = _Interned()
        self.table = self._graph(graph)

    def _graph(self, graph: Graph) -> Any:
        string, names = self._strings.of, self._names
        _check_names(graph)
        fields = {
            "name": string(graph.name),
            "level": CODES[graph.level],
            "opset": graph.opset,
            "target": string(graph.target),
            "inputs": names(graph.inputs),
            "outputs": names(graph.outputs),
            "values": [
                _table(tables.ValueT, name=string(v.name), type=self._type((v.dtype, v.shape)))
                for v in graph.values.values()
            ],
            "parameters": [
                _table(tables.ParameterT, name=string(name), content=self._content(ref))
                for name, ref in graph.parameters.items()
            ],
            "rows": [self._row(row) for row in graph.rows.values()],
            "operations": [self._operation(op) for op in graph.operations],
            "plan": None if graph.plan is None else self._plan(graph.plan),
            "metadata": [
                _table(tables.MetadataT, key=string(key), value=string(text))
                for key, text in graph.metadata.items()
            ],
            "history": [self._record(record) for record in graph.history],
        }
        return _table(
            tables.GraphT,
            versionMajor=versions.VERSION_MAJOR,
            versionMinor=versions.VERSION_MINOR,
            minReaderMinor=versions.MIN_READER_MINOR,
            producer=versions.PRODUCER,
            segments=self._segments.tables(),
            **self._interned_tables(),
            **fields,
        )

    def _interned_tables(self) -> dict[str, Any]:
        """Return the tables of all that was interned; types last, since contents refer to them."""
        contents = [
            _table(
                tables.ContentT,
                segment=self._segment_index[ref.digest],
                type=self._type((ref.dtype, ref.shape)),
            )
            for ref in self._contents.index
        ]
        schemes = [self._scheme(scheme) for scheme in self._schemes.index]
        types = [self._type_table(*item) for item in self._types.index]
        strings = list(self._strings.index)
        return {"contents": contents, "schemes": schemes, "types": types, "strings": strings}

    def _names(self, names: Iterable[str]) -> list[int]:
        return [self._strings.of(name) for name in names]

    def _type(self, item: Type) -> int:
        return self._types.of(item)

    def _content(self, ref: ContentRef) -> int:
        return self._contents.of(ref)

    def _type_table(self, dtype: DType, shape: Shape | None) -> Any:
        if shape is None:
            return _table(tables.TensorTypeT, dtype=CODES[dtype])
        for dim in shape:
            if dim == "" or (not isinstance(dim, str) and dim < 0):
                raise InternalError(f"shape {shape}: expected dimensions >= 0 or names")
        symbols = [self._strings.of(dim) if isinstance(dim, str) else 0 for dim in shape]
        return _table(
            tables.TensorTypeT,
            dtype=CODES[dtype],
            ranked=True,
            dims=[0 if isinstance(dim, str) else dim for dim in shape],
            symbols=symbols if any(symbols) else None,
        )

    def _scheme(self, scheme: tuple[Any, ...]) -> Any:
        policy, bits, exponent_bits, low, high, rounding, axis, observer, visibility = scheme
        return _table(
            tables.SchemeT,
            granularity=CODES[policy.granularity],
            arithmetic=CODES[policy.arithmetic],
            symmetry=CODES[policy.symmetry],
            powerOfTwo=policy.power_of_two,
            dynamic=policy.dynamic,
            bits=bits,
            exponentBits=exponent_bits,
            quantMin=low,
            quantMax=high,
            rounding=CODES[rounding],
            channelAxis=0 if axis is None else axis,
            observer=observer,
            visibility=CODES[visibility],
        )

    def _row(self, row: QuantizationParameters) -> Any:
        return _table(
            tables.QuantizationParametersT,
            name=self._strings.of(row.id),
            scale=row.scale or None,
            zeroPoint=row.zero_point or None,
            derivedFrom=self._names(row.derived_from),
            provenance=self._strings.of(row.provenance),
        )

    def _config(self, config: TensorQuantizationConfig) -> Any:
        scheme = (
            config.policy, config.bits, config.exponent_bits, config.quant_min, config.quant_max,
            config.rounding, config.channel_axis, self._strings.of(config.observer),
            config.visibility,
        )  # fmt: skip
        return _table(
            tables.TensorQuantizationConfigT,
            scheme=self._schemes.of(scheme),
            state=CODES[config.state],
            relation=CODES[config.relation],
            row=self._strings.of(config.row),
            suspended=0 if config.suspended is None else CODES[config.suspended],
        )

    def _operation(self, op: Operation) -> Any:
        return _table(
            tables.OperationT,
            name=self._strings.of(op.name),
            kind=self._strings.of(op.kind),
            inputs=self._names(op.inputs),
            outputs=self._names(op.outputs),
            attributes=[self._attribute(op, *item) for item in op.attributes.items()],
            sources=self._names(op.sources),
            quantization=self._quantization(op) if isinstance(op, QuantableOperation) else None,
        )

    def _quantization(self, op: QuantableOperation) -> Any:
        return _table(
            tables.QuantizationT,
            platform=self._strings.of(op.platform),
            inputs=[self._config(config) for config in op.config.inputs],
            outputs=[self._config(config) for config in op.config.outputs],
            originals=[
                _table(tables.OriginalT, slot=slot, content=self._content(ref))
                for slot, ref in op.originals
            ],
            baked=[
                _table(
                    tables.BakedParameterT,
                    slot=entry.slot,
                    content=self._content(entry.content),
                    rowDigest=self._strings.of(entry.row_digest),
                )
                for entry in op.baked
            ],
        )

    def _attribute(self, op: Operation, name: str, value: Attribute) -> Any:
        kind, held = self._attribute_value(value)
        if held is None:
            raise InternalError(
                f"attribute '{name}' has type {type(value).__name__}", where=op.where()
            )
        return _table(tables.AttributeT, name=self._strings.of(name), valueType=kind, value=held)

    def _attribute_value(self, value: Attribute) -> tuple[int, Any]:
        match value:
            case int():
                return _UNION.IntAttribute, _table(tables.IntAttributeT, value=value)
            case float():
                return _UNION.FloatAttribute, _table(tables.FloatAttributeT, value=value)
            case str():
                number = self._strings.of(value)
                return _UNION.StringAttribute, _table(tables.StringAttributeT, value=number)
            case ContentRef():
                return _UNION.ContentAttribute, _table(
                    tables.ContentAttributeT, value=self._content(value)
                )
            case tuple():
                return self._list_attribute(value)

    def _list_attribute(self, values: tuple[Any, ...]) -> tuple[int, Any]:
        if all(isinstance(v, int) for v in values):
            return _UNION.IntsAttribute, _table(tables.IntsAttributeT, values=list(values))
        if all(isinstance(v, float) for v in values):
            return _UNION.FloatsAttribute, _table(tables.FloatsAttributeT, values=list(values))
        if all(isinstance(v, str) for v in values):
            return _UNION.StringsAttribute, _table(
                tables.StringsAttributeT, values=self._names(values)
            )
        return _UNION.NONE, None

    def _plan(self, plan: MemoryPlan) -> Any:
        return _table(
            tables.MemoryPlanT,
            arenaBytes=plan.arena_bytes,
            alignment=plan.alignment,
            offsets=[
                _table(tables.OffsetT, value=self._strings.of(name), offset=offset)
                for name, offset in sorted(plan.offsets.items())
            ],
        )

    def _record(self, record: StageRecord) -> Any:
        string = self._strings.of
        return _table(
            tables.StageRecordT,
            name=string(record.name),
            version=record.version,
            options=string(record.options),
            inputDigest=string(record.input_digest),
            outputDigest=string(record.output_digest),
            dataDigest=string(record.data_digest),
            toolVersion=string(record.tool_version),
        )


def _check_names(graph: Graph) -> None:
    held = {name: value.name for name, value in graph.values.items()}
    for name, own in (*held.items(), *((key, row.id) for key, row in graph.rows.items())):
        if own != name:
            raise InternalError(f"'{own}' is held under the name '{name}'")
