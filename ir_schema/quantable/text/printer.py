"""Print a graph as text: every level, one statement a line, the same text for equal graphs.

Every statement and every optional block starts with a keyword; names carry a sigil: ``%`` values,
``@`` parameters and operations, ``#`` rows of quantization parameters. A name with characters other
than letters, digits and ``_ . / $ -`` is a JSON string after its sigil. Floats are the shortest
decimal that gives the float32 back (``d`` at the end: a float64). The format is specified in
``ir_schema/README.md``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

from quantable.ir import floats, numerics
from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.dtypes import DType
from quantable.ir.graph import Decision, Graph, StageRecord
from quantable.ir.memory_plan import Stream
from quantable.ir.operation import Attribute, Operation, QuantableOperation
from quantable.ir.quantization import QuantizationParameters, TensorQuantizationConfig
from quantable.ir.region import Region
from quantable.ir.values import Container, Shape, Value
from quantable.text.spelling import BARE_KIND, BARE_NAME, BARE_WORD, bare, float_text, quoted

HEADER = "quantable-text 1"
_CANONICAL_NAN = {
    DType.FLOAT16: 0x7E00, DType.BFLOAT16: 0x7FC0, DType.FLOAT32: 0x7FC00000,
    DType.FLOAT64: 0x7FF8000000000000, DType.FLOAT8E4M3FN: 0x7F, DType.FLOAT8E5M2: 0x7E,
    DType.FLOAT4E2M1: None, DType.FLOAT8E4M3FNUZ: 0x80, DType.FLOAT8E5M2FNUZ: 0x80,
    DType.FLOAT8E8M0: 0xFF,
}  # fmt: skip
_DEFAULT = TensorQuantizationConfig()


def print_graph(graph: Graph, *, elide: int = 16, history: bool = False) -> str:
    """Return the text of a graph.

    Args:
        graph: The graph.
        elide: Contents of more elements than this are named by their digest.
        history: Whether to print the stage records.
    """
    return _Printer(graph, elide).text(history)


def print_operations(graph: Graph, names: Collection[str], *, elide: int = 16) -> list[str]:
    """Return the statements of the named operations, with the schemes that they refer to."""
    return _Printer(graph, elide).operations([op for op in graph.operations if op.name in names])


def _listed(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def contents_text(ref: ContentRef, store: ContentStore, elide: int) -> str:
    """Return the text of contents: the elements if they are few, else the digest."""
    head = f"dense {_type_text(ref.dtype, ref.shape)} "
    if ref.element_count <= elide and ref.digest in store and ref.dtype is not DType.STRING:
        array = store.get(ref).reshape(-1)
        if ref.dtype.is_float:
            is_whole = not ref.dtype.is_packed or numerics.pack(array, ref.dtype) == store.raw(
                ref.digest
            )
            if is_whole and not _has_odd_nan(array, ref.dtype):
                return head + _listed(_float_texts(array, ref.dtype))
        elif numerics.pack(_plain(array), ref.dtype) == store.raw(ref.digest):
            if ref.dtype is DType.BOOL:
                return head + _listed("true" if item else "false" for item in array)
            return head + _listed(map(str, array.tolist()))
    return f"{head}sha256:{ref.digest}"


def _plain(array: Any) -> Any:
    """Return the elements as they are read back: a stored boolean may be any byte."""
    return array.view(np.uint8) != 0 if array.dtype == np.bool_ else array


def _float_texts(array: Any, dtype: DType) -> list[str]:
    """Return the shortest digits that give back each number, read through a float64."""
    wide = _widened(array, dtype)
    texts: list[str] = wide.astype("U").tolist()
    back = np.asarray(texts, np.float64).astype(wide.dtype)
    if np.array_equal(back, wide, equal_nan=True):
        return texts
    return [repr(item) for item in wide.astype(np.float64).tolist()]


def _widened(array: Any, dtype: DType) -> Any:
    if dtype is DType.BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return floats.decode(array, dtype) if floats.is_small_float(dtype) else array


def _has_odd_nan(array: Any, dtype: DType) -> bool:
    """Whether an element is a NaN whose bits `nan` would not give back."""
    bits = array.view(f"<u{array.itemsize}")
    return bool((np.isnan(_widened(array, dtype)) & (bits != _CANONICAL_NAN[dtype])).any())


def _type_text(dtype: DType, shape: Shape | None, container: Container = Container.TENSOR) -> str:
    head = dtype.value if container is Container.TENSOR else f"{container.value}.{dtype.value}"
    if shape is None:
        return f"{head}[*]"
    dims = (bare(d, BARE_WORD) if isinstance(d, str) else str(d) for d in shape)
    return head + _listed(dims)


class _Printer:
    def __init__(self, graph: Graph, elide: int) -> None:
        self._graph = graph
        self._elide = elide
        self._operands: dict[str, str] = {"": "_"}
        self._types: dict[tuple[DType, Shape | None, Container], str] = {}
        self._schemes: dict[tuple[Any, ...], str] = {}
        self._numbers: dict[str, int] = {}
        self._dense: dict[ContentRef, str] = {}
        self._regions: list[str] = []

    def text(self, history: bool) -> str:
        lines = [HEADER, self._head()]
        lines += [f"metadata {quoted(k)} {quoted(v)}" for k, v in self._graph.metadata.items()]
        lines += [f"input {self._typed(name)}" for name in self._graph.inputs]
        lines += [f"output {self._operand(name)}" for name in self._graph.outputs]
        lines += self._stray_values()
        lines += [self._parameter(name, ref) for name, ref in self._graph.parameters.items()]
        lines += [_row(row) for row in self._graph.rows.values()]
        lines += self.operations(self._graph.operations)
        lines += map(self._stream, self._graph.plan.streams if self._graph.plan else ())
        if history:
            lines += [_stage(record) for record in self._graph.history]
        return "\n".join(lines) + "\n"

    def operations(self, operations: Iterable[Operation]) -> list[str]:
        """Return the statements of schemes, regions and operations."""
        statements = [self._operation(op) for op in operations]
        schemes = [f"scheme !{n}{text}" for text, n in self._numbers.items()]
        return schemes + self._regions + statements

    def _head(self) -> str:
        graph = self._graph
        text = f"graph {quoted(graph.name)} level {graph.level.value} opset {graph.opset}"
        if graph.target:
            text += f" target {quoted(graph.target)}"
        if graph.plan is not None:
            offsets = (
                f"{self._operand(name)} = {offset}"
                for name, offset in sorted(graph.plan.offsets.items())
            )
            text += f" arena {graph.plan.arena_bytes} alignment {graph.plan.alignment}"
            text += f" offsets {{{', '.join(offsets)}}}"
            text += " ordered" if graph.plan.is_ordered else ""
        return text

    def _stream(self, stream: Stream) -> str:
        names = _listed(f"@{bare(name, BARE_NAME)}" for name in stream.operations)
        rings = (
            f"{self._operand(name)} = {ring.rows}" + (f" phase {ring.phase}" if ring.phase else "")
            for name, ring in sorted(stream.rings.items())
        )
        return f"stream {names} rows {stream.rows} rings {{{', '.join(rings)}}}"

    def _stray_values(self) -> Iterator[str]:
        """Values that no other statement gives a type."""
        graph = self._graph
        known = {*graph.inputs, *graph.parameters, *graph.producers}
        return (f"value {self._typed(name)}" for name in graph.values if name not in known)

    def _operand(self, name: str) -> str:
        text = self._operands.get(name)
        if text is None:
            sigil = "@" if name in self._graph.parameters else "%"
            text = self._operands[name] = sigil + bare(name, BARE_NAME)
        return text

    def _typed(self, name: str) -> str:
        value = self._graph.values.get(name)
        if value is None:
            return self._operand(name)
        key = (value.dtype, value.shape, value.container)
        text = self._types.get(key)
        if text is None:
            text = self._types[key] = _type_text(*key)
        return f"{self._operand(name)}: {text}"

    def _contents(self, ref: ContentRef) -> str:
        text = self._dense.get(ref)
        if text is None:
            text = self._dense[ref] = contents_text(ref, self._graph.store, self._elide)
        return text

    def _parameter(self, name: str, ref: ContentRef) -> str:
        value = self._graph.values.get(name)
        if value is None:
            subject = f"{self._operand(name)}: _"
        elif value == Value(name, ref.dtype, ref.shape):
            subject = self._operand(name)
        else:
            subject = self._typed(name)
        return f"parameter {subject} = {self._contents(ref)}"

    def _operation(self, op: Operation) -> str:
        inputs = ", ".join([self._operand(name) for name in op.inputs])
        outputs = ", ".join([self._typed(name) for name in op.outputs])
        name, kind = bare(op.name, BARE_NAME), bare(op.kind, BARE_KIND)
        text = f"operation @{name} {kind}({inputs}) -> ({outputs})"
        if op.attributes:
            held = [
                f"{bare(key, BARE_WORD)} = {self._attribute(value)}"
                for key, value in op.attributes.items()
            ]
            text += f" attributes {{{', '.join(held)}}}"
        if isinstance(op, QuantableOperation):
            text += self._quantization(op)
        if op.sources:
            text += f" sources {_listed(map(quoted, op.sources))}"
        return text

    def _attribute(self, value: Attribute) -> str:
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            return float_text(value)
        if isinstance(value, str):
            return quoted(value)
        if isinstance(value, ContentRef):
            return self._contents(value)
        if isinstance(value, Region):
            return self._region(value)
        return _listed(self._attribute(item) for item in value)

    def _region(self, region: Region) -> str:
        """Remember the statement of a region, behind those inside it; return its reference."""
        inner = _Printer(self._graph.graph_of(region), self._elide)
        inner._regions = self._regions
        lines = [f"input {inner._typed(name)}" for name in region.inputs]
        lines += [f"output {inner._operand(name)}" for name in region.outputs]
        lines += inner._stray_values()
        lines += [inner._parameter(name, ref) for name, ref in region.parameters.items()]
        lines += [inner._operation(op) for op in region.operations]
        number = len(self._regions)
        body = "".join(f"\n  {line}" for line in lines)
        self._regions.append(f"region ${number} {quoted(region.name)} {{{body}\n}}")
        return f"region ${number}"

    def _quantization(self, op: QuantableOperation) -> str:
        text = f" platform {quoted(op.platform)}"
        text += f" in {_listed(map(self._config, op.config.inputs))}"
        text += f" out {_listed(map(self._config, op.config.outputs))}"
        if op.originals:
            held = [f"{slot} = {self._contents(ref)}" for slot, ref in op.originals]
            text += f" originals {{{', '.join(held)}}}"
        if op.baked:
            held = [
                f"{entry.slot} = {self._contents(entry.content)} with {quoted(entry.row_digest)}"
                for entry in op.baked
            ]
            text += f" baked {{{', '.join(held)}}}"
        return text

    def _config(self, config: TensorQuantizationConfig) -> str:
        text = config.state._value_
        if config.suspended is not None:
            text += f" suspended {config.suspended.value}"
        if config.row or config.relation is not _DEFAULT.relation:
            text += f" {config.relation._value_} #{bare(config.row, BARE_NAME)}"
        # The graph keeps policies alive, and an id is hashed faster than enumerators; `_value_`
        # is a plain attribute.
        key = (
            id(config.policy), config.bits, config.exponent_bits, config.quant_min,
            config.quant_max, id(config.rounding), config.channel_axis, config.observer,
            id(config.visibility), config.block_size,
        )  # fmt: skip
        scheme = self._schemes.get(key)
        if scheme is None:
            scheme = self._schemes[key] = self._numbered(_scheme(config))
        return text + scheme

    def _numbered(self, scheme: str) -> str:
        """Return the reference to a scheme; schemes are numbered in the order of first use."""
        return f" !{self._numbers.setdefault(scheme, len(self._numbers))}" if scheme else ""


def _scheme(config: TensorQuantizationConfig) -> str:
    """Return the text of all that is not state, relation and row; nothing where all is default."""
    text = f" bits {config.bits} {config.policy} range [{config.quant_min}, {config.quant_max}]"
    is_default = text == _DEFAULT_SCHEME
    if config.exponent_bits:
        text += f" exponent {config.exponent_bits}"
    if config.channel_axis is not None:
        text += f" axis {config.channel_axis}"
    if config.block_size:
        text += f" block {config.block_size}"
    if config.rounding is not _DEFAULT.rounding:
        text += f" rounding {config.rounding.value}"
    if config.observer:
        text += f" observer {quoted(config.observer)}"
    if config.visibility is not _DEFAULT.visibility:
        text += f" visibility {config.visibility.value}"
    return "" if is_default and text == _DEFAULT_SCHEME else text


_DEFAULT_SCHEME = (
    f" bits {_DEFAULT.bits} {_DEFAULT.policy} range [{_DEFAULT.quant_min}, {_DEFAULT.quant_max}]"
)


def _row(row: QuantizationParameters) -> str:
    text = f"row #{bare(row.id, BARE_NAME)}"
    if row.scale:
        scales = np.asarray(row.scale, np.float32)
        is_odd = _has_odd_nan(scales, DType.FLOAT32)
        texts = (
            [float_text(s) for s in row.scale] if is_odd else _float_texts(scales, DType.FLOAT32)
        )
        text += f" scale {_listed(texts) if len(texts) > 1 else texts[0]}"
    if row.zero_point:
        zeros = [str(zero) for zero in row.zero_point]
        is_uniform = len(set(zeros)) == 1 and len(zeros) == len(row.scale)
        text += f" zero-point {zeros[0] if is_uniform else _listed(zeros)}"
    if row.derived_from:
        names = (f"#{bare(name, BARE_NAME)}" for name in row.derived_from)
        text += f" derived {_listed(names)}"
    if row.provenance:
        text += f" provenance {quoted(row.provenance)}"
    return text


def _stage(record: StageRecord) -> str:
    text = f"stage {quoted(record.name)} version {record.version}"
    for word, held in (
        ("options", record.options), ("input", record.input_digest),
        ("output", record.output_digest), ("data", record.data_digest),
        ("tool", record.tool_version),
    ):  # fmt: skip
        if held:
            text += f" {word} {quoted(held)}"
    return "\n  ".join([text, *map(decision_text, record.decisions)])


def decision_text(decision: Decision) -> str:
    """Return the text of a decision."""
    subject = _listed(f"@{bare(name, BARE_NAME)}" for name in decision.subject)
    text = f"decision {subject} tried {quoted(decision.tried)} measure {quoted(decision.measure)}"
    text += f" before {float_text(decision.before)} after {float_text(decision.after)}"
    text += " accepted" if decision.is_accepted else " refused"
    return f"{text} reason {quoted(decision.reason)}" if decision.reason else text
