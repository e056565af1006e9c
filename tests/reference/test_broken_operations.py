"""Graphs that verify but whose operations cannot be executed: an error of ours, never a crash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantable.ir import ContentStore, DType, Graph, Operation, QuantableError, Value
from quantable.reference import ReferenceRuntime

IMAGE = np.zeros((1, 2, 4, 4), np.float32)


def network(kind: str, inputs: tuple[str, ...], attributes: dict[str, Any]) -> Graph:
    store = ContentStore()
    weight = store.put(np.ones((2, 2, 3, 3), np.float32))
    values = [Value("x", DType.FLOAT32, IMAGE.shape), Value("y", DType.FLOAT32)]
    values += [Value("w", weight.dtype, weight.shape)]
    op = Operation("broken", kind, inputs, ("y",), attributes)
    return Graph(
        "g", opset=21, inputs=("x",), outputs=("y",), values={v.name: v for v in values},
        operations=(op,), parameters={"w": weight}, store=store,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("Conv", (), {}),
        ("Conv", ("x",), {}),
        ("Conv", ("x", ""), {}),
        ("Conv", ("x", "x"), {"strides": (), "pads": (1, 1, 1, 1)}),
        ("Conv", ("x", "x"), {"dilations": (1, 1, 7)}),
        ("Conv", ("x", "x"), {"pads": (0, 0, 0, 1 << 40)}),
        ("Conv", ("x", "w"), {"strides": (0, 2)}),
        ("Conv", ("x", "w"), {"strides": (-1, 1)}),
        ("Conv", ("x", "w"), {"dilations": (0, 1)}),
        ("Conv", ("x", "w"), {"group": 0}),
        ("Conv", ("x", "w"), {"group": 2}),
        ("Conv", ("x", "w"), {"kernel_shape": (1, 1)}),
        ("Conv", ("x", "w"), {"pads": (1 << 40,) * 4}),
        ("MaxPool", ("x",), {"kernel_shape": (2, 2), "strides": (0, 0)}),
        ("AveragePool", ("x",), {"kernel_shape": (0, 2)}),
        ("Concat", (), {"axis": 0}),
        ("Add", ("x",), {}),
        ("BatchNormalization", ("x",), {}),
        ("Softmax", ("x",), {"axis": 69}),
        ("Transpose", ("x",), {"perm": (0, 1, 9, 2)}),
    ],
)
def test_an_operation_that_cannot_be_executed(
    kind: str, inputs: tuple[str, ...], attributes: dict[str, Any]
) -> None:
    with pytest.raises(QuantableError) as caught:
        ReferenceRuntime(network(kind, inputs, attributes)).run({"x": IMAGE})
    assert "operation 'broken'" in str(caught.value)
