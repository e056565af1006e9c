"""Read the text of a graph: the inverse of `quantable.text.printer`.

The grammar (`graph.lark`) makes records; this module makes a graph of them and collects what is
wrong with the names and types they hold.
"""

from __future__ import annotations

import contextlib
import gc
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

from lark import Token

from quantable.ir.contents import ContentStore
from quantable.ir.graph import Decision, Graph, Level, StageRecord
from quantable.ir.memory_plan import MemoryPlan, Ring, Stream
from quantable.ir.policies import LEGAL_POLICIES, Rounding, Visibility
from quantable.ir.quantization import (
    MAX_BITS,
    MIN_BITS,
    QuantizationParameters,
    TensorQuantizationConfig,
)
from quantable.text.operations import OperationReader
from quantable.text.pieces import list_of, member, operation_of, row_of
from quantable.text.records import Record, read_records
from quantable.text.regions import RegionReader
from quantable.text.spelling import BadPiece, integer_of, nearest, number_of
from quantable.text.values import Values
from quantable.text.workbench import UINT32, UINT64, Workbench, start_of

VERSION = 1
INT64 = (-(1 << 63), (1 << 63) - 1)
_ZERO: int | float = 0
_LEVELS = {level.value: level for level in Level}
_POLICIES = {str(policy): policy for policy in LEGAL_POLICIES}
_ROUNDINGS = {rounding.value: rounding for rounding in Rounding}
_VISIBILITIES = {visibility.value: visibility for visibility in Visibility}


def parse_graph(
    text: str, *, store: ContentStore | None = None, source: str = "<text>", checked: bool = True
) -> Graph:
    """Return the graph that a text is.

    Args:
        text: As `print_graph` writes it.
        store: Where elements in the text go; holds the contents that the text names by digest.
            By default a new one. Whether it holds them is not checked here.
        source: Name of the text, for messages.
        checked: Whether undefined names, values defined twice or used too early, unknown kinds and
            configs that do not fit the slots are errors; without it, what `print_graph` prints of
            an invalid graph can be read, too.

    Raises:
        FormatError: The text breaks the grammar (the first fault is reported), or names and types
            do not fit each other (up to 20 faults are reported).
    """
    held = ContentStore() if store is None else store
    with _without_collections():
        records = read_records(text, source)
        return _Assembly(text, held, source, checked).graph(records)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Pause the search for reference cycles: records have none, and it takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Assembly:
    def __init__(self, text: str, store: ContentStore, source: str, checked: bool) -> None:
        self._bench = Workbench(text, store, source)
        self._checked = checked
        self._values = Values(self._bench, checked)

    def graph(self, records: list[Record]) -> Graph:
        groups: dict[str, list[list[Any]]] = defaultdict(list)
        for record in records:
            groups[record.rule].append(record.parts)
        bench, values = self._bench, self._values
        self._check_version(groups["version"][0][0])
        bench.schemes = bench.unique("scheme", self._schemes(groups["scheme"]))
        rows = bench.unique("row", self._rows(groups["row"]), "#")
        inputs = tuple(values.declared(parts[0], "input") for parts in groups["input"])
        parameters = values.parameters(groups["parameter"])
        for parts in groups["value"]:
            values.declared(parts[0], "value")
        regions = RegionReader(bench, self._checked)
        for parts in groups["region"]:
            regions.read(parts)
        reader = OperationReader(bench, values, self._checked, regions.take)
        operations = tuple(reader.operation(parts) for parts in groups["operation"])
        outputs = tuple(values.used(token) for (token,) in groups["output"])
        regions.finish()
        head = self._head(groups["graph"][0], groups["stream"])
        if self._checked:
            self._check_rows(rows, groups["row"], reader)
        values.finish()
        metadata = ((bench.word(key), key, bench.word(value)) for key, value in groups["metadata"])
        graph_parts: dict[str, Any] = {
            "inputs": inputs, "outputs": outputs, "values": values.found, "rows": rows,
            "operations": operations, "parameters": parameters, "store": bench.store,
            "metadata": bench.unique("metadata key", metadata),
            "history": tuple(self._stage(parts) for parts in groups["stage"]),
        }  # fmt: skip
        if error := bench.failed():
            raise error
        return Graph(**head, **graph_parts)

    def _check_version(self, token: Token) -> None:
        version = self._bench.integer(token)
        if version != VERSION:
            self._bench.fault_at(
                token, f"expected version {VERSION} of the text, found {version}",
                "a newer quantable reads it",
            )  # fmt: skip

    def _member(self, table: dict[str, Any], token: Token, what: str) -> Any:
        start = start_of(token)
        default = next(iter(table.values()))
        return self._bench.attempt(start, lambda: member(table, token, what), default)

    def _head(self, parts: list[Any], streams: list[list[Any]]) -> dict[str, Any]:
        name, level, opset, *rest = parts
        blocks = {record.rule: record.parts for record in rest}
        target = blocks.get("target")
        if streams and "plan" not in blocks:
            self._bench.fault_at(streams[0][0], "a stream belongs to a memory plan, found none")
        return {
            "name": self._bench.word(name),
            "level": self._member(_LEVELS, level, "level"),
            "opset": self._bench.integer(opset),
            "target": self._bench.word(target[0]) if target else "",
            "plan": self._plan(blocks["plan"], streams) if "plan" in blocks else None,
        }

    def _plan(self, parts: list[Any], streams: list[list[Any]]) -> MemoryPlan:
        arena, alignment, *rest = parts
        held = (
            (self._values.used(record.parts[0]), record.parts[0],
             self._bench.integer(record.parts[1], 0, UINT64))
            for record in rest if record.rule == "offset"
        )  # fmt: skip
        return MemoryPlan(
            self._bench.integer(arena, 0, UINT64), self._bench.integer(alignment),
            self._bench.unique("offset of", held, "%"),
            any(record.rule == "ordered" for record in rest), tuple(map(self._stream, streams)),
        )  # fmt: skip

    def _stream(self, parts: list[Any]) -> Stream:
        operations, rows, *rings = parts
        held = (
            (self._values.used(token), token, Ring(*map(self._bench.integer, numbers)))
            for _, (token, *numbers) in rings
        )
        return Stream(
            tuple(self._bench.items(operations, operation_of, "")), self._bench.integer(rows),
            self._bench.unique("ring of", held, "%"),
        )  # fmt: skip

    def _schemes(
        self, statements: list[list[Any]]
    ) -> Iterator[tuple[str, Token, TensorQuantizationConfig]]:
        bench = self._bench
        for token, bits, policy, low, high, *rest in statements:
            blocks = {record.rule: record.parts[0] for record in rest}
            faults = bench.fault_count
            fields: dict[str, Any] = {
                "policy": self._member(_POLICIES, policy, "policy"),
                "bits": bench.integer(bits, MIN_BITS, MAX_BITS),
                "quant_min": bench.integer(low, *INT64),
                "quant_max": bench.integer(high, *INT64),
            }
            if "exponent" in blocks:
                fields["exponent_bits"] = bench.integer(blocks["exponent"], 0, 255)
            if "axis" in blocks:
                fields["channel_axis"] = bench.integer(blocks["axis"], -(1 << 31), (1 << 31) - 1)
            if "block" in blocks:
                fields["block_size"] = bench.integer(blocks["block"], 0, UINT32)
            if "rounding" in blocks:
                fields["rounding"] = self._member(_ROUNDINGS, blocks["rounding"], "rounding")
            if "observer" in blocks:
                fields["observer"] = bench.word(blocks["observer"])
            if "visibility" in blocks:
                found = self._member(_VISIBILITIES, blocks["visibility"], "visibility")
                fields["visibility"] = found
            made = TensorQuantizationConfig()
            try:
                if bench.fault_count == faults:
                    made = TensorQuantizationConfig(**fields)
            except ValueError as error:
                bench.fault_at(token, f"the scheme contradicts itself: {error}")
            yield str(token), token, made

    def _rows(
        self, statements: list[list[Any]]
    ) -> Iterator[tuple[str, Token, QuantizationParameters]]:
        for token, *rest in statements:
            blocks = {record.rule: record.parts for record in rest}
            scale = self._numbers(blocks.get("scale"), is_scale=True)
            zeros = self._numbers(blocks.get("zero_point"), is_scale=False)
            if "zero_point" in blocks and blocks["zero_point"][0].type != "LIST":
                zeros *= max(1, len(scale))
            name = self._bench.name(token)
            yield name, token, QuantizationParameters(
                name, tuple(scale), tuple(zeros),
                self._derived(blocks),
                self._bench.word(blocks["provenance"][0]) if "provenance" in blocks else "",
            )  # fmt: skip

    def _derived(self, blocks: dict[str, list[Token]]) -> tuple[str, ...]:
        if "derived" not in blocks:
            return ()
        return tuple(self._bench.items(blocks["derived"][0], row_of, ""))

    def _numbers(self, parts: list[Token] | None, *, is_scale: bool) -> list[Any]:
        if not parts:
            return []
        (token,) = parts
        items = list_of(token) if token.type == "LIST" else [(str(token), 0)]

        read = _scale_of if is_scale else _zero_point_of
        start = start_of(token)
        return [
            self._bench.attempt(start, partial(read, item, at), 1.0 if is_scale else 1)
            for item, at in items
        ]

    def _check_rows(
        self, rows: dict[str, Any], statements: list[list[Any]], reader: OperationReader
    ) -> None:
        """Remember rows that are referred to and not there."""
        used = list(reader.rows)
        for _, *rest in statements:
            for record in rest:
                if record.rule == "derived":
                    (token,) = record.parts
                    start = start_of(token)
                    names = zip(self._derived({"derived": [token]}), list_of(token), strict=True)
                    used += [(name, start + at, len(item)) for name, (item, at) in names]
        for name, position, length in used:
            if name not in rows and self._bench.text[position] == "#":
                shown = self._bench.text[position : position + length]
                self._bench.fault(
                    position, length, f"undefined row {shown}", nearest(name, rows, "#")
                )

    def _stage(self, parts: list[Any]) -> StageRecord:
        name, version, *rest = parts
        decisions = [record.parts for record in rest if record.rule == "decision"]
        held = {
            record.rule: self._bench.word(record.parts[0])
            for record in rest
            if record.rule != "decision"
        }
        return StageRecord(
            self._bench.word(name), self._bench.integer(version, 0, UINT32),
            held.get("options", ""), held.get("read", ""), held.get("written", ""),
            held.get("data", ""), held.get("tool", ""), tuple(map(self._decision, decisions)),
        )  # fmt: skip

    def _decision(self, parts: list[Any]) -> Decision:
        subject, tried, measure, before, after, verdict, *reason = parts
        errors = [
            self._bench.attempt(start_of(token), partial(number_of, str(token)), _ZERO)
            for token in (before, after)
        ]
        return Decision(
            tuple(self._bench.items(subject, operation_of, "")), self._bench.word(tried),
            self._bench.word(measure), errors[0], errors[1], verdict.rule == "accepted",
            self._bench.word(reason[0].parts[0]) if reason else "",
        )  # fmt: skip


def _scale_of(text: str, offset: int) -> float:
    if text.endswith("d"):
        raise BadPiece("a scale is a float32", offset, len(text), f"write {text[:-1]}")
    return float(number_of(text, offset))


def _zero_point_of(text: str, offset: int) -> int:
    return integer_of(text, *INT64, offset)
