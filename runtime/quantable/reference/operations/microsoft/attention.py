"""Attention of com.microsoft in its three forms, and positions by rotation.

`Attention` has the products that make queries, keys and values inside, `MultiHeadAttention` takes
them as they are, `GroupQueryAttention` has fewer heads of keys than of queries and a cache that it
fills. What a mask hides gets a large negative number added, as ONNX Runtime does, and not minus
infinity: a query that sees nothing sees everything alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quantable.reference.operations.quantized import along, centred
from quantable.reference.site import Builder, Kernel, Site

_HIDDEN = -10000.0


@dataclass(frozen=True, slots=True)
class Scores:
    """How scores are made of queries and keys.

    Attributes:
        heads: Heads of the queries.
        scale: What products are multiplied with; None for one over the root of a head's size.
        softcap: The bound that the hyperbolic tangent keeps them in, 0 for none.
        hidden: What is added where a mask hides a key.
        is_causal: Whether a query sees no key after it.
    """

    heads: int
    scale: float | None = None
    softcap: float = 0.0
    hidden: float = _HIDDEN
    is_causal: bool = False

    @staticmethod
    def of(site: Site) -> Scores:
        op = site.operation
        refuse_options(site, ("do_rotary", "past_present_share_buffer"))
        scale = op.float_attribute("scale")
        return Scores(
            op.int_attribute("num_heads"), scale or None, 0.0,
            op.float_attribute("mask_filter_value", _HIDDEN),
            bool(op.int_attribute("unidirectional")),
        )  # fmt: skip


def refuse_options(site: Site, names: tuple[str, ...]) -> None:
    """Raise where an attribute asks for something that only other kernels than the CPU's have."""
    for name in names:
        if site.operation.int_attribute(name):
            raise site.refuse(f"attribute '{name}': expected 0, found another value")


def in_heads(x: Tensor, heads: int) -> Tensor:
    """[B, length, heads * size] -> [B, heads, length, size]."""
    return x if x.dim() == 4 else torch.unflatten(x, 2, (heads, -1)).transpose(1, 2)


def _flat(y: Tensor) -> Tensor:
    """[B, heads, length, size] -> [B, length, heads * size]."""
    return y.transpose(1, 2).flatten(2)


def mask_bias(
    scores: Scores, mask: Tensor | None, batch: int, rows: int, columns: int
) -> Tensor | None:
    """Return what is added to scores of [B, heads, rows, columns] for a mask and for causality.

    Args:
        mask: [B]: how many keys count; [2 * B]: the same, then where they begin; [B, columns] or
            [B, rows, columns]: which count.
    """
    added = None
    if mask is not None:
        added = (~_counts(mask, batch, columns)).to(torch.float32) * scores.hidden
    if scores.is_causal and rows > 1:
        place = torch.arange(columns - rows, columns).view(-1, 1)
        is_later = torch.arange(columns).view(1, -1) > place
        added = torch.zeros(()) if added is None else added
        added = torch.where(is_later, torch.finfo(torch.float32).min, added)
    return added


def _counts(mask: Tensor, batch: int, columns: int) -> Tensor:
    """Return which keys a mask lets count, [B, 1, rows or 1, columns]."""
    if mask.dim() == 1:
        key = torch.arange(columns).view(1, 1, 1, -1)
        seen = key < mask[:batch].view(-1, 1, 1, 1)
        if mask.numel() == 2 * batch:
            seen = seen & (key >= mask[batch:].view(-1, 1, 1, 1))
        return seen
    seen = mask > 0
    return seen.view(batch, 1, 1, columns) if mask.dim() == 2 else seen.unsqueeze(1)


def attend(
    scores: Scores, q: Tensor, k: Tensor, v: Tensor, added: Tensor | None,
    sink: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the attention of [B, heads, rows, size] to [B, heads, columns, size].

    Args:
        added: What is added to the scores.
        sink: [heads, 1, 1]: the score of a key without a value.
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scores.scale is None else scores.scale
    logits = torch.matmul(q, k.transpose(-1, -2)) * scale
    if scores.softcap:
        logits = scores.softcap * torch.tanh(logits / scores.softcap)
    if added is not None:
        logits = logits + added
    if sink is not None:
        column = sink.expand(*logits.shape[:3], 1)
        return torch.matmul(torch.softmax(torch.cat([logits, column], -1), -1)[..., :-1], v)
    return torch.matmul(torch.softmax(logits, -1), v)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _self_attention(site: Site) -> Kernel:
    """Build what comes after the product with the weights."""
    scores = Scores.of(site)
    sizes = site.operation.ints_attribute("qkv_hidden_sizes")

    def run(
        projected: Tensor, mask: Tensor | None, past: Tensor | None, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        parts = torch.split(projected, list(sizes), -1) if sizes else projected.chunk(3, -1)
        q, k, v = (in_heads(part, scores.heads) for part in parts)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        added = mask_bias(scores, mask, q.shape[0], q.shape[2], k.shape[2])
        y = _flat(attend(scores, q, k, v, _sum(added, bias)))
        return y, torch.stack([k, v]) if k.shape == v.shape else None

    return run


def _attention(site: Site) -> Kernel:
    core = _self_attention(site)
    if site.has(6):
        raise site.refuse("input 'past_sequence_length': expected none")

    def run(
        x: Tensor, weights: Tensor, bias: Tensor | None = None, mask: Tensor | None = None,
        past: Tensor | None = None, attention_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        projected = torch.matmul(x, weights)
        projected = projected if bias is None else projected + bias
        result: tuple[Tensor, Tensor | None] = core(projected, mask, past, attention_bias)
        return result

    return run


def _quantized_attention(site: Site) -> Kernel:
    core = _self_attention(site)

    def run(
        x: Tensor, weight: Tensor, bias: Tensor, sx: Tensor, sw: Tensor,
        mask: Tensor | None = None, zx: Tensor | None = None, zw: Tensor | None = None,
        past: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        total = torch.matmul(centred(x, zx, None), centred(weight, zw, -1)).to(torch.float32)
        projected = total * (sx.reshape(()) * along(sw, total.dim(), -1)) + bias
        result: tuple[Tensor, Tensor | None] = core(projected, mask, past, None)
        return result

    return run


def _multi_head(site: Site) -> Kernel:
    scores = Scores.of(site)
    for slot, name in ((8, "past_sequence_length"), (9, "cache_indirection")):
        if site.has(slot):
            raise site.refuse(f"input '{name}': expected none")
    if any(site.operation.outputs[3:]):
        raise site.refuse("output 'qk': expected that nobody reads it")

    def run(
        q: Tensor, k: Tensor | None = None, v: Tensor | None = None, bias: Tensor | None = None,
        mask: Tensor | None = None, attention_bias: Tensor | None = None,
        past_k: Tensor | None = None, past_v: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        q, k, v = _unpacked(q, k, v)
        if bias is not None:
            q, k, v = _biased(scores.heads, bias, q, k, v)
        q, k, v = (in_heads(x, scores.heads) for x in (q, k, v))
        if past_k is not None and past_v is not None:
            k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        added = mask_bias(scores, mask, q.shape[0], q.shape[2], k.shape[2])
        return _flat(attend(scores, q, k, v, _sum(added, attention_bias))), k, v

    return run


def _unpacked(q: Tensor, k: Tensor | None, v: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Take packed operands apart: [B, length, heads, 3 or 2, size], the first of all three."""
    if k is None:
        q, k, v = (part.transpose(1, 2) for part in q.unbind(3))
    elif v is None:
        k, v = (part.transpose(1, 2) for part in k.unbind(3))
    return q, k, v


def _biased(heads: int, bias: Tensor, *operands: Tensor) -> list[Tensor]:
    """Add the parts of a bias [all hidden sizes]; keys that are in heads came with theirs."""
    found, start = [], 0
    for index, x in enumerate(operands):
        size = x.shape[-1] * (heads if x.dim() == 4 else 1)
        part = bias[start : start + size]
        start += size
        if x.dim() == 3:
            found.append(x + part)
        elif index:
            found.append(x)
        else:
            found.append(x + part.view(heads, 1, -1))
    return found


TABLE: dict[str, Builder] = {
    "com.microsoft.Attention": _attention,
    "com.microsoft.MultiHeadAttention": _multi_head,
    "com.microsoft.QAttention": _quantized_attention,
}
