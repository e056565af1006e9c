"""Dead channels: which they are, wherever they pass, and that nothing else changes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.backends.onnx import emit
from quantable.ir import Graph, OptionError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.drop_dead_channels import DropDeadChannels
from tests.passes.canonicalize.conftest import assert_equal_results, parse_graph

ANY = DropDeadChannels(multiple=1)
WINDOW = "dilations=[1,1] group={group} kernel_shape=[{k},{k}] pads=[{p},{p},{p},{p}] strides=[1,1]"


def window(k: int = 1, p: int = 0, group: int = 1) -> str:
    return f"{{{WINDOW.format(k=k, p=p, group=group)}}}"


def weights(outputs: int, inputs: int, k: int, dead: dict[int, float] | None = None) -> str:
    """A weight with outputs of zero: random integers, so that sums are exact."""
    found = np.random.default_rng(outputs * 31 + inputs).integers(1, 9, (outputs, inputs, k, k))
    for channel in dead or ():
        found[channel] = 0
    return str(found.tolist())


def shapes(graph: Graph) -> dict[str, tuple[object, ...]]:
    return {name: value.shape or () for name, value in graph.values.items()}


def dropped(text: str, item: DropDeadChannels = ANY) -> Graph:
    """Run the pass; demand what the runtime, and ONNX Runtime, made before."""
    graph = parse_graph(text)
    done = run_pass(graph, item, PassContext())
    assert_equal_results(graph, done)
    feeds = {
        name: np.random.default_rng(1).standard_normal(
            [dim if isinstance(dim, int) else 2 for dim in graph.values[name].shape or ()]
        ).astype(np.float32)
        for name in graph.inputs
    }  # fmt: skip
    found = [_by_onnxruntime(one, feeds) for one in (graph, done)]
    for before, after in zip(*found, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-4)
    assert item.run(done, PassContext()) is done
    return done


def _by_onnxruntime(graph: Graph, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        emit(graph, folder)
        session = onnxruntime.InferenceSession(
            Path(folder) / "model.onnx", providers=["CPUExecutionProvider"]
        )
    return session.run(None, feeds)


def block(bias: float, k: int, p: int, middle: str = "Relu(a)") -> str:
    """One convolution with a dead channel in front of another one."""
    return (
        f"x: f32[N,2,4,4]; w: f32[3,2,1,1] = {weights(3, 2, 1, {1: 0})}; "
        f"b: f32[3] = [1, {bias}, -1]; v: f32[2,3,{k},{k}] = {weights(2, 3, k)}\n"
        f"a = Conv(x, w, b) {window()}\nr = {middle}\ny = Conv(r, v) {window(k, p)}\nreturn y"
    )


def test_a_constant_becomes_part_of_the_bias() -> None:
    done = dropped(block(2.0, 3, 0))
    assert done.array("w").shape == (2, 2, 1, 1)
    assert done.array("v").shape == (2, 2, 3, 3)
    assert done.operations[-1].inputs[2] == "y.bias"


def test_a_constant_stays_where_padding_would_be_another_number() -> None:
    graph = parse_graph(block(2.0, 3, 1))
    assert ANY.run(graph, PassContext()) is graph


def test_zero_goes_where_padding_is_zero_as_well() -> None:
    assert dropped(block(-2.0, 3, 1)).array("v").shape == (2, 2, 3, 3)


def test_what_rectifies_is_applied_to_the_constant() -> None:
    done = dropped(block(-2.0, 1, 0, "LeakyRelu(a) {alpha=0.5}"))
    assert done.operations[-1].inputs[2] == "y.bias"


def test_an_unknown_function_of_a_constant_stays() -> None:
    graph = parse_graph(block(2.0, 1, 0, "Sigmoid(a)"))
    assert ANY.run(graph, PassContext()) is graph


@pytest.mark.parametrize("pads", [0, 1])
def test_through_depthwise_convolutions(pads: int) -> None:
    """A channel that is cleared in the middle goes on both sides of it, border or not."""
    done = dropped(
        f"x: f32[N,2,4,4]; w: f32[3,2,1,1] = {weights(3, 2, 1)}; "
        f"d: f32[3,1,3,3] = {weights(3, 1, 3, {2: 0})}; e: f32[3] = [1, 2, 3]; "
        f"v: f32[2,3,1,1] = {weights(2, 3, 1)}\n"
        f"a = Conv(x, w) {window()}\nr = Relu(a)\nm = Conv(r, d, e) {window(3, pads, 3)}\n"
        f"s = Relu(m)\ny = Conv(s, v) {window()}\nreturn y"
    )
    assert [done.array(name).shape[0] for name in "wde"] == [2, 2, 2]
    assert done.operations[2].int_attribute("group") == 2
    assert done.array("y.bias").shape == (2,)


def test_a_constant_meets_the_border_of_a_depthwise_convolution() -> None:
    """Behind it the channel is no constant any more."""
    text = (
        f"x: f32[N,2,4,4]; w: f32[3,2,1,1] = {weights(3, 2, 1, {1: 0})}; b: f32[3] = [1, 2, 3]; "
        f"d: f32[3,1,3,3] = {weights(3, 1, 3)}; v: f32[2,3,1,1] = {weights(2, 3, 1)}\n"
        f"a = Conv(x, w, b) {window()}\nm = Conv(a, d) {window(3, 1, 3)}\n"
        f"y = Conv(m, v) {window()}\nreturn y"
    )
    graph = parse_graph(text)
    assert ANY.run(graph, PassContext()) is graph
    assert dropped(text.replace("pads=[1,1,1,1]", "pads=[0,0,0,0]")).array("d").shape[0] == 2


SUM = (
    "x: f32[N,2,4,4]; w: f32[3,2,1,1] = {w}; u: f32[3,2,1,1] = {u}; b: f32[3] = [1, 2, 3]; "
    "v: f32[2,3,1,1] = {v}\n"
    "a = Conv(x, w, b) {window}\nc = Conv(x, u) {window}\ns = Add(a, c)\ny = Conv(s, v) {window}\n"
    "return y"
)


def summed(first: dict[int, float], second: dict[int, float], unread: int | None = None) -> str:
    v = np.array(json.loads(weights(2, 3, 1)))
    if unread is not None:
        v[:, unread] = 0
    return (
        SUM.replace("{w}", weights(3, 2, 1, first)).replace("{u}", weights(3, 2, 1, second))
        .replace("{v}", str(v.tolist())).replace("{window}", window())
    )  # fmt: skip


def test_both_operands_of_a_sum_lose_what_is_constant_in_both() -> None:
    done = dropped(summed({1: 0}, {1: 0}))
    assert [done.array(name).shape[0] for name in "wu"] == [2, 2]


def test_both_operands_of_a_sum_lose_what_nobody_reads() -> None:
    done = dropped(summed({}, {}, unread=0))
    assert [done.array(name).shape[0] for name in "wu"] == [2, 2]


def test_one_constant_operand_is_not_enough() -> None:
    graph = parse_graph(summed({1: 0}, {}))
    assert ANY.run(graph, PassContext()) is graph


def test_through_concatenations_each_part_of_its_own() -> None:
    done = dropped(
        f"x: f32[N,2,4,4]; w: f32[3,2,1,1] = {weights(3, 2, 1, {1: 0})}; "
        f"u: f32[2,2,1,1] = {weights(2, 2, 1, {0: 0})}; v: f32[2,5,1,1] = {weights(2, 5, 1)}\n"
        f"a = Conv(x, w) {window()}\nc = Conv(x, u) {window()}\ns = Concat(a, c) {{axis=1}}\n"
        f"y = Conv(s, v) {window()}\nreturn y"
    )
    assert [done.array(name).shape[:2] for name in "wuv"] == [(2, 2), (1, 2), (2, 3)]


@pytest.mark.parametrize("shape", ["[0, -1]", "[-1, 12]"])
@pytest.mark.parametrize("pool", [True, False])
def test_through_pools_and_flattening_to_a_linear_layer(shape: str, pool: bool) -> None:
    size, inner = (2, 12) if pool else (4, 48)
    window_2 = "{kernel_shape=[2,2] strides=[2,2] dilations=[1,1] pads=[0,0,0,0] ceil_mode=0}"
    v = np.random.default_rng(3).integers(1, 9, (inner, 2)).tolist()
    done = dropped(
        f"x: f32[N,2,4,4]; w: f32[3,2,1,1] = {weights(3, 2, 1, {1: 0})}; b: f32[3] = [1, 2, 3]; "
        f"f: i64[2] = {shape.replace('12', str(inner))}; v: f32[{inner},2] = {v}\n"
        f"a = Conv(x, w, b) {window()}\nr = {f'MaxPool(a) {window_2}' if pool else 'Relu(a)'}\n"
        "s = Reshape(r, f)\ny = quantable.Linear(s, v)\nreturn y"
    )
    assert done.array("v").shape == (size * size * 2, 2)
    assert shapes(done)["s"][1] == size * size * 2


def test_channels_at_the_border_of_the_network_stay() -> None:
    graph = parse_graph(
        f"x: f32[N,2,4,4]; w: f32[3,2,1,1] = {weights(3, 2, 1, {1: 0})}\n"
        f"y = Conv(x, w) {window()}\nreturn y"
    )
    assert ANY.run(graph, PassContext()) is graph


def test_what_is_left_without_readers_goes_too() -> None:
    """Backwards along the layers: the last one reads one channel, and that one reads one."""
    done = dropped(
        "x: f32[N,1]; u: f32[1,2] = [[3, 4]]; w: f32[2,2] = [[1, 0], [0, 9]]; "
        "v: f32[2,1] = [[1], [0]]\n"
        "a = quantable.Linear(x, u)\nb = quantable.Linear(a, w)\ny = quantable.Linear(b, v)\n"
        "return y"
    )
    assert [done.array(name).shape for name in "uwv"] == [(1, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize(("multiple", "left"), [(1, 5), (2, 6), (4, 8), (8, 8), (16, 9)])
def test_numbers_of_channels_stay_a_multiple(multiple: int, left: int) -> None:
    w = [[float(0 if i in (1, 3, 5, 7) else i + 1) for i in range(9)]]
    text = (
        f"x: f32[N,1]; w: f32[1,9] = {w}; v: f32[9,1] = {[[2.0]] * 9}\n"
        "a = quantable.Linear(x, w)\ny = quantable.Linear(a, v)\nreturn y"
    )
    assert dropped(text, DropDeadChannels(multiple=multiple)).array("w").shape == (1, left)


def test_a_layer_that_is_dead_as_a_whole_keeps_a_channel() -> None:
    text = (
        "x: f32[N,1]; w: f32[1,3] = [[0, 0, 0]]; v: f32[3,1] = [[1], [2], [3]]; "
        "b: f32[3] = [1, 2, 3]\n"
        "a = quantable.Linear(x, w, b)\ny = quantable.Linear(a, v)\nreturn y"
    )
    assert dropped(text).array("w").shape == (1, 1)


NUMBERS = st.sampled_from([0.0, 0.0, 1.0, -2.0])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=2),
    st.lists(NUMBERS, min_size=3, max_size=3),
    st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=3, max_size=3),
    st.sampled_from(["Relu(a)", "Clip(a, lo, hi)", "LeakyRelu(a)", "Add(a, a)", "Sub(a, a)"]),
)  # fmt: skip
def test_the_function_stays(
    w: list[list[float]], b: list[float], v: list[list[float]], middle: str
) -> None:
    text = (
        f"x: f32[N,2]; w: f32[2,3] = {w}; b: f32[3] = {b}; v: f32[3,2] = {v}; "
        f"u: f32[2,1] = [[1], [0]]; lo: f32[] = 0; hi: f32[] = 6\n"
        f"a = quantable.Linear(x, w, b)\nr = {middle}\nc = quantable.Linear(r, v)\n"
        "y = quantable.Linear(c, u)\nreturn y"
    )
    graph = parse_graph(text)
    done = run_pass(graph, ANY, PassContext())
    assert_equal_results(graph, done)


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="tolerance: expected 0 to 1, found 2"):
        DropDeadChannels(tolerance=2.0).check()
    with pytest.raises(OptionError, match="multiple: expected at least 1, found 0"):
        DropDeadChannels(multiple=0).check()


@pytest.mark.parametrize("sizes", [(2, 6), (3, 4), (1, 2, 6)])
def test_a_reshape_that_is_no_flattening_hands_no_channel_on(sizes: tuple[int, ...]) -> None:
    """Elements of a constant channel come to lie in all channels of the linear layer behind it."""
    linear = np.arange(1, 2 * sizes[-1] + 1).reshape(sizes[-1], 2).tolist()
    text = (
        f"x: f32[1,2,2,2]; w: f32[3,2,1,1] = {weights(3, 2, 1, {0: 0})}; "
        f"b: f32[3] = [2, 1, -1]; s: i64[{len(sizes)}] = {list(sizes)}; "
        f"v: f32[{sizes[-1]},2] = {linear}\n"
        f"a = Conv(x, w, b) {window()}\nr = Reshape(a, s)\ny = quantable.Linear(r, v)\nreturn y"
    )
    graph = parse_graph(text)
    done = ANY.run(graph, PassContext())
    assert_equal_results(graph, done)


def test_a_reader_far_behind_a_reshape_dropped_what_the_reshape_still_made() -> None:
    """What an unknown operation makes stays, also where only a later layer looks at channels."""
    text = (
        "x: f32[1,4,9]; w: f32[1,4,1] = [[[1],[2],[3],[4]]]; s: i64[2] = [1, -1]; "
        "v: f32[9,1] = [[1],[2],[3],[4],[5],[6],[0],[8],[9]]\n"
        "a = Conv(x, w) {dilations=[1] group=1 kernel_shape=[1] pads=[0,0] strides=[1]}\n"
        "r = Reshape(a, s)\ne = Elu(r)\ny = quantable.Linear(e, v)\nreturn y"
    )
    graph = parse_graph(text)
    done = ANY.run(graph, PassContext())
    assert_equal_results(graph, done)
