"""Integers of a model are baked as they are."""

from __future__ import annotations

from quantable.ir import QuantableOperation, Relation, State
from tests.passes.quantize.adopting import CONSTANTS, OVERLAPPED, Adopt, slot


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
