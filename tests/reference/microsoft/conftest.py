"""One operation of com.microsoft as a model: imported and run here, and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from quantable.frontend import import_model
from quantable.ir import DType
from quantable.reference import ReferenceRuntime

Array = npt.NDArray[Any]
Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Compare one operation with ONNX Runtime, output by output.

    `tolerance` is relative and absolute; `steps` how far integers may be off, and then in how many
    elements of a hundred. Types and shapes are those that the import says.
    """
    onnxruntime = pytest.importorskip("onnxruntime")

    def compare(
        kind: str, given: Sequence[Array | None], outputs: int | Sequence[bool] = 1, *,
        domain: str = "com.microsoft", tolerance: float = 1e-5, steps: int = 0,
        percent: float = 2.0, **attributes: Any,
    ) -> None:  # fmt: skip
        model, feeds = _model((domain, kind), given, outputs, attributes)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        expected = session.run(None, feeds)
        for item, want in zip(model.graph.output, expected, strict=True):
            code = helper.np_dtype_to_tensor_dtype(want.dtype)
            item.type.tensor_type.elem_type = code
        onnx.save(model, tmp_path / "node.onnx")
        graph = import_model(tmp_path / "node.onnx")
        found = ReferenceRuntime(graph).run(feeds)
        for (name, mine), want in zip(found.items(), expected, strict=True):
            assert (mine.dtype, mine.shape) == (want.dtype, want.shape)
            value = graph.values[name]
            assert value.dtype in (DType.of(want.dtype), DType.BFLOAT16)
            assert value.shape is None or _fits(value.shape, want.shape)
            if steps:
                off = np.abs(mine.astype(np.int64) - want.astype(np.int64))
                assert off.max(initial=0) <= steps
                assert np.count_nonzero(off) <= max(1, off.size * percent / 100)
            else:
                np.testing.assert_allclose(mine, want, tolerance, tolerance)

    return compare


def _fits(shape: Sequence[int | str], found: Sequence[int]) -> bool:
    pairs = zip(shape, found, strict=True)
    return all(isinstance(dim, str) or dim == size for dim, size in pairs)


def _model(
    operation: tuple[str, str],
    given: Sequence[Array | None],
    outputs: int | Sequence[bool],
    attributes: dict[str, Any],
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    slots = ["" if array is None else f"i{index}" for index, array in enumerate(given)]
    feeds = {n: np.asarray(a) for n, a in zip(slots, given, strict=True) if a is not None}
    domain, kind = operation
    there = [True] * outputs if isinstance(outputs, int) else outputs
    made = [f"y{index}" if wanted else "" for index, wanted in enumerate(there)]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    node = helper.make_node(kind, slots, made, domain=domain, **attributes)
    outs = [onnx.ValueInfoProto(name=name) for name in made if name]
    graph = helper.make_graph([node], "g", inputs, outs)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds
