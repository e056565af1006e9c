"""Measure `quantable.backends.c.costs`: ``python -m quantable.bench.kernel_costs``.

Networks of one layer are compiled for c-portable with an input 0 of 8 and of 16 bits, and run. What
is shown is processor time a product, in hundredths of that of an 8-bit Conv.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from time import process_time

import numpy as np

from quantable.adapters.c_compiler import CompiledModel
from quantable.driver import api
from quantable.driver.mixed_precision.items import items_of
from quantable.driver.pipelines import with_dispatch
from quantable.ir import Attribute, ContentStore, DType, Graph, Level, Operation, Value
from quantable.targets.description import load_target

TARGET = "c-portable"
SCHEMES = {8: "activation", 16: "wide"}
_SHAPES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "Conv": ("Conv", (1, 32, 28, 28), (32, 32, 3, 3)),
    "depthwise Conv": ("Conv", (1, 128, 28, 28), (128, 1, 3, 3)),
    "ConvTranspose": ("ConvTranspose", (1, 32, 14, 14), (32, 32, 3, 3)),
    "quantable.Linear": ("quantable.Linear", (64, 512), (512, 256)),
    "MatMul": ("MatMul", (4, 64, 64), (4, 64, 64)),
}
"""By row of the table: operation, shape of input 0, shape of the weight or of input 1."""


def layer(name: str) -> Graph:
    """Return a float network of one layer."""
    kind, shape, other = _SHAPES[name]
    generator = np.random.Generator(np.random.Philox(7))
    store = ContentStore()
    inputs = ["x"]
    values = {"x": Value("x", DType.FLOAT32, shape), "y": Value("y", DType.FLOAT32, None)}
    values["w"] = Value("w", DType.FLOAT32, other)
    held = {}
    if kind == "MatMul":
        inputs.append("w")
    else:
        held["w"] = store.put((generator.standard_normal(other) / 64).astype(np.float32))
    attributes: dict[str, Attribute] = {}
    if kind == "Conv":
        group = shape[1] // other[1]
        attributes = {
            "kernel_shape": other[2:], "pads": (1, 1, 1, 1), "strides": (1, 1), "group": group,
        }  # fmt: skip
    if kind == "ConvTranspose":
        attributes = {"kernel_shape": other[2:], "pads": (1, 1, 1, 1), "strides": (2, 2)}
    op = Operation("y", kind, ("x", "w"), ("y",), attributes)
    graph = Graph(
        name.replace(" ", "-"), Level.FLOAT, 21, tuple(inputs), ("y",), values, (op,), held,
        store=store,
    )  # fmt: skip
    return api.canonicalize(graph)


def seconds_a_product(name: str, bits: int, runs: int) -> float:
    """Return the processor time of a layer with an input of so many bits, for each product."""
    graph, target = layer(name), load_target(TARGET)
    generator = np.random.Generator(np.random.Philox(8))
    kind, first, second = _SHAPES[name]
    shapes = {"x": first, "w": second} if kind == "MatMul" else {"x": first}
    samples = [
        {n: generator.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}
        for _ in range(4)
    ]
    profile = api.observe(graph, samples, threads=1)
    quantized = api.quantize(
        graph, TARGET, passes=with_dispatch("quantize", schemes=[f"y.in0={SCHEMES[bits]}"])
    )
    done = api.refine(api.calibrate(quantized, profile))
    with tempfile.TemporaryDirectory() as folder:
        api.emit(api.lower(done), folder)
        model = CompiledModel(folder)
    fed = {t.value: t.quantize(samples[0][t.name])[None].repeat(8, axis=0) for t in model.inputs}
    items = items_of(quantized, target)
    return _least(lambda: model.run(fed), runs) / (8 * items[0].products)


def _least(work: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = process_time()
        work()
        times.append(process_time() - start)
    return min(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every row and print the table as JSON."""
    parser = argparse.ArgumentParser(prog="python -m quantable.bench.kernel_costs")
    parser.add_argument("--runs", type=int, default=15, help="the shortest of so many counts")
    runs = parser.parse_args(arguments).runs
    found = {(name, bits): seconds_a_product(name, bits, runs)
             for name in _SHAPES for bits in SCHEMES}  # fmt: skip
    unit = found["Conv", 8] / 100
    rows = {f"{name}, {bits}": round(time / unit) for (name, bits), time in found.items()}
    sys.stdout.write(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
