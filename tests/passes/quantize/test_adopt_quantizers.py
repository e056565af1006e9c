"""Quantizers of activations become configs; models are written as ONNX text."""

from __future__ import annotations

import pytest

from quantable.ir import DType, QuantableOperation, State
from tests.passes.quantize.adopting import CONSTANTS, OVERLAPPED, OWN, SHARED, Adopt, slot


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
