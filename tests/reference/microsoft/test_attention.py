"""Attention of com.microsoft against ONNX Runtime: masks, caches, positions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]
Check = Callable[..., None]
BATCH, LENGTH, HEADS, SIZE = 2, 5, 3, 4
HIDDEN = HEADS * SIZE


def _normal(rng: Any, *shape: int) -> Array:
    return np.asarray(rng.normal(size=shape), np.float32)


def _masks(rng: Any, total: int) -> list[Array | None]:
    raw = np.asarray(rng.random((BATCH, total)) < 0.7, np.int32)
    raw[:, 0] = 1
    cube = np.asarray(rng.random((BATCH, LENGTH, total)) < 0.7, np.int32)
    cube[:, :, 0] = 1
    return [None, np.int32([total, 3]), np.int32([total, 4, 0, 2]), raw, cube]


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_its_weights(check: Check, rng: Any, causal: int) -> None:
    x, w = _normal(rng, BATCH, LENGTH, 6), _normal(rng, 6, 3 * HIDDEN)
    bias, past = _normal(rng, 3 * HIDDEN), _normal(rng, 2, BATCH, HEADS, 2, SIZE)
    settings = {"num_heads": HEADS, "unidirectional": causal}
    for mask in _masks(rng, LENGTH):
        check("Attention", [x, w, bias, mask], **settings)
    for mask in _masks(rng, LENGTH + 2):
        check("Attention", [x, w, bias, mask, past], 2, **settings)
    added = _normal(rng, 1, HEADS, LENGTH, LENGTH)
    check("Attention", [x, w, bias, None, None, added], 2, scale=0.3, **settings)
    check("Attention", [x, w], **settings)


def test_attention_with_values_of_another_size(check: Check, rng: Any) -> None:
    x, w = _normal(rng, BATCH, LENGTH, 6), _normal(rng, 6, 2 * HIDDEN + HEADS * 2)
    sizes = [HIDDEN, HIDDEN, HEADS * 2]
    check("Attention", [x, w, _normal(rng, sum(sizes))], num_heads=HEADS, qkv_hidden_sizes=sizes)


@pytest.mark.parametrize("causal", [0, 1])
def test_quantized_attention(check: Check, rng: Any, causal: int) -> None:
    x = np.asarray(rng.integers(0, 256, (BATCH, LENGTH, 8)), np.uint8)
    w, bias = np.asarray(rng.integers(-64, 64, (8, 3 * HIDDEN)), np.int8), _normal(rng, 3 * HIDDEN)
    row = [np.float32(0.01), np.float32(0.02)]
    settings = {"num_heads": HEADS, "unidirectional": causal, "tolerance": 1e-4}
    for mask in (None, np.int32([LENGTH, 3])):
        check("QAttention", [x, w, bias, *row, mask, np.uint8(120), np.int8(0)], **settings)
    past = _normal(rng, 2, BATCH, HEADS, 2, SIZE)
    scales = np.asarray(rng.random(3 * HIDDEN) * 0.02, np.float32)
    check("QAttention", [x, w, bias, row[0], scales, None, np.uint8(7), np.zeros_like(w[0]),
                         past], 2, **settings)  # fmt: skip


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_of_given_heads(check: Check, rng: Any, causal: int) -> None:
    q, k, v = (_normal(rng, BATCH, n, HIDDEN) for n in (LENGTH, 7, 7))
    bias = _normal(rng, 3 * HIDDEN)
    settings = {"num_heads": HEADS, "unidirectional": causal}
    if not causal:
        for mask in _masks(rng, 7):
            if mask is None or mask.shape != (2 * BATCH,):
                check("MultiHeadAttention", [q, k, v, bias, mask], 3, **settings)
        check("MultiHeadAttention", [q, k, v, None, None, _normal(rng, BATCH, 1, LENGTH, 7)],
              **settings)  # fmt: skip
        in_heads = [x.reshape(BATCH, 7, HEADS, SIZE).swapaxes(1, 2).copy() for x in (k, v)]
        check("MultiHeadAttention", [q, *in_heads, bias], **settings)
    past = [_normal(rng, BATCH, HEADS, 3, SIZE) for _ in range(2)]
    k, v = k[:, :LENGTH].copy(), v[:, :LENGTH].copy()
    for given in ([bias, None, None], [None, None, _normal(rng, 1, HEADS, LENGTH, LENGTH + 3)]):
        check("MultiHeadAttention", [q, k, v, *given, *past], 3, scale=0.4, **settings)
    check("MultiHeadAttention", [q, k, _normal(rng, BATCH, LENGTH, HEADS * 2)], **settings)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotation(check: Check, rng: Any, interleaved: int) -> None:
    cosine, sine = _normal(rng, 9, SIZE // 2), _normal(rng, 9, SIZE // 2)
    for place in (np.array([3]), rng.integers(0, 9, (BATCH, LENGTH))):
        given = [place, cosine, sine]
        check("RotaryEmbedding", [_normal(rng, BATCH, LENGTH, HIDDEN), *given],
              interleaved=interleaved)  # fmt: skip
        check("RotaryEmbedding", [_normal(rng, BATCH, HEADS, LENGTH, SIZE), *given],
              interleaved=interleaved)  # fmt: skip
    half = [np.array([0]), cosine[:, :1].copy(), sine[:, :1].copy()]
    check("RotaryEmbedding", [_normal(rng, BATCH, LENGTH, HIDDEN), *half], num_heads=HEADS,
          rotary_embedding_dim=2, interleaved=interleaved)  # fmt: skip


@pytest.mark.parametrize("past", [0, 4])
def test_attention_of_grouped_heads(check: Check, rng: Any, past: int) -> None:
    heads, groups, size = 4, 2, 16
    new = 1 if past else LENGTH
    total = past + new
    q = _normal(rng, BATCH, new, heads * size)
    k, v = (_normal(rng, BATCH, new, groups * size) for _ in range(2))
    caches = [_normal(rng, BATCH, groups, past, size) if past else None for _ in range(2)]
    ends = [np.full(BATCH, total - 1, np.int32), np.int32(total)]
    turns = [_normal(rng, 16, size // 2) for _ in range(2)]
    settings = {"num_heads": heads, "kv_num_heads": groups}
    plain = [q, k, v, *caches, *ends]
    check("GroupQueryAttention", plain, 3, **settings)
    packed = [np.concatenate([q, k, v], -1), None, None, *caches, *ends]
    check("GroupQueryAttention", packed, 3, scale=0.3, **settings)
    for interleaved, smooth in itertools.product((0, 1), (0, 1)):
        check("GroupQueryAttention", [*plain, *turns], 3, do_rotary=1, smooth_softmax=smooth,
              rotary_interleaved=interleaved, **settings)  # fmt: skip
    for window in (1, 2, 3):
        check("GroupQueryAttention", plain, 3, local_window_size=window, **settings)
    check("GroupQueryAttention", plain, 3, softcap=0.7, **settings)
    bias = _normal(rng, BATCH, heads, new, total)
    check("GroupQueryAttention", [*plain, None, None, None, bias], 3, **settings)
    sink = _normal(rng, heads)
    check("GroupQueryAttention", [*plain, None, None, None, None, sink], 3, **settings)


def test_a_cache_with_room(check: Check, rng: Any) -> None:
    heads, groups, size, room = 4, 2, 16, 9
    q = _normal(rng, 1, 1, heads * size)
    k, v = (_normal(rng, 1, 1, groups * size) for _ in range(2))
    caches = [_normal(rng, 1, groups, room, size) for _ in range(2)]
    ends = [np.int32([5]), np.int32(6)]
    check("GroupQueryAttention", [q, k, v, *caches, *ends], 3, num_heads=heads, kv_num_heads=groups)
