"""What bad models get: an error that names file and node, and says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantable.frontend import import_model
from quantable.ir import FormatError, ModelError, UnsupportedError, UserError

Save = Callable[..., Path]
WEIGHT = np.random.default_rng(0).standard_normal((4, 2048)).astype(np.float32)


def _linear(save: Save) -> Path:
    return save([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], {"w": WEIGHT})


def _external(save: Save, tmp_path: Path, **entries: str) -> Path:
    path = _linear(save)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="data.bin")
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    onnx.save_model(model, path)
    return path


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        import_model(tmp_path / "none.onnx")


def test_truncated_at_any_byte(save: Save) -> None:
    path = _linear(save)
    data = path.read_bytes()
    for cut in [0, 1, 7, 50, len(data) // 2, *range(len(data) - 120, len(data))]:
        path.write_bytes(data[:cut])
        with pytest.raises(UserError) as caught:
            import_model(path)
        assert str(path) in caught.value.where
        assert caught.value.help


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(99), b"import numpy as np\n" * 9, bytes(64)]
)
def test_foreign_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match="no ONNX model"):
        import_model(path)


def test_a_name_that_is_not_text(save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["y"], name="marker")])
    path.write_bytes(path.read_bytes().replace(b"marker", b"m\xffrker"))
    with pytest.raises(FormatError, match="not UTF-8"):
        import_model(path)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(20))
def test_changed_bytes_give_a_model_or_a_user_error(seed: int, save: Save) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="product"),
        helper.make_node("Concat", ["a", "a"], ["b"], axis=1),
        helper.make_node("Softmax", ["b"], ["y"], axis=-1),
    ]
    path = save(nodes, {"w": np.ones((4, 3), np.float32)}, opset=9 + seed)
    data = path.read_bytes()
    rng = np.random.default_rng(seed)
    for _ in range(100):
        changed = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[position] = rng.integers(0, 256)
        path.write_bytes(changed)
        with contextlib.suppress(UserError):
            import_model(path)


def test_cycle(save: Save) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Relu", ["b"], ["y"], name="third"),
    ]
    with pytest.raises(ModelError, match=r"cycle.*first.*second") as caught:
        import_model(save(nodes))
    assert "model.onnx: node '" in caught.value.where


def test_a_value_that_nothing_makes(save: Save) -> None:
    nodes = [helper.make_node("Add", ["x", "ghost"], ["y"], name="sum")]
    with pytest.raises(ModelError, match="input 'ghost' is made by no node") as caught:
        import_model(save(nodes))
    assert caught.value.where.endswith("node 'sum' (Add)")
    assert caught.value.help


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"], name="product"), "Incompatible dimensions"),
        (
            helper.make_node("Transpose", ["x"], ["y"], name="product", perm=[0, 1, 2]),
            "Invalid attribute perm",
        ),
    ],
)
def test_shapes_that_do_not_fit(node: onnx.NodeProto, expected: str, save: Save) -> None:
    with pytest.raises(ModelError, match=f"node 'product' .*{expected}") as caught:
        import_model(save([node], {"w": np.ones((5, 3), np.float32)}))
    assert caught.value.help


def test_a_missing_attribute(save: Save) -> None:
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], name="join")]
    with pytest.raises(ModelError, match="axis") as caught:
        import_model(save(nodes))
    assert "node 'join' (Concat)" in caught.value.where


def test_contents_of_the_wrong_size(save: Save) -> None:
    path = _linear(save)
    model = onnx.load(path)
    model.graph.initializer[0].dims[0] = 5
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"expected 40960 bytes.*found 32768"):
        import_model(path)


@pytest.mark.parametrize("opset", [0, 99])
def test_opset_out_of_range(opset: int, save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["y"])])
    model = onnx.load(path)
    model.opset_import[0].version = opset
    onnx.save(model, path)
    with pytest.raises(ModelError, match=f"found {opset}"):
        import_model(path)


def test_missing_external_data(save: Save, tmp_path: Path) -> None:
    path = _external(save, tmp_path)
    (tmp_path / "data.bin").unlink()
    with pytest.raises(ModelError, match=r"'data.bin' is missing") as caught:
        import_model(path)
    assert "initializer 'w'" in caught.value.where


def test_external_data_that_was_cut_off(save: Save, tmp_path: Path) -> None:
    path = _external(save, tmp_path)
    data = (tmp_path / "data.bin").read_bytes()
    (tmp_path / "data.bin").write_bytes(data[:-1])
    with pytest.raises(ModelError, match="expected bytes up to 32768"):
        import_model(path)


@pytest.mark.parametrize(
    "location",
    ["/etc/hostname", "../data.bin", "a/../../data.bin", "..\\data.bin", "c:data.bin", "", "."],
)
def test_external_data_outside_the_folder(location: str, save: Save, tmp_path: Path) -> None:
    path = _external(save, tmp_path, location=location)
    with pytest.raises(ModelError, match=r"model's folder|is missing"):
        import_model(path)


@pytest.mark.parametrize("through", ["file", "folder"])
def test_external_data_behind_a_link(through: str, save: Save, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = _external(save, tmp_path, location="sub/data.bin")
    (tmp_path / "data.bin").rename(outside / "data.bin")
    if through == "folder":
        (tmp_path / "sub").symlink_to(outside)
    else:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "data.bin").symlink_to(outside / "data.bin")
    with pytest.raises(ModelError, match="symbolic link"):
        import_model(path)


@pytest.mark.parametrize("entry", [{"offset": "-1"}, {"offset": "x"}, {"length": "12"}])
def test_external_data_with_bad_numbers(entry: dict[str, str], save: Save, tmp_path: Path) -> None:
    path = _external(save, tmp_path, **entry)
    model = onnx.load(path, load_external_data=False)
    keys = {item.key for item in model.graph.initializer[0].external_data}
    for key, value in entry.items():
        if key not in keys:
            model.graph.initializer[0].external_data.add(key=key, value=value)
    onnx.save_model(model, path)
    with pytest.raises(ModelError, match="external data: expected"):
        import_model(path)


def test_everything_unsupported_is_listed_at_once(save: Save) -> None:
    branch = helper.make_graph(
        [helper.make_node("RandomUniformLike", ["x"], ["z"], "inside")], "branch", [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )  # fmt: skip
    flag = numpy_helper.from_array(np.array(True), "flag")
    statistics = {name: np.ones(4, np.float32) for name in ("s", "b", "m", "v")}
    nodes = [
        helper.make_node("Constant", [], ["flag"], value=flag),
        helper.make_node("If", ["flag"], ["a"], "choose", then_branch=branch, else_branch=branch),
        helper.make_node("FusedThing", ["a"], ["b1"], "fused", domain="com.acme"),
        helper.make_node("RandomNormalLike", ["b1"], ["c"], "noise"),
        helper.make_node(
            "BatchNormalization", ["x", "s", "b", "m", "v"], ["d"], "norm", training_mode=1
        ),
        helper.make_node("StringSplit", ["x"], ["q", "n"]),
        helper.make_node("Relu", ["d"], ["y"], "fine"),
    ]
    with pytest.raises(UnsupportedError) as caught:
        import_model(save(nodes, statistics))
    text = str(caught.value)
    assert "6 things" in text
    expected = (
        "'inside' (RandomUniformLike)",
        "'fused' (com.acme.FusedThing)",
        "'noise'",
        "'norm'",
        "makes 'q'",
    )
    assert all(part in text for part in expected)
    assert "fine" not in text


def test_a_quantized_model_is_imported_as_it_is(save: Save) -> None:
    scales = {"s": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "quantizer"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    graph = import_model(save(nodes, scales))
    assert [op.kind for op in graph.operations] == ["QuantizeLinear", "DequantizeLinear"]


def test_types_that_the_ir_does_not_have(save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["y"])])
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("t", TensorProto.STRING, (1,)))
    onnx.save(model, path)
    with pytest.raises(UnsupportedError, match="input 't': string elements"):
        import_model(path)
