"""Other quantizers, run with their defaults, for comparison on the same inputs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter

Float = npt.NDArray[np.float32]


def input_name(model: Path) -> str:
    """Return the name of the one input that is not an initializer."""
    graph = onnx.load(model, load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    (name,) = (item.name for item in graph.input if item.name not in weights)
    return str(name)


def cut_softmax(model: Path, out: Path) -> tuple[str, ...]:
    """Write the network without Softmax operations that make its outputs; return its outputs.

    Probabilities near 0 and 1 hide differences of logits, so all tools are given the cut network.
    """
    proto = onnx.load(model)
    graph = proto.graph
    producers = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        node = producers[output.name]
        if node.op_type == "Softmax":
            graph.node.remove(node)
            output.name = node.input[0]
    onnx.save(_at_least_opset_13(proto), out)  # the upgrade would hide an old Softmax
    return tuple(output.name for output in graph.output)


def _at_least_opset_13(model: onnx.ModelProto) -> onnx.ModelProto:
    """Upgrade an older network: ONNX Runtime's tool writes an axis for DequantizeLinear."""
    if model.opset_import[0].version >= 13:
        return model
    weights = {item.name for item in model.graph.initializer}
    for item in [item for item in model.graph.input if item.name in weights]:
        model.graph.input.remove(item)
    model.ir_version = max(model.ir_version, 7)
    return onnx.version_converter.convert_version(model, 13)


def batch_reader(name: str, batches: Iterable[Float]) -> Any:
    """Return what ONNX Runtime's quantizer reads calibration inputs from.

    Args:
        name: The network's input.
        batches: Arrays for it, one a run.
    """
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # untyped base
        def __init__(self) -> None:
            self._batches: Iterator[Float] = iter(batches)

        def get_next(self) -> dict[str, Float] | None:
            """Return the next inputs by name, None after the last."""
            batch = next(self._batches, None)
            return None if batch is None else {name: batch}

    return Reader()


def quantize_with_onnxruntime(
    model: Path, out: Path, batches: Iterable[Float], *, per_channel: bool = True
) -> None:
    """Quantize with ONNX Runtime's own tool: QDQ, MinMax, uint8 activations, int8 weights.

    Args:
        model: The float network.
        out: Where the quantized one is written.
        batches: Calibration inputs [n, ...], float32.
        per_channel: Whether weights get a scale a channel.
    """
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)  # the tool warns through the root logger
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared))
        quantize_static(
            str(prepared),
            str(out),
            batch_reader(input_name(model), batches),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
