"""Networks for tokens: a BERT encoder, and a decoder with a cache of keys and values."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from quantable.bench.families.attention import Block, settle
from quantable.bench.families.export import Export
from quantable.bench.families.family import Family, Fixed, Inputs

WORDS, WIDTH, LONGEST = 97, 48, 24
HEADS, LAYERS = 4, 2


class Bert(nn.Module):
    """Tokens, mask and types [N, T] to states [N, T, width] and pooled classes [N, 3]."""

    places: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions, self.types = nn.Embedding(LONGEST, WIDTH), nn.Embedding(2, WIDTH)
        self.register_buffer("places", torch.arange(LONGEST)[None], persistent=False)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        settle(self)
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS, pre=False) for _ in range(LAYERS))
        self.pool, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor, types: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        places = self.places[:, : tokens.shape[1]]
        x = self.words(tokens) + self.types(types) + self.positions(places)
        x = self.norm(x)
        hidden = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(torch.float32).min
        for block in self.blocks:
            x = block(x, hidden)
        return x, self.head(torch.tanh(self.pool(x[:, 0])))


def _text(generator: np.random.Generator) -> Inputs:
    """A sentence, or two, with padding behind it."""
    return _text_of(int(generator.integers(8, LONGEST + 1)), generator)


def _text_of_16(generator: np.random.Generator) -> Inputs:
    return _text_of(16, generator)


def _text_of(length: int, generator: np.random.Generator) -> Inputs:
    used = int(generator.integers(length // 2, length + 1))
    mask = (np.arange(length) < used).astype(np.int64)
    first = int(generator.integers(1, used))
    return {
        "tokens": (generator.integers(1, WORDS, length) * mask)[None],
        "mask": mask[None],
        "types": ((np.arange(length) >= first) & (mask == 1)).astype(np.int64)[None],
    }


def _tokens(length: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randint(0, high, (2, length)) for high in (WORDS, 2, 2))


_FREE = {0: "batch", 1: "length"}
_BERT = Export(
    Bert, lambda: _tokens(12), ("tokens", "mask", "types"), ("states", "classes"),
    {"tokens": _FREE, "mask": _FREE, "types": _FREE, "states": _FREE, "classes": {0: "batch"}},
)  # fmt: skip

BERT = Family(
    "bert", "embeddings, mask, post-normalized encoder, pooled classes",
    {"legacy-13": _BERT.legacy(13), "legacy-17": _BERT.legacy(17), "dynamo-20": _BERT.dynamo(20)},
    _text, least_db=30.0,
    fixed=Fixed(_text_of_16, 'bind-symbols{sizes=["length=16"]},canonicalize'),
)  # fmt: skip


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight, along the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.2 * torch.randn(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotated(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotary embedding: x [N, heads, T, size], angles [T, size]."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * torch.cos(angles) + turned * torch.sin(angles)


class DecoderLayer(nn.Module):
    """Attention with a cache, and a gated unit."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = RootMeanSquareNorm(WIDTH), RootMeanSquareNorm(WIDTH)
        self.query, self.key, self.value, self.out = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4)
        )
        self.gate, self.up = (nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(
        self, x: torch.Tensor, angles: torch.Tensor, mask: torch.Tensor,
        past_key: torch.Tensor, past_value: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        batch, length, _ = x.shape
        normalized = self.norm1(x)
        query, key, value = (
            layer(normalized).reshape(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        query, key = rotated(query, angles), rotated(key, angles)
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
        scores = query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5
        scores = scores.masked_fill(mask, -torch.inf)
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(batch, length, WIDTH)
        x = x + self.out(mixed)
        normalized = self.norm2(x)
        x = x + self.down(functional.silu(self.gate(normalized)) * self.up(normalized))
        return x, key, value


class Decoder(nn.Module):
    """Tokens [N, T] and the cache [N, heads, past, size] of each layer to logits and new cache."""

    rates: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(LAYERS))
        self.norm = RootMeanSquareNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        size = WIDTH // HEADS
        rates = 1e4 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("rates", torch.cat([rates, rates]), persistent=False)

    def forward(
        self, tokens: torch.Tensor, key0: torch.Tensor, value0: torch.Tensor,
        key1: torch.Tensor, value1: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        cache = (key0, value0, key1, value1)
        past, length = key0.shape[2], tokens.shape[1]
        places = torch.arange(length) + past
        angles = places[:, None].to(torch.float32) * self.rates
        mask = torch.arange(past + length)[None, :] > places[:, None]
        x, present = self.words(tokens), []
        for index, layer in enumerate(self.layers):
            x, key, value = layer(x, angles, mask, *cache[2 * index : 2 * index + 2])
            present += [key, value]
        return (self.head(self.norm(x)), *present)


def _step(generator: np.random.Generator) -> Inputs:
    """Half of the samples begin a text (no past), the others continue one by one token."""
    begins = bool(generator.integers(2))
    past, length = (
        (0, int(generator.integers(4, 12))) if begins else (int(generator.integers(4, 16)), 1)
    )
    return _tokens_behind(past, length, generator)


def _continued(generator: np.random.Generator) -> Inputs:
    """Four tokens behind eight."""
    return _tokens_behind(8, 4, generator)


def _tokens_behind(past: int, length: int, generator: np.random.Generator) -> Inputs:
    found: Inputs = {"tokens": generator.integers(0, WORDS, (1, length))}
    for name in _CACHE:
        size = (1, HEADS, past, WIDTH // HEADS)
        found[name] = (0.6 * generator.standard_normal(size)).astype(np.float32)
    return found


_CACHE = tuple(f"past.{i}.{what}" for i in range(LAYERS) for what in ("key", "value"))
_PRESENT = tuple(name.replace("past", "present") for name in _CACHE)


def _decoder_example() -> tuple[torch.Tensor, ...]:
    cache = (torch.randn(2, HEADS, 5, WIDTH // HEADS) for _ in _CACHE)
    return (torch.randint(0, WORDS, (2, 3)), *cache)


_DECODER = Export(
    Decoder, _decoder_example, ("tokens", *_CACHE), ("logits", *_PRESENT),
    {"tokens": _FREE, "logits": _FREE,
     **{name: {0: "batch", 2: "past"} for name in _CACHE},
     **{name: {0: "batch", 2: "total"} for name in _PRESENT}},
)  # fmt: skip

DECODER = Family(
    "decoder", "rotary embedding, causal mask, cache of keys and values, gated units",
    {"legacy-17": _DECODER.legacy(17), "dynamo-20": _DECODER.dynamo(20)},
    _step, least_db=27.0,
    fixed=Fixed(
        _continued, 'bind-symbols{sizes=["length=4","past=8"]},canonicalize', least_db=27.0
    ),
)  # fmt: skip
