"""Every operation against ONNX's own backend node cases, with inputs given and as parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from quantable.ir import Graph, UnsupportedError
from quantable.reference import ReferenceRuntime
from quantable.reference.operations.table import FLOAT_OPERATIONS

pytestmark = pytest.mark.slow
Array = npt.NDArray[Any]
GraphOfNode = Callable[[onnx.ModelProto, Sequence[Array], bool], Graph]
_TYPES = frozenset({np.dtype(kind) for kind in (
    np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.bool_,
)})  # fmt: skip
_REFUSED = (
    "antialias", "crop_and_resize", "cubic", "gathernd_example_int32_batch_dim1", "not_larger",
    "not_smaller", "training_mode", "with_argmax",
)  # fmt: skip
"""Parts of the names of cases that ask for what the runtime says it lacks."""
_DISPUTED = frozenset({"test_resize_downsample_scales_linear_align_corners"})
"""ONNX's reference computes with a fractional output length here, ONNX Runtime and we do not."""


def _cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow on purpose
        from onnx.backend.test.case.node import collect_testcases

        return [case for case in collect_testcases(None) if _is_ours(case)]


def _is_ours(case: Any) -> bool:
    nodes = case.model.graph.node
    if len(nodes) != 1 or nodes[0].domain or nodes[0].op_type not in FLOAT_OPERATIONS:
        return False
    inputs, outputs = case.data_sets[0]
    typed = all(isinstance(a, np.ndarray) and a.dtype in _TYPES for a in (*inputs, *outputs))
    return typed and case.name not in _DISPUTED


def _check(case: Any, graph_of_node: GraphOfNode, constant: bool) -> None:
    inputs, outputs = case.data_sets[0]
    graph = graph_of_node(case.model, inputs, constant)
    names = [item.name for item in case.model.graph.input]
    given = {n: a for n, a in zip(names, inputs, strict=True) if n in graph.inputs}
    found = ReferenceRuntime(graph).run(given)
    for name, expected in zip(graph.outputs, outputs, strict=True):
        assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found[name], expected, case.rtol, max(case.atol, 1e-5))


@pytest.mark.parametrize("constant", [False, True])
def test_node_cases(graph_of_node: GraphOfNode, constant: bool) -> None:
    wrong, refused, passed = [], [], 0
    for case in _cases():
        try:
            _check(case, graph_of_node, constant)
            passed += 1
        except UnsupportedError:
            refused.append(case.name)
        except AssertionError as error:
            wrong.append(f"{case.name}: {error}")
    assert not wrong, "\n".join(wrong)
    assert not [name for name in refused if not any(part in name for part in _REFUSED)]
    assert passed > 600
