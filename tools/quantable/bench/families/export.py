"""Writing torch modules as ONNX files, by both of torch's exporters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quantable.exporters.pytorch import quiet

Axes = Mapping[str, Mapping[int, str]]
"""By input or output name: which axes are symbolic, and what they are called."""


@dataclass(frozen=True)
class Export:
    """What both exporters need to write a module.

    Attributes:
        build: Makes the module; called with torch's generator seeded.
        example: Makes inputs for tracing.
        inputs, outputs: Names in the ONNX graph.
        axes: Symbolic axes.
    """

    build: Callable[[], nn.Module]
    example: Callable[[], tuple[torch.Tensor, ...]]
    inputs: Sequence[str]
    outputs: Sequence[str]
    axes: Axes = field(default_factory=dict)

    def legacy(self, opset: int) -> Callable[[Path], None]:
        """Return what writes the module by tracing it (the exporter of torch 1)."""

        def write(path: Path) -> None:
            module, example = self._prepared()
            self._export(
                module, example, path, opset, dynamo=False, do_constant_folding=True,
                dynamic_axes={name: dict(axes) for name, axes in self.axes.items()},
            )  # fmt: skip

        return write

    def dynamo(self, opset: int) -> Callable[[Path], None]:
        """Return what writes the module through ``torch.export``; asks for onnxscript."""

        def write(path: Path) -> None:
            module, example = self._prepared()
            self._export(
                module, example, path, opset, dynamo=True, external_data=False,
                dynamic_shapes=self._dimensions(example),
            )  # fmt: skip

        return write

    def _prepared(self) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.build().eval(), self.example()

    def _dimensions(self, example: tuple[torch.Tensor, ...]) -> tuple[dict[int, Any], ...] | None:
        """Return torch.export's description of the symbolic axes of the inputs."""
        if not any(self.axes.get(name) for name in self.inputs):
            return None
        return tuple(
            dict(self.axes.get(name, {})) for name, _ in zip(self.inputs, example, strict=True)
        )

    def _export(
        self, module: nn.Module, example: tuple[torch.Tensor, ...], path: Path, opset: int,
        **options: Any,
    ) -> None:  # fmt: skip
        with quiet(), torch.no_grad():
            torch.onnx.export(
                module, example, str(path), input_names=list(self.inputs),
                output_names=list(self.outputs), opset_version=opset, **options,
            )  # fmt: skip
