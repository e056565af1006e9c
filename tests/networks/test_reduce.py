"""A network that a runtime computes wrongly becomes the operation that it computes wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from quantable.bench.datasets import NETWORKS
from quantable.driver.reduce.case import Arrays
from quantable.driver.reduce.reduction import reduce_graph
from quantable.ir import Graph, QuantableError, verify
from quantable.reference import ReferenceRuntime, steps
from quantable.reference.site import Builder, Kernel, Site
from quantable.schema import load
from tests.networks.conftest import SHARED, Case

pytestmark = pytest.mark.slow


def wrong(right: Builder) -> Builder:
    """Return an operation that gives its result the other way round along the last axis."""

    def build(site: Site) -> Kernel:
        kernel = right(site)

        def run(*tensors: Tensor | None) -> Tensor:
            result = kernel(*tensors)
            assert isinstance(result, Tensor)
            return result.flip(-1)

        return run

    return build


def outputs(graph: Graph, inputs: Arrays) -> list[np.ndarray]:
    return list(ReferenceRuntime(graph).run(inputs).values())


@pytest.mark.parametrize(
    ("file", "kind"),
    [("04-opt.qir", "Softmax"), ("05-lower.qir", "int.Add"), ("06-plan.qir", "int.Softmax")],
)
def test_a_network_of_a_hundred_operations_becomes_the_faulty_one(
    compiled: Callable[[Case, str], Path], monkeypatch: pytest.MonkeyPatch, file: str, kind: str
) -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    case = Case(NETWORKS["cct_cifar"])
    graph = load(compiled(case, "x86-vnni") / file)
    assert len(graph.operations) >= 100
    is_integer = kind.startswith("int.")
    table = steps.INTEGER_OPERATIONS if is_integer else steps.FLOAT_OPERATIONS
    right = table[kind]

    def differs(candidate: Graph, inputs: Arrays | None) -> bool:
        assert inputs is not None
        try:
            expected = outputs(candidate, inputs)
            with monkeypatch.context() as patch:
                patch.setitem(table, kind, wrong(right))
                found = outputs(candidate, inputs)
        except QuantableError:
            return False
        return not all(map(np.array_equal, expected, found))

    reduced = reduce_graph(graph, differs, case.inputs("evaluation", 1)[0]).case
    verify(reduced.graph)
    assert [op.kind for op in reduced.graph.operations] == [kind]
    assert reduced.inputs is not None
    assert sum(array.size for array in reduced.inputs.values()) <= 8
