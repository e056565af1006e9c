"""Shapes of the attention operations of com.microsoft.

Letters in what follows: B samples, S queries, L new keys, P keys of a cache, N heads, h their size.
"""

from __future__ import annotations

from quantable.ir import DType
from quantable.passes.canonicalize.shapes.elementwise import same
from quantable.passes.canonicalize.shapes.site import ShapeFunction, Site, Sizes, Tensor
from quantable.passes.canonicalize.shapes.symbols import Expression


def _share(site: Site, whole: Expression, parts: int) -> Expression:
    """Return the size of one of several equal parts."""
    found = whole.exact_quotient(Expression.of(parts)) if parts > 0 else None
    if found is not None:
        return found
    if parts < 1 or whole.constant is not None:
        raise site.error(f"expected a size that {parts} divides, found {whole.dim}")
    return whole.floor_quotient(parts)


def _self_attention(site: Site, dtype: DType, past_slot: int) -> tuple[Tensor, ...]:
    """[B, S, I] by weights [I, queries + keys + values] -> [B, S, values], [2, B, N, P + S, h]."""
    x, weights, op = site.tensor(0), site.tensor(1), site.operation
    heads, sizes = op.int_attribute("num_heads"), op.ints_attribute("qkv_hidden_sizes")
    hidden = Expression.of(sizes[2]) if sizes else _share(site, weights.sizes[1], 3)
    made = [Tensor(dtype, (*x.sizes[:2], hidden))]
    if len(op.outputs) > 1:
        length = x.sizes[1]
        if site.has(past_slot):
            length = site.tensor(past_slot).sizes[3] + length
        size = _share(site, hidden, heads)
        cache = (Expression.of(2), x.sizes[0], Expression.of(heads), length, size)
        made.append(Tensor(dtype, cache))
    return tuple(made)


def _attention(site: Site) -> tuple[Tensor, ...]:
    return _self_attention(site, site.tensor(0).dtype, 4)


def _quantized_attention(site: Site) -> tuple[Tensor, ...]:
    return _self_attention(site, site.tensor(3).dtype, 8)


def _multi_head(site: Site) -> tuple[Tensor, ...]:
    """Queries [B, S, N * h], keys and values [B, L, N * h] or [B, N, L, h], or packed ones."""
    q, op = site.tensor(0), site.operation
    heads = op.int_attribute("num_heads")
    batch, length = q.sizes[:2]
    if not site.has(1):
        new, key, value = length, q.sizes[4], q.sizes[4]
    elif not site.has(2):
        packed = site.tensor(1)
        new, key, value = packed.sizes[1], packed.sizes[4], packed.sizes[4]
    else:
        new, key = _keys(site, site.tensor(1).sizes, heads)
        value = _keys(site, site.tensor(2).sizes, heads)[1]
    total = new + site.tensor(6).sizes[2] if site.has(6) else new
    caches = [Tensor(q.dtype, (batch, Expression.of(heads), total, size)) for size in (key, value)]
    scores = Tensor(q.dtype, (batch, Expression.of(heads), length, total))
    made = (Tensor(q.dtype, (batch, length, value * heads)), *caches, scores)
    return made[: len(op.outputs)]


def _keys(site: Site, sizes: Sizes, heads: int) -> tuple[Expression, Expression]:
    """Return how many keys there are, and the size of one in a head."""
    if len(sizes) == 4:
        return sizes[2], sizes[3]
    return sizes[1], _share(site, sizes[2], heads)


def _group_query(site: Site) -> tuple[Tensor, ...]:
    """Queries [B, S, N * h], keys [B, S, M * h]; caches [B, M, at least P, h]."""
    q, op = site.tensor(0), site.operation
    heads, groups = op.int_attribute("num_heads"), op.int_attribute("kv_num_heads")
    size = _share(site, q.sizes[2], heads if site.has(1) else heads + 2 * groups)
    made = [Tensor(q.dtype, (*q.sizes[:2], size * heads))]
    if len(op.outputs) == 1:
        return tuple(made)
    total = site.integers(6)
    held = site.tensor(3).sizes[2].constant if site.has(3) else 0
    if total is None or held is None:
        length = site.unknown(1, 2)
    else:
        length = Expression.of(max(total[0], held))
    cache = (q.sizes[0], Expression.of(groups), length, size)
    made += [Tensor(q.dtype, cache)] * (len(op.outputs) - 1)
    return tuple(made)


FUNCTIONS: dict[str, ShapeFunction] = {
    "com.microsoft.Attention": _attention,
    "com.microsoft.GroupQueryAttention": _group_query,
    "com.microsoft.MultiHeadAttention": _multi_head,
    "com.microsoft.QAttention": _quantized_attention,
    "com.microsoft.RotaryEmbedding": same,
}
"""Shape functions by operation kind."""
