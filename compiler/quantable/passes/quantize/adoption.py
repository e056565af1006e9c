"""The state of adopting a model's quantizers: what is left of its operations, and their configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from quantable.ir import (
    BakedParameter,
    ContentRef,
    DType,
    Graph,
    GraphEditor,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
    Value,
    numerics,
)
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZE,
    QUANTIZERS,
    Quantizer,
    moves_elements,
    quantizer_of,
)
from quantable.passes.quantize.adopted_configs import AdoptedConfigs
from quantable.passes.quantize.grid_flow import with_derived_biases, with_overlaps
from quantable.passes.rewrite_limit import Rewrites
from quantable.passes.slot_editor import Slot

_FP32 = TensorQuantizationConfig()
_WITH_BIAS = ("Conv", "ConvTranspose", "quantable.Linear", "Gemm")


class Adoption:
    """Takes quantizers out of a float graph and keeps what they did as configs of slots.

    Attributes:
        remarks: (place, why a quantizer stays an operation).
    """

    def __init__(self, graph: Graph, platform: str) -> None:
        self.remarks: list[tuple[str, str]] = []
        self._graph = graph
        self._platform = platform
        self._editor = GraphEditor(graph)
        self._held: dict[Slot, TensorQuantizationConfig] = {}
        self._rows: dict[str, QuantizationParameters] = {}
        self._baked: dict[Slot, ContentRef] = {}
        self._places = {op.name: place for place, op in enumerate(graph.operations)}
        self._known = self._read()
        self._configs = AdoptedConfigs(graph, self._known)

    def _read(self) -> dict[str, Quantizer]:
        """Return what each quantizer does, by operation; remark on those that no config says."""
        known: dict[str, Quantizer] = {}
        for op in self._graph.operations:
            if op.kind in QUANTIZERS:
                found = quantizer_of(self._graph, op)
                if isinstance(found, str):
                    self._stays(op, found)
                else:
                    known[op.name] = found
        return known

    def _stays(self, op: Operation, reason: str) -> None:
        self.remarks.append((op.where(), f"stays an operation: {reason}"))

    # ---------------------------------------------------------------- activations

    def take_pairs(self, rewrites: Rewrites) -> None:
        """Make a row of every pair (precondition 1), in topological order."""
        for op in rewrites.over(self._editor, self._graph.operations):
            if (
                op.kind == QUANTIZE
                and op.name in self._known
                and op.name in self._editor.operations
            ):
                self._take_pair(self._editor.operations[op.name])
        for op in self._editor.operations.values():
            is_left = op.kind == DEQUANTIZE and op.name in self._known
            if is_left and op.inputs[0] not in self._editor.parameters:
                self._stays(op, "no QuantizeLinear of the same numbers makes its input")

    def _take_pair(self, op: Operation) -> None:
        source = op.inputs[0]
        if source in self._editor.parameters:
            self._stays(op, "it quantizes a constant")
            return
        alike = self._alike(op)
        ends = [end for one in alike for end in self._ends(one)]
        if not ends:
            self._stays(op, "no DequantizeLinear of the same numbers reads it")
            return
        maker = self._maker(source, alike)
        quantizer = self._known[op.name]
        place = f"{op.kind} '{'/'.join(op.sources) or op.name}'"
        for one in [*ends, *(one for one in alike if not self._others(one))]:
            self._editor.remove(one)
        if maker is not None:
            self._quantize_output(maker, source, [end.outputs[0] for end in ends], quantizer, place)
        else:
            self._quantize_readers(source, [end.outputs[0] for end in ends], quantizer, place)

    def _alike(self, op: Operation) -> list[Operation]:
        """Return the quantizers of the same tensor that do the same, `op` first."""
        key = self._known[op.name].key
        users = [user for user, _ in self._editor.uses(op.inputs[0]) if user.kind == QUANTIZE]
        others = [u for u in users if u.name in self._known and self._known[u.name].key == key]
        return list({one.name: one for one in (op, *others)}.values())

    def _ends(self, op: Operation) -> list[Operation]:
        """Return the DequantizeLinear of a pair."""
        key = self._known[op.name].key
        users = [user for user, _ in self._editor.uses(op.outputs[0]) if user.kind == DEQUANTIZE]
        return [u for u in users if u.name in self._known and self._known[u.name].key == key]

    def _others(self, op: Operation) -> bool:
        """Whether something besides the pair's ends reads the integers."""
        value, ends = op.outputs[0], {end.name for end in self._ends(op)}
        users = {user.name for user, _ in self._editor.uses(value)}
        return value in self._editor.outputs or bool(users - ends)

    def _maker(self, value: str, alike: list[Operation]) -> Slot | None:
        """Return the output slot that can quantize a tensor for all of its readers."""
        maker = self._editor.producer(value)
        if maker is None or maker.kind in QUANTIZERS or value in self._editor.outputs:
            return None
        slot = Slot(maker.name, "out", maker.outputs.index(value))
        readers = {user.name for user, _ in self._editor.uses(value)}
        if slot in self._held or maker.regions or readers != {one.name for one in alike}:
            return None
        return None if any(self._others(one) for one in alike) else slot

    def _quantize_output(
        self, slot: Slot, source: str, results: list[str], quantizer: Quantizer, place: str
    ) -> None:
        self._own(slot, quantizer, place, is_parameter=False)
        editor = self._editor
        outer = [name for name in results if name in editor.outputs]
        name = outer[0] if outer else min((source, *results), key=lambda text: (len(text), text))
        maker = editor.operations[slot.operation]
        editor.replace(
            replace(maker, outputs=tuple(name if n == source else n for n in maker.outputs))
        )
        for result in (source, *results):
            if result != name and result not in outer:
                editor.replace_uses(result, name)
        for result in outer[1:]:
            editor.add_operation(f"{result}.copy", "Identity", (name,), (result,))
            editor.replace(editor.operations[maker.name])

    def _quantize_readers(
        self, source: str, results: list[str], quantizer: Quantizer, place: str
    ) -> None:
        slots = []
        for result in results:
            uses = self._editor.uses(result)
            if result in self._editor.outputs or not all(map(_can_hold, (op for op, _ in uses))):
                made = self._editor.add_operation(
                    f"{result}.quantize", "Identity", (source,), (result,)
                )
                self._own(Slot(made.name, "out", 0), quantizer, place, is_parameter=False)
                continue
            slots += [Slot(op.name, "in", index) for op, index in uses]
        row = ""
        for slot in self._in_order(slots):
            self._rewire(slot, source)
            if row:
                held = self._configs.of(quantizer, is_parameter=False)
                self._held[slot] = held.moved(State.PASSIVE_INIT).sharing(self._rows[row])
            else:
                row = self._own(slot, quantizer, place, is_parameter=False)

    def _in_order(self, slots: Sequence[Slot]) -> list[Slot]:
        """Return slots by their operation's place in the graph, however many pairs feed them.

        The first one names the row: a graph that was written with one pair for all of them and
        read again must name it alike.
        """
        last = len(self._places)  # of operations that this pass makes
        return sorted(slots, key=lambda s: (self._places.get(s.operation, last), s.index))

    def _rewire(self, slot: Slot, value: str) -> None:
        op = self._editor.operations[slot.operation]
        inputs = (*op.inputs[: slot.index], value, *op.inputs[slot.index + 1 :])
        self._editor.replace(replace(op, inputs=inputs))

    def _own(self, slot: Slot, quantizer: Quantizer, place: str, *, is_parameter: bool) -> str:
        """Give a slot a row of its own; return the row's id."""
        row = QuantizationParameters(_row_id(slot))
        text = f"adopt-quantizers: {place}"
        self._rows[row.id] = row.filled(quantizer.scale, quantizer.zero_point, text)
        config = self._configs.of(quantizer, is_parameter=is_parameter)
        self._held[slot] = replace(config, state=State.ACTIVATED, relation=Relation.OWN, row=row.id)
        return row.id

    def move_rows(self, *, is_all: bool) -> None:
        """Quantize in front of what only moves elements, or behind it (precondition 3).

        Rounding is monotone and leaves zero as it is, so that the results are the same.

        Args:
            is_all: Whether every operation is quantized, movement of a graph's inputs included.
        """
        for op in reversed(self._editor.finish().operations):
            slot = Slot(op.name, "out", 0)
            config = self._held.get(slot)
            is_moved = moves_elements(self._editor, op) and len(op.outputs) == 1
            is_moved = is_moved and op.kind != "Identity"  # those that this pass makes stay
            if config is None or config.policy.has_axis or not is_moved:
                continue
            place = self._place_in_front(op)
            if place is None:
                continue
            if is_all or place.side == "out":
                self._move(slot, [place])
            else:
                self._move(slot, self._readers(op))

    def _move(self, slot: Slot, places: list[Slot]) -> None:
        """Let other slots quantize in place of one; the first one owns the row."""
        if not places or any(place in self._held for place in places):
            return
        config = self._held.pop(slot)
        row = replace(self._rows.pop(config.row), id=_row_id(places[0]))
        self._rows[row.id] = row
        self._held[places[0]] = replace(config, row=row.id)
        for place in places[1:]:
            self._held[place] = replace(
                config, state=State.PASSIVE, relation=Relation.SHARED, row=row.id
            )

    def _readers(self, op: Operation) -> list[Slot]:
        """Return the slots that read a movement; none where one of them holds no config."""
        value, uses = op.outputs[0], self._editor.uses(op.outputs[0])
        if value in self._editor.outputs or not all(_can_hold(user) for user, _ in uses):
            return []
        return self._in_order([Slot(user.name, "in", index) for user, index in uses])

    def _place_in_front(self, op: Operation) -> Slot | None:
        """Return the slot in front of a movement that can quantize instead of its output."""
        source, inner = op.inputs[0], Slot(op.name, "in", 0)
        maker = self._editor.producer(source)
        if inner in self._held or source in self._editor.parameters:
            return None
        if maker is None:
            return inner
        outer = Slot(maker.name, "out", maker.outputs.index(source))
        if outer in self._held or not _can_hold(maker):
            return None
        is_shared = source in self._editor.outputs or len(self._editor.uses(source)) > 1
        return inner if is_shared else outer

    # ---------------------------------------------------------------- parameters

    def take_parameters(self, rewrites: Rewrites) -> None:
        """Bake the integers behind every DequantizeLinear of a constant (precondition 2)."""
        for op in rewrites.over(self._editor, self._graph.operations):
            current = self._editor.operations.get(op.name)
            if current is None or op.kind != DEQUANTIZE or op.name not in self._known:
                continue
            if current.inputs[0] in self._editor.parameters:
                self._take_parameter(current, self._known[op.name])

    def _take_parameter(self, op: Operation, quantizer: Quantizer) -> None:
        editor, value = self._editor, op.outputs[0]
        uses = editor.uses(value)
        slots = [Slot(user.name, "in", index) for user, index in uses]
        if any(slot in self._held for slot in slots):
            self._stays(op, "what it makes is quantized again")
            return
        if value in editor.outputs or not all(map(_can_hold, (user for user, _ in uses))):
            self._stays(op, "an output of the graph, a region or a quantizer reads it")
            return
        stored = editor.parameters[op.inputs[0]]
        place = f"{op.kind} '{'/'.join(op.sources) or op.name}'"
        name = self._parameter_name(op)
        editor.remove(op)
        for slot in slots:
            row = self._own(slot, quantizer, place, is_parameter=True)
            config = self._configs.narrowed(self._held[slot], editor.store.get(stored))
            self._held[slot] = replace(config, state=State.BAKED)
            real = numerics.dequantize(editor.store.get(stored), config, self._rows[row])
            if name in editor.parameters:  # every reader gets a parameter of its own
                name = editor.fresh_name(name)
            editor.values[name] = Value(name, DType.FLOAT32, real.shape)
            editor.parameters[name] = editor.store.put(real)
            self._rewire(slot, name)
            self._baked[slot] = stored

    def _parameter_name(self, op: Operation) -> str:
        """Return what the real numbers are called: what tools make names of integers from."""
        stem = op.inputs[0].removesuffix("_quantized")
        is_free = stem != op.inputs[0] and stem not in self._editor.values
        return self._editor.fresh_name(stem) if is_free else op.outputs[0]

    # ---------------------------------------------------------------- the graph

    def finish(self, *, is_all: bool) -> Graph:
        """Return the graph with the configs; level and target are the caller's.

        Args:
            is_all: Whether every operation becomes quantable, which then reads the rows of those
                that make its inputs, whatever the model says of its output.
        """
        graph = self._editor.finish()
        held: dict[str, dict[Slot, TensorQuantizationConfig]] = {}
        for slot, config in self._held.items():
            held.setdefault(slot.operation, {})[slot] = config
        operations = tuple(
            self._configured(graph, op, held.get(op.name)) for op in graph.operations
        )
        made = replace(graph, operations=operations, rows=self._rows)
        return with_derived_biases(with_overlaps(made, self._platform, is_all=is_all), _WITH_BIAS)

    def _configured(
        self, graph: Graph, op: Operation, slots: Mapping[Slot, TensorQuantizationConfig] | None
    ) -> Operation:
        if not slots:
            return op
        sides = [
            tuple(slots.get(Slot(op.name, side, index), _FP32) for index in range(len(names)))
            for side, names in (("in", op.inputs), ("out", op.outputs))
        ]
        config = OperationQuantizationConfig(*sides)
        made = QuantableOperation.create(op, config, self._platform, graph.parameters)
        baked = tuple(
            BakedParameter(slot.index, self._baked[slot], self._rows[held.row].digest)
            for slot, held in sorted(slots.items(), key=lambda item: item[0].index)
            if slot in self._baked
        )
        return replace(made, baked=baked)


def _row_id(slot: Slot) -> str:
    return f"{slot.operation}.{slot.side}{slot.index}"


def _can_hold(op: Operation) -> bool:
    """Whether configs of an operation's slots can say what happens to its operands."""
    return op.kind not in QUANTIZERS and not op.regions
