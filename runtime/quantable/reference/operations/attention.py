"""Attention of ONNX, and what goes with it: positions by rotation, attention in linear time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site


@dataclass(frozen=True, slots=True)
class _Settings:
    """Attributes of an Attention; see the ONNX specification for each."""

    is_causal: bool
    left: int
    right: int
    scale: float | None
    softcap: float
    precision: torch.dtype | None
    mode: int
    heads: tuple[int, int]

    @staticmethod
    def of(site: Site) -> _Settings:
        op = site.operation
        has_scale, number = "scale" in op.attributes, op.int_attribute("softmax_precision")
        return _Settings(
            bool(op.int_attribute("is_causal")),
            op.int_attribute("left_window_size", -1), op.int_attribute("right_window_size", -1),
            op.float_attribute("scale") if has_scale else None,
            op.float_attribute("softcap"),
            site.torch_type(site.number_type("softmax_precision")) if number else None,
            op.int_attribute("qk_matmul_output_mode"),
            (op.int_attribute("q_num_heads"), op.int_attribute("kv_num_heads")),
        )  # fmt: skip


def _in_heads(x: Tensor, heads: int) -> Tensor:
    """[N, length, heads * size] -> [N, heads, length, size]."""
    if x.dim() == 4:
        return x
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _allowed(settings: _Settings, rows: int, columns: int, offset: Tensor) -> Tensor | None:
    """Return which keys each query may see [N or 1, 1, rows, columns], None for all.

    Args:
        offset: Keys before the first query, one a sample.
    """
    position = offset.view(-1, 1, 1, 1) + torch.arange(rows).view(1, 1, -1, 1)
    key = torch.arange(columns).view(1, 1, 1, -1)
    limits = []
    if settings.is_causal:
        limits.append(key <= position)
    if settings.left >= 0:
        limits.append(key >= position - settings.left)
    if settings.right >= 0:
        limits.append(key <= position + settings.right)
    if not limits:
        return None
    found = limits[0]
    for limit in limits[1:]:
        found = found & limit
    return found


def _bias(
    settings: _Settings,
    scores: Tensor,
    mask: Tensor | None,
    offset: Tensor,
    lengths: Tensor | None,
) -> Tensor | None:
    """Return what is added to the scores, None for nothing; -inf where a key is hidden."""
    rows, columns = scores.shape[-2:]
    hidden = torch.tensor(-math.inf, dtype=scores.dtype)
    zero = torch.zeros((), dtype=scores.dtype)
    parts = []
    allowed = _allowed(settings, rows, columns, offset)
    if allowed is not None:
        parts.append(torch.where(allowed, zero, hidden))
    if mask is not None:
        given = torch.where(mask, zero, hidden) if mask.dtype is torch.bool else mask
        short = columns - given.shape[-1]
        if short > 0:
            given = torch.nn.functional.pad(given, (0, short), value=-math.inf)
        parts.append(given.to(scores.dtype))
    if lengths is not None:
        valid = torch.arange(columns).view(1, 1, 1, -1) < lengths.view(-1, 1, 1, 1)
        parts.append(torch.where(valid, zero, hidden))
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _weights(settings: _Settings, scores: Tensor) -> Tensor:
    """Return the softmax over the keys; a query that sees none has weights of zero."""
    wide = scores if settings.precision is None else scores.to(settings.precision)
    is_blind = (wide == -math.inf).all(-1, keepdim=True)
    found = torch.softmax(torch.where(is_blind, torch.zeros_like(wide), wide), -1)
    return torch.where(is_blind, torch.zeros_like(found), found).to(scores.dtype)


def _attention(site: Site) -> Kernel:
    settings = _Settings.of(site)

    def run(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        past_k: Tensor | None = None,
        past_v: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        is_flat = q.dim() == 3
        q = _in_heads(q, settings.heads[0])
        k, v = (_in_heads(x, settings.heads[1]) for x in (k, v))
        offset = torch.zeros(1, dtype=torch.int64)
        if past_k is not None and past_v is not None:
            offset = torch.tensor([past_k.shape[2]])
            k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        elif lengths is not None:
            offset = lengths.to(torch.int64) - q.shape[2]
        y, shown = _attend(settings, (q, k, v), mask, offset, lengths)
        if is_flat:
            y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)
        return y, k, v, shown

    return run


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix product; sums of 16-bit numbers are kept in 32 bits."""
    if a.dtype in (torch.float16, torch.bfloat16):
        return torch.matmul(a.to(torch.float32), b.to(torch.float32)).to(a.dtype)
    return torch.matmul(a, b)


def _attend(
    settings: _Settings,
    operands: tuple[Tensor, Tensor, Tensor],
    mask: Tensor | None,
    offset: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the output, and the scores or weights that the fourth output shows."""
    q, present_k, present_v = operands
    repeats = q.shape[1] // present_k.shape[1]
    k = present_k.repeat_interleave(repeats, 1) if repeats > 1 else present_k
    v = present_v.repeat_interleave(repeats, 1) if repeats > 1 else present_v
    scale = 1 / math.sqrt(q.shape[-1]) if settings.scale is None else settings.scale
    root = math.sqrt(scale)  # on both operands: their product may be too large for float16
    stages = [_product(q * root, (k * root).transpose(-1, -2))]
    cap = settings.softcap
    stages.append(cap * torch.tanh(stages[-1] / cap) if cap else stages[-1])
    bias = _bias(settings, stages[-1], mask, offset, lengths)
    stages.append(stages[-1] if bias is None else stages[-1] + bias)
    stages.append(_weights(settings, stages[-1]))
    # A hidden key may hold anything: zero times infinity must not come into the sum.
    weights = stages[-1]
    is_seen = (weights != 0).any(-2, keepdim=True).transpose(-1, -2)
    y = _product(weights, torch.where(is_seen, v, torch.zeros_like(v)))
    return y, stages[settings.mode]


def _rotary_embedding(site: Site) -> Kernel:
    op = site.operation
    is_interleaved = bool(op.int_attribute("interleaved"))
    rotated, heads = op.int_attribute("rotary_embedding_dim"), op.int_attribute("num_heads")

    def run(x: Tensor, cosine: Tensor, sine: Tensor, positions: Tensor | None = None) -> Tensor:
        is_flat = x.dim() == 3
        rows = x.reshape(*x.shape[:2], heads, -1) if is_flat else x.transpose(1, 2)
        size = rotated or rows.shape[-1]
        turning, rest = rows[..., :size], rows[..., size:]
        if positions is not None:
            cosine, sine = cosine[positions.to(torch.int64)], sine[positions.to(torch.int64)]
        cosine, sine = cosine.unsqueeze(2), sine.unsqueeze(2)
        if is_interleaved:
            first, second = turning[..., 0::2], turning[..., 1::2]
        else:
            first, second = turning.chunk(2, -1)
        real, imaginary = cosine * first - sine * second, sine * first + cosine * second
        if is_interleaved:
            turned = torch.stack([real, imaginary], -1).reshape(turning.shape)
        else:
            turned = torch.cat([real, imaginary], -1)
        y = torch.cat([turned, rest], -1)
        return y.reshape(x.shape) if is_flat else y.transpose(1, 2)

    return run


def _linear_attention(site: Site) -> Kernel:
    op = site.operation
    heads, kv_heads = op.int_attribute("q_num_heads"), op.int_attribute("kv_num_heads")
    given, rule = op.float_attribute("scale"), op.string_attribute("update_rule", "gated_delta")
    if rule not in ("linear", "gated", "delta", "gated_delta"):
        raise site.refuse(f"attribute 'update_rule': found {rule}")

    def run(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        past: Tensor | None = None,
        decay: Tensor | None = None,
        beta: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        # The recurrence is written in float32 whatever the type of the tensors.
        wide = torch.float64 if query.dtype is torch.float64 else torch.float32
        q = _in_heads(query, heads).to(wide)
        k, v = (_in_heads(x, kv_heads).to(wide) for x in (key, value))
        scale = given or 1 / math.sqrt(q.shape[-1])
        state = torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=wide)
        state = state if past is None else past.to(wide)
        gate = None if decay is None or "gated" not in rule else _in_heads(decay, kv_heads).to(wide)
        rate = None
        if beta is not None and "delta" in rule:
            rate = beta.to(wide).transpose(1, 2).unsqueeze(-1)
        outputs = []
        for step in range(q.shape[2]):
            if gate is not None:
                state = torch.exp(gate[:, :, step]).unsqueeze(-1) * state
            now = None if rate is None else rate[:, :, step]
            state = _updated(state, k[:, :, step], v[:, :, step], now)
            shared = state.repeat_interleave(heads // kv_heads, 1)
            outputs.append(scale * torch.einsum("bhk,bhkv->bhv", q[:, :, step], shared))
        y = torch.stack(outputs, 1) if outputs else q.new_zeros(q.shape[0], 0, heads, v.shape[-1])
        return y.reshape(*query.shape[:2], -1).to(query.dtype), state.to(query.dtype)

    return run


def _updated(state: Tensor, key: Tensor, value: Tensor, rate: Tensor | None) -> Tensor:
    """Return the state [N, heads, d_k, d_v] after one token; with a rate, by the delta rule."""
    if rate is not None:
        value = rate * (value - torch.einsum("bhkv,bhk->bhv", state, key))
    return state + key.unsqueeze(-1) * value.unsqueeze(-2)


TABLE: dict[str, Builder] = {
    "Attention": _attention,
    "LinearAttention": _linear_attention,
    "RotaryEmbedding": _rotary_embedding,
}
