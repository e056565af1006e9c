"""GroupQueryAttention and RotaryEmbedding of com.microsoft."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.operations.microsoft.attention import (
    Scores,
    attend,
    in_heads,
    refuse_options,
)
from quantable.reference.site import Builder, Kernel, Site

_ABSENT = {12: "k_scale", 13: "v_scale", 14: "q_norm_weight",
           15: "k_norm_weight", 16: "query_seqlens"}  # fmt: skip


def rotated(
    x: Tensor, cosine: Tensor, sine: Tensor, positions: Tensor, is_interleaved: bool
) -> Tensor:
    """Turn pairs of elements by the angles of their positions.

    Args:
        x: [B, heads, length, size]; twice as many elements as the caches have are turned.
        cosine, sine: [positions, half of what is turned].
        positions: [B or 1, length].
    """
    c, s = (cache[positions].unsqueeze(1) for cache in (cosine, sine))
    size = 2 * c.shape[-1]
    turning, rest = x[..., :size], x[..., size:]
    if is_interleaved:
        first, second = turning[..., 0::2], turning[..., 1::2]
    else:
        first, second = turning.chunk(2, -1)
    real, imaginary = c * first - s * second, s * first + c * second
    if is_interleaved:
        turned = torch.stack([real, imaginary], -1).flatten(-2)
    else:
        turned = torch.cat([real, imaginary], -1)
    return torch.cat([turned, rest], -1)


def _rotary_embedding(site: Site) -> Kernel:
    op = site.operation
    refuse_options(site, ("is_packed_batching",))
    if op.float_attribute("scale", 1.0) != 1.0:
        raise site.refuse("attribute 'scale': expected 1")
    is_interleaved, heads = bool(op.int_attribute("interleaved")), op.int_attribute("num_heads")

    def run(x: Tensor, positions: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        width = 2 * cosine.shape[-1]
        rows = x if x.dim() == 4 else in_heads(x, heads or x.shape[-1] // width)
        place = positions.to(torch.int64)
        if place.numel() == 1:
            place = place.reshape(1, 1) + torch.arange(rows.shape[2]).view(1, -1)
        y = rotated(rows, cosine, sine, place, is_interleaved)
        return y if x.dim() == 4 else y.transpose(1, 2).flatten(2)

    return run


def _grouped_scores(site: Site) -> Scores:
    """Return the settings, refusing what only kernels of GPUs have."""
    op = site.operation
    for slot, name in _ABSENT.items():
        if site.has(slot):
            raise site.refuse(f"input '{name}': expected none")
    refuse_options(site, ("kv_cache_bit_width", "qk_output", "sliding_window_cache"))
    if not op.int_attribute("causal", 1):
        raise site.refuse("attribute 'causal': expected 1")
    scale, softcap = op.float_attribute("scale") or None, op.float_attribute("softcap")
    return Scores(op.int_attribute("num_heads"), scale, softcap)


def _group_query(site: Site) -> Kernel:
    op, scores = site.operation, _grouped_scores(site)
    heads, kv_heads = scores.heads, op.int_attribute("kv_num_heads")
    window, is_smooth = (
        op.int_attribute("local_window_size", -1),
        op.int_attribute("smooth_softmax"),
    )
    turns, is_interleaved = op.int_attribute("do_rotary"), op.int_attribute("rotary_interleaved")

    def run(
        q: Tensor, k: Tensor | None, v: Tensor | None, past_k: Tensor | None,
        past_v: Tensor | None, lengths: Tensor, total: Tensor, cosine: Tensor | None = None,
        sine: Tensor | None = None, positions: Tensor | None = None,
        bias: Tensor | None = None, sink: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if k is None or v is None:
            size = q.shape[-1] // (heads + 2 * kv_heads)
            q, k, v = torch.split(q, [heads * size, kv_heads * size, kv_heads * size], -1)
        q, k, v = in_heads(q, heads), in_heads(k, kv_heads), in_heads(v, kv_heads)
        rows, longest = q.shape[2], int(total)
        before = (lengths.to(torch.int64).reshape(-1) + 1 - rows).clamp(min=0)  # in the cache
        if rows == longest:  # a prompt: shorter ones are filled up at their end
            before = torch.zeros_like(before)
        place = before.view(-1, 1) + torch.arange(rows).view(1, -1)
        if turns and cosine is not None and sine is not None:
            turned_at = place if positions is None else positions.to(torch.int64)
            q, k = (rotated(x, cosine, sine, turned_at, bool(is_interleaved)) for x in (q, k))
        k, v = _cached(past_k, k, place, longest), _cached(past_v, v, place, longest)
        if is_smooth:
            sink = torch.zeros(heads)
        y = _grouped(scores, (q, k, v), place, (window, longest), bias, sink)
        return y.transpose(1, 2).flatten(2), k, v

    return run


def _cached(past: Tensor | None, new: Tensor, place: Tensor, longest: int) -> Tensor:
    """Return the cache [B, heads, max(cache, longest), size] with new rows at their places.

    Rows of the cache that are not filled yet become zero.
    """
    held = 0 if past is None else past.shape[2]
    full = new.new_zeros(*new.shape[:2], max(held, longest), new.shape[3])
    if past is not None:
        is_filled = torch.arange(held).view(1, 1, -1, 1) < place[:, :1].reshape(-1, 1, 1, 1)
        full[:, :, :held] = torch.where(is_filled, past, torch.zeros_like(past))
    return full.scatter(2, place.view(place.shape[0], 1, -1, 1).expand(new.shape), new)


def _grouped(
    scores: Scores, operands: tuple[Tensor, Tensor, Tensor], place: Tensor,
    limits: tuple[int, int], bias: Tensor | None, sink: Tensor | None,
) -> Tensor:  # fmt: skip
    """Return the attention of grouped heads; every query sees the keys before it in a window."""
    q, k, v = operands
    window, longest = limits
    repeats = q.shape[1] // k.shape[1]
    k, v = (x[:, :, :longest].repeat_interleave(repeats, 1) for x in (k, v))
    key, own = torch.arange(longest).view(1, 1, 1, -1), place.unsqueeze(1).unsqueeze(-1)
    is_seen = key <= own
    if window >= 0:
        is_seen = is_seen & (key > own - window)
    added = torch.where(is_seen, 0.0, -torch.inf).to(q.dtype)
    added = added if bias is None else added + bias
    column = None if sink is None else sink.view(-1, 1, 1).to(q.dtype)
    return attend(scores, q, k, v, added, column)


TABLE: dict[str, Builder] = {
    "com.microsoft.GroupQueryAttention": _group_query,
    "com.microsoft.RotaryEmbedding": _rotary_embedding,
}
