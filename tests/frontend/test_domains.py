"""Operations of ONNX Runtime: their domain, its version, and the types of what they make."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from quantable.frontend import import_model
from quantable.ir import DType, Graph, ModelError, UnsupportedError


def _import(path: Path, nodes: list[onnx.NodeProto], domains: dict[str, int]) -> Graph:
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, ["N", 4]) for name in "ab"
    ]
    row = [helper.make_tensor("s", onnx.TensorProto.FLOAT, [], [0.5]),
           helper.make_tensor("z", onnx.TensorProto.UINT8, [], [3])]  # fmt: skip
    output = onnx.ValueInfoProto(name="y")
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph = helper.make_graph(nodes, "g", inputs, [output], row)
    imports = [helper.make_opsetid(name, version) for name, version in domains.items()]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path / "m.onnx")
    return import_model(path / "m.onnx")


def _sum(**more: int) -> list[onnx.NodeProto]:
    operands = ["a", "s", "z", "b", "s", "z", "s", "z"]
    add = helper.make_node("QLinearAdd", operands, ["c"], domain="com.microsoft", **more)
    flat = helper.make_node("Flatten", ["c"], ["f"])
    return [add, flat, helper.make_node("DequantizeLinear", ["f", "s", "z"], ["y"])]


@pytest.mark.parametrize("domains", [
    {"": 13}, {"": 13, "com.microsoft": 1}, {"": 11, "com.microsoft": 2},
    {"": 21, "com.microsoft": 1, "com.microsoft.nchwc": 1},
])  # fmt: skip
def test_the_version_of_the_domain_does_not_matter(tmp_path: Path, domains: dict[str, int]) -> None:
    graph = _import(tmp_path, _sum(), domains)
    kinds = [op.kind for op in graph.operations]
    assert kinds == ["com.microsoft.QLinearAdd", "Flatten", "DequantizeLinear"]
    assert graph.values["c"].dtype is DType.UINT8
    assert graph.values["c"].shape == ("N", 4)
    assert graph.values["y"].shape == ("N", 4)
    assert not onnx.defs.has("QLinearAdd", "com.microsoft")  # nothing stays behind


def test_an_attribute_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="attribute 'mode' is not known"):
        _import(tmp_path, _sum(mode=1), {"": 13})


def test_what_is_left_out_says_why(tmp_path: Path) -> None:
    nodes = [helper.make_node("BeamSearch", ["a", "b"], ["y"], domain="com.microsoft")]
    with pytest.raises(UnsupportedError, match="generates sequences"):
        _import(tmp_path, nodes, {"": 13})


def test_operands_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    nodes = _sum()
    nodes.insert(0, helper.make_node("Concat", ["b", "b", "b"], ["wide"], axis=1))
    nodes[1].input[3] = "wide"
    with pytest.raises(ModelError, match="expected shapes that broadcast, found 4 and 12"):
        _import(tmp_path, nodes, {"": 13})


def test_an_operand_of_another_rank_is_no_traceback(tmp_path: Path) -> None:
    node = helper.make_node("RotaryEmbedding", ["s", "a", "s", "s"], ["x"], domain="com.microsoft")
    nodes = [node, helper.make_node("QAttention", ["a", "z", "s", "s", "s"], ["y"],
                                    domain="com.microsoft", num_heads=1)]  # fmt: skip
    with pytest.raises(ModelError, match="operands of these ranks"):
        _import(tmp_path, nodes, {"": 13})


def test_a_symbolic_width_is_divided_into_heads(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", "L", "W"])
              for n in "qkv"]  # fmt: skip
    outputs = [onnx.ValueInfoProto(name=n) for n in ("y", "keys", "values")]
    for item in outputs:
        item.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    node = helper.make_node("MultiHeadAttention", list("qkv"), ["y", "keys", "values"],
                            domain="com.microsoft", num_heads=4)  # fmt: skip
    graph = helper.make_graph([node], "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "m.onnx")
    values = import_model(tmp_path / "m.onnx").values
    assert values["keys"].shape is not None
    assert values["keys"].shape[:3] == ("N", 4, "L")
