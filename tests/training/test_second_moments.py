"""Second moments: they are those of the layer's own arithmetic, whatever its geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import ContentStore, DataError, DType, Graph, Level, Operation, Value
from quantable.reference import ReferenceRuntime
from quantable.training.second_moments import SecondMoments, layer_rows, second_moments

Reals = npt.NDArray[np.float64]
EVERYTHING = 1 << 20

WINDOWS = st.fixed_dictionaries({
    "kind": st.sampled_from(["Conv", "ConvTranspose", "quantable.Linear"]),
    "kernel": st.sampled_from([(1, 1), (3, 1), (2, 3), (3,), (2, 2, 2)]),
    "stride": st.integers(1, 2),
    "dilation": st.integers(1, 2),
    "pad": st.tuples(st.integers(0, 2), st.integers(0, 1)),
    "group": st.sampled_from([1, 2, 4]),
    "seed": st.integers(0, 1 << 16),
})  # fmt: skip


def layer(kind: str, kernel: tuple[int, ...], group: int, attributes: dict[str, object],
          seed: int) -> tuple[Graph, list[npt.NDArray[np.float32]]]:  # fmt: skip
    """Return a float graph of one layer over 4 channels that makes 8, and two inputs."""
    rng = np.random.Generator(np.random.Philox(seed))
    shapes = {
        "Conv": (8, 4 // group, *kernel),
        "ConvTranspose": (4, 8 // group, *kernel),
        "quantable.Linear": (4, 8),
    }
    size = (1, 5, 4) if kind == "quantable.Linear" else (1, 4, *(7 for _ in kernel))
    store = ContentStore()
    held = {
        "w": store.put(rng.standard_normal(shapes[kind]).astype(np.float32)),
        "b": store.put(rng.standard_normal(8).astype(np.float32)),
    }
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in held.items()}
    values |= {"x": Value("x", DType.FLOAT32, size), "y": Value("y", DType.FLOAT32, None)}
    given_attributes = {} if kind == "quantable.Linear" else {"group": group, **attributes}
    op = Operation("y", kind, ("x", "w", "b"), ("y",), given_attributes)  # type: ignore[arg-type]
    graph = Graph("g", Level.FLOAT, 21, ("x",), ("y",), values, (op,), held, store=store)
    inputs = rng.standard_normal((2, 3, *size)).astype(np.float32)
    return graph, [inputs[0], inputs[1]]


def matrix(graph: Graph) -> Reals:
    """Return weights and bias as [groups, outputs / group, k + 1]."""
    op = graph.operation_by_name["y"]
    weight, bias = (graph.array(name).astype(np.float64) for name in ("w", "b"))
    group = op.int_attribute("group", 1)
    if op.kind == "quantable.Linear":
        rows = weight.T[None]
    elif op.kind == "Conv":
        rows = weight.reshape(group, 8 // group, -1)
    else:
        by_input = weight.reshape(group, 4 // group, 8 // group, -1)
        rows = by_input.transpose(0, 2, 1, 3).reshape(group, 8 // group, -1)
    return np.concatenate([rows, bias.reshape(group, -1, 1)], axis=2)


def error(moments: SecondMoments, changed: Reals, weights: Reals) -> float:
    """Return the squared output error that the moments tell, but for that of the float outputs."""
    terms = (changed @ moments.quantized * changed).sum() - 2 * (
        changed @ moments.cross * weights
    ).sum()
    return float(terms)


@settings(max_examples=40, deadline=None)
@given(WINDOWS)
def test_they_tell_the_measured_error_of_other_weights_on_other_inputs(window: dict[str, object]):
    kernel = tuple(window["kernel"])
    rank = len(kernel)
    begin, end = window["pad"]
    attributes = {
        "kernel_shape": kernel, "strides": (window["stride"],) * rank,
        "dilations": (window["dilation"],) * rank, "pads": (begin,) * rank + (end,) * rank,
    }  # fmt: skip
    graph, (x, f) = layer(window["kind"], kernel, window["group"], attributes, window["seed"])
    weights = graph.array("w")
    other = graph.store.put((weights + 0.1 * np.sign(weights)).astype(np.float32))
    bias = graph.store.put(graph.array("b") + np.float32(0.25))
    changed = replace(graph, parameters={"w": other, "b": bias})
    mine, its = (
        np.stack([ReferenceRuntime(held).run({"x": array[index]})["y"] for index in (0, 2)])
        for held, array in ((changed, x), (graph, f))
    )
    expected, signal = (
        float(np.square(part, dtype=np.float64).sum()) for part in (mine - its, its)
    )
    moments = second_moments(graph, "y", x, f, [0, 2], rows=EVERYTHING)
    told = error(moments, matrix(changed), matrix(graph)) + signal
    assert told == pytest.approx(expected, abs=1e-5 * (expected + signal))
    rows = layer_rows(graph, "y", x, f, [0, 2])
    outputs = (
        part @ weights.transpose(0, 2, 1)
        for part, weights in ((rows.quantized, matrix(changed)), (rows.original, matrix(graph)))
    )
    found, wanted = outputs
    if rows.quantized.shape[1] == moments.count:  # else they are a part of many
        assert np.square(found - wanted).sum() == pytest.approx(expected, rel=1e-3)
    assert moments.quantized[0, -1, -1] == moments.count


def test_large_maps_are_looked_at_in_part_and_evenly():
    graph, (x, f) = layer("Conv", (1, 1), 1, {"kernel_shape": (1, 1)}, 3)
    every = second_moments(graph, "y", x, f, [0, 1, 2], rows=EVERYTHING)
    part = second_moments(graph, "y", x, f, [0, 1, 2], rows=30)
    assert every.count == 3 * 49
    assert 3 * 8 <= part.count <= 3 * 10
    assert np.array_equal(part.quantized, part.quantized.transpose(0, 2, 1))


def test_what_is_not_finite_is_refused():
    graph, (x, f) = layer("Conv", (1, 1), 1, {"kernel_shape": (1, 1)}, 3)
    x[1, 0, 2, 3, 3] = np.nan
    second_moments(graph, "y", x, f, [0, 2])
    with pytest.raises(DataError, match="value 'x': expected finite numbers"):
        second_moments(graph, "y", x, f, [0, 1])


def test_the_variance_of_what_hardly_varies_is_not_negative():
    # One sample differs a little: float32 sums of its squares are off by 2e-5 of their value.
    graph, (x, _) = layer("Conv", (3, 3), 4, {"kernel_shape": (3, 3)}, 3)
    x = np.full((200, *x.shape[1:]), 0.0937, np.float32)
    x[7, ..., 2:4] = 0.0938
    found = second_moments(graph, "y", x, x, range(200), rows=EVERYTHING)
    sums = found.quantized[:, -1, :-1]
    inner = slice(0, -1)
    for product in (found.quantized, found.cross):
        centred = product[:, inner, inner] - sums[:, :, None] * sums[:, None, :] / found.count
        exact = np.diagonal(centred, axis1=1, axis2=2)
        assert exact.min() > 0
        assert np.linalg.eigvalsh(centred).min() > -1e-6 * exact.max()
