"""Train the demo's network on scikit-learn's digits and write everything the demo reads.

    python tools/quantable/demo/train.py

writes ``digits.onnx``, ``digits_calibration.npz`` and ``digits_test.npz`` beside this file. The
data are the 1797 handwritten digits of the UCI set (8 x 8 pixels, 0 to 16) that scikit-learn
brings along. The network is small but has what makes real ones hard: batch normalization, a
residual Add, a depthwise convolution, a clipped activation, pooling and a linear layer.

This is the one file outside ``runtime/`` that imports torch: nothing imports it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

FOLDER = Path(__file__).parent
TRAINING_SIZE = 1200
CALIBRATION_SIZE = 200
EPOCHS, BATCHES, BATCH_SIZE = 60, 19, 63


class DigitsNet(nn.Module):
    """Images [N, 1, 8, 8], values 0 to 1, to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 16, kernel=3)
        self.inner = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.depthwise = _block(16, 16, kernel=3, stride=2, group=16)
        self.pointwise = _block(16, 32, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        x = torch.relu(x + self.inner(x))
        x = self.pointwise(self.depthwise(x))
        logits: torch.Tensor = self.classify(self.pool(x).flatten(1))
        return logits


def _block(channels: int, out: int, *, kernel: int, stride: int = 1, group: int = 1) -> nn.Module:
    conv = nn.Conv2d(
        channels, out, kernel, stride, padding=kernel // 2, groups=group, bias=False
    )  # fmt: skip
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())


def _train(images: torch.Tensor, labels: torch.Tensor) -> DigitsNet:
    network = DigitsNet()
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS * BATCHES)
    for _ in range(EPOCHS):
        for batch in torch.chunk(torch.randperm(len(images))[: BATCHES * BATCH_SIZE], BATCHES):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return network.eval()


def _network_input(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 16).permute(0, 3, 1, 2).contiguous()


def main() -> None:
    """Train, export and write the data; the same bytes on the same machine."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pixels = digits.images[order][..., None].astype(np.uint8)
    labels = digits.target[order].astype(np.int64)
    train, test = slice(0, TRAINING_SIZE), slice(TRAINING_SIZE, None)
    network = _train(_network_input(pixels[train]), torch.from_numpy(labels[train]))
    torch.onnx.export(
        network, (_network_input(pixels[:1]),), FOLDER / "digits.onnx", dynamo=False,
        input_names=["image"], output_names=["logits"], opset_version=17,
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}}, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    for name, part in (("calibration", slice(0, CALIBRATION_SIZE)), ("test", test)):
        np.savez_compressed(
            FOLDER / f"digits_{name}.npz", image=pixels[part], label=labels[part]
        )  # fmt: skip


if __name__ == "__main__":
    main()
