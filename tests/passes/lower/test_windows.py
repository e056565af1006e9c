"""Explicit pads: what ONNX means by SAME and by ceil_mode, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from quantable.ir import Operation, UnsupportedError
from quantable.passes.lower.windows import window_attributes


def _shape_in_onnxruntime(size: int, **attributes: object) -> int:
    node = helper.make_node("MaxPool", ["x"], ["y"], **attributes)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return int(session.run(None, {"x": np.zeros((1, 1, size), np.float32)})[0].shape[2])


def _shape_of_pads(size: int, **attributes: object) -> int:
    operation = Operation("p", "MaxPool", ("x",), ("y",), attributes)  # type: ignore[arg-type]
    found = window_attributes(operation, (1, 1, size), operation.ints_attribute("kernel_shape"))
    (stride,), (kernel,) = found["strides"], found["kernel_shape"]  # type: ignore[misc, union-attr]
    return int((size + sum(found["pads"]) - kernel) // stride + 1)  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("size", range(5, 13))
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_output_size_is_that_of_onnxruntime(size: int, kernel: int, stride: int) -> None:
    window = {"kernel_shape": (kernel,), "strides": (stride,)}
    for more in ({"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"},
                 {"ceil_mode": 1, "pads": (1, 0)}, {"ceil_mode": 1, "pads": (0, 1)}):  # fmt: skip
        expected = _shape_in_onnxruntime(size, **window, **more)
        assert _shape_of_pads(size, **window, **more) == expected, more


def test_same_puts_the_odd_pad_where_it_says() -> None:
    for mode, pads in (("SAME_UPPER", (0, 1)), ("SAME_LOWER", (1, 0))):
        operation = Operation("p", "Conv", ("x",), ("y",), {"auto_pad": mode, "strides": (2,)})
        assert window_attributes(operation, ("N", 1, 6), (3,))["pads"] == pads


def test_same_needs_known_dimensions() -> None:
    operation = Operation("p", "Conv", ("x",), ("y",), {"auto_pad": "SAME_UPPER"})
    with pytest.raises(UnsupportedError, match="expected known dimensions"):
        window_attributes(operation, ("N", 1, "W"), (3,))


def test_ceil_mode_that_counts_its_own_padding_is_refused() -> None:
    attributes = {"ceil_mode": 1, "count_include_pad": 1, "strides": (2,)}
    operation = Operation("p", "AveragePool", ("x",), ("y",), attributes)
    with pytest.raises(UnsupportedError, match="ceil_mode together with count_include_pad"):
        window_attributes(operation, ("N", 1, 6), (3,))
