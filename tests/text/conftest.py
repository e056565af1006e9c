"""The random graphs of the tests of the file format, and what makes them networks."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st

from quantable.ir import (
    Graph,
    MemoryPlan,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    Relation,
    Stream,
    TensorQuantizationConfig,
    Value,
)
from quantable.text.operations import KINDS

_SPEC = importlib.util.spec_from_file_location(
    "schema_strategies", Path(__file__).parents[1] / "schema" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
_KINDS = sorted(KINDS)


@pytest.fixture(scope="session")
def any_graph() -> st.SearchStrategy[Graph]:
    """Graphs that a file can hold, though their names refer to nothing."""
    strategy: st.SearchStrategy[Graph] = _MODULE.graphs()
    return strategy


@pytest.fixture(scope="session")
def any_network(any_graph: st.SearchStrategy[Graph]) -> st.SearchStrategy[Graph]:
    """The same graphs with every name defined once, before its use."""
    return any_graph.map(_joined)


def _joined(graph: Graph) -> Graph:
    types = [(value.dtype, value.shape) for value in graph.values.values()]
    kinds = itertools.cycle(types or [(next(iter(_MODULE.STORED)), None)])
    values: dict[str, Value] = {}
    inputs = tuple(f"i{number}{name}" for number, name in enumerate(graph.inputs))
    for name in inputs:
        values[name] = Value(name, *next(kinds))
    parameters = {f"p{name}": ref for name, ref in graph.parameters.items()}
    for name, ref in parameters.items():
        values[name] = Value(name, ref.dtype, ref.shape)
    rows = {
        name: replace(row, derived_from=tuple(r for r in row.derived_from if r in graph.rows))
        for name, row in graph.rows.items()
    }
    operations = []
    for number, old in enumerate(graph.operations):
        pool = list(values) or [""]
        names = tuple(pool[(number + slot) % len(pool)] if n else "" for slot, n in
                      enumerate(old.inputs))  # fmt: skip
        results = tuple(f"o{number}.{slot}{n}" if n else "" for slot, n in enumerate(old.outputs))
        for name in filter(None, results):
            values[name] = Value(name, *next(kinds))
        kind = _KINDS[(number * 31 + len(old.name)) % len(_KINDS)]
        made = replace(old, name=f"{number}{old.name}", kind=kind, inputs=names, outputs=results)
        operations.append(_fitted(made, graph))
    pool = list(values)
    plan = graph.plan and MemoryPlan(
        64, 32, dict(zip(pool, range(9), strict=False)), graph.plan.is_ordered,
        tuple(Stream(s.operations, s.rows, dict(zip(pool, s.rings.values(), strict=False)))
              for s in graph.plan.streams),
    )  # fmt: skip
    outputs = tuple(pool[: len(graph.outputs)])
    return replace(graph, inputs=inputs, outputs=outputs, values=values, parameters=parameters,
                   rows=rows, operations=tuple(operations), plan=plan)  # fmt: skip


def _fitted(operation: Operation, graph: Graph) -> Operation:
    """Give an operation as many configs as slots, with rows that are there."""
    if not isinstance(operation, QuantableOperation):
        return operation
    free = TensorQuantizationConfig()

    def configs(
        held: tuple[TensorQuantizationConfig, ...], count: int
    ) -> tuple[TensorQuantizationConfig, ...]:
        padded = (*held, *(free,) * count)[:count]
        return tuple(
            c if c.row in graph.rows else replace(c, row="", relation=Relation.NONE) for c in padded
        )

    inputs = len(operation.inputs)
    config = OperationQuantizationConfig(
        configs(operation.config.inputs, inputs),
        configs(operation.config.outputs, len(operation.outputs)),
    )
    return replace(
        operation, config=config,
        originals=tuple((slot, ref) for slot, ref in operation.originals if slot < inputs),
        baked=tuple(entry for entry in operation.baked if entry.slot < inputs),
    )  # fmt: skip
