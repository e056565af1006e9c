"""Random small networks from a grammar of layers: each is compiled, and validation must hold.

What the shared networks never meet, meets here: groups and dilations at once, asymmetric pads, a
Split whose parts come together again, products of two activations, channels that are all zero.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.printer
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.stages import STAGE
from quantable.driver.validate import validate
from quantable.ir import UnsupportedError

Floats = npt.NDArray[np.float32]
TARGETS = ("x86-vnni", "onnxruntime", "onnxruntime-int8")
REFUSED = ("a bias overflows its width", "the target multiplies accumulators by floats")
OPSETS = (13, 17, 22)
SAMPLES = 6


@dataclass
class Network:
    """A model under construction.

    Attributes:
        draw: Draws from a hypothesis strategy.
        random: Where weights come from.
        shape: That of the model's input.
    """

    draw: Callable[[st.SearchStrategy[Any]], Any]
    random: np.random.Generator
    shape: tuple[int, ...]
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    parameters: list[onnx.TensorProto] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    def pick(self, *options: Any) -> Any:
        """Choose one; the first is the simplest."""
        return self.draw(st.sampled_from(options))

    def constant(self, array: npt.ArrayLike, dtype: type = np.int64) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def weight(self, *shape: int) -> str:
        """Return weights, at times with a channel of zeros or of much larger numbers."""
        fan_in = max(1, int(np.prod(shape[1:])))
        values = self.random.normal(0, fan_in**-0.5, shape)
        values[self.random.integers(shape[0])] *= self.pick(1.0, 0.0, 20.0, 1e-3)
        return self.constant(values, np.float32)

    def bias(self, count: int) -> list[str]:
        """Return nothing, or a bias."""
        if self.pick(True, False):
            return [self.constant(self.random.normal(0, 0.3, count), np.float32)]
        return []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes_of(kind, 1, *inputs, **attributes)[0]

    def nodes_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        outputs = [f"t{len(self.nodes)}_{index}" for index in range(count)]
        self.nodes.append(
            helper.make_node(kind, inputs, outputs, f"{kind}_{len(self.nodes)}", **attributes)
        )
        return outputs

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape that ONNX infers."""
        if name == "input":
            return self.shape
        inferred = onnx.shape_inference.infer_shapes(self.model([name]), True, True, True)
        dims = inferred.graph.output[0].type.tensor_type.shape.dim
        return tuple(int(dim.dim_value) for dim in dims)

    def model(self, outputs: Sequence[str], typed: bool = False) -> onnx.ModelProto:
        shapes = {name: self.shape_of(name) if typed else None for name in outputs}
        kind = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info("input", kind, self.shape)],
            [helper.make_tensor_value_info(name, kind, shapes[name]) for name in outputs],
            self.parameters,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _window(net: Network, sizes: Sequence[int], dilated: bool) -> dict[str, list[int]]:
    """Return kernel, strides, pads and dilations that fit the sizes."""
    rank = len(sizes)
    begin = [net.pick(0, 1) for _ in range(rank)]
    end = [net.pick(0, 1) for _ in range(rank)]
    space = [size + b + e for size, b, e in zip(sizes, begin, end, strict=True)]
    kernel = [net.pick(*range(1 + (b or e), min(4, room) + 1) or [room])
              for b, e, room in zip(begin, end, space, strict=True)]  # fmt: skip
    found = {
        "kernel_shape": kernel,
        "strides": [net.pick(1, 2) for _ in range(rank)],
        "pads": [*begin, *end],
    }
    if dilated:
        fits = [(room - 1) // max(1, k - 1) for room, k in zip(space, kernel, strict=True)]
        found["dilations"] = [net.pick(*range(1, max(1, min(2, most)) + 1)) for most in fits]
    return found


def _conv(net: Network, x: str) -> str:
    channels, *sizes = net.shape_of(x)[1:]
    groups = net.pick(*(g for g in (1, 2, channels) if channels % g == 0))
    wide = groups * net.pick(1, 2, 3)
    window = _window(net, sizes, dilated=True)
    weight = net.weight(wide, channels // groups, *window["kernel_shape"])
    result = net.node("Conv", x, weight, *net.bias(wide), group=groups, **window)
    if net.pick(False, True):
        rows = [net.constant(net.random.uniform(0.5, 1.5, wide), np.float32) for _ in range(4)]
        result = net.node("BatchNormalization", result, *rows)
    return result


def _average_pool(net: Network, x: str) -> str:
    window = _window(net, net.shape_of(x)[2:], dilated=False)
    more = net.pick({}, {"count_include_pad": 1}, {"ceil_mode": _rounds_up(net)})
    return net.node("AveragePool", x, **window, **more)


def _max_pool(net: Network, x: str) -> str:
    window = _window(net, net.shape_of(x)[2:], dilated=True)
    if any(window["pads"]):  # a dilated window may see nothing but padding: minus infinity
        window["dilations"] = [1] * len(window["strides"])
    return net.node("MaxPool", x, **window, ceil_mode=net.pick(0, _rounds_up(net)))


def _rounds_up(net: Network) -> int:
    """Return a ceil_mode whose shapes ONNX infers as it defines them: right from opset 22 on."""
    return int(net.opset >= 22)


def _linear(net: Network, x: str) -> str:
    size, wide = net.shape_of(x)[-1], net.pick(1, 3, 8)
    result = net.node("MatMul", x, net.weight(size, wide))
    for bias in net.bias(wide):
        result = net.node("Add", *net.pick((result, bias), (bias, result)))
    return result


def _gemm(net: Network, x: str) -> str:
    size, wide, transposed = net.shape_of(x)[-1], net.pick(1, 5), net.pick(0, 1)
    weight = net.weight(*((wide, size) if transposed else (size, wide)))
    return net.node("Gemm", x, weight, *net.bias(wide), transB=transposed, alpha=net.pick(1.0, 0.5))


def _function(net: Network, x: str) -> str:
    kind = net.pick("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Elu", "Softplus", "Abs")
    return net.node(kind, x) if net.opset > 13 or kind != "HardSwish" else net.node("Relu", x)


def _clip(net: Network, x: str) -> str:
    low, high = net.pick((0.0, 6.0), (-0.5, 0.5), (0.25, 1.0))
    return net.node("Clip", x, net.constant(low, np.float32), net.constant(high, np.float32))


def _with_constant(net: Network, x: str) -> str:
    shape = net.shape_of(x)
    size = net.pick((), (shape[-1],), (shape[1], *(1,) * (len(shape) - 2)))
    constant = net.constant(net.random.normal(0, net.pick(1.0, 5.0), size), np.float32)
    return net.node(net.pick("Add", "Mul", "Sub"), *net.pick((x, constant), (constant, x)))


def _two_branches(net: Network, x: str) -> str:
    left, right = _branch(net, x), _branch(net, x)
    return net.node(net.pick("Add", "Mul", "Sub"), left, right)


def _branch(net: Network, x: str) -> str:
    """Return a tensor of the same shape, with a range of its own."""
    factor = net.pick(None, 0.1, -7.0)
    result = x if factor is None else net.node("Mul", x, net.constant(factor, np.float32))
    return net.pick(lambda: result, lambda: net.node("Relu", result),
                    lambda: net.node("Sigmoid", result))()  # fmt: skip


def _concat(net: Network, x: str) -> str:
    axis = net.pick(*range(1, len(net.shape_of(x))))
    return net.node("Concat", *(_branch(net, x) for _ in range(net.pick(2, 3))), axis=axis)


def _split(net: Network, x: str) -> str:
    axis = net.pick(*range(1, len(net.shape_of(x))))
    size = net.shape_of(x)[axis]
    if size < 2:
        return net.node("Relu", x)
    first = net.pick(*range(1, min(size, 4)))
    parts = net.nodes_of("Split", 2, x, net.constant([first, size - first]), axis=axis)
    parts[0] = _branch(net, parts[0])
    return net.node("Concat", *net.pick(parts, parts[::-1]), axis=axis)


def _slice(net: Network, x: str) -> str:
    axis = net.pick(*range(1, len(net.shape_of(x))))
    size = net.shape_of(x)[axis]
    begin, end, step = net.pick((0, size, 2), (size // 2, size, 1), (-1, -size - 1, -1))
    return net.node("Slice", x, *(net.constant([v]) for v in (begin, end, axis, step)))


def _gather(net: Network, x: str) -> str:
    axis = net.pick(*range(1, len(net.shape_of(x))))
    indices = net.random.integers(-net.shape_of(x)[axis], net.shape_of(x)[axis], net.pick(1, 3))
    return net.node("Gather", x, net.constant(indices), axis=axis)


def _pad(net: Network, x: str) -> str:
    rank = len(net.shape_of(x))
    pads = [0, *(net.pick(0, 1, 2) for _ in range(rank - 1))] * 2
    return net.node("Pad", x, net.constant(pads), net.constant(net.pick(0.0, 1.5), np.float32))


def _transpose(net: Network, x: str) -> str:
    rest = net.draw(st.permutations(range(1, len(net.shape_of(x)))))
    return net.node("Transpose", x, perm=[0, *rest])


def _attention(net: Network, x: str) -> str:
    """Softmax(a b^T) a, with a batch of its own on one side at times."""
    rank = len(net.shape_of(x))
    other = net.node("Transpose", _branch(net, x), perm=[*range(rank - 2), rank - 1, rank - 2])
    if rank == 4 and net.pick(False, True):
        other = net.node("Slice", other, net.constant([0]), net.constant([1]), net.constant([1]))
    scores = net.node("MatMul", x, other)
    if net.pick(True, False):
        scores = net.node("Softmax", scores, axis=-1)
    return net.node("MatMul", scores, _branch(net, x))


def _layer_norm(net: Network, x: str) -> str:
    if net.opset < 17:
        return net.node("Relu", x)
    size = net.shape_of(x)[-1]
    scale = net.constant(net.random.uniform(0.5, 1.5, size), np.float32)
    return net.node("LayerNormalization", x, scale, *net.bias(size), axis=-1)


def _reduce_mean(net: Network, x: str) -> str:
    axis, keep = net.pick(*range(1, len(net.shape_of(x)))), net.pick(1, 0)
    if net.opset < 18:
        return net.node("ReduceMean", x, axes=[axis], keepdims=keep)
    return net.node("ReduceMean", x, net.constant([axis]), keepdims=keep)


def _reshape(net: Network, x: str) -> str:
    shape = net.shape_of(x)
    new = net.pick([1, -1], [1, shape[-1], -1], [1, 1, shape[1], -1])
    return net.node("Reshape", x, net.constant(new))


LAYERS: dict[str, tuple[Sequence[int], Callable[[Network, str], str]]] = {
    "conv": ((3, 4), _conv),
    "function": ((2, 3, 4), _function),
    "clip": ((2, 3, 4), _clip),
    "average pool": ((3, 4), _average_pool),
    "max pool": ((3, 4), _max_pool),
    "global pool": ((3, 4), lambda net, x: net.node("GlobalAveragePool", x)),
    "linear": ((2, 3, 4), _linear),
    "gemm": ((2,), _gemm),
    "constant": ((2, 3, 4), _with_constant),
    "two branches": ((2, 3, 4), _two_branches),
    "concat": ((2, 3, 4), _concat),
    "split": ((2, 3, 4), _split),
    "slice": ((2, 3, 4), _slice),
    "gather": ((2, 3, 4), _gather),
    "pad": ((3, 4), _pad),
    "transpose": ((3, 4), _transpose),
    "attention": ((3, 4), _attention),
    "softmax": ((2, 3, 4), lambda net, x: net.node("Softmax", x, axis=-1)),
    "layer norm": ((2, 3, 4), _layer_norm),
    "mean": ((3, 4), _reduce_mean),
    "reshape": ((3, 4), _reshape),
}
"""By name: the ranks that a layer takes, and the layer."""


@dataclass(frozen=True)
class Example:
    """A network and inputs.

    Attributes:
        layers: What it is made of.
        model: The network.
        inputs: [SAMPLES, ...], float32.
    """

    layers: tuple[str, ...]
    model: onnx.ModelProto
    inputs: Floats

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Say to hypothesis what a person can read: the layers, and the model as text."""
        printer.text(f"{self.layers}\n{onnx.printer.to_text(self.model)}")


@st.composite
def examples(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Example:
    """Draw a network of one to six layers."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    shape = (1, *draw(st.sampled_from([(4, 7, 6), (3, 5, 5), (4, 9), (6, 8), (2, 1, 8)])))
    net = Network(draw, random, shape, draw(st.sampled_from(OPSETS)))
    x, outputs = "input", []
    for _ in range(draw(st.integers(1, 6))):
        rank = len(net.shape_of(x))
        name = net.pick(*(name for name, (ranks, _) in LAYERS.items() if rank in ranks))
        net.layers.append(name)
        x = LAYERS[name][1](net, x)
        if net.pick(False, False, False, False, True):
            outputs.append(x)
    outputs = [name for name in dict.fromkeys([*outputs, x]) if name != "input"]
    spread = draw(st.sampled_from([1.0, 30.0, 0.01]))
    inputs = random.normal(
        draw(st.sampled_from([0.0, 0.5])) * spread, spread, (SAMPLES, *shape[1:])
    )
    return Example(tuple(net.layers), net.model(outputs, typed=True), inputs.astype(np.float32))


def check(example: Example, target: str) -> None:
    """Compile and validate; where a claim does not hold, say which."""
    with tempfile.TemporaryDirectory() as scratch:
        path, build, data = Path(scratch) / "random.onnx", Path(scratch) / "build", example.inputs
        onnx.save(example.model, path)
        try:
            done = compile_model(path, build, target=target, calibration=Calibration(data))
        except UnsupportedError as error:
            if not any(reason in str(error) for reason in REFUSED):
                raise
            return
        claims = validate(build, data, flags=["-O1"])
        truth = _in_onnxruntime(path, data)
    assert [f"{claim.name}: {claim.found}" for claim in claims if not claim.held] == []
    graphs = dict(done.graphs)
    for stage in ("import", "canonicalize"):
        found = api.run(graphs[STAGE[stage].file], data)
        for name, expected in truth.items():
            error = np.abs(found[name] - expected).max()
            assert error <= 1e-4 * np.abs(expected).max(), (stage, name)
    if STAGE["lower"].file in graphs:
        integers, simulated = (api.run(graphs[STAGE[s].file], data) for s in ("lower", "refine"))
        for name, expected in simulated.items():
            error = np.linalg.norm(integers[name] - expected)
            limit = 0.5 if target == "c-power-of-two" else 0.1  # between its steps lie many ties
            assert error <= limit * np.linalg.norm(expected), (
                f"integers differ from simulation: {name}"
            )


def _in_onnxruntime(path: Path, inputs: Floats) -> dict[str, Floats]:
    """Return every output of the float model."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    results = [session.run(None, {"input": sample[None]}) for sample in inputs]
    return {
        n: np.concatenate(parts) for n, parts in zip(names, zip(*results, strict=True), strict=True)
    }


CHECKS = list(HealthCheck)
COMMON = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": CHECKS}


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=15, **COMMON)
@given(examples())
def test_random_networks_are_compiled_and_proven(target: str, example: Example) -> None:
    check(example, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=150, **COMMON)
@given(examples())
def test_many_random_networks_are_compiled_and_proven(target: str, example: Example) -> None:
    check(example, target)
