"""A small notation for graphs, the one that the docstrings of the passes use.

    x: f32[N,4]; w: f32[2] = [1, 2]; v: f32[3,3] = random
    y = Add(x, w) {axis=1 mode="a" pads=[0,0]}
    return y

A name with a type is an input, or a parameter where it has contents. An empty operand is `_`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import ContentStore, DType, Graph, Operation, Shape, Value, verify
from quantable.ir.operation import Attribute
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.shapes.inference import infer
from quantable.passes.registry import pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime
from quantable.training import ReferenceLaboratory

_DECLARATION = re.compile(r"(\S+): (\w+)\[(.*?)\](?: = (.+))?$")
_OPERATION = re.compile(r"(\S.*?) = ([\w.]+)\((.*?)\)(?: \{(.*)\})?$")
_ATTRIBUTE = re.compile(r"(\w+)=(\[.*?\]|\"[^\"]*\"|\S+)")
_OPSET = 21


def parse_graph(text: str) -> Graph:
    """Read a graph; shapes of what operations make are inferred."""
    store = ContentStore()
    values: dict[str, Value] = {}
    parameters, inputs, operations = {}, [], []
    outputs: tuple[str, ...] = ()
    for line in text.strip().splitlines():
        line = line.strip()
        if line.startswith("return "):
            outputs = tuple(line.removeprefix("return ").split(", "))
        elif found := _OPERATION.match(line):
            operations.append(_operation(found))
        else:
            for item in line.split("; "):
                name, dtype, shape, contents = _declared(item)
                values[name] = Value(name, dtype, shape)
                if contents is None:
                    inputs.append(name)
                else:
                    parameters[name] = store.put(contents, dtype)
    for op in operations:
        values.update({n: Value(n, DType.FLOAT32) for n in op.outputs if n})
    graph = Graph(
        "example", opset=_OPSET, inputs=tuple(inputs), outputs=outputs, values=values,
        operations=tuple(operations), parameters=parameters, store=store,
    )  # fmt: skip
    verify(graph)
    return infer(graph).graph


def _declared(item: str) -> tuple[str, DType, Shape, npt.NDArray[np.generic] | None]:
    found = _DECLARATION.match(item)
    assert found, f"cannot read '{item}'"
    name, dtype, shape, contents = found.groups()
    kind = DType(dtype)
    dims = tuple(int(d) if d.isdecimal() else d for d in shape.split(",") if d)
    if contents is None:
        return name, kind, dims, None
    numbers = [int(d) for d in dims]
    if contents == "random":
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return name, kind, dims, rng.standard_normal(numbers).astype(kind.numpy)
    return name, kind, dims, np.array(json.loads(contents), kind.numpy).reshape(numbers)


def _operation(found: re.Match[str]) -> Operation:
    outputs, kind, inputs, attributes = found.groups()
    names = tuple("" if n == "_" else n for n in inputs.split(", ") if n)
    made = tuple(outputs.split(", "))
    given = {k: _attribute(v) for k, v in _ATTRIBUTE.findall(attributes or "")}
    return Operation(made[0], kind, names, made, given, (f"node of {made[0]}",))


def _attribute(text: str) -> Attribute:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Outcome:
    """What a pass made of a graph."""

    before: Graph
    after: Graph
    context: PassContext


JUDGED = frozenset({
    "equalize-by-trial", "equalize-activations", "split-channels", "split-layers",
    "factorize-matrices",
})  # fmt: skip
"""Passes that cannot do without a judge."""


def spread(graph: Graph) -> float:
    """Judge by how far the sizes of the elements of each parameter lie apart.

    It is what one scale for a whole tensor suffers from; operations are not free either.
    """
    total = 0.2 * len(graph.operations)
    for name in graph.parameters:
        sizes = np.abs(graph.array(name))
        if graph.values[name].dtype.is_float and sizes.any():
            total += float(np.log(sizes.max() / sizes[sizes > 0].min()) ** 2)
    return total


def random_laboratory(graph: Graph, count: int = 8) -> ReferenceLaboratory:
    """Return random samples for a graph; symbols are bound to 1."""
    rng = np.random.default_rng(7)
    samples = []
    for _ in range(count):
        dims = {
            name: [d if isinstance(d, int) else 1 for d in graph.values[name].shape or ()]
            for name in graph.inputs
        }
        samples.append({
            name: (rng.standard_normal(shape) * 3).astype(np.float32)
            for name, shape in dims.items()
        })  # fmt: skip
    return ReferenceLaboratory(samples)


def apply(name: str, graph: Graph) -> Outcome:
    """Run a pass by name, with the reference runtime as executor, and what else it needs."""
    context = PassContext(executor=FloatExecutor(_OPSET))
    if name in JUDGED:
        context.laboratory, context.judge = random_laboratory(graph), spread
    return Outcome(graph, run_pass(graph, pass_class(name)(), context), context)


def assert_same(found: Graph, expected: Graph) -> None:
    """Compare operations, parameters and borders; sources do not count."""
    strip = [replace(op, name="", sources=()) for op in found.operations]
    assert strip == [replace(op, name="", sources=()) for op in expected.operations]
    assert dict(found.values) == dict(expected.values)
    assert (found.inputs, found.outputs) == (expected.inputs, expected.outputs)
    assert set(found.parameters) == set(expected.parameters)
    for name in expected.parameters:
        np.testing.assert_allclose(found.array(name), expected.array(name), rtol=1e-6)


def assert_equal_results(before: Graph, after: Graph, tolerance: float = 2e-6) -> None:
    """Run both graphs on the same random inputs; symbols are bound to 2."""
    rng = np.random.default_rng(5)
    fed = {}
    for name in before.inputs:
        shape = after.values[name].shape
        assert shape is not None
        dims = [d if isinstance(d, int) else 2 for d in shape]
        fed[name] = (rng.standard_normal(dims) * 3).astype(before.values[name].dtype.numpy)
    expected, found = ReferenceRuntime(before).run(fed), ReferenceRuntime(after).run(fed)
    for name in before.outputs:
        scale = max(float(np.abs(expected[name]).max()), 1e-6)
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance * scale, rtol=0)


@pytest.fixture
def parse() -> Callable[[str], Graph]:
    return parse_graph


@pytest.fixture
def rewrite() -> Callable[[str, str], Outcome]:
    """Run a pass on a graph given as text, and check what holds for every pass."""

    def run(name: str, text: str) -> Outcome:
        outcome = apply(name, parse_graph(text))
        assert pass_class(name)().run(outcome.after, outcome.context) is outcome.after
        origin = {source for op in outcome.before.operations for source in op.sources}
        for op in outcome.after.operations:
            assert op.sources
            assert set(op.sources) <= origin
        assert_equal_results(outcome.before, outcome.after)
        return outcome

    return run


@pytest.fixture
def expect_same() -> Callable[[Graph, Graph], None]:
    return assert_same
