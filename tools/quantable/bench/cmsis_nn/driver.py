"""A network of ours as a C program that calls CMSIS-NN, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quantable.adapters.c_compiler import TensorInfo
from quantable.backends.c.border import border
from quantable.bench.cmsis_nn.layers import LAYERS, Network
from quantable.ir import Graph, Operation, UnsupportedError

SCRATCH_BYTES = 65536
"""More than any layer of these networks asks for; the benchmark checks it."""
_BORDER = frozenset({"int.Quantize", "int.Dequantize"})
_LEFT_OUT = frozenset({"int.Softmax"})
"""At the end of a network: its cost is nothing beside the other layers', and ours is counted."""


@dataclass(frozen=True, slots=True)
class Driver:
    """The C files of a program, and what it needs.

    Attributes:
        model, header, weights: Texts of model.c, model.h and model_weights.c.
        inputs, outputs: Border tensors, signed bytes.
        result: Our value that the output stands for.
        step, zero_point: One of our steps in those of the output, and its zero.
        live_bytes: Most bytes of activations at any time, without the border tensors.
        steps: How many calls there are.
    """

    model: str
    header: str
    weights: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    result: str
    step: float
    zero_point: int
    live_bytes: int
    steps: int


def driver(graph: Graph) -> Driver:
    """Return the program for a planned network of one input and one output.

    Raises:
        UnsupportedError: It has an operation that `LAYERS` lacks.
    """
    edge = border(graph)
    if len(edge.inputs) != 1 or len(edge.outputs) != 1:
        raise UnsupportedError("expected one input and one output", where=f"graph '{graph.name}'")
    net = Network(graph)
    net.names[edge.inputs[0].value] = "in0"
    operations = [op for op in graph.operations if op.kind not in _BORDER]
    while operations and operations[-1].kind in _LEFT_OUT:
        operations.pop()
    for op in operations:
        if op.kind not in LAYERS:
            raise UnsupportedError(f"CMSIS-NN has no layer for {op.kind}", where=op.where())
        LAYERS[op.kind](net, op)
    result = operations[-1].outputs[0]
    step, zero = net.rows.get(result, (1.0, 0))
    kept = result if result in net.tensors else next(iter(net.tensors))
    return Driver(
        _model(net, net.names[result]), _header(), _weights(net),
        (_tensor("input", net.shape(edge.inputs[0].value)),),
        (_tensor("output", net.shape(result)),),
        result, step, zero, live_bytes(operations, net.tensors, kept), len(net.lines),
    )  # fmt: skip


def live_bytes(operations: list[Operation], sizes: Mapping[str, int], result: str) -> int:
    """Return the largest sum of bytes of values that an operation reads, writes or passes by.

    No program without layers in place takes less. The network's input and `result` do not count.
    """
    owner: dict[str, str] = {}
    last: dict[str, int] = {}
    for index, op in enumerate(operations):
        for name in op.inputs:
            if owner.get(name, name) in sizes:
                last[owner.get(name, name)] = index
        for name in op.outputs:
            if name not in sizes:  # a view
                owner[name] = owner.get(op.inputs[0], op.inputs[0])
    first = {n: i for i, op in enumerate(operations) for n in op.outputs if n in sizes}
    return max(
        sum(
            sizes[name]
            for name, begin in first.items()
            if name != result and begin <= index <= last.get(name, begin)
        )
        for index in range(len(operations))
    )


def _tensor(name: str, shape: tuple[int, ...]) -> TensorInfo:
    return TensorInfo(name, name, np.dtype(np.int8), shape, None, 0, -128, 127)


def _header() -> str:
    return (
        "#include <stdint.h>\n"
        "int cmsis_nn_run(const int8_t *input, int8_t *output);\n"
        "/* The most scratch that a layer asks for. */\n"
        "int32_t cmsis_nn_scratch(void);\n"
    )


def _weights(net: Network) -> str:
    return "\n".join(['#include "model_weights.h"', *net.weights]) + "\n"


def weights_header(weights: str) -> str:
    """Return model_weights.h: declarations of the definitions in model_weights.c."""
    lines = [line.split(" = ")[0] for line in weights.splitlines() if line.startswith("const ")]
    return "#include <stdint.h>\n" + "".join(f"extern {line};\n" for line in lines)


def _model(net: Network, result: str) -> str:
    """Return model.c; every call is a step that steps.h can count."""
    owned = {name: size for name, size in net.tensors.items() if net.names[name] != result}
    lines = ['#include "model.h"', '#include "model_weights.h"', "#include <arm_nnfunctions.h>"]
    lines += ["#ifndef QUANTABLE_STEP", "#define QUANTABLE_STEP(number, call) call", "#endif"]
    lines += ["static const int8_t *in0;", f"static int8_t *{result};"]
    lines += [f"static int8_t {net.names[name]}[{size}];" for name, size in owned.items()]
    lines += [f"static _Alignas(16) uint8_t scratch[{SCRATCH_BYTES}];", *net.lines]
    body = [f"  QUANTABLE_STEP({i + 1}, bad |= step_{i + 1}());" for i in range(len(net.lines))]
    lines += [
        "int cmsis_nn_run(const int8_t *input, int8_t *output) {",
        f"  int bad = 0;\n  in0 = input;\n  {result} = output;",
        *body,
        "  return -bad;",
        "}",
        "int32_t cmsis_nn_scratch(void) {\n  int32_t most = 0, size;",
        *(f"  size = scratch_{i + 1}();\n  most = size > most ? size : most;"
          for i in range(len(net.lines))),
        "  return most;\n}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
