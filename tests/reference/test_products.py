"""Products with constant matrices: exact where integers are, the same bits whatever is around."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DType, Graph, Level, Operation
from quantable.reference import ReferenceRuntime
from quantable.reference.operations import products
from quantable.reference.operations.convolution import HAS_ONEDNN
from quantable.reference.operations.products import PackedProduct, prepared_product

needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this torch has no oneDNN")
GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32


def _drawn(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _graph(graph_of: GraphOf, x: tuple[int | str, ...], w: Any, b: Any) -> Graph:
    operations = [Operation("linear", "quantable.Linear", ("x", "w", "b"), ("y",))]
    result: Graph = graph_of(Level.FLOAT, operations, {"x": (F32, x)}, {"w": w, "b": b}, {"y": F32})
    return result


def _packed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with every product that oneDNN computes."""
    calls: list[Any] = []
    plain = products._POINTWISE

    def counted(*arguments: Any) -> Any:
        calls.append(arguments[0].shape)
        assert plain is not None
        return plain(*arguments)

    monkeypatch.setattr(products, "_POINTWISE", counted)
    return calls


@needs_onednn
@settings(deadline=None, max_examples=60)
@given(
    rows=st.sampled_from([(1,), (2,), (7,), (65,), (2, 3), (2, 1, 5), (0,)]),
    inner=st.integers(1, 130), columns=st.integers(1, 130),
    bias=st.sampled_from(["", "row", "all"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_product_of_any_shape_is_that_of_float64(
    rows: tuple[int, ...], inner: int, columns: int, bias: str, seed: int
) -> None:
    x, w = _drawn(seed, *rows, inner), _drawn(seed + 1, inner, columns)
    b = {"": None, "row": _drawn(2, columns), "all": _drawn(3, rows[-1], columns)}[bias]
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(products, "LARGE", 0)
        calls = _packed(patch)
        given_bias = None if b is None else torch.from_numpy(b)
        y = prepared_product(torch.from_numpy(w))(torch.from_numpy(x), given_bias).numpy()
    assert len(calls) == 1
    expected = x.astype(np.float64) @ w + (0.0 if b is None else b)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * inner)
    assert y.shape == expected.shape


@needs_onednn
def test_only_large_products_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _packed(monkeypatch)
    product = prepared_product(torch.from_numpy(_drawn(0, 256, 512)))
    for rows in (15, 16):
        product(torch.from_numpy(_drawn(1, rows, 256)), None)
    assert calls == [(16, 256)], "16 * 256 * 512 is 2**21"


@needs_onednn
def test_what_is_not_a_number_shows_in_the_rows_that_it_is_in(graph_of: GraphOf) -> None:
    w, b = _drawn(0, 192, 160), _drawn(1, 160)
    w[:, 5], w[3, 7] = 0, np.inf
    x = _drawn(2, 2, 128, 192)
    x[0, 3, 5], x[1, 7, 190], x[1, 100, 0] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = x.astype(np.float64) @ w.astype(np.float64) + b
    found = ReferenceRuntime(_graph(graph_of, (2, 128, 192), w, b)).run({"x": x})["y"]
    assert np.isnan(expected).sum() > 160
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_no_bit_depends_on_threads_or_on_where_operands_lie(graph_of: GraphOf) -> None:
    w, b, x = _drawn(0, 300, 250), _drawn(1, 250), _drawn(2, 8, 67, 300)
    expected = ReferenceRuntime(_graph(graph_of, ("N", 67, 300), w, b)).run({"x": x})["y"]
    for threads in (2, 3, 9):
        runtime = ReferenceRuntime(_graph(graph_of, ("N", 67, 300), w, b), threads=threads)
        np.testing.assert_array_equal(runtime.run({"x": x})["y"], expected)
    rows = torch.from_numpy(x[:2].copy())
    held = prepared_product(torch.from_numpy(w))
    with torch.inference_mode():
        first = held(rows, torch.from_numpy(b))
        np.testing.assert_array_equal(first.numpy(), expected[:2])
        for offset in (1, 3, 8):  # floats, so that no vector is aligned
            room = torch.zeros(rows.numel() + offset)
            moved = room[offset:].view(rows.shape)
            moved.copy_(rows)
            assert torch.equal(held(moved, torch.from_numpy(b)), first)


def test_runs_at_once_give_the_bits_of_one_alone(graph_of: GraphOf) -> None:
    w, b, x = _drawn(0, 300, 250), _drawn(1, 250), _drawn(2, 1, 97, 300)
    runtime = ReferenceRuntime(_graph(graph_of, (1, 97, 300), w, b))
    expected = runtime.run({"x": x})["y"]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: runtime.run({"x": x})["y"], range(40)):
            np.testing.assert_array_equal(found, expected)


def test_a_hook_may_put_another_matrix_in_place(graph_of: GraphOf) -> None:
    w, b, x = _drawn(0, 256, 128), _drawn(1, 128), _drawn(2, 1, 97, 256)
    other = torch.from_numpy(_drawn(3, 256, 128))

    def hook(_: Operation, side: str, index: int, name: str, tensor: Any) -> Any:
        return other if (side, index) == ("in", 1) else None

    found = ReferenceRuntime(_graph(graph_of, (1, 97, 256), w, b), hooks=(hook,)).run({"x": x})["y"]
    np.testing.assert_allclose(found, x.astype(np.float64) @ other.numpy() + b, atol=1e-4)


@pytest.mark.parametrize(("kind", "inner"), [(DType.UINT8, 512), (DType.UINT8, 9000),
                                             (DType.INT16, 512)])  # fmt: skip
def test_large_products_of_integers_are_exact(graph_of: GraphOf, kind: DType, inner: int) -> None:
    """One part of float32, some parts, and float64: sums far beyond their results come and go."""
    zero = (kind.minimum + kind.maximum + 1) // 2
    x = np.full((1, 64, inner), kind.minimum, kind.numpy)
    x[..., : inner // 2] = kind.maximum
    w = np.random.default_rng(4).choice([125, 127], (inner, 130)).astype(np.int8)
    held = {"w": w, "b": np.arange(130, dtype=np.int32), "m": np.ones(130, np.float32)}
    op = {"x_zero_point": zero, "y_zero_point": 0, "clamp_min": -(2**31), "clamp_max": 2**31 - 1}
    made = {"y": DType.INT32}
    operation = Operation("op", "int.Linear", ("x", "w", "b", "m"), ("y",), op)
    shape = {"x": (kind, (1, 64, inner))}
    graph = graph_of(Level.INTEGER, [operation], shape, held, made)
    found = ReferenceRuntime(graph).run({"x": x})["y"]
    total = (x.astype(np.int64) - zero) @ w.astype(np.int64) + held["b"]
    assert np.abs(total).max() < 2**24, "every unit shows"
    np.testing.assert_array_equal(found, total)


def test_a_matrix_of_another_type_or_of_nothing_is_multiplied_plainly() -> None:
    for weight in (torch.ones(4, 3, dtype=torch.float64), torch.ones(4, 0), torch.ones(0, 3)):
        product = prepared_product(weight)
        assert not isinstance(product, PackedProduct)
        x = torch.ones(2, weight.shape[0], dtype=weight.dtype)
        assert torch.equal(product(x, None), torch.matmul(x, weight))
