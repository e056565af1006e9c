"""Networks for images: ViT, ConvNeXt, U-Net with transposed convolutions or resizes."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from quantable.bench.families.attention import Block
from quantable.bench.families.export import Export
from quantable.bench.families.family import Family, Fixed, Inputs

VIT_SIZE, VIT_PATCH, VIT_WIDTH = 32, 8, 48
CONVNEXT_SIZE, UNET_SIZE = 32, 32


class ViT(nn.Module):
    """Images [N, 3, 32, 32] to logits [N, 10]: patches, class token, positions, encoder, head."""

    def __init__(self) -> None:
        super().__init__()
        width, count = VIT_WIDTH, (VIT_SIZE // VIT_PATCH) ** 2
        self.patches = nn.Conv2d(3, width, VIT_PATCH, VIT_PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.positions = nn.Parameter(torch.randn(1, count + 1, width) * 0.5)
        self.blocks = nn.Sequential(*(Block(width, 3, pre=True) for _ in range(2)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        token = self.token.expand(x.shape[0], -1, -1)
        x = self.blocks(torch.cat([token, x], 1) + self.positions)
        logits: torch.Tensor = self.head(self.norm(x)[:, 0])
        return logits


class ChannelsFirstNorm(nn.Module):
    """Layer normalization over the channels of [N, C, H, W], in the way of ConvNeXt."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.2 * torch.randn(width))
        self.bias = nn.Parameter(0.2 * torch.randn(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        scaled: torch.Tensor = self.weight[:, None, None] * x + self.bias[:, None, None]
        return scaled


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, channels-last normalization, two linear layers with GELU, layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.shrink(functional.gelu(self.grow(y)))
        added: torch.Tensor = x + y.permute(0, 3, 1, 2)
        return added


class ConvNeXt(nn.Module):
    """Images [N, 3, 32, 32] to logits [N, 10]: a stem and two stages of one block each."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(3, 16, 4, 4), ChannelsFirstNorm(16), ConvNeXtBlock(16),
            ChannelsFirstNorm(16), nn.Conv2d(16, 32, 2, 2), ConvNeXtBlock(32),
        )  # fmt: skip
        self.norm = nn.LayerNorm(32, eps=1e-6)
        self.head = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(self.stages(image).mean((-2, -1))))
        return logits


def _double(channels: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels, out):
        layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, 0.0, 0.2)
            assert layer.running_var is not None
            nn.init.constant_(layer.running_var, 0.3)
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Images [N, 3, 32, 32] to masks [N, 2, 32, 32] in (0, 1), with skips at two resolutions."""

    def __init__(self, up: str) -> None:
        super().__init__()
        self.down0, self.down1, self.bottom = _double(3, 12), _double(12, 24), _double(24, 32)
        self.up1, self.up0 = _grow(up, 32, 24), _grow(up, 24, 12)
        self.join1, self.join0 = _double(48, 24), _double(24, 12)
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first = self.down0(image)
        second = self.down1(functional.max_pool2d(first, 2))
        x = self.bottom(functional.max_pool2d(second, 2))
        x = self.join1(torch.cat([second, self.up1(x)], 1))
        x = self.join0(torch.cat([first, self.up0(x)], 1))
        return torch.sigmoid(self.head(x))


def _grow(how: str, channels: int, out: int) -> nn.Module:
    """Return what doubles height and width."""
    if how == "transposed":
        return nn.ConvTranspose2d(channels, out, 2, 2)
    scale: dict[str, nn.Module] = {
        "nearest": nn.Upsample(scale_factor=2, mode="nearest"),
        "bilinear": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    }
    return nn.Sequential(scale[how], nn.Conv2d(channels, out, 1))


def image_sample(size: int, generator: np.random.Generator) -> Inputs:
    """A smooth random image with some noise, [1, 3, size, size]."""
    coarse = generator.standard_normal((3, 4, 4))
    smooth = np.kron(coarse, np.ones((size // 4, size // 4)))
    noise = 0.3 * generator.standard_normal((3, size, size))
    return {"image": (smooth + noise)[None].astype(np.float32)}


def _export(build: type[nn.Module] | functools.partial[UNet], size: int, output: str) -> Export:
    return Export(
        build, lambda: (torch.randn(1, 3, size, size),), ("image",), (output,),
        {"image": {0: "batch"}, output: {0: "batch"}},
    )  # fmt: skip


_VIT = _export(ViT, VIT_SIZE, "logits")
_CONVNEXT = _export(ConvNeXt, CONVNEXT_SIZE, "logits")

VIT = Family(
    "vit", "patches, class token, positions, pre-normalized encoder",
    {"legacy-13": _VIT.legacy(13), "legacy-17": _VIT.legacy(17), "dynamo-20": _VIT.dynamo(20)},
    functools.partial(image_sample, VIT_SIZE), least_db=38.0,
)  # fmt: skip
CONVNEXT = Family(
    "convnext", "depthwise 7x7, layer normalization along channels, layer scale",
    {"legacy-13": _CONVNEXT.legacy(13), "legacy-17": _CONVNEXT.legacy(17),
     "dynamo-20": _CONVNEXT.dynamo(20)},
    functools.partial(image_sample, CONVNEXT_SIZE), least_db=33.0,
    fixed=Fixed(least_db=32.0),
)  # fmt: skip


def _unet(up: str) -> Family:
    export = _export(functools.partial(UNet, up), UNET_SIZE, "mask")
    return Family(
        f"unet-{up}", f"skips by Concat, {up} growth, sigmoid masks",
        {"legacy-17": export.legacy(17), "dynamo-18": export.dynamo(18)},
        functools.partial(image_sample, UNET_SIZE), least_db=50.0, fixed=Fixed(least_db=50.0),
    )  # fmt: skip


UNETS = tuple(_unet(up) for up in ("transposed", "nearest", "bilinear"))
