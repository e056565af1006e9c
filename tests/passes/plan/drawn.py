"""Random integer networks of pixels, channels last, and what follows their plans byte by byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from quantable.ir import (
    Attribute,
    DType,
    Graph,
    GraphEditor,
    Level,
    MemoryPlan,
    Operation,
    Stream,
    verify,
)
from quantable.ir.memory_check import border_values
from quantable.ir.streaming import is_streamable
from quantable.passes.plan.arena import place
from quantable.passes.plan.storage import arena_buffers
from quantable.passes.plan.streams import make_stream

OUT = {"y_zero_point": 3, "clamp_min": 0, "clamp_max": 255}
U8 = DType.UINT8


class Net:
    """An integer network in the making."""

    u8 = U8

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.editor = GraphEditor(Graph("drawn", Level.INTEGER, 21))

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(dim) for dim in self.editor.values[name].shape or ())

    def add(self, kind: str, inputs: Sequence[str], shape: Sequence[int], **more: Attribute) -> str:
        name = self.editor.add_value(f"v{len(self.editor.operations)}", U8, tuple(shape))
        self.editor.add_operation(f"op{name}", kind, inputs, [name], more)
        return name

    def constant(self, name: str, array: object, dtype: DType) -> str:
        return self.editor.add_parameter(f"{name}{len(self.editor.parameters)}", array, dtype)

    def window(self, x: str, kind: str, channels: int) -> str | None:
        """Add a convolution or pool with a random window; None where it does not fit."""
        kernel, strides = ([int(self.random.choice(c, p=p)) for _ in "hw"] for c, p in (
            ([1, 2, 3, 5], [0.3, 0.1, 0.5, 0.1]), ([1, 2, 3], [0.6, 0.3, 0.1])))  # fmt: skip
        dilations = [int(self.random.choice([1, 2], p=[0.85, 0.15])) for _ in "hw"]
        if kind != "int.Conv":  # every window of a pool reaches the input
            dilations = [1, 1]
        pads = [int(self.random.integers(0, k if kind == "int.Conv" else (k + 1) // 2))
                for k in (*kernel, *kernel)]  # fmt: skip
        return self.windowed(x, kind, channels, kernel, strides, pads, dilations)

    def windowed(
        self, x: str, kind: str, channels: int, kernel: Sequence[int], strides: Sequence[int],
        pads: Sequence[int], dilations: Sequence[int] = (1, 1),
    ) -> str | None:  # fmt: skip
        """Add a convolution (0 channels: depthwise) or pool; None where it does not fit."""
        n, height, width, depth = self.shape(x)
        axes = zip((height, width), pads[:2], pads[2:], dilations, kernel, strides, strict=True)
        out = [(s + a + b - d * (k - 1) - 1) // step + 1 for s, a, b, d, k, step in axes]
        if min(out) < 1:
            return None
        more: dict[str, Attribute] = {
            "kernel_shape": tuple(kernel), "strides": tuple(strides), "pads": tuple(pads),
            "dilations": tuple(dilations), "layout": "NHWC",
        }  # fmt: skip
        if kind == "int.MaxPool":
            return self.add(kind, [x], (n, *out, depth), **more)
        if kind == "int.AveragePool":
            multiplier = self.constant("m", np.full(math.prod(kernel), 0.2), DType.FLOAT32)
            more |= {"x_zero_point": 3, "count_include_pad": 0, **OUT}
            return self.add(kind, [x, multiplier], (n, *out, depth), **more)
        group = depth if channels == 0 else 1
        made = depth if channels == 0 else channels
        weight = self.random.integers(-20, 20, (made, depth // group, *kernel))
        operands = [
            x,
            self.constant("w", weight, DType.INT8),
            self.constant("b", self.random.integers(-999, 999, made), DType.INT32),
            self.constant("m", self.random.uniform(0.005, 0.05, made), DType.FLOAT32),
        ]
        return self.add(kind, operands, (n, *out, made), x_zero_point=3, group=group, **more, **OUT)

    def sum(self, a: str, b: str) -> str:
        """Add a sum of two values of one shape."""
        factors = {"a_multiplier": 16384, "b_multiplier": 9000, "multiplier": 2.0**-15}
        zeros = {"a_zero_point": 3, "b_zero_point": 5}
        return self.add("int.Add", [a, b], self.shape(a), **zeros, **factors, **OUT)

    def table(self, x: str) -> str:
        """Add a random function of one byte."""
        table = self.constant("t", self.random.permutation(256), U8)
        return self.add("int.Table", [x, table], self.shape(x))

    def grow(self, x: str, makers: Sequence[str]) -> list[str]:
        """Add one operation behind each value in turn, sums with earlier values of one shape."""
        values = [x]
        for maker in makers:
            source = values[-1] if self.random.random() < 0.8 else str(self.random.choice(values))
            made: str | None
            if maker == "sum":
                fitting = [v for v in values if self.shape(v) == self.shape(source)]
                made = self.sum(source, str(self.random.choice(fitting)))
            elif maker == "rescale":
                made = self.add("int.Requantize", [source], self.shape(source), x_zero_point=3,
                                multiplier=0.75, **OUT)  # fmt: skip
            elif maker == "table":
                made = self.table(source)
            else:
                channels = 0 if maker == "depthwise" else int(self.random.integers(1, 9))
                kind = {"max": "int.MaxPool", "mean": "int.AveragePool"}.get(maker, "int.Conv")
                made = self.window(source, kind, channels)
            if made is not None:
                values.append(made)
        return values


MAKERS = ("conv", "conv", "conv", "depthwise", "sum", "sum", "rescale", "table", "max", "mean")


@st.composite
def networks(draw: st.DrawFn, largest: int = 12) -> Graph:
    """Networks of one input of pixels; all values that nobody reads are outputs."""
    net = Net(draw(st.integers(0, 2**32 - 1)))
    size = [draw(st.integers(2, 14)), draw(st.integers(1, 9)), draw(st.integers(1, 6))]
    x = net.editor.add_value("x", U8, (1, *size))
    net.editor.inputs.append(x)
    makers = draw(st.lists(st.sampled_from(MAKERS), min_size=2, max_size=largest))
    values = net.grow(x, makers)
    read = {name for op in net.editor.operations.values() for name in op.inputs}
    net.editor.outputs.extend(v for v in values[1:] if v not in read)
    if not net.editor.outputs:
        net.editor.outputs.append(net.add("int.Requantize", [x], net.shape(x), x_zero_point=3,
                                          multiplier=0.75, **OUT))  # fmt: skip
    graph = net.editor.finish()
    verify(graph)
    return graph


def chain(count: int) -> Graph:
    """Return a network of so many convolutions of 3 x 3 on 8 x 4 pixels, one behind the other."""
    net = Net(3)
    last = net.editor.add_value("x", U8, (1, 8, 4, 4))
    net.editor.inputs.append(last)
    for _ in range(count):
        last = net.windowed(last, "int.Conv", 4, (3, 3), (1, 1), (1, 1, 1, 1)) or ""
    net.editor.outputs.append(last)
    return net.editor.finish()


def block() -> Graph:
    """Return a network with a sum around a depthwise convolution, strides, pools and a table."""
    net = Net(5)
    x = net.editor.add_value("x", U8, (1, 13, 7, 3))
    net.editor.inputs.append(x)
    a = net.windowed(x, "int.Conv", 6, (3, 3), (1, 1), (1, 1, 1, 1)) or ""
    b = net.windowed(a, "int.Conv", 0, (3, 3), (1, 1), (1, 1, 1, 1)) or ""
    c = net.windowed(b, "int.Conv", 6, (1, 1), (1, 1), (0, 0, 0, 0)) or ""
    d = net.windowed(net.sum(a, c), "int.MaxPool", 0, (3, 3), (2, 2), (1, 1, 1, 1)) or ""
    e = net.windowed(net.table(d), "int.Conv", 5, (3, 2), (2, 1), (1, 0, 1, 0)) or ""
    f = net.windowed(e, "int.AveragePool", 0, (2, 2), (1, 1), (0, 0, 0, 0)) or ""
    net.editor.outputs.append(f)
    return net.editor.finish()


@st.composite
def streamed(draw: st.DrawFn) -> Graph:
    """Networks cut into streams at random, whether that helps or not, and placed."""
    graph = draw(networks())
    border, streams, at = border_values(graph), [], 0
    while at < len(graph.operations):
        end = at + draw(st.integers(1, 5))
        part = graph.operations[at:end]
        if len(part) > 1 and all(is_streamable(graph, op) for op in part):
            made = make_stream(
                graph, part, draw(st.integers(1, 4)), border, draw(st.integers(1, 3))
            )
            streams += [made] if made else []
        at = end
    return placed(graph, streams)


def placed(graph: Graph, streams: Sequence[Stream]) -> Graph:
    """Return a graph whose activations are placed for some streams."""
    buffers = arena_buffers(graph, graph.operations, streams=streams, is_ordered=True)
    size, offsets = place(buffers, 16, nodes=200)
    places = {n: o for b, o in zip(buffers, offsets, strict=True) for n in b.values}
    return with_plan(graph, MemoryPlan(size, 16, places, True, tuple(streams)))


class Follower:
    """Runs a plan on labels in place of numbers: who wrote each byte of the arena, and which one.

    It knows what `quantable.ir.memory_plan` says and no code of the planner or the verifier. Every
    pixel is written first and what it needs is looked for afterwards, as a kernel that stores early
    would; elementwise operations read first.
    """

    def __init__(self, graph: Graph) -> None:
        assert graph.plan is not None
        self.graph, self.plan = graph, graph.plan
        border = border_values(graph)
        self.offsets = {n: o for n, o in self.plan.offsets.items() if n not in border}
        self.rings = {n: r for s in self.plan.streams for n, r in s.rings.items()}
        self.names = {name: i + 1 for i, name in enumerate(graph.values)}
        self.owner = np.zeros(self.plan.arena_bytes, np.int64)
        self.number = np.zeros(self.plan.arena_bytes, np.int64)

    def run(self) -> None:
        """Raise AssertionError where an operation does not find what it needs."""
        streams = {name: s for s in self.plan.streams for name in s.operations}
        for op in self.graph.operations:
            if op.name not in streams:
                self._rows(op, 0, self._shape(op.outputs[0])[1])
            elif op.name == streams[op.name].operations[0]:
                self._stream(streams[op.name])

    def _stream(self, stream: Stream) -> None:
        operations = [op for op in self.graph.operations if op.name in stream.operations]
        heights = {op.name: self._shape(op.outputs[0])[1] for op in operations}
        done = dict.fromkeys(heights, 0)
        last = operations[-1]
        while done[last.name] < heights[last.name]:
            goal = {last.name: min(done[last.name] + stream.rows, heights[last.name])}
            is_end = goal[last.name] == heights[last.name]
            for op in reversed(operations[:-1]):
                needs = [
                    self._end_of(reader, goal[reader.name] - 1) for reader in operations
                    if op.outputs[0] in reader.inputs and goal[reader.name]
                ]  # fmt: skip
                goal[op.name] = max(needs, default=0)
                if is_end and op.outputs[0] not in stream.rings:
                    goal[op.name] = heights[op.name]
            for op in operations:
                self._rows(op, done[op.name], max(goal[op.name], done[op.name]))
                done[op.name] = max(goal[op.name], done[op.name])

    def _end_of(self, op: Operation, row: int) -> int:
        """Return where the window of a row ends, cut off at the borders of the input."""
        if op.kind != "int.Conv" and "Pool" not in op.kind:
            return row + 1
        kernel, stride = op.ints_attribute("kernel_shape")[0], op.ints_attribute("strides")[0]
        reach = (kernel - 1) * op.ints_attribute("dilations")[0]
        end = row * stride - op.ints_attribute("pads")[0] + reach + 1
        return max(0, min(end, self._shape(op.inputs[0])[1]))

    def _window(self, op: Operation, position: int, axis: int) -> list[int]:
        """Return the positions of the input that an output position needs along an axis."""
        if op.kind != "int.Conv" and "Pool" not in op.kind:
            return [position]
        kernel, stride, dilation, pad = (
            op.ints_attribute(name)[axis]
            for name in ("kernel_shape", "strides", "dilations", "pads")
        )
        size = self._shape(op.inputs[0])[1 + axis]
        found = [position * stride - pad + k * dilation for k in range(kernel)]
        return [place for place in found if 0 <= place < size]

    def _rows(self, op: Operation, first: int, end: int) -> None:
        width = self._shape(op.outputs[0])[2]
        pixels = [(row, column) for row in range(first, end) for column in range(width)]
        if op.kind == "int.Conv" or "Pool" in op.kind:
            for pixel in pixels:
                self._write(op.outputs[0], *pixel)
                self._look_around(op, *pixel)
            return
        held = self.owner.copy(), self.number.copy()
        for order in (pixels, pixels[::-1]):  # threads may share it: any order has to do
            self.owner[:], self.number[:] = held
            for pixel in order:
                self._look_around(op, *pixel)
                self._write(op.outputs[0], *pixel)

    def _look_around(self, op: Operation, row: int, column: int) -> None:
        for name in op.inputs:
            if name in self.offsets:
                for i in self._window(op, row, 0):
                    for j in self._window(op, column, 1):
                        self._look(name, i, j)

    def _place(self, name: str, row: int, column: int) -> tuple[slice, np.ndarray]:
        _, _, width, depth = self._shape(name)
        ring = self.rings.get(name)
        there = (row + ring.phase) % ring.rows if ring else row
        start = self.offsets[name] + (there * width + column) * depth
        return slice(start, start + depth), (row * width + column) * depth + np.arange(depth)

    def _write(self, name: str, row: int, column: int) -> None:
        if name in self.offsets:
            place, numbers = self._place(name, row, column)
            assert place.stop <= self.owner.size, f"{name} leaves the arena"
            self.owner[place], self.number[place] = self.names[name], numbers

    def _look(self, name: str, row: int, column: int) -> None:
        place, numbers = self._place(name, row, column)
        found = (self.owner[place] == self.names[name]) & (self.number[place] == numbers)
        assert found.all(), f"pixel {row}, {column} of {name} is not there"

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(dim) for dim in self.graph.values[name].shape or ())


def followed(graph: Graph) -> bool:
    """Whether every operation of a planned graph finds what it needs."""
    try:
        Follower(graph).run()
    except AssertionError:
        return False
    return True


def with_plan(graph: Graph, plan: MemoryPlan) -> Graph:
    """Return a graph at the planned level."""
    return replace(graph, level=Level.PLANNED, plan=plan)
