"""Small float networks as text, and the before/after examples in the docstrings of passes.

An example names its operations by their output: ``c = Conv(x, w, b)``. Operands that no operation
makes are inputs of the network, or parameters where their name starts with one of `_PARAMETERS`.
A slot is ``c.out0 <state> <relation> <row> = <scales>``, the last three where there are any; the
contents of a parameter are ``b = 1.5 -2.25``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import (
    ChannelMeans,
    ContentStore,
    DType,
    Graph,
    Level,
    Operation,
    Profile,
    QuantableOperation,
    Value,
    ValueStatistics,
    channel_inputs,
    graph_digest,
    verify,
)
from quantable.passes.base import Pass, PassContext, run_pass, run_passes
from quantable.passes.laboratory import Laboratory
from quantable.passes.registry import pass_class
from quantable.targets import load_target

QUANTIZE = ("dispatch", "assign-configs", "fuse-overlaps", "simplify-overlaps")
CHAIN = (*QUANTIZE, "calibrate", "correct-bias", "align", "passive-parameters", "bake")
SHAPE = (1, 2, 4, 4)
_KERNELS = np.array([[[[31.75]], [[-2.0]]], [[[1.0]], [[-15.875]]]], np.float32)
_PARAMETERS: dict[str, npt.NDArray[np.generic]] = {
    "w": _KERNELS,
    "b": np.array([1.5, -2.25], np.float32),
    "m": _KERNELS[:, :, 0, 0],
    "v": np.array([[[[31.75]], [[-2.1]]], [[[1.03]], [[-15.875]]]], np.float32),
    "k": np.array([0.5], np.float32),
    "lo": np.array(0.0, np.float32),
    "hi": np.array(6.0, np.float32),
    "shape": np.array(SHAPE, np.int64),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
}
_ATTRIBUTES: dict[str, dict[str, int | tuple[int, ...]]] = {
    "Concat": {"axis": 1},
    "MaxPool": {"kernel_shape": (1, 1)},
    "AveragePool": {"kernel_shape": (1, 1)},
    "Softmax": {"axis": -1},
    "Transpose": {"perm": (0, 1, 3, 2)},
}
_OPERATION = re.compile(r"(\w+) = ([\w.]+)\((.*)\)")


def network(text: str, outputs: Iterable[str] = (), **parameters: npt.ArrayLike) -> Graph:
    """Return the float graph of lines ``name = Kind(operand, ...)``."""
    contents = {**_PARAMETERS, **{k: np.asarray(v) for k, v in parameters.items()}}
    found = (_OPERATION.match(line.strip()) for line in text.splitlines())
    rows = [match.groups() for match in found if match]
    produced = {name for name, _, _ in rows}
    store, inputs = ContentStore(), []
    values = {name: Value(name, DType.FLOAT32, SHAPE) for name in produced}
    held, operations, read = {}, [], set()
    for name, kind, operands in rows:
        items = tuple(item.strip() for item in operands.split(",") if item.strip())
        read.update(items)
        for item in items:
            stem = next((k for k in contents if re.fullmatch(rf"{k}\d*", item)), None)
            if item not in values and stem is None:
                inputs.append(item)
                values[item] = Value(item, DType.FLOAT32, SHAPE)
            elif item not in values:
                held[item] = store.put(contents.get(item, contents[stem]))
                values[item] = Value(item, held[item].dtype, held[item].shape)
        operations.append(
            Operation(name, kind, items, (name,), _ATTRIBUTES.get(kind, {}), (f"/{name}",))
        )
    ends = tuple(outputs) or tuple(name for name, _, _ in rows if name not in read)
    graph = Graph(
        "example", Level.FLOAT, 21, tuple(inputs), ends, values, tuple(operations), held,
        store=store,
    )  # fmt: skip
    verify(graph)
    return graph


def statistics_of(values: npt.ArrayLike) -> ValueStatistics:
    """Return the statistics of an array, as the observer makes them."""
    array = np.asarray(values, np.float32).reshape(-1)
    counts = np.bincount(array.view(np.uint32) >> 16, minlength=1 << 16)
    ends = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    return ValueStatistics.of(counts, *ends)


def profile_of(graph: Graph, **values: npt.ArrayLike) -> Profile:
    """Return a profile of every activation; [0, 127.5] where nothing is given.

    The channels that weights multiply have means 60 and 10.
    """
    usual = np.linspace(0.0, 127.5, 1024)
    names = [name for name in graph.values if name not in graph.parameters]
    statistics = {name: statistics_of(values.get(name, usual)) for name in names}
    means = {key: ChannelMeans.of(np.array([[60.0, 10.0]])) for key in channel_inputs(graph)}
    return Profile(graph_digest(graph), 1, statistics, means)


def context_of(graph: Graph, target: str = "c-portable", **values: npt.ArrayLike) -> PassContext:
    """Return a context with a target and a profile of a float graph."""
    return PassContext(target=load_target(target), profile=profile_of(graph, **values))


def after(graph: Graph, passes: Iterable[str | Pass], context: PassContext | None = None) -> Graph:
    """Return what passes make of a graph."""
    items = [pass_class(item)() if isinstance(item, str) else item for item in passes]
    return run_passes(graph, items, context or context_of(graph))


def slots(graph: Graph) -> dict[str, str]:
    """Return the text of every slot: state, relation, row, scales."""
    found = {}
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            words = [config.state.value]
            if config.row:
                words += [config.relation.value, config.row]
                scale = graph.rows[config.row].scale
                words += ["=", *(f"{s:g}" for s in scale)] if scale else []
            found[f"{op.name}.{side}{index}"] = " ".join(words)
    return found


def platforms(graph: Graph) -> dict[str, str]:
    """Return the platform of every operation."""
    return {
        op.name: op.platform if isinstance(op, QuantableOperation) else "float"
        for op in graph.operations
    }


def _blocks(module: ModuleType) -> tuple[str, str, str]:
    text = inspect.getdoc(module) or ""
    found = re.search(r"Before(.*?):\n(.*?)\nAfter(.*?):\n(.*?)\n\n", text, re.DOTALL)
    assert found is not None, f"{module.__name__} has no example"
    target = re.search(r"target ([\w-]+)", found[1] + found[3])
    return (target[1] if target else "c-portable"), found[2], found[4]


def _expected(block: str) -> dict[str, str]:
    return dict(
        line.strip().split(" ", 1) for line in block.splitlines() if re.match(r"\s*\w+\.\w+ ", line)
    )


def _assert_slots(graph: Graph, expected: Mapping[str, str]) -> None:
    found = slots(graph)
    for slot, text in expected.items():
        shown = found[slot] if "=" in text else found[slot].split(" = ")[0]
        assert shown == text, slot


def _assert_contents(graph: Graph, block: str) -> None:
    for name, numbers in re.findall(r"^ *(\w+) = ([-\d. ]+)$", block, re.MULTILINE):
        shown = " ".join(f"{number:.4g}" for number in graph.array(name).reshape(-1).tolist())
        assert shown == numbers, name


def check_example(
    module: ModuleType,
    item: Pass,
    before: Iterable[str | Pass],
    laboratory: Laboratory | None = None,
) -> None:
    """Assert that the example in a pass's docstring holds."""
    target, first, then = _blocks(module)
    graph = network(first)
    context = context_of(graph, target)
    context.laboratory = laboratory
    ready = after(graph, before, context)
    _assert_slots(ready, _expected(first))
    _assert_contents(ready, first)
    done = run_pass(ready, item, context)
    _assert_slots(done, _expected(then))
    _assert_contents(done, then)
    shows = _expected(then) or re.search(r"\w+ on [\w-]+|\w+ = [-\d]", then)
    assert shows, "the example shows nothing"
    for name, platform in re.findall(r"(\w+) on ([\w-]+)", then):
        assert platforms(done)[name] == platform


class Examples:
    """The functions above, for tests (test modules cannot import a conftest)."""

    QUANTIZE, CHAIN = QUANTIZE, CHAIN
    network = staticmethod(network)
    statistics_of = staticmethod(statistics_of)
    profile_of = staticmethod(profile_of)
    context_of = staticmethod(context_of)
    after = staticmethod(after)
    slots = staticmethod(slots)
    platforms = staticmethod(platforms)
    check_example = staticmethod(check_example)


@pytest.fixture(scope="session")
def examples() -> Examples:
    return Examples()
