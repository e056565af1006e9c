"""Attention as networks write it, and the encoder block that ViT and BERT share."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


def settle(module: nn.Module) -> None:
    """Give layer normalizations scales and shifts as trained ones have, and no ones and zeros."""
    for layer in module.modules():
        if isinstance(layer, nn.LayerNorm):
            nn.init.normal_(layer.weight, 1.0, 0.2)
            nn.init.normal_(layer.bias, 0.0, 0.2)


class Block(nn.Module):
    """Attention and two linear layers, [N, T, width]; normalized before or behind."""

    def __init__(self, width: int, heads: int, *, pre: bool) -> None:
        super().__init__()
        self.heads, self.pre = heads, pre
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        settle(self)

    def attention(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        batch, length, width = x.shape
        query, key, value = (
            layer(x).reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        if mask is not None:
            scores = scores + mask
        mixed = torch.softmax(scores, -1) @ value
        joined: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if self.pre:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.perceptron(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask))
        normalized: torch.Tensor = self.norm2(x + self.perceptron(x))
        return normalized

    def perceptron(self, x: torch.Tensor) -> torch.Tensor:
        shrunk: torch.Tensor = self.shrink(functional.gelu(self.grow(x)))
        return shrunk
