"""Build a graph from the tables of a .qir file whose bytes were verified."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.dtypes import DType
from quantable.ir.errors import FormatError
from quantable.ir.graph import Decision, Graph, Level, StageRecord
from quantable.ir.memory_plan import MemoryPlan, Ring, Stream
from quantable.ir.operation import Attribute, BakedParameter, Operation, QuantableOperation
from quantable.ir.policies import (
    Arithmetic,
    Granularity,
    QuantizationPolicy,
    Rounding,
    Symmetry,
    Visibility,
)
from quantable.ir.quantization import (
    OperationQuantizationConfig,
    QuantizationParameters,
    Relation,
    TensorQuantizationConfig,
)
from quantable.ir.region import Region
from quantable.ir.states import State
from quantable.ir.values import Container, Shape, Value
from quantable.schema.enums import MEMBERS
from quantable.schema.segments import Segment
from quantable.schema.tables import T

MAX_RANK = 32
MAX_ELEMENTS = 1 << 56
Item = TypeVar("Item")
Named = TypeVar("Named")


class GraphReader:
    """Reads one graph.

    Args:
        table: The root, as `decode` returns it.
        segments: The segments of the file, checked.
        store: Holds the segments.
        where: The file, for messages.
    """

    def __init__(
        self, table: Any, segments: Sequence[Segment], store: ContentStore, where: str
    ) -> None:
        self._where = where
        self._table = table
        self._segments = segments
        self._store = store
        self._strings: tuple[str, ...] = table.strings
        if not self._strings or self._strings[0]:
            raise self._error("string 0 is not empty")
        self._types = [self._type(t) for t in table.types]
        self._contents = [self._content(c) for c in table.contents]
        self._configs: dict[Any, TensorQuantizationConfig] = {}
        self._schemes = [self._scheme(s) for s in table.schemes]
        self._regions: list[Region | None] = []
        for region in table.regions:
            self._regions.append(self._region(region))

    def graph(self) -> Graph:
        """Return the graph.

        Raises:
            FormatError: An index or an enumerator is out of range, a name is given twice, or a
                config contradicts itself.
        """
        t = self._table
        operations = tuple(self._operation(op) for op in t.operations)
        if any(region is not None for region in self._regions):
            raise self._error("a region belongs to no operation")
        return Graph(
            name=self._string(t.name),
            level=self._member(Level, t.level),
            opset=t.opset,
            inputs=self._names(t.inputs),
            outputs=self._names(t.outputs),
            values=self._by_name("value", (self._value(v) for v in t.values)),
            operations=operations,
            parameters=self._parameters(t.parameters),
            rows=self._by_name("row", (self._row(r) for r in t.rows)),
            target=self._string(t.target),
            plan=None if t.plan is None else self._plan(t.plan),
            metadata=self._by_name(
                "metadata key",
                ((self._string(m.key), self._string(m.value)) for m in t.metadata),
            ),
            history=tuple(self._record(r) for r in t.history),
            store=self._store,
        )

    def _parameters(self, tables: Any) -> dict[str, ContentRef]:
        held = (
            (self._string(p.name), self._at(self._contents, p.content, "content")) for p in tables
        )
        return self._by_name("parameter", held)

    def _region(self, t: Any) -> Region:
        return Region(
            self._string(t.name),
            self._names(t.inputs),
            self._names(t.outputs),
            self._by_name("value", (self._value(v) for v in t.values)),
            tuple(self._operation(op) for op in t.operations),
            self._parameters(t.parameters),
        )

    def _taken(self, index: int) -> Region:
        """Return a region, for the one operation that it belongs to."""
        found = self._at(self._regions, index, "region")
        if found is None:
            raise self._error(f"region {index} belongs to two operations")
        self._regions[index] = None
        return found

    def _error(self, message: str) -> FormatError:
        return FormatError(f"corrupt file: {message}", where=self._where)

    def _at(self, items: Sequence[Item], index: int, what: str) -> Item:
        try:
            return items[index]
        except IndexError as error:
            message = f"{what} {index} does not exist, there are {len(items)}"
            raise self._error(message) from error

    def _string(self, index: int) -> str:
        return self._at(self._strings, index, "string")

    def _names(self, indices: Any) -> tuple[str, ...]:
        try:
            return tuple(map(self._strings.__getitem__, indices))
        except IndexError as error:
            missing = max(indices)
            raise self._error(
                f"string {missing} does not exist, there are {len(self._strings)}"
            ) from error

    def _member(self, kind: type[enum.Enum], code: int) -> Any:
        member = MEMBERS[kind].get(code)
        if member is None:
            raise self._error(f"{kind.__name__} {code} does not exist")
        return member

    def _by_name(self, what: str, items: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in items:
            if name in found:
                raise self._error(f"{what} '{name}' is given twice")
            found[name] = item
        return found

    def _legal(self, make: Callable[[], Item]) -> Item:
        """Return what `make` makes, refusing fields that contradict each other."""
        try:
            return make()
        except ValueError as error:
            raise self._error(str(error)) from error

    def _type(self, t: Any) -> tuple[DType, Shape | None, Container]:
        dtype = self._member(DType, t.dtype)
        container = self._member(Container, t.container) if t.container else Container.TENSOR
        if not t.ranked:
            return dtype, None, container
        dims = t.dims
        symbols = self._names(t.symbols) or ("",) * len(dims)
        if len(symbols) != len(dims) or len(dims) > MAX_RANK:
            raise self._error(f"a type has {len(dims)} dimensions and {len(symbols)} symbols")
        if any(dim < 0 for dim in dims):
            raise self._error(f"a type has a negative dimension in {dims}")
        return dtype, tuple(s or d for s, d in zip(symbols, dims, strict=True)), container

    def _content(self, t: Any) -> ContentRef:
        segment = self._at(self._segments, t.segment, "segment")
        dtype, shape, container = self._at(self._types, t.type, "type")
        if container is not Container.TENSOR:
            raise self._error(f"contents are a {container.value}")
        if shape is None or any(isinstance(dim, str) for dim in shape):
            raise self._error("contents have an unknown shape")
        if dtype is DType.STRING:
            raise self._error("contents are strings")
        ref = ContentRef(segment.digest, dtype, tuple(int(dim) for dim in shape))
        if math.prod(dim for dim in ref.shape if dim) > MAX_ELEMENTS:
            raise self._error(f"contents have the shape {ref.shape}")
        if ref.size_bytes != segment.size:
            raise self._error(
                f"contents {ref.dtype.value}{ref.shape}: expected {ref.size_bytes} bytes, "
                f"found {segment.size}"
            )
        return ref

    def _scheme(self, t: Any) -> dict[str, Any]:
        granularity = self._member(Granularity, t.granularity)
        policy = self._legal(
            lambda: QuantizationPolicy(
                granularity,
                self._member(Arithmetic, t.arithmetic),
                self._member(Symmetry, t.symmetry),
                t.power_of_two,
                t.dynamic,
            )
        )
        return {
            "policy": policy,
            "bits": t.bits,
            "exponent_bits": t.exponent_bits,
            "quant_min": t.quant_min,
            "quant_max": t.quant_max,
            "rounding": self._member(Rounding, t.rounding),
            "channel_axis": t.channel_axis if policy.has_axis else None,
            "observer": self._string(t.observer),
            "visibility": self._member(Visibility, t.visibility),
            "block_size": t.block_size,
        }

    def _value(self, t: Any) -> tuple[str, Value]:
        name = self._string(t.name)
        return name, Value(name, *self._at(self._types, t.type, "type"))

    def _row(self, t: Any) -> tuple[str, QuantizationParameters]:
        row = QuantizationParameters(
            self._string(t.name),
            t.scale,
            t.zero_point,
            self._names(t.derived_from),
            self._string(t.provenance),
        )
        return row.id, row

    def _config(self, t: Any) -> TensorQuantizationConfig:
        known = self._configs.get(t)
        if known is None:
            scheme = self._at(self._schemes, t.scheme, "scheme")
            known = self._configs[t] = self._legal(
                lambda: TensorQuantizationConfig(
                    **scheme,
                    state=self._member(State, t.state),
                    relation=self._member(Relation, t.relation),
                    row=self._string(t.row),
                    suspended=self._member(State, t.suspended) if t.suspended else None,
                )
            )
        return known

    def _operation(self, t: Any) -> Operation:
        basic = (
            self._string(t.name),
            self._string(t.kind),
            self._names(t.inputs),
            self._names(t.outputs),
            self._by_name("attribute", (self._attribute(a) for a in t.attributes)),
            self._names(t.sources),
        )
        q = t.quantization
        if q is None:
            return Operation(*basic)
        config = OperationQuantizationConfig(
            tuple(self._config(c) for c in q.inputs),
            tuple(self._config(c) for c in q.outputs),
        )
        originals = tuple(
            (o.slot, self._at(self._contents, o.content, "content")) for o in q.originals
        )
        baked = tuple(
            BakedParameter(
                b.slot,
                self._at(self._contents, b.content, "content"),
                self._string(b.row_digest),
            )
            for b in q.baked
        )
        return QuantableOperation(*basic, config, self._string(q.platform), originals, baked)

    def _attribute(self, t: Any) -> tuple[str, Attribute]:
        held, name = t.value, self._string(t.name)
        match held:
            case T.IntAttribute() | T.FloatAttribute():
                return name, held.value
            case T.StringAttribute():
                return name, self._string(held.value)
            case T.IntsAttribute() | T.FloatsAttribute():
                return name, held.values
            case T.StringsAttribute():
                return name, self._names(held.values)
            case T.ContentAttribute():
                return name, self._at(self._contents, held.value, "content")
            case T.RegionAttribute():
                return name, self._taken(held.value)
        raise self._error(f"attribute '{name}' holds a {type(held).__name__}")

    def _plan(self, t: Any) -> MemoryPlan:
        offsets = ((self._string(o.value), o.offset) for o in t.offsets)
        return MemoryPlan(
            t.arena_bytes, t.alignment, self._by_name("offset", offsets), t.ordered,
            tuple(map(self._stream, t.streams)),
        )  # fmt: skip

    def _stream(self, t: Any) -> Stream:
        rings = ((self._string(r.value), Ring(r.rows, r.phase)) for r in t.rings)
        return Stream(self._names(t.operations), t.rows, self._by_name("ring", rings))

    def _record(self, t: Any) -> StageRecord:
        string = self._string
        return StageRecord(
            string(t.name), t.version, string(t.options), string(t.input_digest),
            string(t.output_digest), string(t.data_digest), string(t.tool_version),
            tuple(map(self._decision, t.decisions)),
        )  # fmt: skip

    def _decision(self, t: Any) -> Decision:
        return Decision(
            self._names(t.subject), self._string(t.tried), self._string(t.measure), t.before,
            t.after, t.accepted, self._string(t.reason),
        )  # fmt: skip
