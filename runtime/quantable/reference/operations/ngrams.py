"""TfIdfVectorizer of ONNX, on integers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site

_MODES = ("TF", "IDF", "TFIDF")


def _grams(site: Site) -> dict[tuple[int, ...], int]:
    """Return the place of every n-gram of the pool in the pool."""
    pool = site.operation.ints_attribute("pool_int64s")
    starts = (*site.operation.ints_attribute("ngram_counts"), len(pool))
    found: dict[tuple[int, ...], int] = {}
    for size, (start, end) in enumerate(itertools.pairwise(starts), 1):
        for at in range(start, end, size):
            found[pool[at : at + size]] = len(found)
    return found


def _vectorizer(site: Site) -> Kernel:
    op = site.operation
    mode = op.string_attribute("mode")
    if "pool_strings" in op.attributes or mode not in _MODES:
        raise site.refuse(f"expected a pool of integers and a mode of {_MODES}, found {mode}")
    pool, places = _grams(site), op.ints_attribute("ngram_indexes")
    held = op.attributes.get("weights")
    weights = [float(w) for w in held] if isinstance(held, tuple) else [1.0] * len(places)
    sizes = range(op.int_attribute("min_gram_length"), op.int_attribute("max_gram_length") + 1)
    skips = range(op.int_attribute("max_skip_count") + 1)

    def counts(row: Sequence[int]) -> list[float]:
        found = [0.0] * (max(places) + 1)
        scale = [1.0] * len(found)
        for size in sizes:
            for skip in skips if size > 1 else (0,):  # one token has nothing to skip
                step = skip + 1
                for start in range(len(row) - (size - 1) * step):
                    index = pool.get(tuple(row[start : start + (size - 1) * step + 1 : step]))
                    if index is not None:
                        found[places[index]] += 1
                        scale[places[index]] = weights[index]
        if mode == "TF":
            return found
        reached = [float(count > 0) for count in found] if mode == "IDF" else found
        return [count * weight for count, weight in zip(reached, scale, strict=True)]

    def run(x: Tensor) -> Tensor:
        if x.dim() == 1:
            return torch.tensor(counts(x.tolist()), dtype=torch.float32)
        return torch.tensor([counts(row) for row in x.tolist()], dtype=torch.float32)

    return run


TABLE: dict[str, Builder] = {"TfIdfVectorizer": _vectorizer}
