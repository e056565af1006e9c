"""Networks of plain torch.nn: residual, mobile, encoder, recurrent; and what cannot be exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions, normalized, around which the input goes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A small residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.layer1 = nn.Sequential(Residual(8, 8, 1), Residual(8, 16, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer1(self.stem(x))).flatten(1))


class MobileNet(nn.Module):
    """Pointwise and depthwise convolutions with ReLU6 and Hardswish."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(),
            nn.AvgPool2d(2), nn.Dropout(0.2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class Encoder(nn.Module):
    """Two layers of a transformer on vectors."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


class Recurrent(nn.Module):
    """A bidirectional LSTM on the embedding of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0][:, -1])


class Periodic(nn.Module):
    """Two convolutions, and between them an operation that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(2, 8, 5, padding=2)
        self.snake = Snake()
        self.second = nn.Conv1d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.snake(self.first(x)))


class Snake(nn.Module):
    """See docs/examples/waveform-operations."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.linspace(0.5, 3.0, 8))

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "com.example.waveform::Snake", (x, self.alpha), {"axis": 1}, dtype=x.dtype,
                shape=x.shape, version=1,
            )  # fmt: skip
        alpha = self.alpha.reshape(1, -1, 1)
        return x + torch.sin(alpha * x) ** 2 / alpha


class Undecided(nn.Module):
    """Decides by the values of a tensor, which no graph can."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Branch()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Branch(nn.Module):
    """See `Undecided`."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Spectral(nn.Module):
    """Needs an operation that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Eigenvalues()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Eigenvalues(nn.Module):
    """See `Spectral`."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(x)


def trained(net: nn.Module) -> nn.Module:
    """Give normalizations statistics that are not those of a new network."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net


def resnet() -> nn.Module:
    """A residual network that is used as it is."""
    return trained(ResNet())


def mobilenet() -> tuple[nn.Module, Tensor]:
    """A network with its example input."""
    return trained(MobileNet()), torch.zeros(1, 3, 16, 16)


def broken() -> nn.Module:
    """A function with a fault."""
    raise KeyError("weights")


images = torch.zeros(2, 3, 16, 16)
number = 3
