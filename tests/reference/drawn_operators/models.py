"""Cases as models, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, shape_inference

from quantable.ir.standard_operations import known_operations
from tests.reference.drawn_operators.drawing import Array, Case

INPUT = "i"


def kind_and_domain(kind: str) -> tuple[str, str]:
    """Split an operation's kind."""
    domain, _, name = kind.rpartition(".")
    return name, domain


def feeds_of(case: Case, constant: frozenset[int]) -> dict[str, Array]:
    """Return what the model is given, by input name."""
    return {
        f"{INPUT}{slot}": np.asarray(array)
        for slot, array in enumerate(case.given)
        if array is not None and slot not in constant
    }


def model_of(
    case: Case, constant: frozenset[int], results: Sequence[Array] = (), is_open: bool = False
) -> Any:
    """Return the model of a case.

    Args:
        constant: Slots that are initializers.
        is_open: Whether sizes of inputs are symbols, shapes and indices left out.
        results: What the outputs are, where it is known; onnx may not know their types.
    """
    slots = ["" if array is None else f"{INPUT}{k}" for k, array in enumerate(case.given)]
    made = [f"y{index}" for index in range(case.outputs)]
    kind, domain = kind_and_domain(case.kind)
    node = helper.make_node(kind, slots, made, "node", domain=domain, **case.attributes)
    inputs = [
        helper.make_tensor_value_info(
            n,
            helper.np_dtype_to_tensor_dtype(a.dtype),
            _symbols(case.kind, n, a) if is_open else a.shape,
        )
        for n, a in feeds_of(case, constant).items()
    ]
    held = [
        numpy_helper.from_array(np.asarray(case.given[slot]), f"{INPUT}{slot}")
        for slot in sorted(constant)
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in made]
    for item, result in zip(outputs, results, strict=False):
        code = helper.np_dtype_to_tensor_dtype(result.dtype)
        item.type.tensor_type.elem_type = code
    graph = helper.make_graph([node], "g", inputs, outputs, held)
    imports = [helper.make_opsetid("", case.opset)]
    imports += [helper.make_opsetid(domain, 1)] * bool(domain)
    return helper.make_model(graph, opset_imports=imports, ir_version=8 if case.opset < 19 else 10)


def _symbols(kind: str, name: str, array: Array) -> list[Any]:
    """Return sizes as symbols; how long a shape is, every model says."""
    letter = known_operations()[kind].slot(int(name.removeprefix(INPUT)))
    return list(array.shape) if letter == "i" else [f"{name}_{k}" for k in range(array.ndim)]


def save(
    case: Case, constant: frozenset[int], results: Sequence[Array], path: Path,
    is_open: bool = False,
) -> None:  # fmt: skip
    """Write the model of a case whose results are known."""
    onnx.save(model_of(case, constant, results, is_open), path)


def expected(case: Case, constant: frozenset[int]) -> list[Array]:
    """Return what ONNX Runtime makes of a case, no optimization on."""
    import onnxruntime

    model = model_of(case, constant)
    if not kind_and_domain(case.kind)[1]:
        model = shape_inference.infer_shapes(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[npt.NDArray[Any]] = session.run(None, feeds_of(case, constant))
    return found
