"""Quantizers of a model become configs; models are written as ONNX text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantable.driver.pipelines import resolve
from quantable.driver.quantized_models import with_kept_weights
from quantable.frontend import import_model
from quantable.ir import DType, Graph, QuantableOperation, Relation, State, UnsupportedError, verify
from quantable.passes.base import PassContext, run_passes
from quantable.passes.quantize.adopt_quantizers import AdoptQuantizers
from quantable.reference import FloatExecutor, ReferenceRuntime
from quantable.targets.description import load_target

Adopt = Callable[..., Graph]


def _parsed(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    for tensor in model.graph.initializer:  # the parser does not pack elements of 4 bits
        if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
            items = list(tensor.int32_data)
            tensor.CopyFrom(
                onnx.helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, items)
            )
    return model


@pytest.fixture
def adopt(tmp_path: Path) -> Adopt:
    """Import a model given as text, adopt its quantizers, and check that no result changes."""

    def run(
        text: str, *, target: str = "onnxruntime", canonical: bool = False,
        remarks: list[tuple[str, str, str]] | None = None,
    ) -> Graph:  # fmt: skip
        path = tmp_path / "model.onnx"
        onnx.save(_parsed(text), path)
        context = PassContext(FloatExecutor(), load_target(target), None, remarks or [])
        graph = import_model(path)
        if canonical:
            graph = run_passes(graph, resolve(with_kept_weights("canonicalize")), context)
        made = run_passes(graph, [AdoptQuantizers()], context)
        verify(made)
        if remarks is not None:
            remarks[:] = context.remarks
        rng = np.random.default_rng(3)
        given = {
            name: rng.normal(0, 30, [int(d) for d in graph.values[name].shape or ()]).astype("f4")
            for name in graph.inputs
        }
        before, after = ReferenceRuntime(graph).run(given), ReferenceRuntime(made).run(given)
        for name in graph.outputs:
            np.testing.assert_array_equal(after[name], before[name], strict=True)
        return made

    return run


def slot(graph: Graph, operation: str, side: str, index: int) -> tuple[State, Relation, str]:
    op = graph.operation_by_name[operation]
    assert isinstance(op, QuantableOperation)
    config = (op.config.inputs if side == "in" else op.config.outputs)[index]
    return config.state, config.relation, config.row


CONSTANTS = "float s = {0.5}, uint8 z = {128}, float t = {0.25}, int8 y0 = {3}"
OWN = State.ACTIVATED, Relation.OWN
OVERLAPPED = State.OVERLAPPED, Relation.OVERLAPPED
SHARED = State.PASSIVE, Relation.SHARED


def test_a_pair_between_two_operations_is_the_row_of_the_first(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        [a] a = Sigmoid (x)
        q = QuantizeLinear (a, s, z)
        d = DequantizeLinear (q, s, z)
        [b] y = Neg (d)
    }}""")
    assert [op.kind for op in graph.operations] == ["Sigmoid", "Neg"]
    assert slot(graph, "a", "out", 0) == (*OWN, "a.out0")
    assert not isinstance(graph.operation_by_name["b"], QuantableOperation)
    assert graph.rows["a.out0"].scale == (0.5,)
    assert graph.rows["a.out0"].zero_point == (128,)


def test_rows_on_both_sides_of_an_operation_differ(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        [a] a = Neg (xd)
        q = QuantizeLinear (a, t, y0)
        y = DequantizeLinear (q, t, y0)
    }}""")
    assert [op.outputs for op in graph.operations] == [("y",)]
    assert slot(graph, "a", "in", 0) == (*OWN, "a.in0")
    assert slot(graph, "a", "out", 0) == (*OWN, "a.out0")
    config = graph.quantable_operations[0].config
    assert config.inputs[0].storage is DType.UINT8
    assert config.outputs[0].storage is DType.INT8


def test_readers_of_a_graph_input_share_one_row(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        e = DequantizeLinear (q, s, z)
        [a] a = Neg (d)
        [b] y = Add (a, e)
    }}""")
    assert slot(graph, "a", "in", 0) == (*OWN, "a.in0")
    assert slot(graph, "b", "in", 1) == (*SHARED, "a.in0")


def test_a_tensor_that_is_read_as_it_is_too_is_quantized_by_its_other_readers(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        [a] a = Neg (x)
        q = QuantizeLinear (a, s, z)
        d = DequantizeLinear (q, s, z)
        [b] y = Add (a, d)
    }}""")
    assert not isinstance(graph.operation_by_name["a"], QuantableOperation)
    assert slot(graph, "b", "in", 1) == (*OWN, "b.in1")


def test_a_tensor_with_two_grids_is_quantized_by_its_readers(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        [a] a = Neg (x)
        q = QuantizeLinear (a, s, z)
        d = DequantizeLinear (q, s, z)
        r = QuantizeLinear (a, t, y0)
        e = DequantizeLinear (r, t, y0)
        [b] y = Add (d, e)
    }}""")
    assert slot(graph, "b", "in", 0) == (*OWN, "b.in0")
    assert slot(graph, "b", "in", 1) == (*OWN, "b.in1")


def test_a_second_pair_behind_the_first_is_its_readers(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        [a] a = Neg (x)
        q = QuantizeLinear (a, s, z)
        d = DequantizeLinear (q, s, z)
        r = QuantizeLinear (d, t, y0)
        e = DequantizeLinear (r, t, y0)
        [b] y = Neg (e)
    }}""")
    assert slot(graph, "a", "out", 0) == (*OWN, "a.out0")
    assert slot(graph, "b", "in", 0) == (*OWN, "b.in0")


def test_what_no_slot_holds_an_identity_does(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y, float[2,3] v) <{CONSTANTS}> {{
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
        r = QuantizeLinear (y, t, y0)
        v = DequantizeLinear (r, t, y0)
    }}""")
    assert [op.kind for op in graph.operations] == ["Identity", "Identity"]
    in_force = [c for op in graph.quantable_operations for _, _, c in op.config.slots()
                if c.state.is_in_force]  # fmt: skip
    assert [graph.rows[config.row].scale for config in in_force] == [(0.5,), (0.25,)]


def test_integers_of_a_file_are_baked_as_they_are(adopt: Adopt) -> None:
    graph = adopt("""g (float[1,2,3,3] x) => (float[1,2,3,3] y)
        <float s = {0.5}, uint8 z = {128}, float r = {2}, float[2] ws = {0.25, 0.125},
         int8[2] wz = {0, 0}, int8[2,2,1,1] w = {1, -2, 3, 127}, int32[2] b = {70000, -5},
         float[2] bs = {0.125, 0.0625}> {
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        wd = DequantizeLinear <axis = 0> (w, ws, wz)
        bd = DequantizeLinear <axis = 0> (b, bs)
        [c] c = Conv (xd, wd, bd)
        [r] r0 = Relu (c)
        q = QuantizeLinear (r0, r, z)
        y = DequantizeLinear (q, r, z)
    }""")
    conv = graph.operation_by_name["c"]
    assert isinstance(conv, QuantableOperation)
    weight, bias = conv.baked
    assert graph.store.get(weight.content).reshape(-1).tolist() == [1, -2, 3, 127]
    assert graph.store.get(bias.content).tolist() == [70000, -5]
    assert slot(graph, "c", "in", 2) == (State.PASSIVE_BAKED, Relation.DERIVED, "c.in2")
    assert graph.rows["c.in2"].derived_from == ("c.in0", "c.in1")
    original = conv.original(1)
    assert original is not None
    assert graph.store.get(original).reshape(-1).tolist() == [0.25, -0.5, 0.375, 15.875]
    assert slot(graph, "c", "out", 0) == (*OVERLAPPED, "r.out0")
    assert slot(graph, "r", "in", 0) == (*OVERLAPPED, "r.out0")


def test_a_bias_at_another_scale_has_a_row_of_its_own(adopt: Adopt) -> None:
    graph = adopt("""g (float[1,1,3,3] x) => (float[1,1,3,3] y)
        <float s = {0.5}, uint8 z = {128}, float ws = {0.25}, int8[1,1,1,1] w = {7},
         int32[1] b = {11}, float bs = {0.5}> {
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        wd = DequantizeLinear (w, ws)
        bd = DequantizeLinear (b, bs)
        [c] y = Conv (xd, wd, bd)
    }""")
    assert slot(graph, "c", "in", 2) == (State.BAKED, Relation.OWN, "c.in2")


def test_a_constant_with_two_readers_is_baked_in_both(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[2,2] x) => (float[2,2] y) <{CONSTANTS}, int8[2,2] w = {{1,2,3,4}}> {{
        d = DequantizeLinear (w, t, y0)
        [a] a = Add (x, d)
        [b] y = Mul (a, d)
    }}""")
    names = {op.name: op.inputs[1] for op in graph.operations}
    assert names["a"] != names["b"]
    assert [len(op.baked) for op in graph.quantable_operations] == [1, 1]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_resize_that_interpolates_leaves_the_grid(mode: str, adopt: Adopt) -> None:
    """It has the row of its input in the table; a pair behind it was taken for a second one."""
    graph = adopt(
        f"""g (float[1,1,2,2] x) => (float[1,1,4,4] y)
        <{CONSTANTS}, float[4] scales = {{1, 1, 2, 2}}> {{
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        [r] r = Resize <mode = "{mode}"> (xd, , scales)
        q = QuantizeLinear (r, s, z)
        y = DequantizeLinear (q, s, z)
    }}""",
        canonical=True,
    )
    state, _, _ = slot(graph, "r", "out", 0)
    assert state is (State.OVERLAPPED if mode == "nearest" else State.ACTIVATED)


_TWICE = """g (float[2,2] x) => (float[2,2] y)
    <float t = {0.25}, int8 y0 = {3}, float s = {0.5}, uint8 z = {128}, int8[2,2] w = {1,2,3,4}> {
    d = DequantizeLinear (w, t, y0)
    q = QuantizeLinear (d, s, z)
    e = DequantizeLinear (q, s, z)
    [m] y = MatMul (x, e)
}"""


def test_a_constant_that_was_quantized_twice_keeps_both(adopt: Adopt) -> None:
    """The second quantizer was lost where the first one's constant was baked into the slot."""
    kept = adopt(_TWICE)
    assert "DequantizeLinear" in {op.kind for op in kept.operations}
    folded = adopt(_TWICE, canonical=True)
    (op,) = folded.quantable_operations
    assert folded.store.get(op.baked[0].content).tolist() == [[127, 128], [128, 128]]


@pytest.mark.parametrize(
    ("kind", "low", "high", "exact"),
    [("int4", -8, 7, DType.INT4), ("uint4", 0, 15, DType.UINT4), ("int8", -128, 127, DType.INT8),
     ("uint8", 0, 255, DType.UINT8), ("int16", -32768, 32767, DType.INT16),
     ("uint16", 0, 65535, DType.UINT16)],
)  # fmt: skip
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_types_and_axes(
    kind: str, low: int, high: int, exact: DType, axis: int | None, adopt: Adopt
) -> None:
    count = {None: 1, 0: 2, 1: 3, -1: 3}[axis]
    dims = "" if axis is None else f"[{count}]"
    scales = ", ".join(str(0.5 * (i + 1)) for i in range(count))
    zeros = ", ".join([str((low + high + 1) // 2 + 1)] * count)
    how = "" if axis is None else f"<axis = {axis}>"
    graph = adopt(f"""g (float[2,3] x) => (float[2,3] y)
        <float{dims} s = {{{scales}}}, {kind}{dims} z = {{{zeros}}}> {{
        [a] a = Neg (x)
        q = QuantizeLinear {how} (a, s, z)
        y = DequantizeLinear {how} (q, s, z)
    }}""")
    config = graph.quantable_operations[0].config.outputs[0]
    assert (config.quant_min, config.quant_max, config.storage) == (low, high, exact)
    assert config.channel_axis == (None if axis is None else axis % 2)
    assert config.policy.is_symmetric is False


def test_blocks_of_a_weight(adopt: Adopt) -> None:
    integers = ", ".join(str(i % 16 - 8) for i in range(12))
    graph = adopt(
        f"""g (float[2,6] x) => (float[2,2] y)
        <int4[6,2] w = {{{integers}}}, float[2,2] s = {{0.5, 1, 2, 4}},
         int4[2,2] z = {{1, 0, 0, -1}}> {{
        d = DequantizeLinear <axis = 0, block_size = 4> (w, s, z)
        [m] y = MatMul (x, d)
    }}""",
        canonical=True,
    )
    (op,) = graph.quantable_operations
    assert op.kind == "quantable.Linear"
    config = op.config.inputs[1]
    assert (config.block_size, config.channel_axis, config.bits) == (4, 0, 4)
    assert graph.rows[config.row].zero_point == (1, 0, 0, -1)


def test_transposed_weights_are_transposed_as_integers(adopt: Adopt) -> None:
    graph = adopt(
        """g (float[2,3] x) => (float[2,2] y)
        <int8[2,3] w = {1, 2, 3, 4, 5, 6}, float[2] s = {0.5, 0.25}, int8[2] z = {0, 0}> {
        d = DequantizeLinear <axis = 0> (w, s, z)
        [m] y = Gemm <transB = 1> (x, d)
    }""",
        canonical=True,
    )
    (op,) = graph.quantable_operations
    assert graph.store.get(op.baked[0].content).tolist() == [[1, 4], [2, 5], [3, 6]]
    assert op.config.inputs[1].channel_axis == 1


def test_rows_behind_movement_go_in_front_of_it(adopt: Adopt) -> None:
    graph = adopt(f"""g (float[1,1,4,4] x) => (float[1,1,2,2] y) <{CONSTANTS}> {{
        [n] n = Neg (x)
        [p] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (n)
        q = QuantizeLinear (p, s, z)
        y = DequantizeLinear (q, s, z)
    }}""")
    assert slot(graph, "n", "out", 0) == (*OWN, "n.out0")
    assert slot(graph, "p", "in", 0) == (*OVERLAPPED, "n.out0")
    assert slot(graph, "p", "out", 0) == (*OVERLAPPED, "n.out0")


@pytest.mark.parametrize(
    ("constants", "make", "reason"),
    [("uint8 z = {1}", "s = ReduceMax <keepdims = 0> (x)", "computed"),
     ("float s = {0}, uint8 z = {1}", "", "positive")],
)  # fmt: skip
def test_what_no_config_says_stays_an_operation(
    constants: str, make: str, reason: str, adopt: Adopt
) -> None:
    remarks: list[tuple[str, str, str]] = []
    graph = adopt(
        f"""g (float[2,3] x) => (float[2,3] y) <{constants}> {{
        {make}
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }}""",
        remarks=remarks,
    )
    assert {"QuantizeLinear", "DequantizeLinear"} <= {op.kind for op in graph.operations}
    assert sum(reason in text for _, _, text in remarks) == 2


def test_an_integer_target_names_every_tensor_without_a_row(adopt: Adopt) -> None:
    text = f"""g (float[2,3] x) => (float[2,3] y) <{CONSTANTS}> {{
        [a] a = Relu (x)
        [b] b = Add (a, a)
        q = QuantizeLinear (b, s, z)
        y = DequantizeLinear (q, s, z)
    }}"""
    with pytest.raises(UnsupportedError) as caught:
        adopt(text, target="c-portable")
    for place in ("'a' (Relu", "in0: the model does not quantize 'x'", "out0", "'b' (Add"):
        assert place in str(caught.value.message)
    assert "--requantize" in caught.value.help


def test_an_integer_target_quantizes_constants_that_the_model_leaves_real(
    tmp_path: Path,
) -> None:
    text = """g (float[2,3] x) => (float[2,3] y)
        <float s = {0.5}, uint8 z = {128}, float[3] c = {0.25, -1, 0.5}> {
        xq = QuantizeLinear (x, s, z)
        xd = DequantizeLinear (xq, s, z)
        [a] a = Mul (xd, c)
        q = QuantizeLinear (a, s, z)
        y = DequantizeLinear (q, s, z)
    }"""
    onnx.save(_parsed(text), tmp_path / "model.onnx")
    context = PassContext(FloatExecutor(), load_target("c-portable"))
    made = run_passes(import_model(tmp_path / "model.onnx"), [AdoptQuantizers()], context)
    assert slot(made, "a", "in", 1) == (*OWN, "a.in1")
    assert made.rows["a.in1"].scale == (float(np.float32(1 / 127)),)
    assert ["leaves 'c' real" in text for _, _, text in context.remarks] == [True]


def test_the_first_reader_in_the_graph_names_a_row_of_two_pairs(adopt: Adopt) -> None:
    """The pair of the later reader stood first, named the row, and was read back otherwise."""
    graph = adopt(
        f"""g (float[2,3] x) => (float[2,3] y, float[2,3] z) <{CONSTANTS}> {{
        x_q = QuantizeLinear (x, s, z0)
        x_d = DequantizeLinear (x_q, s, z0)
        x_p = QuantizeLinear (x, s, z0)
        x_e = DequantizeLinear (x_p, s, z0)
        y = Exp (x_e)
        z = Neg (x_d)
    }}""".replace("z0", "zero").replace("uint8 z ", "uint8 zero ")
    )
    first, second = (op.name for op in graph.operations)
    assert [op.kind for op in graph.operations] == ["Exp", "Neg"]
    assert slot(graph, first, "in", 0) == (*OWN, f"{first}.in0")
    assert slot(graph, second, "in", 0) == (*SHARED, f"{first}.in0")
