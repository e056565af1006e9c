"""A single-shot detector: feature maps of two sizes, anchors, and NonMaxSuppression."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from quantable.bench.families.export import Export
from quantable.bench.families.family import Family, Fixed
from quantable.bench.families.vision import image_sample

SIZE, CLASSES = 64, 3
_MOST, _OVERLAP, _SCORE = 8, 0.5, 0.6


def _layer(channels: int, out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, 3, stride, 1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.SiLU())


class Detector(nn.Module):
    """Images [1, 3, 64, 64] to boxes [1, A, 4] (corners) and scores [1, 3, A] in (0, 1).

    Every cell has two anchors. Centres are sigmoids of their cell (YOLO), sizes exponentials of
    their anchor (SSD).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_layer(3, 12, 2), _layer(12, 24, 2), _layer(24, 24, 2))
        self.deeper = _layer(24, 32, 2)
        heads = [nn.Conv2d(width, 2 * (4 + CLASSES), 1) for width in (24, 32)]
        self.heads = nn.ModuleList(heads)
        for stride, head in zip((8, 16), heads, strict=True):
            self.register_buffer(f"cells{stride}", _cells(SIZE // stride) * stride)
            anchors = torch.tensor([[1.5, 1.5], [3.0, 2.0]]) * stride
            self.register_buffer(f"anchors{stride}", anchors[None, None])
            nn.init.normal_(head.weight, 0.0, 1.5 * head.in_channels**-0.5)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shallow = self.stem(image)
        maps = (shallow, self.deeper(shallow))
        boxes, scores = [], []
        for stride, head, features in zip((8, 16), self.heads, maps, strict=True):
            found = head(features).permute(0, 2, 3, 1).reshape(1, -1, 2, 4 + CLASSES)
            cells, anchors = getattr(self, f"cells{stride}"), getattr(self, f"anchors{stride}")
            centre = cells + torch.sigmoid(found[..., :2]) * stride
            half = torch.exp(found[..., 2:4] * 0.3) * anchors * 0.5
            boxes.append(torch.cat([centre - half, centre + half], -1).reshape(1, -1, 4))
            scores.append(torch.sigmoid(found[..., 4:]).reshape(1, -1, CLASSES))
        return torch.cat(boxes, 1), torch.cat(scores, 1).transpose(1, 2)


def _cells(count: int) -> torch.Tensor:
    """Corners of the cells, [1, count * count, 1, 2]."""
    along = torch.arange(count, dtype=torch.float32)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], -1).reshape(1, -1, 1, 2)


_HEAD = Export(
    Detector, lambda: (torch.randn(1, 3, SIZE, SIZE),), ("image",), ("boxes", "scores")
)  # fmt: skip


def _with_suppression(write: object, path: Path) -> None:
    """Write the detector, followed by what picks boxes: outputs of a length that data decide."""
    assert callable(write)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.onnx"
        write(plain)
        model = onnx.load(plain)
    graph = model.graph
    constants = {
        "most": np.array([_MOST], np.int64), "overlap": np.array([_OVERLAP], np.float32),
        "least": np.array([_SCORE], np.float32), "column": np.array([2], np.int64),
        "flat": np.array([-1], np.int64),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(v, f"nms.{k}") for k, v in constants.items())
    graph.node.extend([
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "nms.most", "nms.overlap", "nms.least"],
            ["nms.selected"],
        ),
        helper.make_node("Gather", ["nms.selected", "nms.column"], ["nms.picked"], axis=1),
        helper.make_node("Reshape", ["nms.picked", "nms.flat"], ["nms.indices"]),
        helper.make_node("Gather", ["boxes", "nms.indices"], ["detections"], axis=1),
    ])  # fmt: skip
    graph.output.extend([
        helper.make_tensor_value_info("nms.selected", TensorProto.INT64, ["selected", 3]),
        helper.make_tensor_value_info("detections", TensorProto.FLOAT, [1, "selected", 4]),
    ])  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


DETECTOR = Family(
    "detector", "two feature maps, sigmoids, exponentials, anchors, NonMaxSuppression",
    {name: functools.partial(_with_suppression, write)
     for name, write in (("legacy-17", _HEAD.legacy(17)), ("dynamo-18", _HEAD.dynamo(18)))},
    functools.partial(image_sample, SIZE), least_db=33.0, judged=("boxes", "scores"),
    fixed=Fixed(refused="makes an output whose length depends on the data"),
)  # fmt: skip
DETECTOR_HEAD = Family(
    "detector-head", "the same without NonMaxSuppression",
    {"legacy-17": _HEAD.legacy(17), "dynamo-18": _HEAD.dynamo(18)},
    functools.partial(image_sample, SIZE), least_db=33.0, fixed=Fixed(least_db=33.0),
)  # fmt: skip
